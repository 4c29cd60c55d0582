"""What a person can put into a setting → a credential: a Cookie header, a token, or both.

Only cookies, the token and the browser's User-Agent are kept. The token is a JWT, whose claims are read locally and not
verified: the site does that. The other forms in which browsers hand out a session: `imports`.
"""

import base64
import binascii
import re

import msgspec
from msgspec import Struct, structs

from qwen_gateway.turn.faults import InvalidRequest

COOKIE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
MAX_LENGTH = 64 * 1024
MAX_USER_AGENT = 512


class Claims(Struct, frozen=True):
    """What a token says of itself. `id`: the user's. `exp`: seconds since 1970. `type`: `access_token` or nothing."""

    id: str = ""
    exp: float | None = None
    type: str = ""


_LATEST = 1e11
"""Seconds since 1970: some three thousand years ahead. A time beyond it is a mistake, or milliseconds."""


def sane_end(at: float | None) -> float | None:
    """The end of a token, as told from elsewhere; `None` when it can be no date."""
    return at if at is not None and 0 <= at < _LATEST else None


class Credential(Struct, frozen=True, repr_omit_defaults=True):
    """A session's cookies and token, and the User-Agent of the browser that it was made in. Its repr shows none.

    A User-Agent that no header could carry, or of more than 512 characters, is dropped."""

    cookies: dict[str, str]
    token: str | None = None
    user_agent: str | None = None

    def __post_init__(self) -> None:
        if self.user_agent is not None and not _is_user_agent(self.user_agent):
            structs.force_setattr(self, "user_agent", None)

    def __repr__(self) -> str:
        return f"Credential({len(self.cookies)} cookies, token: {'yes' if self.token else 'no'})"

    @property
    def claims(self) -> Claims:
        return claims(self.token) if self.token else Claims()


def _is_user_agent(text: str) -> bool:
    return 0 < len(text) <= MAX_USER_AGENT and text.isascii() and text.isprintable() and text == text.strip()


def read(*, cookies: str | None, token: str | None, user_agent: str | None = None) -> Credential | None:
    """A credential from what was pasted; `None` when nothing was. Raises InvalidRequest, without the secret in it.

    Without a token of its own, the `token` cookie is it: that is where the site keeps the long session token.
    """
    pasted, bare = _unquoted(cookies), _unquoted(token)
    jar = parse_cookies(pasted) if pasted else {}
    if bare[:7].lower() == "bearer ":
        bare = bare[7:].strip()
    if bare and not TOKEN.fullmatch(bare):
        raise InvalidRequest(
            "The Qwen token does not look like one (three parts with dots between them). Copy the value of "
            "`token` from the site's cookies or local storage.",
            param="token",
        )
    bare = bare or jar.get("token", "")
    if not bare and not jar:
        return None
    return joined(jar, bare, user_agent)


def joined(jar: dict[str, str], token: str, user_agent: str | None) -> Credential:
    """A session's cookies and its token, which may be empty."""
    if token and "token" not in jar and claims(token).type != "access_token":
        jar = {"token": token, **jar}  # write endpoints want the credential in the Cookie header (2026-09-22)
    return Credential(jar, token or None, user_agent)


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
    """What the token says; empty when it cannot be read. An end that can be no date is left out."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        decoded = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        told = msgspec.json.decode(decoded, type=Claims)
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        return Claims()
    return structs.replace(told, exp=sane_end(told.exp))
