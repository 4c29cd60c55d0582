"""The stores of keys and of what they use, in memory."""

import asyncio
import itertools
from collections import defaultdict

from qwen_gateway.relay.key_changes import KeyChanges
from qwen_gateway.relay.keys import Keys
from qwen_gateway.relay.ports import Budgets, Counters, KeyRecord, KeyStore, Window
from qwen_gateway.turn.faults import NameTaken, StorageUnavailable

from .fakes import Clock


class Shelf:
    """Satisfies `KeyStore`. away: the database does not answer. hold: the next `load` waits for it, having read."""

    def __init__(self, *records: KeyRecord) -> None:
        self.kept = {record.id: record for record in records}
        self.away = False
        self.loads = 0
        self.hold: asyncio.Event | None = None

    async def load(self) -> list[KeyRecord]:
        await self._answer()
        self.loads += 1
        found = sorted(self.kept.values(), key=lambda record: record.created_at)
        if self.hold is not None:
            hold, self.hold = self.hold, None
            await hold.wait()
        return found

    async def add(self, key: KeyRecord) -> None:
        await self._answer()
        self._check_name(key)
        self.kept[key.id] = key

    async def replace(self, key: KeyRecord) -> bool:
        await self._answer()
        if key.id not in self.kept:
            return False
        self._check_name(key)
        self.kept[key.id] = key
        return True

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise StorageUnavailable("The database does not answer.")

    def _check_name(self, key: KeyRecord) -> None:
        if any(other.name == key.name and other.id != key.id for other in self.kept.values()):
            raise NameTaken("There is a key of this name.")


class KeyBench:
    """A book of keys over a shelf, with what changes it. Randomness counts up."""

    def __init__(self, *static: str) -> None:
        self.clock, self.shelf = Clock(), Shelf()
        ambient = self.clock.ambient()
        count = itertools.count(1)
        self.keys = Keys(self.shelf, ambient, static=static, stale_after=30)
        self.changes = KeyChanges(
            self.keys,
            self.shelf,
            ambient,
            token_bytes=lambda size: next(count).to_bytes(size, "little"),
            endpoints=("openai_chat", "models"),
        )

    def other_process(self) -> Keys:
        return Keys(self.shelf, self.clock.ambient(), static=(), stale_after=30)


class Tally:
    """Satisfies `Counters` and `Budgets`. A minute begins with its first request.

    away: names of methods that do not answer. lost: likewise, but only the answer is lost. Each gives other tasks
    their turn before and after it has its effect; slow ones many turns.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seats: defaultdict[str, dict[str, float]] = defaultdict(dict)  # until when, by key and seat
        self.spent: defaultdict[tuple[str, int], int] = defaultdict(int)
        self.minutes: dict[str, tuple[float, int]] = {}
        self.away: set[str] = set()
        self.lost: set[str] = set()
        self.slow: set[str] = set()
        self.calls: list[str] = []

    async def hit(self, key: str, per_minute: int) -> Window:
        await self._begin("hit")
        since, count = self.minutes.get(key, (self._clock.now, 0))
        if self._clock.now >= since + 60:
            since, count = self._clock.now, 0
        allowed = count < per_minute
        self.minutes[key] = (since, count + allowed)
        await self._end("hit")
        reset = since + 60 - self._clock.now
        return Window(allowed, per_minute - count - allowed, reset, 0.0 if count + allowed < per_minute else reset)

    async def enter(self, key: str, seat: str, limit: int, seconds: float) -> bool:
        await self._begin("enter")
        taken = self.seats[key]
        for name in [name for name, until in taken.items() if until <= self._clock.now]:
            del taken[name]
        assert seat not in taken
        free = len(taken) < limit
        if free:
            taken[seat] = self._clock.now + seconds
        await self._end("enter")
        return free

    async def leave(self, key: str, seat: str) -> None:
        await self._begin("leave")
        self.seats[key].pop(seat, None)
        await self._end("leave")

    async def reserve(self, key: str, day: int, tokens: int, limit: int) -> int | None:
        await self._begin("reserve")
        used = self.spent[key, day] + tokens
        if used <= limit:
            self.spent[key, day] = used
        await self._end("reserve")
        return used if used <= limit else None

    async def settle(self, key: str, day: int, change: int) -> None:
        await self._begin("settle")
        self.spent[key, day] = max(0, self.spent[key, day] + change)
        await self._end("settle")

    async def used(self, day: int) -> dict[str, int]:
        await self._begin("used")
        await self._end("used")
        return {key: used for (key, of), used in self.spent.items() if of == day and used}

    @property
    def taken(self) -> int:
        return sum(map(len, self.seats.values()))

    async def _begin(self, name: str) -> None:
        self.calls.append(name)
        for _ in range(20 if name in self.slow else 1):
            await asyncio.sleep(0)
        if name in self.away:
            raise StorageUnavailable("The store does not answer.")

    async def _end(self, name: str) -> None:
        await asyncio.sleep(0)
        if name in self.lost:
            raise StorageUnavailable("The store did not answer in time.")


def _satisfied(shelf: Shelf, tally: Tally) -> None:
    """Only for mypy: the fakes are what the ports ask for."""
    _: tuple[KeyStore, Counters, Budgets] = (shelf, tally, tally)
