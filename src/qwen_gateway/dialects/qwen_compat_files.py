"""Files as the earlier bridge had them: the answer to an upload, and leave to upload to the site by oneself."""

from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta, Struct

from qwen_gateway.dialects.openai_chat_values import UNREADABLE, refused
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.files import Facts, Kind, Ticket

PURPOSE = "multimodal"
LARGEST = 2**40
"""Bytes. The site itself says what it does not take."""

_WORDS: dict[Kind, str] = {"image": "image", "video": "video", "audio": "audio", "document": "file"}
_KINDS: dict[str, Kind] = {word: kind for kind, word in _WORDS.items()} | {"document": "document"}


class Kept(Protocol):
    """What is said of a file that is kept."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def media_type(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def created(self) -> float: ...


class _Wish(Struct, frozen=True):
    filename: Annotated[str, Meta(min_length=1, max_length=1000)]
    filesize: int | str
    filetype: str = "image"


_wish = msgspec.json.Decoder(_Wish)


def uploaded(file: Kept, url: str) -> bytes:
    """The answer of `POST /v1/files/upload`. url: where the file can be had, and how a chat names it."""
    return msgspec.json.encode(
        {
            "id": file.id,
            "object": "file",
            "bytes": file.size,
            "created_at": int(file.created),
            "filename": file.name,
            "purpose": PURPOSE,
            "url": url,
            "status": "uploaded",
            "filetype": _WORDS[file.kind],
            "content_type": file.media_type,
        }
    )


def read_ticket(body: bytes) -> Facts:
    """`POST /v2/files/getstsToken`: the file that is to be uploaded. Raises InvalidRequest."""
    try:
        wish = _wish.decode(body)
    except UNREADABLE as problem:
        raise InvalidRequest(
            'Send {"filename": "a.jpg", "filesize": 4451, "filetype": "image"} as JSON: '
            f"{str(problem) or 'nested too deeply'}.",
            code="invalid_json" if not isinstance(problem, msgspec.ValidationError) else "",
        ) from problem
    return Facts(wish.filename, _kind(wish.filetype), "", _size(wish.filesize))


def ticket(given: Ticket, request_id: str) -> bytes:
    """As the site itself answers. It holds a credential, for this one file and a short time."""
    data: dict[str, Any] = {
        "access_key_id": given.access_key_id,
        "access_key_secret": given.access_key_secret,
        "security_token": given.security_token,
        "file_url": given.url,
        "file_path": given.key,
        "file_id": given.file_id,
        "bucketname": given.bucket,
        "region": given.region,
        # A host alone, as recorded (2026-09-14). A simulator's is no TLS host, and clients have to know.
        "endpoint": given.endpoint.removeprefix("https://"),
    }
    return msgspec.json.encode({"success": True, "request_id": request_id, "data": data})


def _kind(said: str) -> Kind:
    """said: one of the site's words, or a media type."""
    top = said.partition("/")[0].lower()
    if "/" in said:
        return _KINDS.get(top, "document")
    if top not in _KINDS:
        raise refused("filetype", "can be image, video, audio or file")
    return _KINDS[top]


def _size(said: int | str) -> int:
    digits = str(said)
    if not digits.isascii() or not digits.isdigit() or len(digits) > 13 or not 1 <= int(digits) <= LARGEST:
        raise refused("filesize", "the size of the file in bytes")
    return int(digits)
