"""The one JSON object in a text, while the text comes: what stands before and behind it is left out.

What is given out is what the model wrote, but for strings: line breaks, tabs and stray backslashes in them are escaped
as JSON wants it. It is only ever appended to.
"""

import json
import re
from typing import Literal

_PLAIN = re.compile(r'[^"\\\x00-\x1f]+')
_STRUCTURE = re.compile(r'["{}\[\]]')
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}
_ESCAPABLE = frozenset('"\\/bfnrtu')
_MOST_PROSE = 200
"""Characters of an introduction. A longer one is an answer in prose."""

Broken = Literal["", "no_object", "not_json", "cut_off"]


class ObjectStream:
    """Give it the text piece by piece; the same for any cut. `done`: the object is whole, the rest is not read.

    broken, known with `close`, or earlier where nothing can come of it: no_object, that there is none; not_json, that
    what was given out is none; cut_off, that it did not end.
    """

    def __init__(self) -> None:
        self.done = False
        self.broken: Broken = ""
        self._before = ""
        self._open: list[str] = []
        self._in_string = False
        self._escaped = False
        self._out: list[str] = []

    @property
    def began(self) -> bool:
        """Something was given out, so that another try is too late."""
        return bool(self._out)

    def feed(self, text: str) -> str:
        if self.done or self.broken:
            return ""
        if not self._open:
            text = self._begin(text)
        shown = "".join(self._pieces(text))
        if shown:
            self._out.append(shown)
        if self.done:
            self._judge()
        return shown

    def close(self) -> None:
        if not self.done and not self.broken:
            self.broken = "cut_off" if self._open else "no_object"

    def _begin(self, text: str) -> str:
        """From the first `{` on."""
        self._before += text
        start = self._before.find("{")
        if start < 0 or start > _MOST_PROSE:
            if len(self._before) > _MOST_PROSE:
                self.broken = "no_object"
            return ""
        text, self._before = self._before[start:], ""
        return text

    def _pieces(self, text: str) -> list[str]:
        pieces: list[str] = []
        place = 0
        while place < len(text) and not self.done and not self.broken:
            step = self._in_text(text, place) if self._in_string else self._outside(text, place)
            pieces.append(step[0])
            place = step[1]
        return pieces

    def _in_text(self, text: str, place: int) -> tuple[str, int]:
        letter = text[place]
        if self._escaped:
            self._escaped = False
            return (letter if letter in _ESCAPABLE else "\\" + letter), place + 1
        if plain := _PLAIN.match(text, place):
            return plain[0], plain.end()
        if letter == "\\":
            self._escaped = True
        elif letter == '"':
            self._in_string = False
        else:
            letter = _ESCAPES.get(letter) or f"\\u{ord(letter):04x}"
        return letter, place + 1

    def _outside(self, text: str, place: int) -> tuple[str, int]:
        found = _STRUCTURE.search(text, place)
        if found is None:
            return text[place:], len(text)
        letter = found[0]
        if letter == '"':
            self._in_string = True
        elif letter in "{[":
            self._open.append("}" if letter == "{" else "]")
        elif self._open.pop() != letter:
            self.broken = "not_json"
        self.done = not self._open and not self.broken
        return text[place : found.end()], found.end()

    def _judge(self) -> None:
        try:
            json.loads("".join(self._out), parse_constant=_no_constant)
        except (ValueError, RecursionError):
            self.broken = "not_json"


def _no_constant(word: str) -> None:
    raise ValueError(word)
