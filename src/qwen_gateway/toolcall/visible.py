"""The text of an answer in front of its calls: in which line and fence it stands, and what of it is certainly shown.

White space is held back, and so is a line that opens a fence: if a call follows, they belong to it.
"""

import re

_HEAD = 80
_INDENT = re.compile(r" {0,3}")
_MAY_OPEN = re.compile(r" {0,3}(?:`{1,2}|`{3,}[^`]*|~{1,2}|~{3,}.*)")
_OPENER = re.compile(r" {0,3}(?P<fence>`{3,}(?=[^`]*\Z)|~{3,})")
_CLOSER = re.compile(r" {0,3}(?P<fence>`{3,}|~{3,})[ \t\r]*")


class Visible:
    """Add text piece by piece; take what is certain."""

    def __init__(self) -> None:
        self._certain: list[str] = []
        self._held: list[str] = []
        self._holds_opener = False
        self._head = ""  # of the line at hand
        self._last = ""
        self._fence = ""

    @property
    def line_start(self) -> bool:
        """At most three blanks into a line, and in no fence."""
        return not self._fence and bool(_INDENT.fullmatch(self._head))

    @property
    def in_code(self) -> bool:
        """In a fence, or right behind a backtick."""
        return bool(self._fence) or self._last == "`"

    def add(self, text: str) -> None:
        first, *others = text.split("\n")
        self._within(first)
        for part in others:
            self._end_line()
            self._within(part)

    def take(self) -> str:
        text = "".join(self._certain)
        self._certain.clear()
        return text

    def cut(self) -> None:
        """A call stands here: the white space in front of it goes, and the line of a fence that was opened for it."""
        if self._holds_opener:
            self._fence = ""
        elif text := "".join(self._held).rstrip():
            self._certain.append(text)
        self._held.clear()
        self._holds_opener = False

    def finish(self) -> None:
        """Nothing follows: all is shown."""
        self._release()

    def _within(self, part: str) -> None:
        if not part:
            return
        self._last = part[-1]
        if len(self._head) < _HEAD:
            self._head += part[: _HEAD - len(self._head)]
        if part.isspace():
            self._held.append(part)
            return
        if self._holds_opener:
            self._release()
        if not self._fence and len(self._head) < _HEAD and _MAY_OPEN.fullmatch(self._head):
            self._held.append(part)
            return
        self._release()
        shown = part.rstrip()
        self._certain.append(shown)
        if len(shown) < len(part):
            self._held.append(part[len(shown) :])

    def _end_line(self) -> None:
        if self._fence:
            closer = _CLOSER.fullmatch(self._head)
            if closer and closer["fence"].startswith(self._fence):
                self._fence = ""
        elif opener := _OPENER.match(self._head):
            self._fence = opener["fence"]
            self._holds_opener = len(self._head) < _HEAD
        self._held.append("\n")
        self._head = ""

    def _release(self) -> None:
        self._certain += self._held
        self._held.clear()
        self._holds_opener = False
