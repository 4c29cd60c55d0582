"""One strict reading of the addresses that clients give."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scaling import TIMES, grows_linearly

from qwen_gateway.net.addresses import MAX_LENGTH, Address, Refused, read

LABELS_10 = ".".join("abcdefghij")

GOOD: dict[str, tuple[str, str, int]] = {
    "http://example.com": ("http://example.com/", "example.com", 80),
    "https://example.com": ("https://example.com/", "example.com", 443),
    "HTTPS://Example.COM/A%2fb?C=%41&d=+#e": ("https://example.com/A%2fb?C=%41&d=+", "example.com", 443),
    "http://example.com:8080/": ("http://example.com:8080/", "example.com", 8080),
    "https://example.com:443/x": ("https://example.com/x", "example.com", 443),
    "http://example.com:443/x": ("http://example.com:443/x", "example.com", 443),
    "https://a_b.s3.example.com/x": ("https://a_b.s3.example.com/x", "a_b.s3.example.com", 443),
    "https://xn--bcher-kva.example/": ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443),
    "https://cdn.example/npm/@scope/a.png": ("https://cdn.example/npm/@scope/a.png", "cdn.example", 443),
    "https://example.com/猫.png?q=é": ("https://example.com/%E7%8C%AB.png?q=%C3%A9", "example.com", 443),
    "https://example.com//a//b/../c": ("https://example.com//a//b/../c", "example.com", 443),
    "http://8.8.8.8/": ("http://8.8.8.8/", "8.8.8.8", 80),
    "http://[2606:4700::1111]/": ("http://[2606:4700::1111]/", "2606:4700::1111", 80),
    "http://[2606:4700:0:0:0:0:0:1111]:8443/": ("http://[2606:4700::1111]:8443/", "2606:4700::1111", 8443),
    f"https://{LABELS_10}/": (f"https://{LABELS_10}/", LABELS_10, 443),
    "https://1password.com/": ("https://1password.com/", "1password.com", 443),
    "https://0xdead.example/": ("https://0xdead.example/", "0xdead.example", 443),
    "https://example.com/" + "a" * (MAX_LENGTH - 20): (
        "https://example.com/" + "a" * (MAX_LENGTH - 20),
        "example.com",
        443,
    ),
}

BAD = {
    "empty": ["", "/", "http", "http:", "http:/", "http://", "http:///x", "//example.com/", "example.com"],
    "schemes": [
        *("file:///etc/passwd", "gopher://example.com/", "ftp://example.com/", "data:text/html,x", "javascript:x"),
        *(
            "httpſ://example.com/",
            "http:example.com",
            "http:/example.com",
            "url:http://example.com/",
            "ws://example.com/",
        ),
    ],
    "user names": [
        *(
            "http://user@example.com/",
            "http://u:p@example.com/",
            "http://example.com@127.0.0.1/",
            "http://@example.com/",
        ),
        *("http://example.com#@127.0.0.1", "http://example.com?@127.0.0.1/", "http://a@b@example.com/"),
    ],
    "characters": [
        *("http://example.com\\@127.0.0.1/", "http://example.com/\\x", " http://example.com/", "http://example.com/ "),
        *("http://example.com/\n", "http://exa\tmple.com/", "http://exa\r\nmple.com/", "http://example.com/\x00"),
        *(
            "http://example.com/\x7f",
            "http://example.com/\x85",
            "http://example.com/\u2028",
            "http://example.com/\u00a0",
        ),
        *("http://example.com/\ud800", "http://example.com/\u200b"),
    ],
    "hosts": [
        *("http://example.com./", "http://localhost./", "http://.example.com/", "http://a..b/", "http://./"),
        *("http://-a.com/", "http://a-.com/", "http://exam%31ple.com/", "http://%31%32%37.0.0.1/", "http://*.a/"),
        *(
            "http://bücher.example/",
            "http://１２７.0.0.1/",
            "http://example。com/",
            "http://to\u212aen.example/",
            "http://a,b/",
        ),
        *(f"http://{LABELS_10}.k/", f"http://{'a' * 64}.com/", f"http://{'.'.join(['a' * 60] * 5)}/", "http://a;b/"),
    ],
    "numbers": [
        *(
            "http://127.1/",
            "http://127.0.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.0.0.1/",
            "http://0/",
        ),
        *(
            "http://0177.0.0.1/",
            "http://127.0.0.01/",
            "http://127.0.0.0x1/",
            "http://127.0.0.1.1/",
            "http://256.1.1.1/",
        ),
        *("http://0x/", "http://1.2.3.0x/", "http://example.123/", "http://017700000001/", "http://127.0.0.1./"),
    ],
    "brackets": [
        *("http://[::1%25lo]/", "http://[fe80::1%eth0]/", "http://[127.0.0.1]/", "http://[v1.a]/", "http://[::1/"),
        *("http://::1/", "http://[]/", "http://[::1]a/", "http://[:::]/", "http://a[::1]/", "http://[::127.0.0.0x1]/"),
    ],
    "ports": [
        *("http://example.com:/", "http://example.com:0/", "http://example.com:22/", "http://example.com:25/"),
        *(
            "http://example.com:6000/",
            "http://example.com:6379/",
            "http://example.com:11211/",
            "http://example.com:6667/",
        ),
        *(
            "http://example.com:65536/",
            "http://example.com:99999/",
            "http://example.com:080x/",
            "http://example.com:-1/",
        ),
        *(
            "http://example.com:８０/",
            "http://example.com:80:80/",
            "http://example.com:1000/",
            "http://example.com:000443/",
        ),
    ],
    "metadata": ["http://metadata.google.internal/", "http://METADATA/", "http://instance-data.ec2.internal/latest/"],
    "length": ["https://example.com/" + "a" * (MAX_LENGTH - 19)],
}


@pytest.mark.parametrize("text", GOOD, ids=lambda text: text[:50])
def test_read(text: str) -> None:
    address, (url, host, port) = read(text), GOOD[text]
    assert (str(address.url), address.host, address.port) == (url, host, port)
    assert address.url.raw_host == host, "what aiohttp connects to is what was judged"
    assert address.url.port == port


@pytest.mark.parametrize("text", [text for texts in BAD.values() for text in texts], ids=lambda text: ascii(text[:50]))
def test_refused(text: str) -> None:
    with pytest.raises(Refused):
        read(text)


def test_a_usual_port_is_not_in_the_host_header() -> None:
    """A signature may be over that header."""
    assert read("https://example.com:443/").url.host_port_subcomponent == "example.com"
    assert read("https://example.com:8443/").url.host_port_subcomponent == "example.com:8443"


TEXT = st.text(st.sampled_from("htps:/.@#?[]%\\ \t01278xfaé。１-_"), max_size=30)


@given(st.one_of(TEXT, TEXT.map("http://".__add__), TEXT.map("https://a.b".__add__), st.text(max_size=40)))
def test_what_is_read_is_what_would_be_connected_to(text: str) -> None:
    try:
        address = read(text)
    except Refused:
        return
    url = address.url
    assert (url.scheme, url.raw_host, url.port) == (address.scheme, address.host, address.port)
    assert url.raw_user is url.raw_password is None
    assert url.raw_path_qs == address.path + ("?" + address.query if address.query else "")
    assert str(url).isascii()
    assert read(str(url)) == address


@given(st.text(max_size=20).map("https://example.com/a".__add__), st.one_of(TEXT, st.text(max_size=40)))
def test_a_redirect_leads_somewhere_or_is_refused(start: str, location: str) -> None:
    try:
        address = read(start).redirected(location)
    except Refused:
        return
    assert address.scheme == "https"
    assert read(str(address.url)) == address


HERE = "http://example.com/a/b?c"


@pytest.mark.parametrize(
    ("location", "there"),
    [
        ("d", "http://example.com/a/d"),
        ("/d?e", "http://example.com/d?e"),
        ("?d", "http://example.com/a/b?d"),
        ("//other.example/x", "http://other.example/x"),
        ("https://other.example/x#y", "https://other.example/x"),
        ("/猫", "http://example.com/%E7%8C%AB"),
    ],
)
def test_redirects(location: str, there: str) -> None:
    assert str(read(HERE).redirected(location).url) == there


@pytest.mark.parametrize(
    "location",
    [
        *("file:///etc/passwd", "//user@other.example/", "//127.1/", "/\t/127.0.0.1/", "http://other.example:22/"),
        *("\\\\other.example\\x", "javascript:x", "//other.example./", "http://[::1", "http:x\n"),
    ],
)
def test_redirects_that_are_refused(location: str) -> None:
    with pytest.raises(Refused):
        read(HERE).redirected(location)


def test_no_redirect_from_https_to_http() -> None:
    with pytest.raises(Refused, match="from https to http"):
        read("https://example.com/").redirected("http://example.com/")


@pytest.mark.parametrize(
    ("path", "name"),
    [("", ""), ("/", ""), ("/a/b.png", "b.png"), ("/a%2Fb%20c.png?x=/y", "a/b c.png"), ("/%ff", "\ufffd"), ("/a/", "")],
)
def test_the_name_is_the_last_part_of_the_path(path: str, name: str) -> None:
    found: Address = read("https://example.com" + path)
    assert found.name == name


@pytest.mark.parametrize(
    ("beginning", "rest"),
    [
        ("https://", "a"),
        ("https://", "a."),
        ("https://", "1."),
        ("https://[", "0:"),
        ("https://a:", "1"),
        ("https://a", "/.."),
        ("https://a", "/a"),
        ("https://a/?", "?"),
        ("https://a/#", "#"),
        ("https://a/", "猫"),
        ("https://a/", "%41"),
        ("", "https://"),
    ],
)
def test_an_address_is_read_in_linear_time(beginning: str, rest: str) -> None:
    def work(size: int) -> Callable[[], object]:
        text = (beginning + rest * size)[:size]

        def reads() -> None:
            with suppress(Refused):
                assert read(text).name is not None
            with suppress(Refused):
                read("https://a.example/b").redirected(text)

        return reads

    assert grows_linearly(work, MAX_LENGTH // TIMES)
