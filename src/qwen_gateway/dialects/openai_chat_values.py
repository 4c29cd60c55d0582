"""Values of a chat completion's body as typed things; one that cannot be so is refused by its parameter's name."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from qwen_gateway.turn.faults import InvalidRequest

Fields = Mapping[str, Raw]
"""The body: each parameter's value as its JSON text."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_T = TypeVar("_T")
_PATH = re.compile(r" - at `\$(.*)`$")
_object = msgspec.json.Decoder(dict[str, Any])


def is_given(fields: Fields, key: str) -> bool:
    """Whether it stands there and is not null, which means the same as nothing."""
    return key in fields and bytes(fields[key]) != b"null"  # a Raw never equals bytes


def value(fields: Fields, key: str, decoder: msgspec.json.Decoder[_T]) -> _T | None:
    """Raises InvalidRequest."""
    if not is_given(fields, key):
        return None
    try:
        return decoder.decode(fields[key])
    except UNREADABLE as problem:
        raise invalid(key, problem) from problem


def loose(fields: Fields, key: str) -> dict[str, Any] | None:
    """An object whose unknown keys are to be named. Raises InvalidRequest."""
    return value(fields, key, _object)


def converted(given: object, kind: type[_T], path: str) -> _T:
    """A part of a value that was read before. Raises InvalidRequest."""
    try:
        return msgspec.convert(given, kind)
    except UNREADABLE as problem:
        raise invalid(path, problem) from problem


def unknown_keys(given: Mapping[str, object], known: tuple[str, ...], path: str) -> list[str]:
    """Names of keys that say something and have no effect."""
    return [f"{path}.{key}" for key, said in given.items() if key not in known and said is not None]


def invalid(key: str, problem: Exception) -> InvalidRequest:
    """key: the parameter, or the part of one, that the JSON reader has complained of."""
    said = str(problem)
    path = _PATH.search(said)
    param = key + (path[1] if path else "")
    return refused(param, _PATH.sub("", said))


def refused(param: str, why: str, code: str = "") -> InvalidRequest:
    return InvalidRequest(f"`{param}`: {why}.", param=param, code=code)


def unsupported(param: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"`{param}` cannot be honoured: {why}.", param=param, code="unsupported_parameter")
