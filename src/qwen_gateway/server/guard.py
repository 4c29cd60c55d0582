"""Rules of Host and Origin: a web page that a browser shows must not reach a gateway on this machine unasked.

Without them, any page could send requests to 127.0.0.1 (a foreign Origin), or make its own name point there (a
foreign Host: DNS rebinding, as in Ollama's CVE-2024-28224).
"""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from qwen_gateway.server.callers import Headers
from qwen_gateway.turn.faults import Forbidden

MAX_REMEMBERED = 64
# How containers call the machine they run on. Nobody outside can make these names point anywhere.
_CONTAINER_HOSTS = ("host.docker.internal", "gateway.docker.internal", "host.containers.internal")


class Guard:
    """listen: the address that the server listens on. hosts: further names it answers to. origins: web origins
    that may call, `*` for all; an origin of the gateway's own address always may."""

    def __init__(self, listen: str, hosts: Sequence[str], origins: Sequence[str]) -> None:
        self._any_host = not is_loopback(listen)
        self._hosts = {*_CONTAINER_HOSTS, *(host.lower() for host in hosts)}
        self._origins = {origin.lower() for origin in origins}
        self._passed: set[bytes] = set()  # Host headers already judged good

    def check(self, headers: Headers) -> None:
        """Raises Forbidden."""
        raw_host = raw_origin = b""
        for name, value in headers:
            if name == b"host":
                raw_host = value
            elif name == b"origin":
                raw_origin = value
        if not raw_origin and raw_host in self._passed:
            return
        self._judge(raw_host.decode("latin-1").lower(), raw_origin.decode("latin-1").lower())
        if len(self._passed) < MAX_REMEMBERED:
            self._passed.add(raw_host)

    def _judge(self, host: str, origin: str) -> None:
        if not self._any_host and not self._is_ours(_name(host)):
            raise Forbidden(
                f"The gateway does not answer to the name {_name(host)[:100]!r}. Add it to `allowed_hosts` "
                "(QWEN_GATEWAY_ALLOWED_HOSTS) if it is meant.",
                code="host_not_allowed",
            )
        if origin and not self._may_call(origin, host):
            raise Forbidden(
                f"Pages of {origin[:100]!r} may not use this gateway. Add the origin to `allowed_origins` "
                "(QWEN_GATEWAY_ALLOWED_ORIGINS) if it is meant.",
                code="origin_not_allowed",
            )

    def _is_ours(self, name: str) -> bool:
        return name == "" or is_loopback(name) or name in self._hosts

    def _may_call(self, origin: str, host: str) -> bool:
        if "*" in self._origins or origin in self._origins:
            return True
        return urlsplit(origin).netloc == host


def is_loopback(host: str) -> bool:
    """Whether the name or address is this machine to itself."""
    if host in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """The Host header without its port."""
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.partition(":")[0]
