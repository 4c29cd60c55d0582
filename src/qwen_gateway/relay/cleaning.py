"""Stops and deletes chats at the site: few at a time, and again until it succeeds."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine

import structlog
from msgspec import Struct

from qwen_gateway.relay.account import Account
from qwen_gateway.relay.drive import drive
from qwen_gateway.relay.ports import Ambient, Transport
from qwen_gateway.relay.renewal import Renewal
from qwen_gateway.turn.contracts import Upstream
from qwen_gateway.turn.faults import ChatLost, Fault, StorageUnavailable

WORKERS = 2
"""Deletions under way at the same time: a pace that nobody has to notice."""
RETRY_FIRST, RETRY_LAST = 2.0, 900.0
UNHURRIED_TRIES = 5
"""After so many, some three minutes, a chat that is not urgent is left alone, so that others have its place."""
STORE_RETRY = 5.0
"""Seconds until the database is asked again whether a chat is to stay."""

_log = structlog.get_logger()


class Doomed(Struct, frozen=True, eq=False):
    """A chat to delete. account: key of the one it belongs to.

    over: it is gone. left: it was left alone: its account is out of use, or a mistake of ours was in the way; or it is
    not urgent, and its account rests or it could not be deleted for a while.
    title: how a chat without an id is found. due: from when on (seconds since 1970) one that is not found was not made.
    spared: whether it is to stay after all; asked before anything is deleted. Raises StorageUnavailable.
    urgent: the end of the process waits for it, and it is tried until it succeeds.
    """

    account: str
    chat_id: str | None
    over: Callable[[], None]
    left: Callable[[], None]
    title: str = ""
    due: float = 0.0
    spared: Callable[[], Awaitable[bool]] | None = None
    urgent: bool = True


class Cleaning:
    """account_of: the account in use with this key. seconds: bounds each call to the site."""

    def __init__(
        self,
        site: Upstream,
        transport: Transport,
        ambient: Ambient,
        *,
        renewal: Renewal,
        account_of: Callable[[str], Account | None],
        seconds: float,
    ) -> None:
        self._site, self._transport, self._ambient = site, transport, ambient
        self._renewal, self._account_of, self._seconds = renewal, account_of, seconds
        self._due: asyncio.Queue[tuple[Doomed, int]] = asyncio.Queue()
        self._unhurried: asyncio.Queue[tuple[Doomed, int]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    @property
    def pending(self) -> int:
        """Work that is due now and that the end of the process waits for."""
        return self._pending

    def start(self) -> None:
        for _ in range(WORKERS):
            self._spawn(self._work(self._due))
        self._spawn(self._work(self._unhurried))

    async def close(self, seconds: float) -> None:
        """Finishes what is due now, for at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        self._closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def run(self, work: Coroutine[None, None, None]) -> None:
        """Work that is due now, beside the deletions."""
        self._count(1)
        self._spawn(work).add_done_callback(lambda _: self._count(-1))

    async def stop(self, account: Account, chat_id: str, answer_id: str | None) -> None:
        """Tells the site to end the answer that it still writes."""
        try:
            await self._renewal.ensure_fresh(account)
            flow = self._site.stop(account.session, self._ambient.moment(), chat_id, answer_id)
            await drive(flow, self._transport, account, self._seconds)
        except Fault as fault:
            account.noticed(fault)
            _log.info("stop_failed", chat=chat_id, code=fault.code)

    def schedule(self, doomed: Doomed, when: float, tries: int = 0) -> None:
        """Deletes the chat at that time, in seconds since 1970."""
        if self._closed:
            return
        wait = when - self._ambient.now()
        if wait > 0:
            # A day at most: timers of weeks lose their meaning when a machine sleeps.
            asyncio.get_running_loop().call_later(min(wait, 86_400), self.schedule, doomed, when, tries)
        elif doomed.urgent:
            self._count(1)
            self._due.put_nowait((doomed, tries))
        else:
            self._unhurried.put_nowait((doomed, tries))

    async def _work(self, queue: "asyncio.Queue[tuple[Doomed, int]]") -> None:
        while True:
            doomed, tries = await queue.get()
            account = self._account_of(doomed.account)
            try:
                if account is not None:
                    await self._delete(account, doomed, tries)
                else:
                    doomed.left()
            except Exception:  # noqa: BLE001 - a mistake with one chat must not leave all later ones undeleted
                _log.exception("delete_failed", chat=doomed.chat_id)
                doomed.left()
            finally:
                if doomed.urgent:
                    self._count(-1)

    async def _delete(self, account: Account, doomed: Doomed, tries: int) -> None:
        if (rests := account.resting()) is not None:
            # Left alone in this too. No try is counted.
            if doomed.urgent:
                self.schedule(doomed, self._ambient.now() + (rests.retry_after or RETRY_LAST), tries)
            else:
                doomed.left()
            return
        try:
            if doomed.spared is not None and await doomed.spared():
                doomed.over()
                return
            await self._renewal.ensure_fresh(account)
            chat_id = doomed.chat_id or await self._find(account, doomed.title)
            if chat_id is None and self._ambient.now() < doomed.due:
                self._again(doomed, tries)
                return
            if chat_id is not None:
                await self._discard(account, chat_id)
            doomed.over()
        except StorageUnavailable:
            self.schedule(doomed, self._ambient.now() + STORE_RETRY, tries)
        except Fault as fault:
            account.noticed(fault)
            _log.info("delete_failed", chat=doomed.chat_id, code=fault.code, tries=tries + 1)
            self._again(doomed, tries)

    async def _discard(self, account: Account, chat_id: str) -> None:
        flow = self._site.discard(account.session, self._ambient.moment(), chat_id)
        with contextlib.suppress(ChatLost):  # deleted by hand
            await drive(flow, self._transport, account, self._seconds)

    async def _find(self, account: Account, title: str) -> str | None:
        flow = self._site.find_titled(account.session, self._ambient.moment(), title)
        return await drive(flow, self._transport, account, self._seconds)

    def _again(self, doomed: Doomed, tries: int) -> None:
        if not doomed.urgent and tries + 1 >= UNHURRIED_TRIES:
            doomed.left()
            return
        wait = min(RETRY_FIRST * 4 ** min(tries, 8), RETRY_LAST)  # bounded: after a week the power overflows a float
        self.schedule(doomed, self._ambient.now() + wait, tries + 1)

    def _count(self, change: int) -> None:
        self._pending += change
        if self._pending:
            self._idle.clear()
        else:
            self._idle.set()

    def _spawn(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
