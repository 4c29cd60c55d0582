"""What the rim must offer for files: where bytes are kept, fetched from and put, and what is remembered of them."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from qwen_gateway.relay.ports import Secret
from qwen_gateway.turn.files import Content, Kind, SiteFile, Ticket


class SpoolWriter(Protocol):
    """Takes a file as it comes. Either `finish` or `discard` ends it; `discard` after `finish` does nothing."""

    @property
    def size(self) -> int: ...
    async def write(self, data: bytes) -> None:
        """Raises Overloaded when there is no room left for all files that are under way."""
        ...

    async def finish(self) -> Content: ...
    def discard(self) -> None: ...


class Spool(Protocol):
    """Room on disk for files on their way. What is in it has no name, and goes with the process."""

    def begin(self) -> SpoolWriter:
        """Raises Overloaded."""
        ...


class Fetched(Struct, frozen=True):
    """A file from an address. media_type: as its server says, in lower case and without parameters. name: the last part
    of the address, or what the server calls it; may be empty."""

    content: Content
    media_type: str
    name: str


class Fetcher(Protocol):
    async def fetch(self, url: str, param: str, limit: int) -> Fetched:
        """limit: bytes. Raises InvalidRequest and BodyTooLarge that name `param`, and Overloaded."""
        ...


class ObjectStorage(Protocol):
    async def put(
        self,
        ticket: Ticket,
        content: Content,
        media_type: str,
        *,
        parted: Callable[[str], Awaitable[None]],
        left: Callable[[str], None],
        progress: Callable[[int], None],
    ) -> None:
        """Puts all bytes where the ticket allows: at once, or in parts when there are many. parted: told the id of an
        upload in parts before its first part is sent. left: told the id of one that came to nothing and could not be
        ended now, also when it was not told to `parted`. progress: told, in the loop, how many bytes have arrived so
        far; a try that failed makes it less again. Cancelled, it ends what was begun in parts, and takes some seconds
        for that; an object that is whole by then stays, since nothing deletes those. Raises Unreachable, TimedOut, and
        SiteError with the code `upload_failed` or, for leave that has run out, `upload_expired`."""
        ...

    async def abort(self, ticket: Ticket, upload_id: str) -> None:
        """Ends an upload in parts: its parts go. One that is not there counts as ended. Raises as `put`."""
        ...

    async def close(self) -> None: ...


class Leftover(Struct, frozen=True):
    """An upload that has not ended, perhaps since its process did without a word. owner: names that process. parts:
    what `SiteFiles.parted` was given, if it was."""

    id: str
    account: str
    owner: str
    parts: Secret | None


class SiteFiles(Protocol):
    """What each account has uploaded: so that nothing is uploaded twice, and no upload is lost sight of.

    digest: of the bytes and of all that the site is told of them. Times in seconds since 1970. account: its key.
    """

    async def find(self, account: str, digest: bytes, since: float) -> SiteFile | None:
        """The one that was uploaded whole last, after `since`."""
        ...

    async def begin(self, account: str, digest: bytes, owner: str, now: float) -> str:
        """An upload is about to begin. owner: names the process. Returns the id of the record."""
        ...

    async def parted(self, record: str, parts: Secret) -> None:
        """It goes on in parts. parts: what it takes to end it."""
        ...

    async def done(self, record: str, file: SiteFile, now: float) -> None: ...
    async def gone(self, record: str) -> None:
        """Nothing of it is open any more, and no question will name it."""
        ...

    async def leftovers(self, owner: str, before: float) -> list[Leftover]:
        """Uploads that others than this owner have begun before then and have not ended."""
        ...

    async def forget(self, account: str, digests: Collection[bytes]) -> None:
        """What was uploaded whole of these: the site refuses one of them."""
        ...

    async def prune(self, before: float) -> int:
        """Forgets what was uploaded whole before then. How many."""
        ...


class StoredFile(Struct, frozen=True):
    """A file that a caller has given the gateway to keep. tenant: whose it is. Times in seconds since 1970; expires:
    `None` for never."""

    id: str
    tenant: str
    name: str
    purpose: str
    media_type: str
    kind: Kind
    size: int
    sha256: str
    created: float
    expires: float | None = None


class FileStore(Protocol):
    """Files that callers keep here, encrypted. Nobody sees those of another tenant; what has expired is not there."""

    async def add(self, file: StoredFile, content: Content) -> None:
        """Raises StorageUnavailable."""
        ...

    async def get(self, tenant: str, file_id: str, now: float) -> StoredFile | None: ...
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
        """By `created`. after: id of the last one of the page before."""
        ...

    async def content(self, file: StoredFile) -> Content:
        """Raises NotFound when the bytes are gone, or lie on another machine."""
        ...

    async def remove(self, tenant: str, file_id: str) -> bool: ...
    async def used(self, tenant: str, now: float) -> int:
        """Bytes of all files and unfinished uploads of the tenant."""
        ...

    async def prune(self, now: float) -> int:
        """Deletes what has expired, files and unfinished uploads. How many."""
        ...


class PartedFile(Struct, frozen=True):
    """A file that a caller sends in several requests. size: bytes that it will have. made_into: id of the file that it
    became."""

    id: str
    tenant: str
    name: str
    purpose: str
    media_type: str
    size: int
    created: float
    expires: float
    state: Literal["pending", "completed", "cancelled", "expired"] = "pending"
    made_into: str = ""
    file_seconds: float | None = None
    """How long the file is kept then; `None`: as long as any."""


class FilePiece(Struct, frozen=True):
    id: str
    upload: str
    size: int
    created: float


class PartedFiles(Protocol):
    """Files that come in several requests, before they are whole. Encrypted like files that are kept."""

    async def begin(self, upload: PartedFile) -> None: ...
    async def get(self, tenant: str, upload_id: str, now: float) -> PartedFile | None: ...
    async def add_piece(self, piece: FilePiece, content: Content) -> None:
        """Raises NotFound, and InvalidRequest when there are too many."""
        ...

    async def arrived(self, upload_id: str, but: Collection[str] = ()) -> int:
        """Bytes of its pieces, without those of these ids."""
        ...

    async def pieces(self, upload_id: str) -> Sequence[FilePiece]: ...
    async def joined(self, upload_id: str, piece_ids: Sequence[str]) -> Content:
        """The pieces, one after the other. Raises NotFound."""
        ...

    async def end(self, upload_id: str, state: Literal["completed", "cancelled"], made_into: str = "") -> bool:
        """Its pieces go. False when it was ended before."""
        ...
