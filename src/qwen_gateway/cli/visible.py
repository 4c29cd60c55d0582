"""Text from elsewhere (names, what the site says) made fit for a terminal (C-35)."""

import shlex
import unicodedata

_SPACES = frozenset("\n\t\r\v\f\u2028\u2029\x85")
# They reorder what is around them, so that a text reads as another one.
_REORDER = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(text: str, *, lines: bool = False) -> str:
    """Without control characters, so that no text can move the cursor, change colours or rewrite what stands
    before it. lines: line breaks stay; otherwise they become blanks."""
    kept = []
    for char in text:
        if lines and char == "\n":
            kept.append(char)
        elif char in _SPACES:
            kept.append(" ")
        elif char not in _REORDER and unicodedata.category(char) not in {"Cc", "Cs"}:
            kept.append(char)
    return "".join(kept)


def quoted(name: str) -> str:
    """A name as it is written in a command line."""
    return shlex.quote(visible(name))
