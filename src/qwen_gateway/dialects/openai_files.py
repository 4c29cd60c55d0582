"""The OpenAI API's files and uploads: what their requests say, and the objects that they are answered with.

    file    {"id", "object": "file", "bytes", "created_at", "expires_at", "filename", "purpose", "status"}
    upload  {"id", "object": "upload", "bytes", "created_at", "expires_at", "filename", "purpose", "status", "file"}
    part    {"id", "object": "upload.part", "created_at", "upload_id"}

Times in whole seconds since 1970.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, TypeVar

import msgspec
from msgspec import Meta, Struct

from qwen_gateway.dialects.openai_chat_values import UNREADABLE, refused
from qwen_gateway.turn.faults import InvalidRequest

PURPOSE = "user_data"
"""Of a file that comes without one: programs other than OpenAI's own leave it out."""
MOST_LISTED = 1000
"""Files on one page, however many are asked for; `has_more` says that there are others."""
MOST_PARTS = 10_000
SHORTEST, LONGEST = 3600, 2_592_000
"""Seconds that a file can be asked to be kept."""

_PURPOSE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_PLACE = re.compile(r" - at `\$\.?(.*)`")
_MISSING = re.compile(r"missing required field `(\w+)`")
_T = TypeVar("_T")
_Text = Annotated[str, Meta(min_length=1, max_length=1000)]


class File(Protocol):
    """What the object of a file says. expires: `None` for never."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def purpose(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def created(self) -> float: ...
    @property
    def expires(self) -> float | None: ...


class Upload(Protocol):
    """What the object of an upload says. size: bytes that the file will have."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def purpose(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def created(self) -> float: ...
    @property
    def expires(self) -> float: ...
    @property
    def state(self) -> str: ...


class Piece(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def upload(self) -> str: ...
    @property
    def created(self) -> float: ...


class Keeping(Struct, frozen=True):
    """How a file is to be kept. seconds: `None` leaves that to the gateway."""

    purpose: str
    seconds: int | None


class Page(Struct, frozen=True):
    """Which files are to be listed. after: id of the last one that the client has, or empty. purpose: empty for any."""

    limit: int
    after: str
    order: Literal["asc", "desc"]
    purpose: str


class _Expiry(Struct, frozen=True):
    anchor: Literal["created_at"]
    seconds: Annotated[int, Meta(ge=SHORTEST, le=LONGEST)]


class NewUpload(Struct, frozen=True):
    filename: _Text
    size: Annotated[int, Meta(ge=1)] = msgspec.field(name="bytes")
    mime_type: str = ""
    purpose: str = PURPOSE
    expires_after: _Expiry | None = None

    @property
    def keeping(self) -> Keeping:
        return Keeping(self.purpose, None if self.expires_after is None else self.expires_after.seconds)


class Completion(Struct, frozen=True):
    """part_ids: in the order in which the parts are to be joined. md5: of the whole, in hexadecimal digits."""

    part_ids: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MOST_PARTS)]
    md5: Annotated[str, Meta(pattern="^[0-9a-fA-F]{32}$")] | None = None


_new_upload = msgspec.json.Decoder(NewUpload)
_completion = msgspec.json.Decoder(Completion)


# --- requests ---


def read_keeping(fields: Sequence[tuple[str, str]]) -> Keeping:
    """The fields of a form beside the file. Raises InvalidRequest."""
    given = dict(fields)
    anchor, seconds = given.get("expires_after[anchor]"), given.get("expires_after[seconds]")
    if (anchor is None) != (seconds is None):
        raise _missing("expires_after[anchor]" if anchor is None else "expires_after[seconds]")
    if anchor not in (None, "created_at"):
        raise refused("expires_after[anchor]", "can only be created_at")
    return Keeping(_purpose(given.get("purpose") or PURPOSE), None if seconds is None else _seconds(seconds))


def read_upload(body: bytes) -> NewUpload:
    """`POST /v1/uploads`. Raises InvalidRequest."""
    found = _read(_new_upload, body)
    _purpose(found.purpose)
    return found


def read_completion(body: bytes) -> Completion:
    """`POST /v1/uploads/{id}/complete`. Raises InvalidRequest."""
    found = _read(_completion, body)
    if len(set(found.part_ids)) != len(found.part_ids):
        raise refused("part_ids", "names a part twice")
    return found


def read_page(query: Mapping[str, str]) -> Page:
    """`GET /v1/files`. Raises InvalidRequest."""
    order, purpose = query.get("order", "desc"), query.get("purpose", "")
    if order not in ("asc", "desc"):
        raise refused("order", "can be asc or desc, by the time at which files were created")
    return Page(
        _limit(query.get("limit")),
        query.get("after", ""),
        "asc" if order == "asc" else "desc",
        _purpose(purpose) if purpose else "",
    )


def _read(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as problem:
        raise _fault(str(problem)) from problem
    except UNREADABLE as problem:
        said = str(problem) or "nested too deeply"
        raise InvalidRequest(f"The body is not a JSON object: {said}.", code="invalid_json") from problem


def _fault(said: str) -> InvalidRequest:
    """said: by the JSON reader, of a value that is not as it should be."""
    found = _PLACE.search(said)
    where, why = (found[1], said[: found.start()]) if found else ("", said)
    if missing := _MISSING.search(why):
        return _missing(f"{where}.{missing[1]}".lstrip("."))
    return refused(where, why) if where else InvalidRequest(f"The body is not a JSON object: {why}.")


def _missing(param: str) -> InvalidRequest:
    return InvalidRequest(f"`{param}` is missing.", param=param, code="missing_required_parameter")


def _purpose(given: str) -> str:
    if _PURPOSE.fullmatch(given) is None:
        raise refused("purpose", "a word of up to 64 letters, digits, `_` and `-`, such as user_data")
    return given


def _seconds(given: str) -> int:
    if _NUMBER.fullmatch(given) is None or not SHORTEST <= int(given) <= LONGEST:
        raise refused("expires_after[seconds]", f"a number from {SHORTEST} (an hour) to {LONGEST} (30 days)")
    return int(given)


def _limit(given: str | None) -> int:
    if given is None:
        return MOST_LISTED
    if _NUMBER.fullmatch(given) is None or not 1 <= int(given) <= 10_000:
        raise refused("limit", "a number from 1 to 10000")
    return min(int(given), MOST_LISTED)


# --- answers ---


def file(kept: File) -> bytes:
    return msgspec.json.encode(_file(kept))


def listing(files: Sequence[File], *, more: bool) -> bytes:
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [_file(kept) for kept in files],
            "first_id": files[0].id if files else None,
            "last_id": files[-1].id if files else None,
            "has_more": more,
        }
    )


def deleted(file_id: str) -> bytes:
    return msgspec.json.encode({"id": file_id, "object": "file", "deleted": True})


def upload(begun: Upload, made: File | None = None) -> bytes:
    """made: the file that it became."""
    return msgspec.json.encode(
        {
            "id": begun.id,
            "object": "upload",
            "bytes": begun.size,
            "created_at": int(begun.created),
            "expires_at": int(begun.expires),
            "filename": begun.name,
            "purpose": begun.purpose,
            "status": begun.state,
            "file": None if made is None else _file(made),
        }
    )


def part(piece: Piece) -> bytes:
    return msgspec.json.encode(
        {
            "id": piece.id,
            "object": "upload.part",
            "created_at": int(piece.created),
            "upload_id": piece.upload,
        }
    )


def _file(kept: File) -> dict[str, Any]:
    return {
        "id": kept.id,
        "object": "file",
        "bytes": kept.size,
        "created_at": int(kept.created),
        "expires_at": None if kept.expires is None else int(kept.expires),
        "filename": kept.name,
        "purpose": kept.purpose,
        "status": "processed",
        "status_details": None,
    }
