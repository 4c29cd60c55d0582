"""Files that callers send in several requests. Each piece is kept as whole files are (`blobs`), until they are joined.

When an upload has expired, its row and its pieces are deleted with the files that have (`file_pruning`).
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, select, update

from qwen_gateway.relay.file_ports import FilePiece, PartedFile
from qwen_gateway.relay.ports import Secret
from qwen_gateway.store.blobs import Blob, Blobs
from qwen_gateway.store.database import Database
from qwen_gateway.store.file_secrets import owner
from qwen_gateway.store.files import LONGEST_NAME
from qwen_gateway.store.schema import file_pieces, parted_files
from qwen_gateway.store.texts import cleaned, cleaner
from qwen_gateway.store.vault import Vault
from qwen_gateway.turn.faults import Fault, InvalidRequest, NotFound
from qwen_gateway.turn.files import Content

MOST_PIECES = 10_000
"""Of one upload; no more can be named when it is completed."""

_as_name, _as_id = cleaner(LONGEST_NAME), cleaner(64)
_TOO_MANY = f"This upload has {MOST_PIECES:,} parts already, which is the most. Begin another, with larger parts."
_PLAIN = tuple(name for name in PartedFile.__struct_fields__ if name not in {"name", "state"})
"""Fields of PartedFile that stand in the row as they are."""


class SqlPartedFiles:
    """Satisfies `relay.file_ports.PartedFiles`. folder: the one of SqlFiles."""

    def __init__(self, database: Database, folder: Path, vault: Vault) -> None:
        self._database, self._vault = database, vault
        self._blobs = Blobs(folder)

    async def begin(self, upload: PartedFile) -> None:
        values = cleaned(parted_files, {name: getattr(upload, name) for name in (*_PLAIN, "state")})
        name = _as_name(upload.name).encode()
        values["sealed"] = self._vault.seal(name, owner(parted_files.c.sealed, values))
        statement = self._database.insert(parted_files).values(values).on_conflict_do_nothing()
        await self._database.write_in_one(lambda connection: connection.execute(statement).rowcount)

    async def get(self, tenant: str, upload_id: str, now: float) -> PartedFile | None:
        if _as_id(upload_id) != upload_id:
            return None
        query = select(parted_files).where(parted_files.c.id == upload_id, parted_files.c.tenant == tenant)
        row = await self._database.read_in_one(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else self._upload(row, now)

    async def add_piece(self, piece: FilePiece, content: Content) -> None:
        """Raises NotFound when the upload has ended meanwhile, and InvalidRequest when it has too many pieces. Adding
        the same piece again changes nothing."""
        blob = await self._blobs.keep(content)
        values = cleaned(file_pieces, {name: getattr(piece, name) for name in FilePiece.__struct_fields__})
        sealed = self._vault.seal(blob.key.value, owner(file_pieces.c.sealed, values))
        insert = self._database.insert(file_pieces).values({**values, "blob": blob.name, "sealed": sealed})
        # Held until the piece is there: whoever ends the upload sees all of them, and nobody adds one too many.
        pending = select(parted_files.c.id).where(_pending(piece.upload)).with_for_update()
        others = select(func.count()).where(file_pieces.c.upload == piece.upload, file_pieces.c.id != piece.id)

        def work(connection: Connection) -> Fault | None:
            if connection.scalar(pending) is None:
                return NotFound("This upload was completed or cancelled, or never begun.", code="upload_not_found")
            if (connection.scalar(others) or 0) >= MOST_PIECES:
                return InvalidRequest(_TOO_MANY, code="too_many_parts", param="data")
            connection.execute(insert.on_conflict_do_nothing())
            return None

        if (refusal := await self._database.write_in_one(work)) is not None:
            await self._blobs.remove([blob.name])
            raise refusal

    async def arrived(self, upload_id: str, but: Collection[str] = ()) -> int:
        wanted = and_(file_pieces.c.upload == upload_id, file_pieces.c.id.not_in(list(but)))
        query = select(func.sum(file_pieces.c.size)).where(wanted)
        return int(await self._database.read_in_one(lambda connection: connection.scalar(query)) or 0)

    async def pieces(self, upload_id: str) -> Sequence[FilePiece]:
        """As they were added."""
        return [
            FilePiece(**{name: row._mapping[name] for name in FilePiece.__struct_fields__})  # noqa: SLF001 - public
            for row in await self._rows(upload_id)
        ]

    async def joined(self, upload_id: str, piece_ids: Sequence[str]) -> Content:
        """To be read before the upload ends. Raises as `SqlFiles.content` does, also where a piece is not of this
        upload."""
        rows = {row.id: row for row in await self._rows(upload_id)}
        missing = next((each for each in piece_ids if each not in rows), None)
        if missing is not None:
            raise NotFound(f"This upload has no part {missing[:80]!r}.", code="part_not_found")
        return await self._blobs.joined([self._blob(rows[each]) for each in piece_ids])

    async def end(self, upload_id: str, state: Literal["completed", "cancelled"], made_into: str = "") -> bool:
        ended = update(parted_files).where(_pending(upload_id)).values(state=state, made_into=made_into)
        forget = delete(file_pieces).where(file_pieces.c.upload == upload_id).returning(file_pieces.c.blob)

        def work(connection: Connection) -> Sequence[str] | None:
            return connection.scalars(forget).all() if connection.execute(ended).rowcount else None

        blobs = await self._database.write_in_one(work)
        await self._blobs.remove(blobs or ())
        return blobs is not None

    async def _rows(self, upload_id: str) -> Sequence[Row[Any]]:
        query = select(file_pieces).where(file_pieces.c.upload == upload_id)
        query = query.order_by(file_pieces.c.created, file_pieces.c.id)
        return await self._database.read_in_one(lambda connection: connection.execute(query).all())

    def _upload(self, row: Row[Any], now: float) -> PartedFile:
        values = row._mapping  # noqa: SLF001 - public in spite of its name
        name = self._vault.open(row.sealed, owner(parted_files.c.sealed, values)).decode()
        expired = row.state == "pending" and row.expires <= now
        fields = {field: values[field] for field in _PLAIN}
        return PartedFile(name=name, state="expired" if expired else row.state, **fields)

    def _blob(self, row: Row[Any]) -> Blob:
        mapping = row._mapping  # noqa: SLF001 - as above
        return Blob(row.blob, Secret(self._vault.open(row.sealed, owner(file_pieces.c.sealed, mapping))), row.size)


def _pending(upload_id: str) -> ColumnElement[bool]:
    return and_(parted_files.c.id == upload_id, parted_files.c.state == "pending")
