"""The ports for files, faked in memory, and files to use them with."""

import asyncio
import hashlib
import io
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from typing import BinaryIO

from msgspec import Struct

from qwen_gateway.relay.file_ports import Leftover, ObjectStorage, SiteFiles
from qwen_gateway.relay.ports import Secret
from qwen_gateway.turn.faults import Fault
from qwen_gateway.turn.files import Content, SiteFile, Ticket


class FakeContent:
    """Satisfies `Content`. closed: how often."""

    def __init__(self, data: bytes = b"some bytes") -> None:
        self.data = data
        self.closed = 0

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def reader(self) -> BinaryIO:
        return io.BytesIO(self.data)

    def close(self) -> None:
        self.closed += 1


class FakeStorage:
    """Satisfies `ObjectStorage`. log: what was done. objects: bytes by key. says: faults of the next puts and aborts.
    hold: puts wait for it, in the middle of the bytes. parts: whether files go in parts. leaves: how many puts
    cannot end what they began in parts, whatever becomes of them."""

    def __init__(self, log: list[str] | None = None) -> None:
        self.log: list[str] = [] if log is None else log
        self.objects: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.says: deque[Fault] = deque()
        self.says_of_aborts: deque[Fault] = deque()
        self.hold: asyncio.Event | None = None
        self.parts = False
        self.leaves = 0
        self.running = self.most = 0

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
        self.log.append(f"store {ticket.file_id}")
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.parts:
                await parted(f"upload-of-{ticket.file_id}")
            progress(content.size // 2)
            if self.hold is not None:
                await self.hold.wait()
            if self.says:
                raise self.says.popleft()
            with content.reader() as reader:
                self.objects[ticket.key] = reader.read()
            self.types[ticket.key] = media_type
            progress(content.size)
        except asyncio.CancelledError:
            self.log.append(f"abort {ticket.file_id}")
            raise
        finally:
            self.running -= 1
            if self.leaves:
                self.leaves -= 1
                left(f"upload-of-{ticket.file_id}")

    async def abort(self, ticket: Ticket, upload_id: str) -> None:
        self.log.append(f"abort {upload_id} {ticket.bucket}/{ticket.key} {ticket.access_key_secret}")
        if self.says_of_aborts:
            raise self.says_of_aborts.popleft()

    async def close(self) -> None:
        pass


class SiteFileRow(Struct):
    account: str
    digest: bytes
    owner: str
    begun: float
    parts: Secret | None = None
    file: SiteFile | None = None
    done: float = 0.0


class FakeSiteFiles:
    """Satisfies `SiteFiles`. down: what every method raises; `None` while all is well. downs: what those of a name
    raise."""

    def __init__(self, log: list[str] | None = None) -> None:
        self.log: list[str] = [] if log is None else log
        self.rows: dict[str, SiteFileRow] = {}
        self.down: Fault | None = None
        self.downs: dict[str, Fault] = {}
        self._count = 0

    async def _did(self, name: str, what: str = "") -> None:
        await asyncio.sleep(0)
        self.log.append(f"{name} {what}".strip())
        if (fault := self.downs.get(name, self.down)) is not None:
            raise fault

    @property
    def unfinished(self) -> list[SiteFileRow]:
        return [row for row in self.rows.values() if row.file is None]

    async def find(self, account: str, digest: bytes, since: float) -> SiteFile | None:
        await self._did("find")
        known = [row for row in self.rows.values() if (row.account, row.digest) == (account, digest) and row.file]
        newest = max((row for row in known if row.done > since), key=lambda row: row.done, default=None)
        return newest.file if newest is not None else None

    async def begin(self, account: str, digest: bytes, owner: str, now: float) -> str:
        await self._did("begin")
        self._count += 1
        self.rows[f"row-{self._count}"] = SiteFileRow(account, digest, owner, now)
        return f"row-{self._count}"

    async def parted(self, record: str, parts: Secret) -> None:
        await self._did("parted", record)
        self.rows[record].parts = parts

    async def done(self, record: str, file: SiteFile, now: float) -> None:
        await self._did("done", record)
        row = self.rows[record]
        row.file, row.done, row.parts = file, now, None

    async def gone(self, record: str) -> None:
        await self._did("gone", record)
        self.rows.pop(record, None)

    async def leftovers(self, owner: str, before: float) -> list[Leftover]:
        await self._did("leftovers")
        return [
            Leftover(key, row.account, row.owner, row.parts)
            for key, row in self.rows.items()
            if row.file is None and row.owner != owner and row.begun < before
        ]

    async def forget(self, account: str, digests: Collection[bytes]) -> None:
        await self._did("forget", account)
        self.rows = {
            key: row
            for key, row in self.rows.items()
            if row.account != account or row.digest not in digests or row.file is None
        }

    async def prune(self, before: float) -> int:
        await self._did("prune")
        old = [key for key, row in self.rows.items() if row.file is not None and row.done < before]
        for key in old:
            del self.rows[key]
        return len(old)


def _satisfied(content: FakeContent, storage: FakeStorage, files: FakeSiteFiles) -> None:
    """Only for mypy: the fakes are what the ports ask for."""
    _: tuple[Content, ObjectStorage, SiteFiles] = (content, storage, files)
