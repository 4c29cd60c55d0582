"""Times as people say and write them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.fake_management import DAY, NOW

from qwen_gateway.cli.spans import brief, moment, read_end, read_since, read_until, span, until

MIDNIGHT = NOW - NOW % DAY


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "1 second"),
        (45.4, "45 seconds"),
        (119, "119 seconds"),
        (119.9, "2 minutes"),
        (3599, "60 minutes"),
        (7199, "2 hours"),
        (7200, "2 hours"),
        (47 * 3600, "47 hours"),
        (47.9 * 3600, "2 days"),
        (1000 * DAY, "1,000 days"),
    ],
)
def test_a_span_has_one_unit(seconds: float, said: str) -> None:
    assert span(seconds) == said


@given(st.floats(), st.floats())
def test_any_time_can_be_said(at: float, now: float) -> None:
    assert all((moment(at), brief(at), span(at), until(at, now)))


@pytest.mark.parametrize("at", [1e11 * 1000, 1e300, float("inf"), float("nan")])
def test_what_no_calendar_has_is_an_unknown_time(at: float) -> None:
    assert moment(at) == brief(at) == until(at, NOW) == "an unknown time"


def test_an_end_before_now_has_been() -> None:
    assert until(NOW - 3 * DAY, NOW) == "ended 3 days ago"
    assert until(NOW + 3 * DAY, NOW).endswith("2027 (3 days)")


def test_a_date_as_an_end_still_counts() -> None:
    day = datetime.fromtimestamp(NOW, UTC).astimezone()
    assert NOW <= read_end(f"{day:%Y-%m-%d}", NOW) < NOW + DAY


def test_days_since_are_whole_and_today_is_one_of_them() -> None:
    assert read_since("1d", NOW) == MIDNIGHT
    assert read_since("24h", NOW) == NOW - DAY
    assert read_until("2027-01-15") == MIDNIGHT + DAY


@pytest.mark.parametrize("text", ["", "d", "-1d", "1.5d", "999999d", "2027-13-01", "0001-01-01", "9999-12-31", "７d "])
def test_what_is_no_time_is_refused(text: str) -> None:
    for read in (read_end, read_since):
        with pytest.raises(ValueError, match="is neither"):
            read(text, NOW)
    with pytest.raises(ValueError, match="is neither"):
        read_until(text)
