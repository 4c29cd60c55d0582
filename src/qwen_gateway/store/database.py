"""The connection to the database: SQLite in the data directory, or PostgreSQL by URL.

Every piece of work runs in a task of its own, within a bound of time. So a client that leaves cannot cut off a command
halfway (which would leave a connection in an unknown state), and a database that does not answer holds nobody up. A
command that the bound itself cuts off takes its connection with it.

Nothing is remembered of a failure: the next piece of work tries again, with a new connection if need be.
"""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from qwen_gateway.store import engines
from qwen_gateway.store.reasons import LASTING, is_ours, reason
from qwen_gateway.store.threads import Threads
from qwen_gateway.turn.faults import StorageUnavailable

if TYPE_CHECKING:
    from sqlalchemy.dialects import sqlite

Result = TypeVar("Result")
Work = Callable[[AsyncConnection], Awaitable[Result]]
WorkInOne = Callable[[Connection], Result]

_DOWN = "The gateway's database cannot be used now: {why}. Try again in a moment."
_BROKEN = "The gateway's database cannot be used: {why}. It needs somebody's help: put a backup in its place."


class StorageBroken(StorageUnavailable):
    """Trying again does not help: somebody has to see to the database."""

    retryable = False


class Database:
    """url: `sqlite:///…` or `postgresql://…`, with or without our drivers' names. seconds: bounds each piece of work.

    What SQLAlchemy raises for a wrong statement or value is raised as it is, for instance IntegrityError, and so is
    what `work` raises itself; whatever else goes wrong at the database is StorageUnavailable.
    """

    def __init__(self, url: str | URL, *, seconds: float) -> None:
        self.url = engines.with_driver(make_url(url))
        self.seconds = seconds
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._engine = (engines.sqlite_engine if self.is_sqlite else engines.postgres)(self.url, seconds)
        self._threads = _threads(self.url, seconds) if self.is_sqlite else None
        driver = engines.driver_errors(self._engine, is_sqlite=self.is_sqlite)
        self._failures: tuple[type[Exception], ...] = (DBAPIError, PoolTimeout, OSError, *driver)
        # SQLite has one writer. Those of this process stand in line here, where nobody polls.
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()
        self._closed = False

    def insert(self, table: Table) -> "sqlite.Insert":
        """An INSERT that can say ON CONFLICT. Both engines have it, each under its own name, with the same methods."""
        # Not at the top: the half of this that is not used takes 15 ms of each start to import.
        made: sqlite.Insert = importlib.import_module(f"sqlalchemy.dialects.{self._engine.name}").insert(table)
        return made

    async def read(self, work: Work[Result]) -> Result:
        """What `work` returns. Each of its statements sees what was committed when it began.

        Raises StorageUnavailable.
        """
        return await self._bounded(self._read(work))

    async def write(self, work: Work[Result]) -> Result:
        """As `read`, in a transaction: what `work` did is committed together, or not at all if it raises."""
        return await self._bounded(self._write_alone(work) if self.is_sqlite else self._write(work))

    async def read_in_one(self, work: WorkInOne[Result]) -> Result:
        """As `read`, where speed matters. `work` may run in another thread, and must have no effect but its result."""
        if self._threads is None:
            return await self._bounded(self._read(lambda connection: connection.run_sync(work)))
        return await self._bounded(self._threads.run(work, writes=False))

    async def write_in_one(self, work: WorkInOne[Result]) -> Result:
        """As `write`; the rest as in `read_in_one`."""
        if self._threads is None:
            return await self._bounded(self._write(lambda connection: connection.run_sync(work)))
        return await self._bounded(self._write_in_thread(self._threads, work))

    async def close(self) -> None:
        """Waits for what is under way, at most `seconds`, as it does for the connections to end."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.seconds):
                await self._engine.dispose()
                if self._threads is not None:
                    await self._threads.close()

    async def _read(self, work: Work[Result]) -> Result:
        async with self._engine.connect() as connection, self._interrupted_in_time(connection):
            return await work(connection)

    async def _write(self, work: Work[Result]) -> Result:
        async with self._engine.begin() as connection:
            return await work(connection)

    async def _write_alone(self, work: Work[Result]) -> Result:
        async with (
            self._writing,
            self._engine.connect() as connection,
            self._interrupted_in_time(connection),
        ):
            # Not a plain BEGIN: one that reads first and then finds another writer would fail at once.
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            result = await work(connection)
            await connection.commit()
            return result

    async def _write_in_thread(self, threads: Threads, work: WorkInOne[Result]) -> Result:
        async with self._writing:
            return await threads.run(work, writes=True)

    @contextlib.asynccontextmanager
    async def _interrupted_in_time(self, connection: AsyncConnection) -> AsyncIterator[None]:
        """Has SQLite itself end a statement that takes too long. It would go on in its thread, with the file locked,
        whoever stopped waiting for it."""
        if not self.is_sqlite:
            yield
            return
        driver: Any = (await connection.get_raw_connection()).driver_connection
        # Not the driver's `interrupt`: a coroutine, though it awaits nothing.
        timer = asyncio.get_running_loop().call_later(self.seconds * engines.SOONER, driver._conn.interrupt)  # noqa: SLF001
        try:
            yield
        finally:
            timer.cancel()

    async def _bounded(self, work: Coroutine[object, object, Result]) -> Result:
        if self._closed:
            work.close()
            raise _unavailable("the gateway is ending")
        task = asyncio.create_task(self._run(work))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        # Twice the same bound: here for the caller, there for the work, which also ends if the caller has left.
        done, _ = await asyncio.wait({task}, timeout=self.seconds)
        if not done:
            raise _unavailable(_silent(self.seconds))
        return task.result()

    def _forget(self, task: "asyncio.Task[object]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have left: asyncio is told that nobody will ask

    async def _run(self, work: Coroutine[object, object, Result]) -> Result:
        try:
            async with asyncio.timeout(self.seconds):
                return await work
        except TimeoutError as problem:
            raise _unavailable(_silent(self.seconds)) from problem
        except self._failures as problem:
            if is_ours(problem):
                raise
            raise _unavailable(reason(problem)) from problem


def sqlite_url(file: Path) -> URL:
    return URL.create("sqlite+aiosqlite", database=str(file))


def _threads(url: URL, seconds: float) -> Threads:
    return Threads(engines.sqlite_thread_engine(url, seconds), patience=seconds * engines.SOONER)


def _unavailable(why: str) -> StorageUnavailable:
    if why in LASTING:
        return StorageBroken(_BROKEN.format(why=why))
    return StorageUnavailable(_DOWN.format(why=why), retry_after=2)


def _silent(seconds: float) -> str:
    return f"no answer within {seconds:g} s"
