"""What every engine must do with files that callers keep."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography.fernet import Fernet
from msgspec import structs
from sqlalchemy import select, text, update
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs
from tests.store.contents import InMemory, all_of

from qwen_gateway.relay.file_ports import FileStore, PartedFile, StoredFile
from qwen_gateway.store import files as module
from qwen_gateway.store.database import Database, WorkInOne
from qwen_gateway.store.files import SqlFiles
from qwen_gateway.store.parted import SqlPartedFiles
from qwen_gateway.store.schema import files
from qwen_gateway.store.sealed_files import DamagedFile
from qwen_gateway.store.vault import Vault
from qwen_gateway.turn.faults import BadVault, NotFound, StorageUnavailable

NOW = 1_800_000_000.0
VAULT = Vault([Fernet.generate_key()])
DATA = b"what the file says" * 5000


def stored(file_id: str = "file-1", data: bytes = DATA, **changes: Any) -> StoredFile:
    sha256 = InMemory(data).sha256
    plain = StoredFile(
        file_id, "tenant", f"{file_id}.pdf", "user_data", "application/pdf", "document", len(data), sha256, NOW
    )
    return structs.replace(plain, **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def store(database: Database, folder: Path) -> SqlFiles:
    return SqlFiles(database, folder, VAULT)


@pytest.fixture
async def other(url: str, folder: Path) -> AsyncIterator[SqlFiles]:
    """Of a second process."""
    database = Database(url, seconds=20)
    yield SqlFiles(database, folder, VAULT)
    await database.close()


async def add(store: SqlFiles, file_id: str = "file-1", data: bytes = DATA, **changes: Any) -> StoredFile:
    file = stored(file_id, data, **changes)
    await store.add(file, InMemory(data))
    return file


async def listed(store: SqlFiles, tenant: str = "tenant", limit: int = 100, **how: Any) -> list[str]:
    return [file.id for file in await store.list(tenant, NOW + 10, limit=limit, **how)]


async def change(database: Database, statement: Any) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.execute(statement)

    await database.write(work)


async def row(database: Database, file_id: str = "file-1") -> Any:
    async def work(connection: AsyncConnection) -> Any:
        return (await connection.execute(select(files).where(files.c.id == file_id))).one()

    return await database.read(work)


async def read(store: SqlFiles, file: StoredFile) -> bytes:
    content = await store.content(file)
    try:
        assert (content.size, content.sha256) == (file.size, file.sha256)
        return all_of(content)
    finally:
        content.close()


# --- keeping ---


async def test_all_of_a_file_comes_back(database: Database, folder: Path) -> None:
    store: FileStore = SqlFiles(database, folder, VAULT)
    file = stored(name="Übersicht 2026 “neu”.pdf", kind="video", size=len(DATA), expires=NOW + 0.25)
    await store.add(file, InMemory(DATA))
    assert await store.get("tenant", "file-1", NOW) == file
    assert await store.list("tenant", NOW, limit=5) == [file]
    content = await store.content(file)
    assert (content.size, content.sha256) == (len(DATA), InMemory(DATA).sha256)
    assert all_of(content) == DATA
    content.close()


async def test_neither_name_nor_sum_nor_bytes_are_plain_anywhere(
    store: SqlFiles, database: Database, folder: Path
) -> None:
    file = await add(store)
    values = repr(tuple(await row(database)))
    (path,) = folder.iterdir()
    assert "file-1.pdf" not in values
    assert file.sha256 not in values
    assert b"what the file says" not in path.read_bytes()


@pytest.mark.parametrize("name", ["a\0b", "\udcff", "x" * 5000, ""])
async def test_a_name_may_be_anything(store: SqlFiles, name: str) -> None:
    await store.add(stored(name=name), InMemory(DATA))
    found = await store.get("tenant", "file-1", NOW)
    assert found is not None
    assert found.name == name.replace("\0", "?").replace("\udcff", "?")[:500]


async def test_an_empty_file_is_a_file(store: SqlFiles) -> None:
    assert await read(store, await add(store, data=b"")) == b""


async def test_the_same_file_added_twice_is_one(store: SqlFiles, folder: Path) -> None:
    """Whoever does not get the answer asks again."""
    await asyncio.gather(*(add(store) for _ in range(3)))
    assert await listed(store) == ["file-1"]
    assert await read(store, stored()) == DATA
    for path in folder.iterdir():
        os.utime(path, (NOW - 5000, NOW - 5000))
    await store.prune(NOW)
    assert len(list(folder.iterdir())) == 1
    assert await read(store, stored()) == DATA


async def test_processes_share_what_is_kept(store: SqlFiles, other: SqlFiles) -> None:
    names = [f"file-{number}" for number in range(20)]
    await asyncio.gather(*(add((store, other)[number % 2], name) for number, name in enumerate(names)))
    assert set(await listed(store)) == set(await listed(other)) == set(names)
    assert await read(other, stored("file-0")) == DATA


# --- whose it is, and until when ---


async def test_nobody_sees_those_of_another_tenant(store: SqlFiles) -> None:
    file = await add(store)
    assert await store.get("another", file.id, NOW) is None
    assert await listed(store, "another") == []
    assert await listed(store, "another", after=file.id) == []
    assert await store.used("another", NOW) == 0
    assert not await store.remove("another", file.id)
    with pytest.raises(NotFound):
        await store.content(structs.replace(file, tenant="another"))
    assert await read(store, file) == DATA


async def test_a_row_that_was_given_to_another_tenant_is_not_opened(store: SqlFiles, database: Database) -> None:
    await add(store)
    await change(database, update(files).values(tenant="another"))
    with pytest.raises(BadVault):
        await store.get("another", "file-1", NOW)


async def test_a_file_that_took_anothers_bytes_is_not_opened(store: SqlFiles, database: Database) -> None:
    one = await add(store)
    await add(store, "file-2")
    blob = (await row(database, "file-2")).blob
    await change(database, update(files).where(files.c.id == one.id).values(blob=blob))
    with pytest.raises(DamagedFile):
        await store.content(one)


async def test_what_has_expired_is_not_there(store: SqlFiles) -> None:
    await add(store, "ends", expires=NOW + 5)
    await add(store, "stays")
    assert await store.get("tenant", "ends", NOW + 4.9) is not None
    assert await store.get("tenant", "ends", NOW + 5) is None
    assert await store.get("tenant", "stays", NOW + 1e9) is not None
    assert await listed(store) == ["stays"]
    assert await store.used("tenant", NOW) == 2 * len(DATA)
    assert await store.used("tenant", NOW + 5) == len(DATA)


@pytest.mark.parametrize("odd", ["", "a\0b", "\udcff", "x" * 300, "file-1\0", "%", "file-_", "' OR 1=1 --"])
async def test_an_odd_id_is_nobodys(store: SqlFiles, odd: str) -> None:
    await add(store)
    assert await store.get("tenant", odd, NOW) is None
    assert not await store.remove("tenant", odd)
    assert await listed(store, purpose=odd or "?") == []
    if odd:
        assert await listed(store, after=odd) == []


# --- lists ---


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 20])
async def test_pages_follow_each_other_also_among_files_of_the_same_moment(
    store: SqlFiles, order: Literal["asc", "desc"], limit: int
) -> None:
    made = [(f"f{number:02}", NOW + number // 4) for number in (5, 1, 9, 0, 3, 2, 8, 4, 7, 6, 11, 10)]
    for name, created in made:
        await add(store, name, b"x", created=created)
        await add(store, f"another-{name}", b"x", created=created, tenant="another")
    expected = [f"f{number:02}" for number in range(12)]
    if order == "desc":
        expected.reverse()
    found: list[str] = []
    while page := await listed(store, limit=limit, order=order, after=found[-1] if found else ""):
        assert len(page) <= limit
        found += page
    assert found == expected


async def test_a_purpose_picks_and_pages(store: SqlFiles) -> None:
    for number in range(6):
        await add(store, f"f{number}", b"x", created=NOW + number, purpose=("vision", "user_data")[number % 2])
    assert await listed(store, purpose="vision") == ["f4", "f2", "f0"]
    assert await listed(store, purpose="vision", after="f4", limit=1) == ["f2"]
    assert await listed(store, purpose="batch") == []


async def test_who_removes_page_by_page_reaches_the_end(store: SqlFiles) -> None:
    """As clients do: the next page begins after a file that is gone by then."""
    for number in range(10):
        await add(store, f"f{number}", b"x", created=NOW + number)
    after, seen = "", 0
    while page := await listed(store, limit=3, after=after):
        for name in page:
            assert await store.remove("tenant", name)
        after, seen = page[-1], seen + len(page)
    assert seen == 10
    assert await listed(store) == []


async def test_after_a_file_that_never_was_comes_nothing(store: SqlFiles) -> None:
    await add(store)
    assert await listed(store, after="file-9") == []


# --- removing ---


async def test_a_file_that_is_removed_is_gone_with_its_bytes_and_its_key(
    store: SqlFiles, database: Database, folder: Path
) -> None:
    file = await add(store)
    assert await store.remove("tenant", file.id)
    assert not await store.remove("tenant", file.id)
    assert await store.get("tenant", file.id, 0.0) is None
    assert await listed(store) == []
    assert await store.used("tenant", NOW) == 0
    assert list(folder.iterdir()) == []
    assert (await row(database)).sealed == b""
    with pytest.raises(NotFound, match="deleted"):
        await store.content(file)


async def test_of_many_who_remove_a_file_one_has_removed_it(store: SqlFiles, other: SqlFiles) -> None:
    await add(store)
    assert sorted(await asyncio.gather(*((store, other)[n % 2].remove("tenant", "file-1") for n in range(8)))) == [
        *[False] * 7, True,
    ]  # fmt: skip


async def test_a_file_may_be_read_while_it_is_removed(store: SqlFiles) -> None:
    content = await store.content(await add(store))
    await store.remove("tenant", "file-1")
    assert all_of(content) == DATA
    content.close()


# --- how much ---


async def test_what_is_coming_counts_as_used(store: SqlFiles, database: Database, folder: Path) -> None:
    parted = SqlPartedFiles(database, folder, VAULT)
    upload = PartedFile("upload-1", "tenant", "n", "vision", "image/png", 2**40, NOW, NOW + 60)
    for number, (state, tenant) in enumerate([("pending", "tenant"), ("cancelled", "tenant"), ("pending", "another")]):
        await parted.begin(structs.replace(upload, id=f"upload-{number}", state=state, tenant=tenant))
    await add(store)
    assert await store.used("tenant", NOW) == 2**40 + len(DATA)
    assert await store.used("tenant", NOW + 60) == len(DATA)


# --- what goes wrong ---


class Lossy(Database):
    """Commits, and then says that it did not."""

    async def write_in_one(self, work: WorkInOne[Any]) -> Any:
        await super().write_in_one(work)
        raise StorageUnavailable("its answer was lost")


async def test_a_file_whose_answer_was_lost_is_whole(database: Database, folder: Path) -> None:
    lossy = Lossy(database.url, seconds=10)
    with pytest.raises(StorageUnavailable):
        await SqlFiles(lossy, folder, VAULT).add(stored(), InMemory(DATA))
    await lossy.close()
    assert await read(SqlFiles(database, folder, VAULT), stored()) == DATA


async def test_a_file_without_a_row_is_nobodys_and_goes_in_time(
    store: SqlFiles, database: Database, folder: Path
) -> None:
    """As a crash leaves it between the two."""
    await add(store, "another")  # by which the database knows the folder
    others = set(folder.iterdir())
    await change(database, text("ALTER TABLE files RENAME TO away"))
    with pytest.raises((StorageUnavailable, ProgrammingError)):
        await add(store)
    await change(database, text("ALTER TABLE away RENAME TO files"))
    assert await listed(store) == ["another"]
    (path,) = set(folder.iterdir()) - others
    await store.prune(path.stat().st_mtime + 3599)
    assert path.exists()
    await store.prune(path.stat().st_mtime + 3601)
    assert set(folder.iterdir()) == others


async def test_bytes_that_lie_elsewhere_are_missed_by_name(store: SqlFiles, database: Database, tmp_path: Path) -> None:
    file = await add(store)
    elsewhere = SqlFiles(database, tmp_path / "another machine", VAULT)
    assert await elsewhere.get("tenant", file.id, NOW) == file
    with pytest.raises(NotFound, match="another machine") as caught:
        await elsewhere.content(file)
    assert caught.value.code == "file_not_found"
    assert await elsewhere.prune(NOW) == 0
    assert await elsewhere.remove("tenant", file.id)


async def test_another_key_opens_nothing_and_removes_what_it_likes(
    store: SqlFiles, database: Database, folder: Path
) -> None:
    await add(store)
    stranger = SqlFiles(database, folder, Vault([Fernet.generate_key()]))
    with pytest.raises(BadVault, match="secret key is not the one"):
        await stranger.get("tenant", "file-1", NOW)
    assert await listed(stranger) == []
    with pytest.raises(BadVault):
        await stranger.content(stored())
    assert await stranger.remove("tenant", "file-1")


async def test_one_that_cannot_be_opened_is_left_out_of_the_list_and_told_once(
    store: SqlFiles, database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_NEXT", 2)
    stranger = SqlFiles(database, folder, Vault([Fernet.generate_key()]))
    for number in range(9):
        await add(store if number in (0, 4, 8) else stranger, f"file-{number}", b"x", created=NOW + number)
    readable = ["file-8", "file-4", "file-0"]
    with capture_logs() as logs:
        for limit in range(1, 5):
            assert await listed(store, limit=limit) == readable[:limit]
            assert await listed(store, limit=limit, order="asc") == readable[::-1][:limit]
        assert await listed(store, after="file-6") == readable[1:], "also after one that cannot be"
    assert sum(line["files"] for line in logs) == 6
    assert {(line["event"], line["log_level"]) for line in logs} == {("files_unreadable", "error")}


@pytest.mark.parametrize("cut", [1, 16, 40_000, 70_000])
async def test_bytes_that_were_cut_off_are_not_opened(store: SqlFiles, folder: Path, cut: int) -> None:
    file = await add(store)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DamagedFile):
        await store.content(file)


async def test_bytes_that_were_changed_are_not_read(store: SqlFiles, folder: Path) -> None:
    file = await add(store)
    (path,) = folder.iterdir()
    written = bytearray(path.read_bytes())
    written[100] ^= 1
    path.write_bytes(written)
    with pytest.raises(DamagedFile):
        await read(store, file)


async def test_a_folder_that_cannot_be_used_is_told(database: Database, tmp_path: Path) -> None:
    (tmp_path / "occupied").touch()
    store = SqlFiles(database, tmp_path / "occupied", VAULT)
    with pytest.raises(StorageUnavailable, match="cannot use the folder in which it keeps files"):
        await add(store)
    assert await listed(store) == []
