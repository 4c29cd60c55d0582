"""Files of cookies, a line each."""

import pytest
from tests.accounts.browsers import KEPT, LONG, cookies_txt

from qwen_gateway.accounts.credential import Credential
from qwen_gateway.accounts.forms.cookies_txt import is_it, read
from qwen_gateway.turn.faults import InvalidRequest

NOW = 1_790_000_000.0


def line(name: str, value: str, domain: str = ".qwen.ai", end: str = "0") -> str:
    return f"{domain}\tTRUE\t/\tFALSE\t{end}\t{name}\t{value}"


def test_a_file_as_extensions_write_it() -> None:
    text = cookies_txt(KEPT)
    assert is_it(text)
    assert read(text, NOW) == Credential(KEPT, LONG)


def test_only_the_sites_cookies_that_have_not_ended_count() -> None:
    lines = [
        line("token", LONG, "chat.qwen.ai", str(int(NOW) + 1)),
        line("over", "1", end=str(int(NOW))),
        line("session", "1", end="0"),
        line("unclear", "1", end="-1"),
        line("other", "1", "evil.example"),
        line("like", "1", "notqwen.ai"),
        "# " + line("comment", "1"),
        "#HttpOnly_" + line("hidden", "1"),
        line("empty", "").removesuffix("\t"),
        "no cookie",
        "",
    ]
    expected = {"token": LONG, "session": "1", "unclear": "1", "hidden": "1", "empty": ""}
    assert read("\n".join(lines), NOW).cookies == expected
    assert read("\r\n".join(lines), NOW).cookies == expected


@pytest.mark.parametrize("text", ["", "a=1; b=2", "# Netscape HTTP Cookie File\n", "# a\tb\tc\td\te\tf\tg", "a\tb"])
def test_what_is_no_such_file(text: str) -> None:
    assert not is_it(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (line("token", LONG, "evil.example"), "none of its cookies"),
        (cookies_txt(KEPT, end=int(NOW)), "have ended"),
        (line("cna", "1") + "\n" + line("token", LONG, end="5"), "nobody was logged in"),
    ],
)
def test_refused_files(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        read(text, NOW)
