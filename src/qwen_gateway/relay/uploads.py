"""Files that accounts have at the site: each is brought there once, and not again while it is known to be there.

    ensure ──► known? ──► a seat ──► begun (in the store) ──► ticket, bytes, parsing ──► done
                 │                        └── whatever goes wrong, also a turn that leaves: parts are ended, gone
                 └── SiteFile

Whoever wants a file that another turn is just bringing waits for that one. The bytes belong to the turn that brings
them: if it leaves, its upload ends with it, and one of those who wait begins anew with bytes of its own.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import suppress
from functools import partial

import msgspec
import structlog
from msgspec import Struct, structs

from qwen_gateway.relay.account import Account
from qwen_gateway.relay.file_ports import Leftover, ObjectStorage, SiteFiles
from qwen_gateway.relay.ports import Ambient, Secret, Transport
from qwen_gateway.relay.renewal import Renewal
from qwen_gateway.relay.upload_ends import Ends, Parts, ended
from qwen_gateway.relay.upload_steps import Bringing, Steps
from qwen_gateway.turn.contracts import Upstream
from qwen_gateway.turn.faults import Fault, StorageUnavailable
from qwen_gateway.turn.files import Content, Facts, FilePart, SiteFile, Ticket

UPLOADING = "uploads"
"""What of an account rests (`accounts.rest`) while the site gives it no leave to upload."""
ABANDONED = 3600.0
"""Seconds after which nobody is still at an upload: a turn's files may take less."""
FRESH = 120.0
"""Seconds from the start of an upload, and as many from its end, for which the address that came with its ticket surely
holds: it does for 300 after that (2026-09)."""

_log = structlog.get_logger()


class UploadCounts(Struct, frozen=True):
    """running: now, also while the site reads them. waiting: for their turn. done, failed, reused: since the start; a
    reused one was there already, or was brought by another turn meanwhile. bytes: of those that are done."""

    running: int
    waiting: int
    done: int
    failed: int
    reused: int
    bytes: int


class _Seat:
    """One of those for bytes on their way, until `close`, which may come again."""

    def __init__(self, seats: asyncio.Semaphore) -> None:
        self._seats: asyncio.Semaphore | None = seats

    def close(self) -> None:
        if self._seats is not None:
            self._seats.release()
            self._seats = None


_Flight = asyncio.Future[SiteFile | Fault | None]
"""An upload that others wait for: what came of it; `None` when it was left."""


class Uploads:
    def __init__(  # noqa: PLR0913 - the parts are joined here, once
        self,
        site: Upstream,
        storage: ObjectStorage,
        files: SiteFiles,
        transport: Transport,
        ambient: Ambient,
        *,
        owner: str,
        secret: bytes,
        seconds: float,
        renewal: Renewal | None = None,
        cache_seconds: float = 3600.0,
        parse_seconds: float = 60.0,
        at_once: int = 4,
    ) -> None:
        """owner: names this process. secret: for the digests by which files are found again. seconds: bounds each call
        to the site. cache_seconds: how long after its upload a file is taken to be there."""
        self._steps = Steps(site, storage, transport, ambient, renewal, seconds, parse_seconds)
        self._storage, self._files, self._ambient = storage, files, ambient
        self._owner, self._secret, self._cache_seconds = owner, secret, cache_seconds
        self._seats = asyncio.Semaphore(at_once)
        self._flights: dict[tuple[str, bytes], _Flight] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._unstruck: set[str] = set()  # records of which the store has not heard that they are over
        self._ends = Ends(storage, files, owner, self._strike)
        self._running = self._done = self._failed = self._reused = self._bytes = 0
        self._waiting = 0

    @property
    def counts(self) -> UploadCounts:
        return UploadCounts(self._running, self._waiting, self._done, self._failed, self._reused, self._bytes)

    # -- one file

    async def ensure(
        self,
        account: Account,
        part: FilePart,
        content: Callable[[], Awaitable[Content]],
        facts: Facts,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> SiteFile:
        """The file, as the account has it at the site. content: its bytes, asked for when they are to be sent, and left
        open; when this returns or raises, nobody reads them any more. progress: told how many of them have arrived; of
        all only once the site has taken the file.

        Raises faults that name the part: what the site says, UploadFailed, TimedOut, InvalidRequest and
        StorageUnavailable.
        """
        try:
            digest = await self._digest(part, content, facts)
            return await self._ensure(account, digest, content, facts, progress or _unseen)
        except Fault as fault:
            if fault.param is None:
                fault.param = part.param or None
            raise

    async def _digest(self, part: FilePart, content: Callable[[], Awaitable[Content]], facts: Facts) -> bytes:
        """Of the bytes and of all that the site is told of them."""
        known, _, hexadecimal = part.identity.partition(":")
        if known != "sha256":
            hexadecimal = (await content()).sha256
        return self._digest_of(hexadecimal, facts)

    def _digest_of(self, hexadecimal: str, facts: Facts) -> bytes:
        told = msgspec.json.encode([hexadecimal, facts.name, facts.media_type, facts.kind])
        return hmac.digest(self._secret, told, "sha256")

    async def _ensure(
        self,
        account: Account,
        digest: bytes,
        content: Callable[[], Awaitable[Content]],
        facts: Facts,
        progress: Callable[[int], None],
    ) -> SiteFile:
        key = account.key, digest
        while (flight := self._flights.get(key)) is not None:
            outcome = await asyncio.shield(flight)  # shielded: others wait too
            if isinstance(outcome, SiteFile):
                self._reused += 1
                return outcome
            if outcome is not None:
                raise _copied(outcome) from outcome
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        came: SiteFile | Fault | None = None
        try:
            came = await self._find(account, digest) or await self._upload(account, digest, content, facts, progress)
            return came
        except Fault as fault:
            came = _copied(fault)  # before it names a part, which those who wait may call otherwise
            raise
        finally:
            del self._flights[key]
            flight.set_result(came)

    async def _find(self, account: Account, digest: bytes) -> SiteFile | None:
        try:
            found = await self._files.find(account.key, digest, self._ambient.now() - self._cache_seconds)
        except StorageUnavailable as fault:
            _log.warning("upload_not_looked_up", code=fault.code)
            return None
        self._reused += found is not None
        return found

    async def _upload(
        self,
        account: Account,
        digest: bytes,
        content: Callable[[], Awaitable[Content]],
        facts: Facts,
        progress: Callable[[int], None],
    ) -> SiteFile:
        seat = await self._seat()
        self._running += 1
        try:
            if (fault := _resting(account, self._ambient.now())) is not None:
                raise fault
            given = await content()
            began = self._ambient.now()
            record, left = await self._begin(account, digest, began), list[Parts]()
            try:
                parted, arriving = partial(self._parted, record), partial(_arriving, progress, facts.size)
                bringing = Bringing(account, given, facts, parted, partial(_leaving, left), arriving, seat.close)
                file = await self._steps.bring(bringing)
                await self._note_done(record, file)
            except BaseException as problem:
                if isinstance(problem, Fault):
                    account.failed(UPLOADING, problem, began)
                await self._finish(self._give_up(record, left, account, digest))
                raise
        except Fault:
            self._failed += 1
            raise
        finally:
            self._running -= 1
            seat.close()
        if left:
            await self._finish(self._keep(left, account, digest))
        self._done += 1
        self._bytes += facts.size
        progress(facts.size)
        return file if self._ambient.now() - began < FRESH else file.kept()

    async def _seat(self) -> "_Seat":
        self._waiting += 1
        try:
            await self._seats.acquire()
        finally:
            self._waiting -= 1
        return _Seat(self._seats)

    # -- what is remembered

    async def _begin(self, account: Account, digest: bytes, now: float) -> str:
        """Cancelled, it strikes the record, which the store may write all the same."""
        beginning = asyncio.ensure_future(self._files.begin(account.key, digest, self._owner, now))
        try:
            return await asyncio.shield(beginning)
        except asyncio.CancelledError:
            await self._finish(self._strike_begun(beginning))
            raise

    async def _strike_begun(self, beginning: asyncio.Future[str]) -> None:
        with suppress(StorageUnavailable):
            await self._strike(await beginning)

    async def _parted(self, record: str, ticket: Ticket, upload: str) -> None:
        await self._files.parted(record, _parts(ticket, upload).sealed())

    async def _give_up(self, record: str, left: list[Parts], account: Account, digest: bytes) -> None:
        """A record is struck only when nothing of the upload is open any more."""
        if left:
            await self._keep(left, account, digest, record)
        else:
            await self._strike(record)

    async def _keep(self, left: list[Parts], account: Account, digest: bytes, record: str | None = None) -> None:
        for parts in reversed(left):  # the record knows the last one already
            await self._ends.keep(parts, account.key, digest, self._ambient.now(), record)
            record = None

    async def _note_done(self, record: str, file: SiteFile) -> None:
        try:
            await self._files.done(record, file.kept(), self._ambient.now())
        except StorageUnavailable as fault:
            _log.warning("upload_not_remembered", code=fault.code)  # it is there, and serves this turn
            self._unstruck.add(record)

    async def _strike(self, record: str) -> None:
        try:
            await self._files.gone(record)
            self._unstruck.discard(record)
        except StorageUnavailable as fault:
            _log.warning("upload_not_struck", code=fault.code)
            self._unstruck.add(record)

    async def _finish(self, work: Coroutine[None, None, None]) -> None:
        """Goes on also when the one who waits for it is cancelled."""
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        await asyncio.shield(task)

    async def forget(self, account: Account, files: Collection[tuple[FilePart, Facts]]) -> None:
        """The site refuses one of these, as the account has them: they are brought again. Each with the digest of its
        bytes as its identity."""
        digests = [self._digest_of(part.identity.removeprefix("sha256:"), facts) for part, facts in files]
        try:
            await self._files.forget(account.key, digests)
        except StorageUnavailable as fault:
            _log.warning("uploads_not_forgotten", code=fault.code)

    async def close(self, seconds: float) -> None:
        """Waits for what the store is still to hear, for at most `seconds`. The next start sweeps the rest."""
        end = asyncio.get_running_loop().time() + seconds
        if self._ending:
            await asyncio.wait(self._ending, timeout=seconds)
        await self._ends.close(max(0.0, end - asyncio.get_running_loop().time()))

    # -- what others have left

    async def sweep(self, *, gone: Callable[[str], bool] | None = None) -> None:
        """At the start and then now and again: ends uploads that processes have left when they died, and forgets what
        is too old to be used. gone: whether the process of that name has ended, where that can be known; `None` where
        it cannot: then its uploads are left alone while somebody may still be at them. What cannot be done now waits
        for the next time."""
        now = self._ambient.now()
        try:
            for record in list(self._unstruck):
                await self._strike(record)
            for left in await self._files.leftovers(self._owner, now if gone is not None else now - ABANDONED):
                if gone is not None and not gone(left.owner):
                    continue
                if left.parts is None or await self._ended(left, left.parts):
                    await self._files.gone(left.id)
            await self._files.prune(now - self._cache_seconds)
        except StorageUnavailable as fault:
            _log.warning("uploads_not_swept", code=fault.code)

    async def _ended(self, left: Leftover, secret: Secret) -> bool:
        """Whether nothing of it is left that could still be ended."""
        try:
            parts = msgspec.json.decode(secret.value, type=Parts)
        except msgspec.DecodeError:
            _log.warning("leftover_unreadable", record=left.id)
            return True
        return await ended(self._storage, parts)


def _parts(ticket: Ticket, upload: str) -> Parts:
    return Parts(structs.replace(ticket, url=""), upload)


def _leaving(left: list[Parts], ticket: Ticket, upload: str) -> None:
    left.append(_parts(ticket, upload))


def _resting(account: Account, now: float) -> Fault | None:
    """Whether the site gives the account no leave to upload for a while. That a turn tries whether the whole account's
    rest is over is no reason against: it may be this one."""
    return account.refusal(UPLOADING) if account.rest.held(UPLOADING, now) is not None else None


def _copied(fault: Fault) -> Fault:
    """For another one who waits: faults are changed on their way. Whatever its class needs to be made."""
    copy = type(fault).__new__(type(fault), *fault.args)
    copy.__dict__.update(fault.__dict__)
    return copy


def _arriving(progress: Callable[[int], None], size: int, arrived: int) -> None:
    """That all bytes have been sent does not say that the site takes them."""
    if arrived < size:
        progress(arrived)


def _unseen(_arrived: int) -> None:
    pass
