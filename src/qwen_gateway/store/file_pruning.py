"""Deletes files that callers keep, and those that never became whole, once they have expired; and of the folder what
no row knows: what a crash left between a file and its row, and between a row that went and its file.

Where the database knows none of all, the folder may belong to another one: then no file that is whole is deleted.
"""

from collections.abc import Iterator, Sequence

import structlog
from sqlalchemy import Connection, select, union_all

from qwen_gateway.store.blobs import Blobs, is_whole
from qwen_gateway.store.database import Database
from qwen_gateway.store.retention import deleted
from qwen_gateway.store.schema import file_pieces, files, parted_files

GRACE = 3600.0
"""Seconds after which what has no row was not written a moment ago, with its row still to come."""
BATCH = 500
"""Names in one statement."""

_log = structlog.get_logger()


async def prune(database: Database, blobs: Blobs, now: float) -> int:
    """How many have expired. Raises StorageUnavailable; what was deleted until then stays deleted."""
    count = 0
    async for rows in deleted(database, files, files.c.expires <= now, files.c.blob, files.c.expires):
        count += sum(row.expires > 0 for row in rows)
        await blobs.remove(row.blob for row in rows)
    async for rows in deleted(database, parted_files, parted_files.c.expires <= now, parted_files.c.state):
        count += sum(row.state == "pending" for row in rows)
    lost = file_pieces.c.upload.not_in(select(parted_files.c.id))
    async for rows in deleted(database, file_pieces, lost, file_pieces.c.blob):
        await blobs.remove(row.blob for row in rows)
    await _remove_unknown(database, blobs, now - GRACE)
    return count


async def _remove_unknown(database: Database, blobs: Blobs, before: float) -> None:
    found = await blobs.older_than(before)
    whole = [name for name in found if is_whole(name)]
    known: set[str] = set()
    for names in _batches(whole):
        known |= await _known(database, names)
    if whole and not known:
        _log.warning("files_unknown", files=len(whole))
    await blobs.remove(set(found) - (known or set(whole)))


async def _known(database: Database, names: Sequence[str]) -> set[str]:
    found = union_all(*(select(table.c.blob).where(table.c.blob.in_(names)) for table in (files, file_pieces)))

    def work(connection: Connection) -> set[str]:
        return set(connection.scalars(found))

    return await database.read_in_one(work)


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[at : at + BATCH] for at in range(0, len(names), BATCH))
