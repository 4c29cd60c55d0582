"""What a key may use: requests per minute, requests at the same time, tokens per day (UTC).

    permit = allowances.permit(key)
    try:
        await permit.enter()
        await permit.reserve(prompt_tokens)
        …
    finally:
        permit.close(used)

Nothing here is allowed because a store is away: its StorageUnavailable is the request's.
"""

import asyncio
import math
from collections.abc import Coroutine

from qwen_gateway.relay.keys import Key
from qwen_gateway.relay.ports import Ambient, Budgets, Counters, Window
from qwen_gateway.relay.settlement import Settlement
from qwen_gateway.turn.faults import BudgetSpent, LimitReached

OUTPUT_RESERVE = 2048
"""Tokens set aside for an answer, whose length nobody knows before."""
DAY = 86_400
SEAT_RETRY = 1.0
"""Seconds after which to ask for a seat again; when one is free, nobody can know."""

_Headers = list[tuple[bytes, bytes]]


class Permit:
    """What one request was granted. This one is of a caller without limits: nothing is counted, nothing awaited.

    reserved: tokens set aside. counts_tokens: whether `reserve` looks at its argument, which costs time to know.
    """

    reserved: int = 0
    counts_tokens: bool = False

    async def enter(self) -> None:
        """Counts a request, then takes a seat. Refused a seat, the request stays counted: otherwise a program that
        asks without pause would be told so for free. Raises LimitReached, StorageUnavailable."""

    async def reserve(self, tokens: int) -> None:
        """Sets aside `tokens` of the prompt and some for the answer, of today's. Once, before the site is asked.
        Raises BudgetSpent, StorageUnavailable."""

    def close(self, used: int | None) -> None:
        """Always called, also after a refusal; never waits and never raises. Frees the seat and corrects the tokens.

        used: by prompt and answer together; `None`: the site was not asked, or refused.
        """

    def headers(self) -> _Headers:
        """`x-ratelimit-…` as OpenAI's, for the limits that the key has and as far as is known yet: for answers, and
        for refusals as well."""
        return []


_FREE = Permit()


class Allowances:
    """seat_seconds: longer than any request; a seat that a crash left taken is free after it."""

    def __init__(
        self,
        counters: Counters,
        budgets: Budgets,
        ambient: Ambient,
        *,
        seat_seconds: float,
        output_reserve: int = OUTPUT_RESERVE,
    ) -> None:
        self.counters, self.budgets, self.ambient = counters, budgets, ambient
        self.seat_seconds, self.output_reserve = seat_seconds, output_reserve
        self.settlement = Settlement(counters, budgets, seat_seconds)

    def permit(self, key: Key | None) -> Permit:
        """`None`: a caller without a key has no limits."""
        if key is None or (key.requests_per_minute is None and key.concurrency is None and key.tokens_per_day is None):
            return _FREE
        return _Limited(self, key)

    async def close(self, seconds: float) -> None:
        """After the last request: settles what is pending, for at most `seconds`."""
        await self.settlement.close(seconds)


class _Limited(Permit):
    def __init__(self, shared: Allowances, key: Key) -> None:
        self._shared, self._key = shared, key
        self.counts_tokens = key.tokens_per_day is not None
        self._step: asyncio.Task[None] | None = None
        self._closed = False
        self._window: Window | None = None
        self._seat: str | None = None
        self._day = 0
        self._used: int | None = None  # of today's tokens, with what is reserved

    async def enter(self) -> None:
        if self._key.requests_per_minute is not None or self._key.concurrency is not None:
            await self._do(self._enter())

    async def reserve(self, tokens: int) -> None:
        if self._key.tokens_per_day is not None:
            if self.reserved:
                raise RuntimeError("a request reserves its tokens once")
            await self._do(self._reserve(max(0, tokens) + self._shared.output_reserve, self._key.tokens_per_day))

    def close(self, used: int | None) -> None:
        if self._closed:
            return
        self._closed = True
        if self._step is None:
            return
        if self._step.done():
            self._settle(used)
        else:
            self._step.add_done_callback(lambda _: self._settle(used))

    def headers(self) -> _Headers:
        headers: _Headers = []
        if self._key.requests_per_minute is not None and (window := self._window) is not None:
            headers += _headers(b"requests", self._key.requests_per_minute, window.remaining, window.reset)
        if self._key.tokens_per_day is not None and self._used is not None:
            left = max(0, self._key.tokens_per_day - self._used)
            headers += _headers(b"tokens", self._key.tokens_per_day, left, self._to_midnight())
        return headers

    async def _do(self, step: Coroutine[None, None, None]) -> None:
        """Runs the step to its end even if the request is cancelled meanwhile: only then is it known what `close`
        has to give back."""
        self._step = self._shared.settlement.spawn(step)
        await asyncio.shield(self._step)

    async def _enter(self) -> None:
        key = self._key
        if key.requests_per_minute is not None:
            self._window = await self._shared.counters.hit(key.id, key.requests_per_minute)
            if not self._window.allowed:
                raise LimitReached(
                    f"The key {key.name!r} may make {key.requests_per_minute} requests per minute, and has.",
                    retry_after=_whole(self._window.wait),
                )
        if key.concurrency is not None and not await self._sit(key.concurrency):
            raise LimitReached(
                f"The key {key.name!r} may make {key.concurrency} requests at the same time, and as many are under "
                "way. Wait for one to end.",
                retry_after=SEAT_RETRY,
            )

    async def _sit(self, limit: int) -> bool:
        if await self._try_seat(limit):
            return True
        # A client that asks again as soon as it has its answer must not be faster than the seat of that answer.
        return await self._shared.settlement.seats_freed(self._key.id) and await self._try_seat(limit)

    async def _try_seat(self, limit: int) -> bool:
        shared = self._shared
        self._seat = shared.ambient.new_id()  # given back even if the answer never comes: it may have been taken
        if not await shared.counters.enter(self._key.id, self._seat, limit, shared.seat_seconds):
            self._seat = None
        return self._seat is not None

    async def _reserve(self, tokens: int, limit: int) -> None:
        key, budgets = self._key, self._shared.budgets
        day = int(self._shared.ambient.now() // DAY)
        used = await budgets.reserve(key.id, day, tokens, limit)
        if used is not None:
            self._day, self.reserved, self._used = day, tokens, used
            return
        self._used = (await budgets.used(day)).get(key.id, 0)
        if tokens > limit:
            raise BudgetSpent(
                f"This request needs about {tokens} tokens, more than the {limit} that the key {key.name!r} may use in "
                "a whole day. Send less text."
            )
        raise BudgetSpent(
            f"The key {key.name!r} may use {limit} tokens a day and has used {self._used}; this request needs about "
            f"{tokens}. The day ends at midnight UTC.",
            retry_after=_whole(self._to_midnight()),
        )

    def _settle(self, used: int | None) -> None:
        settlement, key = self._shared.settlement, self._key.id
        if self._seat is not None:
            settlement.leave(key, self._seat)
        if self.reserved:
            settlement.owe(key, self._day, max(0, used or 0) - self.reserved)

    def _to_midnight(self) -> float:
        return DAY - self._shared.ambient.now() % DAY


def _headers(what: bytes, limit: int, remaining: int, reset: float) -> _Headers:
    return [
        (b"x-ratelimit-limit-" + what, b"%d" % limit),
        (b"x-ratelimit-remaining-" + what, b"%d" % remaining),
        (b"x-ratelimit-reset-" + what, duration(reset).encode()),
    ]


def _whole(seconds: float) -> float:
    """Rounded up: a client that comes back earlier is refused again."""
    return float(max(1, math.ceil(seconds)))


def duration(seconds: float) -> str:
    """As OpenAI writes it: `20ms`, `1s`, `6m0s`, `23h59m59s`. Rounded up."""
    if seconds <= 0.999:
        return f"{max(0, math.ceil(seconds * 1000))}ms"
    minutes, left = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{left}s" if hours else f"{minutes}m{left}s" if minutes else f"{left}s"
