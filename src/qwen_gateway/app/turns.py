"""What answers questions, joined: for the gateway, and for a command that asks one question."""

import re

from qwen_gateway.app.core import AMBIENT, Core
from qwen_gateway.app.manage import fetch_models
from qwen_gateway.app.tokens import Tokens
from qwen_gateway.relay.attachments import Attachments
from qwen_gateway.relay.chats import Chats
from qwen_gateway.relay.conversations import Conversations, Manner
from qwen_gateway.relay.memory import Memory
from qwen_gateway.relay.models import Models
from qwen_gateway.relay.tools import ToolManner
from qwen_gateway.relay.turns import Limits, Turns
from qwen_gateway.settings import Settings
from qwen_gateway.store.journal import FileJournal


def models_of(parts: Core) -> Models:
    settings, site = parts.settings, parts.site
    aliases = {name: targets for name, targets in {**site.aliases, **settings.aliases}.items() if targets}
    return Models(lambda: fetch_models(parts), site.fallback_catalog, aliases, AMBIENT, settings.models_ttl)


def chats_of(parts: Core, journal: FileJournal) -> Chats:
    return Chats(
        parts.site,
        parts.transport,
        journal,
        AMBIENT,
        renewal=parts.renewal,
        knows=parts.conversations.knows,
        policy=parts.settings.delete_chats,
        seconds=parts.settings.call_timeout,
    )


def turns_of(parts: Core, models: Models, chats: Chats, memory: Memory, attachments: Attachments) -> Turns:
    settings = parts.settings
    conversations = Conversations(
        memory,
        parts.site,
        parts.transport,
        parts.renewal,
        AMBIENT,
        secret=parts.vault.derived("conversations"),
        seconds=settings.call_timeout,
        manner=Manner(
            settings.delete_chats,
            settings.changed_instructions,
            tuple(re.compile(pattern, re.MULTILINE) for pattern in settings.volatile_lines),
            verify=settings.verify_unclean,
            shorten=settings.shorten_results,
            offload=settings.long_conversations == "document",
        ),
    )
    return Turns(
        parts.site,
        parts.transport,
        models,
        chats,
        conversations,
        AMBIENT,
        renewal=parts.renewal,
        limits=_limits(settings),
        default_thinking=settings.default_thinking,
        tool_manner=ToolManner(
            settings.tool_format,
            settings.tool_arguments,
            nudge=settings.agent_nudge,
            show_site_tools=settings.show_site_tools,
        ),
        tokens=Tokens(),
        attachments=attachments,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        first_event=settings.first_event_timeout,
        first_event_thinking=settings.first_event_timeout_thinking,
        idle=settings.idle_timeout,
        total=settings.total_timeout,
    )
