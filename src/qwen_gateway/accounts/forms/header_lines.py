"""A request's headers as the network tools show them: `Name: value` lines, or the name on one line and the value on the
next (Chrome's and Firefox's panels, when a selection is copied)."""

from collections.abc import Iterator

from qwen_gateway.accounts.credential import Credential
from qwen_gateway.accounts.forms import found

_FORM = "A list of request headers"
_WANTED = frozenset({"cookie", "authorization", "user-agent", "host", "authority", "origin"})


def is_it(text: str) -> bool:
    return any(name in ("cookie", "authorization") for name, _ in _headers(text))


def read(text: str, site: str = found.SITE) -> Credential:
    """site: the host whose requests count beside the web chat's. Raises InvalidRequest."""
    headers = list(_headers(text))
    hosts = [found.host_of(f"https://{value}") for name, value in headers if name in ("host", "authority")]
    # A request whose host is not among the lines still says which page it came from.
    for host in hosts or [found.host_of(value) for name, value in headers if name == "origin"]:
        found.check_host(host, site, _FORM)
    return found.credential(found.from_headers(headers), _FORM)


def _headers(text: str) -> Iterator[tuple[str, str]]:
    lines = iter(text.splitlines())
    for line in lines:
        name, _, value = line.strip().lstrip(":").partition(":")
        name = name.strip().lower()
        if name in _WANTED:
            yield name, value.strip() or next(lines, "").strip()
