"""Puts files into the site's storage: whole, or in parts when they are large. The SDK blocks, so it works in threads.

put ──┬── small ─────────────────────────────► one request
      └── large ──► begin ──► parts ──► complete
                      │  whatever fails: abort; what is not too large goes in one request after all
                      └── cancelled: abort

Beginnings and aborts are not halted: what has begun must be known, and ended. Both have their time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog
from msgspec import Struct

from qwen_gateway.net.oss_buckets import ABORT_SECONDS, Buckets
from qwen_gateway.net.oss_section import Halt, Halted, Section, Tally, Unanswered
from qwen_gateway.net.oss_work import Work, over
from qwen_gateway.turn.faults import Draining, Fault, SiteError, SiteFault
from qwen_gateway.turn.files import Content, Ticket

if TYPE_CHECKING:  # the SDK comes along with it
    from qwen_gateway.net.oss_client import Bucket, Part

MB = 1024 * 1024
MOST_PARTS = 1000
PARTS_AT_ONCE = 3

_log = structlog.get_logger()
_T = TypeVar("_T")


class _Load(Struct, frozen=True):
    """What is put where."""

    ticket: Ticket
    content: Content
    media_type: str
    tally: Tally
    parted: Callable[[str], Awaitable[None]]
    left: Callable[[str], None]


class _Begun(Struct):
    """What has begun of one upload in parts. asked: whether the storage was ever reached. unknown: perhaps another one
    has begun, of which it did not tell the id."""

    upload: str = ""
    asked: bool = False
    unknown: bool = False


class OssStorage:
    """Satisfies `relay.file_ports.ObjectStorage`.

    multipart_above, part_size, single_put_max: bytes. connect_seconds: also for each piece of 32 KB to be taken.
    seconds: to wait for an answer. threads: at most; each part that is under way needs one.
    """

    def __init__(
        self,
        *,
        multipart_above: int = 5 * MB,
        part_size: int = 8 * MB,
        single_put_max: int = 100 * MB,
        connect_seconds: float = 10.0,
        seconds: float = 60.0,
        threads: int = 12,
    ) -> None:
        self._multipart_above, self._part_size, self._single_put_max = multipart_above, part_size, single_put_max
        self._buckets = Buckets(connect_seconds, seconds, threads)

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
        load = _Load(ticket, content, media_type, Tally(progress), parted, left)
        try:
            if content.size <= self._multipart_above or not await self._put_in_parts(load):
                await self._put_whole(load)
        except (Halted, SiteFault):
            if not self._buckets.closing:
                raise
            raise Draining("The gateway is shutting down.") from None
        finally:
            load.tally.end()
        progress(content.size)

    async def abort(self, ticket: Ticket, upload_id: str) -> None:
        with self._buckets.owed():
            async with self._buckets.ending(ticket) as (bucket, work):
                await work.run(lambda: bucket.abort(upload_id))

    async def close(self) -> None:
        """Ends what is under way. What was begun in parts has its time to be aborted."""
        await self._buckets.close()

    async def _put_whole(self, load: _Load) -> None:
        async with self._buckets.usual(load.ticket) as (bucket, work):
            send = partial(bucket.put, media_type=load.media_type)
            await work.run(lambda: _send(send, load, 0, load.content.size, work.halt))

    # -- in parts

    async def _put_in_parts(self, load: _Load) -> bool:
        """False when that came to nothing, and the whole file may go in one request."""
        with self._buckets.owed():
            return await self._in_parts(load)

    async def _in_parts(self, load: _Load) -> bool:
        begun = _Begun()
        try:
            await self._begin(load, begun)
            await load.parted(begun.upload)
            async with self._buckets.usual(load.ticket) as (bucket, work):
                parts = await self._parts(load, bucket, work, begun.upload)
                await work.run(lambda: bucket.complete(begun.upload, parts))
        except SiteFault as fault:
            # Where not even the beginning could be sent, more bytes will not get through either.
            unsent = not (begun.asked or isinstance(fault, SiteError))
            await self._abandon(load, begun)
            if unsent or fault.code == "upload_expired" or load.content.size > self._single_put_max:
                raise
            _log.warning("upload_in_parts_failed", code=fault.code, size=load.content.size)
            load.tally.restart()
            return False
        except BaseException:
            await self._abandon(load, begun)
            raise
        return True

    async def _begin(self, load: _Load, begun: _Begun) -> None:
        """Once more after an answer that got lost, if what it would have told of is ended, or the file is too large for
        one request: then an empty upload that stays is better than a file that does not arrive."""
        try:
            await self._begin_once(load, begun)
        except Unanswered as lost:
            cleared = await self._clear(load)
            begun.unknown = False  # or nobody can know
            if not cleared and load.content.size <= self._single_put_max:
                raise lost.fault from None
        else:
            return
        try:
            await self._begin_once(load, begun)
        except Unanswered as lost:
            raise lost.fault from None

    async def _begin_once(self, load: _Load, begun: _Begun) -> None:
        def begin(bucket: "Bucket") -> None:
            # Into `begun`: it may begin although nobody waits for it any more.
            try:
                begun.upload = bucket.begin(load.media_type)
                begun.asked = True
            except Unanswered:
                begun.asked = begun.unknown = True
                raise

        async with self._buckets.beginning(load.ticket) as (bucket, work):
            await work.run(lambda: begin(bucket))

    async def _parts(self, load: _Load, bucket: "Bucket", work: Work, upload: str) -> "list[Part]":
        stretches, arrived = _stretches(load.content.size, self._part_size), list["Part"]()

        async def some() -> None:
            for number, start, size in stretches:
                send = partial(bucket.put_part, upload, number)
                arrived.append(await work.run(partial(_send, send, load, start, size, work.halt)))

        # Not a TaskGroup: with Python 3.11 it leaves its parent marked as cancelled, which outer timeouts then misread.
        tasks = [asyncio.create_task(some()) for _ in range(PARTS_AT_ONCE)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                await over(task)
        for task in tasks:
            if not task.cancelled():
                task.result()
        return arrived

    # -- ending

    async def _abandon(self, load: _Load, begun: _Begun) -> None:
        """Nothing of it is to stay open. Whoever is cancelled waits for that too."""
        if begun.upload:
            await _finished(self._end(load, begun.upload))
        if begun.unknown:
            await _finished(self._clear(load))

    async def _end(self, load: _Load, upload: str) -> None:
        try:
            async with asyncio.timeout(ABORT_SECONDS):
                await self.abort(load.ticket, upload)
        except (Fault, Halted, TimeoutError) as problem:
            _log.warning("upload_not_aborted", file=load.ticket.file_id, code=_code(problem))
            load.left(upload)

    async def _clear(self, load: _Load) -> bool:
        """Ends all that was begun for this file. False where nobody may know what that is."""
        try:
            async with asyncio.timeout(ABORT_SECONDS), self._buckets.ending(load.ticket) as (bucket, work):
                uploads = await work.run(bucket.open_uploads)
        except (Fault, Halted, TimeoutError) as problem:
            _log.warning("upload_perhaps_open", file=load.ticket.file_id, code=_code(problem))
            return False
        for upload in uploads:
            await self._end(load, upload)
        return True


async def _finished(work: Coroutine[None, None, object]) -> None:
    await over(asyncio.create_task(work))


def _code(problem: BaseException) -> str:
    return getattr(problem, "code", "timeout" if isinstance(problem, TimeoutError) else "shutting_down")


def _send(send: Callable[[Section], _T], load: _Load, start: int, size: int, halt: Halt) -> _T:
    with closing(Section(load.content, start, size, halt, load.tally)) as section:
        return send(section)


def _stretches(size: int, part_size: int) -> Iterator[tuple[int, int, int]]:
    """Number from 1, start and size of each part."""
    step = max(part_size, -(-size // MOST_PARTS))
    for number, start in enumerate(range(0, size, step), 1):
        yield number, start, min(step, size - start)
