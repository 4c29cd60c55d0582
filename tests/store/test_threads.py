"""Work that runs in a thread from end to end keeps all that other work at SQLite keeps."""

import asyncio
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Awaitable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.store.rows import until

from qwen_gateway.store.database import Database
from qwen_gateway.turn.faults import StorageUnavailable

FAR_TOO_LONG = 20.0
"""Seconds after which something hangs."""


def number(connection: Connection) -> int:
    return int(connection.execute(text("SELECT number FROM revisions")).scalar_one())


def raise_number(connection: Connection) -> None:
    connection.execute(text("UPDATE revisions SET number = number + 1"))


async def raise_number_slowly(connection: AsyncConnection) -> None:
    found = (await connection.execute(text("SELECT number FROM revisions"))).scalar_one()
    await connection.execute(text("UPDATE revisions SET number = :next"), {"next": found + 1})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "gateway.sqlite3"


@pytest.fixture
async def made(path: Path) -> AsyncIterator[Database]:
    """With a table and one row, and little patience."""
    database = Database(f"sqlite+aiosqlite:///{path}", seconds=1.0)

    def make(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE revisions (name TEXT PRIMARY KEY, number INTEGER)"))
        connection.execute(text("INSERT INTO revisions VALUES ('keys', 0)"))

    await database.write_in_one(make)
    yield database
    await database.close()


async def why(work: Awaitable[object]) -> str:
    with pytest.raises(StorageUnavailable) as caught:
        async with asyncio.timeout(FAR_TOO_LONG):
            await work
    return caught.value.text


async def test_writers_of_both_kinds_stand_in_one_line(made: Database) -> None:
    both = (made.write_in_one(raise_number) if each % 2 else made.write(raise_number_slowly) for each in range(40))
    await asyncio.gather(*both)
    assert await made.read_in_one(number) == 40


async def test_what_a_failing_work_did_is_undone(made: Database) -> None:
    def work(connection: Connection) -> None:
        raise_number(connection)
        connection.execute(text("INSERT INTO revisions VALUES (:name, 0)"), {"name": "keys"})

    with pytest.raises(IntegrityError, match="SQL parameters hidden"):
        await made.write_in_one(work)
    assert await made.read_in_one(number) == 0
    await made.write_in_one(raise_number)
    assert await made.read_in_one(number) == 1


async def test_readers_do_not_wait_for_a_writer_nor_for_those_who_wait_for_it(made: Database) -> None:
    begun, free = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        raise_number(connection)
        begun.set()
        free.wait(FAR_TOO_LONG)

    writing = asyncio.create_task(made.write_in_one(slow))
    await until(begun.is_set)
    waiting = [asyncio.create_task(made.write_in_one(raise_number)) for _ in range(3)]
    assert [await made.read_in_one(number) for _ in range(3)] == [0, 0, 0]
    free.set()
    await asyncio.gather(writing, *waiting)
    assert await made.read_in_one(number) == 4


async def test_a_caller_that_leaves_does_not_stop_the_work(made: Database) -> None:
    begun, free = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        raise_number(connection)
        begun.set()
        free.wait(FAR_TOO_LONG)

    caller = asyncio.create_task(made.write_in_one(work))
    await until(begun.is_set)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    free.set()
    await until(lambda: not made._tasks)
    assert await made.read_in_one(number) == 1


async def test_what_comes_too_late_is_not_committed(made: Database) -> None:
    free, ended = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        raise_number(connection)
        free.wait(FAR_TOO_LONG)
        ended.set()

    assert "no answer within 1 s" in await why(made.write_in_one(work))
    free.set()
    await until(ended.is_set)
    await made.write_in_one(raise_number)
    assert await made.read_in_one(number) == 1


async def test_a_statement_that_takes_too_long_is_ended_and_leaves_no_lock(made: Database) -> None:
    endless = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n")

    def work(connection: Connection) -> None:
        raise_number(connection)
        connection.execute(endless)

    assert "it takes too long" in await why(made.write_in_one(work))
    assert "it takes too long" in await why(made.read_in_one(lambda connection: connection.execute(endless).all()))
    await made.write_in_one(raise_number)
    assert await made.read_in_one(number) == 1


async def test_a_file_that_another_program_has_locked_is_named_as_that(path: Path, made: Database) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "another program holds its file locked" in await why(made.write_in_one(raise_number))
        assert await made.read_in_one(number) == 0
        other.execute("COMMIT")
    await made.write_in_one(raise_number)
    assert await made.read_in_one(number) == 1


async def test_a_full_disk_is_named_as_that_and_tears_nothing(made: Database) -> None:
    def fill(connection: Connection) -> None:
        raise_number(connection)
        connection.exec_driver_sql("PRAGMA max_page_count = 8")
        connection.execute(text("CREATE TABLE big AS SELECT randomblob(100000) AS data"))

    assert "the disk is full" in await why(made.write_in_one(fill))
    assert await made.read_in_one(number) == 0
    await made.write_in_one(raise_number)
    assert await made.read_in_one(number) == 1


async def test_a_file_that_cannot_be_opened_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'data' / 'gateway.sqlite3'}", seconds=1.0)
    assert await why(database.read_in_one(number)) != ""
    await database.close()


async def test_more_readers_than_threads_wait_and_are_served(made: Database) -> None:
    assert await asyncio.gather(*(made.read_in_one(number) for _ in range(50))) == [0] * 50


async def test_a_closed_database_says_so_and_can_be_closed_again(made: Database) -> None:
    writing = asyncio.create_task(made.write_in_one(raise_number))
    await asyncio.sleep(0)
    await made.close()
    await writing
    assert "is ending" in await why(made.read_in_one(number))
    await made.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
async def test_nobody_else_may_read_the_file_or_what_lies_beside_it(path: Path, made: Database) -> None:
    await made.write_in_one(raise_number)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    beside = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert beside == dict.fromkeys(("gateway.sqlite3", "gateway.sqlite3-wal", "gateway.sqlite3-shm"), 0o600)


async def test_a_command_that_ends_beside_it_does_not_take_its_write_ahead_log_away(path: Path, made: Database) -> None:
    await asyncio.gather(*(made.read_in_one(number) for _ in range(8)), *(made.write(raise_number_slowly),))
    look = """if True:
        import sqlite3, sys
        connection = sqlite3.connect(sys.argv[1])
        print(connection.execute("SELECT number FROM revisions").fetchone()[0])
        connection.close()
    """

    async def seen_by_another() -> str:
        command = (sys.executable, "-c", look, str(path))
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        assert process.returncode == 0
        return out.decode().strip()

    assert await seen_by_another() == "1"
    await made.write_in_one(raise_number)
    assert await seen_by_another() == "2"
