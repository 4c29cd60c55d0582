"""What becomes of all that is sealed for files when the vault's key is replaced, or lost."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from msgspec import structs
from sqlalchemy import Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.store.contents import InMemory, all_of

from qwen_gateway.relay.file_ports import FilePiece, Leftover, PartedFile, StoredFile
from qwen_gateway.relay.ports import Secret
from qwen_gateway.store import file_secrets
from qwen_gateway.store.database import Database
from qwen_gateway.store.file_secrets import Sealed, has_files, remove_unreadable, reseal, unreadable
from qwen_gateway.store.files import SqlFiles
from qwen_gateway.store.parted import SqlPartedFiles
from qwen_gateway.store.schema import file_pieces, files, metadata, parted_files, site_files
from qwen_gateway.store.site_files import SqlSiteFiles
from qwen_gateway.store.vault import Vault
from qwen_gateway.turn.faults import BadVault
from qwen_gateway.turn.files import SiteFile

NOW = 1_800_000_000.0
OLD, NEW = Fernet.generate_key(), Fernet.generate_key()
FILE = StoredFile("f", "t", "n", "p", "text/plain", "document", 3, InMemory(b"abc").sha256, NOW)
SITE_FILE = SiteFile("s", b"{}")
ALL, NOTHING = Sealed(kept=2, notes=2), Sealed(kept=0, notes=0)
"""What `fill` leaves: a file that is whole and one that comes in pieces; an upload that is done and one under way."""
VALUES = 5
"""Sealed values of that."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


def stores(database: Database, folder: Path, vault: Vault) -> tuple[SqlFiles, SqlPartedFiles, SqlSiteFiles]:
    return SqlFiles(database, folder, vault), SqlPartedFiles(database, folder, vault), SqlSiteFiles(database, vault)


async def fill(database: Database, folder: Path, key: bytes = OLD, name: str = "") -> None:
    """One of each kind, and a file that was removed."""
    vault = Vault([key])
    kept, parted, site = stores(database, folder, vault)
    for each in ("f", "removed"):
        await kept.add(structs.replace(FILE, id=name + each), InMemory(b"abc"))
    await kept.remove("t", name + "removed")
    await parted.begin(PartedFile(name + "u", "t", "n", "p", "text/plain", 3, NOW, NOW + 60))
    await parted.add_piece(FilePiece(name + "p", name + "u", 3, NOW), InMemory(b"def"))
    await site.done(await site.begin("a", b"d", "o", NOW), SITE_FILE, NOW)
    await site.parted(await site.begin("a", b"d", "o", NOW), Secret(b"parts"))


async def check(database: Database, folder: Path, vault: Vault) -> None:
    """That all of it opens."""
    kept, parted, site = stores(database, folder, vault)
    assert await kept.get("t", "f", NOW) == FILE
    assert all_of(await kept.content(FILE)) == b"abc"
    assert await parted.get("t", "u", NOW) is not None
    assert all_of(await parted.joined("u", ["p"])) == b"def"
    assert await site.find("a", b"d", 0.0) == SITE_FILE
    (left,) = await site.leftovers("me", NOW + 1)
    assert left == Leftover(left.id, "a", left.owner, Secret(b"parts"))


async def count(database: Database, table: Table) -> int:
    async def work(connection: AsyncConnection) -> int:
        return len((await connection.execute(select(table))).all())

    return await database.read(work)


async def test_after_a_new_key_all_of_it_opens_without_the_old_one(database: Database, folder: Path) -> None:
    await fill(database, folder)
    assert await reseal(database, Vault([NEW, OLD])) == ALL
    await check(database, folder, Vault([NEW]))
    assert await reseal(database, Vault([NEW, OLD])) == NOTHING


async def test_a_run_that_was_cut_off_is_finished_by_the_next(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(database, folder)
    both, times = Vault([NEW, OLD]), 0
    plain = both.reseal

    def killed(sealed: bytes, owner: str) -> bytes:
        nonlocal times
        times += 1
        if times == 3:
            raise KeyError
        return plain(sealed, owner)

    with monkeypatch.context() as patch:
        patch.setattr(both, "reseal", killed)
        with pytest.raises(KeyError):
            await reseal(database, both)
    await check(database, folder, Vault([NEW, OLD]))
    assert await reseal(database, both) == Sealed(kept=1, notes=2)
    await check(database, folder, Vault([NEW]))


async def test_any_number_of_batches(database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_secrets, "BATCH", 2)
    for number in range(4):
        await fill(database, folder, name=f"{number}")
    assert await unreadable(database, Vault([NEW])) == Sealed(kept=8, notes=8)
    assert await reseal(database, Vault([NEW, OLD])) == Sealed(kept=8, notes=8)
    assert await unreadable(database, Vault([NEW])) == NOTHING


async def test_what_no_key_opens_is_told_and_not_lost(database: Database, folder: Path) -> None:
    await fill(database, folder)
    with pytest.raises(BadVault):
        await reseal(database, Vault([NEW]))
    assert await unreadable(database, Vault([NEW])) == ALL
    await check(database, folder, Vault([OLD]))


async def test_what_no_key_opens_is_removed_and_all_else_stays(database: Database, folder: Path) -> None:
    await fill(database, folder, NEW, "lost ")
    await fill(database, folder, OLD)
    assert len(list(folder.iterdir())) == 4
    assert await remove_unreadable(database, Vault([OLD])) == ALL
    assert await unreadable(database, Vault([OLD])) == NOTHING
    assert await remove_unreadable(database, Vault([OLD])) == NOTHING
    await check(database, folder, Vault([OLD]))
    await stores(database, folder, Vault([OLD]))[0].prune(NOW)
    assert [await count(database, table) for table in (files, parted_files, file_pieces, site_files)] == [1, 1, 1, 2]
    assert len(list(folder.iterdir())) == 2, "their bytes went with them"
    await check(database, folder, Vault([OLD]))


async def test_where_all_is_lost_nothing_stays_that_asks_for_the_key(database: Database, folder: Path) -> None:
    await fill(database, folder)
    assert await remove_unreadable(database, Vault([NEW])) == ALL
    assert not await has_files(database)
    kept, parted, _ = stores(database, folder, Vault([NEW]))
    assert await kept.get("t", "f", NOW) is None
    assert await parted.get("t", "u", NOW) is None
    await kept.prune(NOW)
    assert list(folder.iterdir()) == []


async def test_a_file_that_misses_a_piece_goes_as_a_whole(database: Database, folder: Path) -> None:
    _, parted, _ = stores(database, folder, Vault([OLD]))
    await parted.begin(PartedFile("u", "t", "n", "p", "text/plain", 3, NOW, NOW + 60))
    await parted.add_piece(FilePiece("good", "u", 3, NOW), InMemory(b"def"))
    for name in ("bad", "worse"):
        await stores(database, folder, Vault([NEW]))[1].add_piece(FilePiece(name, "u", 3, NOW), InMemory(b"def"))
    assert await remove_unreadable(database, Vault([OLD])) == Sealed(kept=1, notes=0)
    assert await parted.get("t", "u", NOW) is None
    await SqlFiles(database, folder, Vault([OLD])).prune(NOW)
    assert list(folder.iterdir()) == []


async def test_an_upload_that_has_ended_is_no_kept_file(database: Database, folder: Path) -> None:
    _, parted, _ = stores(database, folder, Vault([OLD]))
    await parted.begin(PartedFile("u", "t", "n", "p", "text/plain", 3, NOW, NOW + 60))
    await parted.end("u", "completed", "f")
    assert await remove_unreadable(database, Vault([NEW])) == Sealed(kept=0, notes=1)
    assert await count(database, parted_files) == 0


async def test_no_sealed_value_is_taken_for_that_of_another_row_or_column(database: Database, folder: Path) -> None:
    await fill(database, folder)
    await fill(database, folder, name="2")
    vault = Vault([OLD])
    mine = files.c.id == "f"

    async def values(connection: AsyncConnection) -> tuple[bytes, list[bytes]]:
        own = (await connection.execute(select(files.c.sealed).where(mine))).scalar_one()
        found = [(await connection.execute(select(column))).scalars().all() for column in file_secrets._OWNERS]
        return own, [value for some in found for value in some if value and value != own]

    async def put(value: bytes) -> None:
        await database.write(lambda connection: connection.execute(update(files).where(mine).values(sealed=value)))

    own, others = await database.read(values)
    assert len(others) == 2 * VALUES - 1
    for value in others:
        await put(value)
        assert await unreadable(database, vault) == Sealed(kept=1, notes=0)
    await put(own)
    assert await unreadable(database, vault) == NOTHING


async def test_whether_there_is_anything_sealed_for_callers_is_seen(database: Database, folder: Path) -> None:
    assert not await has_files(database)
    kept = SqlFiles(database, folder, Vault([OLD]))
    await kept.add(FILE, InMemory(b"abc"))
    assert await has_files(database)
    await kept.remove("t", "f")
    assert not await has_files(database), "what is left of it has no key any more"
    await SqlPartedFiles(database, folder, Vault([OLD])).begin(
        PartedFile("u", "t", "n", "p", "text/plain", 3, NOW, NOW + 60)
    )
    assert await has_files(database)


def test_every_column_for_sealed_values_of_files_is_known() -> None:
    sealed = {
        column
        for table in metadata.tables.values()
        for column in table.columns
        if column.name in {"sealed", "parts", "entry"}
    }
    assert sealed == set(file_secrets._OWNERS)
