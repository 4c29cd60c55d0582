"""The keys that clients call with: a book in memory, so that no request waits for the database to be let in.

A stored key reads `sk-qg-<id>-<secret>`: the id is public, the secret is 256 random bits, so one round of SHA-256 is
all the protection that its digest needs. Keys of the settings may have any form; they are known by digest alone.
"""

import asyncio
import hashlib
import hmac
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from msgspec import Struct

from qwen_gateway.relay.ports import Ambient, Continuation, KeyRecord, KeyStore, Role
from qwen_gateway.turn.faults import BadKey, Forbidden, NotFound, StorageUnavailable

PREFIX = "sk-qg-"
_STORED = re.compile(rb"sk-qg-([a-z2-7]{10})-[A-Za-z0-9_-]{43}")
_NOBODY = bytes(32)
"""Compared with when the id is unknown, so that this takes as long as when it is known."""


class Key(Struct, frozen=True):
    """What the rest needs to know of a key that was let in. The fields mean what they mean in `KeyRecord`."""

    id: str
    name: str
    role: Role = "client"
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    concurrency: int | None = None
    tokens_per_day: int | None = None
    continuation: Continuation | None = None


class Keys:
    """static: keys of the settings; they are clients without limits. stale_after: seconds since the database was last
    seen to hold nothing newer, after which an unknown key is no longer known to be wrong."""

    def __init__(self, store: KeyStore, ambient: Ambient, *, static: Sequence[str], stale_after: float) -> None:
        self._store, self._ambient, self._stale_after = store, ambient, stale_after
        self._static = {digest(key.encode()): _static(key) for key in static}
        self._stored: dict[str, tuple[KeyRecord, Key]] = {}
        self._confirmed_at: float | None = None
        self._revision: int | None = None
        self._lock = asyncio.Lock()

    @property
    def loaded(self) -> bool:
        return self._confirmed_at is not None

    @property
    def fresh(self) -> bool:
        """Loaded, and confirmed lately. A clock that was set back makes it stale, until it is confirmed again."""
        at = self._confirmed_at
        return at is not None and abs(self._ambient.now() - at) <= self._stale_after

    @property
    def has_any(self) -> bool:
        """Whether a key is known at all. One that is disabled or expired counts: revoking it must open nothing."""
        return bool(self._static or self._stored)

    @property
    def has_admin(self) -> bool:
        """Whether an admin's key is known that works."""
        now = self._ambient.now()
        return any(
            record.role == "admin" and record.enabled and not _expired(record, now)
            for record, _ in self._stored.values()
        )

    def find(self, given: bytes) -> Key:
        """Raises BadKey, and StorageUnavailable where the database may know a key that the book does not.

        A known key works however long the database is away: what is known of it was true when last seen.
        """
        given_digest = digest(given)
        if (static := self._static.get(given_digest)) is not None:
            return static
        if not self.loaded:
            raise unavailable()
        shape = _STORED.fullmatch(given)
        record, key = self._stored.get(shape[1].decode(), (None, None)) if shape else (None, None)
        genuine = hmac.compare_digest(given_digest, record.digest.value if record is not None else _NOBODY)
        if record is None or key is None or not genuine:
            if shape and not self.fresh:
                raise unavailable()
            raise BadKey("The key is not one of this gateway's.")
        if not record.enabled:
            raise BadKey(f"The key {record.name!r} is disabled. Ask whoever runs this gateway.", code="key_disabled")
        if _expired(record, self._ambient.now()):
            day = datetime.fromtimestamp(record.expires_at or 0, UTC).date()
            raise BadKey(
                f"The key {record.name!r} expired on {day} (UTC). Ask whoever runs this gateway for another.",
                code="key_expired",
            )
        return key

    def records(self) -> list[KeyRecord]:
        """The stored keys, by `created_at`."""
        return [record for record, _ in self._stored.values()]

    def get(self, which: str) -> KeyRecord:
        """The stored key of this id, else of this name. Raises NotFound."""
        if (found := self._stored.get(which)) is not None:
            return found[0]
        for record, _ in self._stored.values():
            if record.name == which:
                return record
        raise NotFound(f"There is no key {which[:100]!r}.", code="key_not_found")

    def id_of(self, which: str) -> str:
        """Of the stored key of this id or name, or of the one of the settings whose id it is. Raises NotFound."""
        if any(which == key.id for key in self._static.values()):
            return which
        return self.get(which).id

    async def reload(self) -> None:
        """Raises StorageUnavailable; the book is then as it was."""
        async with self.changing():
            pass

    async def follow(self, revision: int) -> None:
        """Takes the database's number for `keys`, just read: loads what changed. Raises StorageUnavailable."""
        if revision == self._revision and self.loaded:
            self.confirmed()
        else:
            await self.reload()
            self._revision = revision

    def confirmed(self) -> None:
        """The database was just seen to be as it was when the book was loaded."""
        if self.loaded:
            self._confirmed_at = self._ambient.now()

    @asynccontextmanager
    async def changing(self) -> AsyncGenerator[None, None]:
        """Loads the book and holds it: no other load or change of this process comes between. A change that began
        with an older record would undo what another process has changed since. Raises StorageUnavailable."""
        async with self._lock:
            began = self._ambient.now()
            records = await self._store.load()
            self._stored = {record.id: (record, _view(record)) for record in records}
            self._confirmed_at = began
            yield

    def put(self, record: KeyRecord) -> None:
        """The store holds this now. Only inside `changing`."""
        self._stored[record.id] = (record, _view(record))


def digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def unavailable() -> StorageUnavailable:
    return StorageUnavailable(
        "The gateway cannot look up keys at the moment: its database does not answer. Try again in a moment.",
        retry_after=5,
    )


def may_use_model(key: Key, model_id: str) -> bool:
    """model_id: of the model that a client's name was resolved to, so that its spelling plays no part."""
    return not key.models or any(fnmatchcase(model_id, pattern) for pattern in key.models)


def check_model(key: Key | None, model_id: str) -> None:
    """Raises Forbidden. `None`: a caller without a key has no limits."""
    if key is not None and not may_use_model(key, model_id):
        raise Forbidden(
            f"The key {key.name!r} may not use the model {model_id}. It may use: {', '.join(key.models)}.",
            code="model_not_allowed",
            param="model",
        )


def check_endpoint(key: Key | None, endpoint: str) -> None:
    """endpoint: name of a dialect, or `models`. Raises Forbidden."""
    if key is not None and key.endpoints and endpoint not in key.endpoints:
        raise Forbidden(
            f"The key {key.name!r} may not use {endpoint}. It may use: {', '.join(key.endpoints)}.",
            code="endpoint_not_allowed",
        )


def _static(key: str) -> Key:
    name = f"static-{digest(key.encode()).hex()[:8]}"
    return Key(name, name)


def _view(record: KeyRecord) -> Key:
    return Key(
        record.id,
        record.name,
        record.role,
        record.models,
        record.endpoints,
        record.requests_per_minute,
        record.concurrency,
        record.tokens_per_day,
        record.continuation,
    )


def _expired(record: KeyRecord, now: float) -> bool:
    return record.expires_at is not None and record.expires_at <= now
