"""Settings of the account at the site that show in answers to API clients: what it remembers of its owner, how its
owner wants to be talked to, and tools that it uses unasked.

They are the owner's and are changed only when asked. Settings are read with suspicion: the site changes their shape,
and what is not understood is no leak.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

Group = Literal["memory", "personalization", "tools"]

_MEMORY = {
    "enable_memory": "the site puts what it has remembered of you into every question",
    "enable_history_memory": "the site puts what you said in other chats into every question",
}
_PERSONAL_TEXTS = ("name", "description", "style", "instruction")
_TOOLS = {
    "tools_enabled": "the site may use this tool of its own instead of answering, or of calling the client's tools",
    "mcp": "the site may call this service instead of answering, or of calling the client's tools",
}


class Leak(Struct, frozen=True):
    """path: keys with dots between them. value: for people, without what the owner wrote. why: what comes of it."""

    group: Group
    path: str
    value: str
    why: str


def find(settings: Mapping[str, Any]) -> list[Leak]:
    """Seen 25 Sep 2026: with memory and personalization on, answers greet the owner by name."""
    return [leak for leak, _, _ in _all(settings)]


def switch_off(settings: Mapping[str, Any], groups: Collection[str]) -> dict[str, Any]:
    """The part of the settings to send, which the site merges into them: only keys that exist and have to change."""
    changes: dict[str, Any] = {}
    for leak, section, key in _all(settings):
        if leak.group in groups:
            changes.setdefault(section, {})[key] = False
    return changes


def undo_of(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """What, sent after `changes`, makes the settings again what they are now. Keys that the settings do not have
    cannot be taken away by a merge, and are left out."""
    undo: dict[str, Any] = {}
    for key, change in changes.items():
        if key not in settings:
            continue
        here = settings[key]
        undo[key] = undo_of(here, change) if isinstance(here, Mapping) and isinstance(change, Mapping) else here
    return undo


def _all(settings: Mapping[str, Any]) -> Iterator[tuple[Leak, str, str]]:
    """Each leak with the section and the key that switch it off."""
    memory = _section(settings, "memory")
    for key, why in _MEMORY.items():
        if memory.get(key) is True:
            yield Leak("memory", f"memory.{key}", "on", why), "memory", key
    personal = _section(settings, "personalization")
    filled = [key for key in _PERSONAL_TEXTS if isinstance(text := personal.get(key), str) and text.strip()]
    # The gateway makes a new chat for each conversation, so only what holds for new chats shows.
    if filled and personal.get("enable_for_new_chat") is True:
        why = "the site puts what you told it of yourself and how it should answer into every question"
        leak = Leak("personalization", "personalization.enable_for_new_chat", f"on, with {', '.join(filled)}", why)
        yield leak, "personalization", "enable_for_new_chat"
    for section, why in _TOOLS.items():
        for key, value in _section(settings, section).items():
            if value is True:
                yield Leak("tools", f"{section}.{key}", "on", why), section, key


def _section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = settings.get(name)
    return section if isinstance(section, Mapping) else {}
