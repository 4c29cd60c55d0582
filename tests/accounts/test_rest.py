"""When an account or a model rests, and for how long."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.accounts.rest import CROWDED_REST, LIMIT_REST, LOGIN_REST, LONGEST_REST, Rest, Resting
from qwen_gateway.turn.faults import (
    Busy,
    Challenged,
    Crowded,
    Empty,
    Fault,
    LoginExpired,
    RateLimited,
    SiteError,
    Throttled,
)

CHALLENGE, CROWD = Challenged("solve"), Crowded("crowded", retry_after=30)


def left(rest: Rest, model: str, now: float) -> float:
    """Seconds that the model still rests."""
    pause = rest.pause(model, now)
    return 0 if pause is None else pause.until - now


def test_nothing_rests_at_first() -> None:
    assert Rest(Resting(120)).pause("m", 0) is None


def test_a_challenge_rests_the_whole_account_and_says_why() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", CHALLENGE, 1000)
    for model in ("m", "other"):
        pause = rest.pause(model, 1000)
        assert pause is not None
        assert (pause.until, pause.fault) == (1120, CHALLENGE)
    assert rest.pause("m", 1119.9) is not None
    assert rest.pause("m", 1120) is None


def test_each_further_challenge_doubles_the_rest_up_to_half_an_hour() -> None:
    rest, now, rests = Rest(Resting(120)), 0.0, []
    for _ in range(7):
        rest.failed("m", CHALLENGE, now)
        rests.append(left(rest, "m", now))
        now += rests[-1]
    assert rests == [120, 240, 480, 960, 1800, 1800, 1800]


def test_a_success_ends_the_rest_and_the_doubling() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", CHALLENGE, 0)
    rest.failed("m", CHALLENGE, 0)
    rest.succeeded(1)
    assert rest.pause("m", 0) is None
    rest.failed("m", CHALLENGE, 0)
    assert left(rest, "m", 0) == 120


def test_challenges_of_requests_that_were_under_way_count_as_one() -> None:
    rest = Rest(Resting(120))
    for _ in range(5):
        rest.failed("m", CHALLENGE, 1)
    assert left(rest, "m", 1) == 120


def test_no_rest_is_longer_than_the_operator_wants() -> None:
    rest = Rest(Resting(120, longest=2))
    rest.failed("m", CHALLENGE, 0)
    rest.failed("limited", RateLimited("today", retry_after=36_000), 0)
    assert (left(rest, "m", 0), left(rest, "limited", 0)) == (2, 2)
    assert (left(rest, "m", 2), left(rest, "limited", 2)) == (0, 0)


def test_a_success_of_a_turn_that_began_before_the_challenge_ends_nothing() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", CHALLENGE, 10)
    rest.succeeded(9)
    assert left(rest, "m", 10) == 120
    rest.succeeded(10)
    assert left(rest, "m", 10) == 120
    rest.succeeded(11)
    assert left(rest, "m", 11) == 0


def test_a_passing_limit_rests_the_model_shortly() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", Throttled("slow down"), 0)
    assert (left(rest, "m", 0), left(rest, "other", 0)) == (CROWDED_REST, 0)
    rest.failed("m", Throttled("slow down", retry_after=7), 0)
    assert left(rest, "m", 0) == 7


def test_a_session_that_is_over_rests_the_account_between_looks() -> None:
    rest = Rest(Resting(120))
    rest.ended(LoginExpired("log in"), 0)
    assert left(rest, "any", 0) == LOGIN_REST


def test_all_rest_can_be_ended_at_once() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", CHALLENGE, 0)
    rest.failed("limited", RateLimited("today", retry_after=36_000), 0)
    rest.clear()
    assert (left(rest, "m", 0), left(rest, "limited", 0)) == (0, 0)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.001, 5000), st.integers(1, 3000))
def test_no_number_of_challenges_breaks_anything(first: float, times: int) -> None:
    rest = Rest(Resting(first))
    for _ in range(times):
        rest.failed("m", CHALLENGE, 0)
    assert 0 < left(rest, "m", 0) <= LONGEST_REST


def test_a_crowd_rests_the_account_shortly_and_never_longer() -> None:
    rest = Rest(Resting(120))
    for now in range(5):
        rest.failed("m", CROWD, now)
        assert left(rest, "other", now) == CROWDED_REST


def test_a_crowd_does_not_shorten_the_rest_after_a_challenge() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", CHALLENGE, 0)
    rest.failed("m", CROWD, 1)
    assert left(rest, "m", 1) == 119
    rest.failed("m", CROWD, 100)
    assert left(rest, "m", 100) == CROWDED_REST


@pytest.mark.parametrize(("told", "seconds"), [(36_000.0, 36_000), (2.0, 2), (None, LIMIT_REST)])
def test_a_limit_rests_its_model_and_no_other(told: float | None, seconds: float) -> None:
    rest = Rest(Resting(120))
    rest.failed("m", RateLimited("limit", retry_after=told), 0)
    assert left(rest, "m", 0) == seconds
    assert rest.pause("other", 0) is None
    assert rest.pause("m", seconds) is None


def test_a_success_of_one_model_does_not_end_the_limit_of_another() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", RateLimited("limit"), 0)
    rest.succeeded(1)
    assert left(rest, "m", 0) == LIMIT_REST


def test_the_accounts_own_rest_is_told_first() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", RateLimited("limit"), 0)
    rest.failed("m", CHALLENGE, 0)
    pause = rest.pause("m", 0)
    assert pause is not None
    assert pause.fault is CHALLENGE
    assert left(rest, "m", 120) == LIMIT_REST - 120


@pytest.mark.parametrize("fault", [Busy("x", retry_after=9), Empty("x"), LoginExpired("x"), SiteError("x")])
def test_other_faults_mean_no_rest(fault: Fault) -> None:
    rest = Rest(Resting(120))
    rest.failed("m", fault, 0)
    assert rest.pause("m", 0) is None
