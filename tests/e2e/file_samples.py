"""Genuine files, as small as they can be: programs open them, and show or play what is in them.

Each has a note in it, by which it is another file than all others; the same note gives the same bytes. The beginnings
of files of every other format are in `tests.media.samples`.
"""

import base64
import hashlib
import math
import secrets
import struct
import zipfile
import zlib
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Self

from qwen_gateway.turn.files import Kind

DOCX_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@dataclass(frozen=True)
class Sample:
    """width, height: pixels of a picture."""

    name: str
    media_type: str
    kind: Kind
    data: bytes
    width: int | None = None
    height: int | None = None

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def base64(self) -> str:
        return base64.b64encode(self.data).decode()

    @property
    def data_url(self) -> str:
        return f"data:{self.media_type};base64,{self.base64}"

    def named(self, name: str) -> Self:
        return replace(self, name=name)


def png(note: str = "", *, width: int = 3, height: int = 2) -> Sample:
    """Of one colour."""
    said = _note(note).encode("latin-1")
    colour = hashlib.sha256(said).digest()[:3]
    data = b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            _chunk(b"tEXt", b"Comment\0" + said),
            _chunk(b"IDAT", zlib.compress((b"\0" + colour * width) * height)),
            _chunk(b"IEND", b""),
        )
    )
    return Sample("picture.png", "image/png", "image", data, width, height)


def jpeg(note: str = "", *, width: int = 16, height: int = 8) -> Sample:
    """Grey: the code of every block is two zero bits, no difference to the one before and nothing else."""
    blocks = -(-width // 8) * -(-height // 8)
    bits = "0" * (2 * blocks)
    bits += "1" * (-len(bits) % 8)
    data = b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
            _segment(0xFE, _note(note).encode()),
            _segment(0xDB, b"\0" + b"\x01" * 64),
            _segment(0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\0"),
            _segment(0xC4, b"\0" + b"\x01" + bytes(15) + b"\0"),
            _segment(0xC4, b"\x10" + b"\x01" + bytes(15) + b"\0"),
            _segment(0xDA, b"\x01\x01\0\0\x3f\0"),
            int(bits, 2).to_bytes(len(bits) // 8, "big"),
            b"\xff\xd9",
        )
    )
    return Sample("photo.jpg", "image/jpeg", "image", data, width, height)


def wav(note: str = "", *, samples: int = 800) -> Sample:
    """A tone of 440 Hz, 8000 samples a second."""
    tone = b"".join(struct.pack("<h", int(8000 * math.sin(2 * math.pi * 440 * n / 8000))) for n in range(samples))
    said = _note(note).encode() + b"\0"
    said += bytes(len(said) % 2)
    body = b"WAVE" + _riff(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16_000, 2, 16))
    body += _riff(b"LIST", b"INFO" + _riff(b"ICMT", said)) + _riff(b"data", tone)
    return Sample("sound.wav", "audio/wav", "audio", _riff(b"RIFF", body))


def mp3(note: str = "", *, frames: int = 4) -> Sample:
    """Silence, 128 kbit a second."""
    title = b"\0" + _note(note).encode("latin-1")
    tag = b"TIT2" + struct.pack(">IH", len(title), 0) + title
    head = b"ID3\x03\0\0" + bytes(len(tag) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return Sample("sound.mp3", "audio/mpeg", "audio", head + tag + (b"\xff\xfb\x90\xc4" + bytes(413)) * frames)


def mp4(note: str = "", *, filler: int = 0) -> Sample:
    """One frame, a picture of JPEG. filler: bytes that belong to no frame."""
    frame = jpeg(note)
    kind = _box(b"ftyp", b"isom", struct.pack(">I", 512), b"isommp41")
    data = _box(b"mdat", frame.data, bytes(filler))
    movie = _movie(frame, len(kind) + 8)
    return Sample("film.mp4", "video/mp4", "video", kind + data + movie)


def pdf(note: str = "") -> Sample:
    """One page with the note on it."""
    shown = f"BT /F1 12 Tf 20 50 Td ({_note(note)}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 100] /Contents 4 0 R /Resources << /Font 6 0 R >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(shown), shown),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /F1 5 0 R >>",
    ]
    data, places = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", b"0000000000 65535 f \n"
    for number, one in enumerate(objects, 1):
        places += b"%010d 00000 n \n" % len(data)
        data += b"%d 0 obj\n%b\nendobj\n" % (number, one)
    end = b"trailer\n<< /Size 7 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(data)
    return Sample("paper.pdf", "application/pdf", "document", data + b"xref\n0 7\n" + places + end)


def docx(note: str = "") -> Sample:
    """One paragraph, the note."""
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    package = "http://schemas.openxmlformats.org/package/2006"
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    entries = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{DOCX_TYPE}.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="r1" Type="{relation}" Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{word}"><w:body><w:p><w:r><w:t>{_note(note)}</w:t></w:r></w:p>'
        "</w:body></w:document>",
    }
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries.items():
            archive.writestr(zipfile.ZipInfo(name), head + text)
    return Sample("letter.docx", DOCX_TYPE, "document", file.getvalue())


def txt(note: str = "", *, size: int = 0) -> Sample:
    """size: at least so many bytes, in lines that are all different."""
    lines, length = [_note(note)], 0
    while length < size:
        lines.append(f"{len(lines)}. Of this line there is no other like it.")
        length += len(lines[-1]) + 1
    return Sample("notes.txt", "text/plain", "document", "\n".join(lines).encode() + b"\n")


def _note(note: str) -> str:
    return note or secrets.token_hex(8)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _segment(kind: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, kind, len(data) + 2) + data


def _riff(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data


def _box(kind: bytes, *data: bytes) -> bytes:
    body = b"".join(data)
    return struct.pack(">I", len(body) + 8) + kind + body


def _full_box(kind: bytes, *data: bytes, flags: int = 0) -> bytes:
    """With a version, which is 0, and flags."""
    return _box(kind, struct.pack(">I", flags), *data)


_SECOND = 1000
_STRAIGHT = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def _movie(frame: Sample, place: int) -> bytes:
    """Shows the frame at this place of the file for a second."""
    assert frame.width
    assert frame.height
    times = struct.pack(">IIII", 0, 0, _SECOND, _SECOND)
    # MPEG-4's word for the codec of a track, with a number that says JPEG.
    codec = b"\x04\x0d\x6c\x11" + bytes(11)
    codec = b"\x03" + bytes([len(codec) + 6]) + b"\0\x01\0" + codec + b"\x06\x01\x02"
    entry = _box(
        b"mp4v",
        bytes(6) + b"\0\x01" + bytes(16) + struct.pack(">HHIIIH", frame.width, frame.height, 72 << 16, 72 << 16, 0, 1),
        bytes(32) + b"\0\x18\xff\xff",
        _full_box(b"esds", codec),
    )
    table = _box(
        b"stbl",
        _full_box(b"stsd", struct.pack(">I", 1), entry),
        _full_box(b"stts", struct.pack(">III", 1, 1, _SECOND)),
        _full_box(b"stsc", struct.pack(">IIII", 1, 1, 1, 1)),
        _full_box(b"stsz", struct.pack(">II", frame.size, 1)),
        _full_box(b"stco", struct.pack(">II", 1, place)),
    )
    data = _box(b"dinf", _full_box(b"dref", struct.pack(">I", 1), _full_box(b"url ", flags=1)))
    media = _box(
        b"mdia",
        _full_box(b"mdhd", times, b"\x55\xc4\0\0"),
        _full_box(b"hdlr", bytes(4), b"vide", bytes(13)),
        _box(b"minf", _full_box(b"vmhd", bytes(8), flags=1), data, table),
    )
    shown = struct.pack(">IIIII", 0, 0, 1, 0, _SECOND) + bytes(16) + _STRAIGHT
    track = _full_box(b"tkhd", shown, struct.pack(">II", frame.width << 16, frame.height << 16), flags=3)
    head = times + struct.pack(">IH", 0x10000, 0x100) + bytes(10) + _STRAIGHT + bytes(24) + struct.pack(">I", 2)
    return _box(b"moov", _full_box(b"mvhd", head), _box(b"trak", track, media))
