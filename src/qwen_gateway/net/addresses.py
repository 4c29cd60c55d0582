"""Addresses that clients give, in the one reading that is both judged and connected to.

Stricter than any standard. Programs differ in how they read the odd ones (RFC 3986 against the browsers' standard), and
a difference between who judges and who connects has been the way around many such checks. So what could be read in two
ways is refused, and the parts that were read here are what the request is built of.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Literal, cast
from urllib.parse import quote, unquote, urljoin

from msgspec import Struct
from yarl import URL

from qwen_gateway.net.public_addresses import IP

MAX_LENGTH, MAX_LABELS = 8192, 10

# ASCII: to `IGNORECASE` alone, the Kelvin sign is a k and the long s an s.
_SHAPE = re.compile(r"(https?)://([^/?#]*)(/[^?#]*)?(\?[^#]*)?(#.*)?", re.IGNORECASE | re.ASCII)
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::([0-9]{1,5}))?", re.IGNORECASE | re.ASCII)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_ASCII = "".join(map(chr, range(128)))

_METADATA = frozenset(
    (
        *("metadata", "metadata.goog", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"),
        *("metadata.azure.internal", "metadata.tencentyun.com"),
    )
)
_PORTS = {"http": 80, "https": 443}
# Files are served at the two usual ports, and by those who are not root above 1023. Lower ports are mail, shells and
# name servers. Of the higher ones, those are left out that browsers leave out (the "bad ports" of the Fetch standard),
# for what listens there might take a line of a request for a command; and so might Redis and memcached.
_REFUSED_PORTS = frozenset(
    (
        *(1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, *range(6665, 6670), 6679, 6697, 10080),
        *(6379, 11211),
    )
)


class Refused(Exception):
    """Its text goes on after "…, because"."""


class Address(Struct, frozen=True):
    """host: in lower case; an IPv6 address in its shortest form, without brackets. ip: the host, if it is one. path:
    begins with `/`, ASCII. query: without `?`, ASCII."""

    scheme: Literal["http", "https"]
    host: str
    ip: IP | None
    port: int
    path: str
    query: str

    @property
    def url(self) -> URL:
        return URL.build(
            scheme=self.scheme,
            host=f"[{self.host}]" if ":" in self.host else self.host,
            port=self.port,
            path=self.path,
            query_string=self.query,
            encoded=True,
        )

    @property
    def name(self) -> str:
        """The last part of the path, without percent signs' codes."""
        return unquote(self.path.rpartition("/")[2], errors="replace")

    def redirected(self, location: str) -> "Address":
        """Where `location`, which may be relative, leads from here. Raises Refused."""
        _check_characters(location)  # before joining, which drops some of them without a word
        try:
            address = read(urljoin(str(self.url), location))
        except ValueError as problem:
            raise Refused("it cannot be read") from problem
        if self.scheme == "https" and address.scheme == "http":
            raise Refused("it leads from https to http")
        return address


def read(text: str) -> Address:
    """Raises Refused."""
    _check_characters(text)
    if (found := _SHAPE.fullmatch(text)) is None:
        raise Refused("it is not of the form `https://host/path`")
    scheme, authority, path, query, rest = found.groups(default="")
    if "@" in authority:
        raise Refused("it holds a user name or a password")
    if not path and (query or rest):
        raise Refused("no `/` follows its host")
    if (parts := _HOST.fullmatch(authority)) is None:
        raise Refused("its host is not written in plain ASCII letters and digits")
    literal, name, port = parts.groups(default="")
    host, ip = _literal(literal) if literal else _named(name.lower())
    web = cast("Literal['http', 'https']", scheme.lower())
    return Address(web, host, ip, _port(port, web), _ascii(path or "/"), _ascii(query[1:]))


def _check_characters(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise Refused(f"it is longer than {MAX_LENGTH} characters")
    if not text.isprintable() or " " in text or "\\" in text:
        raise Refused("there are blanks, backslashes or control characters in it")


def _literal(text: str) -> tuple[str, IPv6Address]:
    try:
        ip = IPv6Address(text)
    except AddressValueError as problem:
        raise Refused("its host is not an IP address") from problem
    return str(ip), ip


def _named(host: str) -> tuple[str, IPv4Address | None]:
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):  # so a number to the browsers' standard and to `inet_aton`, however it is written
        try:
            return host, IPv4Address(host)
        except AddressValueError as problem:
            raise Refused("its host is a number, but not an IP address in its usual form") from problem
    if len(labels) > MAX_LABELS or len(host) > 253:
        raise Refused("its host name is too long")
    if not all(map(_LABEL.fullmatch, labels)):  # an empty one: a dot at the end, or two in a row
        raise Refused("its host is not a host name")
    if host in _METADATA:
        raise Refused("its host is not a public address")
    return host, None


def _port(text: str, scheme: str) -> int:
    if not text:
        return _PORTS[scheme]
    port = int(text)
    if port not in _PORTS.values() and (not 1024 <= port <= 65535 or port in _REFUSED_PORTS):
        raise Refused(f"files are not fetched from port {port}")
    return port


def _ascii(part: str) -> str:
    """Codes in place of what is not ASCII; all else stays as it was written, for a signature may be over it."""
    return part if part.isascii() else quote(part, safe=_ASCII)
