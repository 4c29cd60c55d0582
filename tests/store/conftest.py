"""Async tests run on asyncio. `database`: every engine, one after the other."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.services import place_sqlite

from qwen_gateway.store.database import Database

SECONDS = 10.0
"""That a piece of work may take on a machine with much else to do."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table; for SQLite there is not even a file."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'gateway.sqlite3'}"
    else:
        with request.getfixturevalue("postgres").fresh_database(migrated=False) as url:
            yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A database of the newest schema."""
    if request.param == "postgresql":
        with request.getfixturevalue("postgres").fresh_database() as fresh:
            yield fresh
        return
    place_sqlite(tmp_path / "gateway.sqlite3")
    yield f"sqlite+aiosqlite:///{tmp_path / 'gateway.sqlite3'}"


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = Database(url, seconds=SECONDS)
    yield opened
    await opened.close()
