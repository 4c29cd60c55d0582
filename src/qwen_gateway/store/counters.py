"""Limits of one process, in its memory: requests per minute, and how many may run at once.

Requests are counted in a window that moves: each is free again one minute after it came, and one that was refused is
not counted. Not with the library `limits`: its memory storage makes a hit wait for a thread of the event loop's pool
(measured 2026-11-21 with 5.8.0: 15 s while that pool was busy, as dead DNS makes it), and its windows do not tell when
all of a limit is free again.
"""

import time
from collections import deque
from collections.abc import Callable

from qwen_gateway.relay.ports import Window

MINUTE = 60.0


class MemoryCounters:
    """Satisfies `relay.ports.Counters`. clock: seconds, only ever counting up."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._hits: dict[str, deque[float]] = {}
        """When a key's requests came, the oldest first."""
        self._seats: dict[str, dict[str, float]] = {}
        """Until when each seat of a key is taken."""
        self._tidied = clock()
        self.problem: None = None
        """Nothing can go wrong here; with counters in Redis it can."""

    async def hit(self, key: str, per_minute: int) -> Window:
        now = self._clock()
        self._tidy(now)
        hits = self._hits.setdefault(key, deque())
        while hits and hits[0] <= now - MINUTE:
            hits.popleft()
        allowed = len(hits) < per_minute
        if allowed:
            hits.append(now)
        reset = hits[-1] + MINUTE - now if hits else 0.0
        full = len(hits) >= per_minute > 0
        # With a limit that was lowered, more than one has to go.
        wait = hits[-per_minute] + MINUTE - now if full else 0.0
        return Window(allowed, max(0, per_minute - len(hits)), reset, wait)

    async def enter(self, key: str, seat: str, limit: int, seconds: float) -> bool:
        now = self._clock()
        self._tidy(now)
        taken = self._seats.setdefault(key, {})
        if len(taken) >= limit:
            _free(taken, now)
        if len(taken) >= limit:
            return False
        taken[seat] = now + seconds
        return True

    async def leave(self, key: str, seat: str) -> None:
        taken = self._seats.get(key)
        if taken is not None:
            taken.pop(seat, None)
            if not taken:
                del self._seats[key]

    async def close(self) -> None:
        """Nothing is open here; counters in Redis have connections."""

    def _tidy(self, now: float) -> None:
        """Once a minute, forgets keys of which there is nothing to know any more."""
        if now < self._tidied + MINUTE:
            return
        self._tidied = now
        self._hits = {key: hits for key, hits in self._hits.items() if hits and hits[-1] > now - MINUTE}
        for taken in self._seats.values():
            _free(taken, now)
        self._seats = {key: taken for key, taken in self._seats.items() if taken}


def _free(taken: dict[str, float], now: float) -> None:
    for seat in [seat for seat, until in taken.items() if until <= now]:
        del taken[seat]
