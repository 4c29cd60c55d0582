"""The simulator's tokens: the site's two kinds of JWT, signed with a key of the simulator's own.

Here: signing and reading. Not here: who may do what with a token (`auth`).
"""

import base64
import hashlib
import hmac
import json
import secrets
import time

import msgspec

LONG_SECONDS = 30 * 24 * 3600  # most sources of 2026 say 30 days; one of Oct 2025 says 7: clients must read `exp`
ACCESS_SECONDS = 900  # exp - iat of the token captured on 25 Sep 2026


class Claims(msgspec.Struct):
    """What a token says of its bearer, with the site's own key names."""

    id: str
    last_password_change: int
    exp: int
    type: str | None = None
    iat: int | None = None


class Mint:
    """Issues tokens and knows its own again."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._password_change = int(time.time()) - 86400

    def long_token(self, user: str, seconds: float = LONG_SECONDS) -> str:
        """The session token of the web app up to Sep 2026, still honoured as the cookie `token`."""
        claims = {"id": user, "last_password_change": self._password_change, "exp": _expiry(seconds)}
        return self._sign({"alg": "HS256", "typ": "JWT"}, claims)

    def access_token(self, user: str, seconds: float = ACCESS_SECONDS) -> str:
        """The 15-minute token (seen 25 Sep 2026, web 0.3.11)."""
        claims = {
            "id": user,
            "last_password_change": self._password_change,
            "type": "access_token",
            "exp": _expiry(seconds),
            "iat": int(time.time()),
        }
        return self._sign({"alg": "HS256", "kid": "legacy", "typ": "JWT"}, claims)

    def read(self, token: str) -> Claims | None:
        """The claims of a token that is ours and still runs, else None."""
        claims = self.claims(token)
        return claims if claims is not None and claims.exp > time.time() else None

    def claims(self, token: str) -> Claims | None:
        """The claims of a token that is ours, also of one that is over."""
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(signed).encode()):
            return None
        try:
            return msgspec.json.decode(_unpad(signed.partition(".")[2]), type=Claims)
        except (ValueError, msgspec.DecodeError):
            return None

    def _sign(self, header: dict[str, str], claims: dict[str, object]) -> str:
        signed = f"{_pad_free(header)}.{_pad_free(claims)}"
        return f"{signed}.{self._signature(signed)}"

    def _signature(self, signed: str) -> str:
        digest = hmac.new(self._key, signed.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _expiry(seconds: float) -> int:
    return int(time.time() + seconds)


def _pad_free(value: object) -> str:
    text = json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _unpad(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
