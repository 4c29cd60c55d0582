"""Files that callers keep at the gateway. Each caller has files of its own.

A file is looked at when it comes: one that no model could be given is refused then, and not in the middle of a
conversation. Nothing of it goes to the site before a question needs it.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from msgspec import Struct

from qwen_gateway.media import kinds
from qwen_gateway.media.kinds import Looked
from qwen_gateway.media.limits import Limits
from qwen_gateway.relay.file_ports import FileStore, StoredFile
from qwen_gateway.relay.ports import Ambient
from qwen_gateway.turn.faults import BodyTooLarge, Fault, NotFound
from qwen_gateway.turn.files import Content


class Keep(Struct, frozen=True):
    """seconds: how long a file stays, unless its caller says less; `None`: for good. quota: bytes of each caller."""

    limits: Limits
    seconds: float | None
    quota: int

    def lasts(self, seconds: float | None) -> float | None:
        """seconds: as the caller says."""
        said = [one for one in (seconds, self.seconds) if one is not None]
        return min(said, default=None)


class Offered(Struct, frozen=True):
    """What a caller says of a file. media_type: or empty. seconds: how long it is to be kept; `None`: as long as any.
    param: the field that it stands in."""

    name: str
    media_type: str
    purpose: str
    seconds: float | None
    param: str


class Listed(Struct, frozen=True):
    files: Sequence[StoredFile]
    more: bool


class Files:
    """tenant, below: whose the files are."""

    def __init__(self, store: FileStore, ambient: Ambient, keep: Keep) -> None:
        self._store, self._ambient, self._keep = store, ambient, keep
        self._coming: Counter[str] = Counter()  # bytes by tenant that are being stored

    @property
    def largest(self) -> int:
        """Bytes of one file, of whatever kind."""
        return self._keep.limits.most(None)

    async def add(self, tenant: str, offered: Offered, content: Content) -> StoredFile:
        """Raises InvalidRequest and BodyTooLarge that name `offered.param`, and StorageUnavailable. The content stays
        the caller's to close."""
        looked = await self.look(offered, content)
        with self.coming(tenant, content.size):
            await self.check_room(tenant, offered.param)
            return await self.store(tenant, offered, looked, content)

    async def get(self, tenant: str, file_id: str) -> StoredFile:
        """Raises NotFound."""
        found = await self._store.get(tenant, file_id, self._ambient.now())
        if found is None:
            raise _no_file(file_id)
        return found

    async def list(self, tenant: str, *, limit: int, after: str, order: Literal["asc", "desc"], purpose: str) -> Listed:
        """after: id of the last one of the page before, or empty."""
        found = await self._store.list(
            tenant, self._ambient.now(), limit=limit + 1, after=after, order=order, purpose=purpose
        )
        return Listed(found[:limit], more=len(found) > limit)

    async def content(self, file: StoredFile) -> Content:
        """Raises NotFound when the bytes are gone, and StorageUnavailable. Whoever asked closes it."""
        return await self._store.content(file)

    async def remove(self, tenant: str, file_id: str) -> None:
        """Raises NotFound."""
        await self.get(tenant, file_id)
        if not await self._store.remove(tenant, file_id):
            raise _no_file(file_id)

    # -- what files that come in pieces need too

    async def look(self, offered: Offered, content: Content) -> Looked:
        """Raises InvalidRequest and BodyTooLarge."""
        head = await asyncio.to_thread(_head, content)
        try:
            looked = kinds.look(
                head, content.size, claimed_kind=None, claimed_type=offered.media_type, name=offered.name
            )
            self._keep.limits.check_size(looked.kind, content.size)
        except Fault as fault:
            fault.param = fault.param or offered.param
            raise
        return looked

    async def store(self, tenant: str, offered: Offered, looked: Looked, content: Content) -> StoredFile:
        now, seconds = self._ambient.now(), self._keep.lasts(offered.seconds)
        file = StoredFile(
            id="file-" + self.new_id(),
            tenant=tenant,
            name=looked.name,
            purpose=offered.purpose,
            media_type=looked.media_type,
            kind=looked.kind,
            size=content.size,
            sha256=content.sha256,
            created=now,
            expires=None if seconds is None else now + seconds,
        )
        await self._store.add(file, content)
        return file

    @contextmanager
    def coming(self, tenant: str, size: int) -> Iterator[None]:
        """Around the storing of so many bytes: of many that come at once, no more are let in than there is room for."""
        self._coming[tenant] += size
        try:
            yield
        finally:
            self._coming[tenant] -= size
            if not self._coming[tenant]:
                del self._coming[tenant]

    async def check_room(self, tenant: str, param: str) -> None:
        """Raises BodyTooLarge when what is coming would be more than the caller may keep."""
        used, quota = await self._store.used(tenant, self._ambient.now()), self._keep.quota
        if used + self._coming[tenant] > quota:
            raise BodyTooLarge(
                f"There is no room for this file: you may keep {quota:,} bytes here, and keep {used:,}. Delete files "
                "that you no longer need (DELETE /v1/files/{id}), or have the gateway keep more (`max_kept_bytes`).",
                param=param,
                code="file_quota_exceeded",
            )

    def new_id(self) -> str:
        return self._ambient.new_id().replace("-", "")


def _head(content: Content) -> bytes:
    with content.reader() as reader:
        return reader.read(kinds.HEAD)


def _no_file(file_id: str) -> NotFound:
    return NotFound(f"There is no file {file_id[:60]!r}.", code="file_not_found", param="file_id")
