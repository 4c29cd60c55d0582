"""Cookies with their domains, one by one: the JSON list that cookie editors export, or Playwright's `cookies`.

A whole browser's jar may come this way, so only cookies of the site are looked at: what is odd about another site's
is nothing to us.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

from qwen_gateway.accounts.credential import Credential
from qwen_gateway.accounts.forms import found

_MAIN = ("chat.qwen.ai", "qwen.ai")


class Cookie(Struct, gc=False):
    """end: in seconds since 1970; of a session's cookie nothing, 0 or below."""

    name: str
    value: str
    domain: str
    expires: float | None = None
    expiration_date: float | None = field(default=None, name="expirationDate")

    @property
    def end(self) -> float:
        return self.expires or self.expiration_date or 0.0


class _Entry(Struct, gc=False):
    """A cookie as somebody's program wrote it. Some write the end of a session's cookie as a word."""

    name: str
    value: str
    domain: str
    expires: Any = None
    expiration_date: Any = field(default=None, name="expirationDate")


def read(entries: Sequence[msgspec.Raw]) -> list[Cookie] | None:
    """The cookies among the entries of a JSON list. `None` when there are entries and none of them is one."""
    cookies = [cookie for entry in entries if (cookie := _cookie(entry)) is not None]
    return None if entries and not cookies else cookies


def _cookie(entry: msgspec.Raw) -> Cookie | None:
    try:
        read = msgspec.json.decode(entry, type=_Entry)
    except (msgspec.DecodeError, RecursionError):
        return None
    return Cookie(read.name, read.value, read.domain, _seconds(read.expires), _seconds(read.expiration_date))


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, float) or (type(value) is int and abs(value) < 1e15) else None


def credential(cookies: Iterable[Cookie], now: float, form: str, site: str = found.SITE) -> Credential:
    """The session in the site's cookies that have not ended. site: the host whose cookies count beside the web chat's.
    Raises InvalidRequest."""
    ours = [cookie for cookie in cookies if found.is_ours(_host(cookie), site)]
    if not ours:
        raise found.refusal(f"{form} was recognised, but none of its cookies are of qwen.ai. {found.HOW}")
    alive = [cookie for cookie in ours if not 0 < cookie.end <= now]
    if not alive:
        raise found.refusal(f"{form} was recognised, but all its cookies of qwen.ai have ended. {found.HOW}")
    # Of two cookies with one name the one counts that chat.qwen.ai itself would be sent first.
    alive.sort(key=lambda cookie: _MAIN.index(_host(cookie)) if _host(cookie) in _MAIN else len(_MAIN), reverse=True)
    return found.credential(found.Found(found.kept((cookie.name, cookie.value) for cookie in alive)), form)


def _host(cookie: Cookie) -> str:
    return cookie.domain.strip().lower().removeprefix(".")
