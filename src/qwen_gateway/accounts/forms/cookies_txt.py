"""`cookies.txt`, Netscape's form, which browser extensions, curl and yt-dlp write: a cookie a line, seven fields with
tabs between them (domain, subdomains, path, secure, end, name, value)."""

from collections.abc import Iterator

from qwen_gateway.accounts.credential import Credential
from qwen_gateway.accounts.forms import cookie_list, found
from qwen_gateway.accounts.forms.cookie_list import Cookie

_FORM = "A cookies.txt"
_HTTP_ONLY = "#HttpOnly_"


def is_it(text: str) -> bool:
    return next(_cookies(text), None) is not None


def read(text: str, now: float, site: str = found.SITE) -> Credential:
    """site: the host whose cookies count beside the web chat's. Raises InvalidRequest."""
    return cookie_list.credential(_cookies(text), now, _FORM, site)


def _cookies(text: str) -> Iterator[Cookie]:
    for line in text.splitlines():
        fields = line.removeprefix(_HTTP_ONLY).split("\t")
        if fields[0].startswith("#") or len(fields) not in (6, 7):  # some leave the tab before an empty value out
            continue
        domain, _, _, _, end, name, *value = fields
        yield Cookie(name, value[0].rstrip(" ") if value else "", domain, _seconds(end))


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
