"""The numbers by which processes notice changes."""

import asyncio

from sqlalchemy import event

from qwen_gateway.relay.ports import Revisions
from qwen_gateway.store.database import Database
from qwen_gateway.store.revisions import SqlRevisions, raise_revision

from .conftest import SECONDS


async def test_there_is_a_number_for_everything_that_processes_share(database: Database) -> None:
    revisions: Revisions = SqlRevisions(database)
    assert await revisions.read() == {"accounts": 0, "pauses": 0, "keys": 0}


async def test_a_raise_is_seen_over_another_connection(database: Database, url: str) -> None:
    other = Database(url, seconds=SECONDS)
    await other.write(lambda c: raise_revision(c, "keys"))
    assert await SqlRevisions(database).read() == {"accounts": 0, "pauses": 0, "keys": 1}
    await other.close()


async def test_no_raise_is_lost(database: Database, url: str) -> None:
    other = Database(url, seconds=SECONDS)
    both = (database, other)
    await asyncio.gather(*(both[n % 2].write(lambda c: raise_revision(c, "pauses")) for n in range(40)))
    assert await SqlRevisions(database).read() == {"accounts": 0, "pauses": 40, "keys": 0}
    await other.close()


async def test_reading_is_one_statement(database: Database) -> None:
    revisions = SqlRevisions(database)
    await revisions.read()
    statements: list[str] = []
    event.listen(
        database._engine.sync_engine,
        "before_cursor_execute",
        lambda _c, _u, statement, *_: statements.append(statement),
    )
    await revisions.read()
    assert len(statements) == 1
    assert statements[0].startswith("SELECT")
