"""Headers as the network tools show them."""

import pytest
from tests.accounts.browsers import ACCESS, AGENT, JAR, KEPT, LONG, header_lines, two_lines

from qwen_gateway.accounts.credential import Credential
from qwen_gateway.accounts.forms.header_lines import is_it, read
from qwen_gateway.turn.faults import InvalidRequest


@pytest.mark.parametrize("text", [header_lines(JAR, ACCESS), two_lines(JAR, ACCESS)])
def test_headers_as_browsers_show_them(text: str) -> None:
    assert is_it(text)
    assert read(text) == Credential(KEPT, ACCESS, AGENT)


LINES = {
    "names with a colon alone": f"cookie:\ntoken={LONG}\naccept:\n*/*",
    "an indented value": f"Cookie\n\ttoken={LONG}\nUser-Agent\n\t",
    "no host": f"Cookie: token={LONG}\nAccept: */*",
    "the page's own address": f"Cookie: token={LONG}\nOrigin: https://chat.qwen.ai",
    "a pseudo header": f":authority: chat.qwen.ai\n:method: GET\ncookie: token={LONG}",
    "a host that counts more than the origin": f"host: chat.qwen.ai:443\norigin: https://x.example\n"
    f"cookie: token={LONG}",
    "a name on the last line": f"cookie: token={LONG}\nuser-agent",
}


@pytest.mark.parametrize("text", LINES.values(), ids=LINES.keys())
def test_lines(text: str) -> None:
    assert is_it(text)
    assert read(text) == Credential({"token": LONG}, LONG)


@pytest.mark.parametrize("text", ["", "a=1; b=2", "accept: */*\nhost: chat.qwen.ai", "set-cookie: a=1"])
def test_what_is_no_list_of_headers(text: str) -> None:
    assert not is_it(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"Host: evil.example\nCookie: token={LONG}", "another site"),
        (f":authority: evil.example\nCookie: token={LONG}", "another site"),
        (f"Origin: https://evil.example\nCookie: token={LONG}", "another site"),
        (f"Host: chat.qwen.ai\nHost: evil.example\nCookie: token={LONG}", "another site"),
        ("Host: chat.qwen.ai\nCookie: cna=1", "nobody was logged in"),
        ("Host: chat.qwen.ai\nAuthorization: Basic x", "no cookies and no token"),
    ],
)
def test_refused_lines(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        read(text)
