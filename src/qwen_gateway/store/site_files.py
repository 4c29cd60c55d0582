"""What each account has uploaded to the site, so that it is not uploaded again; and what it is uploading, so that
another process can tidy up after one that was killed. What gives access to a file is sealed by the vault."""

import secrets
from collections.abc import Collection
from typing import Any

import msgspec
import structlog
from sqlalchemy import ColumnElement, Row, UpdateBase, delete, insert, select, update

from qwen_gateway.relay.file_ports import Leftover
from qwen_gateway.relay.ports import Secret
from qwen_gateway.store.database import Database
from qwen_gateway.store.file_secrets import owner as sealed_for
from qwen_gateway.store.retention import deleted
from qwen_gateway.store.schema import site_files
from qwen_gateway.store.vault import Vault
from qwen_gateway.turn.faults import BadVault
from qwen_gateway.turn.files import SiteFile

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(SiteFile).decode
_log = structlog.get_logger()


class SqlSiteFiles:
    """Satisfies `relay.file_ports.SiteFiles`. All but `begin` may be tried again after a lost answer: it is the same as
    once. A lost `begin` leaves a record of nothing, which others will find among the leftovers."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database, self._vault = database, vault

    async def find(self, account: str, digest: bytes, since: float) -> SiteFile | None:
        """One that no key of the vault opens is as good as none."""
        query = (
            select(site_files.c.id, site_files.c.entry)
            .where(site_files.c.account == account, site_files.c.digest == digest, site_files.c.done > since)
            .order_by(site_files.c.done.desc(), site_files.c.id.desc())
            .limit(1)
        )
        row = await self._database.read_in_one(lambda connection: connection.execute(query).one_or_none())
        entry = None if row is None else self._open(site_files.c.entry, row.id, row.entry)
        return None if entry is None else _decode(entry)

    async def begin(self, account: str, digest: bytes, owner: str, now: float) -> str:
        record = secrets.token_hex(16)
        values = {"id": record, "account": account, "digest": digest, "owner": owner, "begun": now}
        await self._change(insert(site_files).values(values))
        return record

    async def parted(self, record: str, parts: Secret) -> None:
        sealed = self._seal(site_files.c.parts, record, parts.value)
        await self._change(update(site_files).where(_under_way(record)).values(parts=sealed))

    async def done(self, record: str, file: SiteFile, now: float) -> None:
        sealed = self._seal(site_files.c.entry, record, _encode(file))
        await self._change(
            update(site_files).where(site_files.c.id == record).values(done=now, entry=sealed, parts=None)
        )

    async def gone(self, record: str) -> None:
        await self._change(delete(site_files).where(site_files.c.id == record))

    async def leftovers(self, owner: str, before: float) -> list[Leftover]:
        """Oldest first. Those that no key of the vault opens are left out, and logged: they wait for their key."""
        query = (
            select(site_files.c.id, site_files.c.account, site_files.c.owner, site_files.c.parts)
            .where(site_files.c.done.is_(None), site_files.c.owner != owner, site_files.c.begun < before)
            .order_by(site_files.c.begun, site_files.c.id)
        )
        rows = await self._database.read_in_one(lambda connection: connection.execute(query).all())
        found = [left for row in rows if (left := self._leftover(row)) is not None]
        if len(found) < len(rows):
            _log.error("uploads_unreadable", uploads=len(rows) - len(found))
        return found

    async def forget(self, account: str, digests: Collection[bytes]) -> None:
        of_these = site_files.c.account == account, site_files.c.digest.in_(digests)
        await self._change(delete(site_files).where(*of_these, site_files.c.done.is_not(None)))

    async def prune(self, before: float) -> int:
        count = 0
        async for rows in deleted(self._database, site_files, site_files.c.done < before, site_files.c.id):
            count += len(rows)
        return count

    def _leftover(self, row: Row[Any, Any, Any, Any]) -> Leftover | None:
        if row.parts is None:
            return Leftover(row.id, row.account, row.owner, None)
        parts = self._open(site_files.c.parts, row.id, row.parts)
        return None if parts is None else Leftover(row.id, row.account, row.owner, Secret(parts))

    def _seal(self, column: Any, record: str, value: bytes) -> bytes:
        return self._vault.seal(value, sealed_for(column, {"id": record}))

    def _open(self, column: Any, record: str, sealed: bytes) -> bytes | None:
        try:
            return self._vault.open(sealed, sealed_for(column, {"id": record}))
        except BadVault:
            return None

    async def _change(self, statement: UpdateBase) -> None:
        await self._database.write_in_one(lambda connection: connection.execute(statement).rowcount)


def _under_way(record: str) -> ColumnElement[bool]:
    return (site_files.c.id == record) & site_files.c.done.is_(None)
