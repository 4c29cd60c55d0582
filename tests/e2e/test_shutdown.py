"""How the gateway stops: running answers end or are told, nobody waits for ever, and the exit code is 0."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from qwen_gateway.simulator import Simulator

from . import process, wire
from .rig import KEY, until
from .wire import Answer, Json, ask, request_bytes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
SOON: Json = {"text": "word " * 20, "delay_ms": 50}
LONG: Json = {"text": "word " * 2000, "delay_ms": 50}
STREAM = request_bytes("/v1/chat/completions", ask(stream=True), key=KEY)
WHOLE = request_bytes("/v1/chat/completions", ask(), key=KEY)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        running.site.controlled = True
        yield running


def _serve(sim: Simulator, directory: Path, **settings: Any) -> "process.Serving":
    settings = {"delete_chats": "now", **settings}
    return process.serve(directory, site_url=sim.url, cookies=sim.cookies(), api_keys=KEY, **settings)


async def _program(sim: Simulator, *turns: Json) -> None:
    assert (await wire.exchange(sim.url, request_bytes("/__sim/program", {"turns": list(turns)}))).status == 200


async def _exit_code(gateway: process.Gateway) -> int:
    return await asyncio.to_thread(gateway.exit_code)


async def test_a_running_answer_ends_by_itself(sim: Simulator, tmp_path: Path) -> None:
    with _serve(sim, tmp_path, drain_seconds=10) as gateway:
        await _program(sim, SOON, SOON)
        running = [asyncio.create_task(wire.exchange(gateway.url, request)) for request in (STREAM, WHOLE)]
        await until(lambda: len(sim.site.seen) == 2 and all(seen.first_byte for seen in sim.site.seen))
        gateway.signal()
        stream, whole = await asyncio.gather(*running)
        for answer in (stream, whole):
            assert answer.status == 200
            assert answer.whole
        assert stream.stream().text == SOON["text"]
        assert whole.json()["choices"][0]["message"]["content"] == SOON["text"]
        assert await _exit_code(gateway) == 0
        assert all(chat.deleted for chat in sim.site.chats.values())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_long_answer_is_told_that_it_is_cut_off(sim: Simulator, tmp_path: Path, number: int) -> None:
    with _serve(sim, tmp_path, drain_seconds=0.5) as gateway:
        await _program(sim, LONG, LONG)
        streamed = asyncio.create_task(wire.exchange(gateway.url, STREAM))
        whole = asyncio.create_task(wire.exchange(gateway.url, WHOLE))
        await until(lambda: len(sim.site.seen) == 2 and all(seen.first_byte for seen in sim.site.seen))
        gateway.signal(number)
        stream = (await streamed).stream()
        assert stream.error is not None
        assert (stream.error["code"], stream.finish, stream.done) == ("draining", None, False)
        assert stream.text.startswith("word word")
        refused = await whole
        assert (refused.status, refused.error()["code"], refused.headers["retry-after"]) == (503, "draining", "5")
        assert refused.headers["x-should-retry"] == "true"
        assert await _exit_code(gateway) == 0
        await until(lambda: not sim.site.streams)
        assert all(seen.aborted for seen in sim.site.seen)
        events = {line["event"] for line in gateway.lines()}
        assert events <= {"ready", "request", "stop_failed", "delete_failed"} | {
            event for event in events if "graceful" in event or event.startswith("stopping: ")
        }
    assert sim.site.stops == 2, "the site is told to stop writing"
    assert all(chat.deleted for chat in sim.site.chats.values())


async def test_a_second_signal_ends_at_once(sim: Simulator, tmp_path: Path) -> None:
    with _serve(sim, tmp_path, drain_seconds=60) as gateway:
        await _program(sim, LONG)
        running = asyncio.create_task(_outcome(gateway.url))
        await until(lambda: bool(sim.site.seen) and sim.site.seen[0].first_byte is not None)
        gateway.signal()
        await _refused(gateway)
        begun = time.monotonic()
        gateway.signal()
        await _exit_code(gateway)
        assert time.monotonic() - begun < 5
        answer = await running
        assert answer is None or not answer.stream().done


async def test_nobody_new_is_served_while_running_answers_end(sim: Simulator, tmp_path: Path) -> None:
    with _serve(sim, tmp_path, drain_seconds=10) as gateway:
        await _program(sim, SOON)
        async with wire.connection(gateway.url) as (reader, writer):  # a connection that is kept alive
            writer.write(request_bytes("/health", key=KEY, Connection="keep-alive"))
            assert (await wire.read_answer(reader)).json()["status"] == "ok"
            running = asyncio.create_task(wire.exchange(gateway.url, STREAM))
            await until(lambda: bool(sim.site.seen))
            gateway.signal()
            await _refused(gateway)
            assert await asyncio.wait_for(reader.read(), 5) == b"", "an idle connection is closed at once"
        assert (await running).stream().done
        assert await _exit_code(gateway) == 0


async def test_an_idle_gateway_stops_at_once_and_says_nothing_bad(sim: Simulator, tmp_path: Path) -> None:
    with _serve(sim, tmp_path) as gateway:
        assert (await wire.exchange(gateway.url, WHOLE)).status == 200
        begun = time.monotonic()
        gateway.signal()
        assert await _exit_code(gateway) == 0
        assert time.monotonic() - begun < 3
        assert {line["level"] for line in gateway.lines()} == {"info"}


async def test_signals_without_an_end_do_no_harm(sim: Simulator, tmp_path: Path) -> None:
    """A journal that is whole, whenever the end comes: the next start takes up what is left."""
    for wait in (0.005, 0.15):
        with _serve(sim, tmp_path) as gateway:
            await _program(sim, LONG)
            running = asyncio.create_task(_outcome(gateway.url))
            await until(lambda: bool(sim.site.streams))
            async with asyncio.timeout(10):
                while gateway.process.poll() is None:  # two signals at once may arrive as one
                    gateway.signal()
                    await asyncio.sleep(wait)
            await running
    with _serve(sim, tmp_path):
        await until(lambda: all(chat.deleted for chat in sim.site.chats.values()))


async def _outcome(url: str) -> Answer | None:
    try:
        return await wire.exchange(url, STREAM)
    except (ConnectionError, asyncio.IncompleteReadError):
        return None


async def _refused(gateway: process.Gateway) -> None:
    """Waits until the gateway takes no connections any more."""
    async with asyncio.timeout(5):
        while True:
            try:
                async with wire.connection(gateway.url):
                    await asyncio.sleep(0.02)
            except ConnectionError:
                return
