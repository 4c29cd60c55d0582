"""Parts of a message that are files: pictures, sounds, videos and documents → `FilePart`.

Their bytes stand in the request as base64, or are kept here from before, or are at an address. Bytes are decoded once,
and the text that they are written in is not copied where nothing in it is escaped.
"""

import binascii
import re

import msgspec
from msgspec import Raw, Struct

from qwen_gateway.dialects.openai_chat_values import UNREADABLE, Fields, invalid, refused
from qwen_gateway.turn.content import Bytes
from qwen_gateway.turn.files import FilePart, Given, Kind, Remote, Stored, last_part

LONGEST_ADDRESS = 8192
"""Characters; what browsers and servers agree on."""
LONGEST_ID = 100

_Source = Given | Stored | Remote
_IN_PARTS = "messages[].content[]"
_NOT_ALLOWED = "url_not_allowed"
_SAYS_NOTHING = {"application/octet-stream", "binary/octet-stream", "application/binary", "application/unknown"}
"""Types of data of which programs know no more than that they are bytes."""
_NOTHING = Raw()


class Piece(Struct, forbid_unknown_fields=True):
    """One part of a message's content. What is not text stays JSON until somebody wants it.

    `input_image` and `input_file`, of another API of OpenAI, have their fields beside the type.
    """

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Raw = Raw()
    input_audio: Raw = Raw()
    file: Raw = Raw()
    video_url: Raw = Raw()
    audio_url: Raw = Raw()
    image: Raw = Raw()
    file_id: Raw = Raw()
    file_data: Raw = Raw()
    file_url: Raw = Raw()
    filename: Raw = Raw()
    detail: Raw = Raw()


_LINKS: dict[str, tuple[str, Kind]] = {
    "image_url": ("image_url", "image"),
    "input_image": ("image_url", "image"),
    "image": ("image", "image"),
    "video_url": ("video_url", "video"),
    "audio_url": ("audio_url", "audio"),
}
"""Type of a part → the field in which its address stands, and what is to be found there."""
FILE_TYPES = frozenset(_LINKS) | {"input_audio", "file", "input_file"}

_SOUNDS = {"mp3": "audio/mpeg", "m4a": "audio/mp4", "mp4": "audio/mp4"}
_FORMAT = re.compile(r"[a-z0-9][a-z0-9.+-]{0,30}")
_DATA = re.compile(rb"data:([^,]{0,256}),", re.IGNORECASE)
_WEB = re.compile(r"https?://", re.IGNORECASE)
_KEPT = re.compile(
    r"https?://[^/?#]+(?:/[^?#]*)?/v1/files/(file-[0-9A-Za-z]{24,40})/content/?(?:[?#].*)?", re.IGNORECASE
)
_ESCAPE = re.compile(rb"\\")
_BLANKS = b" \t\r\n\f\v"
_STANDARD = bytes.maketrans(b"-_", b"+/")
_fields = msgspec.json.Decoder(dict[str, Raw])
_text = msgspec.json.Decoder(str)


def file_part(piece: Piece, where: str) -> tuple[FilePart, list[str]]:
    """A part whose type is among `FILE_TYPES`, and the names of what it says without effect. where: the part's place,
    such as `messages[0].content[1]`. Raises InvalidRequest that names the place in it."""
    if piece.type == "input_audio":
        return _sound(piece, where)
    if piece.type == "file":
        path = f"{where}.file"
        fields = _object(piece.file, path)
        return _file(fields, path), _unknown(fields, ("file_data", "file_id", "file_url", "filename"), "file")
    if piece.type == "input_file":
        return _file(_flat(piece), where), []
    if piece.type == "input_image" and _has(piece.file_id) and not _has(piece.image_url):
        return _file(_flat(piece), where, "image"), _detail(piece.detail, "detail")
    return _link(piece, where)


def _link(piece: Piece, where: str) -> tuple[FilePart, list[str]]:
    """`{"url": address}`, or the address itself."""
    field, kind = _LINKS[piece.type]
    raw: Raw = getattr(piece, field)
    path = place = f"{where}.{field}"
    ignored = _detail(piece.detail, "detail")
    if not _has(raw):
        raise refused(path, "is missing")
    if not _is_text(raw):
        fields = _object(raw, path)
        place = f"{path}.url"
        if not _has(raw := fields.get("url", _NOTHING)):
            raise refused(place, "is missing")
        ignored += _detail(fields.get("detail", _NOTHING), f"{field}.detail") + _unknown(
            fields, ("url", "detail"), field
        )
    source, media_type = _source(raw, place)
    if isinstance(source, Given) and media_type and not media_type.startswith(f"{kind}/"):
        raise refused(place, f"data of type {media_type!r}, where `{kind}/…` belongs", "unsupported_file")
    return FilePart(source, kind, media_type, param=path), ignored


def _sound(piece: Piece, where: str) -> tuple[FilePart, list[str]]:
    path = f"{where}.input_audio"
    fields = _object(piece.input_audio, path)
    if not _has(data := fields.get("data", _NOTHING)):
        raise refused(f"{path}.data", "is missing")
    named = _string(fields, "format", path).lower()
    if named and not _FORMAT.fullmatch(named):
        raise refused(f"{path}.format", "a format such as wav or mp3")
    source, media_type = _source(data, f"{path}.data", bare=True)
    media_type = media_type or (_SOUNDS.get(named, f"audio/{named}") if named else "")
    return FilePart(source, "audio", media_type, param=path), _unknown(fields, ("data", "format"), "input_audio")


def _file(fields: Fields, path: str, kind: Kind | None = None) -> FilePart:
    given = [key for key in ("file_data", "file_id", "file_url") if _has(fields.get(key, _NOTHING))]
    if len(given) != 1:
        raise refused(path, "exactly one of `file_data`, `file_id` and `file_url` says which file it is")
    place = f"{path}.{given[0]}"
    media_type = ""
    source: _Source
    if given[0] == "file_id":
        source = Stored(_string(fields, "file_id", path))
        if len(source.id) > LONGEST_ID:
            raise refused(place, f"at most {LONGEST_ID} characters")
    else:
        source, media_type = _source(fields[given[0]], place, bare=given[0] == "file_data")
    name = last_part(_string(fields, "filename", path))
    return FilePart(source, kind, media_type, name, path)


def _source(raw: Raw, place: str, *, bare: bool = False) -> tuple[_Source, str]:
    """Where the file is, and its media type as far as that is said; empty also for one that says nothing. bare: the
    base64 may stand there by itself."""
    text = _characters(raw, place)
    if data := _DATA.match(text):
        media_type, *rest = (one.strip() for one in data[1].decode("latin-1").lower().split(";"))
        if not rest or rest[-1] != "base64":
            raise refused(
                place, "of addresses that begin with `data:`, only those with `;base64` are read", _NOT_ALLOWED
            )
        return Given(Bytes(_bytes(text[data.end() :], place))), "" if media_type in _SAYS_NOTHING else media_type
    start = str(text[:LONGEST_ADDRESS], "utf-8", "replace")
    if _WEB.match(start):
        if len(text) > LONGEST_ADDRESS:
            raise refused(place, f"an address of more than {LONGEST_ADDRESS:,} characters", _NOT_ALLOWED)
        kept = _KEPT.fullmatch(start)
        return (Stored(kept[1]) if kept else Remote(start)), ""
    if bare and ":" not in start[:20]:
        return Given(Bytes(_bytes(text, place))), ""
    raise refused(place, "neither an http or https address nor `data:<type>;base64,…`", _NOT_ALLOWED)


def _characters(raw: Raw, place: str) -> memoryview:
    """A JSON string's text, as UTF-8."""
    json = memoryview(raw)
    if _is_text(raw) and not _ESCAPE.search(json):
        return json[1:-1]
    try:
        return memoryview(_text.decode(raw).encode("utf-8", "replace"))
    except UNREADABLE as problem:
        raise invalid(place, problem) from problem


def _bytes(base64: memoryview, place: str) -> bytes:
    """Clients also leave the padding out, break lines, or use the alphabet of addresses. Raises InvalidRequest."""
    try:
        return binascii.a2b_base64(base64, strict_mode=True)
    except binascii.Error:
        plain = bytes(base64).translate(_STANDARD, _BLANKS).rstrip(b"=")
    try:
        return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4), strict_mode=True)
    except binascii.Error as problem:
        raise refused(place, "this is not base64, or a part of it is missing") from problem


def _object(raw: Raw, path: str) -> Fields:
    if not _has(raw):
        raise refused(path, "is missing")
    try:
        return _fields.decode(raw)
    except UNREADABLE as problem:
        raise invalid(path, problem) from problem


def _flat(piece: Piece) -> Fields:
    return {key: getattr(piece, key) for key in ("file_data", "file_id", "file_url", "filename")}


def _string(fields: Fields, key: str, path: str) -> str:
    if not _has(raw := fields.get(key, _NOTHING)):
        return ""
    try:
        return _text.decode(raw)
    except UNREADABLE as problem:
        raise invalid(f"{path}.{key}", problem) from problem


def _is_text(raw: Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b'"'


def _has(raw: Raw) -> bool:
    """Whether it says something: neither absent nor null, nor an empty text, which some clients send instead."""
    return len(memoryview(raw)) > 4 or bytes(raw) not in (b"", b"null", b'""')


def _detail(raw: Raw, name: str) -> list[str]:
    """How closely to look at a picture; the site has no such choice."""
    return [f"{_IN_PARTS}.{name}"] if _has(raw) and bytes(raw) != b'"auto"' else []


def _unknown(fields: Fields, known: tuple[str, ...], name: str) -> list[str]:
    return [f"{_IN_PARTS}.{name}.{key}" for key, said in fields.items() if key not in known and _has(said)]
