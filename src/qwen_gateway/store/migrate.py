"""Brings the database to the schema of this version: at each start, and at most once however many start together.

The migrations are in `migrations/versions`, numbered in order. All that are missing run in one transaction that holds
the database's own lock, so a failure leaves what was there. Before it, a file that holds data is copied.
"""

import asyncio
import contextlib
import glob
import os
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from qwen_gateway.store.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"
BACKUPS_KEPT = 3

_PATIENCE = 120.0
"""Seconds for all migrations, or for waiting until another process has done them."""
_LOCK = 0x5157454E
"""The number under which PostgreSQL knows the lock of those who migrate."""


class NewerSchema(Exception):
    """The database was made by a later version. The text is for people."""


class MigrationFailed(Exception):
    """The database is as it was. The text is for people."""


async def prepare(database: Database, *, backups: Path | None, migrations: Path = MIGRATIONS) -> None:
    """Makes the tables, or brings them up to date.

    backups: the folder for copies of a SQLite file that is about to be changed; `None` for no copies.
    migrations: a folder with `env.py` and `versions`. Raises NewerSchema, MigrationFailed and StorageUnavailable.
    """
    known = _known(migrations)
    if _is_current(await database.read(_revision), known):
        return
    patient = Database(database.url, seconds=_PATIENCE)

    async def once(connection: AsyncConnection) -> None:
        if not patient.is_sqlite:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        before = await _revision(connection)
        if _is_current(before, known):
            return  # another process was first
        if before is not None and patient.is_sqlite and backups is not None:
            await asyncio.to_thread(_back_up, Path(patient.url.database or ""), backups, before)
        await connection.run_sync(_upgrade, migrations)

    try:
        await patient.write(once)
    finally:
        await patient.close()


def _known(migrations: Path) -> list[str]:
    """The revisions of this version, in order: what their files' names begin with."""
    return sorted(path.name.split("_")[0] for path in (migrations / "versions").glob("[0-9]*_*.py"))


async def _revision(connection: AsyncConnection) -> str | None:
    """`None` for a database without our tables."""
    if not await connection.run_sync(lambda sync: inspect(sync).has_table("schema_version")):
        return None
    return (await connection.execute(text("SELECT version_num FROM schema_version"))).scalar()


def _is_current(revision: str | None, known: Sequence[str]) -> bool:
    if revision is not None and revision not in known:
        raise NewerSchema(
            f"The database has schema {revision}, and this version of the gateway knows up to {known[-1]}: a later "
            "version has used it. Start that version again, or give this one another database, for instance a copy "
            "from the folder of backups.",
        )
    return revision == known[-1]


def _upgrade(connection: Connection, migrations: Path) -> None:
    # Here and not above: it takes a sixth of a second, at each start, for something that happens once a release.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util.exc import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except (SQLAlchemyError, CommandError) as problem:
        why = str(getattr(problem, "orig", problem))
        raise MigrationFailed(
            f"The database could not be brought to the schema of this version, and is as it was ({why}).",
        ) from problem


def _back_up(file: Path, folder: Path, revision: str) -> None:
    """Copies what is committed, while the caller keeps others from writing. Keeps the newest few copies."""
    at = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    copy = folder / f"{file.stem}-{revision}-{at}.sqlite3"
    unfinished = folder / f"{file.stem}.part"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)  # of a process that was killed: only one at a time gets here
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        _copy(file, unfinished)
        unfinished.replace(copy)
    except (sqlite3.Error, OSError) as problem:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise MigrationFailed(
            f"The database must be migrated, and before that copied to {folder}; that failed ({problem}).",
        ) from problem
    copies = sorted(folder.glob(f"{glob.escape(file.stem)}-*-*Z.sqlite3"), key=lambda path: path.name.rsplit("-", 1)[1])
    for old in copies[:-BACKUPS_KEPT]:
        old.unlink()


def _copy(file: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(file)) as source,
        contextlib.closing(sqlite3.connect(target)) as copied,
    ):
        source.backup(copied)
        copied.execute("PRAGMA journal_mode=DELETE")  # one file, complete in itself
