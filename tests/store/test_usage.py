"""Usage is written once, all of it, whatever the database and the rows are like."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs
from tests import services
from tests.services import Postgres
from tests.store.rows import Flaky, row, until

from qwen_gateway.relay.ports import UsageRow, UsageSink
from qwen_gateway.store import usage as module
from qwen_gateway.store.database import Database
from qwen_gateway.store.schema import usage
from qwen_gateway.store.usage import UsageWriter
from qwen_gateway.store.usage_sums import SqlUsage


@pytest.fixture
async def flaky(url: str) -> AsyncIterator[Flaky]:
    database = Flaky(url, seconds=10)
    yield database
    await database.close()


@pytest.fixture
def own_postgres(postgres: Postgres) -> Iterator[Postgres]:
    """One to be stopped: the other tests have theirs."""
    with services.postgres(str(postgres._programs / "initdb")) as server:
        yield server


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELAY", 0.01)
    monkeypatch.setattr(module, "RETRY", 0.01)
    monkeypatch.setattr(module, "RETRY_IN_HASTE", 0.01)


def started(database: Database) -> UsageWriter:
    writer = UsageWriter(database)
    writer.start()
    return writer


async def ids(database: Database) -> list[str]:
    async def work(connection: AsyncConnection) -> list[str]:
        return list((await connection.execute(select(usage.c.id).order_by(usage.c.id))).scalars())

    return await database.read(work)


async def count(database: Database) -> int:
    async def work(connection: AsyncConnection) -> int:
        return (await connection.execute(select(func.count()).select_from(usage))).scalar_one()

    return await database.read(work)


async def test_rows_are_written_soon_without_being_asked_for(database: Database) -> None:
    writer = started(database)
    sink: UsageSink = writer
    for number in range(3):
        sink.add(row(number))
    assert writer.waiting == 3
    await until(lambda: not writer.waiting)
    assert await ids(database) == ["id 0", "id 1", "id 2"]
    sink.add(row(3))
    await until(lambda: not writer.waiting)
    assert await count(database) == 4
    await writer.close(10)


async def test_a_row_comes_back_as_it_was(database: Database) -> None:
    rows = [row(1), row(2, stream=False, estimated=True, first_event=None, at=1.25, code="невидаль")]
    writer = started(database)
    for each in rows:
        writer.add(each)
    await writer.close(10)
    assert list(await SqlUsage(database).rows(0, 2e9, 10)) == rows


async def test_closing_writes_all_that_waits_in_batches(flaky: Flaky) -> None:
    writer = started(flaky)
    for number in range(1234):
        writer.add(row(number))
    await writer.close(20)
    assert (writer.waiting, writer.dropped) == (0, 0)
    assert await count(flaky) == 1234
    assert flaky.writes == 3


async def test_rows_added_while_others_are_written_are_not_forgotten(flaky: Flaky) -> None:
    writer = started(flaky)
    flaky.held = asyncio.Event()
    writer.add(row(1))
    await until(lambda: flaky.writes == 1)
    writer.add(row(2))
    assert writer.waiting == 2
    flaky.held.set()
    await until(lambda: not writer.waiting)
    assert await count(flaky) == 2
    await writer.close(10)


async def test_closing_what_never_had_a_row_ends_at_once(database: Database) -> None:
    writer = started(database)
    await writer.close(1000)
    assert await count(database) == 0


# --- a database in trouble ---


async def test_rows_wait_while_the_database_is_away(flaky: Flaky) -> None:
    flaky.down = True
    with capture_logs() as logs:
        writer = started(flaky)
        for number in range(700):
            writer.add(row(number))
        await until(lambda: flaky.writes >= 5)
        assert writer.waiting == 700
        flaky.down = False
        await until(lambda: not writer.waiting)
    await writer.close(10)
    assert await count(flaky) == 700
    assert writer.dropped == 0
    assert [line["event"] for line in logs] == ["usage_waits", "usage_written_again"], "once, not with each try"


async def test_a_commit_whose_answer_was_lost_doubles_nothing(flaky: Flaky) -> None:
    flaky.losing = 3
    writer = started(flaky)
    rows = [row(number, input=7) for number in range(600)]
    rows.append(row("", id=""))  # has no id of its own, and keeps the one that it is given
    for each in rows:
        writer.add(each)
    await writer.close(20)
    assert flaky.losing == 0
    assert await count(flaky) == 601


async def test_rows_without_an_id_do_not_replace_one_another(database: Database) -> None:
    writer = started(database)
    for _ in range(5):
        writer.add(row("", id=""))
    await writer.close(10)
    assert await count(database) == 5


async def test_when_too_many_wait_the_oldest_go(flaky: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROOM", 10)
    flaky.down = True
    with capture_logs() as logs:
        writer = UsageWriter(flaky)
        for number in range(15):
            writer.add(row(number))
        assert (writer.waiting, writer.dropped) == (10, 5)
        writer.start()
        flaky.down = False
        await until(lambda: not writer.waiting)
        assert await ids(flaky) == sorted(f"id {number}" for number in range(5, 15))
        assert [line["log_level"] for line in logs if line["event"] == "usage_rows_dropped"] == ["error"]
        flaky.held = asyncio.Event()
        for number in range(20, 32):
            writer.add(row(number))
        flaky.held.set()
        await writer.close(10)
    assert writer.dropped == 7
    assert len([line for line in logs if line["event"] == "usage_rows_dropped"]) == 2, "once for each outage"


@pytest.mark.parametrize("trouble", ["down", "silent"])
async def test_closing_does_not_wait_for_a_database_that_stays_away(flaky: Flaky, trouble: str) -> None:
    writer = started(flaky)
    if trouble == "down":
        flaky.down = True
    else:
        flaky.held = asyncio.Event()
    writer.add(row(1))
    with capture_logs() as logs:
        await writer.close(0.1)
    assert logs[-1] == {"event": "usage_rows_lost", "log_level": "error", "rows": 1}


async def test_a_database_that_comes_back_while_we_close_gets_all(flaky: Flaky) -> None:
    flaky.down = True
    writer = started(flaky)
    for number in range(10):
        writer.add(row(number))
    closing = asyncio.create_task(writer.close(30))
    seen = flaky.writes
    await until(lambda: flaky.writes > seen + 2)
    flaky.down = False
    await closing
    assert await count(flaky) == 10


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # PostgreSQL locks no files
async def test_a_locked_sqlite_file(url: str) -> None:
    database = Database(url, seconds=0.2)
    other = sqlite3.connect(database.url.database or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer = started(database)
    with capture_logs() as logs:
        writer.add(row(1))
        await until(lambda: bool(logs))
        assert (logs[0]["event"], writer.waiting) == ("usage_waits", 1)
        other.execute("ROLLBACK")
        other.close()
        await writer.close(20)
    assert await count(database) == 1
    await database.close()


@pytest.mark.needs("postgresql")
async def test_a_postgresql_that_is_restarted(own_postgres: Postgres) -> None:
    with own_postgres.fresh_database() as url:
        database = Database(url, seconds=5)
        writer = started(database)
        writer.add(row(1))
        await until(lambda: not writer.waiting)
        await asyncio.to_thread(own_postgres.stop)
        with capture_logs() as logs:
            for number in range(2, 600):
                writer.add(row(number))
            await until(lambda: bool(logs))
            await asyncio.to_thread(own_postgres.start)
            await until(lambda: not writer.waiting)
        assert await count(database) == 599
        assert writer.dropped == 0
        await writer.close(10)
        await database.close()


# --- rows in trouble ---

ODD: list[UsageRow] = [
    row("nul", asked_model="a\0b", key="\0"),
    row("half of a pair", model="\ud83d", code="\udfff"),
    row("too long", model="m" * 10_000, asked_model="ж" * 10_000, key="k" * 5000, end="e" * 500),
    row("huge", input=2**200, output=2**63, tries=10**40, status=2**31),
    row("negative", input=-5, output=-(2**99), reasoning=-1, tries=-3),
    row("no number", input=float("nan"), output=float("inf"), reasoning=float("-inf"), cached=1.9),
    row("nothing", input=None, output="12", status=None, key=None, stream=None),
    row("no time", first_event=float("nan"), duration=float("nan"), queued=float("inf"), added=-1.0),
    row("no time at all", at=float("nan"), first_event=10**400, duration=10**400),
    row("x" * 3000),
    row("\0"),
    row("\ud800"),
]


async def test_odd_rows_are_written_with_all_others(flaky: Flaky) -> None:
    writer = started(flaky)
    for each in [row(1), *ODD, row(2)]:
        writer.add(each)
    await writer.close(10)
    assert await count(flaky) == len(ODD) + 2
    assert (writer.dropped, flaky.writes) == (0, 1)


async def test_odd_rows_block_no_other_even_where_nothing_is_done_about_them(
    flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `encode` may not know of: each engine refuses others, with errors of many classes."""
    monkeypatch.setattr(module, "encode", msgspec.structs.astuple)
    odd = [each for each in ODD if each.id != "\0"]
    writer = started(flaky)
    for each in [row(1), *odd, row(2)]:
        writer.add(each)
    with capture_logs() as logs:
        await writer.close(10)
    written = await count(flaky)
    assert {"id 1", "id 2"} <= set(await ids(flaky))
    assert written + writer.dropped == len(odd) + 2
    assert writer.dropped >= 4
    assert {line["event"] for line in logs} == {"usage_row_refused"}


async def test_a_table_that_is_not_there_yet_costs_no_row(flaky: Flaky) -> None:
    await flaky.write(lambda connection: connection.execute(text("ALTER TABLE usage RENAME TO elsewhere")))
    writer = started(flaky)
    writer.add(row(1))
    await until(lambda: flaky.writes >= 3)
    await flaky.write(lambda connection: connection.execute(text("ALTER TABLE elsewhere RENAME TO usage")))
    await writer.close(10)
    assert await count(flaky) == 1


async def test_a_row_that_the_database_refuses_blocks_no_other(flaky: Flaky) -> None:
    await flaky.write(lambda connection: forbid(connection, "refused", sqlite=flaky.is_sqlite))
    flaky.writes = 0
    writer = started(flaky)
    with capture_logs() as logs:
        for number in range(1, 1001):
            writer.add(row(number, model="refused" if number == 77 else "taken"))
        await writer.close(30)
    assert writer.dropped == 1
    assert await count(flaky) == 999
    assert [(line["event"], line["id"]) for line in logs] == [("usage_row_refused", "id 77")]
    assert flaky.writes == 1 + 500 + 1, "one by one only where there is a bad one"


async def forbid(connection: AsyncConnection, model: str, *, sqlite: bool) -> None:
    if sqlite:
        refuse = f"WHEN new.model = '{model}' BEGIN SELECT RAISE(ABORT, 'refused'); END"
        await connection.execute(text(f"CREATE TRIGGER refusing BEFORE INSERT ON usage {refuse}"))
    else:
        await connection.execute(text(f"ALTER TABLE usage ADD CONSTRAINT refusing CHECK (model <> '{model}')"))
