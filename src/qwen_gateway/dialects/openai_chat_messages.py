"""A chat completion's `messages` → messages of a turn."""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from qwen_gateway.dialects.openai_chat_parts import FILE_TYPES, Piece, file_part
from qwen_gateway.dialects.openai_chat_values import UNREADABLE, invalid
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.files import FilePart
from qwen_gateway.turn.request import Message, Part, ReasoningPart, Role, TextPart, ToolCallPart, ToolResultPart

MAX_MESSAGES = 10_000
MAX_FILES = 1000
_TEXTS = ("text", "input_text", "output_text", "refusal")


class _Function(Struct):
    name: str
    arguments: str = "{}"


class _Call(Struct, forbid_unknown_fields=True):
    function: _Function
    id: str = ""
    type: str = "function"
    index: int | None = None


class _Message(Struct, forbid_unknown_fields=True):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Piece] | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None
    tool_call_id: str | None = None
    name: str | None = None
    # Parts of earlier answers that clients send back, and that say nothing to the model.
    annotations: Raw = Raw()
    audio: Raw = Raw()


# The same, for a second look at what has keys that none of them knows.
class _OpenPiece(Piece, forbid_unknown_fields=False):
    pass


class _OpenCall(_Call, forbid_unknown_fields=False):
    pass


class _OpenMessage(_Message, forbid_unknown_fields=False):
    content: str | list[_OpenPiece] | None = None  # type: ignore[assignment] # nobody adds to the list
    tool_calls: list[_OpenCall] | None = None  # type: ignore[assignment] # nor to this one


_messages = msgspec.json.Decoder(list[_Message])
_open_messages = msgspec.json.Decoder(list[_OpenMessage])
_objects = msgspec.json.Decoder(list[dict[str, Raw]])


def read(raw: Raw) -> tuple[tuple[Message, ...], list[str]]:
    """The messages, and the names of keys in them that have no effect. Raises InvalidRequest."""
    wire, unknown = _read(raw)
    if any(one.name for one in wire):
        unknown.append("messages[].name")
    messages = tuple(_message(one, f"messages[{i}]", unknown) for i, one in enumerate(wire))
    return messages, list(dict.fromkeys(unknown))


def _read(raw: Raw) -> tuple[Sequence[_Message], list[str]]:
    """The messages, and names of unknown keys in them. Almost no request has such keys: the fast way goes first."""
    wire: Sequence[_Message]
    unknown: list[str] = []
    try:
        wire = _messages.decode(raw)
    except UNREADABLE:
        try:
            wire = _open_messages.decode(raw)
            unknown = sorted(set(_unknown(raw)))
        except UNREADABLE as problem:
            raise invalid("messages", problem) from problem
    if not wire:
        raise InvalidRequest("`messages` is empty.", param="messages")
    if len(wire) > MAX_MESSAGES:
        raise InvalidRequest(f"`messages`: at most {MAX_MESSAGES:,}.", param="messages")
    if sum(len(one.content) for one in wire if isinstance(one.content, list)) > MAX_FILES:
        _check_files(wire)
    return wire, unknown


def _check_files(wire: Sequence[_Message]) -> None:
    """Before any of them is decoded."""
    found = 0
    for i, message in enumerate(wire):
        for j, piece in enumerate(message.content if isinstance(message.content, list) else ()):
            found += piece.type in FILE_TYPES
            if found > MAX_FILES:
                where = f"messages[{i}].content[{j}]"
                raise InvalidRequest(
                    f"`{where}`: at most {MAX_FILES:,} files in a request.", param=where, code="too_many_files"
                )


def _unknown(messages: Raw) -> Iterator[str]:
    """Names of unknown keys of messages, of their content parts and calls. Values are not read: they may be files."""
    for message in _objects.decode(messages):
        for key in message.keys() - set(_Message.__struct_fields__):
            yield f"messages[].{key}"
        for part, kind in (("content", Piece), ("tool_calls", _Call)):
            if part in message and bytes(memoryview(message[part])[:1]) == b"[":
                for piece in _objects.decode(message[part]):
                    for key in piece.keys() - set(kind.__struct_fields__):
                        yield f"messages[].{part}[].{key}"


def _message(wire: _Message, path: str, ignored: list[str]) -> Message:
    """ignored: takes the names of what a part says without effect."""
    if wire.role in ("tool", "function"):
        return _result(wire, path, ignored)
    role: Role = "system" if wire.role == "developer" else wire.role  # type: ignore[assignment] # tool is above
    parts: list[Part] = []
    if role == "assistant" and wire.reasoning_content:
        parts.append(ReasoningPart(wire.reasoning_content))
    parts += _contents(wire, path, ignored)
    if role == "assistant":
        parts += [ToolCallPart(one.id, one.function.name, one.function.arguments) for one in wire.tool_calls or ()]
        if wire.function_call is not None:
            parts.append(ToolCallPart("", wire.function_call.name, wire.function_call.arguments))
    elif wire.content is None:
        raise InvalidRequest(f"`{path}.content` is missing.", param=f"{path}.content")
    return Message(role, tuple(parts))


def _result(wire: _Message, path: str, ignored: list[str]) -> Message:
    if wire.role == "tool" and not wire.tool_call_id:
        raise InvalidRequest(
            f"`{path}.tool_call_id` is missing: a tool's message says which call it answers.",
            param=f"{path}.tool_call_id",
        )
    parts = list(_contents(wire, path, ignored))
    text = "\n".join(one.text for one in parts if isinstance(one, TextPart))
    files = tuple(one for one in parts if isinstance(one, FilePart))
    return Message("user", (ToolResultPart(wire.tool_call_id or "", text, files=files),))


def _contents(wire: _Message, path: str, ignored: list[str]) -> Iterator[TextPart | FilePart]:
    if wire.content is None:
        if wire.refusal:
            yield TextPart(wire.refusal)
        return
    if isinstance(wire.content, str):
        if wire.content:
            yield TextPart(wire.content)
        return
    for i, piece in enumerate(wire.content):
        where = f"{path}.content[{i}]"
        if piece.type in _TEXTS:
            text = piece.refusal if piece.type == "refusal" else piece.text
            if text is None:
                raise InvalidRequest(f"`{where}.text` is missing.", param=f"{where}.text")
            yield TextPart(text)
        elif piece.type in FILE_TYPES:
            yield _file(piece, where, wire.role, ignored)
        else:
            raise _unsupported(where, f"content of type {piece.type[:40]!r} is not known here")


def _file(piece: Piece, where: str, role: str, ignored: list[str]) -> FilePart:
    if role not in ("user", "tool", "function"):
        raise _unsupported(where, f"a message of role {role!r} cannot hold files; the user's and those of tools can")
    part, unused = file_part(piece, where)
    ignored += unused
    return part


def _unsupported(where: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"`{where}`: {why}.", param=where, code="unsupported_content")
