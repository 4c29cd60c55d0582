"""The engines: how connections to SQLite and to PostgreSQL are opened and kept."""

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from qwen_gateway.store import threads

SOONER = 0.8
"""The part of the time after which a wait for a lock or for a connection gives up: before the bound cuts it off, so
that the report names it."""


def with_driver(url: URL) -> URL:
    """A URL as people have it: servers' own programs know no drivers, and call the setting for TLS `sslmode`."""
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
    url = url.set(drivername=drivers.get(url.drivername, url.drivername))
    if "sslmode" in url.query:
        mode = url.query["sslmode"]
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return url


def sqlite_engine(url: URL, seconds: float) -> AsyncEngine:
    engine = create_async_engine(
        url,
        hide_parameters=True,
        pool_size=4,
        max_overflow=0,
        pool_timeout=seconds * SOONER,
        connect_args=_arguments(seconds),
    )
    _prepare(engine.sync_engine, url)
    return engine


AT_ONCE, PAUSE = 0.5, 0.02
"""Seconds for which a new file's switch to a write-ahead log is tried again, and between two tries."""


def sqlite_thread_engine(url: URL, seconds: float) -> Engine:
    """For `threads.Threads`: a connection for each of them."""
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        hide_parameters=True,
        pool_size=threads.MOST,
        max_overflow=0,
        pool_timeout=seconds * SOONER,
        connect_args={**_arguments(seconds), "check_same_thread": False},  # one at a time, but not always the same
    )
    _prepare(engine, url)
    return engine


def _arguments(seconds: float) -> dict[str, Any]:
    # Transactions begin where we say so; the driver's own habit begins them at odd places.
    return {"timeout": seconds * SOONER, "isolation_level": None}


def _prepare(engine: Engine, url: URL) -> None:
    @event.listens_for(engine, "do_connect")
    def private(*_: object) -> None:
        if url.database and "uri" not in url.query:
            _make_private(Path(url.database))

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        _use_write_ahead_log(cursor)
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()


def _use_write_ahead_log(cursor: Any) -> None:
    """Once in a file's life. Of several who do that at once, SQLite refuses all but one, and waits for none of them
    (2 of 300 starts of three processes, 2026-11-21)."""
    end = time.monotonic() + AT_ONCE
    while True:
        try:
            cursor.execute("PRAGMA journal_mode")
            if cursor.fetchone()[0] != "wal":
                cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as problem:
            # A lock that someone holds has been waited for by now; this one is refused at once.
            if time.monotonic() > end or "locked" not in str(problem):
                raise
            time.sleep(PAUSE)


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


def postgres(url: URL, seconds: float) -> AsyncEngine:
    try:
        return create_async_engine(
            url,
            hide_parameters=True,
            pool_size=5,
            max_overflow=5,
            pool_timeout=seconds * SOONER,
            pool_pre_ping=True,
            connect_args={"timeout": seconds, "command_timeout": seconds},
        )
    except ModuleNotFoundError as problem:
        raise ModuleNotFoundError(
            "PostgreSQL needs one more package: pip install 'qwen-gateway[postgres]'"
        ) from problem


def driver_errors(engine: AsyncEngine, *, is_sqlite: bool) -> tuple[type[Exception], ...]:
    """What comes out unwrapped when a connection breaks at an odd moment, such as while it is checked or given back."""
    if is_sqlite:
        return (sqlite3.Error,)
    asyncpg: Any = engine.dialect.loaded_dbapi
    exceptions = asyncpg.asyncpg.exceptions
    return (exceptions.PostgresError, exceptions.InterfaceError, exceptions.InternalClientError)
