"""Which account a turn gets, and the line of those who wait for one.

A turn leases an account once and keeps it: chat, answer, files. Seats and pace are those of the accounts. Callers are
served in turn, so that one with a hundred requests does not keep another with one waiting behind them.
"""

import asyncio
from collections.abc import Callable, Sequence

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
    """An account for one turn, until `close`."""

    def __init__(self, account: Account, given_back: Callable[[Account], None]) -> None:
        self.account = account
        self._given_back = given_back
        self._open = True

    def close(self) -> None:
        if self._open:
            self._open = False
            self._given_back(self.account)


class _Wanted(Struct, frozen=True):
    """A model or feature, on none of the excluded accounts. only: on this account and on no other."""

    what: str
    excluded: frozenset[str]
    only: str | None


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
        wanted = _Wanted(what, excluded, only)
        self.look()
        # Those in the line have just had their chance: what is free now is of no use to them.
        found = self._choose(wanted)
        if isinstance(found, Lease):
            return found
        if isinstance(found, Nobody):
            raise found.fault
        if len(self._waiting) >= self._queue.size:
            raise Overloaded(
                f"{len(self._waiting)} requests already wait for a Qwen account. Try again in a moment, or raise "
                "`queue_size`.",
                retry_after=5,
            )
        return await self._wait(_Waiting(wanted, caller, asyncio.get_running_loop().create_future()), found)

    async def _wait(self, place: _Waiting, found: Wait) -> Lease:
        # A caller who comes is served like those who have been served least so far, and not before them all.
        least = min((self._served.get(one.caller, 0) for one in self._waiting), default=0)
        self._served[place.caller] = max(self._served.get(place.caller, 0), least)
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
                self._served[place.caller] = self._served.get(place.caller, 0) + 1
        self._forget_timer()
        self._look_again(min((wait.until for wait in waits.values() if wait.until is not None), default=None))

    def _in_turn(self) -> list[_Waiting]:
        """Those that wait, fairest first: by how many of their caller were served before them, then by arrival."""
        ahead = dict(self._served)
        ranked: list[tuple[int, int, _Waiting]] = []
        for arrival, place in enumerate(self._waiting):
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
        candidates = [_candidate(account, wanted.what, now) for account in accounts.values()]
        found = choose(candidates, now, excluded=wanted.excluded)
        if isinstance(found, Take):
            return self._take(accounts[found.key], wanted.what, now)
        if isinstance(found, Nobody):
            return found
        rests = [now + one.fault.retry_after for one in candidates if one.fault and one.fault.retry_after]
        return Wait(min((when for when in (found.until, *rests) if when is not None), default=None))

    def _take(self, account: Account, what: str, now: float) -> Lease | Nobody:
        if (fault := account.begin(what)) is not None:
            return Nobody(fault)
        account.busy += 1
        account.last_used = now
        account.pace.take(now)
        return Lease(account, self._given_back)

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


def _candidate(account: Account, what: str, now: float) -> Candidate:
    seats, fault = account.seats, account.refusal(what)
    if fault is not None and account.awaits_probe(what):
        seats, fault = 0, None  # soon it is known whether it can be used
    return Candidate(account.key, account.busy, seats, account.pace.ready_at(now), account.last_used, fault)
