"""Files that are kept, in memory: their bytes, the store of whole ones and of those in pieces, and room for those on
their way. What is open of them is counted."""

import hashlib
import io
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import BinaryIO, Literal

from msgspec import structs

from qwen_gateway.relay.file_ports import FilePiece, FileStore, PartedFile, PartedFiles, Spool, SpoolWriter, StoredFile
from qwen_gateway.turn.faults import Fault, NotFound
from qwen_gateway.turn.files import Content

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89"
PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF\n"


class Bytes:
    """Satisfies `Content`. open: readers that nobody has closed. breaks: raised by any reading after the first."""

    def __init__(self, data: bytes, given_back: Callable[[], None] = lambda: None, breaks: Fault | None = None) -> None:
        self.data, self._given_back, self._breaks = data, given_back, breaks
        self.open = 0
        self.closed = False

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def reader(self) -> BinaryIO:
        assert not self.closed, "it was given back"
        self.open += 1
        return _Reader(self, self._breaks)

    def close(self) -> None:
        assert not self.open, "somebody still reads"
        if not self.closed:
            self.closed = True
            self._given_back()


class _Reader(io.BytesIO):
    def __init__(self, content: Bytes, breaks: Fault | None) -> None:
        super().__init__(content.data)
        self._content, self._breaks = content, breaks
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._breaks is not None and self._reads > 1:
            raise self._breaks
        return super().read(size)

    def close(self) -> None:
        if not self.closed:
            self._content.open -= 1
        super().close()


class Shelf:
    """Satisfies `FileStore`. breaks: raised by any reading of bytes that were kept. given: contents handed out."""

    def __init__(self) -> None:
        self.files: dict[str, StoredFile] = {}
        self.data: dict[str, bytes] = {}
        self.announced: Callable[[str, float], int] = lambda tenant, now: 0
        self.breaks: Fault | None = None
        self.given: list[Bytes] = []

    async def add(self, file: StoredFile, content: Content) -> None:
        with content.reader() as reader:
            self.data[file.id] = reader.read()
        self.files[file.id] = file

    async def get(self, tenant: str, file_id: str, now: float) -> StoredFile | None:
        return next((file for file in self._alive(tenant, now) if file.id == file_id), None)

    async def list(
        self,
        tenant: str,
        now: float,
        *,
        limit: int,
        after: str = "",
        order: Literal["asc", "desc"] = "desc",
        purpose: str = "",
    ) -> Sequence[StoredFile]:
        found = [file for file in self._alive(tenant, now) if purpose in ("", file.purpose)]
        found.sort(key=lambda file: (file.created, file.id), reverse=order == "desc")
        if after:
            ids = [file.id for file in found]
            found = found[ids.index(after) + 1 :] if after in ids else []
        return found[:limit]

    async def content(self, file: StoredFile) -> Content:
        if file.id not in self.data:
            raise NotFound("The bytes of this file are not here any more.", code="file_not_found")
        self.given.append(Bytes(self.data[file.id], breaks=self.breaks))
        return self.given[-1]

    async def remove(self, tenant: str, file_id: str) -> bool:
        found = self.files.get(file_id)
        if found is None or found.tenant != tenant:
            return False
        del self.files[file_id], self.data[file_id]
        return True

    async def used(self, tenant: str, now: float) -> int:
        return sum(file.size for file in self._alive(tenant, now)) + self.announced(tenant, now)

    async def prune(self, now: float) -> int:
        raise NotImplementedError

    def _alive(self, tenant: str, now: float) -> Iterator[StoredFile]:
        return iter(
            [
                file
                for file in self.files.values()
                if file.tenant == tenant and (file.expires is None or file.expires > now)
            ]
        )


class Pile:
    """Satisfies `PartedFiles`. What is announced counts as used on the shelf. before_end: runs before an upload ends,
    once: what another request does meanwhile."""

    def __init__(self, shelf: Shelf) -> None:
        self.uploads: dict[str, PartedFile] = {}
        self._pieces: dict[str, tuple[FilePiece, bytes]] = {}
        self.before_end: Callable[[], None] = lambda: None
        shelf.announced = self._announced

    async def begin(self, upload: PartedFile) -> None:
        self.uploads[upload.id] = upload

    async def get(self, tenant: str, upload_id: str, now: float) -> PartedFile | None:
        found = self.uploads.get(upload_id)
        if found is None or found.tenant != tenant:
            return None
        return structs.replace(found, state="expired") if found.state == "pending" and found.expires <= now else found

    async def add_piece(self, piece: FilePiece, content: Content) -> None:
        with content.reader() as reader:
            self._pieces[piece.id] = piece, reader.read()

    async def arrived(self, upload_id: str, but: Collection[str] = ()) -> int:
        pieces = (piece for piece, _ in self._pieces.values() if piece.upload == upload_id)
        return sum(piece.size for piece in pieces if piece.id not in but)

    async def pieces(self, upload_id: str) -> Sequence[FilePiece]:
        return [piece for piece, _ in self._pieces.values() if piece.upload == upload_id]

    async def joined(self, upload_id: str, piece_ids: Sequence[str]) -> Content:
        found = [self._pieces[each] for each in piece_ids if each in self._pieces]
        if len(found) != len(piece_ids):
            raise NotFound("This upload has no such part.", code="part_not_found")
        return Bytes(b"".join(data for _, data in found))

    async def end(self, upload_id: str, state: Literal["completed", "cancelled"], made_into: str = "") -> bool:
        meanwhile, self.before_end = self.before_end, lambda: None
        meanwhile()
        found = self.uploads[upload_id]
        if found.state != "pending":
            return False
        self.ended(upload_id, state, made_into)
        return True

    def ended(self, upload_id: str, state: Literal["completed", "cancelled"], made_into: str = "") -> None:
        self.uploads[upload_id] = structs.replace(self.uploads[upload_id], state=state, made_into=made_into)
        self._pieces = {key: one for key, one in self._pieces.items() if one[0].upload != upload_id}

    def _announced(self, tenant: str, now: float) -> int:
        return sum(
            upload.size
            for upload in self.uploads.values()
            if upload.tenant == tenant and upload.state == "pending" and upload.expires > now
        )


class Room:
    """Satisfies `Spool`. under_way: files that nobody has given back."""

    def __init__(self) -> None:
        self.under_way = 0

    def begin(self) -> "_Writer":
        self.under_way += 1
        return _Writer(self)


class _Writer:
    def __init__(self, room: Room) -> None:
        self._room, self._data, self._ended = room, bytearray(), False

    @property
    def size(self) -> int:
        return len(self._data)

    async def write(self, data: bytes) -> None:
        self._data += data

    async def finish(self) -> Content:
        self._ended = True
        return Bytes(bytes(self._data), self._given_back)

    def discard(self) -> None:
        if not self._ended:
            self._ended = True
            self._given_back()

    def _given_back(self) -> None:
        self._room.under_way -= 1


def _satisfied(shelf: Shelf, pile: Pile, room: Room, writer: _Writer, content: Bytes) -> None:
    """Only for mypy: the fakes are what the ports ask for."""
    _: tuple[FileStore, PartedFiles, Spool, SpoolWriter, Content] = shelf, pile, room, writer, content
