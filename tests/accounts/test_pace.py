"""Turns begin no faster than they may."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.accounts.pace import Pace


def test_a_burst_begins_at_once_and_then_evenly() -> None:
    pace, starts = Pace(per_minute=6, burst=3), []
    now = 1000.0
    for _ in range(6):
        now = max(now, pace.ready_at(now))
        pace.take(now)
        starts.append(now - 1000)
    assert starts == [0, 0, 0, 10, 20, 30]


def test_looking_takes_nothing() -> None:
    pace = Pace(per_minute=60, burst=1)
    assert all(pace.ready_at(5) <= 5 for _ in range(3))
    pace.take(5)
    assert [pace.ready_at(5), pace.ready_at(5.5)] == [6, 6]


def test_a_pause_brings_the_burst_back_and_no_more() -> None:
    pace = Pace(per_minute=60, burst=2)
    for now in (0.0, 0.0, 100.0, 100.0):
        assert pace.ready_at(now) <= now
        pace.take(now)
    assert pace.ready_at(100) == 101


def test_a_clock_that_is_set_back_stops_nothing_for_long() -> None:
    pace = Pace(per_minute=60, burst=2)
    pace.take(10_000)
    pace.take(10_000)
    assert pace.ready_at(50) == 51
    assert pace.ready_at(51) == 51


@pytest.mark.parametrize(("per_minute", "burst"), [(0, 1), (-1, 1), (float("nan"), 1), (1, 0)])
def test_a_pace_at_which_nothing_begins_is_a_mistake(per_minute: float, burst: int) -> None:
    with pytest.raises(ValueError, match="rate"):
        Pace(per_minute, burst)


def test_no_limit_at_all() -> None:
    pace = Pace(float("inf"), 1)
    for _ in range(3):
        pace.take(1)
        assert pace.ready_at(1) <= 1


@settings(deadline=None, max_examples=200)
@given(st.floats(0.1, 600), st.integers(1, 10), st.lists(st.floats(0, 20), max_size=60))
def test_no_span_sees_more_starts_than_burst_and_rate_allow(per_minute: float, burst: int, gaps: list[float]) -> None:
    pace, now, starts = Pace(per_minute, burst), 0.0, []
    for gap in gaps:
        now += gap
        if pace.ready_at(now) <= now:
            pace.take(now)
            starts.append(now)
    for first, began in enumerate(starts):
        for last, ended in enumerate(starts[first:], first):
            assert last - first + 1 <= burst + (ended - began) * per_minute / 60 + 1e-6


@settings(deadline=None, max_examples=100)
@given(st.floats(0.1, 600), st.integers(1, 10), st.integers(1, 50))
def test_who_waits_until_then_may_begin(per_minute: float, burst: int, turns: int) -> None:
    pace, now = Pace(per_minute, burst), 1000.0
    for _ in range(turns):
        now = max(now, pace.ready_at(now))
        assert pace.ready_at(now) <= now
        pace.take(now)
    assert now <= 1000 + max(0, turns - burst) * 60 / per_minute + 1e-3
