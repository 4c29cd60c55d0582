"""Which account a turn gets, and the line of those who wait for one.

A turn leases an account once and keeps it: files, chat, answer. Seats and pace are those of the accounts. Callers are
served in turn, so that one with a hundred requests does not keep another with one waiting behind them. While a turn
brings files, which may take half an hour, its seat is another's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from msgspec import Struct

from qwen_gateway.accounts.pool import Candidate, Nobody, Take, Wait, choose
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.ports import Ambient
from qwen_gateway.turn.faults import NoAccount, Overloaded

_GONE = "The Qwen account in which this conversation stands is not connected any more."


class Queue(Struct, frozen=True):
    """size: requests that may wait for an account. seconds: how long each of them may."""

    size: int
    seconds: float


class Lease:
    """An account for one turn, with a seat on it, until `close`."""

    def __init__(
        self, account: Account, given_back: Callable[[Account], None], again: "Callable[[], Awaitable[Lease]]"
    ) -> None:
        self.account = account
        self._given_back, self._again = given_back, again
        self._open = self._seated = True

    @property
    def seated(self) -> bool:
        return self._seated

    def leave(self) -> None:
        """Others get the seat while the turn asks nothing. The account stays the turn's own."""
        if self._seated:
            self._seated = False
            self.account.aside += 1
            self._given_back(self.account)

    async def back(self) -> None:
        """After `leave`: a seat on the same account, before those who come anew, and whatever its pace, which the turn
        has kept already. Raises as `Pool.lease`."""
        if self._seated:
            return
        lease = await self._again()
        if lease.account is not self.account:  # its owner has removed it, and connected it again
            lease.account.abandoned()
            lease.close()
            raise NoAccount(_GONE)
        self.account.aside -= 1
        self._seated = True

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._seated:
            self._given_back(self.account)
        else:
            self.account.aside -= 1


class _Wanted(Struct, frozen=True):
    """A model or feature, on none of the excluded accounts. only: on this account and on no other. again: for a turn
    that had a seat before."""

    what: str
    excluded: frozenset[str]
    only: str | None
    again: bool = False


class _Waiting(Struct, eq=False):
    """A place in the line. taken: whoever stood there has the lease."""

    wanted: _Wanted
    caller: str
    lease: "asyncio.Future[Lease]"
    taken: bool = False


class Pool:
    """accounts: those to choose from, as they are now. nobody: what to say when there are none."""

    def __init__(self, accounts: Callable[[], Sequence[Account]], ambient: Ambient, queue: Queue, nobody: str) -> None:
        self._accounts, self._ambient, self._queue, self._nobody = accounts, ambient, queue, nobody
        self._waiting: list[_Waiting] = []
        self._served: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def lease(
        self, what: str, *, caller: str = "", excluded: frozenset[str] = frozenset(), only: str | None = None
    ) -> Lease:
        """An account that can be used for this model or feature now. only: the key of the one that it has to be.
        Raises why none can, and Overloaded when none got free in time."""
        return await self._lease(_Wanted(what, excluded, only), caller)

    async def _lease(self, wanted: _Wanted, caller: str = "") -> Lease:
        self.look()
        # Those in the line have just had their chance: what is free now is of no use to them.
        found = self._choose(wanted)
        if isinstance(found, Lease):
            return found
        if isinstance(found, Nobody):
            raise found.fault
        if len(self._waiting) >= self._queue.size and not wanted.again:
            raise Overloaded(
                f"{len(self._waiting)} requests already wait for a Qwen account. Try again in a moment, or raise "
                "`queue_size`.",
                retry_after=5,
            )
        return await self._wait(_Waiting(wanted, caller, asyncio.get_running_loop().create_future()), found)

    async def _wait(self, place: _Waiting, found: Wait) -> Lease:
        if not place.wanted.again:
            # A caller who comes is served like those who have been served least so far, and not before them all.
            others = [self._served.get(one.caller, 0) for one in self._waiting if not one.wanted.again]
            self._served[place.caller] = max(self._served.get(place.caller, 0), min(others, default=0))
        self._waiting.append(place)
        self._look_again(found.until)
        try:
            async with asyncio.timeout(self._queue.seconds):
                lease = await place.lease
            place.taken = True
            return lease
        except TimeoutError:
            raise Overloaded(
                f"No Qwen account got free within {self._queue.seconds:g} s: others are still being answered. "
                "Try again in a moment, send fewer requests at once, or raise `account_concurrency`.",
                retry_after=5,
            ) from None
        finally:
            self._leave(place)

    def could_serve(self, what: str, excluded: frozenset[str]) -> bool:
        """Whether another account than the excluded ones could take the turn, now or soon."""
        return any(account.key not in excluded and account.refusal(what) is None for account in self._accounts())

    def resting(self, what: str) -> frozenset[str]:
        """The keys of the accounts on which this model or feature cannot be used now."""
        return frozenset(account.key for account in self._accounts() if account.refusal(what) is not None)

    def able(self, key: str, what: str) -> Account | None:
        """The account with this key, if it could take a turn now or soon."""
        found = next((account for account in self._accounts() if account.key == key), None)
        return found if found is not None and found.refusal(what) is None else None

    def keys(self) -> tuple[str, ...]:
        """The keys of its accounts, usable or not."""
        return tuple(account.key for account in self._accounts())

    def look(self) -> None:
        """Something may have changed: serves those that wait, if it is their turn."""
        if not self._waiting:
            return
        # What one of them waits for, all others wait for who want the same: while they are served, nothing gets free.
        waits: dict[_Wanted, Wait] = {}
        for place in self._in_turn():
            if place.wanted in waits:
                continue
            found = self._choose(place.wanted)
            if isinstance(found, Wait):
                waits[place.wanted] = found
                continue
            self._waiting.remove(place)
            if isinstance(found, Nobody):
                place.lease.set_exception(found.fault)
            else:
                place.lease.set_result(found)
                if not place.wanted.again:
                    self._served[place.caller] = self._served.get(place.caller, 0) + 1
        self._forget_timer()
        self._look_again(min((wait.until for wait in waits.values() if wait.until is not None), default=None))

    def _in_turn(self) -> list[_Waiting]:
        """Those that wait, fairest first: by how many of their caller were served before them, then by arrival. Before
        them all those who have stood in the line already, and left their seats to others meanwhile."""
        ahead = dict(self._served)
        ranked: list[tuple[int, int, _Waiting]] = []
        for arrival, place in enumerate(self._waiting):
            rank = -1
            if not place.wanted.again:
                rank = ahead.get(place.caller, 0)
                ahead[place.caller] = rank + 1
            if not place.lease.done():
                ranked.append((rank, arrival, place))
        return [place for _, _, place in sorted(ranked, key=lambda one: one[:2])]

    def _choose(self, wanted: _Wanted) -> Lease | Wait | Nobody:
        """In `Wait`, until also tells when an account may be back that rests now."""
        accounts = {account.key: account for account in self._accounts() if wanted.only in (None, account.key)}
        if not accounts:
            return Nobody(NoAccount(self._nobody if wanted.only is None else _GONE))
        now = self._ambient.now()
        candidates = [_candidate(account, wanted, now) for account in accounts.values()]
        found = choose(candidates, now, excluded=wanted.excluded)
        if isinstance(found, Take):
            return self._take(accounts[found.key], wanted, now)
        if isinstance(found, Nobody):
            return found
        rests = [now + one.fault.retry_after for one in candidates if one.fault and one.fault.retry_after]
        return Wait(min((when for when in (found.until, *rests) if when is not None), default=None))

    def _take(self, account: Account, wanted: _Wanted, now: float) -> Lease | Nobody:
        if (fault := account.begin(wanted.what)) is not None:
            return Nobody(fault)
        account.busy += 1
        account.last_used = now
        if not wanted.again:
            account.pace.take(now)
        again = _Wanted(wanted.what, frozenset(), account.key, again=True)
        return Lease(account, self._given_back, partial(self._lease, again))

    def _given_back(self, account: Account) -> None:
        account.busy -= 1
        self.look()

    def _leave(self, place: _Waiting) -> None:
        if place in self._waiting:
            self._waiting.remove(place)
        elif not place.taken and not place.lease.cancelled() and place.lease.exception() is None:
            # It was served in the moment in which it left.
            lease = place.lease.result()
            lease.account.abandoned()
            lease.close()
        if not self._waiting:
            self._served.clear()
            self._forget_timer()

    def _look_again(self, until: float | None) -> None:
        """Not later than then (seconds since 1970)."""
        if until is None:
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + max(0.01, until - self._ambient.now())
        if self._timer is None or self._timer.when() > when:
            self._forget_timer()
            self._timer = loop.call_at(when, self._timed)

    def _timed(self) -> None:
        self._timer = None
        self.look()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _candidate(account: Account, wanted: _Wanted, now: float) -> Candidate:
    seats, fault = account.seats, account.refusal(wanted.what)
    if fault is not None and account.awaits_probe(wanted.what):
        seats, fault = 0, None  # soon it is known whether it can be used
    ready_at = now if wanted.again else account.pace.ready_at(now)
    return Candidate(account.key, account.busy, seats, ready_at, account.last_used, fault)
