"""The gateway and the simulator in this process's loop, joined by real sockets: for tests that must look inside."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
from openai import AsyncOpenAI

from qwen_gateway import app
from qwen_gateway.relay.account import Account
from qwen_gateway.server.service import Service
from qwen_gateway.settings_sources import load
from qwen_gateway.simulator import Simulator

from .wire import Answer, Json, exchange, request_bytes

KEY = "sk-test-0123456789"
QUICK: dict[str, Any] = {
    "heartbeat": 0.3,
    "first_event_timeout": 1.5,
    "first_event_timeout_thinking": 1.5,
    "idle_timeout": 0.8,
    "call_timeout": 3,
    "total_timeout": 20,
    "write_timeout": 2,
    "challenge_rest": 1,
    "drain_seconds": 1,
}
"""Settings for tests that wait for something to go wrong."""


class Rig:
    """sim: the site. service: the gateway's inside. url: its address without `/v1`."""

    def __init__(self, sim: Simulator, service: Service, base_url: str, http: httpx2.AsyncClient) -> None:
        self.sim, self.service, self.http = sim, service, http
        self.base_url, self.url = base_url, base_url.removesuffix("/v1")

    def client(self, key: str = KEY, **more: Any) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=self.base_url, api_key=key, max_retries=0, http_client=self.http, **more)

    async def program(self, *turns: Json, **site: object) -> None:
        reply = await self.http.post(f"{self.sim.url}/__sim/program", json={"turns": list(turns), "site": site})
        assert reply.status_code == 200, reply.text

    async def post(self, body: Json | bytes, *, key: str | None = KEY, path: str = "", **headers: str) -> Answer:
        path = path or "/v1/chat/completions"
        return await exchange(self.url, request_bytes(path, body, key=key, **headers))

    async def get(self, path: str, *, key: str | None = KEY, **headers: str) -> Answer:
        return await exchange(self.url, request_bytes(path, None, key=key, **headers))

    @property
    def own(self) -> Account:
        account = self.service.accounts.own
        assert account is not None
        return account

    @property
    def left_over(self) -> list[str]:
        """Chats at the site that nobody has deleted."""
        return [chat.id for chat in self.sim.site.chats.values() if not chat.deleted]

    @property
    def is_idle(self) -> bool:
        return not (self.service.in_flight or self.service.turns.chats.pending or self.sim.site.streams)

    async def settle(self, seconds: float = 5) -> None:
        """Waits until nothing is under way any more, on either side."""
        await until(lambda: self.is_idle, seconds)


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def until_async(condition: Callable[[], Awaitable[bool]], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(directory: Path, *, own: bool = True, sim_url: str = "", **settings: Any) -> AsyncIterator[Rig]:
    """own: whether the gateway has an account. sim_url: another address of the site, such as a proxy before it."""
    async with Simulator() as sim, httpx2.AsyncClient(timeout=20) as http:
        flags: dict[str, object] = {
            "site_url": sim_url or sim.url,
            "cookies": sim.cookies() if own else None,
            "api_keys": (KEY,),
            "data_dir": str(directory / "data"),
            "port": 0,
            **settings,
        }
        loaded = load({name: value for name, value in flags.items() if value is not None}, {}, directory).settings
        sim.site.controlled = True  # answers `ok` where a test programs nothing
        async with app._gateway(loaded) as (application, service):
            listener = app._listen(loaded.host, loaded.port)
            address = app._base_url(loaded, listener)
            ready = asyncio.Event()
            told = app.Running(address, service.accounts.wake)
            server = app._Server(app._config(application, loaded), service, told, lambda _: ready.set())
            server.config.load()
            server.lifespan = server.config.lifespan_class(server.config)
            await server.startup([listener])
            try:
                await asyncio.wait_for(ready.wait(), 5)
                yield Rig(sim, service, address, http)
            finally:
                # Quicker than uvicorn's own end, which has tests with real processes.
                for one in server.servers:
                    one.close()
                for connection in list(server.server_state.connections):
                    connection.shutdown()
                for task in list(server.server_state.tasks):
                    task.cancel()
                await asyncio.sleep(0)
