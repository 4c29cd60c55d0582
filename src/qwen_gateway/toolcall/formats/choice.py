"""Which format a call is written in, by what stands behind its opening marker."""

import re

from qwen_gateway.toolcall.ahead import More
from qwen_gateway.toolcall.formats import bracket, hermes
from qwen_gateway.toolcall.formats.coder_xml import Elements
from qwen_gateway.toolcall.formats.others import Flower
from qwen_gateway.toolcall.formats.raw import NAME, Raw
from qwen_gateway.toolcall.markers import CANDIDATES, Marker, Markers
from qwen_gateway.toolcall.pieces import Reader, SchemaOf

_EMPHASIS = r"(?:\*{1,3}|`{1,2}(?!`)|[\]］】])?"
_GAP = re.compile(rf"{_EMPHASIS}\s{{0,64}}(?:`{{3,8}}\w{{0,16}}[ \t]{{0,16}}\r?\n\s{{0,16}})?")
_GAP_GROWING = re.compile(rf"{_EMPHASIS}\s{{0,64}}`{{1,8}}\w{{0,16}}[ \t]{{0,16}}\r?\Z")
_NAME_GROWING = re.compile(r"[ \t]{0,16}[A-Za-z0-9_.:-]{1,128}[ \t]{0,16}\r?\Z")
_BLANKS = re.compile(r"\s{0,64}")
_FIRST_ARGUMENT = "[ARG "
_ELEMENTS = ("<function=", "<invoke ")


def reader_at(
    text: str, at: int, marker: Marker, markers: Markers, schema_of: SchemaOf, *, final: bool
) -> tuple[Reader, int] | None:
    """A reader for the call behind `marker`, which ends at `at`, and where it is to begin.

    Nothing: no call follows, the marker was only mentioned. Raises More.
    """
    if marker.level == 3 and _is_raw(text, at, markers, final):
        return Raw(schema_of, markers), at
    found = _behind(text, at, marker, markers, schema_of, final)
    start = behind_marker(text, at)
    if found or not text.startswith(tuple(CANDIDATES), start):
        return found
    # Sometimes a marker stands behind a marker.
    second = markers.at(text, start, final=final, line_start=True)
    return _behind(text, second.end, second, markers, schema_of, final) if second and second.kind == "open" else None


def behind_marker(text: str, at: int) -> int:
    """The place behind white space, what is left of a marker's emphasis, and a fence that opens there."""
    gap = _GAP.match(text, at)
    return gap.end() if gap else at


def _behind(
    text: str, at: int, marker: Marker, markers: Markers, schema_of: SchemaOf, final: bool
) -> tuple[Reader, int] | None:
    """A reader of what is not written raw."""
    if marker.family == "flower":
        return Flower(schema_of, markers), at
    if marker.family in ("function", "invoke"):
        return Elements(schema_of, "function" if marker.family == "function" else "invoke"), at
    start = _payload_at(text, at, marker, final)
    if text.startswith("{", start):
        make = bracket.reader if marker.family == "bracket" else hermes.reader
        return make(schema_of, markers), start
    return _element(text, start, schema_of, final)


def _payload_at(text: str, at: int, marker: Marker, final: bool) -> int:
    """Where what stands behind the marker begins. Raises More."""
    name = NAME.match(text, at) if marker.level == 3 else None
    if marker.level == 3 and not name and not final and _NAME_GROWING.match(text, at):
        raise More
    if name:
        # It decorates the marker: the name of the call stands in its JSON.
        start = _behind_blanks(text, name.end())
        if start == len(text) and not final:
            raise More
        if text.startswith("{", start):
            return start
    start = behind_marker(text, at)
    if not final and (start == len(text) or _GAP_GROWING.match(text, at)):
        raise More
    return start


def _behind_blanks(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at


def _element(text: str, at: int, schema_of: SchemaOf, final: bool) -> tuple[Reader, int] | None:
    for tag in _ELEMENTS:
        if text.startswith(tag, at):
            return Elements(schema_of, "function" if tag == "<function=" else "invoke"), at
        if not final and tag.startswith(text[at : at + len(tag)]):
            raise More
    return None


def _is_raw(text: str, at: int, markers: Markers, final: bool) -> bool:
    """A name on the marker's line, and on the next an argument or the end."""
    name = NAME.match(text, at)
    if not name:
        if not final and _NAME_GROWING.match(text, at):
            raise More
        return False
    line = name.end()
    if text.startswith(_FIRST_ARGUMENT, line):
        return True
    if not final and _FIRST_ARGUMENT.startswith(text[line : line + len(_FIRST_ARGUMENT)]):
        raise More
    return line < len(text) and markers.boundary(text, line, final) == 3
