"""A chat completion's request body → a turn. Every fault names its parameter; nothing is dropped silently.

Parameters fall in three groups: those that we act on, those that would change what the answer *is* and that we
cannot honour (refused), and those without which the answer is still one (ignored, and named in a header).
"""

import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.request import (
    Message,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    Thinking,
    ToolCallPart,
    ToolResultPart,
    TurnRequest,
)

Effort = Literal["", "default", "auto", "none", "minimal", "low", "medium", "high", "xhigh", "max"]
MAX_MESSAGES = 10_000
MAX_NAMED = 40
"""How many ignored parameters a header names; a body can invent any number of keys."""


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


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Format(Struct):
    type: str


_TYPES: dict[str, Any] = {
    "model": str,
    "stream": bool | None,
    "stream_options": _StreamOptions | None,
    "enable_thinking": bool | None,
    "thinking_budget": int | None,
    "reasoning_effort": Effort | None,
    "enable_search": bool | None,
    "chat_type": Literal["t2t", "search"] | None,
    "n": int | None,
    "logprobs": bool | None,
    "response_format": _Format | None,
}
_DECODERS = {key: msgspec.json.Decoder(kind) for key, kind in _TYPES.items()}
_body = msgspec.json.Decoder(dict[str, Raw])
_messages = msgspec.json.Decoder(list[_Message])
_PATH = re.compile(r" - at `\$(.*)`$")


def read(body: bytes) -> TurnRequest:
    """Raises InvalidRequest."""
    try:
        fields = _body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        said = str(problem) or "nested too deeply"
        raise InvalidRequest(f"The body is not a JSON object: {said}.", code="invalid_json") from problem
    known = {key: _value(key, fields[key]) for key in _TYPES if key in fields}
    for key in ("model", "messages"):
        if key not in fields:
            raise InvalidRequest(f"`{key}` is missing.", param=key, code="missing_required_parameter")
    _refuse_what_changes_the_answer(known, fields)
    wire, unknown = _read_messages(fields["messages"])
    if any(one.name for one in wire):
        unknown.append("messages[].name")
    if known.get("stream_options") is not None:
        options = _body.decode(fields["stream_options"])
        unknown += [f"stream_options.{key}" for key in options if key != "include_usage"]
    ignored = [key for key in fields if key not in _TYPES and key != "messages" and bytes(fields[key]) != b"null"]
    wanted = known.get("stream_options")
    thinking, overridden = _thinking(known)
    return TurnRequest(
        model=known["model"],
        messages=tuple(_message(one, f"messages[{i}]") for i, one in enumerate(wire)),
        stream=bool(known.get("stream")),
        stream_usage=bool(wanted and wanted.include_usage),
        thinking=thinking,
        search=_search(known),
        ignored=tuple((ignored + overridden + unknown)[:MAX_NAMED]),
    )


def _value(key: str, raw: Raw) -> Any:
    try:
        return _DECODERS[key].decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise _invalid(key, problem) from problem


def _invalid(key: str, problem: Exception) -> InvalidRequest:
    said = str(problem)
    path = _PATH.search(said)
    param = key + (path[1] if path else "")
    return InvalidRequest(f"`{param}`: {_PATH.sub('', said)}.", param=param)


def _refuse_what_changes_the_answer(known: dict[str, Any], fields: dict[str, Raw]) -> None:
    if known.get("n") not in (None, 1):
        raise InvalidRequest("`n`: only one answer per request.", param="n", code="unsupported_value")
    if known.get("logprobs"):
        raise _unsupported("logprobs", "the site gives no probabilities")
    wanted = known.get("response_format")
    if wanted is not None and wanted.type != "text":
        raise _unsupported("response_format", "only `text` so far")
    if bytes(fields.get("function_call", Raw(b"null"))) not in (b"null", b'"auto"', b'"none"'):
        raise _unsupported("function_call", "functions are not passed on yet, so no call can be promised")
    choice = bytes(fields.get("tool_choice", Raw(b"null")))  # a Raw never equals bytes
    if "tools" in fields and choice not in (b"null", b'"auto"', b'"none"'):
        raise _unsupported("tool_choice", "tools are not passed on yet, so no call can be promised")
    budget = known.get("thinking_budget")
    if budget is not None and not -1 <= budget <= 1_000_000:
        raise InvalidRequest("`thinking_budget`: up to 1000000 tokens; 0 is none, -1 any.", param="thinking_budget")


def _unsupported(param: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"`{param}` cannot be honoured: {why}.", param=param, code="unsupported_parameter")


def _thinking(known: dict[str, Any]) -> tuple[Thinking, list[str]]:
    """What is asked of the reasoning, and the names of parameters that another one overrides.

    `enable_thinking` is the plainest word and wins. The site has a switch only, so efforts are on or off.
    """
    budget = known.get("thinking_budget")
    says: dict[str, bool] = {}
    if (switch := known.get("enable_thinking")) is not None:
        says["enable_thinking"] = switch
    if (effort := known.get("reasoning_effort")) not in (None, "", "auto", "default"):
        says["reasoning_effort"] = effort not in ("none", "minimal")
    if budget is not None and budget != -1:
        says["thinking_budget"] = budget > 0
    if not says:
        return Thinking(), []
    param, on = next(iter(says.items()))
    overridden = [name for name, wants in says.items() if wants != on]
    return Thinking(
        "on" if on else "off", budget if on and budget is not None and budget > 0 else None, param
    ), overridden


def _search(known: dict[str, Any]) -> bool | None:
    if (kind := known.get("chat_type")) is not None:
        return bool(kind == "search")
    switch = known.get("enable_search")
    return None if switch is None else bool(switch)


def _read_messages(raw: Raw) -> tuple[list[_Message], list[str]]:
    """The messages, and names of unknown keys in them. Almost no request has such keys: the fast way goes first."""
    unknown: list[str] = []
    try:
        wire = _messages.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            loose = msgspec.json.decode(raw)
            unknown = sorted(set(_take_unknown(loose)))
            wire = msgspec.convert(_with_raw(loose), list[_Message])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise _invalid("messages", problem) from problem
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
