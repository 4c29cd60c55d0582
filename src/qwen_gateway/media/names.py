"""Names of files: what a client calls one → a plain name that ends as its format wants, since the site goes by that."""

from unicodedata import category

from qwen_gateway.media.formats import Format
from qwen_gateway.turn.files import last_part

LONGEST = 200
"""Bytes of UTF-8."""
_LONGEST_EXTENSION = 20
_LOOKED_AT = 4096
"""Characters of either end."""


def plain(name: str) -> str:
    """The last part of a path, of either system's form, without what cannot be seen. May be empty."""
    last = last_part(name)
    if len(last) > 2 * _LOOKED_AT:  # of a name of megabytes, no more than can stay is gone through
        last = last[:_LOOKED_AT] + last[-_LOOKED_AT:]
    # Not printable: control characters, marks of direction, halves of pairs, ends of lines, and blanks of odd widths.
    spaced = (" " if category(one) == "Zs" else one for one in last)
    seen = "".join(one for one in spaced if one.isprintable())
    return "" if not seen.strip(" .") else seen.strip(" ").rstrip(".")


def extension(name: str) -> str:
    """In lower case, without the dot; empty if there is none. A dot that begins the name begins no extension."""
    stem, dot, end = name.rpartition(".")
    is_one = dot and stem and len(end) <= _LONGEST_EXTENSION and end.isascii() and " " not in end
    return end.lower() if is_one else ""


def fitting(name: str, format_: Format) -> str:
    """`name` as a file of that format is to be called: no longer than `LONGEST`, and with an extension of it. One that
    says something else stays a part of the name."""
    stem = plain(name)
    if not stem:
        return f"{format_.kind}.{format_.extensions[0]}"
    end = extension(stem)
    if end in format_.extensions:
        stem, end = stem[: -len(end) - 1], stem[-len(end) :]
    else:
        end = format_.extensions[0]
    return f"{_cut(stem, LONGEST - len(end) - 1)}.{end}"


def _cut(stem: str, most: int) -> str:
    raw = stem.encode()
    return stem if len(raw) <= most else raw[:most].decode(errors="ignore").rstrip(" .")
