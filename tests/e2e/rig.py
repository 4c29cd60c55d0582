"""The gateway and the simulator in this process's loop, joined by real sockets: for tests that must look inside. And
commands beside them, as processes."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from openai import AsyncOpenAI
from tests.services import place_sqlite

from qwen_gateway.accounts import credential
from qwen_gateway.app import bootstrap, serving
from qwen_gateway.app.gateway import gateway
from qwen_gateway.relay.account import Account
from qwen_gateway.server.service import Service
from qwen_gateway.settings_sources import load
from qwen_gateway.simulator import Simulator

from .process import environment
from .wire import Answer, Json, exchange, request_bytes

KEY = "sk-test-0123456789"
LINE = (sys.executable, "-m", "qwen_gateway")
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
PATIENT: dict[str, Any] = {
    **QUICK,
    "first_event_timeout": 20,
    "first_event_timeout_thinking": 20,
    "idle_timeout": 20,
    "call_timeout": 20,
    "total_timeout": 60,
}
"""Settings for tests in which nothing goes wrong for waiting: on a busy machine a hundred at once take a while."""
UNHURRIED: dict[str, Any] = {
    "account_concurrency": 1000,
    "account_pace": 1_000_000,
    "account_burst": 1_000_000,
    "queue_size": 1000,
    "store_timeout": 10,
    "delete_chats": "now",
}
"""Settings for tests that are in a hurry, where no person's account is, on a machine that may be busy. Each turn has a
chat of its own, so that what is looked at is that turn; conversations that go on have tests of their own
(`conversations`)."""


class Rig:
    """sim: the site. service: the gateway's inside. url: its address without `/v1`. admin: a key for /api/admin. key:
    one for all else."""

    def __init__(self, sim: Simulator, service: Service, base_url: str, http: httpx2.AsyncClient, admin: str) -> None:
        self.sim, self.service, self.http, self.admin = sim, service, http, admin
        self.base_url, self.url, self.key = base_url, base_url.removesuffix("/v1"), KEY
        self.data_dir = Path()

    def client(self, key: str = KEY, **more: Any) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=self.base_url, api_key=key, max_retries=0, http_client=self.http, **more)

    async def program(self, *turns: Json, **site: object) -> None:
        reply = await self.http.post(f"{self.sim.url}/__sim/program", json={"turns": list(turns), "site": site})
        assert reply.status_code == 200, reply.text

    async def join(self, *users: str) -> list[Account]:
        """Gives the gateway accounts of the site, each named like its user."""
        found = [credential.read(cookies=self.sim.cookies(user), token=None) for user in users]
        accounts = self.service.accounts
        return [await accounts.adopt(one, user) for one, user in zip(found, users, strict=True) if one is not None]

    def account(self, name: str) -> Account:
        return self.service.accounts.find(name)

    async def behave(self, **users: str | Json) -> None:
        """How accounts behave at the site: the name of a state, or a whole `accounts` entry of the simulator."""
        await self.program(
            accounts={user: {"state": how} if isinstance(how, str) else how for user, how in users.items()}
        )

    async def manage(self, method: str, path: str, body: Json | None = None) -> Answer:
        """path: below /api/admin."""
        request = request_bytes(
            f"/api/admin{path}", body, key=self.admin, method=method, content_type="application/json"
        )
        return await exchange(self.url, request)

    async def post(self, body: Json | bytes, *, key: str | None = KEY, path: str = "", **headers: str) -> Answer:
        path = path or "/v1/chat/completions"
        return await exchange(self.url, request_bytes(path, body, key=key, **headers))

    async def get(self, path: str, *, key: str | None = KEY, **headers: str) -> Answer:
        return await exchange(self.url, request_bytes(path, None, key=key, **headers))

    @property
    def own(self) -> Account:
        return self.service.accounts.all()[0]

    @property
    def left_over(self) -> list[str]:
        """Chats at the site that nobody has deleted."""
        return [chat.id for chat in self.sim.site.chats.values() if not chat.deleted]

    @property
    def is_idle(self) -> bool:
        return not (self.service.in_flight or self.service.turns.chats.pending or self.sim.site.streams)

    async def settle(self, seconds: float = 15) -> None:
        """Waits until nothing is under way any more, on either side."""
        await until(lambda: self.is_idle, seconds)


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def until_async(condition: Callable[[], Awaitable[bool]], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(
    directory: Path, *, own: bool = True, sim_url: str = "", site: Simulator | None = None, **settings: Any
) -> AsyncIterator[Rig]:
    """own: whether the gateway has an account. sim_url: another address of the site, such as a proxy before it.
    site: one that runs already; otherwise a fresh one."""
    async with contextlib.AsyncExitStack() as stack:
        sim = site if site is not None else await stack.enter_async_context(Simulator())
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=20, verify=False))
        flags: dict[str, object] = {
            "site_url": sim_url or sim.url,
            "cookies": sim.cookies() if own else None,
            "api_keys": (KEY,),
            "data_dir": str(directory / "data"),
            "port": 0,
            **UNHURRIED,
            **settings,
        }
        loaded = load({name: value for name, value in flags.items() if value is not None}, {}, directory).settings
        if loaded.database_url is None:
            place_sqlite(loaded.data_dir / "gateway.db")
        sim.site.controlled = True  # answers `ok` where a test programs nothing
        async with gateway(loaded) as (application, service):
            listener = serving.listen(loaded.host, loaded.port)
            address = serving.base_url(loaded, listener)
            ready = asyncio.Event()
            told = serving.Running(address, service.wake)
            server = serving.Server(serving.config(application, loaded), service, told, lambda _: ready.set())
            server.config.load()
            server.lifespan = server.config.lifespan_class(server.config)
            await server.startup([listener])
            try:
                await asyncio.wait_for(ready.wait(), 5)
                rig = Rig(sim, service, address, http, (loaded.data_dir / bootstrap.FILE).read_text().strip())
                rig.data_dir = loaded.data_dir
                yield rig
            finally:
                # Quicker than uvicorn's own end, which has tests with real processes.
                for one in server.servers:
                    one.close()
                for connection in list(server.server_state.connections):
                    connection.shutdown()
                for task in list(server.server_state.tasks):
                    task.cancel()
                await asyncio.sleep(0)


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Json:
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


async def command(
    directory: Path, *arguments: str, given: str | bytes = "", line: Sequence[str] = LINE, **settings: object
) -> Done:
    """Runs `qwen-gateway` with these arguments to its end. given: on standard input. line: what begins the command.
    It works with the same data directory as `process.serve` and `running`, unless the settings name another."""
    variables = environment({"data_dir": str(directory / "data"), **settings})
    done = await asyncio.to_thread(
        subprocess.run,
        [*line, *arguments],
        input=given.encode() if isinstance(given, str) else given,
        env=variables | {"COLUMNS": "200"},
        cwd=directory,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@dataclass
class Tap:
    """A TCP proxy before the site. sent: every byte that went there."""

    url: str = ""
    sent: bytearray = field(default_factory=bytearray)

    def requests(self) -> list[tuple[str, dict[str, str]]]:
        """Of each request the path and the headers, names in small letters."""
        found = []
        for part in bytes(self.sent).split(b" HTTP/1.1\r\n")[1:]:
            lines = part.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
            found.append({name.lower(): value for name, _, value in (line.partition(": ") for line in lines)})
        paths = [
            part.rpartition(b"\r\n")[2].rpartition(b" ")[2] for part in bytes(self.sent).split(b" HTTP/1.1\r\n")[:-1]
        ]
        return [(path.decode(), headers) for path, headers in zip(paths, found, strict=True)]


@contextlib.asynccontextmanager
async def tapped(url: str) -> AsyncIterator[Tap]:
    """url: the site's."""
    site, tap = urlsplit(url), Tap()
    writers: set[asyncio.StreamWriter] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray | None) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                if kept is not None:
                    kept += data
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection(site.hostname, site.port)
        writers.update((writer, behind_writer))
        await asyncio.gather(carry(reader, behind_writer, tap.sent), carry(behind_reader, writer, None))

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        tap.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield tap
        finally:
            for writer in writers:
                writer.transport.abort()
