"""Formats that share a container with others: which ones the first bytes of a file can be, the likeliest first.

An empty answer: no container that is known here.
"""

import re

from qwen_gateway.media import formats
from qwen_gateway.media.formats import Format

Formats = tuple[Format, ...]

_BOX = re.compile(rb"[\x00-\x7f].{3}(ftyp|moov|mdat|wide|free|skip)", re.DOTALL)
_MP4 = re.compile(rb"isom|iso[2-9a-c]|mp4[12]|avc1|dash|mmp4|MSNV|XAVC|f4v |NDS[CHMPSX]|M4VH|M4VP|hvc1|hev1")
_APPLE = {b"qt  ": (formats.MOV,), b"M4A ": (formats.M4A,), b"M4B ": (formats.M4A,), b"M4P ": (formats.M4A,)}
_PICTURES = {b"mif1", b"msf1", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"avif", b"avis"}
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP = b"PK\x03\x04"
_OFFICE = {b"word/": formats.DOCX, b"xl/": formats.XLSX, b"ppt/": formats.PPTX}
_ENTRY = re.compile(rb"PK\x03\x04.{22}(.)(.).{2}", re.DOTALL)
_LONGEST_NAME = 64
"""Bytes of an entry's name that are looked at: thousands of entries could each claim 64 KB, the same ones."""


def candidates(head: bytes) -> Formats:
    if _BOX.match(head):
        return _boxes(head)
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _matroska(head)
    if head.startswith(_ZIP):
        return _zip(head)
    if head.startswith(_OLE):
        return _ole(head)
    return _stream(head)


def _boxes(head: bytes) -> Formats:
    """ISO media: MP4 and its relatives. A file that says no brand is QuickTime from before there were any."""
    if head[4:8] != b"ftyp":
        return (formats.MOV,)
    brand, brands = head[8:12], head[16 : min(int.from_bytes(head[:4], "big"), 256)]
    if brand in _APPLE:
        return _APPLE[brand]
    if brand == b"M4V ":
        return (formats.M4V, formats.MP4)
    if brand[:3] in (b"3gp", b"3g2", b"3ge", b"3gr", b"3gs"):
        return (formats.M3GP, formats.MP4)
    if _MP4.match(brand) or (brand not in _PICTURES and _MP4.search(brands)):
        # Only what it is called tells a video from a sound alone.
        return (formats.MP4, formats.M4V, formats.M4A)
    return ()


def _matroska(head: bytes) -> Formats:
    if b"webm" in head[:64]:
        return (formats.WEBM,)
    return (formats.MKV,) if b"matroska" in head[:64] else ()


def _zip(head: bytes) -> Formats:
    """By the names of the first entries; those that a zip file of Office begins with are the same for all three."""
    names = _entries(head)
    if names[0] == b"mimetype":
        return (formats.EPUB,) if head[38:58] == b"application/epub+zip" else ()
    if b"OFD.xml" in names or names[0].startswith(b"Doc_0/"):
        return (formats.OFD,)
    if b"META-INF/container.xml" in names:
        return (formats.EPUB,)
    # A zip file that holds one of Office's as it is has its entries too, but not at the beginning.
    if not names[0].startswith((*_OFFICE, b"[Content_Types].xml", b"_rels/", b"docProps/", b"customXml/")):
        return ()
    parts = {name.partition(b"/")[0] + b"/" for name in names}
    return next(((found,) for part, found in _OFFICE.items() if part in parts), tuple(_OFFICE.values()))


def _entries(head: bytes) -> list[bytes]:
    """The beginnings of their names; one that is empty, if there are none."""
    found = [(entry.end(), entry[1][0] + 256 * entry[2][0]) for entry in _ENTRY.finditer(head)]
    return [head[start : start + min(length, _LONGEST_NAME)] for start, length in found] or [b""]


def _ole(head: bytes) -> Formats:
    """Office's older form: the names of its streams stand somewhere in the file, and in most within the beginning."""
    for name, found in (
        ("PowerPoint Document", ()),
        ("WordDocument", (formats.DOC,)),
        ("Workbook", (formats.XLS,)),
        ("Book\0", (formats.XLS,)),
    ):
        if name.encode("utf-16-le") in head:
            return found
    return (formats.DOC, formats.XLS)


def _stream(head: bytes) -> Formats:
    """Frames and packets without a container. A sound may begin with a tag that several formats have."""
    if head.startswith(b"ID3") and len(head) > 9 and head[3] < 0x10:
        return (formats.MP3, formats.AAC)
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return _frames(head[1], head[2])
    for length, offset in ((188, 0), (192, 4)):
        places = range(offset, min(len(head), offset + 5 * length), length)
        if len(places) > 1 and all(head[place] == 0x47 for place in places):
            return (formats.M2TS,)
    return ()


def _frames(second: int, third: int) -> Formats:
    if second & 0xF6 == 0xF0:
        return (formats.AAC,)
    is_layer_3 = second & 0x06 == 0x02 and second & 0x18 != 0x08
    return (formats.MP3,) if is_layer_3 and third & 0xF0 != 0xF0 and third & 0x0C != 0x0C else ()
