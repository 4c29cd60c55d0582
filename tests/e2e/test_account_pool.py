"""Several accounts: turns are spread, one's trouble is not the others', and a site in trouble is left alone."""

import asyncio
import copy
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from qwen_gateway.accounts import breaker
from qwen_gateway.relay import checks
from qwen_gateway.simulator import Simulator
from qwen_gateway.simulator.seen import Seen
from qwen_gateway.turn.contracts import Tokens

from .rig import QUICK, Rig, running, until
from .wire import MODEL, Answer, Json, ask

OTHER = "qwen3.6-plus"
LONG: Json = {"text": "a b c d e f", "delay_ms": 12, "sticky": True}


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Rig]:
    """A gateway with the accounts `ann` and `bob`."""
    async with running(tmp_path, own=False, **QUICK) as rig:
        await rig.join("ann", "bob")
        yield rig


async def _all(rig: Rig, count: int, **more: object) -> list[Answer]:
    return await asyncio.gather(*(rig.post(ask(f"question {n}") | more) for n in range(count)))


def _statuses(answers: list[Answer]) -> set[int]:
    return {answer.status for answer in answers}


def _by_account(rig: Rig) -> Counter[str | None]:
    return Counter(seen.account for seen in rig.sim.site.seen)


def _most_at_once(seen: list[Seen]) -> int:
    """How many of these answers ran at the same time."""
    moments = [(one.started, 1) for one in seen] + [(one.ended or one.started, -1) for one in seen]
    running_now = most = 0
    for _, change in sorted(moments):
        running_now += change
        most = max(most, running_now)
    return most


def _calls(rig: Rig, user: str) -> int:
    return rig.sim.site.tallies[user].requests


# --- spread, seats, pace, queue


async def test_turns_are_spread_evenly_whether_they_come_together_or_one_by_one(tmp_path: Path) -> None:
    async with running(tmp_path, own=False, **QUICK) as rig:
        await rig.join("ann", "bob", "cem")
        await rig.program(LONG)
        assert _statuses(await _all(rig, 30)) == {200}
        assert _by_account(rig) == {"ann": 10, "bob": 10, "cem": 10}
        for _ in range(6):
            assert (await rig.post(ask())).status == 200
        assert _by_account(rig) == {"ann": 12, "bob": 12, "cem": 12}


async def test_an_account_never_answers_more_at_once_than_it_may_and_all_are_served_in_the_end(tmp_path: Path) -> None:
    async with running(tmp_path, own=False, **QUICK, account_concurrency=3) as rig:
        await rig.join("ann", "bob")
        await rig.program(LONG)
        assert _statuses(await _all(rig, 30)) == {200}
        for user in ("ann", "bob"):
            seen = [one for one in rig.sim.site.seen if one.account == user]
            assert _most_at_once(seen) == 3, "all of its seats, and no more"
        assert (await rig.get("/health")).json()["waiting"] == 0


async def test_turns_begin_no_faster_than_an_account_may(tmp_path: Path) -> None:
    interval = 0.1
    async with running(tmp_path, own=False, **QUICK, account_pace=60 / interval, account_burst=2) as rig:
        await rig.join("ann")
        began = time.time()
        assert _statuses(await _all(rig, 8)) == {200}
        starts = sorted(seen.started for seen in rig.sim.site.seen)
        for number, at in enumerate(starts):
            # Whatever slows this machine down only makes them later.
            assert at - began >= max(0, number - 1) * interval - 0.001, number


async def test_a_caller_with_many_requests_does_not_keep_another_waiting_behind_them(tmp_path: Path) -> None:
    async with running(tmp_path, own=False, **QUICK, api_keys=("many", "single"), account_concurrency=1) as rig:
        await rig.join("ann")
        await rig.program(LONG)
        many = [asyncio.create_task(rig.post(ask("many"), key="many")) for _ in range(10)]
        await until(lambda: rig.service.accounts.pool.waiting == 9)
        assert (await rig.post(ask("single"), key="single")).status == 200
        assert _statuses(await asyncio.gather(*many)) == {200}
        assert "single" in [seen.prompt for seen in rig.sim.site.seen][:3]


async def test_who_finds_the_queue_full_is_told_when_to_come_back_and_the_others_are_served(tmp_path: Path) -> None:
    async with running(tmp_path, own=False, **QUICK, account_concurrency=1, queue_size=2) as rig:
        await rig.join("ann")
        await rig.program(LONG | {"delay_ms": 60})
        answers = await _all(rig, 8)
        assert Counter(answer.status for answer in answers) == {200: 3, 503: 5}
        for answer in answers:
            if answer.status == 503:
                assert answer.error()["code"] == "overloaded"
                assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("5", "true")
                assert answer.headers["x-gateway-fault"] == "gateway"
        assert len(rig.sim.site.seen) == 3, "the site was not asked for the others"
        assert (await rig.post(ask())).status == 200


async def test_who_waits_too_long_is_told_so(tmp_path: Path) -> None:
    async with running(tmp_path, own=False, **QUICK, account_concurrency=1, queue_timeout=0.2) as rig:
        await rig.join("ann")
        await rig.program(LONG | {"delay_ms": 150})
        first = asyncio.create_task(rig.post(ask()))
        await until(lambda: bool(rig.sim.site.streams))
        late = await rig.post(ask(stream=True))
        assert (late.status, late.error()["code"], late.headers["retry-after"]) == (503, "overloaded", "5")
        assert (await first).status == 200


async def test_a_client_that_leaves_the_queue_leaves_its_place(tmp_path: Path) -> None:
    async with running(tmp_path, own=False, **QUICK, account_concurrency=1) as rig:
        await rig.join("ann")
        await rig.program(LONG)
        first = asyncio.create_task(rig.post(ask("first")))
        await until(lambda: bool(rig.sim.site.streams))
        gone = asyncio.create_task(rig.post(ask("gone")))
        await until(lambda: rig.service.accounts.pool.waiting == 1)
        gone.cancel()
        await until(lambda: rig.service.accounts.pool.waiting == 0)
        assert (await first).status == 200
        assert (await rig.post(ask("next"))).status == 200
        assert [seen.prompt for seen in rig.sim.site.seen] == ["first", "next"]


# --- one account's trouble


def _limited(model: str, hours: float) -> Json:
    return {"state": "rate_limited", "model": model, "num": hours}


async def test_the_limit_of_a_model_on_one_account_concerns_no_other_model_and_no_other_account(pair: Rig) -> None:
    await pair.behave(ann=_limited(MODEL, 2))
    for _ in range(8):
        assert (await pair.post(ask())).status == 200
    limited = [seen for seen in pair.sim.site.seen if seen.account == "ann"]
    assert len(limited) == 1, "it was asked until it said so, and not again"
    for _ in range(4):
        assert (await pair.post(ask() | {"model": OTHER})).status == 200
    assert {seen.account for seen in pair.sim.site.seen if seen.model == OTHER} == {"ann", "bob"}
    assert (await pair.get("/health")).json()["status"] == "ok"


async def test_when_all_accounts_have_used_up_a_model_it_is_told_when_the_first_may_be_asked_again(pair: Rig) -> None:
    await pair.behave(ann=_limited(MODEL, 2), bob=_limited(MODEL, 1))
    first = await pair.post(ask())
    asked = len(pair.sim.site.seen)
    assert asked == 2
    again = await pair.post(ask(stream=True))
    for answer in (first, again):
        assert (answer.status, answer.error()["type"]) == (429, "rate_limit_error")
        assert answer.error()["code"] == "upstream_rate_limited"
        assert 3590 <= int(answer.headers["retry-after"]) <= 3600, "the hour of bob, and not the two of ann"
    assert "2 have used up today's limit" in again.error()["message"]
    assert len(pair.sim.site.seen) == asked
    assert (await pair.post(ask() | {"model": OTHER})).status == 200


@pytest.mark.parametrize("state", ["challenged", "walled"])
async def test_a_challenged_account_is_left_alone_by_everything_while_it_rests(tmp_path: Path, state: str) -> None:
    async with running(tmp_path, own=False, **{**QUICK, "challenge_rest": 60}) as pair:
        await pair.join("ann", "bob")
        await pair.behave(ann=state)
        for _ in range(2):
            assert (await pair.post(ask())).status == 200
        assert pair.account("ann").resting() is not None
        calls = _calls(pair, "ann")
        pair.service.models._next = 0.0
        assert (await pair.get("/v1/models")).status == 200
        assert _statuses(await _all(pair, 20)) == {200}
        await pair.settle()
        assert _calls(pair, "ann") == calls, "no turn, no deletion, no list of models"
        assert (await pair.get("/health")).json()["status"] == "ok"


async def test_a_rest_that_is_over_is_tried_by_one_turn_while_the_other_account_takes_the_rest(pair: Rig) -> None:
    await pair.behave(ann="challenged")
    for _ in range(2):
        assert (await pair.post(ask())).status == 200
    await pair.behave(ann="ok")
    await pair.program({"text": "late", "first_byte_ms": 300, "sticky": True})
    await until(lambda: pair.account("ann").resting() is None)
    before = len(pair.sim.site.seen)
    assert _statuses(await _all(pair, 20)) == {200}
    probe, *others = sorted(
        (seen for seen in pair.sim.site.seen[before:] if seen.account == "ann"), key=lambda seen: seen.started
    )
    assert probe.first_byte is not None
    assert all(seen.started >= probe.first_byte for seen in others)
    assert _by_account(pair)["bob"] >= 10, "they did not wait for it"
    assert _statuses(await _all(pair, 4)) == {200}
    assert {seen.account for seen in pair.sim.site.seen[-4:]} == {"ann", "bob"}


async def test_while_one_turn_tries_a_lone_account_the_others_wait_for_what_it_finds(tmp_path: Path) -> None:
    async with running(tmp_path, own=False, **QUICK) as rig:
        await rig.join("ann")
        await rig.behave(ann="challenged")
        assert (await rig.post(ask())).status == 503
        await rig.behave(ann="ok")
        await rig.program({"text": "late", "first_byte_ms": 200, "sticky": True})
        await until(lambda: rig.own.resting() is None)
        assert _statuses(await _all(rig, 20)) == {200}
        probe, *others = sorted(rig.sim.site.seen, key=lambda seen: seen.started)
        assert probe.first_byte is not None
        assert len(others) == 19
        assert all(seen.started >= probe.first_byte for seen in others)


async def test_a_try_that_meets_the_challenge_again_sends_all_others_away(tmp_path: Path) -> None:
    async with running(tmp_path, own=False, **QUICK) as rig:
        await rig.join("ann")
        await rig.behave(ann="challenged")
        assert (await rig.post(ask())).status == 503
        await until(lambda: rig.own.resting() is None)
        before = rig.sim.site.requests_total
        answers = await _all(rig, 20)
        assert {(answer.status, answer.error()["code"]) for answer in answers} == {(503, "upstream_challenge")}
        assert rig.sim.site.requests_total == before + 1, "one of twenty tried"


async def test_an_account_whose_session_ended_is_told_and_the_others_serve(pair: Rig) -> None:
    await pair.behave(ann="expired")
    for _ in range(2):
        assert (await pair.post(ask())).status == 200
    calls = _calls(pair, "ann")
    assert calls
    for _ in range(6):
        assert (await pair.post(ask())).status == 200
    assert _calls(pair, "ann") == calls, "once it is known that it ended, it is left alone"
    health = (await pair.get("/health")).json()
    assert health["status"] == "ok"
    resting = {one["key"]: one["resting"] for one in health["accounts"]}
    assert resting[pair.account("ann").key]["code"] == "upstream_auth_required"
    assert resting[pair.account("bob").key] is None
    assert not any("ann" in one.values() for one in health["accounts"]), "a stranger learns no name"


async def test_an_account_that_takes_over_and_wants_a_new_token_is_not_taken_for_one_whose_session_ended(
    pair: Rig,
) -> None:
    await pair.behave(ann="challenged")
    await pair.program({"error": "unauthorized"})  # meets bob, as ann is challenged before
    assert (await pair.post(ask())).status == 503
    assert [seen.account for seen in pair.sim.site.seen] == ["bob"]
    assert (await pair.post(ask())).status == 200
    assert pair.account("bob").resting() is None


async def test_a_blocked_account_leaves_the_others(pair: Rig) -> None:
    await pair.behave(ann="blocked")
    for _ in range(6):
        assert (await pair.post(ask())).status == 200
    assert len([seen for seen in pair.sim.site.seen if seen.account == "ann"]) <= 1
    assert pair.account("ann").resting() is not None
    assert pair.account("bob").resting() is None


@pytest.mark.parametrize(("state", "status", "code"), [
    ("challenged", 503, "upstream_challenge"),
    ("walled", 503, "upstream_challenge"),
    ("blocked", 503, "upstream_blocked"),
    ("expired", 503, "upstream_auth_required"),
    ({"state": "rate_limited", "num": 3}, 429, "upstream_rate_limited"),
])  # fmt: skip
async def test_while_all_accounts_rest_the_site_is_not_called_at_all(
    tmp_path: Path, state: str | Json, status: int, code: str
) -> None:
    async with running(tmp_path, own=False, **{**QUICK, "challenge_rest": 60}) as pair:
        await pair.join("ann", "bob")
        await _all(pair, 4)
        await pair.settle()
        await pair.behave(ann=state, bob=state)
        first = await pair.post(ask())
        assert (first.status, first.error()["code"]) == (status, code)
        await pair.post(ask())
        await pair.settle()
        before = pair.sim.site.requests_total
        pair.service.models._next = 0.0
        answers = await _all(pair, 40)
        answers.append(await pair.post(ask(stream=True)))
        assert {(answer.status, answer.error()["code"]) for answer in answers} == {(status, code)}
        for answer in answers:
            assert answer.headers["x-gateway-fault"] == "site"
            if state == "expired":  # a person must act, so programs need not come back by themselves
                assert answer.headers["x-should-retry"] == "false"
            else:
                assert int(answer.headers["retry-after"]) > 1
        if status == 503:
            await pair.get("/v1/models")
            assert pair.sim.site.requests_total == before
            assert (await pair.get("/health")).json()["status"] in ("resting", "login_required")
        else:
            assert len(pair.sim.site.seen) == 4 + 2, "a model's limit is no reason not to ask for the list of models"


async def test_a_wall_that_everyone_meets_is_not_run_against_with_each_account(pair: Rig) -> None:
    await pair.program({"error": "challenge_busy", "sticky": True})
    answer = await pair.post(ask())
    assert answer.status == 503
    assert len(pair.sim.site.seen) == 1


# --- the site's trouble


@pytest.fixture
def hurried_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "FIRST_OPEN", 0.5)
    monkeypatch.setattr(breaker, "LONGEST_OPEN", 0.5)


STORMS: dict[str, tuple[Json, list[Json]]] = {
    "unreachable": ({"refuse_connections": True}, []),
    "down at chats/new": ({"chats_new_fault": "down"}, []),
    "500 for questions": ({}, [{"error": "http_500", "sticky": True}]),
}


@pytest.mark.usefixtures("hurried_breaker")
@pytest.mark.parametrize(
    ("name", "batch"),
    [*((name, 30) for name in STORMS), ("500 for questions", 300)],
    ids=lambda value: {30: "in rows", 300: "all at once"}.get(value, value),
)
async def test_a_storm_of_failures_is_not_answered_by_a_storm_of_retries(pair: Rig, name: str, batch: int) -> None:
    switches, turns = STORMS[name]
    assert _statuses(await _all(pair, 2)) == {200}
    await pair.settle()
    site, requests = pair.sim.site, 300
    before = site.requests_total, len(site.seen), len(site.chats)
    await pair.program(*turns, **switches)
    answers: list[Answer] = []
    seen_open = False
    for _ in range(requests // batch):
        answers += await _all(pair, batch)
        seen_open = seen_open or (await pair.get("/health")).json()["site"] != "closed"
    assert min(_statuses(answers)) >= 500
    for answer in answers:
        assert answer.headers["x-gateway-fault"] == "site"
        assert answer.error()["code"].startswith("upstream_") or answer.error()["code"] == "breaker_open"
    total, asked, made = (now - then for now, then in zip(
        (site.requests_total, len(site.seen), len(site.chats)), before, strict=True
    ))  # fmt: skip
    assert asked <= 1.2 * requests
    assert made <= 1.2 * requests
    if not turns:
        assert total <= 1.2 * requests, "these calls never got as far as a question"
    if batch < requests:
        assert asked <= 0.2 * requests, "after some failures the site is left alone"
    assert seen_open, "the breaker shows at /health"
    site.queue.clear()
    await pair.program(refuse_connections=False, chats_new_fault=None)
    deadline = asyncio.get_running_loop().time() + 5
    while (await pair.post(ask())).status != 200:
        assert asyncio.get_running_loop().time() < deadline, "it recovers by itself"
        await asyncio.sleep(0.05)
    assert (await pair.get("/health")).json()["site"] == "closed"
    assert _statuses(await _all(pair, 10)) == {200}


# --- what outlives the process, and warnings


async def test_a_restart_remembers_what_rests(tmp_path: Path) -> None:
    settings = {**QUICK, "challenge_rest": 60}
    async with Simulator() as sim:
        async with running(tmp_path, own=False, site=sim, **settings) as rig:
            await rig.join("ann", "bob")
            await rig.behave(ann="challenged", bob=_limited(MODEL, 2))
            assert (await rig.post(ask())).status in (429, 503)
            await rig.settle()
        before = len(sim.site.seen), _calls(rig, "ann")
        async with running(tmp_path, own=False, site=sim, **settings) as rig:
            answer = await rig.post(ask())
            assert answer.status == 503
            assert 50 <= int(answer.headers["retry-after"]) <= 60
            assert (len(sim.site.seen), _calls(rig, "ann")) == before
            assert (await rig.post(ask() | {"model": OTHER})).status == 200
            assert [seen.account for seen in sim.site.seen[before[0] :]] == ["bob"]
            rests = (await rig.manage("GET", "/accounts/bob")).json()["rests"]
            assert [(rest["what"], rest["code"]) for rest in rests] == [(MODEL, "upstream_rate_limited")]


async def test_a_restart_remembers_cookies_and_tokens_that_the_site_has_renewed(tmp_path: Path) -> None:
    async with Simulator() as sim:
        for expected in (1, 2, 3):
            async with running(tmp_path, own=False, site=sim, **QUICK) as rig:
                if expected == 1:
                    await rig.join("ann")
                rig.own.session.renew(Tokens(sim.access_token("ann", expires_in=-1)))
                assert (await rig.post(ask())).status == 200
                await rig.settle()
            assert sim.site.refreshes == expected, "a refresh token is good once"


async def test_settings_that_show_in_answers_are_found_switched_off_and_exactly_restored(
    pair: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "LOOK_EVERY", 0.0)
    site = pair.sim.site
    assert (await pair.manage("GET", "/accounts/ann/settings")).status == 200
    settings: Any = site.settings["ann"]
    settings["personalization"] |= {"name": "Ann", "enable_for_new_chat": True}
    settings["tools_enabled"]["bio"] = False
    original = copy.deepcopy(site.settings)
    found = (await pair.manage("GET", "/accounts/ann/settings")).json()["settings"]
    paths = {one["path"] for one in found}
    assert {"memory.enable_memory", "personalization.enable_for_new_chat", "tools_enabled.web_search"} <= paths
    assert "tools_enabled.bio" not in paths
    assert "Ann" not in str([one["value"] for one in found])
    for groups in (["memory"], ["memory", "personalization", "tools"]):
        answer = await pair.manage("POST", "/accounts/ann/settings/silence", {"groups": groups})
        assert answer.status == 200, answer.body
    assert (await pair.manage("GET", "/accounts/ann/settings")).json()["settings"] == []
    assert site.settings["ann"]["ui"] == original["ann"]["ui"]
    assert "bob" not in site.settings, "another account's settings are its own"
    restored = (await pair.manage("POST", "/accounts/ann/settings/restore")).json()["restored"]
    assert set(restored) == paths
    assert site.settings == original
    again = await pair.manage("POST", "/accounts/ann/settings/restore")
    assert (again.status, again.error()["code"]) == (404, "nothing_to_restore")


async def test_the_owner_is_warned_before_a_session_ends(tmp_path: Path) -> None:
    async with Simulator() as sim:
        for days, warned in ((2.0, True), (20.0, False)):
            directory = tmp_path / str(days)
            with capture_logs() as logs:
                async with running(
                    directory, own=False, site=sim, cookies=sim.cookies(expires_in=days * 86_400), **QUICK
                ) as rig:
                    whole, stream = [await rig.post(ask(stream=stream)) for stream in (False, True)]
                    told = (await rig.get("/health")).json()["warning"]
            lines = [line for line in logs if line["event"] == "session_ends"]
            if not warned:
                assert told is None
                assert not lines
                assert "x-gateway-warning" not in whole.headers | stream.headers
                continue
            assert "ends in 48 h" in told or "ends in 2 days" in told
            for answer in (whole, stream):
                assert answer.status == 200
                assert answer.headers["x-gateway-warning"] == told
            assert [line["log_level"] for line in lines] == ["warning"]
            assert lines[0]["why"].startswith("The Qwen session of the account ")


async def test_nobody_but_a_caller_of_the_owners_account_is_warned(tmp_path: Path) -> None:
    async with Simulator() as sim:
        cookies = sim.cookies(expires_in=86_400)
        async with running(tmp_path, own=False, site=sim, cookies=cookies, pass_through=True, **QUICK) as rig:
            assert "x-gateway-warning" in (await rig.post(ask())).headers
            assert "x-gateway-warning" not in (await rig.post(ask(), key=sim.token("ann"))).headers
            assert "x-gateway-warning" not in (await rig.post(ask(), key="wrong")).headers
