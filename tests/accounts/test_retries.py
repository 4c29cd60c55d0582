"""Retries are few however many requests fail."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from qwen_gateway.accounts.retries import CAPACITY, PER_REQUEST, PER_SECOND, RetryBudget


def spend(budget: RetryBudget, now: float) -> int:
    """All that may be spent at once."""
    spent = 0
    while budget.may_retry(now):
        spent += 1
    return spent


def test_five_retries_are_there_at_first() -> None:
    assert spend(RetryBudget(), 0) == 5


def test_time_brings_one_a_minute_back_and_never_more_than_five() -> None:
    budget = RetryBudget()
    spend(budget, 0)
    assert not budget.may_retry(59)
    assert budget.may_retry(120)
    assert spend(budget, 10_000) == 5


def test_looking_does_not_lose_what_time_has_brought() -> None:
    budget = RetryBudget()
    spend(budget, 0)
    assert [budget.may_retry(second) for second in range(1, 122)].count(True) == 2


def test_requests_bring_some_back() -> None:
    budget = RetryBudget()
    spend(budget, 0)
    for _ in range(14):
        budget.asked()
    assert spend(budget, 0) == 2
    for _ in range(1000):
        budget.asked()
    assert spend(budget, 0) == 5


def test_a_clock_that_goes_back_takes_nothing() -> None:
    budget = RetryBudget()
    budget.may_retry(1000)
    assert spend(budget, 0) == 4


STEPS = st.lists(st.tuples(st.integers(0, 40), st.floats(0, 30), st.integers(0, 40)), max_size=40)


@settings(deadline=None, max_examples=150)
@given(STEPS)
@example([(100, 0.0, 100)])
def test_retries_stay_within_the_bound_in_every_span(steps: list[tuple[int, float, int]]) -> None:
    """steps: requests, seconds that pass, failures that want a retry."""
    budget, now = RetryBudget(), 0.0
    seen: list[tuple[float, int, int]] = []  # when, requests before, retries
    requests = 0
    for asked, passed, failed in steps:
        for _ in range(asked):
            budget.asked()
        requests += asked
        now += passed
        seen.append((now, requests, sum(budget.may_retry(now) for _ in range(failed))))
    for start, (began, before, _) in enumerate(seen):
        retries = 0
        for at, after, more in seen[start:]:
            retries += more
            assert retries <= CAPACITY + PER_REQUEST * (after - before) + PER_SECOND * (at - began) + 1e-6


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.integers(1, 300), st.floats(0, 9), st.integers(0, 300)), min_size=1, max_size=20))
@example([(5, 9.0, 10)] * 20)
@example([(1, 9.0, 10)] * 200)
def test_in_a_storm_attempts_stay_below_a_fifth_more_than_requests(steps: list[tuple[int, float, int]]) -> None:
    budget, now, requests, retries = RetryBudget(), 0.0, 0, 0
    for asked, passed, failed in steps:
        for _ in range(asked):
            budget.asked()
        requests += asked
        now += passed
        retries += sum(budget.may_retry(now) for _ in range(failed))
        if requests >= 100:
            assert requests + retries <= 1.2 * requests + 1e-6
