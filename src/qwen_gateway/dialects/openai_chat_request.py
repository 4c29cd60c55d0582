"""A chat completion's request body → a turn. Every fault names its parameter; nothing is dropped silently.

Parameters fall in three groups: those that we act on, those that would change what the answer *is* and that we
cannot honour (refused), and those without which the answer is still one (ignored, and named in a header).
"""

from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from qwen_gateway.dialects import openai_chat_messages, openai_chat_output, openai_chat_sampling, openai_chat_tools
from qwen_gateway.dialects.openai_chat_values import (
    UNREADABLE,
    Fields,
    converted,
    invalid,
    is_given,
    loose,
    unknown_keys,
    value,
)
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.request import Thinking, TurnRequest

Effort = Literal["", "default", "auto", "none", "minimal", "low", "medium", "high", "xhigh", "max"]
LONGEST_USER = 512
MAX_NAMED = 40
"""How many ignored parameters a header names; a body can invent any number of keys."""


class _StreamOptions(Struct):
    include_usage: bool | None = None


_TYPES: dict[str, Any] = {
    "stream": bool,
    "enable_thinking": bool,
    "thinking_budget": int,
    "reasoning_effort": Effort,
    "enable_search": bool,
    "chat_type": Literal["t2t", "search"],
    "store": bool,
    "user": str,
    "safety_identifier": str,
}
_DECODERS = {key: msgspec.json.Decoder(kind) for key, kind in _TYPES.items()}
_KNOWN = (
    {"model", "messages", "stream_options", "response_format", "stop", "max_tokens", "max_completion_tokens", "n"}
    | {"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"}
    | _TYPES.keys()
    | openai_chat_sampling.REFUSED
)
_body = msgspec.json.Decoder(dict[str, Raw])
_text = msgspec.json.Decoder(str)


def read(body: bytes) -> TurnRequest:
    """Raises InvalidRequest."""
    fields = _fields(body)
    known = {key: value(fields, key, decoder) for key, decoder in _DECODERS.items()}
    openai_chat_sampling.check(fields)
    model = _model(fields)
    stream_usage, unknown_options = _stream_usage(fields)
    thinking, overridden = _thinking(known)
    calling = openai_chat_tools.read(fields)
    wanted, unknown_in_format = openai_chat_output.output_format(fields)
    most, overridden_limits = openai_chat_output.max_output(fields)
    stop, choices = openai_chat_output.stop(fields), openai_chat_output.choices(fields)
    messages, unknown_in_messages = openai_chat_messages.read(fields["messages"])
    ignored = [key for key in fields if key not in _KNOWN and is_given(fields, key)]
    ignored += overridden + overridden_limits + unknown_in_messages + unknown_options
    ignored += calling.unknown + unknown_in_format
    return TurnRequest(
        model=model,
        messages=messages,
        stream=bool(known["stream"]),
        stream_usage=stream_usage,
        thinking=thinking,
        search=_search(known),
        end_user=_end_user(known),
        store=known["store"] is not False,
        tools=calling.tools,
        tool_choice=calling.choice,
        format=wanted,
        stop=stop,
        max_output=most,
        choices=choices,
        legacy_calls=calling.legacy,
        ignored=tuple(ignored[:MAX_NAMED]),
    )


def _fields(body: bytes) -> Fields:
    try:
        fields = _body.decode(body)
    except UNREADABLE as problem:
        said = str(problem) or "nested too deeply"
        raise InvalidRequest(f"The body is not a JSON object: {said}.", code="invalid_json") from problem
    for key in ("model", "messages"):
        if key not in fields:
            raise InvalidRequest(f"`{key}` is missing.", param=key, code="missing_required_parameter")
    return fields


def _model(fields: Fields) -> str:
    try:
        return _text.decode(fields["model"])
    except UNREADABLE as problem:
        raise invalid("model", problem) from problem


def _stream_usage(fields: Fields) -> tuple[bool, list[str]]:
    """Whether usage is wanted apart, and the names of options that have no effect."""
    options = loose(fields, "stream_options") or {}
    wanted = converted(options, _StreamOptions, "stream_options")
    return bool(wanted.include_usage), unknown_keys(options, _StreamOptions.__struct_fields__, "stream_options")


def _thinking(known: dict[str, Any]) -> tuple[Thinking, list[str]]:
    """What is asked of the reasoning, and the names of parameters that another one overrides.

    `enable_thinking` is the plainest word and wins. The site has a switch only, so efforts are on or off.
    """
    budget = known["thinking_budget"]
    if budget is not None and not -1 <= budget <= 1_000_000:
        raise InvalidRequest("`thinking_budget`: up to 1000000 tokens; 0 is none, -1 any.", param="thinking_budget")
    says: dict[str, bool] = {}
    if (switch := known["enable_thinking"]) is not None:
        says["enable_thinking"] = switch
    if (effort := known["reasoning_effort"]) not in (None, "", "auto", "default"):
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
    if (kind := known["chat_type"]) is not None:
        return bool(kind == "search")
    switch = known["enable_search"]
    return None if switch is None else bool(switch)


def _end_user(known: dict[str, Any]) -> str:
    """Both may be sent; then both tell people apart. `safety_identifier` took the place of `user` (OpenAI, 2025)."""
    names = {key: name for key in ("user", "safety_identifier") if (name := known[key])}
    for key, name in names.items():
        if len(name) > LONGEST_USER:
            raise InvalidRequest(f"`{key}`: at most {LONGEST_USER} characters.", param=key)
    # In a form in which no two pairs are alike.
    return msgspec.json.encode(names).decode() if names else ""
