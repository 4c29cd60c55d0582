"""A completion request, checked as strictly as the site checks it.

Here: the G2/G3 body shape (captures of 14 and 25 Sep 2026) and the order of the site's complaints. Not here:
who asks (`auth`) and what is answered (`completions`).
"""

from dataclasses import dataclass

import msgspec

from .envelope import RefusedError
from .refusals import REFUSALS, field_wrong, parent_unknown
from .tree import Chat, Node

BODY_LIMIT = 128 * 1024  # bodies near 128 KiB are challenged whatever else they are (117 KB pass; Aug 2026)


class _Features(msgspec.Struct):
    thinking_enabled: bool = False
    output_schema: str | None = None
    thinking_format: str | None = None
    auto_search: bool = False


class _Message(msgspec.Struct):
    role: str
    content: str
    feature_config: _Features = msgspec.field(default_factory=_Features)
    fid: str | None = None
    parent_id: str | None = None
    files: list[object] = msgspec.field(default_factory=list)
    chat_type: str = "t2t"


class _Body(msgspec.Struct):
    messages: list[_Message]
    model: str
    stream: bool = False
    incremental_output: bool = False
    chat_id: str | None = None
    chat_id_again: str | None = msgspec.field(default=None, name="chatId")
    parent_id: str | None = None
    parent_id_again: str | None = msgspec.field(default=None, name="parentId")


@dataclass(frozen=True)
class Ask:
    """What the site has understood."""

    chat_id: str
    parent: str | None
    prompt: str
    model: str
    role: str
    thinking: bool
    thinking_format: str | None
    phases: bool
    incremental: bool
    searching: bool
    files: list[object]
    fid: str | None
    chat_type: str

    def node(self) -> Node:
        return Node("", self.parent, self.role, self.prompt, self.model, self.chat_type, self.fid, self.files)


def read(body: bytes, query_chat: str | None) -> Ask:
    """The request in a body, or the site's complaint about it."""
    try:
        found = msgspec.json.decode(body, type=_Body)
    except msgspec.ValidationError as error:
        raise RefusedError(field_wrong("body", str(error))) from error
    except msgspec.DecodeError as error:
        raise RefusedError(REFUSALS["malformed"]) from error
    message = _only_message(found)
    chat_id = _chat_id(found, query_chat)
    features = message.feature_config
    return Ask(
        chat_id=chat_id,
        parent=_parent(found, message),
        prompt=message.content,
        model=found.model,
        role=message.role,
        thinking=features.thinking_enabled,
        thinking_format=features.thinking_format,
        phases=features.output_schema == "phase",
        incremental=found.incremental_output,
        searching=features.auto_search or message.chat_type == "search",
        chat_type=message.chat_type,
        files=message.files,
        fid=message.fid,
    )


def _only_message(body: _Body) -> _Message:
    if len(body.messages) > 1:
        raise RefusedError(REFUSALS["too_many_messages"])
    if not body.messages or not body.stream:
        # Video alone is asked without `stream`; the simulator makes no video yet.
        raise RefusedError(REFUSALS["malformed"])
    return body.messages[0]


def _chat_id(body: _Body, query_chat: str | None) -> str:
    """The id stands in three places since Sep 2026. That they must agree is our reading, not observed."""
    if not body.chat_id or not query_chat:
        raise RefusedError(REFUSALS["missing_chat_id"])
    if {query_chat, body.chat_id_again or body.chat_id} != {body.chat_id}:
        raise RefusedError(field_wrong("chat_id", "Input should be the same everywhere"))
    return body.chat_id


def _parent(body: _Body, message: _Message) -> str | None:
    """`null` and `""` both mean the first turn; the copies must not contradict (our reading)."""
    parent = body.parent_id or None
    if any(copy not in {None, "", parent} for copy in (body.parent_id_again, message.parent_id)):
        raise RefusedError(field_wrong("parent_id", "Input should be the same everywhere"))
    return parent


def check_place(ask: Ask, chat: Chat | None, models: list[str]) -> Chat:
    """The chat this request may go on in."""
    if chat is None:
        raise RefusedError(REFUSALS["chat_deleted"])
    if chat.busy():
        raise RefusedError(REFUSALS["in_progress"])
    if ask.parent is not None and ask.parent not in chat.nodes:
        raise RefusedError(parent_unknown(ask.parent))
    if ask.model not in models:
        raise RefusedError(REFUSALS["model_unknown"])
    return chat
