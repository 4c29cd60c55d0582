"""Clients that do not read what they asked for: dropped after a while, and the memory stays bounded."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from qwen_gateway.simulator import Simulator

from . import process, wire
from .conftest import LINUX
from .process import Gateway
from .rig import KEY, until, until_async
from .wire import Json, ask, request_bytes

SETTINGS: Json = {
    "api_keys": KEY,
    "write_timeout": 1,
    "heartbeat": 0.4,
    "idle_timeout": 3,
    "first_event_timeout": 5,
    "delete_chats": "now",
}
FLOOD: Json = {"error": "f35"}
"""50 000 small events: 10 MB of stream."""
LUMP: Json = {"chunks": ["x" * 60_000] * 200, "error": "f12"}
"""12 MB in one write of the site, then the end."""
HUSH: Json = {"chunks": ["x" * 60_000] * 200, "error": "stall", "after_chunks": 200}
"""12 MB, and then nothing for an hour."""
# Less would fit into the buffers of the two sockets, and nobody would notice.


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        running.site.controlled = True
        yield running


async def _ask_and_never_read(url: str, stream: bool) -> socket.socket:
    parts = urlsplit(url)
    ours = socket.socket()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    ours.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(ours, (parts.hostname, parts.port))
    await loop.sock_sendall(ours, request_bytes("/v1/chat/completions", ask(stream=stream), key=KEY))
    return ours


@LINUX
@pytest.mark.parametrize("turn", [FLOOD, LUMP, HUSH], ids=["flood", "lump", "hush"])
async def test_a_client_that_never_reads_is_dropped(sim: Simulator, tmp_path: Path, turn: Json) -> None:
    with process.serve(tmp_path, site_url=sim.url, cookies=sim.cookies(), **SETTINGS) as gateway:
        assert (await wire.exchange(gateway.url, request_bytes("/v1/chat/completions", ask(), key=KEY))).status == 200
        memory, descriptors = gateway.memory(), gateway.descriptors()
        await _program(sim, turn)
        clients = [await _ask_and_never_read(gateway.url, True) for _ in range(4)]
        try:
            await until(lambda: len(sim.site.seen) == 5)
            await until(lambda: not sim.site.streams, 8)
            await until_async(lambda: _is_idle(gateway), 8)
            assert gateway.memory() - memory < 60_000_000
            await asyncio.to_thread(process.wait, lambda: gateway.descriptors() <= descriptors + 2, 8)
            await until(lambda: all(chat.deleted for chat in sim.site.chats.values()))
        finally:
            for client in clients:
                client.close()
        ends = [line["end"] for line in gateway.lines() if line["event"] == "request"]
        assert ends[0] == "finished"
        assert set(ends[1:]) <= {"client_left", "failed"}


async def _program(sim: Simulator, turn: Json) -> None:
    body = request_bytes("/__sim/program", {"turns": [turn | {"sticky": True}]})
    assert (await wire.exchange(sim.url, body)).status == 200


async def _is_idle(gateway: Gateway) -> bool:
    health = (await wire.exchange(gateway.url, request_bytes("/health"))).json()
    return bool(health["in_flight"] == 0)
