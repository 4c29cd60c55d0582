"""An account's session as it lives on: cookies that the site renews, an access token that lasts 15 minutes.

Satisfies `turn.contracts.Identity`. Changes only through its methods, and never reads a clock.
"""

import hashlib
import re
from email.utils import parsedate_to_datetime

from qwen_gateway.accounts.credential import COOKIE_NAME, Claims, Credential, claims
from qwen_gateway.turn.contracts import Tokens

REFRESH_BEFORE = 90.0
"""Seconds before its end at which an access token is renewed; a request must not start with a dying one."""


class Session:
    """One account. `key` names it in logs and on disk without saying who it is."""

    def __init__(self, credential: Credential, user_agent: str | None = None) -> None:
        self._cookies = dict(credential.cookies)
        self._token = credential.token
        self._claims = credential.claims
        self.user_agent = user_agent
        self.cookie_header = _header(self._cookies)
        who = self._claims.id or self._token or self.cookie_header
        self.key = hashlib.sha256(who.encode()).hexdigest()[:12]

    def __repr__(self) -> str:
        return f"Session({self.key})"

    @property
    def bearer(self) -> str | None:
        return self._token

    @property
    def expires_at(self) -> float | None:
        """When a person must log in again, in seconds since 1970: the end of the long session, if known."""
        long = claims(self._cookies.get("token", ""))
        return long.exp if long.exp is not None else self._claims.exp if not self.can_refresh else None

    @property
    def can_refresh(self) -> bool:
        """The site gives new access tokens for a refresh cookie, and for the long session's own cookie (late 2026-09).
        Where that long token itself is in use there is nothing to renew."""
        return "refresh_token" in self._cookies or (self._claims.type == "access_token" and "token" in self._cookies)

    def needs_refresh(self, now: float) -> bool:
        """Whether the token at hand is at its end and can be renewed."""
        end = self._claims.exp
        return self.can_refresh and end is not None and end - now < REFRESH_BEFORE

    def expired(self, now: float) -> bool:
        """Nothing that we hold can still be valid."""
        end = self._claims.exp
        return not self.can_refresh and end is not None and end <= now

    def renew(self, tokens: Tokens) -> None:
        """Takes what a refresh gave."""
        self._token = tokens.access_token
        read = claims(tokens.access_token)
        self._claims = Claims(read.id, read.exp if read.exp is not None else tokens.expires_at, read.type)
        if tokens.refresh_token:
            self._cookies["refresh_token"] = tokens.refresh_token
            self.cookie_header = _header(self._cookies)

    def absorb(self, set_cookies: tuple[str, ...], now: float) -> None:
        """Honours `Set-Cookie` lines. Attributes other than an end that has passed are the browser's business."""
        for line in set_cookies:
            pair, *attributes = line.split(";")
            name, sign, value = pair.strip().partition("=")
            if not sign or not COOKIE_NAME.fullmatch(name) or not value.isprintable():
                continue
            if not value or _is_over(attributes, now):
                self._cookies.pop(name, None)
            else:
                self._cookies[name] = value
        if set_cookies:
            self.cookie_header = _header(self._cookies)
            self._follow_token_cookie(now)

    def _follow_token_cookie(self, now: float) -> None:
        """A renewed long token replaces the one in use, unless that is an access token that still lives."""
        cookie = self._cookies.get("token")
        alive = self._claims.exp is None or self._claims.exp > now
        if cookie and cookie != self._token and not (self._claims.type == "access_token" and alive):
            self._token, self._claims = cookie, claims(cookie)


def _is_over(attributes: list[str], now: float) -> bool:
    """Whether `Max-Age` or, without it, `Expires` (RFC 6265 §5.3) says that the cookie's time has passed."""
    named = {name.strip().lower(): value.strip() for name, _, value in (one.partition("=") for one in attributes)}
    age = named.get("max-age", "")
    if re.fullmatch(r"-?[0-9]+", age):
        return age.startswith("-") or not age.strip("0")
    try:
        return parsedate_to_datetime(named.get("expires", "")).timestamp() <= now
    except (ValueError, OverflowError):
        return False


def _header(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())
