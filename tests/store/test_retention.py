"""Old rows go, all others stay, and nobody waits for it."""

import asyncio

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.store.rows import row

from qwen_gateway.store import retention
from qwen_gateway.store.budgets import SqlBudgets
from qwen_gateway.store.database import Database
from qwen_gateway.store.retention import prune, prune_budgets
from qwen_gateway.store.schema import usage
from qwen_gateway.store.usage_rows import encode

OLD, NEW = 1000.0, 2000.0


async def fill(database: Database, count: int, at: float, name: str) -> None:
    names = [column.name for column in usage.columns]
    rows = [dict(zip(names, encode(row(f"{name} {number}", at=at)), strict=True)) for number in range(count)]

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(insert(usage), rows)

    await database.write(work)


async def left(database: Database) -> dict[float, int]:
    async def work(connection: AsyncConnection) -> dict[float, int]:
        found = await connection.execute(select(usage.c.at, func.count()).group_by(usage.c.at))
        return {each.at: each[1] for each in found}

    return await database.read(work)


async def test_25_000_rows_go_while_another_process_writes(database: Database) -> None:
    """The other process is a second `Database`: it does not stand in our line."""
    await fill(database, 12_345, OLD, "new")
    await fill(database, 12_655, OLD - 1, "old")
    other = Database(database.url, seconds=10)
    pruning = asyncio.create_task(prune(database, OLD))
    written = 0
    while not pruning.done():
        await fill(other, 1, NEW, f"meanwhile {written}")
        written += not pruning.done()
    assert await pruning == 12_655
    assert (await left(database))[OLD] == 12_345
    assert set(await left(database)) == {OLD, NEW}
    assert written >= 3, "it gets in between two batches"
    await other.close()


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20])
async def test_any_number_of_rows(count: int, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 10)
    monkeypatch.setattr(retention, "PAUSE", 0)
    await fill(database, 5, NEW, "new")
    if count:
        await fill(database, count, OLD, "old")
    assert await prune(database, NEW) == count
    assert await left(database) == {NEW: 5}


async def test_two_processes_at_once_share_the_work(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 50)
    monkeypatch.setattr(retention, "PAUSE", 0)
    await fill(database, 2000, OLD, "old")
    other = Database(database.url, seconds=10)
    await asyncio.gather(prune(database, NEW), prune(other, NEW))
    await prune(database, NEW)  # what one of them had locked when the other looked
    assert await left(database) == {}
    await other.close()


async def test_budgets_are_kept_for_eight_days(database: Database) -> None:
    budgets = SqlBudgets(database)
    for day in range(90, 101):
        await budgets.reserve("key", day, 1, 10)
    assert await prune_budgets(database, 100) == 2
    assert [bool(await budgets.used(day)) for day in range(90, 101)] == [False] * 2 + [True] * 9
