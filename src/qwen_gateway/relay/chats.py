"""The chats that we make at the site: each is written down before it is made, and deleted as the operator wishes.

Only chats in the journal are ever touched. One whose id never reached us (a crash, a client that left in that
moment) is found by its title, which no other chat has, because we chose it.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Literal

import msgspec
import structlog

from qwen_gateway.relay.account import Account
from qwen_gateway.relay.drive import drive
from qwen_gateway.relay.ports import Ambient, ChatJournal, ChatRecord, Transport
from qwen_gateway.relay.renewal import Renewal
from qwen_gateway.turn.contracts import Upstream
from qwen_gateway.turn.faults import Drift, Fault, SiteError, TimedOut, Unreachable
from qwen_gateway.turn.prompt import Prompt

DeletePolicy = Literal["now", "keep"] | float
"""`now`, `keep`, or hours after the chat was made."""

WORKERS = 2
"""Deletions under way at the same time: a pace that nobody has to notice."""
RETRY_FIRST, RETRY_LAST = 2.0, 900.0
LOST_AFTER = 60.0
"""Seconds after which a chat whose id never came, and that is not in the site's list, was not made."""

_log = structlog.get_logger()


class Chats:
    def __init__(  # noqa: PLR0913 - the parts are joined here, once
        self,
        site: Upstream,
        transport: Transport,
        journal: ChatJournal,
        ambient: Ambient,
        *,
        renewal: Renewal,
        policy: DeletePolicy,
        seconds: float,
    ) -> None:
        """seconds: bounds each call to the site."""
        self._site, self._transport, self._journal, self._ambient = site, transport, journal, ambient
        self._policy, self._seconds = policy, seconds
        self._renewal = renewal
        self._accounts: dict[str, Account] = {}
        self._known: set[str] = set()  # titles of chats that this process takes care of already
        self._open: dict[str, ChatRecord] = {}  # by chat id: of turns that run
        self._due: asyncio.Queue[tuple[ChatRecord, int]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    @property
    def pending(self) -> int:
        """Stop calls and deletions that are due now."""
        return self._pending

    @property
    def waiting(self) -> int:
        """Chats of ended turns that are still to be deleted, now or later."""
        return len(self._journal.records()) - len(self._open)

    def start(self) -> None:
        for _ in range(WORKERS):
            self._spawn(self._work())

    async def close(self, seconds: float) -> None:
        """Finishes what is due now, for at most `seconds`. The journal keeps the rest for the next start."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        self._closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def take_up(self, account: Account) -> None:
        """An account has come into use: what earlier runs left in it is deleted when due."""
        self._accounts[account.key] = account
        for record in self._journal.records():
            if record.account == account.key and record.title not in self._known:
                self._known.add(record.title)
                self._schedule(record, record.due)

    def forget(self, account: Account) -> None:
        """An account has gone out of use. Its chats stay in the journal until it is back."""
        if self._accounts.get(account.key) is account:
            del self._accounts[account.key]

    async def open(self, account: Account, prompt: Prompt) -> str:
        """Makes a chat and returns its id. Raises faults."""
        at = self._ambient.moment()
        if self._policy == "keep":
            flow = self._site.open_chat(account.session, at, prompt, "New Chat")
            return await drive(flow, self._transport, account, self._seconds)
        record = ChatRecord(f"API {at.request_id}", account.key, None, at.now + LOST_AFTER)
        self._journal.put(record)
        self._known.add(record.title)
        flow = self._site.open_chat(account.session, at, prompt, record.title)
        try:
            chat_id = await drive(flow, self._transport, account, self._seconds)
        except (asyncio.CancelledError, Unreachable, TimedOut, SiteError, Drift):
            self._schedule(record, at.now + RETRY_FIRST)  # it may have been made all the same
            raise
        except Fault:
            self._strike(record)
            raise
        hours = 0.0 if self._policy == "now" else self._policy
        made = msgspec.structs.replace(record, chat_id=chat_id, due=at.now + hours * 3600)
        if self._accounts.get(account.key) is not account:
            # Only now: what a caller's token says of itself is believed once the site has accepted it.
            self.take_up(account)
        try:
            self._journal.put(made)
        except Fault:
            self._schedule(made, at.now)  # made in vain
            raise
        self._open[chat_id] = made
        return chat_id

    def release(self, account: Account, chat_id: str, *, answer_id: str | None, unfinished: bool) -> None:
        """The turn is over. `unfinished`: the site may still be writing the answer, so it is told to stop."""
        record = self._open.pop(chat_id, None)
        if unfinished:
            self._count(1)
            self._spawn(self._stop(account, chat_id, answer_id, record))
        elif record is not None:
            self._schedule(record, record.due)

    async def _stop(self, account: Account, chat_id: str, answer_id: str | None, record: ChatRecord | None) -> None:
        try:
            await self._renewal.ensure_fresh(account)
            flow = self._site.stop(account.session, self._ambient.moment(), chat_id, answer_id)
            await drive(flow, self._transport, account, self._seconds)
        except Fault as fault:
            account.noticed(fault)
            _log.info("stop_failed", chat=chat_id, code=fault.code)
        finally:
            if record is not None:
                self._schedule(record, record.due)
            self._count(-1)

    def _schedule(self, record: ChatRecord, when: float, tries: int = 0) -> None:
        if self._closed:
            return
        wait = when - self._ambient.now()
        if wait > 0:
            # A day at most: timers of weeks lose their meaning when a machine sleeps.
            asyncio.get_running_loop().call_later(min(wait, 86_400), self._schedule, record, when, tries)
        else:
            self._count(1)
            self._due.put_nowait((record, tries))

    async def _work(self) -> None:
        while True:
            record, tries = await self._due.get()
            account = self._accounts.get(record.account)
            try:
                if account is not None:
                    await self._delete(account, record, tries)
                else:
                    self._known.discard(record.title)
            except Exception:  # noqa: BLE001 - a mistake with one chat must not leave all later ones undeleted
                _log.exception("delete_failed", chat=record.chat_id)
            finally:
                self._count(-1)

    async def _delete(self, account: Account, record: ChatRecord, tries: int) -> None:
        if (rests := account.resting()) is not None:
            # Left alone in this too. No try is counted.
            self._schedule(record, self._ambient.now() + (rests.retry_after or RETRY_LAST), tries)
            return
        try:
            await self._renewal.ensure_fresh(account)
            chat_id = record.chat_id or await self._find(account, record.title)
            if chat_id is None and self._ambient.now() < record.due:
                self._again(record, tries)
                return
            if chat_id is not None:
                flow = self._site.discard(account.session, self._ambient.moment(), chat_id)
                await drive(flow, self._transport, account, self._seconds)
            self._strike(record)
        except Fault as fault:
            account.noticed(fault)
            _log.info("delete_failed", chat=record.chat_id, code=fault.code, tries=tries + 1)
            self._again(record, tries)

    def _again(self, record: ChatRecord, tries: int) -> None:
        wait = min(RETRY_FIRST * 4 ** min(tries, 8), RETRY_LAST)  # bounded: after a week the power overflows a float
        self._schedule(record, self._ambient.now() + wait, tries + 1)

    def _strike(self, record: ChatRecord) -> None:
        self._journal.remove(record.title)
        self._known.discard(record.title)

    async def _find(self, account: Account, title: str) -> str | None:
        flow = self._site.find_titled(account.session, self._ambient.moment(), title)
        return await drive(flow, self._transport, account, self._seconds)

    def _count(self, change: int) -> None:
        self._pending += change
        if self._pending:
            self._idle.clear()
        else:
            self._idle.set()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
