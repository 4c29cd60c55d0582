"""When the site is left alone, and who may look how it is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.accounts.breaker import (
    FAILURES,
    FIRST_OPEN,
    LONGEST_OPEN,
    PROBE_LONGEST,
    PROBE_WAIT,
    WINDOW,
    Breaker,
    counts,
)
from qwen_gateway.turn.faults import Challenged, Drift, Fault, RateLimited, SiteError, TimedOut, Unreachable


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(now)
    return breaker


def test_it_is_closed_at_first() -> None:
    breaker = Breaker()
    assert (breaker.state(0), breaker.check(0)) == ("closed", None)


def test_it_opens_after_five_failures_in_a_row() -> None:
    breaker = Breaker()
    for now in range(FAILURES - 1):
        breaker.failed(now)
        assert breaker.state(now) == "closed"
    breaker.failed(4)
    assert (breaker.state(4), breaker.check(4), breaker.check(13.5)) == ("open", FIRST_OPEN, 0.5)


def test_a_success_between_begins_anew() -> None:
    breaker = Breaker()
    for now in range(FAILURES - 1):
        breaker.failed(now)
    breaker.succeeded(4)
    for now in range(FAILURES - 1):
        breaker.failed(now)
    assert breaker.state(9) == "closed"


def test_failures_far_apart_do_not_open_it() -> None:
    breaker = Breaker()
    for number in range(20):
        breaker.failed(number * (WINDOW / (FAILURES - 1) + 0.1))
    assert breaker.state(1000) == "closed"
    within = Breaker()
    for number in range(FAILURES):
        within.failed(number * WINDOW / (FAILURES - 1))
    assert within.state(WINDOW) == "open"


def test_after_its_time_exactly_one_may_look() -> None:
    breaker = opened()
    assert breaker.state(FIRST_OPEN) == "half_open"
    assert [breaker.check(FIRST_OPEN) for _ in range(3)] == [None, PROBE_WAIT, PROBE_WAIT]
    assert breaker.state(FIRST_OPEN) == "half_open"


def test_a_look_that_succeeds_closes_it_and_forgets() -> None:
    breaker = opened()
    breaker.check(10)
    breaker.failed(10)
    breaker.check(30)
    breaker.succeeded(31)
    assert (breaker.state(31), breaker.check(31), breaker.check(31)) == ("closed", None, None)
    for _ in range(FAILURES):
        breaker.failed(32)
    assert breaker.check(32) == FIRST_OPEN


def test_each_look_that_fails_doubles_the_time_up_to_two_minutes() -> None:
    breaker, now, times = opened(), 0.0, []
    for _ in range(6):
        wait = breaker.check(now)
        assert wait is not None
        times.append(wait)
        now += wait
        assert breaker.check(now) is None
        breaker.failed(now)
    assert times == [10, 20, 40, 80, LONGEST_OPEN, LONGEST_OPEN]


def test_a_look_that_is_given_up_lets_the_next_one_look() -> None:
    breaker = opened()
    breaker.check(FIRST_OPEN)
    breaker.abandoned()
    assert [breaker.check(FIRST_OPEN), breaker.check(FIRST_OPEN)] == [None, PROBE_WAIT]


def test_a_look_that_never_reports_is_lost_after_a_while() -> None:
    breaker = opened()
    breaker.check(FIRST_OPEN)
    assert breaker.check(FIRST_OPEN + PROBE_LONGEST - 1) == PROBE_WAIT
    assert breaker.check(FIRST_OPEN + PROBE_LONGEST) is None


def test_failures_of_requests_that_were_under_way_do_not_prolong_it() -> None:
    breaker = opened()
    for now in (1.0, 5.0, 9.0, FIRST_OPEN):
        breaker.failed(now)
    assert breaker.check(FIRST_OPEN) is None


def test_an_answer_of_a_request_that_was_under_way_closes_it() -> None:
    breaker = opened()
    breaker.succeeded(1)
    assert breaker.state(1) == "closed"


@pytest.mark.parametrize(
    ("fault", "counted"),
    [
        (Unreachable("x"), True),
        (TimedOut("x"), True),
        (SiteError("x"), True),
        (Challenged("x"), False),
        (RateLimited("x"), False),
        (Drift("x"), False),
        (Fault("x"), False),
    ],
)
def test_which_faults_count(fault: Fault, counted: bool) -> None:
    assert counts(fault) is counted


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(["check", "failed", "succeeded", "abandoned"]), st.floats(0, 100))))
def test_it_never_keeps_everyone_out_for_long(steps: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(), 0.0
    for step, passed in steps:
        now += passed
        if step == "abandoned":
            breaker.abandoned()
        else:
            getattr(breaker, step)(now)
        wait = breaker.check(now) if step == "succeeded" else None
        assert wait is None
    assert breaker.state(now + LONGEST_OPEN) != "open"
    assert breaker.check(now + LONGEST_OPEN + PROBE_LONGEST) is None
