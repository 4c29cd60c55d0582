"""Lists of cookies with their domains."""

import json

import msgspec
import pytest

from qwen_gateway.accounts.forms import cookie_list
from qwen_gateway.accounts.forms.cookie_list import Cookie, credential
from qwen_gateway.turn.faults import InvalidRequest

NOW = 1000.0
TOKEN = Cookie("token", "t", ".qwen.ai")


def cookies(*more: Cookie) -> dict[str, str]:
    return credential([TOKEN, *more], NOW, "A list").cookies


@pytest.mark.parametrize(
    ("end", "alive"), [(None, True), (0.0, True), (-1.0, True), (1000.0, False), (999.5, False), (1000.5, True)]
)
def test_a_cookie_that_has_ended_does_not_count(end: float | None, alive: bool) -> None:
    assert ("a" in cookies(Cookie("a", "1", "qwen.ai", expires=end))) is alive
    assert ("a" in cookies(Cookie("a", "1", "qwen.ai", expiration_date=end))) is alive


@pytest.mark.parametrize("domains", [("chat.qwen.ai", ".qwen.ai", "auth.qwen.ai"), (".chat.qwen.ai", "auth.qwen.ai")])
def test_of_one_name_the_cookie_of_the_chat_counts(domains: tuple[str, ...]) -> None:
    many = [Cookie("a", str(place), domain) for place, domain in enumerate(domains)]
    assert cookies(*many)["a"] == cookies(*reversed(many))["a"] == "0"


def test_the_simulators_cookies_count() -> None:
    many = [TOKEN, Cookie("a", "1", "localhost")]
    assert credential(many, NOW, "A list", "localhost").cookies["a"] == "1"
    assert credential(many, NOW, "A list").cookies == {"token": "t"}


ODD = {
    "no domain": {"name": "a", "value": "1"},
    "no value": {"name": "a", "domain": "evil.example", "value": None},
    "a number": 5,
    "a list": [[]],
    "an end in words": {"name": "a", "value": "1", "domain": "evil.example", "expires": "Session"},
    "an end that is none": {"name": "a", "value": "1", "domain": "evil.example", "expirationDate": {}},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_one_odd_entry_does_not_spoil_the_list(odd: object) -> None:
    good = {"name": "token", "value": "t", "domain": ".qwen.ai", "expires": "Session", "expirationDate": 2000}
    for entries in ([odd, good], [good, odd]):
        read = cookie_list.read(msgspec.json.decode(json.dumps(entries), type=list[msgspec.Raw]))
        assert read is not None
        assert Cookie("token", "t", ".qwen.ai", None, 2000.0) in read
        assert credential(read, NOW, "A list").cookies == {"token": "t"}


def test_a_list_of_something_else_is_none_of_cookies() -> None:
    assert cookie_list.read([msgspec.Raw(b"5"), msgspec.Raw(b"{}")]) is None
    assert cookie_list.read([]) == []


def test_other_sites_cookies_do_not_count() -> None:
    assert cookies(Cookie("a", "1", "evil.example"), Cookie("b", "1", "")) == {"token": "t"}


@pytest.mark.parametrize(
    ("many", "said"),
    [
        ([], "none of its cookies"),
        ([Cookie("token", "t", "evil.example")], "none of its cookies"),
        ([Cookie("token", "t", "qwen.ai", expires=1.0)], "have ended"),
        ([Cookie("cna", "t", "qwen.ai")], "nobody was logged in"),
    ],
)
def test_refused_lists(many: list[Cookie], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        credential(many, NOW, "A list")
