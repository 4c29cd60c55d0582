"""What a person can copy out of a browser → a credential: a Cookie header, a token, or both.

Only cookies and the token are kept. The token is a JWT, whose claims are read locally and not verified: the site
does that.
"""

import base64
import binascii
import re

import msgspec
from msgspec import Struct

from qwen_gateway.turn.faults import InvalidRequest

COOKIE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
MAX_LENGTH = 64 * 1024


class Claims(Struct, frozen=True):
    """What a token says of itself. `id`: the user's. `exp`: seconds since 1970. `type`: `access_token` or nothing."""

    id: str = ""
    exp: float | None = None
    type: str = ""


class Credential(Struct, frozen=True, repr_omit_defaults=True):
    """A session's cookies and token. Its repr shows neither."""

    cookies: dict[str, str]
    token: str | None = None

    def __repr__(self) -> str:
        return f"Credential({len(self.cookies)} cookies, token: {'yes' if self.token else 'no'})"

    @property
    def claims(self) -> Claims:
        return claims(self.token) if self.token else Claims()


def read(*, cookies: str | None, token: str | None) -> Credential | None:
    """A credential from what was pasted; `None` when nothing was. Raises InvalidRequest, without the secret in it.

    Without a token of its own, the `token` cookie is it: that is where the site keeps the long session token.
    """
    pasted, bare = _unquoted(cookies), _unquoted(token)
    jar = parse_cookies(pasted) if pasted else {}
    if bare[:7].lower() == "bearer ":
        bare = bare[7:].strip()
    if bare and not _TOKEN.fullmatch(bare):
        raise InvalidRequest(
            "The Qwen token does not look like one (three parts with dots between them). Copy the value of "
            "`token` from the site's cookies or local storage.",
            param="token",
        )
    bare = bare or jar.get("token", "")
    if not bare and not jar:
        return None
    if bare and "token" not in jar and claims(bare).type != "access_token":
        jar = {"token": bare, **jar}  # write endpoints want the credential in the Cookie header (2026-09-22)
    return Credential(jar, bare or None)


def _unquoted(text: str | None) -> str:
    """Without quotes around it: `docker run --env-file` leaves those of an `.env` file in place."""
    text = (text or "").strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].strip()
    return text


def parse_cookies(header: str) -> dict[str, str]:
    """`a=1; b=2`, with or without `Cookie:` before it. Raises InvalidRequest."""
    if len(header) > MAX_LENGTH:
        raise InvalidRequest("The cookies are longer than 64 KB. Copy only the Cookie header.", param="cookies")
    text = header.strip()
    if text[:7].lower() == "cookie:":
        text = text[7:]
    jar: dict[str, str] = {}
    for pair in text.replace("\n", ";").split(";"):
        name, sign, value = pair.strip().partition("=")
        if not pair.strip():
            continue
        if not sign or not COOKIE_NAME.fullmatch(name) or not value.isprintable() or not value.isascii():
            raise InvalidRequest(
                "The cookies cannot be read. Copy the whole value of the Cookie header: `name=value; name=value`.",
                param="cookies",
            )
        jar[name] = value
    return jar


def claims(token: str) -> Claims:
    """What the token says; empty when it cannot be read."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        decoded = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        return msgspec.json.decode(decoded, type=Claims)
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        return Claims()
