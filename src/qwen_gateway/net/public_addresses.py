"""Which IP addresses may be connected to for a client: public ones, and those of networks that the operator names."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

IP = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NEVER = tuple(
    map(
        ip_network,
        (
            # This machine without a name, everyone, and groups.
            *("0.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "::/128", "ff00::/8"),
            # The neighbours on the wire. The metadata services of most clouds are among them, and hand out credentials.
            *("169.254.0.0/16", "fe80::/10"),
            # Those of clouds that put theirs elsewhere: Alibaba, Azure (in the midst of public addresses), Oracle; then
            # Amazon and Google over IPv6.
            *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::/64", "fd20:ce::254/128"),
        ),
    )
)
"""Not even where the operator's networks hold them: a network is named for the servers in it."""

# What `is_global` takes for public depends on Python's patch level (3.11.7: 192.0.0.9, 192.88.99.1 and 3fff::1; later
# ones: 2001:20::1). Nobody serves files there: protocols of their own, old relays of 6to4, examples.
_NOT_PUBLIC = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20")))
_UNICAST = IPv6Network("2000::/3")
_MAPPED, _NAT64, _6TO4 = IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16")
_ISATAP = (0x00005EFE, 0x02005EFE)


class Reach:
    """networks: that are allowed besides public addresses."""

    def __init__(self, networks: Sequence[Network] = ()) -> None:
        self._networks = tuple(networks)

    def allows(self, ip: IP) -> bool:
        if isinstance(ip, IPv6Address):
            if ip.scope_id is not None:
                return False
            if (inner := _inner(ip)) is not None:
                return self.allows(inner)
        if _within(ip, _NEVER):
            return False
        return _within(ip, self._networks) or _public(ip)


def _public(ip: IP) -> bool:
    if not ip.is_global or _within(ip, _NOT_PUBLIC):
        return False
    if isinstance(ip, IPv4Address):
        return True
    if ip not in _UNICAST:
        return False
    if int(ip) >> 32 & 0xFFFFFFFF in _ISATAP:  # a tunnel to the address in its last part (RFC 5214)
        inner = IPv4Address(int(ip) & 0xFFFFFFFF)
        return not _within(inner, _NEVER) and _public(inner)
    return True


def _inner(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to this one end up at, if there is one."""
    if ip in _MAPPED or ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip in _6TO4:
        return IPv4Address(int(ip) >> 80 & 0xFFFFFFFF)
    return None


def _within(ip: IP, networks: Sequence[Network]) -> bool:
    return any(ip in network for network in networks)
