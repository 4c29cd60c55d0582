"""A Redis in trouble is a fault that says so, within a bound of time, and no answer reaches the wrong request."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs
from tests import services

from qwen_gateway.store.redis_counters import RedisCounters, RedisMissing
from qwen_gateway.turn.faults import StorageUnavailable

REDIS = pytest.mark.needs("redis")


@pytest.fixture
def own() -> Iterator[services.Redis]:
    """One to be stopped: the other tests have theirs."""
    program = shutil.which("redis-server")
    assert program is not None
    with services.redis(program) as server:
        yield server


@pytest.fixture
async def redis(own: services.Redis) -> AsyncIterator[Redis]:
    """To look into it and to disturb it."""
    async with Redis.from_url(own.url()) as client:
        yield client


@contextlib.asynccontextmanager
async def opened(url: str, seconds: float = 20) -> AsyncIterator[RedisCounters]:
    counters = RedisCounters(url, seconds=seconds, prefix=f"{uuid.uuid4().hex}:")
    try:
        yield counters
    finally:
        await counters.close()


@contextlib.asynccontextmanager
async def listener(answer: bytes | None, after: float = 0) -> AsyncIterator[str]:
    """Accepts connections; says `answer` to whatever it is told, each time `after` so many seconds, or nothing."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError):
            while await reader.read(1000):
                if answer is not None:
                    await asyncio.sleep(after)
                    writer.write(answer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


def silence(server: services.Redis, *, over: bool = False) -> None:
    """It answers no more, and then, when it is over, all that it has been told meanwhile."""
    os.kill(server.pid, signal.SIGCONT if over else signal.SIGSTOP)


async def fails(counters: RedisCounters) -> None:
    """Every method, and more at once than there are connections."""
    calls = [
        *(counters.hit("key", 5) for _ in range(40)),
        *(counters.enter("key", f"seat {number}", 5, 60) for number in range(40)),
        counters.leave("key", "seat"),
    ]
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        assert isinstance(answer, StorageUnavailable), answer
        assert answer.retry_after == 2
        assert "Redis" in answer.text
        assert "Nothing is wrong with your key" in answer.text


async def test_one_that_accepts_and_never_answers() -> None:
    async with listener(None) as url, opened(url, 0.2) as counters:
        await fails(counters)
        await fails(counters)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\xff" * 50, b"-LOADING not yet\r\n", b"*"])
async def test_one_that_talks_nonsense(answer: bytes) -> None:
    async with listener(answer) as url, opened(url, 0.2) as counters:
        await fails(counters)


async def test_one_that_takes_its_time_with_each_answer() -> None:
    """The bound holds for all that a call says and hears: a greeting and a command, each of them within it."""
    async with listener(b":1\r\n", after=0.4) as url, opened(url, 0.5) as counters:
        with pytest.raises(StorageUnavailable):
            await counters.enter("key", "seat", 5, 60)


async def test_nobody_listens() -> None:
    async with listener(None) as url:
        pass
    async with opened(url, 2) as counters:
        await fails(counters)


@REDIS
async def test_one_that_stops_and_comes_back_is_used_again(own: services.Redis) -> None:
    async with opened(own.url()) as counters:
        for _ in range(3):
            assert (await counters.hit("key", 5)).remaining == 4
            assert await counters.enter("key", "seat", 5, 60)
            await asyncio.to_thread(own.stop)
            await fails(counters)
            await asyncio.to_thread(own.start)


@REDIS
async def test_connections_that_a_restart_has_cut_are_not_used(own: services.Redis) -> None:
    async with opened(own.url()) as counters:
        await asyncio.gather(*(counters.hit("key", 500) for _ in range(100)))
        await asyncio.to_thread(own.stop)
        await asyncio.to_thread(own.start)
        windows = await asyncio.gather(*(counters.hit("key", 500) for _ in range(100)))
        assert sorted(window.remaining for window in windows) == list(range(400, 500))


@REDIS
async def test_scripts_that_it_has_forgotten_are_told_again(own: services.Redis, redis: Redis) -> None:
    async with opened(own.url()) as counters:
        await counters.hit("key", 5)
        await redis.script_flush()
        assert (await counters.hit("key", 5)).remaining == 3


@REDIS
async def test_one_that_is_full(own: services.Redis, redis: Redis) -> None:
    async with opened(own.url()) as counters:
        await counters.hit("key", 5)
        await redis.config_set("maxmemory", "1")
        with pytest.raises(StorageUnavailable, match="OutOfMemory"):
            await counters.hit("key", 5)
        await redis.config_set("maxmemory", "0")
        assert (await counters.hit("key", 5)).allowed


@REDIS
async def test_one_that_wants_a_password(own: services.Redis, redis: Redis) -> None:
    await redis.config_set("requirepass", "correct")
    async with opened(own.url()) as counters:
        with pytest.raises(StorageUnavailable, match="Authentication"):
            await counters.hit("key", 5)
    async with opened(own.url().replace("//", "//:correct@")) as counters:
        assert (await counters.hit("key", 5)).allowed


# --- commands that are cut off ---


@REDIS
async def test_a_late_answer_reaches_nobody_else(own: services.Redis, redis: Redis) -> None:
    """CVE-2023-28858: the connection is not used again. Each key has its own limit, so a wrong answer would show."""
    async with opened(own.url(), 0.3) as counters:
        await asyncio.gather(*(counters.hit(f"warm {number}", 5) for number in range(16)))
        before = (await redis.info("stats"))["total_connections_received"]
        silence(own)
        await fails(counters)
        silence(own, over=True)
        windows = await asyncio.gather(*(counters.hit(f"key {limit}", limit) for limit in range(100, 200)))
        assert [window.remaining for window in windows] == [limit - 1 for limit in range(100, 200)]
        assert (await redis.info("stats"))["total_connections_received"] > before


@REDIS
async def test_a_caller_that_leaves_does_not_cut_off_its_command(own: services.Redis, redis: Redis) -> None:
    async with opened(own.url()) as counters:
        await asyncio.gather(*(counters.hit(f"warm {number}", 5) for number in range(16)))
        before = (await redis.info("stats"))["total_connections_received"]
        silence(own)
        leaving = [asyncio.create_task(counters.hit("left", 50)) for _ in range(30)]
        await asyncio.sleep(0)
        for each in leaving:
            each.cancel()
        answers = await asyncio.gather(*leaving, return_exceptions=True)
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers)
        silence(own, over=True)
        windows = await asyncio.gather(*(counters.hit(f"key {limit}", limit) for limit in range(100, 200)))
        assert [window.remaining for window in windows] == [limit - 1 for limit in range(100, 200)]
        assert (await redis.info("stats"))["total_connections_received"] == before


@REDIS
async def test_a_caller_that_leaves_before_the_answer_has_no_seat(own: services.Redis, redis: Redis) -> None:
    async with opened(own.url()) as counters:
        assert await counters.enter("key", "stays", 3, 600)
        silence(own)
        leaving = [asyncio.create_task(counters.enter("key", f"seat {number}", 3, 600)) for number in range(2)]
        await asyncio.sleep(0)
        for each in leaving:
            each.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        silence(own, over=True)
        async with asyncio.timeout(20):
            while counters._tasks:
                await asyncio.wait(counters._tasks)
        assert await counters.enter("key", "a", 3, 600)
        assert await counters.enter("key", "b", 3, 600)
        assert not await counters.enter("key", "c", 3, 600)


async def test_a_seat_that_could_not_be_given_back_is_logged() -> None:
    async with listener(None) as url, opened(url, 0.2) as counters:
        leaving = asyncio.create_task(counters.enter("key", "seat", 3, 600))
        await asyncio.sleep(0)
        leaving.cancel()
        with capture_logs() as logs:
            with pytest.raises(asyncio.CancelledError):
                await leaving
            while counters._tasks:
                await asyncio.wait(counters._tasks)
        assert [(line["event"], line["key"]) for line in logs] == [("seat_not_given_back", "key")]


async def test_closing_does_not_wait_for_one_that_never_answers() -> None:
    async with listener(None) as url:
        counters = RedisCounters(url, seconds=0.2)
        waiting = asyncio.create_task(counters.hit("key", 5))
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await counters.close()
        with pytest.raises(StorageUnavailable):
            await waiting


# --- settings ---


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(RedisMissing, match=r"qwen-gateway\[redis\]"):
        RedisCounters("redis://127.0.0.1")


def test_importing_it_does_not_import_redis() -> None:
    command = "import sys, qwen_gateway.store.redis_counters; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


@pytest.mark.parametrize("url", ["http://127.0.0.1", "rediss//127.0.0.1", "127.0.0.1:6379", ""])
def test_a_url_of_another_kind(url: str) -> None:
    with pytest.raises(ValueError, match="scheme"):
        RedisCounters(url)
