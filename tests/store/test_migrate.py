"""From whatever the database is to the schema of this version; the real migrations, and made-up later ones."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from cryptography.fernet import Fernet
from msgspec import structs
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from qwen_gateway.relay.ports import KeptChat, KeyRecord, Remembered, Secret, StoredAccount
from qwen_gateway.store import migrate
from qwen_gateway.store.accounts import SqlAccounts
from qwen_gateway.store.conversations import SqlConversations
from qwen_gateway.store.database import Database
from qwen_gateway.store.files import SqlFiles
from qwen_gateway.store.keys import SqlKeys
from qwen_gateway.store.migrate import MIGRATIONS, MigrationFailed, NewerSchema, prepare
from qwen_gateway.store.schema import metadata
from qwen_gateway.store.site_files import SqlSiteFiles
from qwen_gateway.store.vault import Vault

from .conftest import SECONDS

LATER = """
import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("pauses", sa.Column("colour", sa.String(20), nullable=True))
    op.execute("UPDATE revisions SET number = number + 1")
"""
FAILING = LATER.replace("UPDATE revisions", "UPDATE no_such_table")
FIRST_KEY = """
INSERT INTO keys (id, digest, name, role, created_at, enabled, models, endpoints, concurrency)
VALUES ('k1', :digest, 'laptop', 'viewer', 2.5, :yes, '["qwen3*"]', '[]', 3)
"""
"""A key as the first schema has it."""
ANOTHER_PROCESS = """
import asyncio, sys
from pathlib import Path
from qwen_gateway.store.database import Database
from qwen_gateway.store.migrate import prepare

async def main():
    database = Database(sys.argv[1], seconds=10)
    print("ready", flush=True)
    sys.stdin.readline()
    await prepare(database, backups=None, migrations=Path(sys.argv[2]))
    await database.close()

asyncio.run(main())
"""


@pytest.fixture
async def database(empty_url: str) -> AsyncIterator[Database]:
    opened = Database(empty_url, seconds=SECONDS)
    yield opened
    await opened.close()


@pytest.fixture
def later(tmp_path: Path) -> Path:
    return with_second(tmp_path / "a%b later", LATER)  # a path that a configuration file would have to escape


def with_second(folder: Path, migration: str) -> Path:
    """The real migrations and one more."""
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "0005_later.py").write_text(migration)
    return folder


async def tables(database: Database) -> set[str]:
    return set(await database.read(lambda c: c.run_sync(lambda sync: inspect(sync).get_table_names())))


async def scalar(database: Database, query: str) -> object:
    async def work(connection: AsyncConnection) -> object:
        return (await connection.execute(text(query))).scalar()

    return await database.read(work)


async def columns(database: Database) -> set[str]:
    found = await database.read(lambda c: c.run_sync(lambda sync: inspect(sync).get_columns("pauses")))
    return {column["name"] for column in found}


async def test_an_empty_database_gets_every_table(database: Database) -> None:
    await prepare(database, backups=None)
    assert await tables(database) == {*metadata.tables, "schema_version"}
    assert await scalar(database, "SELECT count(*) FROM revisions WHERE number = 0") == 3


async def test_the_migrations_lead_to_the_schema_that_the_code_uses(database: Database) -> None:
    await prepare(database, backups=None)

    def differences(connection: Connection) -> list[object]:
        options = {"version_table": "schema_version", "compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    assert await database.read(lambda c: c.run_sync(differences)) == []


async def test_a_second_time_changes_nothing_and_does_without_alembic(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(database, backups=None)

    def refused(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(migrate, "_upgrade", refused)
    await prepare(database, backups=None)


def test_alembic_is_not_imported_for_a_database_that_is_up_to_date(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from qwen_gateway.store.database import Database\n"
        "from qwen_gateway.store.migrate import prepare\n"
        "async def main():\n"
        "    database = Database(sys.argv[1], seconds=10)\n"
        "    await prepare(database, backups=None)\n"
        "    await database.close()\n"
        "asyncio.run(main())\n"
        "print('alembic' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, f"sqlite+aiosqlite:///{tmp_path / 'gateway.sqlite3'}"]
    said = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert said == ["True\n", "False\n"]


def test_what_files_are_named_is_what_alembic_finds_in_them() -> None:
    assert [migrate._known(MIGRATIONS)[-1]] == ScriptDirectory(str(MIGRATIONS)).get_heads()


async def test_an_earlier_schema_is_brought_up_to_date_and_keeps_its_rows(database: Database, later: Path) -> None:
    await prepare(database, backups=None)
    await database.write(lambda c: c.execute(text("UPDATE revisions SET number = 41 WHERE name = 'keys'")))
    await prepare(database, backups=None, migrations=later)
    assert "colour" in await columns(database)
    assert await scalar(database, "SELECT number FROM revisions WHERE name = 'keys'") == 42


def up_to(folder: Path, last: str) -> Path:
    """The migrations that an earlier version had."""
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder / "versions").iterdir():
        if path.name.split("_")[0] > last:
            path.unlink()
    return folder


async def test_keys_and_accounts_of_the_first_schema_are_kept(database: Database, tmp_path: Path) -> None:
    await prepare(database, backups=None, migrations=up_to(tmp_path / "first", "0001"))
    assert not {"chats", "nodes"} & await tables(database)
    await database.write(lambda c: c.execute(text(FIRST_KEY), {"digest": b"\x01\x02", "yes": True}))
    await prepare(database, backups=None)
    was = KeyRecord("k1", Secret(b"\x01\x02"), "laptop", "viewer", 2.5, models=("qwen3*",), concurrency=3)
    store = SqlKeys(database)
    assert await store.load() == [was]
    assert await store.replace(structs.replace(was, continuation="suffix"))
    assert await store.load() == [structs.replace(was, continuation="suffix")]
    assert await SqlConversations(database).count() == {}


async def test_what_the_third_schema_holds_is_kept_and_files_have_their_place(
    database: Database, tmp_path: Path
) -> None:
    await prepare(database, backups=None, migrations=up_to(tmp_path / "third", "0003"))
    assert not {"files", "parted_files", "file_pieces", "site_files"} & await tables(database)
    vault = Vault([Fernet.generate_key()])
    accounts = SqlAccounts(database, vault)
    await accounts.put(StoredAccount("id", "name", Secret(b"session")))
    await SqlConversations(database).remember([Remembered(KeptChat("chat", "id", "tenant", 1.0, 1.0), ())])
    await prepare(database, backups=None)
    assert [account.session for account in await accounts.load()] == [Secret(b"session")]
    assert await SqlConversations(database).count() == {"id": 1}
    assert await SqlFiles(database, tmp_path / "files", vault).list("tenant", 1.0, limit=1) == []
    assert await SqlSiteFiles(database, vault).leftovers("me", 1.0) == []


async def test_a_later_schema_is_refused_with_its_number_and_what_to_do(database: Database, later: Path) -> None:
    await prepare(database, backups=None, migrations=later)
    with pytest.raises(NewerSchema, match=r"schema 0005, .* knows up to 0004.* Start that version again"):
        await prepare(database, backups=None)
    assert "colour" in await columns(database)


async def test_a_migration_that_fails_leaves_the_database_as_it_was(database: Database, tmp_path: Path) -> None:
    await prepare(database, backups=None)
    with pytest.raises(MigrationFailed, match=r"is as it was .*no_such_table"):
        await prepare(database, backups=None, migrations=with_second(tmp_path / "failing", FAILING))
    assert "colour" not in await columns(database)
    assert await scalar(database, "SELECT max(number) FROM revisions") == 0
    assert await scalar(database, "SELECT version_num FROM schema_version") == "0004"
    await prepare(database, backups=None, migrations=with_second(tmp_path / "mended", LATER))
    assert "colour" in await columns(database)


async def test_a_first_migration_that_fails_leaves_no_table(database: Database, tmp_path: Path) -> None:
    with pytest.raises(MigrationFailed):
        await prepare(database, backups=None, migrations=with_second(tmp_path / "failing", FAILING))
    assert await tables(database) == set()


async def test_tables_of_another_program_are_left_alone(database: Database) -> None:
    await database.write(lambda c: c.execute(text("CREATE TABLE accounts (theirs INTEGER)")))
    with pytest.raises(MigrationFailed, match=r"accounts.* already exists"):
        await prepare(database, backups=None)
    assert await tables(database) == {"accounts"}


async def test_many_that_start_at_once_migrate_once(database: Database, later: Path) -> None:
    others = [Database(database.url, seconds=SECONDS) for _ in range(5)]
    await asyncio.gather(*(prepare(other, backups=None, migrations=later) for other in others))
    for other in others:
        await other.close()
    # The second migration raises the numbers each time it runs.
    assert await scalar(database, "SELECT max(number) FROM revisions") == 1


async def test_processes_that_start_at_once_migrate_once(database: Database, later: Path) -> None:
    url = database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", ANOTHER_PROCESS, url, str(later)]
    others = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for other in others:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
    said = await asyncio.gather(*(asyncio.to_thread(other.communicate, b"\n", 40) for other in others))
    assert [(other.returncode, error) for other, (_, error) in zip(others, said, strict=True)] == [(0, b"")] * 3
    assert await scalar(database, "SELECT max(number) FROM revisions") == 1


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.sqlite3"
    database = Database(f"sqlite+aiosqlite:///{path}", seconds=SECONDS)
    await prepare(database, backups=None)
    await database.write(lambda c: c.execute(text("UPDATE revisions SET number = 7")))
    await database.close()
    return path


async def migrated(file: Path, backups: Path, migrations: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{file}", seconds=SECONDS)
    try:
        await prepare(database, backups=backups, migrations=migrations)
    finally:
        await database.close()


async def test_a_file_is_copied_before_it_is_migrated(file: Path, later: Path, tmp_path: Path) -> None:
    await migrated(file, tmp_path / "backups", later)
    (copy,) = (tmp_path / "backups").iterdir()
    assert copy.name.startswith("gateway-0004-2")
    assert copy.suffix == ".sqlite3"
    if sys.platform != "win32":
        assert copy.stat().st_mode & 0o777 == 0o600
        assert copy.parent.stat().st_mode & 0o777 == 0o700
    connection = sqlite3.connect(copy)
    try:
        assert connection.execute("SELECT version_num, number FROM schema_version, revisions").fetchone() == ("0004", 7)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()


async def test_a_file_is_copied_once_however_many_migrate_it(file: Path, later: Path, tmp_path: Path) -> None:
    await asyncio.gather(*(migrated(file, tmp_path / "backups", later) for _ in range(4)))
    assert len(list((tmp_path / "backups").iterdir())) == 1


async def test_nothing_is_copied_when_nothing_is_migrated(file: Path, tmp_path: Path) -> None:
    await migrated(file, tmp_path / "backups", MIGRATIONS)
    await migrated(tmp_path / "new.sqlite3", tmp_path / "backups", MIGRATIONS)
    assert not (tmp_path / "backups").exists()


async def test_the_newest_three_copies_are_kept_and_nothing_else_is_touched(
    file: Path, later: Path, tmp_path: Path
) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    old = [backups / f"gateway-{name}.sqlite3" for name in (
        "0001-20200101T000000.000000Z", "0000-20210101T000000.000000Z", "0001-20220101T000000.000000Z",
    )]  # fmt: skip
    mine = backups / "gateway-mine.sqlite3"
    for path in (*old, mine):
        path.touch()
    await migrated(file, backups, later)
    left = set(backups.iterdir())
    assert {old[1], old[2], mine} < left
    assert old[0] not in left
    assert len(left) == 4


async def test_without_a_copy_there_is_no_migration(
    file: Path, later: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "backups").mkdir()

    def full(_: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(migrate, "_copy", full)
    with pytest.raises(MigrationFailed, match=r"copied to .*disk is full"):
        await migrated(file, tmp_path / "backups", later)
    assert list((tmp_path / "backups").iterdir()) == []
    await migrated(file, tmp_path / "backups", MIGRATIONS)  # still of the schema that it had


async def test_a_folder_for_copies_that_cannot_be_made_is_named(file: Path, later: Path, tmp_path: Path) -> None:
    (tmp_path / "backups").touch()
    with pytest.raises(MigrationFailed, match=r"copied to .*backups; that failed"):
        await migrated(file, tmp_path / "backups", later)


async def test_what_a_killed_process_left_of_a_copy_is_in_nobodys_way(file: Path, later: Path, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "gateway.part").write_bytes(b"half")
    await migrated(file, tmp_path / "backups", later)
    (copy,) = (tmp_path / "backups").iterdir()
    assert copy.suffix == ".sqlite3"


@pytest.mark.needs("postgresql")
async def test_a_template_of_the_tests_is_a_migrated_database(fresh_database: Callable[..., str]) -> None:
    database = Database(fresh_database(), seconds=SECONDS)
    assert await scalar(database, "SELECT version_num FROM schema_version") == migrate._known(MIGRATIONS)[-1]
    await database.close()
