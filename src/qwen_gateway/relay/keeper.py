"""Keeps accounts in step with the store: what changes here is written there, what changed there is taken over.

Sessions and rests change while turns run, and no turn waits for a database because of that: changes are written by one
task, soon, and again until it succeeds.
"""

import asyncio
import contextlib

import structlog

from qwen_gateway.accounts.rest import RestEntry
from qwen_gateway.accounts.session import Session
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.ports import AccountStore, Ambient, Secret, StoredAccount, StoredPause
from qwen_gateway.turn.faults import Fault

RETRY_EVERY = 1.0
"""Seconds between tries to write what could not be written."""

_log = structlog.get_logger()


class Keeper:
    """owner: names this process among those that share the store."""

    def __init__(self, store: AccountStore, ambient: Ambient, owner: str) -> None:
        self._store, self._ambient, self._owner = store, ambient, owner
        self._kept: dict[str, Account] = {}
        self._saved: dict[str, int] = {}  # generation of the session that the store has
        self._dirty: dict[str, Account] = {}
        self._clearing: set[str] = set()
        self._renewed: set[str] = set()  # accounts whose renewed session is not stored yet: newer than any stored one
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._writer = asyncio.create_task(self._write())

    async def close(self, seconds: float) -> None:
        """Writes what is still unwritten, for at most `seconds`. What is lost then is logged."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._flush()
        if self._dirty:
            _log.error("accounts_not_stored", accounts=sorted(self._dirty))

    def keeps(self, account: Account) -> bool:
        return self._kept.get(account.key) is account  # a caller's own token may be of the same user

    def keep(self, account: Account, row: StoredAccount) -> None:
        """From now on `account` is in step with `row`."""
        self._kept[account.key] = account
        self._saved[account.key] = account.session.generation
        account.revision = row.revision
        account.on_change = self.changed

    def forget(self, account: Account) -> None:
        for table in (self._kept, self._saved, self._dirty):
            table.pop(account.key, None)
        self._renewed.discard(account.key)
        self._clearing.discard(account.key)
        account.on_change = lambda _: None

    def changed(self, account: Account) -> None:
        self._dirty[account.key] = account
        self._wake.set()

    def clear(self, account: Account) -> None:
        """The account's rests are over, also in the store."""
        if self.keeps(account):
            self._clearing.add(account.key)
            self.changed(account)

    @property
    def clearing(self) -> frozenset[str]:
        """Accounts whose rests in the store are over, though it does not say so yet."""
        return frozenset(self._clearing)

    def take_over(self, account: Account, row: StoredAccount) -> None:
        """What another process, or a person, has stored."""
        if row.revision > account.revision and account.key not in self._renewed:
            account.session = Session.load(row.session.value, account.key)
            account.revision = row.revision
            self._saved[account.key] = account.session.generation
        account.name, account.source, account.created_at = row.name, row.source, row.created_at
        account.paused, account.check = row.paused, row.check

    async def look(self, account: Account) -> None:
        """Takes over what is stored of this account. Raises StorageUnavailable."""
        for row in await self._store.load():
            if row.id == account.key:
                self.take_over(account, row)

    async def claim(self, account: Account, seconds: float) -> bool:
        return await self._store.claim_refresh(account.key, self._owner, self._ambient.now(), seconds)

    async def release(self, account: Account) -> None:
        # A claim that cannot be given back ends by its time.
        with contextlib.suppress(Fault):
            await self._store.release_refresh(account.key, self._owner)

    def renewed(self, account: Account) -> None:
        """The session was just renewed: whatever others have stored, it is the newest."""
        if self.keeps(account):
            self._renewed.add(account.key)

    async def save(self, account: Account) -> None:
        """Stores a session that was just renewed. When the database fails now, the writer tries on; the turn need
        not."""
        try:
            await self._save_renewed(account)
        except Exception as problem:  # noqa: BLE001 - whatever it was, it must not be lost
            _log.warning("session_not_stored", account=account.key, problem=str(problem))
            self.changed(account)

    async def _save_renewed(self, account: Account) -> None:
        """Over what others may have stored meanwhile. Then the claim ends."""
        while not await self._save_session(account):
            rows = [row for row in await self._store.load() if row.id == account.key]
            if not rows:
                break  # removed
            account.revision = rows[0].revision
        self._renewed.discard(account.key)
        await self.release(account)

    async def _save_session(self, account: Account) -> bool:
        generation = account.session.generation
        session = Secret(account.session.dump())
        revision = await self._store.save_session(account.key, session, account.revision)
        if revision is None:
            return False
        account.revision = revision
        self._saved[account.key] = generation
        return True

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if (problem := await self._flush()) is not None:
                _log.warning("accounts_wait", accounts=sorted(self._dirty), problem=str(problem))
                await asyncio.sleep(RETRY_EVERY)
                self._wake.set()

    async def _flush(self) -> Exception | None:
        """Why an account could not be written, if one could not; the others were."""
        found: Exception | None = None
        for key, account in list(self._dirty.items()):
            self._dirty.pop(key, None)
            try:
                await self._flush_one(account)
            except BaseException as problem:
                if key in self._kept:
                    self._dirty.setdefault(key, account)
                if not isinstance(problem, Exception):
                    raise
                found = problem
        return found

    async def _flush_one(self, account: Account) -> None:
        if account.key in self._clearing:
            await self._store.clear_pauses(account.key)
            self._clearing.discard(account.key)
        if entries := account.rest.unsaved():
            for entry in entries:
                await self._store.put_pause(_stored(account.key, entry))
            account.rest.saved(entries, self._ambient.now())
        if account.key in self._renewed:
            await self._save_renewed(account)
        elif self._saved.get(account.key, account.session.generation) == account.session.generation:
            return
        elif not await self._save_session(account):
            await self.look(account)  # another process was first, and cookies that both were given are worth the same


def _stored(account: str, entry: RestEntry) -> StoredPause:
    return StoredPause(account, entry.what, entry.since, entry.until, entry.code, entry.text, entry.challenges)


def entries_of(account: str, pauses: list[StoredPause]) -> list[RestEntry]:
    return [
        RestEntry(one.what, one.since, one.until, one.code, one.text, one.challenges)
        for one in pauses
        if one.account == account
    ]
