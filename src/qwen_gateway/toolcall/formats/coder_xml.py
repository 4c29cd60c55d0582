"""The forms with one element per argument: that of Qwen3-Coder and its successors, and `<invoke>`. Read only.

    <function=Write>
    <parameter=content>
    any characters, which are no XML
    </parameter>
    </function>

Nothing is escaped, so a value ends where its closing tag is followed by the next one of these tags, and not at a tag
that stands in a file that is written. One line end at its beginning and one at its end are not part of it.
"""

import json
import re
from typing import Any, Literal

from qwen_gateway.toolcall.ahead import NEAR, Broken, More, near, peek
from qwen_gateway.toolcall.formats.typed import as_json, property_of
from qwen_gateway.toolcall.pieces import ReaderState, SchemaOf

Style = Literal["function", "invoke"]

_LONGEST_TAG = 300
_CLOSING = "</parameter>"
_LINE_ENDS = re.compile(r"\A\r?\n|\r?\n\Z")


class _Tags:
    def __init__(self, opening: str, parameter: str, closing: str, after: str) -> None:
        self.opening = re.compile(opening)
        self.parameter = re.compile(parameter)
        self.closing = closing
        # What may follow the end of a value: all in the order of their length does not matter, none begins another.
        self.after = (after, closing, "</tool_call")


_STYLES = {
    "function": _Tags(r"<function=([^<>\n]{1,256})>", r"<parameter=([^<>\n]{1,256})>", "</function>", "<parameter="),
    "invoke": _Tags(
        r"""<invoke\s+name=["']([^<>"'\n]{1,256})["']\s*>""",
        r"""<parameter\s+name=["']([^<>"'\n]{1,256})["'][^<>\n]{0,64}>""",
        "</invoke>",
        "<parameter ",
    ),
}


class Elements:
    """A `Reader`. What it is fed begins with the opening tag."""

    def __init__(self, schema_of: SchemaOf, style: Style) -> None:
        self.state: ReaderState = "open"
        self.why = ""
        self.name: str | None = None
        self.doubtful = False
        self.repairs: set[str] = set()
        self.rest = ""
        self._schema_of = schema_of
        self._tags = _STYLES[style]
        self._schema: Any = None
        self._text, self._at, self._tail = "", 0, ""
        self._parameter: str | None = None
        self._value: list[str] = []
        self._pairs: dict[str, str] = {}
        self._taken = False

    @property
    def begun(self) -> bool:
        return self._parameter is not None or bool(self._pairs)

    @property
    def ready(self) -> int:
        return 0  # without our marker nothing is given out early

    @property
    def arguments(self) -> str:
        pairs = (f"{json.dumps(key, ensure_ascii=False)}: {value}" for key, value in self._pairs.items())
        return f"{{{', '.join(pairs)}}}"

    def take(self, *, doubtful: bool = False) -> str:
        del doubtful
        if self._taken or self.state != "whole":
            return ""
        self._taken = True
        return self.arguments

    def feed(self, text: str) -> None:
        if self.state != "open":
            self.rest += text if self.state == "whole" else ""
            return
        self._text += text
        self._run()

    def finish(self) -> None:
        if self.state == "open":
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
        passed = self._text[self._at : end]
        self._at = end
        self._tail = (self._tail + passed[-NEAR:])[-NEAR:]
        return passed

    def _step(self) -> None:
        if self.name is None:
            self.name = self._tag(self._tags.opening).strip()
            self._schema = self._schema_of(self.name)
        elif self._parameter is not None:
            self._content()
        else:
            self._between()

    def _tag(self, pattern: re.Pattern[str]) -> str:
        end = self._text.find(">", self._at, self._at + _LONGEST_TAG)
        if end < 0 and len(self._text) - self._at < _LONGEST_TAG:
            raise More
        tag = pattern.fullmatch(self._text, self._at, end + 1) if end >= 0 else None
        if not tag:
            self._pass(end + 1 if end >= 0 else self._at + _LONGEST_TAG)
            raise Broken("a tag that belongs to no call")
        self._pass(tag.end())
        return tag[1]

    def _between(self) -> None:
        """Behind the opening tag or a value: the next parameter or the end."""
        _, at = peek(self._text, self._at)
        self._pass(at)
        for end in (self._tags.closing, "</tool_call"):
            if self._text.startswith(end, at):
                self._end(end)
                return
            if end.startswith(self._text[at:]):
                raise More
        self._parameter = self._tag(self._tags.parameter).strip()
        self._value = []

    def _end(self, tag: str) -> None:
        if tag == self._tags.closing:
            self._pass(self._at + len(tag))
        self.state, self.rest = "whole", self._text[self._at :]

    def _content(self) -> None:
        end = self._text.find(_CLOSING, self._at)
        if end < 0:
            certain = max(self._at, len(self._text) - len(_CLOSING) + 1)
            self._value.append(self._pass(certain))
            raise More
        self._value.append(self._pass(end))
        after = end + len(_CLOSING)
        if self._is_end(after):
            self._pass(after)
            self._end_value()
        else:
            self._value.append(self._pass(after))

    def _is_end(self, at: int) -> bool:
        try:
            _, at = peek(self._text, at)
        except Broken:
            return False
        if any(self._text.startswith(tag, at) for tag in self._tags.after):
            return True
        if any(tag.startswith(self._text[at:]) for tag in self._tags.after):
            raise More
        return False

    def _end_value(self) -> None:
        name, self._parameter = self._parameter or "", None
        value = _LINE_ENDS.sub("", "".join(self._value))
        if name in self._pairs:
            raise Broken("an argument that is given twice")
        self._pairs[name] = as_json(value, property_of(self._schema, name))
