"""An account's session as it lives on: cookies that the site renews, an access token that lasts 15 minutes.

Satisfies `turn.contracts.Identity`. Changes only through its methods, and never reads a clock.
"""

import hashlib
import re
from email.utils import parsedate_to_datetime
from typing import Self

import msgspec
from msgspec import Struct

from qwen_gateway.accounts.credential import COOKIE_NAME, Claims, Credential, claims, sane_end
from qwen_gateway.turn.contracts import Tokens
from qwen_gateway.turn.faults import BadVault

REFRESH_BEFORE = 90.0
"""Seconds before its end at which an access token is renewed; a request must not start with a dying one."""


_PASSING = {"acw_tc", "x-ap", "tfstk", "isg", "_bl_uid"}
"""Cookies of the site's load balancer and anti-bot script, with every `ssxmod_…`: they change at every other reply
(2026-09), and a session without them is as good. Not worth a write to the database."""


class _Dump(Struct):
    """A session at rest. `ends`: of a token that does not say it itself, in seconds since 1970."""

    cookies: dict[str, str]
    token: str | None = None
    user_agent: str | None = None
    ends: float | None = None


class Session:
    """One account. `key` names it in logs and on disk without saying who it is; without one given it is made from the
    user's id, so that a fresh session of the same user has the same key, or else from the token or the cookies.

    `user_agent`: the credential's, unless another is given. `generation`: rises whenever what `dump` gives has become
    different in a way that is worth storing.
    """

    def __init__(self, credential: Credential, user_agent: str | None = None, key: str | None = None) -> None:
        self._cookies = dict(credential.cookies)
        self._token = credential.token
        self._claims = credential.claims
        self.user_agent = credential.user_agent if user_agent is None else user_agent
        self.cookie_header = _header(self._cookies)
        self.generation = 0
        who = self._claims.id or self._token or self.cookie_header
        self.key = hashlib.sha256(who.encode()).hexdigest()[:12] if key is None else key

    @classmethod
    def load(cls, data: bytes, key: str) -> Self:
        """The session that `dump` wrote. Raises BadVault."""
        try:
            stored = msgspec.json.decode(data, type=_Dump)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadVault(
                f"The stored session of the account {key} cannot be read. Log in again: `qwen-gateway login`."
            ) from error
        session = cls(Credential(stored.cookies, stored.token), stored.user_agent, key)
        session._end(stored.ends)
        return session

    def dump(self) -> bytes:
        """All that `load` needs. Holds secrets."""
        return msgspec.json.encode(_Dump(self._cookies, self._token, self.user_agent, self._claims.exp))

    def __repr__(self) -> str:
        return f"Session({self.key})"

    @property
    def bearer(self) -> str | None:
        return self._token

    @property
    def expires_at(self) -> float | None:
        """When a person must log in again, in seconds since 1970: the end of the long session, or of the refresh cookie
        where that says it, whichever is later. `None` when neither does."""
        long = (claims(self._cookies.get(name, "")).exp for name in ("token", "refresh_token"))
        ends = [end for end in long if end is not None]
        return max(ends) if ends else self._claims.exp if not self.can_refresh else None

    @property
    def token_ends_at(self) -> float | None:
        """When the token in use ends, in seconds since 1970, if it says so."""
        return self._claims.exp

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

    def renew(self, tokens: Tokens, now: float = 0.0) -> None:
        """Takes what a refresh gave. A `token` cookie whose time is over goes: the site might refuse a dead credential
        beside a living one."""
        self._token = tokens.access_token
        self._claims = claims(tokens.access_token)
        self._end(tokens.expires_at)
        self.generation += 1
        if tokens.refresh_token:
            self._cookies["refresh_token"] = tokens.refresh_token
        long = claims(self._cookies.get("token", "")).exp
        if long is not None and long <= now:
            del self._cookies["token"]
        self.cookie_header = _header(self._cookies)

    def _end(self, told: float | None) -> None:
        """When the token at hand ends, where it does not say it itself."""
        if self._claims.exp is None:
            self._claims = Claims(self._claims.id, sane_end(told), self._claims.type)

    def absorb(self, set_cookies: tuple[str, ...], now: float) -> None:
        """Honours `Set-Cookie` lines. Attributes other than an end that has passed are the browser's business."""
        before = self._lasting
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
            self.generation += self._lasting != before

    @property
    def _lasting(self) -> tuple[str | None, dict[str, str]]:
        """What is worth storing when it changes."""
        cookies = self._cookies.items()
        return self._token, {name: value for name, value in cookies if not _is_passing(name)}

    def _follow_token_cookie(self, now: float) -> None:
        """A renewed long token replaces the one in use, unless that is an access token that still lives."""
        cookie = self._cookies.get("token")
        alive = self._claims.exp is None or self._claims.exp > now
        if cookie and cookie != self._token and not (self._claims.type == "access_token" and alive):
            self._token, self._claims = cookie, claims(cookie)


def _is_passing(name: str) -> bool:
    return name in _PASSING or name.startswith("ssxmod_")


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
