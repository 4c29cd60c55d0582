"""The accounts in use: the owner's, as the store has them, and in pass-through mode those that callers bring."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from itertools import count
from typing import Final, Literal

from msgspec import Struct, structs

from qwen_gateway.accounts import credential
from qwen_gateway.accounts.pace import Pace
from qwen_gateway.accounts.rest import Rest, Resting
from qwen_gateway.accounts.session import Session
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.keeper import Keeper, entries_of
from qwen_gateway.relay.pool import Pool, Queue
from qwen_gateway.relay.ports import AccountStore, Ambient, Check, Secret, StoredAccount
from qwen_gateway.turn.faults import BadKey, Fault, LoginExpired, NoAccount, NotFound

MAX_BROUGHT = 256
"""Accounts of callers that are remembered; the one longest unused goes first."""
ENVIRONMENT: Final = "environment"
STATES = ("ready", "resting", "paused", "login_required")
"""What an account of the owner's can be, for figures."""

_NO_ACCOUNT = (
    "No Qwen account is connected to this gateway. Log in at https://chat.qwen.ai in your browser, run `qwen-gateway "
    "login`, and paste the Cookie header of any request there (or start the gateway with QWEN_GATEWAY_COOKIES set to "
    "it). To try the gateway without an account, run `qwen-gateway demo`."
)


class Manners(Struct, frozen=True):
    """How accounts are used. seats: turns at the same time. per_minute, burst: turns begun. rest: after refusals.
    queue: of those who wait. warn_days: before the end of a session."""

    seats: int
    per_minute: float
    burst: int
    rest: Resting
    queue: Queue
    warn_days: float


class Accounts:
    """on_use, on_forget: told of accounts that come into use, and of those that go out of it."""

    def __init__(self, store: AccountStore, keeper: Keeper, ambient: Ambient, manners: Manners) -> None:
        self._store, self._keeper, self._ambient, self._manners = store, keeper, ambient, manners
        self._own: dict[str, Account] = {}
        self._brought: OrderedDict[str, tuple[Account, Pool]] = OrderedDict()
        self._environment = ""
        self._syncing = asyncio.Lock()
        self.pool = Pool(lambda: list(self._own.values()), ambient, manners.queue, _NO_ACCOUNT)
        self.warned: str | None = None
        """What the owner should know of the sessions' ends, as of the last `warn` or `sync`."""
        self.on_use: Callable[[Account], None] = lambda _: None
        self.on_forget: Callable[[Account], None] = lambda _: None

    # -- the owner's accounts

    def all(self) -> list[Account]:
        """The owner's accounts, oldest first."""
        return list(self._own.values())

    def find(self, name: str) -> Account:
        """By name or id. Raises NotFound."""
        for account in self._own.values():
            if name in (account.key, account.name):
                return account
        known = ", ".join(sorted(account.name for account in self._own.values())) or "none"
        raise NotFound(f"There is no account {name[:100]!r}. Accounts: {known}.", code="account_not_found")

    def count(self, state: str) -> int:
        """How many of the owner's accounts are in one of `STATES`."""
        return sum(_state(account) == state for account in self._own.values())

    async def sync(self) -> None:
        """Takes over what the store has. Raises StorageUnavailable."""
        async with self._syncing:  # what was asked for earlier must not be taken over later
            await self._sync()

    async def _sync(self) -> None:
        rows = await self._store.load()
        asked, clearing = self._ambient.now(), self._keeper.clearing
        pauses = await self._store.pauses()
        shown = {row.id: row for row in rows if row.source != ENVIRONMENT or row.id == self._environment}
        for key in [key for key in self._own if key not in shown]:
            self._drop(self._own.pop(key))
        for key, row in shown.items():
            account = self._own.get(key)
            if account is None:
                account = self._new(Session.load(row.session.value, key))
                self._keeper.keep(account, row)
                account.on_report = self.pool.look
                self._own[key] = account
                self.on_use(account)
            self._keeper.take_over(account, row)
            if key not in clearing:
                account.rest.restore(entries_of(key, pauses), asked)
        self.warn()
        self.pool.look()

    async def adopt(
        self,
        found: credential.Credential,
        name: str = "",
        *,
        source: str = "imported",
        session: Session | None = None,
    ) -> Account:
        """Stores a session and uses it from now on: a new account, or a fresh session of one that is known, whose
        rest ends. session: made of what was found, and perhaps renewed since. Raises NameTaken, StorageUnavailable."""
        session = session or Session(found)
        rows = {row.id: row for row in await self._store.load()}
        known = rows.get(session.key)
        if source == ENVIRONMENT:
            self._environment = session.key
        if known is None or self._is_news(known, found, session, source):
            await self._store.put(_row(known, session, name, _origin(found), source, self._ambient.now(), rows))
            await self._store.clear_pauses(session.key)
            if session.key in self._own:
                self._own[session.key].wake()
        await self.sync()
        return self._own[session.key]

    def _is_news(self, known: StoredAccount, found: credential.Credential, session: Session, source: str) -> bool:
        """Whether a session replaces the stored one. One that a person imports always does. That of the environment
        is the same text at every start, and older by then than what the site has made of it."""
        if source != ENVIRONMENT:
            return True
        if known.origin == _origin(found):
            return False
        before = Session.load(known.session.value, known.id).expires_at or 0.0
        return known.source == ENVIRONMENT or (session.expires_at or 0.0) > before

    async def remove(self, account: Account) -> None:
        await self._store.remove(account.key)
        await self.sync()

    async def pause(self, account: Account, *, paused: bool) -> None:
        """Takes the account out of use, or back into it, which also ends its rests: a person has seen to it."""
        await self._store.set_paused(account.key, paused)
        if not paused:
            await self._store.clear_pauses(account.key)
            account.wake()
        await self.sync()

    def warn(self) -> str | None:
        """What the owner should know of the sessions' ends, most urgent first; also kept as `warned`."""
        days = self._manners.warn_days
        own = sorted(self._own.values(), key=lambda account: account.session.expires_at or float("inf"))
        told = (account.warning(days) for account in own if not account.paused)
        self.warned = next((one for one in told if one is not None), None)
        return self.warned

    def wake(self) -> None:
        """Ends the rest of all accounts."""
        for account in (*self._own.values(), *(account for account, _ in self._brought.values())):
            account.wake()
            self._keeper.clear(account)
            account.on_report()

    # -- those that callers bring

    def any(self) -> Account:
        """An account to ask the site's list of models with. Raises why there is none."""
        accounts = [*self._own.values(), *(account for account, _ in reversed(self._brought.values()))]
        refusals: list[Fault] = []
        for account in accounts:
            if (fault := account.resting()) is None:
                return account
            refusals.append(fault)
        if refusals:
            raise refusals[0]
        raise NoAccount(_NO_ACCOUNT)

    def brought(self, token: str) -> Pool:
        """The account of a caller's own token. Raises BadKey when it cannot be one."""
        known = self._brought.get(token)
        if known is None:
            account = self._new(Session(_read(token)))
            known = account, Pool(lambda: [account], self._ambient, self._manners.queue, _NO_ACCOUNT)
            account.on_report = known[1].look
            if len(self._brought) >= MAX_BROUGHT:
                self._forget_one()
            self._brought[token] = known
        self._brought.move_to_end(token)
        return known[1]

    def _forget_one(self) -> None:
        """The one longest unused; never one in use."""
        brought = self._brought.items()
        token = next((token for token, (account, _) in brought if not (account.busy or account.aside)), None)
        if token is not None:
            self.on_forget(self._brought.pop(token)[0])

    def _new(self, session: Session) -> Account:
        manners = self._manners
        pace = Pace(manners.per_minute, manners.burst)
        return Account(session, Rest(manners.rest), self._ambient, seats=manners.seats, pace=pace)

    def _drop(self, account: Account) -> None:
        self._keeper.forget(account)
        self.on_forget(account)


def _state(account: Account) -> str:
    if account.paused:
        return "paused"
    refusal = account.resting()
    if refusal is None:
        return "ready"
    return "login_required" if isinstance(refusal, LoginExpired) else "resting"


def _row(  # noqa: PLR0913, PLR0917 - the row's parts
    known: StoredAccount | None,
    session: Session,
    name: str,
    origin: str,
    source: str,
    now: float,
    rows: dict[str, StoredAccount],
) -> StoredAccount:
    secret = Secret(session.dump())
    kind: Literal["imported", "environment"] = ENVIRONMENT if source == ENVIRONMENT else "imported"
    if known is not None:
        return structs.replace(
            known, session=secret, origin=origin, name=name or known.name, source=kind, check=Check(), paused=False
        )
    taken = {row.name for row in rows.values()}
    free = next(one for number in count(1) if (one := f"account-{number}") not in taken)
    return StoredAccount(session.key, name or free, secret, kind, origin, created_at=now)


def _origin(found: credential.Credential) -> str:
    """Tells one paste from another, without keeping it."""
    text = repr((sorted(found.cookies.items()), found.token))
    return sha256(text.encode()).hexdigest()


def _read(token: str) -> credential.Credential:
    try:
        found = credential.read(cookies=None, token=token)
    except Fault as fault:
        raise BadKey(fault.text) from fault
    if found is None:
        raise BadKey("The key is empty.")
    return found
