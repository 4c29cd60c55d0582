"""Calls whose values are written as they are, without any escaping. Only behind a marker with our nonce; where there is
none, the bracket form is taught instead.

    [TOOL CALL k7q2] Write
    [ARG file_path]
    /src/a.py
    [ARG content]
    print("any characters")
    [END TOOL CALL k7q2]

A value ends at a line that is `[ARG …]` with the name of an argument of this tool that was not given yet, or that is
the closing marker with the nonce. One line end at its beginning and one at its end are not part of it.
"""

import json
import re
from typing import Any

from qwen_gateway.toolcall.ahead import NEAR, Broken, More, near
from qwen_gateway.toolcall.formats import bracket
from qwen_gateway.toolcall.formats.typed import as_json, escaped, is_text, property_of
from qwen_gateway.toolcall.markers import Markers
from qwen_gateway.toolcall.pieces import ReaderState, SchemaOf

NAME = re.compile(r"[ \t]{0,16}([A-Za-z0-9_.:-]{1,128})[ \t]{0,16}\r?\n")
_ARGUMENT = re.compile(r"\[ARG ([^\]\r\n]{1,256})\][ \t]*\r?")
_HALF_CLOSER = "[END TOOL"
_LONGEST_BOUNDARY = 300

FORM = """Write it exactly like this: [TOOL CALL {nonce}] and the name, [ARG argument] before each value, \
[END TOOL CALL {nonce}] at the end, each on a line of its own."""


class Raw:
    """A `Reader`. What it is fed begins behind the opening marker, with the name."""

    def __init__(self, schema_of: SchemaOf, markers: Markers) -> None:
        self.state: ReaderState = "open"
        self.why = ""
        self.name: str | None = None
        self.begun = True
        self.doubtful = False
        self.repairs: set[str] = set()
        self.rest = ""
        self._schema_of = schema_of
        self._markers = markers
        self._schema: Any = None
        self._text, self._at, self._tail, self._final = "", 0, "", False
        self._at_line_start = True
        self._given: set[str] = set()
        self._argument: Any = None  # schema of the argument that is being read
        self._is_text = False
        self._value: list[str] | None = None  # of an argument that is not written on as it comes
        self._line_end = ""  # held: it may be the one before the next argument
        self._pieces: list[str] = []
        self._length = 0
        self._taken = 0

    @property
    def ready(self) -> int:
        return self._length

    @property
    def arguments(self) -> str:
        return "".join(self._pieces)

    def take(self, *, doubtful: bool = False) -> str:
        del doubtful  # nothing ever is
        piece = "".join(self._pieces[self._taken :])
        self._taken = len(self._pieces)
        return piece

    def feed(self, text: str) -> None:
        if self.state != "open":
            self.rest += text if self.state == "whole" else ""
            return
        self._text += text
        self._run()

    def finish(self) -> None:
        self._final = True
        self._run()
        if self.state != "open":
            return
        if self._at_line_start and self.name is not None and self._text.startswith(_HALF_CLOSER):
            self._pass(len(self._text))
            self._end_all()
        else:
            self.state, self.why = "cut", near("the answer ended within the call", self._tail)

    def _run(self) -> None:
        try:
            while self.state == "open":
                self._step()
        except More:
            self._text, self._at = self._text[self._at :], 0
        except Broken as broken:
            self.state, self.why = "broken", near(str(broken), self._tail)

    def _pass(self, end: int) -> str:
        """The text up to this place, which is then behind us."""
        passed = self._text[self._at : end]
        self._at = end
        self._tail = (self._tail + passed[-NEAR:])[-NEAR:]
        return passed

    def _step(self) -> None:
        if self._at == len(self._text):
            raise More
        if self.name is None:
            self._begin()
        elif self._at_line_start and self._text[self._at] in "[［【":
            self._boundary()
        elif self._argument is None:
            self._blank_line()
        else:
            self._content()

    def _begin(self) -> None:
        name = NAME.match(self._text)
        if not name:
            raise More  # whoever made this reader has seen that a name follows
        self._pass(name.end())
        self.name = name[1]
        self._schema = self._schema_of(self.name)
        self._emit("{")

    def _boundary(self) -> None:
        """At a line that may be the next argument or the end."""
        marker = self._markers.at(self._text, self._at, final=self._final, line_start=True)
        if marker and marker.kind == "close" and marker.level == 3:
            self._pass(marker.end)
            self._end_all()
            return
        end = self._text.find("\n", self._at, self._at + _LONGEST_BOUNDARY)
        if end < 0 and len(self._text) - self._at < _LONGEST_BOUNDARY:
            raise More
        argument = _ARGUMENT.fullmatch(self._text, self._at, end) if end >= 0 else None
        if argument and self._is_next(argument[1]):
            self._end_value()
            self._pass(end + 1)
            self._begin_value(argument[1])
        elif self._argument is None:
            self._pass(end if end >= 0 else self._at + _LONGEST_BOUNDARY)
            raise Broken("an argument that the tool does not have")
        else:
            self._at_line_start = False

    def _is_next(self, name: str) -> bool:
        if name in self._given:
            return False
        return property_of(self._schema, name) is not None or self._schema is None

    def _blank_line(self) -> None:
        """Between the name and the first argument."""
        char = self._pass(self._at + 1)
        self._at_line_start = char == "\n"
        if char.strip():
            raise Broken("no argument behind the name")

    def _content(self) -> None:
        """Up to where a line begins that may be a boundary."""
        place = self._text.find("\n", self._at)
        if place < 0:
            self._write(self._line_end + self._pass(len(self._text)))
            self._line_end = ""
            self._at_line_start = False
            return
        # Lines that cannot be one are passed on in one go.
        while place + 1 < len(self._text) and self._text[place + 1] not in "[［【":
            following = self._text.find("\n", place + 1)
            if following < 0:
                break
            place = following
        passed = self._pass(place + 1)
        self._write(self._line_end + passed[:-1])
        self._line_end = "\n"
        self._at_line_start = True

    def _begin_value(self, name: str) -> None:
        self._argument = property_of(self._schema, name) or {}
        self._is_text = is_text(self._argument)
        self._emit(f"{', ' if self._given else ''}{json.dumps(name, ensure_ascii=False)}: ")
        self._given.add(name)
        self._value = None if self._is_text else []
        self._line_end = ""
        self._at_line_start = True
        if self._is_text:
            self._emit('"')

    def _write(self, text: str) -> None:
        if self._value is not None:
            self._value.append(text)
        elif text:
            self._emit(escaped(text))

    def _end_value(self) -> None:
        if not self._given:
            return
        if self._value is not None:
            self._emit(as_json("".join(self._value), self._argument))
        else:
            self._emit('"')
        self._line_end = ""

    def _end_all(self) -> None:
        self._end_value()
        self._emit("}")
        self.state, self.rest = "whole", self._text[self._at :]

    def _emit(self, piece: str) -> None:
        self._pieces.append(piece)
        self._length += len(piece)


def teach(listing: str, nonce: str) -> str:
    """The part of the first message that says which tools there are and how they are called."""
    if not nonce:
        return bracket.teach(listing, nonce)
    return bracket.lesson(_EXAMPLE.format(nonce=nonce), _RULES, listing, nonce)


def call(nonce: str, name: str, arguments: str) -> str:
    """A call of an earlier answer. One that this form cannot hold is written as JSON, which is always read too."""
    try:
        values = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        values = None
    if not nonce or not isinstance(values, dict) or not all(_fits(key, value) for key, value in values.items()):
        return bracket.call(nonce, name, arguments)
    lines = [f"[TOOL CALL {nonce}] {name}"]
    for key, value in values.items():
        lines += [f"[ARG {key}]", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
    return "\n".join([*lines, f"[END TOOL CALL {nonce}]"])


def anchor(reminder: str, nonce: str) -> str:
    """For the end of a later message: what the tools were and how they are called."""
    if not nonce:
        return bracket.anchor(reminder, nonce)
    return bracket.reminded(reminder, f"[TOOL CALL {nonce}] … [END TOOL CALL {nonce}]")


def form(nonce: str) -> str:
    """One sentence that shows the form."""
    return FORM.format(nonce=nonce) if nonce else bracket.form(nonce)


def _fits(key: str, value: Any) -> bool:
    if not re.fullmatch(r"[^\]\r\n]{1,256}", key):
        return False
    return not isinstance(value, str) or not re.search(r"(?mi)^[\[［【] {0,2}(?:ARG|END|/)", value)


_EXAMPLE = """\
[TOOL CALL {nonce}] tool name from the list
[ARG argument]
value
[ARG another argument]
its value
[END TOOL CALL {nonce}]"""

_RULES = """\
- The name of the tool stands behind the first marker. Each argument has a line [ARG its name], and its value begins on
  the next line. Text is written as it is, over as many lines as needed: no quotes around it, no escaping, no code
  fence. Numbers, true, false, null, lists and objects are written as JSON."""
