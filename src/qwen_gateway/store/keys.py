"""The keys that clients call with, in the database: never themselves, only their digests."""

from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Row, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from qwen_gateway.relay.ports import KeyRecord, Secret
from qwen_gateway.store.database import Database
from qwen_gateway.store.revisions import raise_revision
from qwen_gateway.store.schema import keys
from qwen_gateway.turn.faults import NameTaken

_LOAD = select(keys).order_by(keys.c.created_at, keys.c.id)
_LISTS = ("models", "endpoints")
"""Columns that hold a JSON array."""

_list = msgspec.json.Decoder(tuple[str, ...]).decode


class SqlKeys:
    """Satisfies `relay.ports.KeyStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> list[KeyRecord]:
        async def work(connection: AsyncConnection) -> list[KeyRecord]:
            return [_record(row) for row in await connection.execute(_LOAD)]

        return await self._database.read(work)

    async def add(self, key: KeyRecord) -> None:
        await self._database.write(partial(_change, insert(keys).values(_columns(key)), key.name))

    async def replace(self, key: KeyRecord) -> bool:
        statement = update(keys).where(keys.c.id == key.id).values(_columns(key))
        return await self._database.write(partial(_change, statement, key.name))


async def _change(statement: Any, name: str, connection: AsyncConnection) -> bool:
    try:
        changed = (await connection.execute(statement)).rowcount > 0
    except IntegrityError:
        raise NameTaken(f"There is another key named {name!r}. Choose another name.") from None
    if changed:
        await raise_revision(connection, "keys")
    return bool(changed)


def _columns(key: KeyRecord) -> dict[str, Any]:
    values = {name: getattr(key, name) for name in key.__struct_fields__}
    values["digest"] = key.digest.value
    for name in _LISTS:
        values[name] = msgspec.json.encode(values[name]).decode()
    return values


def _record(row: Row[Any]) -> KeyRecord:
    values = dict(row._mapping)  # noqa: SLF001 - public in spite of its name; the columns are the fields
    values["digest"] = Secret(values["digest"])
    for name in _LISTS:
        values[name] = _list(values[name])
    return KeyRecord(**values)
