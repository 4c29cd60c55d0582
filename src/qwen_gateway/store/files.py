"""Files that callers keep at the gateway: what is known of each in the database, its bytes in a folder (`blobs`).

A file that its caller removes loses its bytes and its key at once. Its row stays, for nobody to see, until files are
pruned next: so whoever removes files page by page finds the page after one of which nothing is left.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, false, func, or_, select, update

from qwen_gateway.relay.file_ports import StoredFile
from qwen_gateway.relay.ports import Secret
from qwen_gateway.store.blobs import Blob, Blobs
from qwen_gateway.store.database import Database
from qwen_gateway.store.file_pruning import prune
from qwen_gateway.store.file_secrets import owner
from qwen_gateway.store.schema import files, parted_files
from qwen_gateway.store.texts import cleaned, cleaner
from qwen_gateway.store.vault import Vault
from qwen_gateway.turn.faults import BadVault, NotFound
from qwen_gateway.turn.files import Content

LONGEST_NAME = 500

_as_name, _as_id, _as_purpose = cleaner(LONGEST_NAME), cleaner(64), cleaner(64)
_NEXT = 200
"""Rows that are read at least where some before them could not be opened."""
_PLAIN = ("id", "tenant", "purpose", "media_type", "kind", "size", "created", "expires")
"""Fields of StoredFile that stand in the row as they are."""


class _Sealed(Struct, array_like=True):
    name: str
    sha256: str
    key: bytes


_log = structlog.get_logger()
_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(_Sealed).decode


class SqlFiles:
    """Satisfies `relay.file_ports.FileStore`. folder: where the bytes are; it need not exist."""

    def __init__(self, database: Database, folder: Path, vault: Vault) -> None:
        self._database, self._vault = database, vault
        self._blobs = Blobs(folder)
        self._lost: set[str] = set()  # ids that the log has told of

    async def add(self, file: StoredFile, content: Content) -> None:
        """Adding the same file again, since the answer was lost, changes nothing."""
        blob = await self._blobs.keep(content)
        values = cleaned(files, {name: getattr(file, name) for name in _PLAIN})
        sealed = _encode(_Sealed(_as_name(file.name), file.sha256, blob.key.value))
        values |= {"blob": blob.name, "sealed": self._vault.seal(sealed, owner(files.c.sealed, values))}
        statement = self._database.insert(files).values(values).on_conflict_do_nothing()
        await self._database.write_in_one(lambda connection: connection.execute(statement).rowcount)

    async def get(self, tenant: str, file_id: str, now: float) -> StoredFile | None:
        row = await self._row(tenant, file_id, _alive(now))
        return None if row is None else self._file(row)

    async def list(
        self,
        tenant: str,
        now: float,
        *,
        limit: int,
        after: str = "",
        order: Literal["asc", "desc"] = "desc",
        purpose: str = "",
    ) -> Sequence[StoredFile]:
        """Nothing after a file that is not there. Those that no key of the vault opens are left out, and logged."""
        place, way = (files.c.created, files.c.id), (1 if order == "asc" else -1)
        query = select(files).where(files.c.tenant == tenant, _alive(now))
        if purpose:
            query = query.where(files.c.purpose == _as_purpose(purpose))
        query = query.order_by(*(each.asc() if way > 0 else each.desc() for each in place))
        last = await self._row(tenant, after) if after else None
        if after and last is None:
            return ()
        found: list[StoredFile] = []
        lost: set[str] = set()
        wanted = limit
        while len(found) < limit:
            page = (query if last is None else query.where(_beyond(last, way))).limit(wanted)
            rows = await self._rows(page)
            found += self._readable(rows, lost)
            if len(rows) < wanted:
                break
            last, wanted = rows[-1], max(limit, _NEXT)  # many may be lost, and a page of few rows be long to fill
        self._note(lost)
        return found[:limit]

    async def content(self, file: StoredFile) -> Content:
        """Raises NotFound, BadVault, StorageUnavailable; reading it raises DamagedFile when it was changed."""
        row = await self._row(file.tenant, file.id)
        if row is None or not row.sealed:
            raise NotFound("This file was deleted.", code="file_not_found")
        sealed = self._open(row)
        return await self._blobs.open(Blob(row.blob, Secret(sealed.key), row.size), sealed.sha256)

    async def remove(self, tenant: str, file_id: str) -> bool:
        wanted = _is(tenant, file_id) & (files.c.sealed != b"")
        find = select(files.c.blob).where(wanted).with_for_update()
        forget = update(files).where(wanted).values(expires=0.0, size=0, sealed=b"")

        def work(connection: Connection) -> str | None:
            blob = connection.scalar(find)
            if blob is not None:
                connection.execute(forget)
            return blob

        blob = await self._database.write_in_one(work)
        if blob is not None:
            await self._blobs.remove([blob])
        return blob is not None

    async def used(self, tenant: str, now: float) -> int:
        kept = select(func.sum(files.c.size)).where(files.c.tenant == tenant, _alive(now))
        coming = select(func.sum(parted_files.c.size)).where(
            parted_files.c.tenant == tenant, parted_files.c.state == "pending", parted_files.c.expires > now
        )
        sums = await self._database.read_in_one(lambda c: (c.scalar(kept), c.scalar(coming)))
        return sum(int(each or 0) for each in sums)

    async def prune(self, now: float) -> int:
        return await prune(self._database, self._blobs, now)

    async def _row(self, tenant: str, file_id: str, *more: ColumnElement[bool]) -> Row[Any] | None:
        query = select(files).where(_is(tenant, file_id), *more)
        return await self._database.read_in_one(lambda connection: connection.execute(query).one_or_none())

    async def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        return await self._database.read_in_one(lambda connection: connection.execute(query).all())

    def _readable(self, rows: Iterable[Row[Any]], lost: set[str]) -> Iterator[StoredFile]:
        """lost: gets the ids of the others."""
        for row in rows:
            try:
                yield self._file(row)
            except BadVault:
                lost.add(row.id)

    def _note(self, lost: set[str]) -> None:
        """Once for each file."""
        if new := lost - self._lost:
            _log.error("files_unreadable", files=len(new))
            self._lost |= new

    def _file(self, row: Row[Any]) -> StoredFile:
        sealed = self._open(row)
        return StoredFile(
            name=sealed.name,
            sha256=sealed.sha256,
            **{name: row._mapping[name] for name in _PLAIN},  # noqa: SLF001 - public in spite of its name
        )

    def _open(self, row: Row[Any]) -> _Sealed:
        return _decode(self._vault.open(row.sealed, owner(files.c.sealed, row._mapping)))  # noqa: SLF001 - as above


def _is(tenant: str, file_id: str) -> ColumnElement[bool]:
    # What no id can be, no database needs to be asked for: PostgreSQL would refuse it.
    return and_(files.c.id == file_id, files.c.tenant == tenant) if _as_id(file_id) == file_id else false()


def _alive(now: float) -> ColumnElement[bool]:
    return or_(files.c.expires.is_(None), files.c.expires > now)


def _beyond(last: Row[Any], way: int) -> ColumnElement[bool]:
    """Those that come after it."""
    created, name = files.c.created, files.c.id
    later, further = (created > last.created, name > last.id) if way > 0 else (created < last.created, name < last.id)
    return or_(later, and_(created == last.created, further))
