"""A call that is being read: its text from the marker on, its reader, and whether it is shown before it is whole."""

import html
import re
from collections.abc import Callable, Sequence
from functools import cache

from qwen_gateway.toolcall.markers import OWN_WORD, Marker
from qwen_gateway.toolcall.pieces import Commit, Level, Reader, ReaderState

LONG = 2048
"""Characters of arguments from which a call is shown before it is whole."""
PATIENCE = 3.0
"""Seconds after which it is, too, if it is no short one."""
WORTH = 512
"""Characters of arguments up to which no time is too long: what is small is checked before it is shown."""
EARLY = 128
"""The same for an eager call."""
COMPARED = 64
"""Characters of a call that are compared with the client's texts before it is shown. They have come for certain when
so many arguments are ready, however many of those a repair has added."""
LARGEST = 1024 * 1024
"""Characters of one call."""

Quoted = Callable[[str], bool]
"""Whether a text, `squeezed`, stands in one of the client's texts."""


_ESCAPE = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|([nrt]))?")
_SURROGATE = re.compile("[\ud800-\udfff]")
# `12<tab>`, `12→`, `12|`; `+`, `-` and `>`; `path:12:`.
_LINE_PREFIX = re.compile(
    r"^(?:[^\S\n]{0,16}(?:\d{1,7}[^\S\n]{0,4}[\t→|│:]|[>+-]|[^\s:]{1,200}:\d{1,7}[:-])){1,4}", re.MULTILINE
)
_HALF = re.compile(r"(?:\\+(?:u[0-9a-fA-F]{0,3})?|&#?\w{0,10})\Z")


def squeezed(text: str) -> str:
    """How a call is looked for in the client's texts: without white space, quotes and backslashes.

    A file is seldom handed over as it is: its lines are numbered, marked as a diff or as quoted, or it is a string in
    JSON or in HTML; and the model writes it as it was.
    """
    if "&" in text:
        text = html.unescape(text)
    if "\\" in text:
        text = _ESCAPE.sub(_meant, text)
        if _SURROGATE.search(text):
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "".join(_LINE_PREFIX.sub("", text).split()).replace('"', "")


def _meant(escape: re.Match[str]) -> str:
    if escape[1]:
        return chr(int(escape[1], 16))
    return "\n" if escape[2] else ""


def quoted_in(texts: Sequence[str]) -> Quoted:
    """The texts are looked at only once there is something to look for."""

    @cache
    def joined() -> str:
        return "\0".join(map(squeezed, texts))

    return lambda text: bool(text) and text in joined()


class Draft:
    """opening: the marker and what stands between it and where the reader begins. since: as `Sieve.feed` is told."""

    def __init__(self, marker: Marker, marker_length: int, opening: str, reader: Reader, since: float) -> None:
        self.reader = reader
        self.shown = False
        self._marker = marker
        self._marker_length = marker_length
        self._pieces = [opening]
        self._length = len(opening)
        self._rest = ""
        self._since = since
        self._is_quoted = False

    def feed(self, text: str, *, final: bool) -> None:
        room = max(0, LARGEST - self._length)
        read, self._rest = text[:room], text[room:]
        self.reader.feed(read)
        if final:
            self.reader.finish()
        self._pieces.append(read)
        self._length += len(read)

    @property
    def state(self) -> ReaderState:
        return "broken" if self.reader.state == "open" and self._rest else self.reader.state

    @property
    def why(self) -> str:
        return self.reader.why or "a call that is too long"

    @property
    def rest(self) -> str:
        """What stood behind it."""
        return self.reader.rest + self._rest

    @property
    def level(self) -> Level:
        """The level that its check must satisfy."""
        return 1 if self.reader.doubtful else self._marker.level

    @property
    def text(self) -> str:
        """All of it, once it is whole."""
        text = "".join(self._pieces)
        return text[: len(text) - len(self.reader.rest)]

    @property
    def is_mention(self) -> bool:
        """Whether what cannot be read on is a tag that the text only speaks of."""
        return self._marker.family in OWN_WORD and not self.reader.begun

    @property
    def unread(self) -> str:
        """All of it, as far as it has come."""
        return "".join(self._pieces) + self._rest

    @property
    def comparable(self) -> str:
        """What is looked for in the client's texts: with our marker, which they cannot know, or else without any."""
        return self.text if self._marker.level == 3 else self.text[self._marker_length :]

    def may_be_shown(self, commit: Commit, elapsed: float, quoted: Quoted) -> bool:
        """Whether it is shown from now on. By size, this depends on the text alone and not on how it came."""
        if commit == "complete" or self._marker.level < 3 or self._is_quoted or not self.reader.ready:
            return False
        is_late = commit == "hybrid" and self.reader.ready > WORTH and elapsed - self._since >= PATIENCE
        if self.reader.ready <= (EARLY if commit == "eager" else LONG) and not is_late:
            return False
        self._is_quoted = quoted(squeezed(_HALF.sub("", "".join(self._pieces)[:COMPARED])))
        return not self._is_quoted
