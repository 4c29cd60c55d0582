"""What every engine must remember of what accounts have uploaded."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from qwen_gateway.relay.file_ports import Leftover, SiteFiles
from qwen_gateway.relay.ports import Secret
from qwen_gateway.store import retention
from qwen_gateway.store.database import Database
from qwen_gateway.store.schema import site_files
from qwen_gateway.store.site_files import SqlSiteFiles
from qwen_gateway.store.vault import Vault
from qwen_gateway.turn.files import SiteFile

NOW = 1_800_000_000.0
VAULT = Vault([Fernet.generate_key()])
DIGEST, ANOTHER, THIRD = bytes(range(32)), b"\x00" * 32, b"\x01" * 32
ME, OTHER = "one process", "another process"
FILE = SiteFile("f-1", b'{"url": "https://example.invalid/f-1?signature=abc"}')


@pytest.fixture
def store(database: Database) -> SqlSiteFiles:
    return SqlSiteFiles(database, VAULT)


@pytest.fixture
async def other(url: str) -> AsyncIterator[SqlSiteFiles]:
    """Of a second process."""
    database = Database(url, seconds=20)
    yield SqlSiteFiles(database, VAULT)
    await database.close()


async def uploaded(
    store: SqlSiteFiles, file: SiteFile = FILE, *, account: str = "account", digest: bytes = DIGEST, at: float = NOW
) -> str:
    record = await store.begin(account, digest, ME, at - 1)
    await store.done(record, file, at)
    return record


async def rows(database: Database) -> int:
    async def work(connection: AsyncConnection) -> int:
        return (await connection.execute(select(func.count()).select_from(site_files))).scalar_one()

    return await database.read(work)


async def test_what_was_uploaded_whole_is_found(database: Database) -> None:
    store: SiteFiles = SqlSiteFiles(database, VAULT)
    record = await store.begin("account", DIGEST, ME, NOW)
    assert await store.find("account", DIGEST, 0.0) is None
    await store.done(record, FILE, NOW + 5)
    await store.done(record, FILE, NOW + 5)  # its answer was lost
    assert await store.find("account", DIGEST, NOW) == FILE


async def test_only_the_same_file_of_the_same_account_and_not_too_old(store: SqlSiteFiles) -> None:
    await uploaded(store)
    assert await store.find("another", DIGEST, 0.0) is None
    assert await store.find("account", ANOTHER, 0.0) is None
    assert await store.find("account", DIGEST, NOW - 0.5) == FILE
    assert await store.find("account", DIGEST, NOW) is None


async def test_of_several_the_one_that_was_whole_last_is_found(store: SqlSiteFiles) -> None:
    for number, at in ((1, NOW + 1), (3, NOW + 3), (2, NOW + 2)):
        await uploaded(store, SiteFile(f"f-{number}", b"{}"), at=at)
    await store.begin("account", DIGEST, ME, NOW + 9)
    found = await store.find("account", DIGEST, 0.0)
    assert found is not None
    assert found.id == "f-3"


async def test_many_at_once_of_several_processes(store: SqlSiteFiles, other: SqlSiteFiles) -> None:
    await asyncio.gather(*(uploaded((store, other)[number % 2]) for number in range(20)))
    assert await store.find("account", DIGEST, 0.0) == await other.find("account", DIGEST, 0.0) == FILE


async def test_neither_address_nor_parts_are_plain_in_the_database(store: SqlSiteFiles, database: Database) -> None:
    await uploaded(store)
    await store.parted(await store.begin("account", ANOTHER, ME, NOW), Secret(b"token=abc"))

    async def work(connection: AsyncConnection) -> str:
        return repr((await connection.execute(select(site_files))).all())

    shown = await database.read(work)
    assert "signature" not in shown
    assert "f-1" not in shown
    assert "token" not in shown


async def test_uploads_of_processes_that_are_gone_are_left_over(store: SqlSiteFiles) -> None:
    plain = await store.begin("account", DIGEST, OTHER, NOW - 2)
    parted = await store.begin("account 2", DIGEST, OTHER, NOW - 1)
    for _ in range(2):
        await store.parted(parted, Secret(b"\x00how to end it\xff"))
    await store.begin("account", DIGEST, OTHER, NOW)
    await store.begin("account", DIGEST, ME, NOW - 9)
    await uploaded(store, at=NOW - 9)
    assert await store.leftovers(ME, NOW) == [
        Leftover(plain, "account", OTHER, None),
        Leftover(parted, "account 2", OTHER, Secret(b"\x00how to end it\xff")),
    ]
    await store.gone(plain)
    await store.gone(plain)
    assert [left.id for left in await store.leftovers(ME, NOW)] == [parted]


async def test_what_is_whole_is_not_in_parts_any_more(store: SqlSiteFiles, database: Database) -> None:
    record = await store.begin("account", DIGEST, OTHER, NOW)
    await store.parted(record, Secret(b"parts"))
    await store.done(record, FILE, NOW)
    await store.parted(record, Secret(b"parts"))  # late, of a try whose answer was lost

    async def work(connection: AsyncConnection) -> object:
        return (await connection.execute(select(site_files.c.parts))).scalar_one()

    assert await database.read(work) is None
    assert await store.leftovers(ME, NOW + 9) == []


async def test_what_another_has_tidied_up_is_not_done_any_more(store: SqlSiteFiles, database: Database) -> None:
    record = await store.begin("account", DIGEST, ME, NOW)
    await store.gone(record)
    await store.parted(record, Secret(b"parts"))
    await store.done(record, FILE, NOW)
    assert await rows(database) == 0


async def test_files_of_an_account_are_forgotten_but_for_what_it_is_uploading(store: SqlSiteFiles) -> None:
    for _ in range(2):
        await uploaded(store)
    for digest in (ANOTHER, THIRD):
        await uploaded(store, digest=digest)
    await uploaded(store, account="another")
    under_way = await store.begin("account", DIGEST, OTHER, NOW)
    await store.forget("account", [])
    assert await store.find("account", DIGEST, 0.0) == FILE
    await store.forget("account", [DIGEST, ANOTHER])
    assert await store.find("account", DIGEST, 0.0) is None
    assert await store.find("account", ANOTHER, 0.0) is None
    assert await store.find("account", THIRD, 0.0) == FILE
    assert await store.find("another", DIGEST, 0.0) == FILE
    assert [left.id for left in await store.leftovers(ME, NOW + 1)] == [under_way]


async def test_what_was_uploaded_long_ago_is_forgotten(
    store: SqlSiteFiles, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    monkeypatch.setattr(retention, "PAUSE", 0)
    for number in range(7):
        await uploaded(store, at=NOW + number)
    under_way = await store.begin("account", DIGEST, OTHER, NOW - 99)
    assert await store.prune(NOW) == 0
    assert await store.prune(NOW + 6) == 6
    assert await store.find("account", DIGEST, 0.0) == FILE
    assert [left.id for left in await store.leftovers(ME, NOW)] == [under_way]
    assert await rows(database) == 2


async def test_another_key_finds_nothing_and_leaves_it_to_the_right_one(
    store: SqlSiteFiles, database: Database
) -> None:
    await uploaded(store)
    parted = await store.begin("account", DIGEST, OTHER, NOW)
    await store.parted(parted, Secret(b"parts"))
    plain = await store.begin("account", DIGEST, OTHER, NOW)
    stranger = SqlSiteFiles(database, Vault([Fernet.generate_key()]))
    assert await stranger.find("account", DIGEST, 0.0) is None
    with capture_logs() as logs:
        assert await stranger.leftovers(ME, NOW + 1) == [Leftover(plain, "account", OTHER, None)]
    assert [(log["event"], log["uploads"]) for log in logs] == [("uploads_unreadable", 1)]
    assert len(await store.leftovers(ME, NOW + 1)) == 2
