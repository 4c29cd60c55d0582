"""The chats that we make at the site: each is written down before it is made, and goes again as the operator wishes.

    open ──► turn ──► release ──┬── not to be remembered: deleted, then struck from the journal
    (journal)                   └── kept: the database takes it (`relay.memory`), then it is struck from the journal

So a chat that is to go some day is in the journal or in the database at each moment, in both for a short while, and
after a crash one of the two still knows it. Only chats in one of them are ever touched. One whose id never reached us
(a crash, a client that left in that moment) is found by its title, which no other chat has, because we chose it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Literal

import structlog
from msgspec import Struct, structs

from qwen_gateway.relay.account import Account
from qwen_gateway.relay.cleaning import RETRY_FIRST, Cleaning, Doomed
from qwen_gateway.relay.drive import drive
from qwen_gateway.relay.ports import Ambient, ChatJournal, ChatRecord, Transport
from qwen_gateway.relay.renewal import Renewal
from qwen_gateway.turn.contracts import Upstream
from qwen_gateway.turn.faults import Drift, Fault, SiteError, StorageUnavailable, TimedOut, Unreachable
from qwen_gateway.turn.prompt import Prompt

DeletePolicy = Literal["now", "keep"] | float
"""`now`, `keep`, or hours after the chat was last used."""

LOST_AFTER = 60.0
"""Seconds after which a chat whose id never came, and that is not in the site's list, was not made."""

_log = structlog.get_logger()


class _Ending(Struct, frozen=True):
    """What is still to be done for a chat once its turn is over. record: of one that goes whatever comes. doubtful: as
    `_doom` means it."""

    chat_id: str
    answer_id: str | None
    unfinished: bool
    record: ChatRecord | None
    doubtful: bool
    verify: Callable[[], Awaitable[bool]] | None
    over: Callable[[], None]


class Chats:
    """knows: those of these chats (at most a few) that the database knows. Raises StorageUnavailable."""

    def __init__(  # noqa: PLR0913 - the parts are joined here, once
        self,
        site: Upstream,
        transport: Transport,
        journal: ChatJournal,
        ambient: Ambient,
        *,
        renewal: Renewal,
        knows: Callable[[list[str]], Awaitable[set[str]]],
        policy: DeletePolicy,
        seconds: float,
    ) -> None:
        """seconds: bounds each call to the site."""
        self._site, self._transport, self._journal, self._ambient = site, transport, journal, ambient
        self._knows, self._policy, self._seconds = knows, policy, seconds
        self._accounts: dict[str, Account] = {}
        self._cleaning = Cleaning(
            site, transport, ambient, renewal=renewal, account_of=self._accounts.get, seconds=seconds
        )
        self._known: set[str] = set()  # titles of chats that this process takes care of already
        self._open: dict[str, ChatRecord] = {}  # by chat id: of turns that run
        self._kept: dict[str, ChatRecord] = {}  # by chat id: of turns that ended, on their way to the database
        self._dropped: set[str] = set()  # ids of open chats that the database will not have
        self._discarding: set[str] = set()  # ids of chats that the database knows and that are to be deleted

    @property
    def pending(self) -> int:
        """Stop calls and deletions that are due now."""
        return self._cleaning.pending

    @property
    def waiting(self) -> int:
        """Chats of ended turns that are still to be deleted, now or later."""
        return len(self._journal.records()) - len(self._open) - len(self._kept)

    @property
    def discarding(self) -> int:
        """Chats that were given to `discard` and are not deleted yet."""
        return len(self._discarding)

    @property
    def usable(self) -> list[str]:
        """Keys of the accounts in which chats can be deleted now."""
        return [key for key, account in self._accounts.items() if account.resting() is None]

    def start(self) -> None:
        self._cleaning.start()

    async def close(self, seconds: float) -> None:
        """Finishes what is due now, for at most `seconds`. The journal keeps the rest for the next start."""
        await self._cleaning.close(seconds)

    def take_up(self, account: Account) -> None:
        """An account has come into use: what earlier runs left in it is deleted when due, unless the database has taken
        it."""
        self._accounts[account.key] = account
        for record in self._journal.records():
            if record.account == account.key and record.title not in self._known:
                self._known.add(record.title)
                self._doom(record, record.due, doubtful=True)

    def forget(self, account: Account) -> None:
        """An account has gone out of use. Its chats stay in the journal until it is back."""
        if self._accounts.get(account.key) is account:
            del self._accounts[account.key]

    # -- one turn

    async def open(self, account: Account, prompt: Prompt, *, keep: bool = True) -> str:
        """Makes a chat and returns its id. Raises faults. keep: `False` has it deleted after the turn where others
        stay."""
        at = self._ambient.moment()
        if keep and self._policy == "keep":
            flow = self._site.open_chat(account.session, at, prompt, "New Chat")
            return await drive(flow, self._transport, account, self._seconds)
        record = ChatRecord(f"API {at.request_id}", account.key, None, at.now + LOST_AFTER)
        self._journal.put(record)
        self._known.add(record.title)
        flow = self._site.open_chat(account.session, at, prompt, record.title)
        try:
            chat_id = await drive(flow, self._transport, account, self._seconds)
        except (asyncio.CancelledError, Unreachable, TimedOut, SiteError, Drift):
            self._doom(record, at.now + RETRY_FIRST)  # it may have been made all the same
            raise
        except Fault:
            self._strike(record)
            raise
        made = structs.replace(record, chat_id=chat_id, due=at.now)
        if self._accounts.get(account.key) is not account:
            # Only now: what a caller's token says of itself is believed once the site has accepted it.
            self.take_up(account)
        try:
            self._journal.put(made)
        except Fault:
            self._doom(made, at.now)  # made in vain
            raise
        self._open[chat_id] = made
        return chat_id

    def release(  # noqa: PLR0913 - all that is known of a turn's end
        self,
        account: Account,
        chat_id: str,
        *,
        answer_id: str | None,
        unfinished: bool,
        kept: bool = False,
        verify: Callable[[], Awaitable[bool]] | None = None,
        over: Callable[[], None] = lambda: None,
    ) -> None:
        """The turn is over. A chat that it made is deleted, one in which it went on stays.

        unfinished: the site may still be writing the answer, so it is told to stop.
        kept: the database will take the chat: `kept` or `drop` says what came of that.
        verify: whether it will after all, asked once the site writes no more.
        over: told when others may ask in the chat: a stop would end what the site writes for them.
        """
        record = self._open.pop(chat_id, None)
        if kept:
            verify = None
        dropped = chat_id in self._dropped
        if dropped:
            self._dropped.discard(chat_id)
            kept = False
        if record is not None and (kept or verify is not None):
            self._kept[chat_id] = record
            record = None
        if unfinished or verify is not None:
            ending = _Ending(chat_id, answer_id, unfinished, record, dropped, verify, over)
            self._cleaning.run(self._end(account, ending))
            return
        over()
        if record is not None:
            self._doom(record, self._ambient.now(), doubtful=dropped)

    async def _end(self, account: Account, ending: "_Ending") -> None:
        stays = False
        try:
            if ending.unfinished:
                await self._cleaning.stop(account, ending.chat_id, ending.answer_id)
            stays = ending.verify is not None and await ending.verify()
        except Exception:  # noqa: BLE001 - whatever it was, a chat that nobody remembers has to go
            _log.exception("verify_failed", chat=ending.chat_id)
        finally:
            ending.over()
            record = ending.record if ending.verify is None else None
            if ending.verify is not None and not stays:
                record = self._kept.pop(ending.chat_id, None)
            if record is not None:
                self._doom(record, self._ambient.now(), doubtful=ending.doubtful)

    # -- chats and the database

    def kept(self, chat_ids: Iterable[str]) -> None:
        """The database has them, and says from now on when they go."""
        for chat_id in chat_ids:
            self._dropped.discard(chat_id)
            record = self._kept.pop(chat_id, None) or self._open.pop(chat_id, None)
            if record is None:
                continue
            try:
                self._strike(record)
            except Fault as fault:
                _log.warning("chat_not_struck", chat=chat_id, code=fault.code)  # nor deleted: it will be known

    def drop(self, chat_ids: Iterable[str]) -> None:
        """The database will not have them: those that we made go, once their turns are over."""
        for chat_id in chat_ids:
            if (record := self._kept.pop(chat_id, None)) is not None:
                # Doubtful: it may have been written though the answer to that was lost.
                self._doom(record, self._ambient.now(), doubtful=True)
            elif chat_id in self._open:
                self._dropped.add(chat_id)

    def discard(self, account_key: str, chat_id: str, done: Callable[[], None]) -> None:
        """Deletes a chat that the database knows, one at a time; `done` once it is gone. One of an account that is not
        in use or rests is left alone, and so is one that cannot be deleted for a while: they can be given again. One
        that is under way stays so."""
        if chat_id in self._discarding:
            return
        self._discarding.add(chat_id)

        def over() -> None:
            self._discarding.discard(chat_id)
            done()

        doomed = Doomed(account_key, chat_id, over=over, left=partial(self._discarding.discard, chat_id), urgent=False)
        self._cleaning.schedule(doomed, self._ambient.now())

    def _doom(self, record: ChatRecord, when: float, *, doubtful: bool = False) -> None:
        """doubtful: the database may have taken it, as an earlier run of ours has wanted."""
        doomed = Doomed(
            record.account,
            record.chat_id,
            over=partial(self._strike, record),
            left=partial(self._known.discard, record.title),
            title=record.title,
            due=record.due,
            spared=partial(self._is_known, record.chat_id) if doubtful and record.chat_id is not None else None,
        )
        self._cleaning.schedule(doomed, when)

    async def _is_known(self, chat_id: str) -> bool:
        try:
            return chat_id in await self._knows([chat_id])
        except StorageUnavailable:
            raise
        except Exception as problem:
            raise StorageUnavailable("The database cannot say whether a chat is to stay.") from problem

    def _strike(self, record: ChatRecord) -> None:
        self._journal.remove(record.title)
        self._known.discard(record.title)
