"""The same limits as `store/counters`, over all processes that share a Redis.

Each limit is one script that Redis runs alone and by its own clock, so neither two processes nor two clocks can
disagree. The library `limits` asks twice for a hit, by the clock of the caller, and its windows do not tell when all of
a limit is free again.

Each command runs in a task of its own, within a bound of time. A caller that is cancelled leaves the command running;
one that takes too long is cancelled itself, and redis-py drops its connection. So no connection is used again while an
answer is still due on it (CVE-2023-28858).
"""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import TYPE_CHECKING, TypeVar

import structlog

from qwen_gateway.relay.ports import Window
from qwen_gateway.turn.faults import StorageUnavailable

if TYPE_CHECKING:
    from redis.asyncio import Redis

Result = TypeVar("Result")

_log = structlog.get_logger()

MINUTE_MS = 60_000
CONNECTIONS = 16
"""Commands take a fraction of a millisecond; what comes beyond these waits its turn, within the bound of time."""

_DOWN = (
    "The gateway's Redis, which counts requests, does not answer ({why}). Nothing is wrong with your key; try again "
    "in a moment."
)
_MISSING = "Limits in Redis need a package that is not installed: install `qwen-gateway[redis]`."

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_HIT = (
    _NOW
    + """
local hits, limit, span = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local oldest = redis.call('LINDEX', hits, -1)
while oldest and tonumber(oldest) <= now - span do
  redis.call('RPOP', hits)
  oldest = redis.call('LINDEX', hits, -1)
end
local count, allowed = redis.call('LLEN', hits), 0
if count < limit then
  redis.call('LPUSH', hits, now)
  redis.call('PEXPIRE', hits, span)
  count, allowed = count + 1, 1
end
local newest, wait = redis.call('LINDEX', hits, 0), 0
if count >= limit and count > 0 then
  -- With a limit that was lowered, more than one has to go.
  wait = math.max(0, redis.call('LINDEX', hits, limit > 0 and limit - 1 or 0) + span - now)
end
return {allowed, math.max(0, limit - count), newest and math.max(0, newest + span - now) or 0, wait}
"""
)

_ENTER = (
    _NOW
    + """
local seats, seat, limit, lease = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', seats, '-inf', now)
if redis.call('ZCARD', seats) >= limit then
  return 0
end
redis.call('ZADD', seats, now + lease, seat)
if redis.call('PTTL', seats) < lease then
  redis.call('PEXPIRE', seats, lease)
end
return 1
"""
)


class RedisMissing(Exception):
    """The package `redis` is not installed. The text says what to do."""


class RedisCounters:
    """Satisfies `relay.ports.Counters`. url: `redis://`, `rediss://` or `unix://`. seconds: bounds each command.

    prefix: of the names of all that is kept in Redis. Raises RedisMissing, and ValueError for a URL of another kind.
    """

    def __init__(self, url: str, *, seconds: float = 2.0, prefix: str = "qwen-gateway:") -> None:
        self._client, self._errors = _connect(url, seconds)
        self._hit_script = self._client.register_script(_HIT)
        self._enter_script = self._client.register_script(_ENTER)
        self._seconds = seconds
        self._prefix = prefix
        self._tasks: set[asyncio.Task[object]] = set()
        self.problem: StorageUnavailable | None = None
        """Why the last command failed, if it did."""

    async def hit(self, key: str, per_minute: int) -> Window:
        script = self._hit_script([f"{self._prefix}hits:{key}"], [per_minute, MINUTE_MS])
        allowed, remaining, reset, wait = await asyncio.shield(self._start(self._bounded(script)))
        return Window(bool(allowed), remaining, reset / 1000, wait / 1000)

    async def enter(self, key: str, seat: str, limit: int, seconds: float) -> bool:
        script = self._enter_script([self._seats(key)], [seat, limit, round(seconds * 1000)])
        entering = self._start(self._bounded(script))
        try:
            return bool(await asyncio.shield(entering))
        except asyncio.CancelledError:
            # The caller may not know that the seat is taken, so it is given back here, once it is.
            self._start(self._undo(entering, key, seat))
            raise

    async def leave(self, key: str, seat: str) -> None:
        await asyncio.shield(self._start(self._leave(key, seat)))

    async def close(self) -> None:
        """Ends within about twice the bound of time."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._seconds)
        await self._client.aclose()

    def _seats(self, key: str) -> str:
        return f"{self._prefix}seats:{key}"

    def _start(self, work: Coroutine[object, object, Result]) -> asyncio.Task[Result]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _bounded(self, command: Awaitable[Result]) -> Result:
        try:
            async with asyncio.timeout(self._seconds):
                answer = await command
        except self._errors as problem:
            self.problem = StorageUnavailable(_DOWN.format(why=type(problem).__name__), retry_after=2)
            raise self.problem from problem
        self.problem = None
        return answer

    async def _leave(self, key: str, seat: str) -> None:
        await self._bounded(self._client.zrem(self._seats(key), seat))

    async def _undo(self, entering: asyncio.Task[object], key: str, seat: str) -> None:
        await asyncio.wait({entering})
        try:
            await self._leave(key, seat)
        except StorageUnavailable as fault:
            _log.warning("seat_not_given_back", key=key, problem=str(fault))


def _connect(url: str, seconds: float) -> tuple["Redis", tuple[type[Exception], ...]]:
    """The client, and what can come of it when Redis is in trouble."""
    try:
        from redis import RedisError  # noqa: PLC0415 - an extra: most installations have no Redis
        from redis.asyncio import BlockingConnectionPool, Redis  # noqa: PLC0415
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.maint_notifications import MaintNotificationsConfig  # noqa: PLC0415
    except ImportError as problem:
        raise RedisMissing(_MISSING) from problem
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=seconds,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        # A hit whose answer was lost may have been counted: trying again would count it twice.
        retry=Retry(NoBackoff(), 0),
        # With these, redis-py 8 also hands out connections on which something unread lies.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        protocol=2,
    )
    return Redis.from_pool(pool), (TimeoutError, OSError, RedisError)
