"""Looking ahead in text of which more may come."""

import json
import re
from collections.abc import Callable

AHEAD = 256
"""How far is looked ahead over white space or a key. What is further apart is not read as one call."""
NEAR = 40
"""How much text a complaint shows."""

Boundary = Callable[[str, int, bool], int]
"""Which marker between calls stands at a place (text, place, whether the text is all): 3 one with our nonce, 2 another
one, 0 none. Raises More."""

_BLANKS = re.compile(r"[ \t\n\r]*")


class More(Exception):
    """Cannot be decided without more text."""


class Broken(Exception):
    """Cannot be read. The message says why, in words for the model."""


def peek(text: str, at: int) -> tuple[str, int]:
    """The next character that is not white space, and its place. Raises More, also at the end of the answer: a text
    that was cut proves nothing. Raises Broken."""
    end = after_blanks(text, at)
    if end == len(text):
        raise More
    return text[end], end


def after_blanks(text: str, at: int) -> int:
    """The place behind white space. Raises Broken if there is too much of it."""
    blanks = _BLANKS.match(text, at)
    end = blanks.end() if blanks else at
    if end - at > AHEAD:
        raise Broken("too much white space")
    return end


def near(why: str, before: str) -> str:
    """A complaint with the text before the place that it is about."""
    return f"{why}, near {json.dumps(before[-NEAR:], ensure_ascii=False)}"
