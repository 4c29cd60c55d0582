"""The body of a completion, as the web client of September 2026 writes it (`req_t2t_*_2026-09-14.json`)."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from qwen_gateway.turn.contracts import Moment, Question
from qwen_gateway.turn.faults import ContextTooLong
from qwen_gateway.turn.files import SiteFile
from qwen_gateway.turn.places import Place
from qwen_gateway.turn.prompt import Prompt

_encode = msgspec.json.Encoder().encode

# The three ways to answer that the site's own switch offers. Without `output_schema` the deltas carry no phase
# (tried both ways by Rfym21/Qwen2API, commit 1198003, 2026-07-05).
_MODES = {
    "off": {"thinking_enabled": False, "auto_thinking": False, "thinking_mode": "Fast"},
    "on": {
        "thinking_enabled": True,
        "auto_thinking": False,
        "thinking_mode": "Thinking",
        "thinking_format": "summary",
    },
    "auto": {
        "thinking_enabled": True,
        "auto_thinking": True,
        "thinking_mode": "Auto",
        "thinking_format": "summary",
    },
}


def chat_type(prompt: Prompt) -> str:
    return "search" if prompt.search else "t2t"


ENVELOPE = 1_200
"""Bytes that the body has around the text; 934 after a parent, with the longest model name of September 2026."""


FILE = 4_000
"""Bytes that a file takes of it: 1,000 of words, an address with a signature, and the name five times."""


def room(limit: int, files: int) -> int:
    """Bytes that the text of a question with so many files may have, as JSON, where a body may have `limit`."""
    return limit - ENVELOPE - files * FILE


def question(prompt: Prompt, limit: int, files: int = 0) -> Question:
    """The prompt, its text encoded. Raises ContextTooLong when the body would have more than `limit` bytes."""
    text = _encode(prompt.text)
    if len(text) > room(limit, files):
        size = len(text) + limit - room(limit, files)
        raise ContextTooLong(
            f"The conversation is too long for the site: it would be {size:,} bytes in one message, and the site "
            f"refuses more than about {limit:,}. Shorten the history, or start a new chat.",
            param="messages",
        )
    return Question(prompt, Raw(text))


def completion(asked: Question, place: Place, at: Moment, files: Sequence[SiteFile] = ()) -> bytes:
    """The bytes to POST. A second question below one answer is an ordinary `chat` too: to branch, the web client's
    `edit` (2026-09-25) names the same parent, and the parent alone decides where a question goes."""
    prompt, chat_id, parent = asked.prompt, place.chat_id, place.parent
    kind, seconds = chat_type(prompt), int(at.now)
    return _encode(
        {
            "stream": True,
            "version": "2.1",
            "incremental_output": True,
            "chatId": chat_id,
            "parentId": parent or "",
            "chat_id": chat_id,
            "chat_mode": "normal",
            "model": prompt.model,
            "parent_id": parent,
            "messages": [
                {
                    "id": None,
                    "fid": at.request_id,
                    "parentId": parent,
                    "childrenIds": [],
                    "role": "user",
                    "content": asked.text,
                    "user_action": "chat",
                    "files": [Raw(file.entry) for file in files],
                    "timestamp": seconds,
                    "models": [prompt.model],
                    "model": "",
                    "chat_type": kind,
                    "feature_config": _features(prompt),
                    "extra": {"meta": {"subChatType": kind}},
                    "sub_chat_type": kind,
                    "parent_id": parent,
                }
            ],
            "timestamp": seconds,
        }
    )


def _features(prompt: Prompt) -> dict[str, object]:
    features: dict[str, object] = {
        **_MODES[prompt.thinking.mode or "off"],
        "output_schema": "phase",
        "research_mode": "normal",
        # The web client always lets the model search by itself. An API client asked for search or did not.
        "auto_search": prompt.search,
    }
    if prompt.thinking.budget is not None and prompt.thinking.mode != "off":
        features["thinking_budget"] = prompt.thinking.budget
    return features
