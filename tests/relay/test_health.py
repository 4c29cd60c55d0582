"""The site as a whole: left alone after failures in a row, then looked at by one; and how many tries all make."""

import pytest

from qwen_gateway.accounts.breaker import FAILURES, FIRST_OPEN, PROBE_WAIT
from qwen_gateway.accounts.retries import CAPACITY
from qwen_gateway.relay.health import Health
from qwen_gateway.turn.faults import Challenged, Down, SiteError, Unreachable

from .fakes import Clock


def failing(clock: Clock) -> Health:
    """Of a site that has just failed too often."""
    health = Health(clock.ambient())
    for _ in range(FAILURES):
        health.check()
        health.note(Unreachable("refused"))
    return health


def test_a_site_that_failed_too_often_is_left_alone_and_clients_are_told_for_how_long() -> None:
    health = failing(Clock())
    assert health.state() == "open"
    for asks in (health.check, health.ask):
        with pytest.raises(Down) as down:
            asks()
        assert down.value.retry_after == FIRST_OPEN
        assert f"in {FIRST_OPEN:.0f} s" in down.value.text


def test_after_that_time_one_looks_while_the_others_wait() -> None:
    clock = Clock()
    health = failing(clock)
    clock.now += FIRST_OPEN
    assert health.state() == "half_open"
    health.check()
    health.ask()
    health.check()
    with pytest.raises(Down) as down:
        health.ask()
    assert down.value.retry_after == PROBE_WAIT
    health.note(None)
    assert health.state() == "closed"
    health.ask()


def test_a_wait_of_less_than_a_second_is_told_as_one() -> None:
    clock = Clock()
    health = failing(clock)
    clock.now += FIRST_OPEN - 0.1
    with pytest.raises(Down) as down:
        health.check()
    assert down.value.retry_after == 1


def test_a_refusal_is_a_sign_of_life() -> None:
    health = Health(Clock().ambient())
    for fault in [SiteError("x")] * (FAILURES - 1) + [Challenged("a wall")] + [SiteError("x")] * (FAILURES - 1):
        health.note(fault)
    assert health.state() == "closed"


def test_tries_are_bounded_for_all_turns_together() -> None:
    health = Health(Clock().ambient())
    assert [health.may_retry() for _ in range(int(CAPACITY) + 1)] == [True] * int(CAPACITY) + [False]


def test_waking_forgets_failures_and_tries() -> None:
    health = failing(Clock())
    while health.may_retry():
        pass
    health.wake()
    health.check()
    assert health.state() == "closed"
    assert health.may_retry()
