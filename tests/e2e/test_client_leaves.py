"""A client that goes away: the site stops writing at once, and nothing stays behind."""

import asyncio
import contextlib
import random
import time
from pathlib import Path
from typing import Self

import pytest

from qwen_gateway.simulator import Simulator

from . import process, wire
from .conftest import LINUX
from .rig import KEY, QUICK, Rig, running, until, until_async
from .wire import Json, ask, request_bytes

LONG: Json = {"text": "word " * 400, "delay_ms": 20}
MOMENTS: dict[str, Json] = {
    "before the site's first byte": LONG | {"first_byte_ms": 8000},
    "before the first word": LONG | {"delay_ms": 1000},
    "in the middle": LONG,
}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_the_site_stops_within_a_second(rig: Rig, stream: bool, moment: str) -> None:
    await rig.program(MOMENTS[moment])
    site = rig.sim.site
    async with wire.connection(rig.url) as (reader, writer):
        writer.write(request_bytes("/v1/chat/completions", ask(stream=stream), key=KEY))
        await until(lambda: bool(site.seen))
        if moment == "before the first word":
            await until(lambda: site.seen[0].first_byte is not None)
        elif moment == "in the middle":
            await until(lambda: any(len(n.content) > 20 for chat in site.chats.values() for n in chat.nodes.values()))
            if stream:
                assert (await wire.read_head(reader))[0] == 200
    left = time.time()
    await until(lambda: site.seen[0].ended is not None, 2)
    seen = site.seen[0]
    assert seen.aborted
    assert seen.ended is not None
    assert seen.ended - left < 1
    await rig.settle()
    assert site.stops == 1, "the site goes on to write when nobody tells it to stop"
    assert rig.left_over == []
    assert (await rig.post(ask())).status == 200


async def test_a_client_that_leaves_while_the_chat_is_made_costs_no_chat(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with Held() as held, running(tmp_path_factory.mktemp("rig"), sim_url=held.url, **QUICK) as rig:
        held.target = rig.sim.url
        async with wire.connection(rig.url) as (_, writer):
            writer.write(request_bytes("/v1/chat/completions", ask(stream=True), key=KEY))
            await until(lambda: bool(rig.sim.site.chats))
            await until(lambda: held.waiting == 1)
        await until(lambda: rig.service.in_flight == 0)
        assert len(rig.left_over) == 1, "the site has made it, and we never heard its id"
        held.let_go()
        await until(lambda: not rig.left_over, 6)
        assert not rig.sim.site.seen


async def test_a_half_closed_client_still_gets_its_answer_or_is_gone(rig: Rig) -> None:
    """`nc -N` and some proxies shut their side down after the request. Either way nothing is left running."""
    await rig.program({"text": "a b c", "delay_ms": 50})
    async with wire.connection(rig.url) as (reader, writer):
        writer.write(request_bytes("/v1/chat/completions", ask(), key=KEY))
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 5)
    await rig.settle()
    await until(lambda: not rig.left_over, 6)


class Held:
    """A TCP proxy before the site that keeps back the reply to `chats/new`."""

    def __init__(self) -> None:
        self.target = self.url = ""
        self.waiting = 0
        self._go = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def let_go(self) -> None:
        self._go.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            async with wire.connection(self.target) as (back, forth):
                await asyncio.gather(self._there(reader, forth), self._back(back, writer))
        writer.transport.abort()
        self._tasks.discard(task)

    async def _there(self, reader: asyncio.StreamReader, forth: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self._making = b"/chats/new" in data
            forth.write(data)
        forth.close()

    async def _back(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await back.read(65536):
            if self._making and not self._go.is_set():
                self.waiting += 1
                await self._go.wait()
            writer.write(data)
        writer.close()


@LINUX
@pytest.mark.timeout(120)
async def test_four_hundred_clients_that_leave_at_random_moments_leave_nothing(tmp_path: Path) -> None:
    rnd = random.Random(20261121)  # noqa: S311 - moments, not secrets
    async with Simulator() as sim:
        settings: Json = {"site_url": sim.url, "cookies": sim.cookies(), "api_keys": KEY, "delete_chats": "now"}
        with process.serve(tmp_path, **settings) as gateway:
            sim.site.controlled = True
            request = {s: request_bytes("/v1/chat/completions", ask(stream=s), key=KEY) for s in (True, False)}
            await asyncio.gather(*(wire.exchange(gateway.url, request[False]) for _ in range(20)))
            baseline = gateway.descriptors()
            await _program(sim, {"text": "word " * 60, "delay_ms": 6, "sticky": True})
            few = asyncio.Semaphore(50)

            async def one() -> None:
                async with few, wire.connection(gateway.url) as (reader, writer):
                    writer.write(request[rnd.random() < 0.5])
                    with contextlib.suppress(TimeoutError, ConnectionError):
                        await asyncio.wait_for(reader.read(rnd.choice((1, 4000))), rnd.random() * 0.25)
                    await asyncio.sleep(rnd.random() * 0.02)

            await asyncio.gather(*(one() for _ in range(400)))

            async def is_idle() -> bool:
                health = (await wire.exchange(gateway.url, request_bytes("/health"))).json()
                return (health["in_flight"], len(sim.site.streams)) == (0, 0)

            await until_async(is_idle, 5)
            # A chat whose id never came is looked for two seconds later.
            await until(lambda: all(chat.deleted for chat in sim.site.chats.values()), 30)
            assert sum(seen.aborted for seen in sim.site.seen) > 60
            await asyncio.to_thread(process.wait, lambda: gateway.descriptors() <= baseline + 25, 30)
            sim.site.queue.clear()
            assert (await wire.exchange(gateway.url, request[False])).status == 200
            events = [line["event"] for line in gateway.lines()]
            assert set(events) <= {"ready", "request", "stop_failed", "delete_failed"}
            assert events.count("request") >= 360


async def test_clients_that_leave_leave_no_task_behind(rig: Rig) -> None:
    """The same from inside, where tasks can be seen: of those that a request starts, none outlives it."""
    rnd = random.Random(20261121)  # noqa: S311 - moments, not secrets
    await rig.program({"text": "word " * 60, "delay_ms": 6, "sticky": True})

    def of_requests() -> list[str]:
        names = (str(getattr(task.get_coro(), "__qualname__", "")) for task in asyncio.all_tasks())
        return [name for name in names if name in ("RequestResponseCycle.run_asgi", "Exchange._watch", "Chats._stop")]

    async def one() -> None:
        async with wire.connection(rig.url) as (reader, writer):
            writer.write(request_bytes("/v1/chat/completions", ask(stream=rnd.random() < 0.5), key=KEY))
            with contextlib.suppress(TimeoutError, ConnectionError):
                await asyncio.wait_for(reader.read(1), rnd.random() * 0.2)

    clients = [asyncio.create_task(one()) for _ in range(100)]
    await until(lambda: {"RequestResponseCycle.run_asgi", "Exchange._watch"} <= set(of_requests()))
    await asyncio.gather(*clients)
    await until(lambda: not of_requests(), 2)
    assert rig.service.in_flight == 0


async def _program(sim: Simulator, turn: Json) -> None:
    body = request_bytes("/__sim/program", {"turns": [turn]})
    assert (await wire.exchange(sim.url, body)).status == 200
