"""Uploads in parts that came to nothing and could not be ended at once: it is tried again while the leave for it lasts.

keep ──► a record in the store ──► abort … abort ──► ended, or the leave has run out ──► record struck
                └── the process ends before: another one finds the record (`Uploads.sweep`)
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from msgspec import Struct

from qwen_gateway.relay.file_ports import ObjectStorage, SiteFiles
from qwen_gateway.relay.ports import Secret
from qwen_gateway.turn.faults import Fault, SiteError, StorageUnavailable
from qwen_gateway.turn.files import Ticket

ABORT_SECONDS = 20.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
"""Seconds between tries."""
LONGEST_LEAVE = 12 * 3600.0
"""Seconds after which no leave lasts any more: temporary credentials of the storage live for 12 hours at most."""

_log = structlog.get_logger()


class Parts(Struct, frozen=True):
    """What it takes to end an upload in parts."""

    ticket: Ticket
    upload: str

    def sealed(self) -> Secret:
        return Secret(msgspec.json.encode(self))


class Ends:
    """strike: told the id of a record of which nothing is open any more."""

    def __init__(
        self, storage: ObjectStorage, files: SiteFiles, owner: str, strike: Callable[[str], Awaitable[None]]
    ) -> None:
        self._storage, self._files, self._owner, self._strike = storage, files, owner, strike
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many are still to be ended."""
        return len(self._tasks)

    async def keep(self, parts: Parts, account: str, digest: bytes, now: float, record: str | None = None) -> None:
        """record: one that the upload has already and does not need otherwise."""
        try:
            record = record or await self._files.begin(account, digest, self._owner, now)
            await self._files.parted(record, parts.sealed())
        except StorageUnavailable as fault:
            _log.warning("upload_end_not_kept", code=fault.code)  # it is tried all the same
        task = asyncio.create_task(self._ended(parts, record))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ended(self, parts: Parts, record: str | None) -> None:
        loop = asyncio.get_running_loop()
        pause, end = FIRST_PAUSE, loop.time() + LONGEST_LEAVE
        while not await self._pause(pause):
            if loop.time() > end or await ended(self._storage, parts):
                if record is not None:
                    await self._strike(record)
                return
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _pause(self, seconds: float) -> bool:
        """Whether the gateway is shutting down."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return False
        return True

    async def close(self, seconds: float) -> None:
        """Waits for tries that are under way, for at most `seconds`. The records stay for the next start."""
        self._closing.set()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)


async def ended(storage: ObjectStorage, parts: Parts) -> bool:
    """Tries once. Whether nothing of it is left that could still be ended: its leave may have run out, and then the
    storage has to clear it away by itself."""
    try:
        async with asyncio.timeout(ABORT_SECONDS):
            await storage.abort(parts.ticket, parts.upload)
    except SiteError as fault:
        if fault.code == "upload_expired":
            _log.info("leftover_not_ended", file=parts.ticket.file_id, code=fault.code)
            return True
        return False
    except (Fault, TimeoutError):
        return False
    return True
