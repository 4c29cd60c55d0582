"""Headers of the web client, without its fingerprints."""

from pathlib import Path

import pytest
from msgspec import Struct

from qwen_gateway.turn.contracts import Moment
from qwen_gateway.upstreams.qwen.headers import OWN_USER_AGENT, SiteConfig, headers

CORPUS = Path(__file__).parents[2] / "corpus"
AT = Moment(1_790_356_348.9, "f83496b4-02c1-4655-90de-322baf7059fd")


class Who(Struct, frozen=True):
    cookie_header: str = "token=t; cna=c"
    bearer: str | None = "b"
    user_agent: str | None = None


def test_all_headers() -> None:
    assert headers(SiteConfig(), Who(), AT, page="/c/x") == {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "User-Agent": OWN_USER_AGENT,
        "source": "web",
        "Version": "0.3.12",
        "Timezone": "Fri Sep 25 2026 17:12:28 GMT+0000",
        "X-Request-Id": AT.request_id,
        "Origin": "https://chat.qwen.ai",
        "Referer": "https://chat.qwen.ai/c/x",
        "Cookie": "token=t; cna=c",
        "Authorization": "Bearer b",
    }


@pytest.mark.parametrize(
    ("who", "cookie", "bearer"),
    [
        (Who(), "token=t; cna=c", "Bearer b"),
        (Who(bearer=None), "token=t; cna=c", None),
        (Who(cookie_header=""), None, "Bearer b"),
        (Who(cookie_header="", bearer=""), None, None),
    ],
)
def test_cookies_and_token_go_as_far_as_they_are_there(who: Who, cookie: str | None, bearer: str | None) -> None:
    sent = headers(SiteConfig(), who, AT)
    assert (sent.get("Cookie"), sent.get("Authorization")) == (cookie, bearer)


def test_no_fingerprint_of_the_recorded_browser_is_sent() -> None:
    recorded = (CORPUS / "headers_completion_2026-09-25.txt").read_text()
    assert "bx-ua" in recorded
    sent = {name.lower() for name in headers(SiteConfig(), Who(), AT)}
    assert not any(name.startswith(("bx-", "sec-ch-")) for name in sent)


@pytest.mark.parametrize("name", ["X-Request-Id", "Timezone", "Accept", "Content-Type", "Referer", "source", "Version"])
def test_what_the_recorded_browser_sends_besides_is_sent(name: str) -> None:
    assert f"\n{name}: " in (CORPUS / "headers_completion_2026-09-25.txt").read_text()
    assert headers(SiteConfig(), Who(), AT)[name]


def test_the_browsers_own_user_agent_and_the_operators_headers_win() -> None:
    config = SiteConfig(extra_headers={"Accept-Language": "de", "Version": "9"}, url="http://127.0.0.1:1")
    sent = headers(config, Who(user_agent="Mozilla/5.0"), AT)
    assert (sent["User-Agent"], sent["Accept-Language"], sent["Version"]) == ("Mozilla/5.0", "de", "9")
    assert sent["Referer"] == "http://127.0.0.1:1/"
