"""Connections to the storage, one for each thing that is done there: who halts it, and how long it has.

usual ────── halted when nobody waits for it any more, and when the gateway shuts down
beginning ── has its time then: what has begun must be known
ending ───── has its time too, and threads of its own: never behind bytes
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING

from qwen_gateway.net.oss_section import Halt, Halted
from qwen_gateway.net.oss_work import Work
from qwen_gateway.turn.files import Ticket

if TYPE_CHECKING:  # the SDK comes along with it
    from qwen_gateway.net.oss_client import Bucket

BEGIN_SECONDS = 5.0
"""For the answer to a beginning that nobody waits for any more."""
ABORT_SECONDS = 10.0
ENDS_AT_ONCE = 2
CLOSE_SECONDS = 10.0
"""For what must still be ended while the gateway shuts down."""


class Buckets:
    """connect_seconds, seconds, threads: as `OssStorage` means them."""

    def __init__(self, connect_seconds: float, seconds: float, threads: int) -> None:
        self._connect_seconds, self._seconds = connect_seconds, seconds
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="upload")
        self._enders = ThreadPoolExecutor(ENDS_AT_ONCE, thread_name_prefix="upload-end")
        self._halts: set[Halt] = set()
        self._late_halts: set[Halt] = set()
        self._owing: set[asyncio.Future[None]] = set()
        self.closing = self._closed = False

    @asynccontextmanager
    async def usual(self, ticket: Ticket) -> "AsyncIterator[tuple[Bucket, Work]]":
        """Nothing runs in a thread any more once it is left. Raises Halted, also the two below."""
        work = Work(self._executor)
        async with self._connection(ticket, work, self._halts, self._seconds, over=self.closing) as bucket:
            yield bucket, work

    @asynccontextmanager
    async def beginning(self, ticket: Ticket) -> "AsyncIterator[tuple[Bucket, Work]]":
        work = Work(self._executor, BEGIN_SECONDS)
        async with self._connection(ticket, work, self._late_halts, self._seconds, over=self.closing) as bucket:
            yield bucket, work

    @asynccontextmanager
    async def ending(self, ticket: Ticket) -> "AsyncIterator[tuple[Bucket, Work]]":
        work, seconds = Work(self._enders), min(self._seconds, ABORT_SECONDS)
        async with self._connection(ticket, work, self._late_halts, seconds, over=self._closed) as bucket:
            yield bucket, work

    @contextmanager
    def owed(self) -> Iterator[None]:
        """Something may have to be ended: closing waits for it."""
        over = asyncio.get_running_loop().create_future()
        self._owing.add(over)
        try:
            yield
        finally:
            self._owing.discard(over)
            over.set_result(None)

    async def close(self) -> None:
        self.closing = True
        _halt(self._halts)
        if self._owing:
            await asyncio.wait(self._owing, timeout=CLOSE_SECONDS)
        self._closed = True
        _halt(self._late_halts)
        for executor in (self._executor, self._enders):
            await asyncio.to_thread(executor.shutdown)

    @asynccontextmanager
    async def _connection(
        self, ticket: Ticket, work: Work, halts: set[Halt], seconds: float, *, over: bool
    ) -> "AsyncIterator[Bucket]":
        if over:
            raise Halted
        halts.add(work.halt)
        try:
            with closing(await work.run(lambda: self._connected(ticket, work.halt, seconds))) as bucket:
                yield bucket
        finally:
            halts.discard(work.halt)

    def _connected(self, ticket: Ticket, halt: Halt, seconds: float) -> "Bucket":
        from qwen_gateway.net.oss_client import Bucket  # noqa: PLC0415 - memory that a gateway without files spares

        return Bucket(ticket, halt, min(self._connect_seconds, seconds), seconds)


def _halt(halts: set[Halt]) -> None:
    for halt in list(halts):
        halt.now()
