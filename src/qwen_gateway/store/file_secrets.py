"""What rows of files hold under seal, and for whom: each value for its own row and column, so that none of them can be
put in another's place. Also what becomes of them all when the vault's key is replaced, or lost."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec import Struct
from sqlalchemy import Column, Connection, Row, Select, delete, exists, select, update

from qwen_gateway.store.database import Database
from qwen_gateway.store.schema import file_pieces, files, parted_files, site_files
from qwen_gateway.store.vault import Vault
from qwen_gateway.turn.faults import BadVault

BATCH = 500
"""Rows in one transaction."""

_OWNERS: dict[Column[Any], str] = {
    files.c.sealed: "file {id} of {tenant}",
    parted_files.c.sealed: "parted file {id} of {tenant}",
    file_pieces.c.sealed: "piece {id} of {upload}",
    site_files.c.parts: "parts of upload {id}",
    site_files.c.entry: "entry of upload {id}",
}
_KEPT = (files, parted_files, file_pieces)


class Sealed(Struct, frozen=True):
    """What values under seal are of. kept: files of callers, whole or still coming in pieces. notes: of uploads that
    have ended, and of accounts' files at the site; nobody misses them."""

    kept: int
    notes: int


def owner(column: Column[Any], row: Mapping[Any, Any]) -> str:
    """row: those of its columns, by name, that name the row."""
    return _OWNERS[column].format_map(row)


async def has_files(database: Database) -> bool:
    """Whether there is any file of a caller's, which a key has sealed. Raises StorageUnavailable."""
    some = select(*(exists(select(table.c.id).where(table.c.sealed != b"")) for table in _KEPT))
    return any(await database.read_in_one(lambda connection: connection.execute(some).one()))


async def reseal(database: Database, vault: Vault) -> Sealed:
    """Seals with the vault's first key what an earlier one has sealed: some rows at a time, so the earlier key must
    stay until the end, and another run finishes one that was cut off. Of what that was. Raises BadVault."""
    return await _each(database, partial(_reseal, vault))


async def unreadable(database: Database, vault: Vault) -> Sealed:
    """Of what there is a value that no key of the vault opens."""
    return await _each(database, lambda column, row, _: not _opens(vault, column, row))


async def remove_unreadable(database: Database, vault: Vault) -> Sealed:
    """Removes these files, since their key is lost. Rows that say where their bytes are stay until files are pruned
    next. What it was."""
    return await _each(database, partial(_remove, vault))


_Work = Callable[[Column[Any], Row[Any], Connection], bool]


async def _each(database: Database, work: _Work) -> Sealed:
    """Calls `work` for every sealed value. Of what those are for which it gives true."""
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for column in _OWNERS:
        query = select(column.table).where(column.is_not(None), column != b"").order_by(column.table.c.id).limit(BATCH)
        last = ""
        while True:
            some = query.where(column.table.c.id > last).with_for_update()
            ids, chosen = await database.write_in_one(partial(_batch, column, some, work))
            for kept, name in chosen:
                found[kept].add(name)
            if len(ids) < BATCH:
                break
            last = ids[-1]
    return Sealed(len(found[True]), len(found[False]))


def _batch(
    column: Column[Any], query: Select[Any], work: _Work, connection: Connection
) -> tuple[list[str], list[tuple[bool, str]]]:
    """Ids of these rows; and of what those are for which `work` gives true."""
    rows = connection.execute(query).all()
    return [row.id for row in rows], [_file(column, row) for row in rows if work(column, row, connection)]


def _file(column: Column[Any], row: Row[Any]) -> tuple[bool, str]:
    """Whether the value belongs to a file that is kept; and to which one."""
    if column.table is file_pieces:
        return True, row.upload
    return column.table is files or (column.table is parted_files and row.state == "pending"), row.id


def _reseal(vault: Vault, column: Column[Any], row: Row[Any], connection: Connection) -> bool:
    values = row._mapping  # noqa: SLF001 - public in spite of its name
    if vault.is_current(values[column]):
        return False
    table: Any = column.table
    again = vault.reseal(values[column], owner(column, values))
    connection.execute(update(table).where(table.c.id == row.id).values({column.name: again}))
    return True


def _remove(vault: Vault, column: Column[Any], row: Row[Any], connection: Connection) -> bool:
    if _opens(vault, column, row):
        return False
    if column is files.c.sealed:
        connection.execute(update(files).where(files.c.id == row.id).values(expires=0.0, size=0, sealed=b""))
    elif column is parted_files.c.sealed:
        connection.execute(delete(parted_files).where(parted_files.c.id == row.id))
    elif column is file_pieces.c.sealed:  # without this piece, the file cannot become whole
        connection.execute(delete(parted_files).where(parted_files.c.id == row.upload))
        connection.execute(update(file_pieces).where(file_pieces.c.id == row.id).values(sealed=b""))
    else:
        connection.execute(delete(site_files).where(site_files.c.id == row.id))
    return True


def _opens(vault: Vault, column: Column[Any], row: Row[Any]) -> bool:
    values = row._mapping  # noqa: SLF001 - as above
    try:
        vault.open(values[column], owner(column, values))
    except BadVault:
        return False
    return True
