"""What all forms share: whose requests count, which cookies can be kept, what a person's session is.

Refusals never repeat what was pasted: it holds secrets, and a refusal is shown and logged.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from msgspec import Struct

from qwen_gateway.accounts.credential import COOKIE_NAME, MAX_LENGTH, TOKEN, Credential, joined
from qwen_gateway.turn.faults import InvalidRequest

PARAM = "session"
SITE = "chat.qwen.ai"
HOW = (
    "Log in at https://chat.qwen.ai, open the browser's network tools (F12), send a message, and copy the request to "
    "chat.qwen.ai from there: its Cookie header, or `Copy as cURL`."
)
_SESSION_COOKIES = ("token", "refresh_token")
_HOSTS = frozenset({SITE, "qwen.ai", "auth.qwen.ai"})


class Found(Struct, frozen=True):
    """What a form holds of a session. `token`: of its own, or empty. Its repr shows nothing."""

    cookies: dict[str, str]
    token: str = ""
    user_agent: str | None = None

    def __repr__(self) -> str:
        return f"Found({len(self.cookies)} cookies)"

    @property
    def has_session(self) -> bool:
        """Whether there are cookies of somebody who is logged in."""
        return any(self.cookies.get(name) for name in _SESSION_COOKIES)


def refusal(text: str) -> InvalidRequest:
    return InvalidRequest(text, param=PARAM)


def credential(found: Found, form: str) -> Credential:
    """The session of a person. Raises InvalidRequest when it is a guest's or nobody's."""
    if not found.has_session and not found.token:
        what = "only cookies that the site gives to everybody" if found.cookies else "no cookies and no token"
        raise refusal(
            f"{form} was recognised, but it holds {what}: neither `token` nor `refresh_token` is among them, so nobody "
            f"was logged in. {HOW}"
        )
    if sum(len(name) + len(value) + 3 for name, value in found.cookies.items()) > MAX_LENGTH:
        raise refusal(f"{form} was recognised, but its cookies are longer than 64 KB: no site takes that many. {HOW}")
    return joined(found.cookies, found.token or found.cookies.get("token", ""), found.user_agent)


def check_host(host: str | None, site: str, form: str) -> None:
    """Raises InvalidRequest when a request went elsewhere: its cookies must not reach us."""
    if host is None or not is_ours(host, site):
        raise refusal(
            f"{form} was recognised, but it is of a request to another site than chat.qwen.ai, whose cookies have no "
            f"business here. Nothing of it was kept. {HOW}"
        )


def is_ours(host: str, site: str) -> bool:
    """Whether a host is the web chat's, or `site`: the host that the settings name, which may be a simulator's.

    No other one on this machine counts: a whole browser's jar also holds the cookies of programs that run here, and
    what is kept is sent to the site.
    """
    host = _bare(host)
    return host in _HOSTS or host == _bare(site) != ""


def _bare(host: str) -> str:
    return host.lower().strip("[]").removesuffix(".")


def host_of(url: str) -> str | None:
    """The host of an http address. `None` for anything else, and where browsers and we could disagree on it."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or "\\" in url or not url.isprintable():
        return None
    return host


def jar(header: str) -> dict[str, str]:
    """The cookies of a browser's Cookie header. One that no header of ours could carry is left out."""
    return kept(_pair(pair) for pair in header.split(";"))


def _pair(pair: str) -> tuple[str, str]:
    name, sign, value = pair.strip().partition("=")
    return (name, value) if sign else ("", "")  # one without a name is none of the site's


def kept(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Those cookies that a header can carry; of one name the last."""
    return {
        name: value
        for name, value in pairs
        if COOKIE_NAME.fullmatch(name)
        and value.isascii()
        and value.isprintable()
        and ";" not in value
        and value == value.strip()
    }


def from_headers(headers: Iterable[tuple[str, str]]) -> Found:
    """What is kept of a request's headers; everything else, such as `bx-ua`, is not ours to use."""
    cookies: dict[str, str] = {}
    token, user_agent = "", None
    for name, value in headers:
        match name.strip().lower():
            case "cookie":
                cookies |= jar(value)
            case "authorization":
                token = bearer(value) or token
            case "user-agent":
                user_agent = value.strip()
    return Found(cookies, token, user_agent)


def bearer(value: str) -> str:
    """The token of an Authorization header; empty when there is none that can be one."""
    scheme, _, token = value.strip().partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and TOKEN.fullmatch(token) else ""
