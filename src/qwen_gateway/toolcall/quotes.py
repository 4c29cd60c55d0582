"""Which quotes end a string, in JSON whose writer forgot to escape some within strings.

A quote ends its string if what follows it proves so. In valid JSON the next structural characters always do. Once one
quote of a call was found that ended nothing, more is asked: a following key must be one that the schema knows and that
was not given yet, and a closing bracket must lead to the end of the call. So `"echo '{"k": "v", "k2": "w"}'"` is one
string for a tool that has no argument k2.
"""

import re
from typing import Any

import msgspec
from msgspec import Struct

from qwen_gateway.toolcall.ahead import Boundary, Broken, More, after_blanks, peek

ENVELOPE = frozenset({"name", "arguments", "parameters", "args", "input", "id", "type"})
_SURPLUS = 8
_OPENER = {"}": "{", "]": "["}
_KEY = re.compile(r'"((?:[^"\\\x00-\x1f]|\\.){0,256}+)"')
_KEY_GROWING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.){0,256}+\\?\Z')
_KEY_LONG = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.){257}')
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")
_VALUE = re.compile(r"""["{\[]|(?:true|false|null|True|False|None|-?[0-9][0-9.eE+-]*)(?=[\s,\]}])""")
_VALUE_GROWING = re.compile(r"(?:[A-Za-z]{0,5}|-?(?:[0-9][0-9.eE+-]{0,1023})?)\Z")


class Container(Struct, frozen=True):
    """An object or array that is open. `schema` is its own, `None` where none is known. seen: its keys so far."""

    opener: str
    schema: Any
    seen: set[str] = msgspec.field(default_factory=set)

    def inner(self, key: str) -> Any:
        """The schema of what is in it."""
        if not isinstance(self.schema, dict):
            return None
        if self.opener == "[":
            return self.schema.get("items")
        properties = self.schema.get("properties")
        return properties.get(key) if isinstance(properties, dict) else None

    @property
    def keys(self) -> frozenset[str] | None:
        """The keys that the schema names. `None`: it names none."""
        properties = self.schema.get("properties") if isinstance(self.schema, dict) else None
        return frozenset(properties) if isinstance(properties, dict) and properties else None


class Place(Struct):
    """Where a quote stands, and what is known there.

    stack: the open containers. base: how many of them need not be closed. doubtful: quotes were found that ended
    nothing, `inner` of them in this string. final: the text is all of the answer.
    """

    text: str
    at: int
    stack: list[Container]
    boundary: Boundary
    base: int = 0
    doubtful: bool = False
    inner: int = 0
    final: bool = False

    def is_boundary(self, at: int) -> int:
        return self.boundary(self.text, at, self.final)


def ends_key(text: str, at: int) -> bool:
    """Whether the quote at this place ends a key. Raises More."""
    return peek(text, at + 1)[0] == ":"


def ends_value(place: Place) -> bool:
    """Whether the quote ends a string that is a value. Uses up `place.stack`.

    Raises More, and Broken where both readings are as good: quotes of a text come in pairs, so behind an odd number of
    them the last one is as likely its own, and the string goes on.
    """
    ends = _ends(place)
    if ends and place.inner % 2:
        raise Broken("quotes within a string that are not escaped")
    return ends


def _ends(place: Place) -> bool:
    if len(place.stack) == place.base:
        return _ends_all(place, place.at + 1)
    char, at = peek(place.text, place.at + 1)
    if char == ",":
        return _continues(place, at)
    if char in _OPENER and place.stack[-1].opener == _OPENER[char]:
        return _closes(place, at)
    # Two brackets are missing at least: only our own marker proves that nothing more was to come.
    return char not in "]}" and place.is_boundary(at) == 3


def _closes(place: Place, at: int) -> bool:
    """At a bracket that closes the innermost container."""
    place.stack.pop()
    if len(place.stack) == place.base:
        return _ends_all(place, at + 1) if place.doubtful or place.base else _ends_calmly(place, at + 1)
    char, at = peek(place.text, at + 1)
    if char in _OPENER:
        return place.stack[-1].opener == _OPENER[char] and _closes(place, at)
    if char == ",":
        return _continues(place, at)
    return place.is_boundary(at) > 0


def _ends_calmly(place: Place, at: int) -> bool:
    """Right behind the last bracket: white space, more brackets, a marker or nothing."""
    if at == len(place.text):
        if place.final:
            return True
        raise More
    char = place.text[at]
    return char.isspace() or char in _OPENER or place.is_boundary(at) > 0


def _ends_all(place: Place, at: int) -> bool:
    """Behind the last bracket: only more brackets, a marker or nothing prove that it was the last one."""
    for _ in range(_SURPLUS + 1):
        at = after_blanks(place.text, at)
        if at == len(place.text):
            if place.final:
                return True
            raise More
        if place.text[at] not in _OPENER:
            return place.is_boundary(at) > 0
        at += 1
    return False


def _continues(place: Place, at: int) -> bool:
    """At a comma: whether a key, or in an array a value, follows."""
    char, at = peek(place.text, at + 1)
    if place.stack[-1].opener == "[":
        return _begins_value(place, at)
    if char == '"':
        return _begins_pair(place, at)
    if char == "}":
        return not place.doubtful and _closes(place, at)
    word = _IDENTIFIER.match(place.text, at)
    if not word:
        return False
    return peek(place.text, word.end())[0] == ":" and _knows(place, word[0], bare=True)


def _begins_value(place: Place, at: int) -> bool:
    if place.text[at : at + 1] == "]":
        return not place.doubtful and _closes(place, at)
    if not _VALUE.match(place.text, at):
        if _VALUE_GROWING.match(place.text, at):
            raise More
        return False
    return True


def _begins_pair(place: Place, at: int) -> bool:
    key = _KEY.match(place.text, at)
    if not key:
        if _KEY_GROWING.match(place.text, at):
            raise More
        return not place.doubtful and bool(_KEY_LONG.match(place.text, at))
    return peek(place.text, key.end())[0] == ":" and _knows(place, key[1])


def _knows(place: Place, key: str, *, bare: bool = False) -> bool:
    """Whether this may be a key of the innermost container. Without any doubt every key may."""
    if not place.doubtful and not bare:
        return True
    seen = place.stack[-1].seen
    if len(place.stack) == 1:
        return key in ENVELOPE - seen
    keys = place.stack[-1].keys
    if place.doubtful and (keys is None or key in seen):
        # Either a key of the text has passed for one of the object, or one will.
        raise Broken("quotes within a string that are not escaped")
    return keys is None or key in keys
