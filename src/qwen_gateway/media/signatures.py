"""What a file is, from its first bytes: the formats that it can be, or how else it is known."""

import re

import filetype  # type: ignore[import-untyped] # it has no types
from msgspec import Struct

from qwen_gateway.media import containers, formats, texts
from qwen_gateway.media.formats import Format

# Its reader of zstd calls itself for every eight bytes, so it gets no more than what the formats need.
_LOOKED_AT = 2048
_BY_EXTENSION = {
    "jpg": formats.JPG,
    "png": formats.PNG,
    "apng": formats.APNG,
    "webp": formats.WEBP,
    "tif": formats.TIFF,
    "ico": formats.ICO,
    "avi": formats.AVI,
    "wmv": formats.WMV,
    "flv": formats.FLV,
    "wav": formats.WAV,
}
# These may be text from end to end, as far as bytes can tell.
_TEXTUAL = (
    (b"%PDF-", formats.PDF),
    (b"\xef\xbb\xbf%PDF-", formats.PDF),
    (b"#!AMR\n", formats.AMR),
    (b"#!AMR-WB\n", formats.AMR),
)
# Programs read a PDF that begins within its first 1024 bytes: after a printer's commands, a mark of an encoding, lines
# of a mail. So it may begin within a text.
_LATE_PDF = re.compile(rb"(?:^|[\s\0\xbf\xfe\xff])%PDF-\d\.\d")
_LATEST_PDF = 1024
_DIB_HEADERS = (12, 40, 52, 56, 64, 108, 124)


class Found(Struct, frozen=True):
    """formats: the likeliest first; none for what the site does not take. media_type: what it is then, empty for what
    nobody knows."""

    formats: tuple[Format, ...] = ()
    media_type: str = ""
    is_text: bool = False


def find(head: bytes, *, whole: bool, extension: str, claimed_type: str) -> Found:
    """whole: `head` is all of the file. The rest decides which text it is, and nothing else."""
    if (format_ := _textual(head, extension, claimed_type)) is not None:
        return Found((format_,))
    if head.startswith(b"{\\rtf"):
        return Found(media_type="application/rtf")
    if (text := texts.decoded(head, whole=whole)) is not None:
        plain = formats.text(extension, claimed_type)
        return Found((formats.SVG, plain) if texts.is_svg(text) else (plain,), is_text=True)
    if known := containers.candidates(head):
        return Found(known)
    if (extension in formats.TEXT_TYPES or formats.text_type(claimed_type)) and texts.may_be_text(head):
        return Found((formats.text(extension, claimed_type),), is_text=True)
    return _other(head)


def _textual(head: bytes, extension: str, claimed_type: str) -> Format | None:
    for beginning, format_ in _TEXTUAL:
        if head.startswith(beginning):
            return format_
    says_pdf = extension in formats.PDF.extensions or formats.PDF.is_called(claimed_type)
    return formats.PDF if says_pdf and _is_late_pdf(head) else None


def _is_late_pdf(head: bytes) -> bool:
    """Only what nothing else is: a picture may hold the words too."""
    if not _LATE_PDF.search(head, 0, _LATEST_PDF):
        return False
    return not (containers.candidates(head) or _other(head).formats)


def _other(head: bytes) -> Found:
    if head.startswith((b"GIF87a", b"GIF89a")):
        return Found((formats.GIF,))
    if head.startswith(b"BM") and head[6:10] == bytes(4) and int.from_bytes(head[14:18], "little") in _DIB_HEADERS:
        return Found((formats.BMP,))
    guess = filetype.guess(head[:_LOOKED_AT])
    if guess is None:
        return Found()
    found = _BY_EXTENSION.get(guess.extension)
    return Found((found,)) if found else Found(media_type=guess.mime)
