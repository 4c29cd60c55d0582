"""Writes the usage: rows wait in memory and go to the database in batches, beside the requests they tell of."""

import asyncio
import contextlib
from collections import deque
from functools import partial
from itertools import chain

import structlog
from sqlalchemy import Connection, Insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, ProgrammingError, StatementError

from qwen_gateway.relay.ports import UsageRow
from qwen_gateway.store.database import Database
from qwen_gateway.store.schema import usage
from qwen_gateway.store.usage_rows import Encoded, encode
from qwen_gateway.turn.faults import StorageUnavailable

BATCH = 500
"""Rows in one transaction."""
ROOM = 100_000
"""Rows that may wait. Of more, the oldest are dropped."""
TOGETHER = (64, 8, 1)
"""Rows in one statement of SQLite."""
_ROW = f"({', '.join('?' * len(usage.columns))})"
DELAY = 0.3
"""Seconds that a row waits for others."""
RETRY, RETRY_IN_HASTE = 1.0, 0.1
"""Seconds between tries while the database is away; and before the first of them, or while the process ends. A file
that was locked for a moment must not make a row older than the second that a kill may cost."""

_log = structlog.get_logger()


class UsageWriter:
    """Satisfies `relay.ports.UsageSink`. Each row is written once, also when the database was away or its answer was
    lost: rows are told apart by their ids. dropped: rows that were not written and never will be."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = _insert(database)
        self._rows: deque[UsageRow] = deque(maxlen=ROOM)
        self._batch: list[Encoded] = []
        self._step = BATCH
        self._came = asyncio.Event()
        self._closing = asyncio.Event()
        self._away = self._overflowing = False
        self._task: asyncio.Task[None] | None = None
        self._statement = ""
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """Rows that are still to be written."""
        return len(self._rows) + len(self._batch)

    def start(self) -> None:
        """Before it, rows wait."""
        self._task = asyncio.create_task(self._run())

    def add(self, row: UsageRow) -> None:
        if len(self._rows) == ROOM:
            self._overflow()
        self._rows.append(row)
        self._came.set()

    async def close(self, seconds: float) -> None:
        """Writes what waits, for at most `seconds`. What is lost then is logged."""
        self._closing.set()
        self._came.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds)
            self._task.cancel()
            await asyncio.wait({self._task})
        if self.waiting:
            _log.error("usage_rows_lost", rows=self.waiting)

    async def _run(self) -> None:
        while self.waiting or not self._closing.is_set():
            await self._came.wait()
            self._came.clear()
            if not self._closing.is_set():
                await self._pause(DELAY)
            while self.waiting:
                await self._write_some()

    async def _write_some(self) -> None:
        if not self._batch:
            self._batch = [encode(self._rows.popleft()) for _ in range(min(BATCH, len(self._rows)))]
            self._step = BATCH
        rows = self._batch[: self._step]
        try:
            await self._database.write_in_one(partial(self._execute, rows))
        except Exception as problem:  # noqa: BLE001 - upkeep: whatever it was, the rows are still to be written
            if not _refused(problem):
                await self._outage(problem)
                return
            if len(rows) > 1:
                self._step = 1  # which one it was, and the others
                return
            self.dropped += 1
            _log.error("usage_row_refused", id=rows[0][0], problem=repr(problem.__cause__ or problem))
        del self._batch[: len(rows)]
        if self._away:
            _log.info("usage_written_again", waiting=self.waiting)
        self._away = self._overflowing = False

    def _execute(self, rows: list[Encoded], connection: Connection) -> None:
        """Past SQLAlchemy's handling of each value, which was half of what a row cost (measured 2026-11-21)."""
        if not self._statement:
            self._statement = str(self._insert.compile(dialect=connection.dialect))
        if not self._database.is_sqlite:
            connection.exec_driver_sql(self._statement, rows)
            return
        # SQLite gives Python's lock back and takes it again for each statement, against a busy event loop: row by row
        # that cost four times as much as the rows themselves (measured 2026-11-21).
        at = 0
        for size in TOGETHER:
            statement = self._statement.replace(_ROW, ", ".join([_ROW] * size))
            while len(rows) - at >= size:
                values = tuple(chain.from_iterable(rows[at : at + size]))
                connection.exec_driver_sql(statement, values)
                at += size

    async def _outage(self, problem: Exception) -> None:
        if not self._away:
            _log.warning("usage_waits", waiting=self.waiting, problem=str(problem))
        wait = RETRY if self._away else RETRY_IN_HASTE
        self._away = True
        await self._pause(wait)

    def _overflow(self) -> None:
        self.dropped += 1
        if not self._overflowing:
            _log.error("usage_rows_dropped", room=ROOM)
        self._overflowing = True

    async def _pause(self, seconds: float) -> None:
        if self._closing.is_set():
            await asyncio.sleep(min(seconds, RETRY_IN_HASTE))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()


def _insert(database: Database) -> Insert:
    """Also where a commit was made whose answer did not come: what is there already is left alone."""
    insert = sqlite.insert if database.is_sqlite else postgresql.insert
    return insert(usage).on_conflict_do_nothing(index_elements=[usage.c.id])


def _refused(problem: Exception) -> bool:
    """Whether it was a value. Else the database is away, full, locked or of another version, and will take the same
    later."""
    if isinstance(problem, StorageUnavailable):
        cause = problem.__cause__
        if not isinstance(cause, DBAPIError):
            return isinstance(cause, StatementError)
        # asyncpg has one class for most errors of PostgreSQL; classes 22 and 23 of its codes are about values, and so
        # are those that it finds itself, before it asks.
        code = str(getattr(cause.orig, "sqlstate", None) or "")
        return code[:2] in {"22", "23"} or isinstance(getattr(cause.orig, "__cause__", None), ValueError)
    return not isinstance(problem, ProgrammingError)
