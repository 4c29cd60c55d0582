"""The beginnings of genuine files of every format, as small as they can be."""

import struct
import zipfile
import zlib
from io import BytesIO

OFFICE = "application/vnd.openxmlformats-officedocument."


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int = 1, height: int = 1, *before: bytes) -> bytes:
    lines = zlib.compress(bytes(4) * 1)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            *before,
            _chunk(b"IDAT", lines),
            _chunk(b"IEND", b""),
        ]
    )


def apng() -> bytes:
    return png(1, 1, _chunk(b"acTL", struct.pack(">II", 1, 0)))


def jpeg(width: int = 1, height: int = 1, kind: int = 0xC0) -> bytes:
    jfif = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    table = b"\xff\xdb\x00\x43\x00" + bytes(range(1, 65))
    frame = struct.pack(">BBHBHH", 0xFF, kind, 11, 8, height, width) + b"\x01\x01\x11\x00"
    return b"\xff\xd8" + jfif + table + frame + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x7f\xff\xd9"


def gif(width: int = 1, height: int = 1, version: bytes = b"89a") -> bytes:
    head = b"GIF" + version + struct.pack("<HH", width, height) + b"\x80\x00\x00\xff\xff\xff\x00\x00\x00"
    return head + b"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b"


def bmp(width: int = 1, height: int = 1) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 4, 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 58, 0, 0, 54) + info + b"\x00\x00\xff\x00"


def old_bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHI", 30, 0, 0, 26) + struct.pack("<IHHHH", 12, width, height, 1, 24) + bytes(4)


def tiff(order: str, width: int, height: int, form: str) -> bytes:
    """order: of the bytes of numbers. form: of width and height, `H` or `I`."""
    number, code, rest = f"{order}HHI{form}", 3 if form == "H" else 4, bytes(2 if form == "H" else 0)
    tags = [struct.pack(number, tag, code, 1, value) + rest for tag, value in ((254, 0), (256, width), (257, height))]
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(f"{order}HIIH", 42, 12, 0, len(tags)) + b"".join(tags) + bytes(4)


def riff(kind: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(body) + 4) + kind + body


def webp(width: int = 1, height: int = 1) -> bytes:
    frame = b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", width, height) + b"\x02\x00\x34\x25\xa4\x00\x03\x70"
    return riff(b"WEBP", b"VP8 " + struct.pack("<I", len(frame)) + frame)


def lossless_webp(width: int, height: int) -> bytes:
    frame = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\x07\x10\x11\x11\x88\x88\x08"
    return riff(b"WEBP", b"VP8L" + struct.pack("<I", len(frame)) + frame)


def large_webp(width: int, height: int) -> bytes:
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff(b"WEBP", b"VP8X" + struct.pack("<I", 10) + b"\x02\x00\x00\x00" + sizes)


def boxes(brand: bytes, *brands: bytes) -> bytes:
    body = brand + struct.pack(">I", 512) + b"".join(brands)
    return struct.pack(">I", len(body) + 8) + b"ftyp" + body + b"\x00\x00\x00\x08free" + b"\x00\x00\x00\x08mdat"


def matroska(doctype: bytes) -> bytes:
    body = b"\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08"
    body += b"\x42\x82" + bytes([0x80 | len(doctype)]) + doctype + b"\x42\x87\x81\x04\x42\x85\x81\x02"
    return b"\x1a\x45\xdf\xa3" + bytes([0x80 | len(body)]) + body + b"\x18\x53\x80\x67\x01" + b"\xff" * 7


def packed(*names: str, stored: bytes = b"") -> bytes:
    """A zip file with these entries. stored: what the first of them holds."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, name in enumerate(names):
            if index == 0 and stored:
                archive.writestr(zipfile.ZipInfo(name), stored)
            else:
                archive.writestr(name, "<?xml version='1.0'?><x>" + "y" * 500 + "</x>")
    return file.getvalue()


def ole(stream: str = "") -> bytes:
    """Office's older form: a head, and a sector that names a stream."""
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + b"\x3e\x00\x03\x00\xfe\xff\x09\x00"
    entry = "Root Entry".encode("utf-16-le").ljust(128, b"\0") + stream.encode("utf-16-le").ljust(128, b"\0")
    return head.ljust(512, b"\xff") + bytes(1024) + entry


def packets(length: int, offset: int) -> bytes:
    return (bytes(offset) + b"\x47\x40\x00\x10".ljust(length - offset, b"\xff")) * 6


FORMATS: dict[str, tuple[bytes, str, str]] = {
    # how the name ends: bytes, kind, media type
    "jpg": (jpeg(), "image", "image/jpeg"),
    "png": (png(), "image", "image/png"),
    "gif": (gif(), "image", "image/gif"),
    "webp": (webp(), "image", "image/webp"),
    "bmp": (bmp(), "image", "image/bmp"),
    "tiff": (b"II*\x00\x08\x00\x00\x00\x01\x00" + bytes(16), "image", "image/tiff"),
    "ico": (b"\x00\x00\x01\x00\x01\x00\x10\x10\x00\x00\x01\x00\x20\x00" + bytes(8), "image", "image/x-icon"),
    "apng": (apng(), "image", "image/apng"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image", "image/svg+xml"),
    "mp4": (boxes(b"isom", b"isom", b"iso2", b"avc1", b"mp41"), "video", "video/mp4"),
    "avi": (riff(b"AVI ", b"LIST" + struct.pack("<I", 4) + b"hdrl"), "video", "video/x-msvideo"),
    "mov": (boxes(b"qt  ", b"qt  "), "video", "video/quicktime"),
    "webm": (matroska(b"webm"), "video", "video/webm"),
    "mkv": (matroska(b"matroska"), "video", "video/x-matroska"),
    "wmv": (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(16), "video", "video/x-ms-wmv"),
    "flv": (b"FLV\x01\x05\x00\x00\x00\x09" + bytes(4), "video", "video/x-flv"),
    "m4v": (boxes(b"M4V ", b"mp42", b"isom"), "video", "video/x-m4v"),
    "3gp": (boxes(b"3gp4", b"isom", b"3gp4"), "video", "video/3gpp"),
    "m2ts": (packets(192, 4), "video", "video/mp2t"),
    "mp3": (b"ID3\x04\x00\x00\x00\x00\x00\x00\xff\xfb\x90\x64" + bytes(16), "audio", "audio/mpeg"),
    "wav": (riff(b"WAVE", b"fmt \x10\x00\x00\x00\x01\x00\x01\x00" + bytes(12)), "audio", "audio/wav"),
    "aac": (b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(16), "audio", "audio/aac"),
    "m4a": (boxes(b"M4A ", b"M4A ", b"mp42", b"isom"), "audio", "audio/mp4"),
    "amr": (b"#!AMR\n\x3c\x08\xa5\x48\x88\x03\xc0", "audio", "audio/amr"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "document", "application/pdf"),
    "doc": (ole("WordDocument"), "document", "application/msword"),
    "docx": (
        packed("[Content_Types].xml", "_rels/.rels", "word/document.xml"),
        "document",
        OFFICE + "wordprocessingml.document",
    ),
    "csv": (b"a,b\n1,2\n", "document", "text/csv"),
    "xls": (ole("Workbook"), "document", "application/vnd.ms-excel"),
    "xlsx": (packed("[Content_Types].xml", "xl/workbook.xml"), "document", OFFICE + "spreadsheetml.sheet"),
    "pptx": (
        packed("[Content_Types].xml", "docProps/app.xml", "ppt/presentation.xml"),
        "document",
        OFFICE + "presentationml.presentation",
    ),
    "md": (b"# Title\n", "document", "text/markdown"),
    "txt": ("你好\n".encode(), "document", "text/plain"),
    "epub": (
        packed("mimetype", "META-INF/container.xml", stored=b"application/epub+zip"),
        "document",
        "application/epub+zip",
    ),
    "ofd": (packed("OFD.xml", "Doc_0/Document.xml"), "document", "application/ofd"),
    "py": (b"print(1)\n", "document", "text/plain"),
    "json": (b"{}\n", "document", "application/json"),
    "xml": (b"<?xml version='1.0'?><a/>", "document", "application/xml"),
    "html": (b"<!DOCTYPE html><p>x", "document", "text/html"),
}

VARIANTS: dict[str, tuple[bytes, str, str]] = {
    # name: bytes, file name, media type
    "png with other chunks first": (png(1, 1, _chunk(b"gAMA", bytes(4))), "a.png", "image/png"),
    "apng called png": (apng(), "a.png", "image/apng"),
    "older gif": (gif(version=b"87a"), "a.gif", "image/gif"),
    "jpeg with exif": (b"\xff\xd8\xff\xe1\x00\x10Exif\x00\x00MM" + bytes(20), "a.jpeg", "image/jpeg"),
    "progressive jpeg": (jpeg(kind=0xC2), "a.jpg", "image/jpeg"),
    "older bmp": (old_bmp(1, 1), "a.bmp", "image/bmp"),
    "big-endian tiff": (b"MM\x00*\x00\x00\x00\x08\x00\x01" + bytes(16), "a.tif", "image/tiff"),
    "lossless webp": (lossless_webp(1, 1), "a.webp", "image/webp"),
    "svg with a head": (
        b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- made <svg> by hand -->\n<!DOCTYPE svg PUBLIC 'x' 'y'>\n<svg:svg>",
        "a.svg",
        "image/svg+xml",
    ),
    "quicktime without a brand": (b"\x00\x00\x00\x08wide\x00\x00\x10\x00mdat" + bytes(8), "a.mov", "video/quicktime"),
    "mp4 of a camera": (boxes(b"XAVC", b"mp42", b"iso2"), "a.mp4", "video/mp4"),
    "mp4 in fragments": (boxes(b"iso5", b"iso5", b"dash"), "a.mp4", "video/mp4"),
    "mp4 of an unknown brand": (boxes(b"ABCD", b"mp42"), "a.mp4", "video/mp4"),
    "m4v named by its name": (boxes(b"mp42", b"isom"), "a.m4v", "video/x-m4v"),
    "mp4 of Apple's brand": (boxes(b"M4V ", b"mp42"), "a.mp4", "video/mp4"),
    "3g2": (boxes(b"3g2a", b"3g2a"), "a.3g2", "video/3gpp"),
    "ts": (packets(188, 0), "a.mts", "video/mp2t"),
    "sound in mp4": (boxes(b"isom", b"isom"), "a.m4a", "audio/mp4"),
    "sound in a book": (boxes(b"M4B ", b"M4A "), "a.m4a", "audio/mp4"),
    "mp3 without a tag": (b"\xff\xfb\x90\x64" + bytes(16), "a.mp3", "audio/mpeg"),
    "mp3 of few bits": (b"\xff\xf3\x48\xc4" + bytes(16), "a.mp3", "audio/mpeg"),
    "mp3 with sums": (b"\xff\xfa\x90\x64" + bytes(16), "a.mp3", "audio/mpeg"),
    "aac with a tag": (b"ID3\x04\x00\x00\x00\x00\x00\x00\xff\xf1" + bytes(16), "a.aac", "audio/aac"),
    "aac of MPEG-2": (b"\xff\xf9\x50\x80\x02\x1f\xfc" + bytes(16), "a.aac", "audio/aac"),
    "wide amr": (b"#!AMR-WB\n\x24\x00", "a.amr", "audio/amr"),
    "pdf with a mark": (b"\xef\xbb\xbf%PDF-1.4\n", "a.pdf", "application/pdf"),
    "pdf that is all text": (b"%PDF-1.4\n1 0 obj\n", "a.pdf", "application/pdf"),
    "docx of another program": (
        packed("_rels/.rels", "docProps/core.xml", "word/styles.xml"),
        "a.docx",
        FORMATS["docx"][2],
    ),
    "xlsx that begins with a sheet": (packed("xl/workbook.xml", "[Content_Types].xml"), "a.xlsx", FORMATS["xlsx"][2]),
    "docx known by its name": (packed("[Content_Types].xml", "customXml/item1.xml"), "a.docx", FORMATS["docx"][2]),
    "doc known by its name": (ole(), "a.doc", "application/msword"),
    "older xls": (ole("Book\0"), "a.xls", "application/vnd.ms-excel"),
    "epub without its mark": (packed("META-INF/container.xml", "OEBPS/a.opf"), "a.epub", "application/epub+zip"),
    "ofd that names itself last": (packed("Doc_0/Document.xml", "OFD.xml"), "a.ofd", "application/ofd"),
    "text with a mark": (b"\xef\xbb\xbfa", "a.txt", "text/plain"),
    "UTF-16": ("﻿a,b\n".encode("utf-16-le"), "a.csv", "text/csv"),
    "UTF-16, the other way round": ("﻿中".encode("utf-16-be"), "a.txt", "text/plain"),
    "GB18030": ("姓名,年龄\n张三,30\n".encode("gb18030"), "a.csv", "text/csv"),
    "text that begins like a picture": (b"GIFs, BMPs\n", "a.txt", "text/plain"),
    "text that begins like a bitmap": (b"BMI,weight\n" * 10, "a.csv", "text/csv"),
    "text that begins like a program": (b"MZ is how programs begin", "a.md", "text/markdown"),
    "text that begins like a sound": (b"ID3 tags", "a.txt", "text/plain"),
    "text with colours": (b"\x1b[31mred\x1b[0m\r\n\x0c", "a.log", "text/plain"),
    "TypeScript": (b"export const a = 1\n", "a.ts", "text/plain"),
    "html that holds a picture": (b"<html><svg></svg></html>", "a.html", "text/html"),
    "a script": (b"#!/bin/sh\n", "a.sh", "text/plain"),
    "lines of JSON": (b"{}\n{}\n", "a.jsonl", "application/json"),
}

REFUSED: dict[str, tuple[bytes, str]] = {
    # how the name ends: bytes, what the refusal calls it
    "heic": (boxes(b"heic", b"mif1", b"heic"), "image/heic"),
    "avif": (boxes(b"avif", b"avif", b"mif1"), "image/avif"),
    "avifs": (boxes(b"avis", b"msf1", b"iso8"), "no known format"),
    "psd": (b"8BPS\x00\x01" + bytes(20), "image/vnd.adobe.photoshop"),
    "jp2": (b"\x00\x00\x00\x0cjP  \r\n\x87\n\x00\x00\x00\x14ftypjp2 " + bytes(40), "image/jpx"),
    "mpg": (b"\x00\x00\x01\xba\x44" + bytes(20), "video/mpeg"),
    "flac": (b"fLaC\x00\x00\x00\x22" + bytes(34), "audio/x-flac"),
    "ogg": (b"OggS\x00\x02" + bytes(22), "audio/ogg"),
    "mid": (b"MThd\x00\x00\x00\x06" + bytes(6), "audio/midi"),
    "aiff": (b"FORM\x00\x00\x00\x04AIFF" + bytes(8), "audio/x-aiff"),
    "zip": (packed("a.txt"), "application/zip"),
    "zip of a document": (packed("report.docx", stored=FORMATS["docx"][0]), "application/zip"),
    "jar": (packed("META-INF/MANIFEST.MF"), "application/zip"),
    "odt": (
        packed("mimetype", stored=b"application/vnd.oasis.opendocument.text"),
        "application/vnd.oasis.opendocument.text",
    ),
    "gz": (b"\x1f\x8b\x08\x00" + bytes(8), "application/gzip"),
    "7z": (b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(8), "application/x-7z-compressed"),
    "rtf": (b"{\\rtf1\\ansi x}", "application/rtf"),
    "ps": (b"%!PS-Adobe-3.0\n\x00\x01", "application/postscript"),
    "ppt": (ole("PowerPoint Document"), "no known format"),
    "exe": (b"MZ\x90\x00\x03" + bytes(60), "application/x-msdownload"),
    "elf": (b"\x7fELF\x02\x01\x01" + bytes(60), "application/x-executable"),
    "class": (b"\xca\xfe\xba\xbe\x00\x00\x00\x34", "no known format"),
    "wasm": (b"\x00asm\x01\x00\x00\x00", "application/wasm"),
    "sqlite": (b"SQLite format 3\x00\x10\x00" + bytes(20), "application/x-sqlite3"),
    "ttf": (b"\x00\x01\x00\x00\x00" + bytes(20), "application/font-sfnt"),
    "swf": (b"CWS\x0a" + bytes(20), "application/x-shockwave-flash"),
    "bytes": (b"\x93\x00\x01\x02\x03", "no known format"),
    "binary, called text": (b"\xff\xfe\x00\xd8\x00\x00\x00", "no known format"),
}
