"""One row of usage for each accepted request, whatever becomes of it, of its client, or of the process."""

import asyncio
import contextlib
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path

import pytest

from qwen_gateway.relay import accounts
from qwen_gateway.simulator import Simulator
from qwen_gateway.simulator.site import Site

from . import process, wire
from .process import usage_rows
from .rig import KEY, QUICK, Rig, running, until
from .test_faults import AFTER, BEFORE, SECONDS, SETTINGS, TEXT, Case, each
from .wire import MODEL, Answer, Json, ask, request_bytes

pytestmark = pytest.mark.timeout(120)  # the first test waits for all cases
PATH = "/v1/chat/completions"
LONG: Json = {"text": "word " * 2000, "delay_ms": 20, "sticky": True}
CASES = [*BEFORE[::4], *BEFORE[3::4], *(case for case in AFTER if case[1])]
"""Each fault before the first words, one streamed and the next not, and in the midst of a stream."""


def _name(case: Case) -> str:
    name, stream, after = case
    return f"{name}-{'stream' if stream else 'whole'}-{'before' if after is None else 'after'}"


# -- every fault of the site


@dataclass
class Told:
    """answer: what the client got. asked: how often the site was asked. account: of whom."""

    answer: Answer
    asked: int

    @property
    def id(self) -> str:
        return self.answer.headers["x-request-id"]

    @property
    def error(self) -> Json | None:
        if self.answer.headers["content-type"].startswith("text/event-stream"):
            return self.answer.stream().error
        return self.answer.json().get("error")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[Case, Told], list[Json]]:
    """What clients were told in each case, and all rows of the usage afterwards."""
    directory = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "MAX_BROUGHT", 10_000)
        told = asyncio.run(_every_fault(directory))
    return told, usage_rows(directory / "data" / "gateway.db")


async def _every_fault(directory: Path) -> dict[Case, Told]:
    async with running(directory, own=False, **SETTINGS) as rig:

        async def run(case: Case) -> Told:
            name, stream, after = case
            prompt = f"<{name} {stream} {after}>"
            turn: Json = {"match": prompt, "text": TEXT, "error": name, "sticky": True, "seconds": SECONDS.get(name, 4)}
            await rig.program(turn | ({} if after is None else {"after_chunks": after}))
            answer = await rig.post(ask(prompt, stream=stream), key=rig.sim.token(prompt))
            return Told(answer, sum(seen.prompt == prompt for seen in rig.sim.site.seen))

        async with asyncio.timeout(100):
            return await each(rig, CASES, run, 24)


def test_there_is_one_row_for_each_request_whatever_the_site_did(
    faulty: tuple[dict[Case, Told], list[Json]],
) -> None:
    told, rows = faulty
    assert sorted(row["id"] for row in rows) == sorted(one.id for one in told.values())


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_a_row_says_what_the_client_was_told(faulty: tuple[dict[Case, Told], list[Json]], case: Case) -> None:
    told = faulty[0][case]
    (row,) = (row for row in faulty[1] if row["id"] == told.id)
    assert (row["endpoint"], row["stream"], row["asked_model"], row["model"]) == ("openai_chat", case[1], MODEL, MODEL)
    assert (row["key"], len(row["account"])) == ("", 12)
    # One try may not have reached the site: on a connection that `f06` left spoiled, or with next to no time left.
    assert told.asked <= row["tries"] <= told.asked + 1
    if (error := told.error) is None:
        assert (row["status"], row["end"], row["code"]) == (200, "finished", "")
        assert row["input"] > 0
        assert row["output"] > 0
        assert row["first_event"] is not None
    else:
        assert (row["end"], row["code"]) == ("failed", error["code"])
        assert row["status"] >= 400
        assert told.answer.status in (row["status"], 200)
    assert 0 <= (row["first_event"] or 0) <= row["duration"]
    assert 0 <= row["added"] <= row["duration"]
    assert row["queued"] >= 0


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_tokens_are_the_sites_or_marked_as_estimated(faulty: tuple[dict[Case, Told], list[Json]], case: Case) -> None:
    told = faulty[0][case]
    (row,) = (row for row in faulty[1] if row["id"] == told.id)
    from_site = row["input"] >= 1000  # the simulator counts that many for what the site adds to a prompt
    assert row["estimated"] == (not from_site and row["input"] > 0)
    if row["first_event"] is not None:
        assert row["output"] > 0
    if row["input"] == 0:
        assert row["output"] == row["reasoning"] == row["cached"] == 0


# -- clients that leave, and requests that are refused


@pytest.fixture
async def counted(tmp_path: Path) -> AsyncIterator[tuple[Rig, Path]]:
    """A rig and its database."""
    async with running(tmp_path, **QUICK) as rig:
        yield rig, tmp_path / "data" / "gateway.db"


async def _rows(database: Path, count: int) -> list[Json]:
    """All rows, as soon as there are as many."""
    await until(lambda: len(usage_rows(database)) >= count)
    return usage_rows(database)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_client_that_leaves_has_its_row_whenever_it_leaves(counted: tuple[Rig, Path], stream: bool) -> None:
    rig, database = counted
    site = rig.sim.site
    body = request_bytes(PATH, ask(stream=stream), key=KEY)
    # Before its request is whole.
    async with wire.connection(rig.url) as (_, writer):
        writer.write(body[:-5])
        await until(lambda: rig.service.in_flight == 1)
    await until(lambda: rig.service.in_flight == 0)
    # Before the site answers, before the first word, and in the middle of the answer.
    for number, turn in enumerate((LONG | {"first_byte_ms": 5000}, LONG | {"delay_ms": 1000}, LONG)):
        site.queue.clear()
        await rig.program(turn)
        async with wire.connection(rig.url) as (_, writer):
            writer.write(body)
            await until(lambda number=number: len(site.seen) == number + 1)  # type: ignore[misc]
            if number == 1:
                await until(lambda: site.seen[-1].first_byte is not None)
            elif number == 2:
                await until(lambda: _words(site) > 5)
        await rig.settle()
    rows = await _rows(database, 4)
    assert [(row["end"], row["code"], row["status"]) for row in rows] == [("client_left", "client_left", 499)] * 4
    assert [row["tries"] for row in rows] == [0, 1, 1, 1]
    assert [row["model"] for row in rows] == ["", MODEL, MODEL, MODEL]
    assert rows[0]["input"] == rows[0]["output"] == 0
    last = rows[-1]
    assert last["first_event"] is not None
    assert last["output"] >= 5, "what was written until then counts"


def _words(site: Site) -> int:
    """Said so far in the latest answer."""
    nodes = site.chats[site.seen[-1].chat_id].nodes.values()
    return max(node.content.count("word") for node in nodes)


async def test_refused_requests_have_rows_and_those_of_strangers_none(counted: tuple[Rig, Path]) -> None:
    rig, database = counted
    limited, limited_id = await process.key(rig.url, database.parent, "limited", requests_per_minute=1)
    refused = {
        (await rig.post(body)).headers["x-request-id"]: (status, code)
        for body, status, code in (
            (b"{", 400, "invalid_json"),
            (b"[]", 400, "invalid_json"),
            ({"model": MODEL}, 400, "missing_required_parameter"),
            (ask(n=0), 400, "unsupported_value"),
            ({**ask(), "model": "gpt-unheard-of"}, 404, "model_not_found"),
            (ask("x" * 200_000), 400, "context_length_exceeded"),
        )
    }
    assert (await rig.post(ask(), key=limited)).status == 200
    answer = await rig.post(ask(), key=limited)
    refused[answer.headers["x-request-id"]] = (429, "rate_limit_exceeded")
    for wrong in (None, "wrong", limited[:-1]):
        assert (await rig.post(ask(), key=wrong)).status == 401
    assert (await rig.post(ask(), Host="evil.example")).status == 403
    assert (await rig.get("/v1/models")).status == 200
    await rig.settle()
    assert (await rig.post(ask())).status == 200  # its row is written after all others
    rows = await _rows(database, len(refused) + 2)
    assert len(rows) == len(refused) + 2
    found = {row["id"]: (row["status"], row["code"]) for row in rows if row["end"] == "refused"}
    assert found == refused
    assert {row["tries"] for row in rows if row["end"] == "refused"} == {0}
    assert [row["key"] for row in rows].count(limited_id) == 2
    assert all(row["key"] for row in rows)


async def test_rows_that_are_too_old_are_gone_after_a_start(tmp_path: Path) -> None:
    database = tmp_path / "data" / "gateway.db"
    async with running(tmp_path, **QUICK) as rig:
        answer = await rig.post(ask())
        (row,) = await _rows(database, 1)
    day = 86_400.0
    ages = {"fresh": 0.5, "last": 6.9, "over": 7.1, "ancient": 400.0}
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        columns = ", ".join(f'"{name}"' for name in row)
        for name, days in ages.items():
            values = [*(row | {"id": name, "at": time.time() - days * day}).values()]
            connection.execute(f"INSERT INTO usage ({columns}) VALUES ({', '.join('?' * len(row))})", values)  # noqa: S608 - the names are the table's own
    async with running(tmp_path, **QUICK, usage_days=7):
        await until(lambda: len(usage_rows(database)) == 3)
    assert {row["id"] for row in usage_rows(database)} == {"fresh", "last", answer.headers["x-request-id"]}


# -- the end of the process


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as running_simulator:
        running_simulator.site.controlled = True
        yield running_simulator


async def _program(sim: Simulator, *turns: Json) -> None:
    assert (await wire.exchange(sim.url, request_bytes("/__sim/program", {"turns": list(turns)}))).status == 200


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
async def test_all_rows_of_running_answers_are_there_after_sigterm(sim: Simulator, tmp_path: Path) -> None:
    settings: Json = {"site_url": sim.url, "cookies": sim.cookies(), "api_keys": KEY, "drain_seconds": 0.5}
    with process.serve(tmp_path, **settings) as gateway:
        short: Json = {"match": "short", "text": "word " * 30, "delay_ms": 10, "sticky": True}
        await _program(sim, short, LONG)
        bodies = [ask("short" if n < 5 else "long", stream=n % 2 == 0) for n in range(30)]
        asked = [asyncio.create_task(wire.exchange(gateway.url, request_bytes(PATH, body, key=KEY))) for body in bodies]
        await until(lambda: len(sim.site.seen) == 30 and all(seen.first_byte for seen in sim.site.seen), 10)
        gateway.signal()
        answers = await asyncio.gather(*asked)
        assert await asyncio.to_thread(gateway.exit_code) == 0
        rows = {row["id"]: row for row in usage_rows(gateway.database)}
    assert sorted(rows) == sorted(answer.headers["x-request-id"] for answer in answers)
    ends = [
        (rows[answer.headers["x-request-id"]]["end"], rows[answer.headers["x-request-id"]]["code"])
        for answer in answers
    ]
    assert ends == [("finished", "")] * 5 + [("failed", "draining")] * 25
    assert all(row["output"] > 0 for row in rows.values())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes in another way")
async def test_a_kill_loses_no_row_of_a_request_that_ended_a_second_before(sim: Simulator, tmp_path: Path) -> None:
    settings: Json = {"site_url": sim.url, "cookies": sim.cookies(), "api_keys": KEY}
    await _program(sim, {"text": "word " * 10, "delay_ms": 2, "sticky": True})
    ended: dict[str, float] = {}
    lost: dict[str, float] = {}

    async def client(url: str) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                answer = await wire.exchange(url, request_bytes(PATH, ask(stream=True), key=KEY))
                if answer.whole:
                    ended[answer.headers["x-request-id"]] = time.monotonic()

    for extra in (0.0, 0.13):
        begun = len(ended)
        with process.serve(tmp_path, **settings) as gateway:
            clients = [asyncio.create_task(client(gateway.url)) for _ in range(6)]
            await until(lambda begun=begun: len(ended) > begun)  # type: ignore[misc]
            await asyncio.sleep(1.25 + extra)  # so that some requests ended more than a second ago
            killed = time.monotonic()
            gateway.process.kill()
            await asyncio.gather(*clients)
        written = [row["id"] for row in usage_rows(gateway.database)]
        assert len(written) == len(set(written))
        missing = {one: at for one, at in ended.items() if one not in written and one not in lost}
        assert min(missing.values(), default=killed) >= killed - 1, _life(
            gateway, killed, missing, [*ended.items()][begun:]
        )
        lost |= missing
    assert len(ended) > 50


def _life(gateway: process.Gateway, killed: float, missing: Collection[str], ended: list[tuple[str, float]]) -> str:
    """Tells a row that was lost from a batch that was late: which rows of this life are there, and what its log says of
    the first that is not, and of anything but requests. ended: its requests, and when they ended."""
    log = gateway.lines()
    first = next((one for one, _ in ended if one in missing), "")
    told = [line for line in log if line["event"] != "request" or line["request_id"] == first]
    rows = [f"{killed - at:.3f} s before: {'MISSING' if one in missing else 'written'} {one}" for one, at in ended]
    return "\n".join([*rows, *map(str, told)])
