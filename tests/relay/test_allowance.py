"""What a key may use: counted, reserved, given back; whatever becomes of the request and of the stores."""

import asyncio
import contextlib
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from qwen_gateway.relay import settlement
from qwen_gateway.relay.allowance import DAY, Allowances, Permit, duration
from qwen_gateway.relay.keys import Key
from qwen_gateway.turn.faults import BudgetSpent, Fault, LimitReached, StorageUnavailable

from .fakes import NOON, Clock, settle
from .key_fakes import Tally

TODAY = int(NOON // DAY)
TO_MIDNIGHT = DAY - NOON % DAY
RESERVE = 100


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "RETRY_FIRST", 0.001)
    monkeypatch.setattr(settlement, "RETRY_IN_HASTE", 0.001)


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.tally = Tally(self.clock)
        self.allowances = Allowances(
            self.tally, self.tally, self.clock.ambient(), seat_seconds=600, output_reserve=RESERVE
        )

    def permit(self, **limits: Any) -> Permit:
        return self.allowances.permit(Key("k", "laptop", **limits))

    @property
    def spent(self) -> int:
        return self.tally.spent["k", TODAY]

    async def until_settled(self) -> None:
        async with asyncio.timeout(5):
            while self.allowances.settlement.pending:
                await asyncio.sleep(0.001)


def told(permit: Permit) -> dict[str, str]:
    return {name.decode().removeprefix("x-ratelimit-"): value.decode() for name, value in permit.headers()}


def test_callers_without_limits_cost_nothing() -> None:
    bench = Bench()
    for permit in (bench.permit(), bench.allowances.permit(None)):
        for step in (permit.enter(), permit.reserve(10**9)):
            with pytest.raises(StopIteration):
                step.send(None)  # over at once: there was nothing to await, not even a loop
        permit.close(5)
        assert permit.headers() == []
        assert not permit.counts_tokens
    assert bench.tally.calls == []
    assert bench.permit() is bench.permit()


async def test_only_the_limits_that_a_key_has_are_asked_about() -> None:
    for limits, calls in (
        ({"requests_per_minute": 5}, ["hit"]),
        ({"concurrency": 5}, ["enter", "leave"]),
        ({"tokens_per_day": 500}, ["reserve", "settle"]),
    ):
        bench = Bench()
        permit = bench.permit(**limits)
        await permit.enter()
        await permit.reserve(1)
        permit.close(7)
        await bench.until_settled()
        assert bench.tally.calls == calls


async def test_requests_beyond_those_of_a_minute_wait_for_its_end() -> None:
    bench = Bench()
    for left in (1, 0):
        permit = bench.permit(requests_per_minute=2)
        await permit.enter()
        assert told(permit) == {"limit-requests": "2", "remaining-requests": str(left), "reset-requests": "1m0s"}
    bench.clock.now += 20.5
    refused = bench.permit(requests_per_minute=2, concurrency=1)
    with pytest.raises(LimitReached, match="'laptop' may make 2 requests per minute") as caught:
        await refused.enter()
    assert (caught.value.code, caught.value.retry_after) == ("rate_limit_exceeded", 40.0)
    assert told(refused) == {"limit-requests": "2", "remaining-requests": "0", "reset-requests": "40s"}
    refused.close(None)
    assert bench.tally.taken == 0
    bench.clock.now += caught.value.retry_after or 0
    await bench.permit(requests_per_minute=2).enter()


async def test_as_many_requests_run_as_the_key_has_seats() -> None:
    bench = Bench()
    first, second, third = (bench.permit(concurrency=2, requests_per_minute=9) for _ in range(3))
    await first.enter()
    await second.enter()
    with pytest.raises(LimitReached, match="2 requests at the same time") as caught:
        await third.enter()
    assert (caught.value.code, caught.value.retry_after) == ("rate_limit_exceeded", 1.0)
    assert told(third)["remaining-requests"] == "6", "it was counted all the same"
    third.close(None)
    first.close(None)
    await bench.until_settled()
    assert bench.tally.taken == 1
    await bench.permit(concurrency=2).enter()


async def test_who_asks_again_at_once_is_not_faster_than_the_seat_of_the_last_answer() -> None:
    bench = Bench()
    bench.tally.slow = {"leave"}
    for _ in range(5):
        permit = bench.permit(concurrency=1)
        await permit.enter()
        permit.close(None)


async def test_tokens_are_set_aside_before_and_corrected_after() -> None:
    bench = Bench()
    permit = bench.permit(tokens_per_day=1000)
    assert permit.counts_tokens
    await permit.enter()
    assert told(permit) == {}, "nothing is known yet"
    await permit.reserve(50)
    assert (permit.reserved, bench.spent) == (150, 150)
    assert told(permit) == {
        "limit-tokens": "1000",
        "remaining-tokens": "850",
        "reset-tokens": duration(TO_MIDNIGHT),
    }
    permit.close(400)
    permit.close(9)  # once is enough
    await bench.until_settled()
    assert bench.spent == 400


async def test_a_request_that_asked_nothing_of_the_site_costs_nothing() -> None:
    for used in (None, 0, -5):
        bench = Bench()
        permit = bench.permit(tokens_per_day=1000)
        await permit.reserve(50)
        permit.close(used)
        await bench.until_settled()
        assert bench.spent == 0


async def test_a_spent_budget_says_until_when_and_is_not_worth_another_try() -> None:
    bench = Bench()
    bench.tally.spent["k", TODAY] = 800
    permit = bench.permit(tokens_per_day=1000, concurrency=1)
    await permit.enter()
    with pytest.raises(BudgetSpent, match=r"1000 tokens a day and has used 800; .* about 201\.") as caught:
        await permit.reserve(101)
    assert (caught.value.code, caught.value.status, caught.value.retryable) == ("insufficient_quota", 429, False)
    assert caught.value.retry_after == TO_MIDNIGHT
    assert told(permit)["remaining-tokens"] == "200"
    permit.close(None)
    await bench.until_settled()
    assert (bench.spent, bench.tally.taken) == (800, 0)
    bench.clock.now += caught.value.retry_after or 0
    await bench.permit(tokens_per_day=1000).reserve(101)


async def test_what_no_day_would_suffice_for_is_not_put_off_to_tomorrow() -> None:
    with pytest.raises(BudgetSpent, match="more than the 1000") as caught:
        await Bench().permit(tokens_per_day=1000).reserve(901)
    assert caught.value.retry_after is None


async def test_what_was_set_aside_before_midnight_is_settled_on_that_day() -> None:
    bench = Bench()
    bench.clock.now += TO_MIDNIGHT - 1
    permit = bench.permit(tokens_per_day=1000)
    await permit.reserve(50)
    bench.clock.now += 2
    permit.close(70)
    await bench.until_settled()
    assert bench.tally.spent == {("k", TODAY): 70}


@pytest.mark.parametrize("method", ["hit", "enter", "reserve", "used"])
@pytest.mark.parametrize("lost", [False, True])
async def test_while_a_store_is_away_nothing_is_allowed_and_nothing_stays_taken(method: str, lost: bool) -> None:
    bench = Bench()
    (bench.tally.lost if lost else bench.tally.away).add(method)
    permit = bench.permit(requests_per_minute=5, concurrency=1, tokens_per_day=50 if method == "used" else 500)

    async def enter_and_reserve() -> None:
        await permit.enter()
        await permit.reserve(1)

    with pytest.raises(StorageUnavailable):
        await enter_and_reserve()
    permit.close(None)
    await bench.until_settled()
    assert bench.tally.taken == 0


async def test_what_a_store_did_not_take_is_told_again_until_it_does() -> None:
    bench = Bench()
    permits = [bench.permit(tokens_per_day=1000, concurrency=3) for _ in range(3)]
    for permit in permits:
        await permit.enter()
        await permit.reserve(50)
    bench.tally.away = {"settle", "leave"}
    for permit in permits:
        permit.close(10)
    async with asyncio.timeout(5):
        while bench.tally.calls.count("settle") < 4:
            await asyncio.sleep(0.001)
    assert (bench.spent, bench.tally.taken) == (450, 3)
    assert bench.tally.calls.count("settle") < bench.tally.calls.count("leave"), "changes of one key are told together"
    bench.tally.away.clear()
    await bench.until_settled()
    assert (bench.spent, bench.tally.taken) == (30, 0)


async def test_the_end_waits_for_what_is_pending_and_does_not_wait_out_long_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settlement, "RETRY_FIRST", 3600.0)
    bench = Bench()
    permit = bench.permit(tokens_per_day=1000, concurrency=1)
    await permit.enter()
    await permit.reserve(50)
    bench.tally.away = {"settle", "leave"}
    permit.close(10)
    await settle()
    bench.tally.away.clear()
    await bench.allowances.close(5)
    assert (bench.spent, bench.tally.taken, bench.allowances.settlement.pending) == (10, 0, 0)


async def test_the_end_does_not_wait_for_a_store_that_stays_away() -> None:
    bench = Bench()
    permit, late = bench.permit(tokens_per_day=1000, concurrency=2), bench.permit(tokens_per_day=1000, concurrency=2)
    for one in (permit, late):
        await one.enter()
        await one.reserve(50)
    bench.tally.away = {"settle", "leave"}
    permit.close(10)
    await bench.allowances.close(0.02)
    assert bench.allowances.settlement.pending == 0
    late.close(10)
    assert bench.allowances.settlement.pending == 0


class Deaf(Tally):
    """A store that neither takes a settlement nor says so."""

    async def settle(self, key: str, day: int, change: int) -> None:
        await asyncio.Event().wait()


async def test_what_is_lost_at_the_end_is_logged() -> None:
    clock = Clock()
    tally = Deaf(clock)
    allowances = Allowances(tally, tally, clock.ambient(), seat_seconds=600, output_reserve=RESERVE)
    permit = allowances.permit(Key("k", "laptop", tokens_per_day=1000))
    await permit.reserve(50)
    permit.close(10)
    await settle()
    with capture_logs() as logs:
        await allowances.close(0.01)
    assert logs == [{"event": "tokens_not_settled", "log_level": "error", "key": "k", "day": TODAY, "change": 10 - 150}]


async def _request(permit: Permit, used: int | None) -> bool:
    """One request, as the server serves it. Whether the site was asked."""
    asked = False
    try:
        await permit.enter()
        await permit.reserve(20)
        asked = True
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    except (Fault, asyncio.CancelledError):
        pass
    finally:
        permit.close(used if asked else None)
    return asked


async def test_a_request_cancelled_at_any_point_gives_all_back() -> None:
    outcomes = set()
    for steps in range(40):
        bench = Bench()
        permit = bench.permit(requests_per_minute=9, concurrency=1, tokens_per_day=1000)
        task = asyncio.create_task(_request(permit, 33))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        asked = False
        with contextlib.suppress(asyncio.CancelledError):  # before it began
            asked = await task
        await bench.allowances.close(5)
        assert (bench.tally.taken, bench.spent) == (0, 33 if asked else 0), f"cancelled after {steps} steps"
        outcomes.add((asked, tuple(bench.tally.calls)))
    # Cancelled before anything, while it was counted, seated, its tokens reserved, and after it was over.
    assert len(outcomes) >= 4
    assert {asked for asked, _ in outcomes} == {False, True}


Plan = tuple[int, int, int | None]
"""Rounds to wait before, tokens really used, rounds after which it is cancelled."""


@hypothesis_settings(max_examples=150, deadline=None)
@given(
    plans=st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 120), st.none() | st.integers(0, 25)), min_size=1, max_size=25
    ),
    seats=st.integers(1, 4),
    budget=st.integers(120, 600),
    away=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_many_requests_at_once_never_overspend_and_leave_nothing_behind(
    plans: list[Plan], seats: int, budget: int, away: int, seed: int
) -> None:
    """No request uses more than it reserved here, so what is spent must never go beyond the budget."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "RETRY_FIRST", 0.0)
        patch.setattr(settlement, "RETRY_IN_HASTE", 0.0)
        asyncio.run(_crowd(plans, seats, budget, (away, random.Random(seed))))  # noqa: S311


async def _crowd(plans: list[Plan], seats: int, budget: int, trouble: tuple[int, random.Random]) -> None:
    bench = Bench()
    away, dice = trouble
    running = used = 0

    async def one(plan: Plan) -> None:
        nonlocal running, used
        before, real, _ = plan
        permit = bench.permit(concurrency=seats, tokens_per_day=budget)
        asked = seated = False
        try:
            for _ in range(before):
                await asyncio.sleep(0)
            await permit.enter()
            seated = True
            running += 1
            assert running <= seats
            await permit.reserve(20)
            asked = True
            assert bench.spent <= budget
            await asyncio.sleep(0)
        except Fault:
            pass
        finally:
            running -= seated
            used += real if asked else 0
            permit.close(real if asked else None)

    async def break_things() -> None:
        while True:
            bench.tally.away = set(dice.sample(["enter", "leave", "reserve", "settle", "used"], away))
            assert bench.spent <= budget
            for _ in range(dice.randrange(1, 6)):
                await asyncio.sleep(0)

    async def cancel_after(rounds: int, task: asyncio.Task[None]) -> None:
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()

    breaker = asyncio.create_task(break_things())
    requests = [asyncio.create_task(one(plan)) for plan in plans]
    cancels = [
        asyncio.create_task(cancel_after(plan[2], task))
        for plan, task in zip(plans, requests, strict=True)
        if plan[2] is not None
    ]
    ends: list[Any] = await asyncio.gather(*requests, *cancels, return_exceptions=True)
    breaker.cancel()
    bench.tally.away = set()
    await bench.allowances.close(5)
    assert [end for end in ends if isinstance(end, AssertionError)] == []
    assert (bench.spent, bench.tally.taken) == (used, 0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0199, "20ms"),
        (0.9991, "1s"),
        (1, "1s"),
        (59.2, "1m0s"),
        (60, "1m0s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (86_399, "23h59m59s"),
        (-1, "0ms"),
    ],
)
def test_durations_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
