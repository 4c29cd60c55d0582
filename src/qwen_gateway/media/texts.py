"""Whether bytes are text. Told by the bytes: that which decodes and holds no NUL is text."""

import codecs
import re

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BINARY = re.compile(rb"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]")
# Possessive throughout, so that it takes linear time: the text is a stranger's, and nothing else runs meanwhile.
_SVG = re.compile(
    r"""\s*+(?:<\?xml[^>]*+(?<=\?)>\s*+)?+
    (?:<!--(?:(?!-->).)*+-->\s*+|<!DOCTYPE\s++svg[^>\[]*+(?:\[[^\]]*+\][^>]*+)?+>\s*+)*+
    <(?:[A-Za-z_][\w.-]*+:)?+svg[\s>/]""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


def decoded(head: bytes, *, whole: bool) -> str | None:
    """The text that the bytes are: UTF-8, or UTF-16 that begins with its mark. `None`: they are none. Unless they are
    the whole of it, the last character may be cut."""
    name = "utf-16" if head.startswith(_UTF16) else "utf-8-sig"
    try:
        text = codecs.getincrementaldecoder(name)().decode(head, final=whole)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def may_be_text(head: bytes) -> bool:
    """Whether it can be text in an older encoding, such as GB18030, whose bytes alone do not show which."""
    return not _BINARY.search(head)


def is_svg(text: str) -> bool:
    return _SVG.match(text) is not None
