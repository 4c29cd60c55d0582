"""Which IP addresses count as public, in whatever form they come."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_gateway.net.public_addresses import Reach

PUBLIC = [
    *("8.8.8.8", "1.1.1.1", "93.184.216.34", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1"),
    *("2606:4700::1111", "2a00:1450:4001:830::200e", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"),
]
NOT_PUBLIC = [
    *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"),
    *("192.0.0.1", "192.0.0.9", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "240.0.0.1"),
    *("::1", "fd00::1", "fc00::1", "fec0::1", "2001:db8::1", "3fff::1", "5f00::1", "4000::1", "100::1"),
    *("2001::1", "2001:0:808:808:0:0:f7f7:f7f7", "2001:10::1", "2001:20::1", "64:ff9b:1::8.8.8.8", "::8.8.8.8"),
    *("::127.0.0.1", "::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"),
]
NEVER = [
    *("0.0.0.1", "0.1.2.3", "224.0.0.1", "239.1.2.3", "255.255.255.255", "::", "ff02::1", "ff0e::1"),
    *("169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0", "2606:4700::1111%1"),
    *("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),
]


@pytest.mark.parametrize("text", PUBLIC)
def test_public(text: str) -> None:
    assert Reach().allows(ip_address(text))


@pytest.mark.parametrize("text", [*NOT_PUBLIC, *NEVER])
def test_not_public(text: str) -> None:
    assert not Reach().allows(ip_address(text))


@pytest.mark.parametrize("text", NEVER)
def test_no_network_of_the_operators_opens_these(text: str) -> None:
    assert not Reach([ip_network("0.0.0.0/0"), ip_network("::/0")]).allows(ip_address(text))


def test_a_network_of_the_operators_is_allowed_and_nothing_beside_it() -> None:
    reach = Reach([ip_network("10.1.0.0/16"), ip_network("fd12::/16")])
    for text in ("10.1.2.3", "::ffff:10.1.2.3", "fd12::1", "8.8.8.8"):
        assert reach.allows(ip_address(text)), text
    for text in ("10.2.0.1", "::ffff:10.2.0.1", "fd13::1", "127.0.0.1"):
        assert not reach.allows(ip_address(text)), text


V4 = st.one_of(
    st.ip_addresses(v=4), st.sampled_from([ip for ip in map(ip_address, NOT_PUBLIC + NEVER) if ip.version == 4])
)


@given(V4)
def test_an_ipv4_address_inside_another_is_judged_as_itself(inner: IPv4Address) -> None:
    number, alone = int(inner), Reach().allows(inner)
    assert Reach().allows(IPv6Address(0xFFFF << 32 | number)) == alone, "mapped"
    assert Reach().allows(IPv6Address(0x64FF9B << 96 | number)) == alone, "NAT64"
    assert Reach().allows(IPv6Address(0x2002 << 112 | number << 80 | 1)) == alone, "6to4"
    site = int(IPv6Address("2606:4700::"))
    assert Reach().allows(IPv6Address(site | 0x5EFE << 32 | number)) == alone, "ISATAP"
    assert Reach().allows(IPv6Address(site | 0x02005EFE << 32 | number)) == alone, "ISATAP of a public address"
    assert not Reach().allows(IPv6Address(number)), "without a mark"
