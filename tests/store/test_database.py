"""Databases that are slow, dead, full, locked or back again, and callers that leave."""

import asyncio
import os
import random
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import QueuePool
from tests.services import Postgres

from qwen_gateway.store.database import Database
from qwen_gateway.turn.faults import NameTaken, StorageUnavailable

from .conftest import SECONDS

SHORT = 0.5
"""Seconds of a database that is going to fail."""
FAR_TOO_LONG = 20.0
"""Seconds after which something hangs."""
PASSWORD = "canary-of-the-url"


async def number(connection: AsyncConnection) -> int:
    return int((await connection.execute(text("SELECT number FROM revisions WHERE name = 'keys'"))).scalar_one())


async def one(connection: AsyncConnection) -> int:
    return int((await connection.execute(text("SELECT 1"))).scalar_one())


async def raise_number(connection: AsyncConnection) -> None:
    await connection.execute(text("UPDATE revisions SET number = number + 1 WHERE name = 'keys'"))


def pool(database: Database) -> QueuePool:
    found = database._engine.sync_engine.pool
    assert isinstance(found, QueuePool)
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(FAR_TOO_LONG):
        while not condition():
            await asyncio.sleep(0.01)


async def why(work: Awaitable[object]) -> str:
    """What the database says when it cannot, with all that a log could show of it."""
    with pytest.raises(StorageUnavailable) as caught:
        async with asyncio.timeout(FAR_TOO_LONG):
            await work
    shown: BaseException | None = caught.value
    while shown is not None:
        assert PASSWORD not in f"{shown!s} {shown!r}"
        shown = shown.__cause__ or shown.__context__
    assert caught.value.retryable
    assert caught.value.retry_after == 2
    assert "Try again in a moment." in caught.value.text
    return caught.value.text


async def test_what_is_written_can_be_read(database: Database) -> None:
    await database.write(raise_number)
    assert await database.read(number) == 1


async def test_what_a_failing_work_did_is_undone_and_its_fault_comes_out(database: Database) -> None:
    async def work(connection: AsyncConnection) -> None:
        await raise_number(connection)
        raise NameTaken("taken")

    with pytest.raises(NameTaken, match="taken"):
        await database.write(work)
    assert await database.read(number) == 0
    await database.write(raise_number)
    assert await database.read(number) == 1


async def test_wrong_statements_and_values_are_no_fault_of_the_database(database: Database) -> None:
    insert = text("INSERT INTO revisions (name, number) VALUES (:name, 1)")
    with pytest.raises(IntegrityError) as caught:
        await database.write(lambda c: c.execute(insert, {"name": "keys"}))
    assert "[SQL parameters hidden" in str(caught.value)
    assert await database.read(number) == 0


@pytest.mark.needs("postgresql")
@pytest.mark.parametrize(("statement", "value"), [
    ("SELECT * FROM nothing WHERE name = :value", "x"),
    ("UPDATE revisions SET name = :value", "x" * 21),
    ("UPDATE revisions SET name = :value", "a\0b"),
    ("UPDATE revisions SET number = :value", 2**70),
    ("UPDATE revisions SET number = :value", "one"),
])  # fmt: skip
async def test_what_postgresql_or_its_driver_finds_wrong_with_a_statement_is_raised_as_it_is(
    fresh_database: Callable[..., str], statement: str, value: object
) -> None:
    database = Database(fresh_database(), seconds=SECONDS)
    with pytest.raises(DBAPIError):
        await database.write(lambda c: c.execute(text(statement), {"value": value}))
    assert await database.read(number) == 0
    await database.close()


@pytest.mark.needs("postgresql")
async def test_a_user_who_may_not_is_named_as_that(postgres: Postgres, fresh_database: Callable[..., str]) -> None:
    url = make_url(fresh_database())
    postgres.sql("CREATE ROLE guest LOGIN")
    database = Database(url.set(username="guest"), seconds=SECONDS)
    assert "refuses this to the user" in await why(database.read(number))
    await database.close()
    postgres.sql("DROP ROLE guest")


async def test_writers_of_one_process_stand_in_line(database: Database) -> None:
    await asyncio.gather(*(database.write(raise_number) for _ in range(40)))
    assert await database.read(number) == 40


async def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    free = asyncio.Event()

    async def slow(connection: AsyncConnection) -> None:
        await raise_number(connection)
        await free.wait()

    writing = asyncio.create_task(database.write(slow))
    assert [await database.read(number) for _ in range(3)] == [0, 0, 0]
    free.set()
    await writing
    assert await database.read(number) == 1


async def test_a_caller_that_leaves_does_not_stop_the_work(database: Database) -> None:
    begun, free = asyncio.Event(), asyncio.Event()

    async def work(connection: AsyncConnection) -> None:
        await raise_number(connection)
        begun.set()
        await free.wait()

    caller = asyncio.create_task(database.write(work))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    free.set()
    await until(lambda: not database._tasks)
    assert await database.read(number) == 1


async def test_the_failure_of_a_work_whose_caller_has_left_bothers_nobody(database: Database) -> None:
    begun, free = asyncio.Event(), asyncio.Event()

    async def work(_: AsyncConnection) -> None:
        begun.set()
        await free.wait()
        raise NameTaken("taken")

    said: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    caller = asyncio.create_task(database.write(work))
    await begun.wait()
    caller.cancel()
    free.set()
    await until(lambda: not database._tasks)
    del caller
    await asyncio.sleep(0)
    assert said == []


async def test_two_hundred_callers_that_leave_lose_no_connection_and_tear_no_transaction(database: Database) -> None:
    chance = random.Random(4)  # noqa: S311 - the same each time

    async def pair(connection: AsyncConnection) -> None:
        await raise_number(connection)
        await raise_number(connection)

    for _ in range(4):
        callers = [
            asyncio.create_task(database.write(pair) if chance.random() < 0.5 else database.read(number))
            for _ in range(50)
        ]
        for caller in chance.sample(callers, 50):
            await asyncio.sleep(chance.random() * 0.004)
            caller.cancel()
        ended = await asyncio.gather(*callers, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError | int | None) for end in ended)
    await until(lambda: not database._tasks)
    assert pool(database).checkedout() == 0
    assert await database.read(number) % 2 == 0
    assert await asyncio.gather(*(database.read(one) for _ in range(20))) == [1] * 20


@pytest.mark.needs("postgresql")
async def test_a_command_that_is_cut_off_by_the_bound_takes_its_connection_with_it(
    fresh_database: Callable[..., str],
) -> None:
    database = Database(fresh_database(), seconds=SHORT)
    opened: list[object] = []
    event.listen(database._engine.sync_engine, "connect", lambda connection, _: opened.append(connection))

    async def work(connection: AsyncConnection) -> None:
        await raise_number(connection)
        await connection.execute(text("SELECT pg_sleep(30)"))

    assert "no answer within 0.5 s" in await why(database.write(work))
    await until(lambda: not database._tasks)
    assert pool(database).checkedout() == 0
    assert await database.read(number) == 0
    assert len(opened) == 2
    await database.write(raise_number)
    assert await database.read(number) == 1
    await database.close()


async def test_work_that_takes_too_long_beside_the_database_is_undone(url: str) -> None:
    database = Database(url, seconds=SHORT)

    async def work(connection: AsyncConnection) -> None:
        await raise_number(connection)
        await asyncio.sleep(FAR_TOO_LONG)

    assert "no answer within 0.5 s" in await why(database.write(work))
    await database.write(raise_number)
    assert await database.read(number) == 1
    await database.close()


async def test_a_statement_of_sqlite_that_takes_too_long_is_ended_and_leaves_no_lock(made: Database) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"

    async def work(connection: AsyncConnection) -> None:
        await raise_number(connection)
        await connection.execute(text(endless))

    assert "it takes too long" in await why(made.write(work))
    assert "it takes too long" in await why(made.read(lambda c: c.execute(text(endless))))
    await made.write(raise_number)
    assert await made.read(number) == 1


async def test_more_work_than_connections_waits_and_then_says_so(url: str) -> None:
    database = Database(url, seconds=SHORT)

    async def slow(_: AsyncConnection) -> None:
        await asyncio.sleep(FAR_TOO_LONG)

    slow_ones = [asyncio.create_task(why(database.read(slow))) for _ in range(10)]
    await asyncio.sleep(0)
    assert "too much is asked of it at once" in await why(database.read(one))
    await asyncio.gather(*slow_ones)
    await until(lambda: not database._tasks)
    assert await database.read(one) == 1
    await database.close()


async def test_a_closed_database_says_so_and_opens_nothing(url: str) -> None:
    database = Database(url, seconds=SECONDS)
    writing = asyncio.create_task(database.write(raise_number))
    await asyncio.sleep(0)
    await database.close()
    await writing
    assert "is ending" in await why(database.read(one))
    assert pool(database).checkedin() == 0


def test_the_password_of_the_url_is_not_shown() -> None:
    database = Database(f"postgresql+asyncpg://user:{PASSWORD}@host/name", seconds=1)
    assert PASSWORD not in f"{database!r} {database.url!r} {database.url!s} {vars(database)!r}"


@pytest.mark.parametrize(("given", "used"), [
    ("sqlite:////data/gateway.sqlite3", "sqlite+aiosqlite:////data/gateway.sqlite3"),
    ("postgres://host/name", "postgresql+asyncpg://host/name"),
    ("postgresql://host/name?sslmode=require", "postgresql+asyncpg://host/name?ssl=require"),
    ("postgresql+asyncpg://host/name?ssl=verify-full", "postgresql+asyncpg://host/name?ssl=verify-full"),
])  # fmt: skip
def test_a_url_may_be_as_the_servers_own_programs_take_it(given: str, used: str) -> None:
    assert str(Database(given, seconds=1).url) == used


def test_without_its_driver_postgresql_is_refused_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ModuleNotFoundError, match=r"qwen-gateway\[postgres\]"):
        Database("postgresql://host/name", seconds=1)


# PostgreSQL


@contextmanager
def tarpit() -> Iterator[str]:
    """The URL of a listener that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"postgresql+asyncpg://user:{PASSWORD}@127.0.0.1:{listener.getsockname()[1]}/name"


@asynccontextmanager
async def flapping(port: int, packets: Callable[[], int]) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A port that leads to that one over connections which break after so many packets; not once the event is set."""
    steady = asyncio.Event()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        left = packets()

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            nonlocal left
            while (data := await source.read(65536)) and (left > 0 or steady.is_set()):
                left -= 1
                target.write(data)
            for side in (writer, there_writer):
                side.transport.abort()

        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], steady


async def test_a_server_that_accepts_and_never_answers_holds_nobody_up() -> None:
    tasks = asyncio.all_tasks()
    with tarpit() as url:
        database = Database(url, seconds=SHORT)
        for _ in range(3):
            said = await asyncio.gather(*(why(database.read(one)) for _ in range(20)))
            assert all("no answer within 0.5 s" in text or "too much" in text for text in said)
        await until(lambda: not database._tasks)
        assert pool(database).checkedout() == 0
        await database.close()
    await until(lambda: asyncio.all_tasks() == tasks)


async def test_a_place_where_nobody_listens_is_named_as_that() -> None:
    with socket.socket() as unheard:  # bound, and not listening
        unheard.bind(("127.0.0.1", 0))
        url = f"postgresql+asyncpg://user:{PASSWORD}@127.0.0.1:{unheard.getsockname()[1]}/name"
        database = Database(url, seconds=SECONDS)
        assert "nobody listens there" in await why(database.read(one))
        await database.close()


@pytest.mark.needs("postgresql")
async def test_a_database_that_does_not_exist_is_named_as_that(postgres: Postgres) -> None:
    database = Database(postgres.url("nowhere"), seconds=SECONDS)
    assert "no database of this name" in await why(database.read(one))
    await database.close()


@pytest.fixture(scope="module")
def own() -> Iterator[Postgres]:
    """A server that tests may stop, if they start it again."""
    from tests.conftest import _find  # noqa: PLC0415
    from tests.services import postgres as running  # noqa: PLC0415

    program = _find("postgresql")
    assert program is not None
    with running(program, "max_connections=8", "superuser_reserved_connections=0") as server:
        yield server


@pytest.fixture
async def shaky(own: Postgres) -> AsyncIterator[Database]:
    database = Database(own.url(), seconds=2.0)
    yield database
    await database.close()


@pytest.mark.needs("postgresql")
async def test_work_goes_on_by_itself_each_time_the_server_is_back(own: Postgres, shaky: Database) -> None:
    for _ in range(2):
        assert await asyncio.gather(*(shaky.read(one) for _ in range(6))) == [1] * 6
        own.stop()
        assert "nobody listens there" in await why(shaky.read(one))
        own.start()
        assert await asyncio.gather(*(shaky.read(one) for _ in range(6))) == [1] * 6


@pytest.mark.needs("postgresql")
async def test_nobody_notices_that_the_server_was_away_while_nobody_asked(own: Postgres, shaky: Database) -> None:
    assert await asyncio.gather(*(shaky.read(one) for _ in range(6))) == [1] * 6
    own.stop()
    own.start()
    assert [await shaky.read(one) for _ in range(6)] == [1] * 6


@pytest.mark.needs("postgresql")
async def test_over_a_network_that_breaks_again_and_again_work_is_done_or_unavailable(
    fresh_database: Callable[..., str],
) -> None:
    chance = random.Random(7)  # noqa: S311 - the same each time
    url = make_url(fresh_database())
    async with flapping(url.port or 0, lambda: chance.randrange(100)) as (port, steady):
        database = Database(url.set(port=port), seconds=SECONDS)
        done = failed = 0
        for _ in range(12):
            works = [database.write(raise_number) if n % 2 else database.read(number) for n in range(10)]
            for end in await asyncio.gather(*works, return_exceptions=True):
                assert isinstance(end, int | None | StorageUnavailable), repr(end)
                failed += isinstance(end, StorageUnavailable)
                done += not isinstance(end, StorageUnavailable)
        assert min(done, failed) > 5
        steady.set()
        await asyncio.gather(*(database.read(one) for _ in range(10)), return_exceptions=True)
        assert await asyncio.gather(*(database.read(one) for _ in range(10))) == [1] * 10
        assert pool(database).checkedout() == 0
        await database.close()


@pytest.mark.needs("postgresql")
async def test_a_server_that_ends_in_the_middle_of_a_command_is_a_broken_connection(
    own: Postgres, shaky: Database
) -> None:
    begun = asyncio.Event()

    async def slow(connection: AsyncConnection) -> None:
        begun.set()
        await connection.execute(text("SELECT pg_sleep(1.5)"))

    working = asyncio.create_task(why(shaky.write(slow)))
    await begun.wait()
    await asyncio.to_thread(own.stop)
    assert "connection broke" in (said := await working) or "is ending" in said
    own.start()
    assert await shaky.read(one) == 1


@pytest.mark.needs("postgresql")
async def test_a_server_that_stands_still_holds_nobody_up_and_works_again_when_it_moves(
    own: Postgres, shaky: Database
) -> None:
    assert await shaky.read(one) == 1
    ours = await shaky.read(lambda c: c.execute(text("SELECT pg_backend_pid()")))
    still = (own.pid, int(ours.scalar_one()))
    for pid in still:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert "no answer within 2 s" in await why(shaky.read(one))
    finally:
        for pid in still:
            os.kill(pid, signal.SIGCONT)
    await until(lambda: not shaky._tasks)
    assert await shaky.read(one) == 1
    assert pool(shaky).checkedout() == 0


@pytest.mark.needs("postgresql")
async def test_a_server_with_too_many_connections_is_named_as_that(own: Postgres, shaky: Database) -> None:
    greedy = Database(own.url(), seconds=SECONDS)
    free, held = asyncio.Event(), 0

    async def hold(connection: AsyncConnection) -> None:
        nonlocal held
        await one(connection)
        held += 1
        await free.wait()

    holding = [asyncio.create_task(greedy.read(hold)) for _ in range(8)]
    await until(lambda: held == 8)
    assert "too many connections" in await why(shaky.read(one))
    free.set()
    await asyncio.gather(*holding)
    await greedy.close()
    assert await shaky.read(one) == 1


# SQLite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "gateway.sqlite3"


@pytest.fixture
async def made(path: Path) -> AsyncIterator[Database]:
    """With a table and one row, and little patience."""
    database = Database(f"sqlite+aiosqlite:///{path}", seconds=1.0)

    async def make(connection: AsyncConnection) -> None:
        await connection.execute(text("CREATE TABLE revisions (name TEXT PRIMARY KEY, number INTEGER)"))
        await connection.execute(text("INSERT INTO revisions VALUES ('keys', 0)"))

    await database.write(make)
    yield database
    await database.close()


async def test_a_file_that_another_program_has_locked_is_named_as_that(path: Path, made: Database) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "another program holds its file locked" in await why(made.write(raise_number))
        assert await made.read(number) == 0
        other.execute("COMMIT")
    await made.write(raise_number)
    assert await made.read(number) == 1


async def test_work_that_reads_before_it_writes_waits_for_its_turn_and_loses_nothing(made: Database) -> None:
    both = [Database(made.url, seconds=SECONDS) for _ in range(2)]

    async def count(connection: AsyncConnection) -> None:
        found = await number(connection)
        await connection.execute(text("UPDATE revisions SET number = :next"), {"next": found + 1})

    await asyncio.gather(*(both[n % 2].write(count) for n in range(40)))
    assert await made.read(number) == 40
    for database in both:
        await database.close()


async def test_a_full_disk_is_named_as_that_and_tears_nothing(made: Database) -> None:
    limit = "PRAGMA max_page_count = 8"
    event.listen(made._engine.sync_engine, "checkout", lambda connection, *_: connection.cursor().execute(limit))

    async def fill(connection: AsyncConnection) -> None:
        await raise_number(connection)
        await connection.execute(text("CREATE TABLE big AS SELECT randomblob(100000) AS data"))

    assert "the disk is full" in await why(made.write(fill))
    assert await made.read(number) == 0
    await made.write(raise_number)
    assert await made.read(number) == 1


async def test_a_file_that_cannot_be_written_is_named_as_that(path: Path, made: Database) -> None:
    await made.write(raise_number)
    readonly = Database(f"sqlite+aiosqlite:///file:{path}?mode=ro&uri=true", seconds=1.0)
    assert await readonly.read(number) == 1
    assert "its file cannot be written" in await why(readonly.write(raise_number))
    await readonly.close()


async def test_a_file_of_another_kind_is_named_as_that(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"something else" * 100)
    database = Database(f"sqlite+aiosqlite:///{path}", seconds=1.0)
    with pytest.raises(StorageUnavailable, match="no SQLite database") as caught:
        await database.read(one)
    check_that_waiting_is_not_advised(caught.value)
    await database.close()


async def test_a_damaged_file_is_named_as_that(path: Path, made: Database) -> None:
    await made.write(raise_number)
    await made.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    database = Database(made.url, seconds=SECONDS)
    with pytest.raises(StorageUnavailable, match="file is damaged") as caught:
        await database.read(number)
    check_that_waiting_is_not_advised(caught.value)
    await database.close()


def check_that_waiting_is_not_advised(fault: StorageUnavailable) -> None:
    assert "again in a moment" not in fault.text
    assert "backup" in fault.text
    assert (fault.retryable, fault.retry_after) == (False, None)


async def test_a_folder_that_cannot_be_made_is_named_as_that(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'data' / 'gateway.sqlite3'}", seconds=1.0)
    assert await why(database.read(one)) != ""
    await database.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
async def test_nobody_else_may_read_the_file_or_what_lies_beside_it(path: Path, made: Database) -> None:
    await made.write(raise_number)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    beside = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert beside == dict.fromkeys(("gateway.sqlite3", "gateway.sqlite3-wal", "gateway.sqlite3-shm"), 0o600)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
async def test_a_file_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sqlite3"
    path.touch(0o644)
    database = Database(f"sqlite+aiosqlite:///{path}", seconds=1.0)
    assert await database.read(one) == 1
    await database.close()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_command_that_ends_beside_it_does_not_take_its_write_ahead_log_away(path: Path, made: Database) -> None:
    await asyncio.gather(*(made.read(one) for _ in range(8)))  # several connections
    look = """if True:
        import sqlite3, sys
        connection = sqlite3.connect(sys.argv[1])
        print(connection.execute("SELECT number FROM revisions WHERE name = 'keys'").fetchone()[0])
        connection.close()
    """

    async def seen_by_another() -> str:
        command = (sys.executable, "-c", look, str(path))
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        assert process.returncode == 0
        return out.decode().strip()

    assert await seen_by_another() == "0"
    await made.write(raise_number)
    assert await seen_by_another() == "1"
