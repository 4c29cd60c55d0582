"""The numbers by which processes that share a database notice each other's changes."""

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from qwen_gateway.store.database import Database
from qwen_gateway.store.schema import revisions

_ALL = select(revisions.c.name, revisions.c.number)


class SqlRevisions:
    """Satisfies `relay.ports.Revisions`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> dict[str, int]:
        return await self._database.read(_read)


async def _read(connection: AsyncConnection) -> dict[str, int]:
    return {row.name: row.number for row in await connection.execute(_ALL)}


async def raise_revision(connection: AsyncConnection, name: str) -> None:
    """To be done last in the transaction that changes `name`: others wait for the row from then on, and whoever
    changes several raises `accounts` before `pauses`, so that no two wait for each other."""
    await connection.execute(
        update(revisions).where(revisions.c.name == name).values(number=revisions.c.number + 1),
    )
