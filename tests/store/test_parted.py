"""What every engine must do with files that come in several requests."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from msgspec import structs
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.store.contents import InMemory, all_of

from qwen_gateway.relay.file_ports import FilePiece, PartedFile, PartedFiles, StoredFile
from qwen_gateway.store import parted
from qwen_gateway.store.database import Database, WorkInOne
from qwen_gateway.store.files import SqlFiles
from qwen_gateway.store.parted import SqlPartedFiles
from qwen_gateway.store.schema import file_pieces
from qwen_gateway.store.sealed_files import PIECE, DamagedFile
from qwen_gateway.store.vault import Vault
from qwen_gateway.turn.faults import BadVault, InvalidRequest, NotFound, StorageUnavailable

NOW = 1_800_000_000.0
VAULT = Vault([Fernet.generate_key()])


def upload(**changes: Any) -> PartedFile:
    plain = PartedFile("upload-1", "tenant", "über.mp4", "vision", "video/mp4", 2**33, NOW, NOW + 3600)
    return structs.replace(plain, **changes)


def piece(number: int, data: bytes, **changes: Any) -> FilePiece:
    return structs.replace(FilePiece(f"part-{number}", "upload-1", len(data), NOW + number), **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def store(database: Database, folder: Path) -> SqlPartedFiles:
    return SqlPartedFiles(database, folder, VAULT)


@pytest.fixture
async def other(url: str, folder: Path) -> AsyncIterator[SqlPartedFiles]:
    """Of a second process."""
    database = Database(url, seconds=20)
    yield SqlPartedFiles(database, folder, VAULT)
    await database.close()


async def begun(store: SqlPartedFiles, *data: bytes) -> list[str]:
    await store.begin(upload())
    for number, each in enumerate(data):
        await store.add_piece(piece(number, each), InMemory(each))
    return [f"part-{number}" for number in range(len(data))]


async def test_all_of_an_upload_comes_back(database: Database, folder: Path) -> None:
    store: PartedFiles = SqlPartedFiles(database, folder, VAULT)
    await store.begin(upload(file_seconds=3600.5))
    await store.begin(upload(file_seconds=3600.5))  # its answer was lost
    assert await store.get("tenant", "upload-1", NOW) == upload(file_seconds=3600.5)
    await store.begin(upload(id="upload-2"))
    assert await store.get("tenant", "upload-2", NOW) == upload(id="upload-2")


async def test_nobody_sees_those_of_another_tenant(store: SqlPartedFiles) -> None:
    await store.begin(upload())
    for odd in ("upload-1\0", "", "x" * 300, "\udcff"):
        assert await store.get("tenant", odd, NOW) is None
    assert await store.get("another", "upload-1", NOW) is None


async def test_an_upload_expires_unless_it_has_ended(store: SqlPartedFiles) -> None:
    await store.begin(upload())
    await store.begin(upload(id="whole"))
    await store.end("whole", "completed", "file-1")
    for now, state in ((NOW + 3599, "pending"), (NOW + 3600, "expired")):
        assert await store.get("tenant", "upload-1", now) == upload(state=state)
    assert await store.get("tenant", "whole", NOW + 1e6) == upload(id="whole", state="completed", made_into="file-1")


async def test_pieces_are_told_as_they_came_and_joined_as_they_are_wanted(store: SqlPartedFiles) -> None:
    data = [os.urandom(size) for size in (PIECE + 3, 0, 7)]
    names = await begun(store, *data)
    assert await store.pieces("upload-1") == [piece(number, each) for number, each in enumerate(data)]
    assert await store.pieces("upload-2") == []
    for order in ((0, 1, 2), (2, 0, 1), (2,), ()):
        content = await store.joined("upload-1", [names[number] for number in order])
        whole = b"".join(data[number] for number in order)
        assert (content.size, content.sha256) == (len(whole), InMemory(whole).sha256)
        assert all_of(content) == whole
        content.close()


@pytest.mark.parametrize("wanted", ["part-9", "theirs", "a\0b"])
async def test_a_piece_that_is_not_of_this_upload_is_not_joined(store: SqlPartedFiles, wanted: str) -> None:
    names = await begun(store, b"abc")
    await store.begin(upload(id="upload-2", tenant="another"))
    await store.add_piece(piece(5, b"def", id="theirs", upload="upload-2"), InMemory(b"def"))
    with pytest.raises(NotFound, match="has no part") as caught:
        await store.joined("upload-1", [*names, wanted])
    assert caught.value.code == "part_not_found"


async def test_the_same_piece_added_twice_is_one(store: SqlPartedFiles) -> None:
    names = await begun(store, b"abc")
    await store.add_piece(piece(0, b"abc"), InMemory(b"abc"))
    assert len(await store.pieces("upload-1")) == 1
    content = await store.joined("upload-1", names)
    assert all_of(content) == b"abc"


async def test_an_upload_has_so_many_pieces_and_no_more(
    store: SqlPartedFiles, other: SqlPartedFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parted, "MOST_PIECES", 3)
    await begun(store, b"abc", b"def")
    await store.begin(upload(id="upload-2"))
    await store.add_piece(piece(0, b"x", id="other", upload="upload-2"), InMemory(b"x"))
    adding = [(store, other)[n % 2].add_piece(piece(n, b"ghi"), InMemory(b"ghi")) for n in range(2, 8)]
    refused = [each for each in await asyncio.gather(*adding, return_exceptions=True) if each is not None]
    assert len(refused) == 5
    for each in refused:
        assert isinstance(each, InvalidRequest)
        assert (each.code, each.param) == ("too_many_parts", "data")
    there = await store.pieces("upload-1")
    assert len(there) == 3
    assert len(list(folder.iterdir())) == 4
    await store.add_piece(there[2], InMemory(b"ghi"))  # its answer was lost


async def test_what_has_arrived_is_counted_but_for_what_is_known(store: SqlPartedFiles) -> None:
    names = await begun(store, b"abc", b"de", b"f")
    counted = [await store.arrived("upload-1", but) for but in ((), names[:1], {"part-9": 1}, names)]
    assert counted == [6, 3, 6, 0]
    assert await store.arrived("upload-2") == 0


@pytest.mark.parametrize("state", ["completed", "cancelled"])
async def test_an_upload_ends_once_and_its_pieces_go(store: SqlPartedFiles, folder: Path, state: Any) -> None:
    await begun(store, b"abc", b"def")
    await store.begin(upload(id="upload-2"))
    await store.add_piece(piece(0, b"x", id="other", upload="upload-2"), InMemory(b"x"))
    assert await store.end("upload-1", state, "file-1")
    assert not await store.end("upload-1", "cancelled")
    assert not await store.end("never begun", "cancelled")
    assert await store.get("tenant", "upload-1", NOW) == upload(state=state, made_into="file-1")
    assert await store.pieces("upload-1") == []
    assert len(await store.pieces("upload-2")) == 1
    assert len(list(folder.iterdir())) == 1


async def test_no_piece_is_added_to_an_upload_that_has_ended(store: SqlPartedFiles, folder: Path) -> None:
    await begun(store)
    await store.end("upload-1", "cancelled")
    for name in ("upload-1", "never begun"):
        with pytest.raises(NotFound, match="completed or cancelled") as caught:
            await store.add_piece(piece(0, b"abc", upload=name), InMemory(b"abc"))
        assert caught.value.code == "upload_not_found"
    assert list(folder.iterdir()) == []


async def test_whatever_comes_while_an_upload_ends_leaves_nothing(
    store: SqlPartedFiles, other: SqlPartedFiles, folder: Path
) -> None:
    await begun(store)

    async def add(number: int) -> bool:
        try:
            await (store, other)[number % 2].add_piece(piece(number, b"abc"), InMemory(b"abc"))
        except NotFound:
            return False
        return True

    adding = [asyncio.create_task(add(number)) for number in range(20)]
    await asyncio.wait(adding, return_when=asyncio.FIRST_COMPLETED)
    ended = await asyncio.gather(store.end("upload-1", "cancelled"), other.end("upload-1", "completed"))
    added = await asyncio.gather(*adding)
    assert sorted(ended) == [False, True]
    assert any(added)
    assert await store.pieces("upload-1") == []
    assert list(folder.iterdir()) == []


async def test_a_whole_file_is_made_of_pieces(store: SqlPartedFiles, database: Database, folder: Path) -> None:
    """All the way, as the relay goes it."""
    kept = SqlFiles(database, folder, VAULT)
    data = [os.urandom(100_000) for _ in range(3)]
    content = await store.joined("upload-1", await begun(store, *data))
    file = StoredFile("file-1", "tenant", "n", "p", "video/mp4", "video", content.size, content.sha256, NOW)
    await kept.add(file, content)
    content.close()
    assert await store.end("upload-1", "completed", "file-1")
    assert len(list(folder.iterdir())) == 1
    whole = await kept.content(file)
    assert all_of(whole) == b"".join(data)
    whole.close()


async def test_names_and_bytes_are_plain_nowhere_and_pieces_cannot_change_places(
    store: SqlPartedFiles, database: Database, folder: Path
) -> None:
    names = await begun(store, b"a secret sentence", b"another sentence!")

    async def swap(connection: AsyncConnection) -> None:
        one, two = (await connection.execute(select(file_pieces).order_by(file_pieces.c.id))).all()
        for to, source in ((one, two), (two, one)):
            values = {"blob": source.blob, "sealed": source.sealed}
            await connection.execute(update(file_pieces).where(file_pieces.c.id == to.id).values(values))

    assert all(b"sentence" not in path.read_bytes() for path in folder.iterdir())
    await database.write(swap)
    with pytest.raises(BadVault):
        await store.joined("upload-1", names)


async def test_a_piece_that_was_changed_is_not_joined(store: SqlPartedFiles, folder: Path) -> None:
    names = await begun(store, b"abc")
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(DamagedFile):
        await store.joined("upload-1", names)


async def test_another_key_opens_nothing(store: SqlPartedFiles, database: Database, folder: Path) -> None:
    names = await begun(store, b"abc")
    stranger = SqlPartedFiles(database, folder, Vault([Fernet.generate_key()]))
    with pytest.raises(BadVault):
        await stranger.get("tenant", "upload-1", NOW)
    with pytest.raises(BadVault):
        await stranger.joined("upload-1", names)


async def test_a_lost_answer_leaves_a_piece_that_is_whole(database: Database, folder: Path) -> None:
    class Lossy(Database):
        """Commits, and then says that it did not."""

        async def write_in_one(self, work: WorkInOne[Any]) -> Any:
            await super().write_in_one(work)
            raise StorageUnavailable("its answer was lost")

    store, lossy = SqlPartedFiles(database, folder, VAULT), Lossy(database.url, seconds=10)
    await begun(store)
    with pytest.raises(StorageUnavailable):
        await SqlPartedFiles(lossy, folder, VAULT).add_piece(piece(0, b"abc"), InMemory(b"abc"))
    await lossy.close()
    content = await store.joined("upload-1", ["part-0"])
    assert all_of(content) == b"abc"
