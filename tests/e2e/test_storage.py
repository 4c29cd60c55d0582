"""The database or Redis in trouble: whoever needs neither goes on, nobody is called wrong, and nothing is let through
unchecked; when the trouble is over, everything is as if it had not been, without a restart."""

import asyncio
import contextlib
import secrets
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import pytest
from tests.services import Postgres

from qwen_gateway.simulator import Simulator

from . import process, wire
from .process import postgres_rows, usage_rows
from .rig import KEY, QUICK, Rig, running, until, until_async
from .wire import Answer, Json, ask, request_bytes

PATH = "/v1/chat/completions"
TIMEOUT = 2.0
"""Seconds that a store may take. Whoever waited for one in the event loop would hold all others up as long."""
UNNOTICED = 0.9 * TIMEOUT
"""Seconds: more than an answer of milliseconds takes on a busy machine, less than if a store had held it up."""
SLOWLY: Json = {"text": "word " * 40, "delay_ms": 25, "sticky": True}
SERVICES = pytest.mark.needs("postgresql", "redis")


class Line:
    """A network on the way to a server: one that stands still (`pause`), and one that is gone (`cut`)."""

    def __init__(self, port: int) -> None:
        self._target, self.port = port, 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    def pause(self) -> None:
        """Connections are taken and kept, and nothing comes through."""
        self._flowing.clear()

    async def cut(self) -> None:
        """Connections break, and nobody listens."""
        self._flowing.set()
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._open:
            writer.transport.abort()
        await until(lambda: not self._open)

    async def trouble(self, kind: str) -> None:
        if kind == "silent":
            self.pause()
        else:
            await self.cut()

    async def mend(self) -> None:
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._meet, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._flowing.wait()
            theirs, ours = await asyncio.open_connection("127.0.0.1", self._target)
            self._open.add(ours)
            try:
                await asyncio.gather(self._pump(reader, ours), self._pump(theirs, writer))
            finally:
                self._open.discard(ours)
                ours.transport.abort()
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._flowing.wait()
                target.write(data)
        target.transport.abort()


class Stand:
    """A rig whose database and Redis are at the other end of lines; and keys with each kind of limit."""

    def __init__(self, rig: Rig, data_dir: Path, database: Line, counters: Line) -> None:
        self.rig, self.data_dir, self.database, self.counters = rig, data_dir, database, counters
        self.free = self.minute = self.seats = self.tokens = ""
        self.asked: list[str] = []
        """Ids of the requests that were let in."""

    async def make_keys(self) -> None:
        async def key(name: str, **terms: object) -> str:
            return (await process.key(self.rig.url, self.data_dir, f"{name} {secrets.token_hex(3)}", **terms))[0]

        self.free = await key("free")
        self.minute = await key("minute", requests_per_minute=10_000)
        self.seats = await key("seats", concurrency=1)
        self.tokens = await key("tokens", tokens_per_day=10_000_000)

    async def ask(self, key: str, **more: object) -> Answer:
        answer = await self.rig.post(ask(**more), key=key)  # type: ignore[arg-type]
        if answer.status != 401:
            self.asked.append(answer.headers["x-request-id"])
        return answer

    async def state(self) -> tuple[int, str]:
        answer = await self.rig.get("/readyz")
        return answer.status, answer.json()["status"]

    async def well(self) -> None:
        """Waits until everybody is served again."""

        async def served() -> bool:
            states = {(await self.ask(key)).status for key in (self.free, self.minute, self.seats, self.tokens)}
            return states == {200} and await self.state() == (200, "ok")

        await until_async(served, 10)


@pytest.fixture(scope="module")
async def whole_stand(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, redis_url: str
) -> AsyncIterator[tuple[Stand, str]]:
    directory = tmp_path_factory.mktemp("storage")
    async with AsyncExitStack() as stack:
        url = stack.enter_context(postgres.fresh_database())
        database = await stack.enter_async_context(Line(postgres.port))
        counters = await stack.enter_async_context(Line(int(redis_url.rpartition(":")[2].partition("/")[0])))
        settings: Json = {
            **QUICK,
            "store_timeout": TIMEOUT,
            "database_url": url.replace(f":{postgres.port}/", f":{database.port}/"),
            "redis_url": redis_url.replace(redis_url.rpartition(":")[2], f"{counters.port}/1"),
        }
        rig = await stack.enter_async_context(running(directory, **settings))
        yield Stand(rig, directory / "data", database, counters), url
        await database.mend()  # the end wants to write
        await counters.mend()


@pytest.fixture
async def stand(whole_stand: tuple[Stand, str], postgres: Postgres) -> AsyncIterator[Stand]:
    """Afterwards each request that was let in must have its row."""
    found, url = whole_stand
    await found.rig.http.post(f"{found.rig.sim.url}/__sim/reset")
    await found.make_keys()
    found.asked.clear()
    yield found
    await found.database.mend()
    await found.counters.mend()
    await until(lambda: {*found.asked} <= {row["id"] for row in postgres_rows(postgres, url)}, 10)


@pytest.fixture
async def alive(stand: Stand) -> AsyncIterator[None]:
    """All the while the gateway says at once that it lives."""
    longest = 0.0

    async def look() -> None:
        nonlocal longest
        while True:
            begun = time.monotonic()
            assert (await stand.rig.get("/livez", key=None)).status == 200
            longest = max(longest, time.monotonic() - begun)
            await asyncio.sleep(0.02)

    looking = asyncio.create_task(look())
    yield
    assert not looking.done()
    looking.cancel()
    print(f"/livez took {longest * 1000:.0f} ms at most")
    assert longest < UNNOTICED


def _is_unavailable(answer: Answer) -> None:
    error = answer.error()
    assert (answer.status, error["type"], error["code"]) == (503, "server_error", "storage_unavailable")
    assert answer.headers["x-gateway-fault"] == "gateway"
    assert answer.headers["x-should-retry"] == "true"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert "The gateway" in error["message"], "nothing is wrong with the client or its key"
    assert "127.0.0.1" not in error["message"]


@SERVICES
@pytest.mark.usefixtures("alive")
@pytest.mark.parametrize("kind", ["silent", "gone"])
async def test_without_the_database_those_who_need_it_are_told_and_all_others_go_on(
    stand: Stand, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stand.database.trouble(kind)
    answers = await asyncio.gather(
        *(stand.ask(key, stream=n % 2 == 0) for n in range(10) for key in (stand.free, stand.minute, KEY))
    )
    assert {answer.status for answer in answers} == {200}
    asked = len(stand.rig.sim.site.seen)
    for answer in await asyncio.gather(*(stand.ask(stand.tokens) for _ in range(20))):
        _is_unavailable(answer)
    assert len(stand.rig.sim.site.seen) == asked, "nothing is let through unchecked"

    async def told() -> bool:
        return await stand.state() == (503, "storage_unavailable")

    await until_async(told)
    health = (await stand.rig.get("/health")).json()
    assert health["status"] == "storage_unavailable"
    assert "database" in health["database"]
    assert health["counters"] == "ok"
    assert health["usage_unwritten"] > 0
    unknown = f"{stand.free[:-43]}{'x' * 43}"
    assert (await stand.rig.post(ask(), key=unknown)).status == 401, "for a while it is known that there is no such key"
    monkeypatch.setattr(stand.rig.service.door._keys, "_stale_after", 0.0)
    for one in (unknown, f"sk-qg-{'a' * 10}-{'x' * 43}"):
        _is_unavailable(await stand.rig.post(ask(), key=one))
    assert {(await stand.ask(key)).status for key in (stand.free, stand.minute, KEY)} == {200}, "known is known"
    monkeypatch.undo()
    await stand.database.mend()
    await stand.well()


@SERVICES
@pytest.mark.usefixtures("alive")
@pytest.mark.parametrize("kind", ["silent", "gone"])
async def test_without_redis_limited_keys_are_told_and_all_others_go_on(stand: Stand, kind: str) -> None:
    await stand.counters.trouble(kind)
    answers = await asyncio.gather(
        *(stand.ask(key, stream=n % 2 == 0) for n in range(10) for key in (stand.free, stand.tokens, KEY))
    )
    assert {answer.status for answer in answers} == {200}
    asked = len(stand.rig.sim.site.seen)
    for answer in await asyncio.gather(*(stand.ask(key) for _ in range(20) for key in (stand.minute, stand.seats))):
        _is_unavailable(answer)
    assert len(stand.rig.sim.site.seen) == asked, "nothing is let through unchecked"
    await stand.counters.mend()
    await stand.well()


@SERVICES
@pytest.mark.usefixtures("alive")
@pytest.mark.parametrize("kind", ["silent", "gone"])
async def test_an_answer_that_is_under_way_runs_on_to_its_end(stand: Stand, kind: str) -> None:
    await stand.rig.program(SLOWLY)
    requests = [
        request_bytes(PATH, ask(stream=True), key=key) for key in (stand.free, stand.minute, stand.seats, stand.tokens)
    ]
    streams = [asyncio.create_task(_stream(stand.rig.url, request)) for request in requests]
    site = stand.rig.sim.site
    await until(lambda: len(site.seen) == 4 and all(seen.first_byte for seen in site.seen))
    await stand.database.trouble(kind)
    await stand.counters.trouble(kind)
    for status, text, id_, gap in await asyncio.gather(*streams):
        assert (status, text) == (200, SLOWLY["text"])
        assert gap < UNNOTICED
        stand.asked.append(id_)
    site.queue.clear()
    await stand.database.mend()
    await stand.counters.mend()
    await stand.well()  # the seat has been given back


async def _stream(url: str, request: bytes) -> tuple[int, str, str, float]:
    """Status, text, id, and the longest pause within it, in seconds."""
    async with asyncio.timeout(15), wire.connection(url) as (reader, writer):
        writer.write(request)
        status, headers = await wire.read_head(reader)
        body, before, gap = b"", time.monotonic(), 0.0
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
            gap, before = max(gap, time.monotonic() - before), time.monotonic()
    stream = wire.Stream.read(body)
    assert stream.done
    return status, stream.text, headers["x-request-id"], gap


@SERVICES
@pytest.mark.usefixtures("alive")
async def test_lines_that_break_again_and_again_lose_nothing_and_call_nobody_wrong(stand: Stand) -> None:
    over = asyncio.Event()
    found: set[tuple[int, str]] = set()

    async def client(key: str) -> None:
        while not over.is_set():
            answer = await stand.ask(key)
            found.add((answer.status, "" if answer.status == 200 else answer.error()["code"]))

    async with asyncio.TaskGroup() as group:
        for key in (stand.free, stand.minute, stand.tokens):
            group.create_task(client(key))
        for seconds in (0.05, 0.2, 0.1, 0.3):
            for line in (stand.database, stand.counters):
                await line.cut()
                await asyncio.sleep(seconds)
                await line.mend()
                await asyncio.sleep(seconds)
        over.set()
    assert found <= {(200, ""), (503, "storage_unavailable")}
    assert (200, "") in found
    await stand.well()


@SERVICES
async def test_a_rest_and_a_key_of_the_time_of_trouble_are_kept(stand: Stand) -> None:
    """What could not be stored at once is stored later; what could not be done at all is said to have failed."""
    await stand.database.cut()
    await stand.rig.program({"error": "rate_limit"})
    assert (await stand.ask(stand.free)).status == 429
    answer = await _manage(stand, "POST", "/keys", {"name": f"never {secrets.token_hex(3)}"})
    _is_unavailable(answer)
    await stand.database.mend()

    async def stored() -> bool:
        rests = await stand.rig.service.accounts._store.pauses()
        return [rest.code for rest in rests] == ["upstream_rate_limited"]

    async def up() -> bool:
        return await stand.state() == (200, "ok")

    await until_async(up)
    await until_async(stored)
    assert (await stand.ask(stand.free)).status == 429, "what was read meanwhile did not end the rest"
    name = stand.rig.own.name
    assert (await _manage(stand, "POST", f"/accounts/{name}/resume", None)).status == 200
    await stand.well()


@SERVICES
@pytest.mark.parametrize("table", ["revisions", "usage", "pauses"])
async def test_a_database_that_is_being_restored_is_waited_for(
    stand: Stand, whole_stand: tuple[Stand, str], postgres: Postgres, table: str
) -> None:
    """Its tables are away for a while: that is no reason to stop looking into it."""
    name = whole_stand[1].rpartition("/")[2]
    postgres.sql(f"ALTER TABLE {table} RENAME TO elsewhere", name)
    try:
        await stand.rig.program({"error": "rate_limit"})
        assert (await stand.ask(stand.free)).status == 429
        if table == "revisions":

            async def told() -> bool:
                return (await stand.state())[0] == 503

            await until_async(told)
    finally:
        postgres.sql(f"ALTER TABLE elsewhere RENAME TO {table}", name)

    async def up() -> bool:
        return await stand.state() == (200, "ok")

    async def stored() -> bool:
        return bool(await stand.rig.service.accounts._store.pauses())

    await until_async(up)
    await until_async(stored)
    # Another process changes something: does this one still look?
    postgres.sql("UPDATE keys SET enabled = false; UPDATE revisions SET number = number + 1", name)

    async def disabled() -> bool:
        return (await stand.rig.post(ask(), key=stand.free)).status == 401

    await until_async(disabled)
    postgres.sql("UPDATE keys SET enabled = true; UPDATE revisions SET number = number + 1", name)
    answer = await _manage(stand, "POST", f"/accounts/{stand.rig.own.name}/resume", None)
    assert answer.status == 200
    await stand.well()


async def _manage(stand: Stand, method: str, path: str, body: Json | None) -> Answer:
    key = (stand.data_dir / "bootstrap.key").read_text().strip()
    headers = {"Content_Type": "application/json"} if body is not None else {}
    return await wire.exchange(
        stand.rig.url, request_bytes(f"/api/admin{path}", body, key=key, method=method, **headers)
    )


# -- SQLite


async def test_an_sqlite_file_that_another_program_holds_is_said_to_be_held(tmp_path: Path) -> None:
    async with running(tmp_path, **QUICK, store_timeout=0.3) as rig:
        data_dir = tmp_path / "data"
        free, _ = await process.key(rig.url, data_dir, "free")
        tokens, _ = await process.key(rig.url, data_dir, "tokens", tokens_per_day=1_000_000)
        with contextlib.closing(sqlite3.connect(data_dir / "gateway.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            ids = [(await rig.post(ask(), key=free)).headers["x-request-id"] for _ in range(3)]
            answer = await rig.post(ask(), key=tokens)
            _is_unavailable(answer)
            ids.append(answer.headers["x-request-id"])
            assert (await rig.get("/livez")).status == 200
            other.execute("ROLLBACK")

        async def served() -> bool:
            return (await rig.post(ask(), key=tokens)).status == 200

        await until_async(served)
        await until(lambda: {*ids} <= {row["id"] for row in usage_rows(data_dir / "gateway.db")})


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as running_simulator:
        running_simulator.site.controlled = True
        yield running_simulator


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the files that another process has open")
async def test_a_command_beside_a_running_gateway_does_not_take_its_database_away(
    sim: Simulator, tmp_path: Path
) -> None:
    """SQLite deletes its write-ahead log with the last connection, as far as locks tell (2026-11-21: they did not)."""
    settings: Json = {"site_url": sim.url, "cookies": sim.cookies(), "api_keys": KEY}
    with process.serve(tmp_path, **settings) as gateway:

        async def ask_some() -> list[str]:
            answers = [wire.exchange(gateway.url, request_bytes(PATH, ask(), key=KEY)) for _ in range(20)]
            return [answer.headers["x-request-id"] for answer in await asyncio.gather(*answers)]

        ids = await ask_some()
        for name in ("one", "two"):
            command = [sys.executable, "-m", "qwen_gateway", "keys", "create", "--name", name]
            done = await asyncio.create_subprocess_exec(
                *command,
                env=process.environment({"data_dir": gateway.data_dir}),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            assert await done.wait() == 0
            ids += await ask_some()

        held = gateway.open_files()
        assert held
        assert [name for name in held if "gateway.db" in name and name.endswith("(deleted)")] == []

        async def both_known() -> bool:
            return {key["name"] for key in (await gateway.manage("GET", "/keys"))["keys"]} == {"one", "two"}

        await until_async(both_known)
        gateway.signal()
        assert await asyncio.to_thread(gateway.exit_code) == 0
    assert {*ids} == {row["id"] for row in usage_rows(gateway.database)}


@contextlib.contextmanager
def _full_disk(pid: int, size: int) -> Iterator[None]:
    """Meanwhile no file of the process can become larger than so many bytes."""
    import resource  # noqa: PLC0415 - Unix has it only

    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


@pytest.mark.skipif(sys.platform != "linux", reason="limits the files of another process, as Linux can")
async def test_on_a_full_disk_those_who_need_none_of_it_go_on(sim: Simulator, tmp_path: Path) -> None:
    settings: Json = {"site_url": sim.url, "cookies": sim.cookies(), "api_keys": KEY, "store_timeout": 0.5}
    with process.serve(tmp_path, **settings) as gateway:
        tokens, _ = await process.key(gateway.url, gateway.data_dir, "tokens", tokens_per_day=10_000_000)

        async def post(key: str) -> Answer:
            return await wire.exchange(gateway.url, request_bytes(PATH, ask(), key=key))

        ids: list[str] = []
        with _full_disk(gateway.pid, (gateway.data_dir / "gateway.db-wal").stat().st_size):

            async def full() -> bool:
                answer = await post(tokens)
                ids.append(answer.headers["x-request-id"])
                if answer.status == 503:
                    _is_unavailable(answer)
                return answer.status == 503

            await until_async(full)
            answers = [await post(KEY) for _ in range(5)]
            assert {answer.status for answer in answers} == {200}
            ids += [answer.headers["x-request-id"] for answer in answers]
            assert (await wire.exchange(gateway.url, request_bytes("/livez"))).status == 200

        async def served() -> bool:
            return (await post(tokens)).status == 200

        await until_async(served)
        gateway.signal()
        assert await asyncio.to_thread(gateway.exit_code) == 0
    assert {*ids} <= {row["id"] for row in usage_rows(gateway.database)}
    assert "bug" not in {line["event"] for line in gateway.lines()}
