"""Making and changing keys: what the management API and the command line do to them."""

import base64
import math
from collections.abc import Callable, Collection
from typing import Any, get_args

from msgspec import UNSET, Struct, UnsetType, structs

from qwen_gateway.relay.keys import PREFIX, Keys, digest
from qwen_gateway.relay.ports import Ambient, Continuation, KeyRecord, KeyStore, Role, Secret
from qwen_gateway.turn.faults import InvalidRequest, NameTaken, NotFound

LONGEST = 100
"""Characters of a name or pattern; also patterns of one key."""
MOST_STARS = 4
_BOUNDS = {"requests_per_minute": 1_000_000, "concurrency": 10_000, "tokens_per_day": 10**12}
_CENTURY = 100 * 366 * 86_400.0


class Terms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key is to be; the fields mean what they mean in `KeyRecord`. One not given stays as it is."""

    name: str | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    expires_at: float | UnsetType | None = UNSET
    models: tuple[str, ...] | UnsetType = UNSET
    endpoints: tuple[str, ...] | UnsetType = UNSET
    requests_per_minute: int | UnsetType | None = UNSET
    concurrency: int | UnsetType | None = UNSET
    tokens_per_day: int | UnsetType | None = UNSET
    continuation: Continuation | UnsetType | None = UNSET


class KeyChanges:
    """All methods name a key by its id or name. They raise InvalidRequest, NotFound, NameTaken, StorageUnavailable.

    token_bytes: so many random bytes. endpoints: the names that a key can be limited to.
    """

    def __init__(
        self,
        keys: Keys,
        store: KeyStore,
        ambient: Ambient,
        *,
        token_bytes: Callable[[int], bytes],
        endpoints: Collection[str],
    ) -> None:
        self._keys, self._store, self._ambient = keys, store, ambient
        self._token_bytes, self._endpoints = token_bytes, tuple(endpoints)

    async def create(self, terms: Terms) -> tuple[str, KeyRecord]:
        """The key's text, which nobody can get again, and its record."""
        fields = self._checked(terms)
        if "name" not in fields:
            raise InvalidRequest("A key wants a name.", param="name", code="missing_required_parameter")
        async with self._keys.changing():
            key_id = base64.b32encode(self._token_bytes(7)).decode().lower()[:10]
            text = self._text(key_id)
            record = KeyRecord(key_id, _digest(text), created_at=self._ambient.now(), **fields)
            self._check_name(record)
            await self._store.add(record)
            self._keys.put(record)
        return text, record

    async def change(self, which: str, terms: Terms) -> KeyRecord:
        return await self._replace(which, **self._checked(terms))

    async def disable(self, which: str) -> KeyRecord:
        return await self._replace(which, enabled=False)

    async def enable(self, which: str) -> KeyRecord:
        return await self._replace(which, enabled=True)

    async def rotate(self, which: str) -> tuple[str, KeyRecord]:
        """A new secret for the same id and terms. The old text stops to work at once."""
        async with self._keys.changing():
            old = self._keys.get(which)
            text = self._text(old.id)
            return text, await self._stored(structs.replace(old, digest=_digest(text)))

    async def _replace(self, which: str, **fields: Any) -> KeyRecord:
        async with self._keys.changing():
            return await self._stored(structs.replace(self._keys.get(which), **fields))

    def _check_name(self, record: KeyRecord) -> None:
        """Keys are named by id or name alike, so a name must not be another key's id. Raises NameTaken."""
        if any(other.id == record.name for other in self._keys.records()):
            raise NameTaken(f"{record.name!r} is the id of a key. Choose another name.", param="name")

    async def _stored(self, record: KeyRecord) -> KeyRecord:
        self._check_name(record)
        if not await self._store.replace(record):
            raise NotFound(f"There is no key {record.name!r} any more.", code="key_not_found")
        self._keys.put(record)
        return record

    def _text(self, key_id: str) -> str:
        secret = base64.urlsafe_b64encode(self._token_bytes(32)).decode().rstrip("=")
        return f"{PREFIX}{key_id}-{secret}"

    def _checked(self, terms: Terms) -> dict[str, Any]:
        """The fields that are given. Raises InvalidRequest."""
        fields = {name: value for name, value in structs.asdict(terms).items() if value is not UNSET}
        if "name" in fields:
            fields["name"] = _name(fields["name"])
        if "role" in fields:
            _check_word("role", fields["role"], get_args(Role))
        if fields.get("continuation") is not None:
            _check_word("continuation", fields["continuation"], get_args(Continuation))
        _check_patterns(fields.get("models", ()))
        for index, endpoint in enumerate(fields.get("endpoints", ())):
            if endpoint not in self._endpoints:
                raise InvalidRequest(
                    f"There is no endpoint {endpoint[:LONGEST]!r}. There are: {', '.join(self._endpoints)}.",
                    param=f"endpoints[{index}]",
                )
        for name, most in _BOUNDS.items():
            limit = fields.get(name)
            if limit is not None and not (type(limit) is int and 1 <= limit <= most):
                raise InvalidRequest(f"`{name}` must be a whole number from 1 to {most}, or none.", param=name)
        self._check_expiry(fields.get("expires_at"))
        return fields

    def _check_expiry(self, expires_at: float | None) -> None:
        if expires_at is None:
            return
        ahead = expires_at - self._ambient.now()
        if not math.isfinite(ahead) or not 0 < ahead <= _CENTURY:
            raise InvalidRequest(
                "`expires_at` must be in the future, in seconds since 1970, and within a hundred years.",
                param="expires_at",
            )


def _digest(text: str) -> Secret:
    return Secret(digest(text.encode()))


def _name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= LONGEST or not name.isprintable():
        raise InvalidRequest(f"`name` must be 1 to {LONGEST} characters that can be printed.", param="name")
    if "/" in name:  # it could not be named in an address
        raise InvalidRequest("`name` must have no slash.", param="name")
    return name


def _check_word(name: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise InvalidRequest(f"`{name}` must be one of: {', '.join(known)}.", param=name)


def _check_patterns(patterns: tuple[str, ...]) -> None:
    if len(patterns) > LONGEST:
        raise InvalidRequest(f"`models` may have {LONGEST} entries at most.", param="models")
    for index, pattern in enumerate(patterns):
        bad = not 1 <= len(pattern) <= LONGEST or not pattern.isprintable() or " " in pattern
        if bad or pattern.count("*") > MOST_STARS:
            raise InvalidRequest(
                f"A model's name or pattern has 1 to {LONGEST} characters, no spaces, and at most {MOST_STARS} stars.",
                param=f"models[{index}]",
            )
