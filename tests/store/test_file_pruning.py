"""What has expired goes with its bytes, what a crash left goes in time, and all else stays."""

import asyncio
import os
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs
from tests.store.contents import InMemory, all_of

from qwen_gateway.relay.file_ports import FilePiece, PartedFile, StoredFile
from qwen_gateway.store import file_pruning, retention
from qwen_gateway.store.database import Database
from qwen_gateway.store.files import SqlFiles
from qwen_gateway.store.parted import SqlPartedFiles
from qwen_gateway.store.schema import file_pieces, files, parted_files
from qwen_gateway.store.vault import Vault

NOW = 1_800_000_000.0
VAULT = Vault([Fernet.generate_key()])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def store(database: Database, folder: Path) -> SqlFiles:
    return SqlFiles(database, folder, VAULT)


@pytest.fixture
def parted(database: Database, folder: Path) -> SqlPartedFiles:
    return SqlPartedFiles(database, folder, VAULT)


def stored(number: int, expires: float | None) -> StoredFile:
    content = InMemory(b"x")
    return StoredFile(f"f{number}", "t", "n", "vision", "image/png", "image", 1, content.sha256, NOW, expires)


async def add(store: SqlFiles, number: int, expires: float | None = None) -> None:
    await store.add(stored(number, expires), InMemory(b"x"))


async def begin(parted: SqlPartedFiles, name: str, expires: float, pieces: int) -> None:
    await parted.begin(PartedFile(name, "t", "n", "vision", "image/png", 9, NOW, expires))
    for number in range(pieces):
        await parted.add_piece(FilePiece(f"{name}-{number}", name, 1, NOW), InMemory(b"x"))


async def counts(database: Database) -> list[int]:
    async def work(connection: AsyncConnection) -> list[int]:
        tables = (files, parted_files, file_pieces)
        return [(await connection.execute(select(func.count()).select_from(each))).scalar_one() for each in tables]

    return await database.read(work)


def age(folder: Path, seconds: float) -> None:
    for path in folder.iterdir():
        os.utime(path, (NOW - seconds, NOW - seconds))


async def test_what_has_expired_goes_with_its_bytes(
    store: SqlFiles, parted: SqlPartedFiles, database: Database, folder: Path
) -> None:
    await add(store, 1, NOW)
    await add(store, 2, NOW + 1)
    await add(store, 3)
    await begin(parted, "ended", NOW, 3)
    await begin(parted, "under way", NOW + 1, 2)
    assert len(list(folder.iterdir())) == 8
    assert await store.prune(NOW) == 2
    assert await counts(database) == [2, 1, 2]
    assert len(list(folder.iterdir())) == 4
    assert await store.prune(NOW) == 0


async def test_uploads_that_ended_well_are_forgotten_without_being_counted(
    store: SqlFiles, parted: SqlPartedFiles, database: Database
) -> None:
    await begin(parted, "whole", NOW + 5, 1)
    assert await parted.end("whole", "completed", "file-1")
    assert await store.prune(NOW) == 0
    assert await counts(database) == [0, 1, 0]
    assert await store.prune(NOW + 5) == 0
    assert await counts(database) == [0, 0, 0]


async def test_rows_of_files_that_were_removed_are_forgotten_without_being_counted(
    store: SqlFiles, database: Database
) -> None:
    await add(store, 1)
    await store.remove("t", "f1")
    assert await counts(database) == [1, 0, 0]
    assert await store.prune(0.0) == 0
    assert await counts(database) == [0, 0, 0]


async def test_any_number_of_batches(
    store: SqlFiles, database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    monkeypatch.setattr(retention, "PAUSE", 0)
    monkeypatch.setattr(file_pruning, "BATCH", 2)
    for number in range(10):
        await add(store, number, NOW)
    await add(store, 10)
    orphans = [folder / f"{number:032x}" for number in range(5)]
    for path in orphans:
        path.touch()
    age(folder, 4000)
    assert await store.prune(NOW) == 10
    assert await counts(database) == [1, 0, 0]
    assert len(list(folder.iterdir())) == 1


async def test_what_no_row_knows_goes_once_it_is_old(store: SqlFiles, parted: SqlPartedFiles, folder: Path) -> None:
    await add(store, 1)
    await begin(parted, "under way", NOW + 1, 1)
    known = set(folder.iterdir())
    lost = {folder / ("a" * 32), folder / ("b" * 32 + ".part")}
    theirs = folder / "README"
    for path in (*lost, theirs):
        path.touch()
    age(folder, file_pruning.GRACE - 1)
    await store.prune(NOW)
    assert set(folder.iterdir()) == {*known, *lost, theirs}
    age(folder, file_pruning.GRACE + 1)
    await store.prune(NOW)
    assert set(folder.iterdir()) == {*known, theirs}
    content = await store.content(stored(1, None))
    assert all_of(content) == b"x"
    content.close()


async def test_of_a_folder_that_belongs_to_another_database_nothing_whole_is_deleted(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_pruning, "BATCH", 2)
    folder.mkdir()
    theirs = {folder / f"{number:032x}" for number in range(5)}
    for path in (*theirs, folder / ("b" * 32 + ".part")):
        path.touch()
    age(folder, file_pruning.GRACE + 1)
    store = SqlFiles(database, folder, VAULT)
    with capture_logs() as logs:
        assert await store.prune(NOW) == 0
    assert set(folder.iterdir()) == theirs
    assert [(line["event"], line["files"]) for line in logs] == [("files_unknown", 5)]


async def test_of_one_that_holds_nothing_whole_nothing_is_said(database: Database, folder: Path) -> None:
    folder.mkdir()
    (folder / ("b" * 32 + ".part")).touch()
    age(folder, file_pruning.GRACE + 1)
    with capture_logs() as logs:
        await SqlFiles(database, folder, VAULT).prune(NOW)
    assert (logs, list(folder.iterdir())) == ([], [])


async def test_one_file_that_the_database_knows_says_that_the_folder_is_its_own(
    store: SqlFiles, parted: SqlPartedFiles, folder: Path
) -> None:
    await begin(parted, "under way", NOW + 1, 1)
    (known,) = folder.iterdir()
    for number in range(5):
        (folder / f"{number:032x}").touch()
    age(folder, file_pruning.GRACE + 1)
    with capture_logs() as logs:
        await store.prune(NOW)
    assert (logs, list(folder.iterdir())) == ([], [known])


async def test_bytes_that_a_crash_left_after_their_row_was_removed_go(
    store: SqlFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(store, 1)

    async def killed(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store._blobs, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            await store.remove("t", "f1")
    assert len(list(folder.iterdir())) == 1
    await store.prune(NOW)  # at once: its row still says which file that is
    assert list(folder.iterdir()) == []


async def test_two_processes_at_once_share_the_work(
    store: SqlFiles, database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 4)
    monkeypatch.setattr(retention, "PAUSE", 0)
    for number in range(40):
        await add(store, number, NOW)
    another = Database(database.url, seconds=20)
    counted = sum(await asyncio.gather(store.prune(NOW), SqlFiles(another, folder, VAULT).prune(NOW)))
    counted += await store.prune(NOW)  # what one of them had locked when the other looked
    assert counted == 40
    assert await counts(database) == [0, 0, 0]
    assert list(folder.iterdir()) == []
    await another.close()
