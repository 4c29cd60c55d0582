"""What keeps a client's text and our own apart: it is made harmless, and our lines carry a nonce.

The nonce is derived from the conversation's first key, so it is the same in all its turns, and nobody can know it
beforehand.
"""

import hashlib
import re
from collections.abc import Iterator

MARK = "\0"
"""Stands for the nonce until the text is known. No text that went through `neutral` has it."""

_NONCE_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_CONTROL = bytes([*range(9), 11, 12, *range(14, 32), 127])
# These are single tokens of the models' vocabulary: in a client's text they could be read as a turn boundary.
_SPECIAL = re.compile(r"<\|(im_start|im_end|endoftext)\|>")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_GONE = ("\\b", "\\f")


def neutral(text: str) -> str:
    """Without control characters, and with the models' own boundary marks made harmless."""
    # A prompt can have a megabyte; deleting from bytes is thirty times faster than a pattern over the text.
    raw = text.encode()
    kept = raw.translate(None, _CONTROL)
    if len(kept) != len(raw):
        text = kept.decode()
    # One character is looked for twenty times faster than two, and most texts have no bar at all.
    return _SPECIAL.sub(r"< |\1|>", text) if "|" in text and "<|" in text else text


def neutral_within(json: str) -> str:
    """JSON text whose strings are as `neutral` leaves them once they are decoded, too."""
    if "\\" in json:
        json = _ESCAPE.sub(_unescaped, json)
        # Two halves of one character come together, and a half that is alone goes.
        json = json.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return neutral(json)


def on_one_line(text: str) -> str:
    """As `neutral`: a client's name for a tool or a file may hold anything."""
    return " ".join(neutral(text).split())


def in_short(text: str) -> str:
    """On one line, of at most 120 characters."""
    line = " ".join(text.split())
    return line if len(line) <= 120 else f"{line[:80]} … {line[-37:]}"


def line(text: str) -> str:
    """A line of ours."""
    return f"--- {MARK} {text} ---"


def marked(text: str, key: bytes, beside: str = "") -> tuple[str, str]:
    """With the nonce in its places, and that nonce: letters that stand nowhere else in the text. None has place in a
    text without marks.

    key: of the conversation's first group (`chain.Chain.keys[0]`, or its root when there is none). beside: another text
    in which the nonce must not stand either.
    """
    if MARK not in text:
        return text, ""
    nonce = next(nonce for nonce in _nonces(key) if nonce not in text and nonce not in beside)
    return text.replace(MARK, nonce), nonce


def _unescaped(escape: re.Match[str]) -> str:
    if not escape[1]:
        return "" if escape[0] in _GONE else escape[0]
    char = chr(int(escape[1], 16))
    if char in '"\\\t\n\r':
        return escape[0]
    return "" if ord(char) < 128 and ord(char) in _CONTROL else char


def _nonces(key: bytes) -> Iterator[str]:
    """Longer and longer: a text of a megabyte may contain all words of four letters."""
    length = 4
    while True:
        digest = hashlib.sha256(b"nonce %d:%b" % (length, key)).digest()
        yield "".join(_NONCE_LETTERS[byte % len(_NONCE_LETTERS)] for byte in digest[:length])
        length += 1
