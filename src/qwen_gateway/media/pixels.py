"""How many pixels a picture has, from its first bytes: one of few bytes can be of many pixels.

Not known, and so not bounded: pictures that say it only behind those bytes (a JPEG after long notes, a TIFF that has
its tags at its end), icons, and SVG, which has none.
"""

import struct
from collections.abc import Callable

MOST = 100_000_000
_NO_SIZE = {0xC4, 0xC8, 0xCC}
"""Segments of JPEG among those of frames (C0 to CF) that are none."""

_TIFF_TAGS = (256, 257)
"""Width and height."""
_TIFF_FORMS = {3: "H", 4: "I"}


def too_many(head: bytes) -> tuple[int, int] | None:
    """Width and height of a picture that has more than `MOST` pixels."""
    found = size(head)
    return found if found and found[0] * found[1] > MOST else None


def size(head: bytes) -> tuple[int, int] | None:
    """Width and height. `None` where they are not known: another format, or they stand further behind."""
    try:
        for beginnings, read in _READERS:
            if head.startswith(beginnings):
                return read(head)
    except struct.error:
        pass  # it ends too early
    return None


def _pair(form: str, head: bytes, place: int) -> tuple[int, int]:
    first, second = struct.unpack_from(form, head, place)
    return first, second


def _png(head: bytes) -> tuple[int, int] | None:
    return _pair(">II", head, 16) if head[12:16] == b"IHDR" else None


def _gif(head: bytes) -> tuple[int, int]:
    return _pair("<HH", head, 6)


def _jpeg(head: bytes) -> tuple[int, int] | None:
    """The segments up to the first that begins a frame; each says how long it is."""
    place = 2
    while True:
        mark, kind, length = struct.unpack_from(">BBH", head, place)
        if mark != 0xFF or kind == 0xDA:
            return None
        if kind == 0xFF:  # filling
            place += 1
        elif 0xC0 <= kind <= 0xCF and kind not in _NO_SIZE:
            height, width = _pair(">HH", head, place + 5)
            return width, height
        else:
            place += 2 + length


def _webp(head: bytes) -> tuple[int, int] | None:
    match head[12:16] if head[8:12] == b"WEBP" else b"":
        case b"VP8 ":
            width, height = _pair("<HH", head, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (packed,) = struct.unpack_from("<I", head, 21)
            return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
        case b"VP8X" if len(head) >= 30:
            return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    return None


def _tiff(head: bytes) -> tuple[int, int] | None:
    """Of the first page."""
    order = "<" if head.startswith(b"I") else ">"
    (place,) = struct.unpack_from(f"{order}I", head, 4)
    (count,) = struct.unpack_from(f"{order}H", head, place)
    found: dict[int, int] = {}
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        tag, form, length = struct.unpack_from(f"{order}HHI", head, entry)
        if tag in _TIFF_TAGS and form in _TIFF_FORMS and length == 1:
            (found[tag],) = struct.unpack_from(f"{order}{_TIFF_FORMS[form]}", head, entry + 8)
            if len(found) == len(_TIFF_TAGS):
                return found[_TIFF_TAGS[0]], found[_TIFF_TAGS[1]]
    return None


def _bmp(head: bytes) -> tuple[int, int]:
    """A height below zero: the lines come from above."""
    (length,) = struct.unpack_from("<I", head, 14)
    width, height = _pair("<HH" if length == 12 else "<ii", head, 18)
    return abs(width), abs(height)


_READERS: tuple[tuple[bytes | tuple[bytes, ...], Callable[[bytes], tuple[int, int] | None]], ...] = (
    (b"\x89PNG\r\n\x1a\n", _png),
    ((b"GIF87a", b"GIF89a"), _gif),
    (b"\xff\xd8\xff", _jpeg),
    (b"RIFF", _webp),
    (b"BM", _bmp),
    ((b"II*\0", b"MM\0*"), _tiff),
)
