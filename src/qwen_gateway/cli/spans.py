"""Times as people say and write them. Inside, they are seconds since 1970; days of usage are UTC days."""

import math
import re
from datetime import UTC, date, datetime, timedelta

DAY = 86_400.0
_UNITS = {"m": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY}
_SPAN = re.compile(r"(\d{1,5})([mhdw])")
_LAST_YEAR = 9998
_NO_TIME = "an unknown time"


def span(seconds: float) -> str:
    """`40 seconds`, `12 minutes`, `3 hours`, `27 days`."""
    if not math.isfinite(seconds):
        return _NO_TIME
    for unit, size, most in (("second", 1.0, 119.5), ("minute", 60.0, 119.5), ("hour", 3600.0, 47.5)):
        if seconds / size < most:
            return _counted(max(1, round(seconds / size)), unit)
    return _counted(round(seconds / DAY), "day")


def _counted(count: int, unit: str) -> str:
    return f"{count:,} {unit}" if count == 1 else f"{count:,} {unit}s"


def moment(at: float) -> str:
    """`18 December 2026, 14:05`, by this machine's clock."""
    there = _there(at)
    return f"{there.day} {there:%B %Y, %H:%M}" if there else _NO_TIME


def brief(at: float) -> str:
    """`18 Dec 2026`, by this machine's clock."""
    there = _there(at)
    return f"{there.day} {there:%b %Y}" if there else _NO_TIME


def _there(at: float) -> datetime | None:
    """`None` for what no calendar has: times come from tokens and databases too."""
    try:
        return datetime.fromtimestamp(at, UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def until(at: float, now: float) -> str:
    """`18 Dec 2026 (27 days)`; `ended 3 hours ago`."""
    if at <= now:
        return f"ended {span(now - at)} ago"
    if _there(at) is None:
        return _NO_TIME
    return f"{brief(at)} ({span(at - now)})"


def read_end(text: str, now: float) -> float:
    """`30d`, or a date, which still counts itself, by this machine's clock. Raises ValueError, for people."""
    if (seconds := _seconds(text)) is not None:
        return now + seconds
    day = _date(text)
    # 23:59:59: a message that named the next day at 0:00 would look like a mistake.
    end = datetime(day.year, day.month, day.day, 23, 59, 59).astimezone().timestamp()
    if end <= now:
        raise ValueError(f"{text} is over already.")
    return end


def read_since(text: str, now: float) -> float:
    """`7d`: today and the six days before it. `12h`: from twelve hours ago. A date: from its beginning.
    Raises ValueError, for people."""
    seconds = _seconds(text)
    if seconds is None:
        return _midnight(_date(text))
    if text[-1] in "mh":
        return now - seconds
    return _midnight(datetime.fromtimestamp(now, UTC).date()) - seconds + DAY


def read_until(text: str) -> float:
    """A date, to its end. Raises ValueError, for people."""
    return _midnight(_date(text) + timedelta(days=1))


def _seconds(text: str) -> float | None:
    found = _SPAN.fullmatch(text)
    if found is None:
        return None
    if (seconds := int(found[1]) * _UNITS[found[2]]) == 0:
        raise ValueError(f"{text} is no time at all.")
    return seconds


def _date(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.max
    if day.year > _LAST_YEAR or day.year < 1970:
        raise ValueError(f"{text[:40]!r} is neither a date such as 2026-12-31 nor a time such as 30d or 12h.")
    return day


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
