"""A chat as the site keeps it → its messages.

No whole body of `GET /api/v2/chats/{id}` was ever published. The shape is put together from three public parsers of
September and October 2026, so this reads no more of it than is needed, and takes the messages as an object or a list.
"""

from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from qwen_gateway.turn.faults import Drift
from qwen_gateway.turn.places import StoredMessage


class _Item(Struct):
    """A stretch of an answer: reasoning, a tool of the site, or text."""

    phase: str | None = None
    role: str | None = None
    status: str | None = None
    content: Any = None
    function_call: Any = None


class _Node(Struct):
    role: str
    id: str = ""
    parent: str | None = msgspec.field(default=None, name="parentId")
    content: str | None = None
    content_list: list[_Item] | None = None
    done: bool | None = None


class _History(Struct, frozen=True):
    messages: dict[str, _Node] | list[_Node] | None = None


class _Inner(Struct):
    history: _History = _History()
    messages: list[_Node] | None = None


class _Chat(Struct):
    chat: _Inner
    id: str = ""


def read(data: object, chat_id: str) -> dict[str, StoredMessage]:
    """The messages by id: questions and answers, and whatever else the site keeps in a chat left out. Raises Drift."""
    try:
        found = msgspec.convert(data, _Chat)
    except (msgspec.ValidationError, RecursionError) as problem:
        raise _drift() from problem
    if found.id not in ("", chat_id):
        raise Drift("Qwen's site gave another chat than the one asked for.", code="upstream_crossed")
    kept = found.chat.history.messages
    nodes = found.chat.messages if kept is None else kept
    if nodes is None:
        raise _drift()
    named = nodes.items() if isinstance(nodes, dict) else ((node.id, node) for node in nodes)
    messages = [_message(name, node) for name, node in named if node.role in ("user", "assistant")]
    return {message.id: message for message in messages}


def _message(name: str, node: _Node) -> StoredMessage:
    if not name or node.id not in ("", name):
        raise _drift()
    role = cast("Literal['user', 'assistant']", node.role)
    items = [item for item in node.content_list or () if _is_text(item)] if role == "assistant" else []
    said = "".join(_text(item) for item in items)
    # An answer whose node does not say that it is finished: its last stretch may.
    done = role == "user" or bool(items and items[-1].status == "finished") if node.done is None else node.done
    return StoredMessage(name, node.parent or None, role, said or node.content or "", done)


def _is_text(item: _Item) -> bool:
    """As in the stream: neither calls of tools nor what a tool says belongs to the text, though the phase may."""
    return item.phase in ("answer", None) and item.role != "function" and item.function_call is None


def _text(item: _Item) -> str:
    if item.content is None or isinstance(item.content, str):
        return item.content or ""
    raise _drift()


def _drift() -> Drift:
    return Drift("Qwen's site sent a chat in a form that the gateway does not know. The site may have changed.")
