"""Who is calling: a key of this gateway's, a Qwen token of the caller's own, or anyone on this machine.

A key is judged by `relay.keys` alone, wherever in the request it was carried.
"""

import hashlib
import hmac
import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal
from urllib.parse import parse_qsl

from msgspec import Struct

from qwen_gateway.relay.keys import Key, Keys, unavailable
from qwen_gateway.relay.ports import Role
from qwen_gateway.turn.faults import BadKey, Fault, Forbidden, LimitReached

Headers = Sequence[tuple[bytes, bytes]]
MAX_KEY = 16 * 1024
MAX_WRONG, WRONG_SECONDS, MAX_ADDRESSES = 20, 60.0, 4096
"""Wrong keys that an address may try in so many seconds; and addresses remembered, the oldest of which go first."""

_HOW = "Send it as `Authorization: Bearer …`, `x-api-key: …` or `x-goog-api-key: …`."
_KEY_HEADERS = (b"x-api-key", b"x-goog-api-key")
_KEY_PARAMETERS = ("key", "api_key")
_GEMINI = "/v1beta/"
"""Gemini's clients put the key into the address, as `?key=…`. Nobody else may: addresses end up in logs."""
_MOST_PARAMETERS = 100
_RANK: dict[Role, int] = {"client": 0, "viewer": 1, "admin": 2}
_FORWARDING = frozenset((b"forwarded", b"via", b"x-real-ip", b"true-client-ip", b"cf-connecting-ip"))


class Caller(Struct, frozen=True):
    """kind: how the caller was let in. key: `None` unless it was by one. token: the caller's own Qwen token, in
    pass-through mode."""

    kind: Literal["key", "token", "open"]
    key: Key | None = None
    token: str | None = None

    def __repr__(self) -> str:
        return f"Caller({self.kind}{f', {self.key.id}' if self.key is not None else ''})"


_ANYONE = Caller("open")
_BOOTSTRAP = Caller("key", Key("bootstrap", "bootstrap", "admin"))


class TooManyWrongKeys(LimitReached):
    code = "too_many_wrong_keys"
    retryable: ClassVar[bool] = False  # the same key will not become right


class Door:
    """pass_through: a bearer that is no key is the caller's Qwen token. may_be_open: whether everyone who can reach
    the port is let in while there is no key; so never where other machines reach it. bootstrap: a secret that counts
    as an admin's key until there is one; empty: none. clock: seconds that only count up."""

    def __init__(
        self,
        keys: Keys,
        *,
        pass_through: bool,
        may_be_open: bool,
        bootstrap: str,
        clock: Callable[[], float],
    ) -> None:
        self._keys, self.pass_through, self._may_be_open = keys, pass_through, may_be_open
        self._bootstrap = _digest(bootstrap.encode()) if bootstrap else None
        self._wrong = _WrongKeys(clock)

    @property
    def is_open(self) -> bool:
        """Nobody needs a key. Closed as soon as one is made, and while it is not known that there is none."""
        return self._may_be_open and not self.pass_through and not self._keys.has_any and self._keys.fresh

    def admit(self, headers: Headers, path: str, query: bytes = b"", peer: str | None = None) -> Caller:
        """path: in its one spelling. query: as sent. peer: the address that the connection comes from.

        Raises BadKey, LimitReached, StorageUnavailable."""
        if self.is_open:
            return _ANYONE
        given = _given(headers, path, query)
        if given is None:
            raise self._missing()
        try:
            return Caller("key", self._keys.find(given))
        except Fault as fault:
            if self.pass_through:
                if (token := _token(given)) is not None:
                    return Caller("token", token=token)
                if fault.code == BadKey.code:
                    fault = BadKey(
                        "This gateway wants your Qwen token as the key: the value of `token` in the site's cookies."
                    )
            raise self._judged(fault, peer) from None

    def admit_admin(
        self, headers: Headers, path: str, query: bytes, peer: str | None, needed: Literal["viewer", "admin"]
    ) -> Caller:
        """Lets the caller manage the gateway: never without a key. Raises as `admit` does, and Forbidden."""
        given = _given(headers, path, query)
        if given is None:
            raise _no_key()
        if self._bootstrap is not None and hmac.compare_digest(_digest(given), self._bootstrap):
            self._check_bootstrap(headers, peer)
            return _BOOTSTRAP
        try:
            key = self._keys.find(given)
        except Fault as fault:
            raise self._judged(fault, peer) from None
        if _RANK[key.role] < _RANK[needed]:
            raise Forbidden(
                f"This wants a key with the role {needed!r}; {key.name!r} has the role {key.role!r}.",
                code="role_not_sufficient",
            )
        return Caller("key", key)

    def _missing(self) -> Fault:
        """Without knowing whether there are keys at all, nobody is told that one is missing."""
        sure = self.pass_through or self._keys.has_any or self._keys.fresh
        return _no_key() if sure else unavailable()

    def _judged(self, fault: Fault, peer: str | None) -> Fault:
        """The fault to raise for a key that was not let in; counts wrong ones."""
        if fault.code != BadKey.code:
            return fault
        left = self._wrong.add(peer)
        if left is None:
            return BadKey(f"{fault.text} {_HOW}")
        return TooManyWrongKeys(
            f"Too many wrong keys came from your address. Try again in {left:.0f} s, with the right one.",
            retry_after=left,
        )

    def _check_bootstrap(self, headers: Headers, peer: str | None) -> None:
        # A reverse proxy on this machine would make everybody look as if they were here.
        forwarded = any(name in _FORWARDING or name.startswith(b"x-forwarded-") for name, _ in headers)
        if forwarded or not _is_here(peer):
            raise Forbidden(
                "The bootstrap key works from the gateway's own machine only, and not through a proxy.",
                code="bootstrap_not_from_here",
            )
        if not self._keys.fresh:
            raise unavailable()
        if self._keys.has_admin:
            raise BadKey(
                "The bootstrap key no longer works: there is an admin's key now. Use that one.",
                code="bootstrap_key_retired",
            )


class _WrongKeys:
    """Counts wrong keys by address, within a minute that begins with the first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()  # by address: since when, how many

    def add(self, peer: str | None) -> float | None:
        """Counts one more. If that is too many: the seconds that are left of the minute."""
        address, now = _network(peer), self._clock()
        since, count = self._seen.get(address, (now, 0))
        if now - since >= WRONG_SECONDS:
            del self._seen[address]
            since, count = now, 0
        if count >= MAX_WRONG:
            return max(1.0, WRONG_SECONDS - (now - since))
        self._seen[address] = (since, count + 1)
        if len(self._seen) > MAX_ADDRESSES:
            self._seen.popitem(last=False)
        return None


def _given(headers: Headers, path: str, query: bytes) -> bytes | None:
    """The credential that the request carries. Two different ones are a mistake worth an error."""
    found = set()
    for name, value in headers:
        if name == b"authorization":
            scheme, _, rest = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                found.add(rest.strip())
        elif name in _KEY_HEADERS:
            found.add(value.strip())
    if query:
        found.update(_in_query(path, query))
    found.discard(b"")
    if not found:
        return None
    # Some programs (Continue, 2026) send the same key in two places.
    if len(found) > 1:
        raise BadKey("The request carries two different keys.")
    given = found.pop()
    if len(given) > MAX_KEY:
        raise BadKey("The key is longer than any key.")
    return given


def _in_query(path: str, query: bytes) -> list[bytes]:
    if b"key" not in query.lower() and b"%" not in query:
        return []
    try:
        fields = parse_qsl(query.decode("latin-1"), max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise BadKey("The address has too many parameters.") from None
    found = []
    for name, value in fields:
        if name == "key" and path.startswith(_GEMINI):
            found.append(value.encode())
        elif name.lower() in _KEY_PARAMETERS:
            raise BadKey(
                f"Keys do not belong into addresses, which end up in logs. Replace this one. {_HOW}", code="key_in_url"
            )
    return found


def _no_key() -> BadKey:
    return BadKey(f"This gateway wants a key. {_HOW}", code="missing_api_key")


def _token(given: bytes) -> str | None:
    """The Qwen token that this may be."""
    token = given.decode("ascii", "replace")
    return token if token.count(".") == 2 and token.isprintable() and token.isascii() else None


def _network(peer: str | None) -> str:
    """What one caller can send from: an IPv4 address, or 64 bits of IPv6."""
    address = _address(peer)
    if address is None or address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


def _is_here(peer: str | None) -> bool:
    address = _address(peer)
    return address is not None and address.is_loopback


def _address(peer: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address((peer or "").partition("%")[0])
    except ValueError:
        return None
    if address.version == 6 and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
