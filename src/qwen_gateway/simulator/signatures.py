"""Arguments made up from a tool's signature: `city: string, days?: integer, unit: "C" | "F"`.

Here: reading the types that the gateway's list of tools is written in, the way TypeScript writes them. A signature
that cannot be read gives no arguments.
"""

import json
import re

from .samples import TEXT

_SIGN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[\[\]{}():,|&?]|[^\s\[\]{}():,|&?"]+)')
_VALUES: dict[str, object] = {"number": 1, "integer": 1, "boolean": True, "null": None}


class _UnreadableError(Exception):
    """What stands here is no type."""


def arguments(members: str) -> dict[str, object]:
    """The arguments that must be given, with a value that fits each."""
    reader = _Reader(_SIGN.findall(members))
    try:
        return reader.members("")
    except (_UnreadableError, RecursionError):
        return {}


class _Reader:
    def __init__(self, signs: list[str]) -> None:
        self._signs = [*signs, ""]
        self._at = 0

    def members(self, end: str) -> dict[str, object]:
        """Up to `end`, which is passed over."""
        found: dict[str, object] = {}
        while not self._passes(end):
            if self._passes("["):  # `[key: string]: …`: further keys, none of which must be there
                self._find("]")
                name, needed = "", False
            else:
                name = self._next()
                needed = not self._passes("?")
            self._find(":")
            value = self._type()
            if needed:
                found[json.loads(name) if name[:1] == '"' else name] = value
            if not self._passes(",") and self._signs[self._at] != end:
                raise _UnreadableError
        return found

    def _type(self) -> object:
        """Of several types the first; what holds at once is one object."""
        value = self._part()
        while self._passes("&"):
            other = self._part()
            value = {**value, **other} if isinstance(value, dict) and isinstance(other, dict) else value
        while self._passes("|"):
            self._type()
        return value

    def _part(self) -> object:
        sign = self._next()
        value: object
        if sign == "(":
            value = self._type()
            self._find(")")
        elif sign == "{":
            value = self.members("}")
        elif sign == "[":
            value = self._list()
        else:
            value = _value(sign)
        while self._passes("["):
            self._find("]")
            value = [value]
        return value

    def _list(self) -> list[object]:
        found = []
        while not self._passes("]"):
            found.append(self._type())
            self._passes(",")
        return found

    def _passes(self, sign: str) -> bool:
        if self._signs[self._at] != sign:
            return False
        self._at += 1 if sign else 0
        return True

    def _find(self, sign: str) -> None:
        while not self._passes(sign):
            self._next()

    def _next(self) -> str:
        sign = self._signs[self._at]
        if not sign:
            raise _UnreadableError
        self._at += 1
        return sign


def _value(sign: str) -> object:
    if sign in _VALUES:
        return _VALUES[sign]
    if sign == "object":
        return {}
    try:
        return json.loads(sign)
    except ValueError:
        return TEXT  # `string`, `any`
