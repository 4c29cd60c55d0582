"""Files that come to the gateway in pieces, before they are whole."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from qwen_gateway.relay.file_ports import FilePiece, PartedFile, PartedFiles, StoredFile
from qwen_gateway.relay.files import Files, Offered
from qwen_gateway.relay.ports import Ambient
from qwen_gateway.turn.faults import BodyTooLarge, Fault, InvalidRequest, NotFound
from qwen_gateway.turn.files import Content

LARGEST = 64 * 1024 * 1024
"""Bytes of one piece: OpenAI's limit, and what its library sends."""
SECONDS = 3600.0
"""An upload that is not complete by then is given up, as with OpenAI."""
_CHUNK = 1024 * 1024


class Pieces:
    """tenant, below: whose the uploads are."""

    def __init__(self, store: PartedFiles, files: Files, ambient: Ambient) -> None:
        self._store, self._files, self._ambient = store, files, ambient
        self._coming: dict[str, dict[str, int]] = {}  # by upload: bytes by id of the pieces that are being stored

    async def begin(self, tenant: str, offered: Offered, size: int) -> PartedFile:
        """size: bytes that the pieces will have together; room is kept for them. Raises BodyTooLarge."""
        if size > self._files.largest:
            raise _too_large(f"`bytes`: a file may have {self._files.largest:,} at most.", "bytes")
        now = self._ambient.now()
        upload = PartedFile(
            id="upload_" + self._files.new_id(),
            tenant=tenant,
            name=offered.name,
            purpose=offered.purpose,
            media_type=offered.media_type,
            size=size,
            created=now,
            expires=now + SECONDS,
            file_seconds=offered.seconds,
        )
        with self._files.coming(tenant, size):
            await self._files.check_room(tenant, "bytes")
            await self._store.begin(upload)
        return upload

    async def add(self, tenant: str, upload_id: str, content: Content) -> FilePiece:
        """Raises NotFound, InvalidRequest, BodyTooLarge. The content stays the caller's to close."""
        upload = await self._get(tenant, upload_id)
        self._check_pending(upload)
        if not content.size:
            raise InvalidRequest("`data` is empty.", param="data")
        if content.size > LARGEST:
            raise _too_large(f"`data`: a part may have {LARGEST:,} bytes at most.", "data")
        piece = FilePiece("part_" + self._files.new_id(), upload_id, content.size, self._ambient.now())
        with self._adding(piece) as coming:
            total = sum(coming.values()) + await self._store.arrived(upload_id, but=coming)
            if total > upload.size:
                raise _mismatch("data", f"with it, the parts have {total:,} bytes", upload)
            await self._store.add_piece(piece, content)
        return piece

    async def complete(
        self, tenant: str, upload_id: str, piece_ids: Sequence[str], md5: str | None
    ) -> tuple[PartedFile, StoredFile]:
        """Makes the pieces, in this order, into a file. Of an upload that is complete, the file that it became: who did
        not get the answer asks again. Raises NotFound, InvalidRequest, BodyTooLarge."""
        upload = await self._get(tenant, upload_id)
        if upload.state == "completed":
            return upload, await self._files.get(tenant, upload.made_into)
        self._check_pending(upload)
        await self._check_pieces(upload, piece_ids)
        try:
            made = await self._made(upload, piece_ids, md5)
        except Fault:
            # Its pieces are gone when another request was first.
            if (await self._get(tenant, upload_id)).state != "completed":
                raise
            return await self.complete(tenant, upload_id, piece_ids, md5)
        if not await self._store.end(upload_id, "completed", made.id):
            await self._files.remove(tenant, made.id)  # there is one file of an upload
            return await self.complete(tenant, upload_id, piece_ids, md5)
        return await self._get(tenant, upload_id), made

    async def cancel(self, tenant: str, upload_id: str) -> PartedFile:
        """Raises NotFound, and InvalidRequest when it is complete."""
        upload = await self._get(tenant, upload_id)
        if upload.state == "pending":
            await self._store.end(upload_id, "cancelled")
            upload = await self._get(tenant, upload_id)
        if upload.state == "completed":
            raise _not_pending(upload)
        return upload

    async def _made(self, upload: PartedFile, piece_ids: Sequence[str], md5: str | None) -> StoredFile:
        content = await self._store.joined(upload.id, piece_ids)
        try:
            if md5 is not None and await asyncio.to_thread(_md5, content) != md5.lower():
                raise InvalidRequest(
                    "`md5` is not that of these parts in this order.", param="md5", code="wrong_checksum"
                )
            offered = Offered(upload.name, upload.media_type, upload.purpose, upload.file_seconds, "part_ids")
            looked = await self._files.look(offered, content)
            return await self._files.store(upload.tenant, offered, looked, content)
        finally:
            content.close()

    async def _get(self, tenant: str, upload_id: str) -> PartedFile:
        found = await self._store.get(tenant, upload_id, self._ambient.now())
        if found is None:
            raise NotFound(f"There is no upload {upload_id[:60]!r}.", code="upload_not_found", param="upload_id")
        return found

    @contextmanager
    def _adding(self, piece: FilePiece) -> Iterator[dict[str, int]]:
        """Around the storing of a piece. Gives the bytes of it and of those that began to be stored before it: of many
        that come at once, no more are let in than were announced."""
        coming = self._coming.setdefault(piece.upload, {})
        coming[piece.id] = piece.size
        try:
            yield dict(coming)
        finally:
            del coming[piece.id]
            if not coming:
                del self._coming[piece.upload]

    def _check_pending(self, upload: PartedFile) -> None:
        if upload.state != "pending" or upload.expires <= self._ambient.now():
            raise _not_pending(upload)

    async def _check_pieces(self, upload: PartedFile, piece_ids: Sequence[str]) -> None:
        here = {piece.id: piece.size for piece in await self._store.pieces(upload.id)}
        for i, piece_id in enumerate(piece_ids):
            if piece_id not in here:
                raise InvalidRequest(
                    f"`part_ids[{i}]`: the upload has no part {piece_id[:60]!r}.",
                    param=f"part_ids[{i}]",
                    code="part_not_found",
                )
        total = sum(here[piece_id] for piece_id in piece_ids)
        if total != upload.size:
            raise _mismatch("part_ids", f"these parts have {total:,} bytes together", upload)


def _md5(content: Content) -> str:
    """Tells whether bytes got lost on the way, and protects nothing."""
    digest = hashlib.md5(usedforsecurity=False)
    with content.reader() as reader:
        while piece := reader.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def _not_pending(upload: PartedFile) -> InvalidRequest:
    state = "expired" if upload.state == "pending" else upload.state
    return InvalidRequest(
        f"The upload {upload.id} is {state}. Begin another.", param="upload_id", code=f"upload_{state}"
    )


def _mismatch(param: str, why: str, upload: PartedFile) -> InvalidRequest:
    return InvalidRequest(
        f"`{param}`: {why}, and the upload was announced with {upload.size:,}.", param=param, code="wrong_upload_size"
    )


def _too_large(text: str, param: str) -> BodyTooLarge:
    return BodyTooLarge(text, param=param, code="file_too_large")
