"""Limits hold to the last request, in memory and over all processes that share a Redis."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.asyncio import Redis

from qwen_gateway.relay.ports import Counters, Window
from qwen_gateway.store.counters import MemoryCounters
from qwen_gateway.store.redis_counters import RedisCounters


class Rig:
    """counters: two objects that count together, as two processes would; of memory there is but one."""

    def __init__(self, counters: list[Counters], later: Callable[[float], Awaitable[None]], *, exact: bool) -> None:
        self.counters = counters
        self.later = later
        self.exact = exact
        """Whether no time passes but by `later`."""


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.needs("redis"))])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "memory":
        now = [1000.0]

        async def later(seconds: float) -> None:
            now[0] += seconds

        memory = MemoryCounters(lambda: now[0])
        yield Rig([memory, memory], later, exact=True)
        await memory.close()
        return
    url, prefix = request.getfixturevalue("redis_url"), f"{uuid.uuid4().hex}:"
    shared = [RedisCounters(url, seconds=20, prefix=prefix) for _ in range(2)]
    async with Redis.from_url(url) as redis:
        yield Rig([*shared], lambda seconds: as_if_older(redis, prefix, seconds), exact=False)
    for each in shared:
        await each.close()


async def as_if_older(redis: Redis, prefix: str, seconds: float) -> None:
    """Moves all that was written down into the past: Redis has no clock to set."""
    async for name in redis.scan_iter(f"{prefix}*"):
        if await redis.type(name) == b"zset":
            for seat in await redis.zrange(name, 0, -1):
                assert isinstance(seat, bytes)
                await redis.zincrby(name, -seconds * 1000, seat)
        else:
            for index, at in enumerate(await redis.lrange(name, 0, -1)):
                await redis.lset(name, index, str(int(at) - round(seconds * 1000)))


async def test_of_200_at_once_exactly_50_are_let_in_twenty_times(rig: Rig) -> None:
    for each in range(20):
        windows = await asyncio.gather(*(rig.counters[number % 2].hit(f"key {each}", 50) for number in range(200)))
        assert sum(window.allowed for window in windows) == 50
        assert sorted(window.remaining for window in windows if window.allowed) == list(range(50))


async def test_of_200_at_once_exactly_50_get_a_seat_twenty_times(rig: Rig) -> None:
    for each in range(20):
        seats = await asyncio.gather(
            *(rig.counters[number % 2].enter(f"key {each}", f"seat {number}", 50, 60) for number in range(200))
        )
        assert sum(seats) == 50


# --- requests per minute ---


async def test_a_window_tells_where_one_stands(rig: Rig) -> None:
    counters = rig.counters[0]
    windows = [await counters.hit("key", 3) for _ in range(5)]
    assert [(window.allowed, window.remaining) for window in windows] == [
        (True, 2), (True, 1), (True, 0), (False, 0), (False, 0),
    ]  # fmt: skip
    assert all(50 < window.reset <= 60 for window in windows)


async def test_each_request_is_free_again_after_a_minute(rig: Rig) -> None:
    counters = rig.counters[0]
    await counters.hit("key", 3)
    await rig.later(20)
    await counters.hit("key", 3)
    await counters.hit("key", 3)
    await rig.later(20)
    assert near(await counters.hit("key", 3), Window(allowed=False, remaining=0, reset=40, wait=20), rig)
    await rig.later(20)
    assert near(await counters.hit("key", 3), Window(allowed=True, remaining=0, reset=60, wait=20), rig)
    assert not (await counters.hit("key", 3)).allowed, "the other two came later"
    await rig.later(20)
    assert near(await counters.hit("key", 3), Window(allowed=True, remaining=1, reset=60), rig)


async def test_a_lowered_limit_is_waited_for_until_enough_are_free(rig: Rig) -> None:
    counters = rig.counters[0]
    for _ in range(3):
        await counters.hit("key", 3)
        await rig.later(10)
    assert near(await counters.hit("key", 1), Window(allowed=False, remaining=0, reset=50, wait=50), rig)
    assert near(await counters.hit("key", 2), Window(allowed=False, remaining=0, reset=50, wait=40), rig)
    assert near(await counters.hit("key", 3), Window(allowed=False, remaining=0, reset=50, wait=30), rig)


async def test_no_two_minutes_side_by_side_let_in_twice_as_many(rig: Rig) -> None:
    """As fixed minutes would, at their border."""
    counters = rig.counters[0]
    await rig.later(59.0)
    assert sum([(await counters.hit("key", 10)).allowed for _ in range(20)]) == 10
    await rig.later(2.0)
    assert sum([(await counters.hit("key", 10)).allowed for _ in range(20)]) == 0


async def test_refused_requests_do_not_count(rig: Rig) -> None:
    counters = rig.counters[0]
    await counters.hit("key", 1)
    for _ in range(3):
        await rig.later(15)
        assert not (await counters.hit("key", 1)).allowed
    await rig.later(15)
    assert (await counters.hit("key", 1)).allowed


async def test_keys_do_not_share_their_limits(rig: Rig) -> None:
    counters = rig.counters[0]
    assert (await counters.hit("one", 1)).allowed
    assert (await counters.hit("two", 1)).allowed
    assert await counters.enter("one", "seat", 1, 60)
    assert await counters.enter("two", "seat", 1, 60)


async def test_a_changed_limit_holds_at_once(rig: Rig) -> None:
    counters = rig.counters[0]
    for _ in range(5):
        await counters.hit("key", 5)
    assert (await counters.hit("key", 2)).remaining == 0
    assert (await counters.hit("key", 7)).remaining == 1
    assert near(await counters.hit("never", 0), Window(allowed=False, remaining=0, reset=0), rig)


# --- seats ---


async def test_a_seat_given_back_is_free(rig: Rig) -> None:
    one, two = rig.counters
    assert await one.enter("key", "a", 2, 60)
    assert await two.enter("key", "b", 2, 60)
    assert not await one.enter("key", "c", 2, 60)
    await two.leave("key", "a")
    assert await two.enter("key", "c", 2, 60)
    assert not await one.enter("key", "d", 2, 60)


async def test_a_seat_that_is_never_given_back_is_free_in_time(rig: Rig) -> None:
    counters = rig.counters[0]
    assert await counters.enter("key", "crashed", 2, 30)
    assert await counters.enter("key", "runs", 2, 300)
    await rig.later(29)
    assert not await counters.enter("key", "next", 2, 30)
    await rig.later(1.1)
    assert await counters.enter("key", "next", 2, 30)
    assert not await counters.enter("key", "one more", 2, 30)
    await counters.leave("key", "crashed")
    assert not await counters.enter("key", "one more", 2, 30), "a late leave frees nobody else's seat"


async def test_leaving_what_was_not_entered_does_nothing(rig: Rig) -> None:
    counters = rig.counters[0]
    await counters.leave("unheard of", "seat")
    await counters.enter("key", "a", 1, 60)
    await counters.leave("key", "other")
    assert not await counters.enter("key", "b", 1, 60)
    assert not await counters.enter("none", "b", 0, 60)


# --- what is kept ---


async def test_memory_forgets_idle_keys() -> None:
    now = [0.0]
    counters = MemoryCounters(lambda: now[0])
    for number in range(1000):
        await counters.hit(f"key {number}", 5)
        await counters.hit(f"refused {number}", 0)
        await counters.enter(f"key {number}", "crashed", 5, 90)
        await counters.enter(f"left {number}", "seat", 5, 1000)
        await counters.leave(f"left {number}", "seat")
    assert (len(counters._hits), len(counters._seats)) == (2000, 1000)
    now[0] = 61
    await counters.hit("fresh", 5)
    assert (len(counters._hits), len(counters._seats)) == (1, 1000)
    now[0] = 122
    await counters.enter("fresh", "seat", 5, 60)
    assert (len(counters._hits), len(counters._seats)) == (0, 1)
    for _ in range(1000):
        now[0] += 1
        await counters.hit("busy", 7)
    assert len(counters._hits["busy"]) <= 7


@pytest.mark.needs("redis")
async def test_redis_forgets_idle_keys(redis_url: str) -> None:
    counters = RedisCounters(redis_url, seconds=20, prefix=(prefix := f"{uuid.uuid4().hex}:"))
    async with Redis.from_url(redis_url) as redis:
        await counters.hit("key", 5)
        assert 50_000 < await redis.pttl(f"{prefix}hits:key") <= 60_000
        await counters.enter("key", "long", 5, 300)
        await counters.enter("key", "short", 5, 10)
        assert 290_000 < await redis.pttl(f"{prefix}seats:key") <= 300_000, "the longest seat decides"
        await counters.enter("key", "longer", 5, 600)
        assert 590_000 < await redis.pttl(f"{prefix}seats:key") <= 600_000
        for seat in ("long", "short", "longer"):
            await counters.leave("key", seat)
        await counters.hit("refused", 0)
        assert [name async for name in redis.scan_iter(f"{prefix}*")] == [f"{prefix}hits:key".encode()]
        for _ in range(30):
            await counters.hit("key", 5)
        assert await redis.llen(f"{prefix}hits:key") == 5
    await counters.close()


def near(found: Window, meant: Window, rig: Rig) -> bool:
    same = (found.allowed, found.remaining) == (meant.allowed, meant.remaining)
    times = ((found.reset, meant.reset), (found.wait, meant.wait))
    return same and all(one == other if rig.exact else 0 <= other - one < 5 for one, other in times)
