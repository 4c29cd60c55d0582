"""What the object storage holds: objects, uploads in parts, and a record of every call.

Here: data, and parts waiting on disk. Not here: HTTP (`oss`, `oss_parts`), who may do what (`oss_signatures`).
"""

import asyncio
import hashlib
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import IO, Literal
from weakref import WeakSet

from .digests import Digest, etag
from .frames import Json

_READ_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Stored:
    """An object that arrived whole. announced: the size that its ticket was taken for. data: None for large ones."""

    key: str
    user: str
    file_id: str
    content_type: str
    size: int
    announced: int
    sha256: str
    crc64: int
    etag: str
    head: bytes
    data: bytes | None
    parts: int
    at: float = field(default_factory=time.time)

    def as_json(self) -> Json:
        hidden = {"head", "data", "crc64"}
        told = {name: value for name, value in self.__dict__.items() if name not in hidden}
        return {**told, "as_announced": self.size == self.announced, "complete": True}


class Shelf:
    """Room on disk for the parts of one upload. It has no name there, and goes with the process."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._end = 0

    @property
    def closed(self) -> bool:
        return self._file.closed

    def put(self, data: bytes) -> tuple[int, int]:
        """Where it lies: offset and length."""
        self._file.seek(self._end)
        self._file.write(data)
        place = (self._end, len(data))
        self._end += len(data)
        return place

    def read(self, places: list[tuple[int, int]]) -> Iterator[bytes]:
        for offset, length in places:
            for start in range(offset, offset + length, _READ_BYTES):
                self._file.seek(start)
                yield self._file.read(min(_READ_BYTES, offset + length - start))

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class Part:
    number: int
    size: int
    md5: bytes
    crc64: int
    places: list[tuple[int, int]]

    @property
    def etag(self) -> str:
        return etag(self.md5)


def _upload_id() -> str:
    return uuid.uuid4().hex.upper()


@dataclass
class Upload:
    """An upload in parts. received: bytes of all that was sent for it, also of parts that were broken off."""

    key: str
    user: str
    file_id: str
    content_type: str
    announced: int
    id: str = field(default_factory=_upload_id)
    begun: float = field(default_factory=time.time)
    state: Literal["open", "completed", "aborted"] = "open"
    parts: dict[int, Part] = field(default_factory=dict)
    received: int = 0
    shelf: Shelf = field(default_factory=Shelf)

    def joined(self, parts: list[Part]) -> Stored:
        """The object that these parts make, in this order. Reads them all: not for the event loop."""
        digest = Digest()
        for part in parts:
            for data in self.shelf.read(part.places):
                digest.take(data)
        # The documented form of an object made of parts: the hash of their hashes, and how many there were.
        together = hashlib.md5(b"".join(part.md5 for part in parts), usedforsecurity=False).hexdigest().upper()
        return stored(self, digest, f'"{together}-{len(parts)}"', len(parts))

    def end(self, state: Literal["completed", "aborted"]) -> None:
        self.state = state
        self.shelf.close()

    def as_json(self) -> Json:
        return {
            "id": self.id,
            "key": self.key,
            "user": self.user,
            "file_id": self.file_id,
            "content_type": self.content_type,
            "begun": self.begun,
            "state": self.state,
            "parts": {str(number): self.parts[number].size for number in sorted(self.parts)},
            "received": self.received,
        }


@dataclass(frozen=True)
class Place:
    """Where a single PUT goes."""

    key: str
    user: str
    file_id: str
    content_type: str
    announced: int


def stored(place: Upload | Place, digest: Digest, etag: str, parts: int = 0) -> Stored:
    return Stored(
        key=place.key,
        user=place.user,
        file_id=place.file_id,
        content_type=place.content_type,
        size=digest.size,
        announced=place.announced,
        sha256=digest.sha256,
        crc64=digest.crc64,
        etag=etag,
        head=digest.head,
        data=digest.whole,
        parts=parts,
    )


@dataclass
class Call:
    """One request to the object storage. outcome: null while it runs; `left` where the client went away before the end.

    length: bytes that the client announced, `received`: that came. cookie: whether it brought any, which it should not.
    """

    operation: str
    key: str
    number: int | None
    upload: str | None
    length: int | None
    cookie: bool
    signature: str | None = None
    received: int = 0
    status: int | None = None
    code: str | None = None
    outcome: Literal["done", "refused", "dropped", "left"] | None = None
    started: float = field(default_factory=time.time)
    ended: float | None = None

    def as_json(self) -> Json:
        return asdict(self)


class Bucket:
    """The one bucket there is."""

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self.calls: list[Call] = []
        self.connections = 0
        self.most_at_once = 0
        self.joining: set[asyncio.Task[Stored]] = set()
        self._known: WeakSet[asyncio.BaseTransport] = WeakSet()
        self._running = 0

    def begin(self, call: Call, transport: asyncio.BaseTransport | None) -> None:
        self.calls.append(call)
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        if transport is not None and transport not in self._known:
            self._known.add(transport)
            self.connections += 1

    def end(self, call: Call) -> None:
        self._running -= 1
        call.ended = time.time()
        call.outcome = call.outcome or "left"

    def of_file(self, file_id: str) -> Stored | None:
        return next((one for one in self.objects.values() if one.file_id == file_id), None)

    def forget(self, file_ids: list[str] | None) -> int:
        """Deletes the objects of these files, or all. How many there were."""
        gone = [key for key, one in self.objects.items() if file_ids is None or one.file_id in file_ids]
        for key in gone:
            del self.objects[key]
        return len(gone)

    def close(self) -> None:
        for upload in self.uploads.values():
            upload.shelf.close()

    def as_json(self) -> Json:
        return {
            "objects": [one.as_json() for one in self.objects.values()],
            "uploads": [upload.as_json() for upload in self.uploads.values()],
            "calls": [call.as_json() for call in self.calls],
            "connections": self.connections,
            "running": self._running,
            "most_at_once": self.most_at_once,
            "received": sum(call.received for call in self.calls),
        }
