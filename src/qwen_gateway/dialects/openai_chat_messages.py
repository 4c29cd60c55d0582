"""A chat completion's `messages` → messages of a turn."""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from qwen_gateway.dialects.openai_chat_values import UNREADABLE, invalid
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.request import Message, Part, ReasoningPart, Role, TextPart, ToolCallPart, ToolResultPart

MAX_MESSAGES = 10_000


class _Piece(Struct, forbid_unknown_fields=True):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Raw = Raw()
    input_audio: Raw = Raw()
    file: Raw = Raw()
    video_url: Raw = Raw()


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
    content: str | list[_Piece] | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None
    tool_call_id: str | None = None
    name: str | None = None
    # Parts of earlier answers that clients send back, and that say nothing to the model.
    annotations: Raw = Raw()
    audio: Raw = Raw()


_messages = msgspec.json.Decoder(list[_Message])


def read(raw: Raw) -> tuple[tuple[Message, ...], list[str]]:
    """The messages, and the names of keys in them that have no effect. Raises InvalidRequest."""
    wire, unknown = _read(raw)
    if any(one.name for one in wire):
        unknown.append("messages[].name")
    return tuple(_message(one, f"messages[{i}]") for i, one in enumerate(wire)), unknown


def _read(raw: Raw) -> tuple[list[_Message], list[str]]:
    """The messages, and names of unknown keys in them. Almost no request has such keys: the fast way goes first."""
    unknown: list[str] = []
    try:
        wire = _messages.decode(raw)
    except UNREADABLE:
        try:
            loose = msgspec.json.decode(raw)
            unknown = sorted(set(_take_unknown(loose)))
            wire = msgspec.convert(_with_raw(loose), list[_Message])
        except UNREADABLE as problem:
            raise invalid("messages", problem) from problem
    if not wire:
        raise InvalidRequest("`messages` is empty.", param="messages")
    if len(wire) > MAX_MESSAGES:
        raise InvalidRequest(f"`messages`: at most {MAX_MESSAGES:,}.", param="messages")
    return wire, unknown


def _take_unknown(messages: object) -> Iterator[str]:
    """Removes unknown keys of messages, of their content parts and calls, and names them."""
    for message in _objects(messages):
        for key in message.keys() - set(_Message.__struct_fields__):
            del message[key]
            yield f"messages[].{key}"
        for part, kind in (("content", _Piece), ("tool_calls", _Call)):
            for piece in _objects(message.get(part)):
                for key in piece.keys() - set(kind.__struct_fields__):
                    del piece[key]
                    yield f"messages[].{part}[].{key}"


def _with_raw(messages: object) -> object:
    """`messages` with the values that stay bytes turned back into bytes."""
    for message in _objects(messages):
        for holder in (message, *_objects(message.get("content"))):
            for key in ("annotations", "audio", "image_url", "input_audio", "file", "video_url"):
                if key in holder:
                    holder[key] = Raw(msgspec.json.encode(holder[key]))
    return messages


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _message(wire: _Message, path: str) -> Message:
    if wire.role in ("tool", "function"):
        return _result(wire, path)
    role: Role = "system" if wire.role == "developer" else wire.role  # type: ignore[assignment] # tool is above
    parts: list[Part] = []
    if role == "assistant" and wire.reasoning_content:
        parts.append(ReasoningPart(wire.reasoning_content))
    parts += [TextPart(text) for text in _texts(wire, path)]
    if role == "assistant":
        parts += [ToolCallPart(one.id, one.function.name, one.function.arguments) for one in wire.tool_calls or ()]
        if wire.function_call is not None:
            parts.append(ToolCallPart("", wire.function_call.name, wire.function_call.arguments))
    elif wire.content is None:
        raise InvalidRequest(f"`{path}.content` is missing.", param=f"{path}.content")
    return Message(role, tuple(parts))


def _result(wire: _Message, path: str) -> Message:
    if wire.role == "tool" and not wire.tool_call_id:
        raise InvalidRequest(
            f"`{path}.tool_call_id` is missing: a tool's message says which call it answers.",
            param=f"{path}.tool_call_id",
        )
    text = "\n".join(_texts(wire, path))
    return Message("user", (ToolResultPart(wire.tool_call_id or "", text),))


def _texts(wire: _Message, path: str) -> Iterator[str]:
    if wire.content is None:
        if wire.refusal:
            yield wire.refusal
        return
    if isinstance(wire.content, str):
        if wire.content:
            yield wire.content
        return
    for i, piece in enumerate(wire.content):
        where = f"{path}.content[{i}]"
        if piece.type in ("text", "input_text", "output_text", "refusal"):
            text = piece.refusal if piece.type == "refusal" else piece.text
            if text is None:
                raise InvalidRequest(f"`{where}.text` is missing.", param=f"{where}.text")
            yield text
        else:
            raise InvalidRequest(
                f"`{where}`: content of type {piece.type[:40]!r} is not passed on yet. Only text reaches the model.",
                param=where,
                code="unsupported_content",
            )
