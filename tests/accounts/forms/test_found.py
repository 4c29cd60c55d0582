"""Which hosts count, and what is kept of a request."""

import pytest
from tests.accounts.browsers import ACCESS, AGENT, LONG

from qwen_gateway.accounts.credential import MAX_LENGTH, Credential
from qwen_gateway.accounts.forms.found import (
    PARAM,
    Found,
    bearer,
    check_host,
    credential,
    from_headers,
    host_of,
    is_ours,
    jar,
    kept,
)
from qwen_gateway.turn.faults import InvalidRequest


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("chat.qwen.ai", True),
        ("auth.qwen.ai", True),
        ("CHAT.QWEN.AI.", True),
        ("qwen.ai", True),
        ("docs.qwen.ai", False),
        ("localhost", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("", False),
        ("evil.example", False),
        ("notqwen.ai", False),
        ("chat.qwen.ai.evil.example", False),
        ("10.0.0.1", False),
    ],
)
def test_which_hosts_are_the_sites(host: str, ours: bool) -> None:
    assert is_ours(host, "chat.qwen.ai") is ours


@pytest.mark.parametrize(
    ("host", "site", "ours"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("[::1]", "::1", True),
        ("Simulator.", "simulator", True),
        ("chat.qwen.ai", "127.0.0.1", True),
        ("localhost", "127.0.0.1", False),
        ("127.0.0.1.evil.example", "127.0.0.1", False),
        ("", "", False),
    ],
)
def test_the_site_of_the_settings_counts_as_well(host: str, site: str, ours: bool) -> None:
    assert is_ours(host, site) is ours


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://chat.qwen.ai/x?y#z", "chat.qwen.ai"),
        ("http://127.0.0.1:8080/", "127.0.0.1"),
        ("http://[::1]:8080/", "::1"),
        ("https://user@chat.qwen.ai/", None),
        ("https://evil.example\\@chat.qwen.ai/", None),
        ("https://evil.example\\.qwen.ai/", None),
        ("https://chat.qwen.ai\n.evil.example/", None),
        ("ftp://chat.qwen.ai/", None),
        ("http://[::1", None),
        ("chat.qwen.ai", None),
        ("", None),
    ],
)
def test_the_host_of_an_address(url: str, host: str | None) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize("host", [None, "evil.example"])
def test_another_site_is_refused(host: str | None) -> None:
    with pytest.raises(InvalidRequest, match="another site"):
        check_host(host, "chat.qwen.ai", "A thing")
    check_host("chat.qwen.ai", "chat.qwen.ai", "A thing")


def test_cookies_that_no_header_of_ours_could_carry_are_left_out() -> None:
    assert jar("a=1; nameless; b b=2; c=é; d=\x01; =e;; f=x=y ") == {"a": "1", "f": "x=y"}
    assert kept([("a", "1"), ("b", "1;2"), ("c", " 1"), ("a", "2")]) == {"a": "2"}


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (f"Bearer {ACCESS}", ACCESS),
        (f" bearer   {ACCESS} ", ACCESS),
        (f"Basic {ACCESS}", ""),
        ("Bearer", ""),
        ("Bearer undefined", ""),
        ("", ""),
    ],
)
def test_the_token_of_an_authorization_header(value: str, token: str) -> None:
    assert bearer(value) == token


def test_only_cookies_token_and_user_agent_are_kept() -> None:
    headers = [("Cookie", "a=1"), ("cookie", "b=2"), ("bx-ua", "x"), ("User-Agent", f" {AGENT}"), ("X", "y")]
    assert from_headers(headers) == Found({"a": "1", "b": "2"}, "", AGENT)
    both = [("authorization", f"Bearer {ACCESS}"), ("authorization", "Basic x")]
    assert from_headers(both) == Found({}, ACCESS)


def test_a_repr_shows_no_secret() -> None:
    assert repr(Found({"a": "geheim"}, "geheim")) == "Found(1 cookies)"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Found({"token": LONG}, "", AGENT), Credential({"token": LONG}, LONG, AGENT)),
        (Found({"token": LONG}, ACCESS), Credential({"token": LONG}, ACCESS)),
        (Found({"refresh_token": "r"}), Credential({"refresh_token": "r"})),
        (Found({"a": "1"}, LONG), Credential({"token": LONG, "a": "1"}, LONG)),
        (Found({}, ACCESS), Credential({}, ACCESS)),
    ],
)
def test_a_persons_session(found: Found, expected: Credential) -> None:
    assert credential(found, "A thing") == expected


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Found({}), "no cookies and no token"),
        (Found({"cna": "1"}), "only cookies that the site gives to everybody"),
        (Found({"token": "", "refresh_token": ""}), "nobody was logged in"),
        (Found({"token": "x" * MAX_LENGTH}), "longer than 64 KB"),
    ],
)
def test_what_is_no_persons_session(found: Found, said: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^A thing was recognised.*{said}") as caught:
        credential(found, "A thing")
    assert caught.value.param == PARAM
