"""Deletes what has been kept long enough: in small transactions with pauses between, so that writers get in."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from qwen_gateway.store import schema
from qwen_gateway.store.database import Database

BATCH = 1000
PAUSE = 0.05
"""Seconds. A writer of another process that waits for SQLite asks again after at most 0.1 s, so it gets in after a few
pauses at the latest; those of this process stand in line and get in at once."""

BUDGET_DAYS = 8


async def prune(database: Database, before: float) -> int:
    """Deletes usage that came before this time, in seconds since 1970. Returns how many rows those were.

    Raises StorageUnavailable; what was deleted until then stays deleted.
    """
    usage = schema.usage.c
    # Of two processes that do this at once, neither waits for the other.
    oldest = select(usage.id).where(usage.at < before).order_by(usage.at).limit(BATCH).with_for_update(skip_locked=True)
    statement = delete(schema.usage).where(usage.id.in_(oldest))

    async def work(connection: AsyncConnection) -> int:
        return (await connection.execute(statement)).rowcount

    total = 0
    while deleted := await database.write(work):
        total += deleted
        if deleted < BATCH:
            break
        await asyncio.sleep(PAUSE)
    return total


async def prune_budgets(database: Database, today: int) -> int:
    """Deletes what keys used of their budgets more than eight days ago. today: whole days since 1970-01-01 UTC."""

    async def work(connection: AsyncConnection) -> int:
        statement = delete(schema.budgets).where(schema.budgets.c.day < today - BUDGET_DAYS)
        return (await connection.execute(statement)).rowcount

    return await database.write(work)


async def deleted(
    database: Database, table: Table, where: ColumnElement[bool], *columns: Column[Any]
) -> AsyncIterator[Sequence[Row[Any]]]:
    """Deletes these rows. Gives these columns of those that went with each transaction. Raises as `prune` does."""
    some = select(table.c.id).where(where).limit(BATCH).with_for_update(skip_locked=True)
    statement = delete(table).where(table.c.id.in_(some)).returning(*columns)

    def work(connection: Connection) -> Sequence[Row[Any]]:
        return connection.execute(statement).all()

    while rows := await database.write_in_one(work):
        yield rows
        if len(rows) < BATCH:
            break
        await asyncio.sleep(PAUSE)
