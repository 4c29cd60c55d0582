"""Sums and rows of the usage, on every engine alike."""

from datetime import UTC, datetime
from typing import get_args

import pytest
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.store.rows import row

from qwen_gateway.relay.ports import UsageBy, UsageQueries, UsageRow, UsageSum
from qwen_gateway.store import usage_sums
from qwen_gateway.store.database import Database
from qwen_gateway.store.usage import UsageWriter
from qwen_gateway.store.usage_sums import SqlUsage

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC).timestamp()


async def written(database: Database, *rows: UsageRow) -> SqlUsage:
    writer = UsageWriter(database)
    for each in rows:
        writer.add(each)
    writer.start()
    await writer.close(30)
    assert not writer.waiting
    return SqlUsage(database)


async def test_days_are_those_of_utc_to_the_last_moment(database: Database) -> None:
    moments = [MIDNIGHT - 0.001, MIDNIGHT, MIDNIGHT + 43_200.5, MIDNIGHT + 86_399.999, MIDNIGHT + 86_400, 0.0]
    queries = await written(database, *(row(number, at=at) for number, at in enumerate(moments)))
    sums = await queries.sums("day", 0, 1e10)
    assert [(each.name, each.requests) for each in sums] == [
        ("1970-01-01", 1), ("2026-11-20", 1), ("2026-11-21", 3), ("2026-11-22", 1),
    ]  # fmt: skip


async def test_a_sum_of_everything(database: Database) -> None:
    queries: UsageQueries = await written(
        database,
        row(1, input=1, output=10, reasoning=100, cached=1000, first_event=1.0, added=0.25),
        row(2, input=2, output=20, reasoning=200, cached=2000, first_event=None, added=0.75, end="failed"),
        row(3, input=3, output=30, reasoning=300, cached=3000, first_event=2.0, added=0.5, estimated=True),
        row(4, model="other", end="client_left", first_event=None, added=0.0, output=1_000_000_000),
    )
    assert await queries.sums("model", 0, 1e10) == [
        UsageSum("qwen3-max", 3, 1, 6, 60, 600, 6000, 1, 1.5, 0.5),
        UsageSum("other", 1, 1, 10, 1_000_000_000, 2, 1, 0, None, 0.0),
    ]


async def test_sums_of_many_large_numbers_do_not_overflow(database: Database) -> None:
    queries = await written(database, *(row(number, input=2**63) for number in range(2000)))
    assert (await queries.sums("key", 0, 1e10))[0].input == 2_000_000_000_000


@pytest.mark.parametrize("by", get_args(UsageBy))
async def test_every_way_to_sum_with_nothing_and_with_something(by: UsageBy, database: Database) -> None:
    queries = SqlUsage(database)
    assert await queries.sums(by, 0, 1e10) == []
    await written(database, row(1, **({} if by == "day" else {by: "b"})), row(2, **({} if by == "day" else {by: "a"})))
    found = await queries.sums(by, 0, 1e10)
    assert [each.name for each in found] == (["2023-11-14"] if by == "day" else ["a", "b"])


async def test_since_is_included_and_until_is_not(database: Database) -> None:
    queries = await written(database, *(row(number, at=float(number)) for number in range(10)))
    assert [each.at for each in await queries.rows(3, 6, 10)] == [5, 4, 3]
    assert (await queries.sums("key", 3, 6))[0].requests == 3


async def test_the_largest_come_first_and_no_more_than_bounded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_sums, "MOST", 3)
    names = ["a", "b", "b", "c", "c", "c", "d"]
    queries = await written(
        database, *(row(number, key=name, at=number * 86_400.0) for number, name in enumerate(names))
    )
    assert [each.name for each in await queries.sums("key", 0, 1e10)] == ["c", "b", "a"]
    days = [each.name for each in await queries.sums("day", 0, 1e10)]
    assert days == ["1970-01-05", "1970-01-06", "1970-01-07"], "of too many days, the newest"
    assert [each.key for each in await queries.rows(0, 1e10, 1_000_000)] == ["d", "c", "c"]
    assert list(await queries.rows(0, 1e10, -5)) == []


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # PostgreSQL decides by the size of the table
@pytest.mark.parametrize("by", get_args(UsageBy))
async def test_a_span_of_time_is_found_through_the_index(by: UsageBy, database: Database) -> None:
    query = SqlUsage(database)._sums(by, 1.0, 2.0)
    text = str(query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))

    async def explain(connection: AsyncConnection) -> str:
        return str((await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")).all())

    assert "USING INDEX ix_usage_at" in await database.read(explain)
