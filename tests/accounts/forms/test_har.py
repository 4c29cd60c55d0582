"""Which request of a recording counts."""

import json
from typing import Any

import pytest
from tests.accounts.browsers import ACCESS, AGENT, KEPT, LONG, har_entry, har_of, jwt

from qwen_gateway.accounts.credential import Credential
from qwen_gateway.accounts.forms.har import MAX_ENTRIES
from qwen_gateway.accounts.imports import read_any
from qwen_gateway.turn.faults import InvalidRequest

OTHER = jwt(id="v", exp=2_000_000_001)


def entry(token: str, at: str = "", *, url: str = "https://chat.qwen.ai/x") -> dict[str, Any]:
    return har_entry({"token": token}, at=at, url=url)


def bare(url: str = "https://chat.qwen.ai/x", **request: object) -> dict[str, Any]:
    return {"request": {"url": url, **request}}


NEWEST = {
    "the last where none says when": [entry(OTHER), entry(LONG)],
    "the newest, whatever the order": [
        entry(LONG, "2026-11-20T10:00:01.000Z"),
        entry(OTHER, "2026-11-20T10:00:00.999Z"),
    ],
    "the newest, whatever the zone": [
        entry(LONG, "2026-11-20T10:10:00.000+01:00"),
        entry(OTHER, "2026-11-20T10:20:00.000+02:00"),
        entry(OTHER, "2026-11-20T08:20:00.000"),
    ],
    "one with a time before one without": [entry(LONG, "2026-11-20T10:00:00Z"), entry(OTHER, "soon")],
    "a session before what is newer and has none": [
        entry(LONG, "2026-11-20T10:00:00Z"),
        har_entry({"cna": "1"}, ACCESS, at="2026-11-20T10:00:01Z"),
        har_entry({"cna": "2"}, at="2026-11-20T10:00:02Z"),
        har_entry({}, at="2026-11-20T10:00:03Z"),
    ],
    "the site's and not a newer one of another site": [
        entry(LONG, "2026-11-20T10:00:00Z", url="https://auth.qwen.ai/api/v2/auths/"),
        entry(OTHER, "2026-11-20T10:00:01Z", url="https://evil.example/"),
        entry(OTHER, "2026-11-20T10:00:01Z", url="data:text/plain,x"),
    ],
}


@pytest.mark.parametrize("entries", NEWEST.values(), ids=NEWEST.keys())
def test_the_newest_request_with_a_session_counts(entries: list[dict[str, Any]]) -> None:
    assert read_any(har_of(*entries)) == Credential({"token": LONG}, LONG, AGENT)


def test_cookies_of_several_requests_are_not_mixed() -> None:
    first, second = har_entry({"token": OTHER, "refresh_token": "r"}), har_entry({"token": LONG, "a": "1"})
    assert read_any(har_of(first, second)).cookies == {"token": LONG, "a": "1"}


def test_cookies_that_only_the_list_has_are_read() -> None:
    one = har_entry(KEPT, ACCESS)
    one["request"]["headers"] = [pair for pair in one["request"]["headers"] if pair["name"] != "cookie"]
    assert read_any(har_of(one)) == Credential(KEPT, ACCESS, AGENT)


REFUSED = {
    "no entries": (har_of(), "none of its requests"),
    "another site": (har_of(entry(LONG, url="https://evil.example/")), "none of its requests"),
    "cookies left out by the browser": (har_of(bare(headers=[], cookies=[])), "with sensitive data"),
    "a guest": (har_of(har_entry({"cna": "1"})), "nobody was logged in"),
    "no list of requests": (json.dumps({"log": {}}), "neither a whole HAR file"),
    "a header without a value": (har_of(bare(headers=[{"name": "cookie"}])), "neither a whole HAR file"),
    "too many requests": (
        '{"log":{"entries":[' + '{"request":{"url":""}},' * MAX_ENTRIES + '{"request":{"url":""}}]}}',
        "50000",
    ),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_recordings(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        read_any(text)
