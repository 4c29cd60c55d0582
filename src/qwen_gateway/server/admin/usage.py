"""What was used: sums over a time, and the single requests."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from qwen_gateway.relay.management import Management
from qwen_gateway.relay.ports import UsageBy
from qwen_gateway.server.admin.mistakes import Shown
from qwen_gateway.server.admin.routes import Routes
from qwen_gateway.turn.faults import InvalidRequest

DAYS, MOST_DAYS = 30, 400
MOST_ROWS = 1000
_DAY = 86_400.0
_When = Annotated[
    str,
    Query(max_length=40, description="A date or time (ISO 8601; UTC unless it says otherwise), or seconds since 1970."),
]


class Sum(Shown):
    name: str
    requests: int
    failed: int
    input: int
    output: int
    reasoning: int
    cached: int
    estimated: int
    mean_first_event: float | None
    mean_added: float


class Sums(Shown):
    by: str
    since: float
    until: float
    usage: list[Sum]


class Row(Shown):
    id: str
    at: float
    key: str
    account: str
    model: str
    asked_model: str
    endpoint: str
    stream: bool
    status: int
    end: str
    code: str
    tries: int
    input: int
    output: int
    reasoning: int
    cached: int
    estimated: bool
    first_event: float | None
    duration: float
    queued: float
    added: float
    calls: str


class Rows(Shown):
    since: float
    until: float
    rows: list[Row]


class UsagePages:
    """now: seconds since 1970."""

    def __init__(self, management: Management, now: Callable[[], float]) -> None:
        self._management, self._now = management, now

    def add_to(self, routes: Routes) -> None:
        routes.add("viewer", "GET", "/usage", self.sums, shows=Sums)
        routes.add("viewer", "GET", "/usage/rows", self.rows, shows=Rows)

    async def sums(self, by: UsageBy = "day", since: _When = "", until: _When = "") -> Sums:
        """Requests and tokens, summed up by day, key, model, account, endpoint or end.

        `until` is not included. Without `since`: the 30 days before `until`; without `until`: until now.
        """
        begin, end = self._span(since, until)
        usage = await self._management.usage(by, begin, end)
        return Sums.model_validate({"by": by, "since": begin, "until": end, "usage": usage})

    async def rows(
        self, since: _When = "", until: _When = "", limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 100
    ) -> Rows:
        """Single requests, the newest first."""
        begin, end = self._span(since, until)
        rows = await self._management.usage_rows(begin, end, limit)
        return Rows.model_validate({"since": begin, "until": end, "rows": list(rows)})

    def _span(self, since: str, until: str) -> tuple[float, float]:
        end = _moment("until", until) if until else self._now() + 1
        begin = _moment("since", since) if since else max(0.0, end - DAYS * _DAY)
        if not 0 < end - begin <= MOST_DAYS * _DAY:
            raise InvalidRequest(f"`since` must be before `until`, and by {MOST_DAYS} days at most.", param="since")
        return begin, end


def _moment(name: str, text: str) -> float:
    """Seconds since 1970. Raises InvalidRequest."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = _iso(text)
    if not 0 <= seconds < 1e11 or not math.isfinite(seconds):
        raise InvalidRequest(
            f"`{name}` must be a date such as 2026-11-21, a time such as 2026-11-21T13:00Z, or seconds since 1970.",
            param=name,
        )
    return seconds


def _iso(text: str) -> float:
    """`nan` when it is none."""
    try:
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return math.nan
