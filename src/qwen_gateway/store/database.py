"""The connection to the database: SQLite in the data directory, or PostgreSQL by URL.

Every piece of work runs in a task of its own, within a bound of time. So a client that leaves cannot cut off a command
halfway (which would leave a connection in an unknown state), and a database that does not answer holds nobody up. A
command that the bound itself cuts off takes its connection with it.

Nothing is remembered of a failure: the next piece of work tries again, with a new connection if need be.
"""

import asyncio
import contextlib
import importlib
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Table, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from qwen_gateway.store.reasons import LASTING, is_ours, reason
from qwen_gateway.turn.faults import StorageUnavailable

if TYPE_CHECKING:
    from sqlalchemy.dialects import sqlite

Result = TypeVar("Result")
Work = Callable[[AsyncConnection], Awaitable[Result]]

_DOWN = "The gateway's database cannot be used now: {why}. Try again in a moment."
_BROKEN = "The gateway's database cannot be used: {why}. It needs somebody's help: put a backup in its place."
_SOONER = 0.8
"""The part of the time after which a wait for a lock or for a connection gives up: before the bound cuts it off, so
that the report names it."""


class StorageBroken(StorageUnavailable):
    """Trying again does not help: somebody has to see to the database."""

    retryable = False


class Database:
    """url: `sqlite:///…` or `postgresql://…`, with or without our drivers' names. seconds: bounds each piece of work.

    What SQLAlchemy raises for a wrong statement or value is raised as it is, for instance IntegrityError, and so is
    what `work` raises itself; whatever else goes wrong at the database is StorageUnavailable.
    """

    def __init__(self, url: str | URL, *, seconds: float) -> None:
        self.url = _with_driver(make_url(url))
        self.seconds = seconds
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._engine = _sqlite(self.url, seconds) if self.is_sqlite else _postgres(self.url, seconds)
        driver = _driver_errors(self._engine, is_sqlite=self.is_sqlite)
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

    async def close(self) -> None:
        """Waits for what is under way, at most `seconds`, as it does for the connections to end."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.seconds):
                await self._engine.dispose()

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

    @contextlib.asynccontextmanager
    async def _interrupted_in_time(self, connection: AsyncConnection) -> AsyncIterator[None]:
        """Has SQLite itself end a statement that takes too long. It would go on in its thread, with the file locked,
        whoever stopped waiting for it."""
        if not self.is_sqlite:
            yield
            return
        driver: Any = (await connection.get_raw_connection()).driver_connection
        # Not the driver's `interrupt`: a coroutine, though it awaits nothing.
        timer = asyncio.get_running_loop().call_later(self.seconds * _SOONER, driver._conn.interrupt)  # noqa: SLF001
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


def _with_driver(url: URL) -> URL:
    """A URL as people have it: servers' own programs know no drivers, and call the setting for TLS `sslmode`."""
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
    url = url.set(drivername=drivers.get(url.drivername, url.drivername))
    if "sslmode" in url.query:
        mode = url.query["sslmode"]
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return url


def sqlite_url(file: Path) -> URL:
    return URL.create("sqlite+aiosqlite", database=str(file))


def _sqlite(url: URL, seconds: float) -> AsyncEngine:
    engine = create_async_engine(
        url,
        hide_parameters=True,
        pool_size=4,
        max_overflow=0,
        pool_timeout=seconds * _SOONER,
        # Transactions begin where `_write_alone` says so; the driver's own habit begins them at odd places.
        connect_args={"timeout": seconds * _SOONER, "isolation_level": None},
    )

    @event.listens_for(engine.sync_engine, "do_connect")
    def private(*_: object) -> None:
        if url.database and "uri" not in url.query:
            _make_private(Path(url.database))

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: object, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined] # SQLAlchemy's adapter around aiosqlite
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def _make_private(path: Path) -> None:
    """Before SQLite makes it: readable by its owner alone, with its folder.

    A file that exists is never opened here. Closing a descriptor drops all locks that this process has on the file
    (POSIX), those of SQLite's open connections among them; a process that then ends would take itself for the last
    user, and delete the write-ahead log in which ours go on to write.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            path.chmod(0o600)


def _postgres(url: URL, seconds: float) -> AsyncEngine:
    try:
        return create_async_engine(
            url,
            hide_parameters=True,
            pool_size=5,
            max_overflow=5,
            pool_timeout=seconds * _SOONER,
            pool_pre_ping=True,
            connect_args={"timeout": seconds, "command_timeout": seconds},
        )
    except ModuleNotFoundError as problem:
        raise ModuleNotFoundError(
            "PostgreSQL needs one more package: pip install 'qwen-gateway[postgres]'"
        ) from problem


def _driver_errors(engine: AsyncEngine, *, is_sqlite: bool) -> tuple[type[Exception], ...]:
    """What comes out unwrapped when a connection breaks at an odd moment, such as while it is checked or given back."""
    if is_sqlite:
        return (sqlite3.Error,)
    asyncpg: Any = engine.dialect.loaded_dbapi
    exceptions = asyncpg.asyncpg.exceptions
    return (exceptions.PostgresError, exceptions.InterfaceError, exceptions.InternalClientError)


def _unavailable(why: str) -> StorageUnavailable:
    if why in LASTING:
        return StorageBroken(_BROKEN.format(why=why))
    return StorageUnavailable(_DOWN.format(why=why), retry_after=2)


def _silent(seconds: float) -> str:
    return f"no answer within {seconds:g} s"
