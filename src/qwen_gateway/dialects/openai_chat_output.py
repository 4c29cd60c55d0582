"""What is asked of the answer itself: its form, where it ends, how long it may be, how many of it there are."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from qwen_gateway.dialects.openai_chat_values import Fields, converted, loose, refused, unknown_keys, value
from qwen_gateway.turn.request import MaxOutput, OutputFormat

MOST_CHOICES = 4
MOST_STOPS = 4
LONGEST_STOP = 1000
"""Characters. What looks for them keeps one state for each."""

_Tokens = Annotated[int, Meta(ge=1)]
_tokens = msgspec.json.Decoder(_Tokens)
_stop = msgspec.json.Decoder(str | list[str])
_count = msgspec.json.Decoder(int)


class _Schema(Struct):
    schema: dict[str, Any]
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class _Format(Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


def output_format(fields: Fields) -> tuple[OutputFormat | None, list[str]]:
    """The form of the answer (`None`: text), and the names of keys that have no effect. Raises InvalidRequest."""
    given = loose(fields, "response_format")
    if given is None:
        return None, []
    wanted = converted(given, _Format, "response_format")
    if wanted.type != "json_schema":
        unknown = unknown_keys(given, ("type",), "response_format")
        return (OutputFormat("json_object") if wanted.type == "json_object" else None), unknown
    described = wanted.json_schema
    if described is None:
        raise refused("response_format.json_schema", "is missing")
    unknown = unknown_keys(given, _Format.__struct_fields__, "response_format")
    unknown += unknown_keys(given["json_schema"], _Schema.__struct_fields__, "response_format.json_schema")
    return OutputFormat("json_schema", _with_description(described), bool(described.strict)), unknown


def _with_description(described: _Schema) -> dict[str, Any]:
    """The model reads the schema only; a description in it says the same and asks for nothing."""
    if not described.description or "description" in described.schema:
        return described.schema
    return {"description": described.description, **described.schema}


def stop(fields: Fields) -> tuple[str, ...]:
    """Raises InvalidRequest."""
    given = value(fields, "stop", _stop)
    if given is None:
        return ()
    if isinstance(given, str):
        _check_stop(given, "stop")
        return (given,)
    if len(given) > MOST_STOPS:
        raise refused("stop", f"at most {MOST_STOPS} sequences")
    for i, one in enumerate(given):
        _check_stop(one, f"stop[{i}]")
    return tuple(given)


def _check_stop(sequence: str, path: str) -> None:
    if not sequence:
        raise refused(path, "an empty text stops nothing")
    if len(sequence) > LONGEST_STOP:
        raise refused(path, f"at most {LONGEST_STOP} characters")


def max_output(fields: Fields) -> tuple[MaxOutput | None, list[str]]:
    """The limit, and the name of the parameter that the other one overrides. Raises InvalidRequest.

    `max_tokens` is from before there was reasoning, and its clients mean what they see.
    """
    seen = value(fields, "max_tokens", _tokens)
    everything = value(fields, "max_completion_tokens", _tokens)
    if everything is not None:
        return MaxOutput(everything, reasoning=True), ["max_tokens"] if seen is not None else []
    return (MaxOutput(seen, reasoning=False) if seen is not None else None), []


def choices(fields: Fields) -> int:
    """Raises InvalidRequest."""
    wanted = value(fields, "n", _count)
    if wanted is None:
        return 1
    if not 1 <= wanted <= MOST_CHOICES:
        raise refused("n", f"1 to {MOST_CHOICES} answers", "unsupported_value")
    return wanted
