"""The operator's account: sessions that are renewed or end, challenges, limits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from qwen_gateway.relay import sweep
from qwen_gateway.simulator.seen import Seen
from qwen_gateway.turn.contracts import Tokens

from . import wire
from .rig import KEY, PATIENT, QUICK, Rig, running, until
from .wire import MODEL, ask

OTHER = "qwen3.6-plus"


def _expiring(rig: Rig, seconds: float = -1) -> None:
    """The account's access token is at its end; its cookies are good."""
    session = rig.own.session
    token = rig.sim.access_token(expires_in=seconds)
    session.renew(Tokens(token))


def _headers(seen: Seen) -> dict[str, str]:
    headers = seen.raw["headers"]
    assert isinstance(headers, dict)
    return headers


async def test_a_hundred_requests_with_an_expired_token_cause_one_refresh(tmp_path: Path) -> None:
    async with running(tmp_path, **PATIENT) as rig:
        await rig.program(refresh_delay_ms=200)
        _expiring(rig)
        answers = await asyncio.gather(*(rig.post(ask(f"{n}", stream=n % 2 == 0)) for n in range(100)))
        assert {answer.status for answer in answers} == {200}
        assert rig.sim.site.refreshes == 1
        assert {_headers(seen)["Authorization"] for seen in rig.sim.site.seen} == {f"Bearer {rig.own.session.bearer}"}


async def test_a_token_is_renewed_before_it_ends(rig: Rig) -> None:
    _expiring(rig, 60)
    assert (await rig.post(ask())).status == 200
    assert rig.sim.site.refreshes == 1


async def test_a_token_with_time_left_is_not_renewed(rig: Rig) -> None:
    _expiring(rig, 600)
    assert (await rig.post(ask())).status == 200
    assert rig.sim.site.refreshes == 0


async def test_the_list_of_models_is_asked_for_with_a_living_token(rig: Rig) -> None:
    _expiring(rig)
    rig.service.models._next = 0.0
    await rig.get("/v1/models")
    await until(lambda: rig.service.models._task is None)
    rows = (await rig.get("/v1/models")).json()["data"]
    assert len([row for row in rows if "root" not in row]) == 6, "guests are shown three"


async def test_a_deletion_long_after_renews_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "EVERY", 0.05)
    async with running(tmp_path, **QUICK, delete_chats=1 / 3600) as rig:
        assert (await rig.post(ask())).status == 200
        _expiring(rig)
        await until(lambda: not rig.left_over, 10)
        assert rig.sim.site.refreshes == 1


async def test_a_stop_renews_the_token_too(rig: Rig) -> None:
    await rig.program({"text": "word " * 500, "delay_ms": 20})
    async with wire.connection(rig.url) as (_, writer):
        writer.write(wire.request_bytes("/v1/chat/completions", ask(), key=KEY))
        await until(lambda: bool(rig.sim.site.streams))
        _expiring(rig)
    await until(lambda: rig.sim.site.stops == 1)


async def test_a_rotated_refresh_token_is_kept_for_the_next_time(rig: Rig) -> None:
    for expected in (1, 2, 3):
        _expiring(rig)
        assert (await rig.post(ask())).status == 200
        assert rig.sim.site.refreshes == expected


async def test_a_refusal_that_comes_early_is_answered_by_one_refresh_and_one_more_try(rig: Rig) -> None:
    await rig.program({"error": "unauthorized"}, {"text": "now it works"})
    answer = await rig.post(ask())
    assert answer.json()["choices"][0]["message"]["content"] == "now it works"
    assert (rig.sim.site.refreshes, len(rig.sim.site.seen)) == (1, 2)


async def test_a_refusal_that_stays_is_told(rig: Rig) -> None:
    await rig.program({"error": "unauthorized", "sticky": True})
    answer = await rig.post(ask(stream=True))
    assert (answer.status, answer.error()["code"]) == (503, "upstream_auth_required")
    assert (answer.headers["x-gateway-fault"], answer.headers["x-should-retry"]) == ("site", "false")
    assert "Log in" in answer.error()["message"]
    assert (rig.sim.site.refreshes, len(rig.sim.site.seen)) == (1, 2)


async def test_a_refresh_that_fails_is_told_and_asks_nothing(rig: Rig) -> None:
    await rig.program(refresh_fault="unauthorized")
    _expiring(rig)
    answers = await asyncio.gather(*(rig.post(ask()) for _ in range(20)))
    assert {(answer.status, answer.error()["code"]) for answer in answers} == {(503, "upstream_auth_required")}
    assert not rig.sim.site.seen
    health = (await rig.get("/health")).json()
    assert (health["status"], (await rig.get("/readyz")).status) == ("login_required", 503)
    refreshes = rig.sim.site.refreshes
    assert (await rig.post(ask())).status == 503
    assert rig.sim.site.refreshes == refreshes, "the site is not asked again at once"
    await rig.program(refresh_fault=None)
    rig.service.accounts.wake()
    assert (await rig.post(ask())).status == 200


async def test_a_slow_refresh_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    async with running(tmp_path, **{**QUICK, "call_timeout": 0.5}) as rig:
        await rig.program(refresh_delay_ms=10_000)
        _expiring(rig)
        answer = await rig.post(ask())
        assert (answer.status, answer.error()["code"]) == (504, "upstream_timeout")


async def test_a_client_that_leaves_does_not_break_the_refresh_for_the_others(rig: Rig) -> None:
    await rig.program(refresh_delay_ms=300)
    _expiring(rig)
    async with wire.connection(rig.url) as (_, writer):
        writer.write(wire.request_bytes("/v1/chat/completions", ask(), key=KEY))
        await until(lambda: rig.service.in_flight == 1)
        others = [asyncio.create_task(rig.post(ask())) for _ in range(3)]
        await until(lambda: rig.service.in_flight == 4)
    assert {answer.status for answer in await asyncio.gather(*others)} == {200}
    assert rig.sim.site.refreshes == 1


async def test_cookies_that_the_site_sets_are_used_from_then_on(rig: Rig) -> None:
    reply = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n"
        b"Set-Cookie: acw_tc=renewed; Path=/; HttpOnly\r\nSet-Cookie: cna=; Max-Age=0\r\n\r\n{}"
    )
    await rig.program({"raw": reply.decode()})
    await rig.post(ask())
    await rig.post(ask())
    first, last = (_headers(seen)["Cookie"] for seen in (rig.sim.site.seen[0], rig.sim.site.seen[-1]))
    assert "acw_tc=renewed" not in first
    assert "acw_tc=renewed" in last
    assert "cna=" in first
    assert "cna=" not in last
    assert "token=" in last


async def test_a_session_that_ended_is_told_without_asking_the_site(tmp_path: Path) -> None:
    async with running(tmp_path, own=False, **QUICK) as rig:
        token = rig.sim.token(expires_in=-5)
    async with running(tmp_path, own=False, **QUICK, token=token) as rig:
        before = rig.sim.site.requests_total
        answer = await rig.post(ask())
        assert (answer.status, answer.error()["code"]) == (503, "upstream_auth_required")
        assert rig.sim.site.requests_total <= before + 1, "the list of models at most"
        assert (await rig.get("/readyz")).status == 503
        health = (await rig.get("/health")).json()
        assert health["status"] == "login_required"
        assert health["accounts"][0]["resting"]["code"] == "upstream_auth_required"


@pytest.mark.parametrize("name", ["challenge", "challenge_html", "redirect"])
async def test_after_a_challenge_the_account_rests_and_goes_on_by_itself(rig: Rig, name: str) -> None:
    await rig.program({"error": name})
    first = await rig.post(ask())
    assert (first.status, first.error()["code"]) == (503, "upstream_challenge")
    before = rig.sim.site.requests_total
    for stream in (True, False):
        answer = await rig.post(ask(stream=stream) | {"model": OTHER})
        assert (answer.status, answer.error()["code"]) == (503, "upstream_challenge")
        assert 1 <= int(answer.headers["retry-after"]) <= 2
        assert f"{answer.headers['retry-after']} s" in answer.error()["message"]
    assert rig.sim.site.requests_total == before, "the site is left alone"
    assert (await rig.get("/health")).json()["status"] == "resting"
    await until(lambda: rig.own.resting() is None)
    assert (await rig.post(ask())).status == 200
    assert (await rig.get("/health")).json()["status"] == "ok"
    await until(lambda: not rig.left_over, 6)


async def test_a_second_challenge_in_a_row_makes_the_rest_longer(rig: Rig) -> None:
    await rig.program({"error": "challenge"}, {"error": "challenge"})
    await rig.post(ask())
    await until(lambda: rig.own.resting() is None)
    await rig.post(ask())
    fault = rig.own.resting()
    assert fault is not None
    assert fault.retry_after is not None
    assert fault.retry_after > 1


async def test_a_challenge_in_the_middle_of_an_answer_counts_too(rig: Rig) -> None:
    await rig.program({"text": "a b c d", "error": "challenge", "after_chunks": 2})
    stream = (await rig.post(ask(stream=True))).stream()
    assert stream.error is not None
    assert (stream.text, stream.error["code"]) == ("a b", "upstream_challenge")
    assert (await rig.post(ask())).status == 503


async def test_the_limit_of_one_model_leaves_the_others(rig: Rig) -> None:
    await rig.program({"error": "rate_limit"})
    first = await rig.post(ask())
    asked = len(rig.sim.site.seen)
    again = await rig.post(ask())
    other = await rig.post(ask() | {"model": OTHER})
    assert (first.status, again.status, other.status) == (429, 429, 200)
    assert (first.error()["type"], first.error()["code"]) == ("rate_limit_error", "upstream_rate_limited")
    assert int(again.headers["retry-after"]) == pytest.approx(36_000, abs=5)
    assert [seen.model for seen in rig.sim.site.seen[asked:]] == [OTHER], "the limited model is not asked again"


async def test_a_short_limit_ends_by_itself(rig: Rig) -> None:
    await rig.program({"error": "http_429", "retry_after": "1"})
    assert (await rig.post(ask())).headers["retry-after"] == "1"
    assert (await rig.post(ask())).status == 429
    await asyncio.sleep(1.1)
    assert (await rig.post(ask())).status == 200


async def test_without_an_account_it_is_said_what_to_do(tmp_path: Path) -> None:
    async with running(tmp_path, own=False, **QUICK) as rig:
        for stream in (True, False):
            answer = await rig.post(ask(stream=stream))
            assert (answer.status, answer.error()["code"]) == (503, "no_account")
            assert answer.headers["x-gateway-fault"] == "gateway"
            assert answer.headers["x-should-retry"] == "false"
            for word in ("https://chat.qwen.ai", "QWEN_GATEWAY_COOKIES", "qwen-gateway demo"):
                assert word in answer.error()["message"]
        assert (await rig.get("/readyz")).status == 503
        health = (await rig.get("/health")).json()
        assert (health["status"], health["accounts"]) == ("no_account", [])
        rows = (await rig.get("/v1/models")).json()["data"]
        assert rows
        assert all(row["stale"] for row in rows)


Start = Callable[..., AbstractAsyncContextManager[Rig]]


@pytest.fixture
async def open_rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A gateway without keys: whoever reaches it is let in."""
    async with running(tmp_path, **QUICK, api_keys=()) as found:
        yield found


async def test_without_keys_anybody_on_this_machine_is_let_in(open_rig: Rig) -> None:
    for key in (None, "anything"):
        assert (await open_rig.post(ask(), key=key)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer  {KEY} "},
        {"x_api_key": KEY},
        {"x_api_key": KEY, "Authorization": f"Bearer {KEY}"},
    ],
)
async def test_a_key_comes_as_bearer_or_x_api_key_or_both(rig: Rig, headers: dict[str, str]) -> None:
    assert (await rig.post(ask(), key=None, **headers)).status == 200
    assert (await rig.get("/v1/models", key=None, **headers)).status == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({"Authorization": "Bearer wrong"}, "invalid_api_key"),
        ({"Authorization": f"Basic {KEY}"}, "missing_api_key"),
        ({"Authorization": f"Bearer {KEY}x"}, "invalid_api_key"),
        ({"Authorization": f"Bearer {KEY[:-1]}"}, "invalid_api_key"),
        ({"x_api_key": "wrong"}, "invalid_api_key"),
        ({"x_api_key": "wrong", "Authorization": f"Bearer {KEY}"}, "invalid_api_key"),
        ({"x_api_key": KEY, "Authorization": "Bearer wrong"}, "invalid_api_key"),
        ({"Authorization": "Bearer " + "k" * 20_000}, "invalid_api_key"),
    ],
    ids=str,
)
async def test_other_keys_are_refused_and_not_repeated(rig: Rig, headers: dict[str, str], code: str) -> None:
    for answer in (await rig.post(ask(), key=None, **headers), await rig.get("/v1/models", key=None, **headers)):
        assert (answer.status, answer.error()["code"]) == (401, code)
        assert answer.error()["type"] == "authentication_error"
        assert (answer.headers["x-gateway-fault"], answer.headers["x-should-retry"]) == ("client", "false")
        assert KEY[:-1] not in answer.body.decode()
        assert "wrong" not in answer.body.decode()
    assert not rig.sim.site.seen


async def test_several_keys_are_good_each(tmp_path: Path) -> None:
    async with running(tmp_path, **QUICK, api_keys=("first-key", "second-key")) as rig:
        assert [(await rig.post(ask(), key=key)).status for key in ("first-key", "second-key", "third")] == [
            200,
            200,
            401,
        ]


async def test_the_strict_jar_of_the_site_is_met_with_the_browsers_cookies(rig: Rig) -> None:
    await rig.program(strict_jar=True)
    assert (await rig.post(ask())).status == 200
    assert rig.sim.site.seen[-1].model == MODEL
