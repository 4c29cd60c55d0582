"""Who is calling: a key of the operator's, a Qwen token of the caller's own, or anyone on this machine."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from qwen_gateway.turn.faults import BadKey

Headers = Sequence[tuple[bytes, bytes]]
MAX_KEY = 16 * 1024
_HOW = "Send it as `Authorization: Bearer …` or `x-api-key: …`."


class Caller(Struct, frozen=True):
    """kind: how the caller was let in. token: the caller's own Qwen token, in pass-through mode."""

    kind: Literal["key", "token", "open"]
    token: str | None = None


class Door:
    """keys: accepted API keys. pass_through: a bearer that is no key is the caller's Qwen token."""

    def __init__(self, keys: Sequence[str], *, pass_through: bool) -> None:
        self._keys = [_digest(key.encode()) for key in keys]
        self.pass_through = pass_through
        self.is_open = not keys and not pass_through

    def admit(self, headers: Headers) -> Caller:
        """Raises BadKey."""
        if self.is_open:
            return Caller("open")
        given = _given(headers)
        if given and self._is_key(given[0]):
            return Caller("key")
        if not given:
            raise BadKey(f"This gateway wants a key. {_HOW}", code="missing_api_key")
        if self.pass_through:
            token = given[0].decode("ascii", "replace")
            if token.count(".") == 2 and token.isprintable() and token.isascii():
                return Caller("token", token)
            raise BadKey("This gateway wants your Qwen token as the key: the value of `token` in the site's cookies.")
        raise BadKey(f"The key is not one of this gateway's. {_HOW}")

    def _is_key(self, given: bytes) -> bool:
        digest = _digest(given)
        # All keys are compared, each in constant time: timing tells nothing.
        return any([hmac.compare_digest(digest, key) for key in self._keys])  # noqa: C419 - all, not the first


def _given(headers: Headers) -> list[bytes]:
    """The credential that the request carries. Two different ones are a mistake worth an error."""
    found: list[bytes] = []
    for name, value in headers:
        if name == b"authorization":
            scheme, _, rest = value.strip().partition(b" ")
            if scheme.lower() == b"bearer" and rest.strip():
                found.append(rest.strip())
        elif name == b"x-api-key" and value.strip():
            found.append(value.strip())
    # Some programs (Continue, 2026) send the same key both ways.
    if len(set(found)) > 1:
        raise BadKey("The request carries two different keys.")
    if found and len(found[0]) > MAX_KEY:
        raise BadKey("The key is longer than any key.")
    return found


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
