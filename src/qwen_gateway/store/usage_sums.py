"""Reads the usage: sums by day, key, model and the like, and single rows."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Integer, Row, Select, case, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from qwen_gateway.relay.ports import UsageBy, UsageRow, UsageSum
from qwen_gateway.store.database import Database
from qwen_gateway.store.schema import usage

MOST = 1000
"""Rows that a query gives."""

_columns = usage.c
Selected = TypeVar("Selected", bound=tuple[Any, ...])


class SqlUsage:
    """Satisfies `relay.ports.UsageQueries`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._day = _day(database)

    async def sums(self, by: UsageBy, since: float, until: float) -> list[UsageSum]:
        query = self._sums(by, since, until)

        async def work(connection: AsyncConnection) -> list[UsageSum]:
            found = await connection.execute(query)
            return [_sum(row) for row in found]

        sums = await self._database.read(work)
        if by == "day":
            sums.reverse()  # the query begins with the newest, for the sake of its limit
        return sums

    async def rows(self, since: float, until: float, limit: int) -> Sequence[UsageRow]:
        query = _within(select(usage), since, until).order_by(_columns.at.desc()).limit(max(0, min(limit, MOST)))

        async def work(connection: AsyncConnection) -> Sequence[UsageRow]:
            return [UsageRow(**row) for row in (await connection.execute(query)).mappings()]

        return await self._database.read(work)

    def _sums(self, by: UsageBy, since: float, until: float) -> Select[Any]:
        name = (self._day if by == "day" else _columns[by]).label("name")
        requests = func.count().label("requests")
        order = (name.desc(),) if by == "day" else (requests.desc(), name)
        query = select(
            name,
            requests,
            _counted(_columns.end != "finished").label("failed"),
            *(func.sum(_columns[each]).label(each) for each in ("input", "output", "reasoning", "cached")),
            _counted(_columns.estimated).label("estimated"),
            func.avg(_columns.first_event).label("mean_first_event"),
            func.avg(_columns.added).label("mean_added"),
        )
        return _within(query, since, until).group_by(name).order_by(*order).limit(MOST)


def _day(database: Database) -> ColumnElement[int]:
    """Whole days since 1970. Where SQLite cuts fractions off, PostgreSQL rounds."""
    days = _columns.at / 86_400
    return cast(days if database.is_sqlite else func.floor(days), Integer)


def _within(query: Select[Selected], since: float, until: float) -> Select[Selected]:
    return query.where(_columns.at >= since, _columns.at < until)


def _counted(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _sum(row: Row[Any]) -> UsageSum:
    name = row.name if isinstance(row.name, str) else str(date(1970, 1, 1) + timedelta(days=row.name))
    return UsageSum(
        name=name,
        requests=row.requests,
        failed=row.failed,
        # PostgreSQL's sums of BIGINTs are Decimals.
        input=int(row.input),
        output=int(row.output),
        reasoning=int(row.reasoning),
        cached=int(row.cached),
        estimated=row.estimated,
        mean_first_event=row.mean_first_event,
        mean_added=row.mean_added,
    )
