"""Files in a folder: whole or not there, private, and read in little memory."""

import asyncio
import errno
import hashlib
import os
import sys
import tracemalloc
from pathlib import Path

import pytest
from msgspec import structs
from structlog.testing import capture_logs
from tests.store.contents import Endless, InMemory, all_of, block
from tests.store.rows import until

from qwen_gateway.relay.ports import Secret
from qwen_gateway.store.blobs import Blob, Blobs, is_whole
from qwen_gateway.store.sealed_files import PIECE, DamagedFile, new_key
from qwen_gateway.turn.faults import NotFound, StorageUnavailable

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
MB = 1_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "files"


@pytest.fixture
def blobs(folder: Path) -> Blobs:
    return Blobs(folder)


async def test_what_is_kept_is_read(blobs: Blobs) -> None:
    data = os.urandom(200_000)
    blob = await blobs.keep(InMemory(data))
    content = await blobs.open(blob, "its sum")
    assert (content.size, content.sha256) == (200_000, "its sum")
    assert all_of(content) == data
    with content.reader() as one, content.reader() as other:
        one.seek(150_000)
        assert (one.read(5), other.read(5)) == (data[150_000:150_005], data[:5])
    content.close()


@POSIX
async def test_files_and_their_folder_are_private_and_show_nothing(blobs: Blobs, folder: Path) -> None:
    blob = await blobs.keep(InMemory(b"a secret sentence" * 100))
    (path,) = folder.iterdir()
    assert path.name == blob.name
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert b"secret" not in path.read_bytes()
    assert blob.key.value not in path.read_bytes()
    assert repr(blob.key.value) not in repr(blob)


async def test_a_file_that_is_deleted_is_read_by_who_has_it(blobs: Blobs) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows does not delete what is open")
    blob = await blobs.keep(InMemory(b"abc"))
    content = await blobs.open(blob, "")
    await blobs.remove([blob.name])
    assert all_of(content) == b"abc"
    content.close()
    with pytest.raises(NotFound, match="another machine") as caught:
        await blobs.open(blob, "")
    assert caught.value.code == "file_not_found"
    await blobs.remove([blob.name])


async def test_a_file_of_another_length_than_the_database_says_is_not_opened(blobs: Blobs) -> None:
    blob = await blobs.keep(InMemory(b"abc"))
    with pytest.raises(DamagedFile):
        await blobs.open(structs.replace(blob, size=2), "")


async def test_files_that_changed_places_are_not_opened(blobs: Blobs, folder: Path) -> None:
    one, other = await blobs.keep(InMemory(b"abc")), await blobs.keep(InMemory(b"def"))
    (folder / one.name).rename(folder / "between")
    (folder / other.name).rename(folder / one.name)
    (folder / "between").rename(folder / other.name)
    for blob in (one, other, structs.replace(one, key=other.key)):
        with pytest.raises(DamagedFile):
            await blobs.open(blob, "")


async def test_a_file_that_breaks_off_while_it_is_given_leaves_nothing(blobs: Blobs, folder: Path) -> None:
    with pytest.raises(TypeError):
        await blobs.keep(Broken())
    assert list(folder.iterdir()) == []


class Broken(Endless):
    def __init__(self) -> None:
        super().__init__(5 * PIECE)

    def _at(self, offset: int, count: int) -> bytes:
        if offset >= 3 * PIECE:
            raise TypeError
        return super()._at(offset, count)


async def test_a_full_disk_is_told_and_leaves_nothing(
    blobs: Blobs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageUnavailable, match="the disk is full"):
        await blobs.keep(InMemory(b"abc"))
    assert list(folder.iterdir()) == []


async def test_who_leaves_does_not_keep_the_disk_busy(blobs: Blobs, folder: Path) -> None:
    content = Endless(10**12)
    keeping = asyncio.create_task(blobs.keep(content))
    await until(lambda: folder.exists() and any(folder.iterdir()))
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    await until(lambda: list(folder.iterdir()) == [])


async def test_100_mb_are_kept_and_read_without_being_in_memory(blobs: Blobs) -> None:
    tracemalloc.start()
    blob = await blobs.keep(Endless(100 * MB))
    content = await blobs.open(blob, "")
    with content.reader() as source:
        for number in range(100):
            assert source.read(MB) == block(number)
    content.close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * MB


@pytest.mark.parametrize("sizes", [[], [0], [5], [3, 0, 0, 4], [PIECE, 1, PIECE + 7], [0, 1, 0]])
async def test_files_are_read_as_one(blobs: Blobs, sizes: list[int]) -> None:
    pieces = [os.urandom(size) for size in sizes]
    content = await blobs.joined([await blobs.keep(InMemory(piece)) for piece in pieces])
    whole = b"".join(pieces)
    assert (content.size, content.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert all_of(content) == whole
    with content.reader() as one, content.reader() as other:
        for at in (len(whole) // 2, 0, max(len(whole) - 3, 0)):
            one.seek(at)
            assert one.read(4) == whole[at : at + 4]
        assert other.read() == whole
    content.close()


async def test_of_many_files_read_as_one_few_are_open(blobs: Blobs) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("there is no /proc, which Linux has")
    content = await blobs.joined([await blobs.keep(InMemory(b"%04d" % number)) for number in range(100)])
    before = len(list(Path("/proc/self/fd").iterdir()))
    with content.reader() as source:
        assert source.read(4 * 99) == b"".join(b"%04d" % number for number in range(99))
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
    content.close()


async def test_a_piece_that_is_missing_is_named_before_anything_is_read(blobs: Blobs) -> None:
    here, gone = await blobs.keep(InMemory(b"abc")), await blobs.keep(InMemory(b"def"))
    await blobs.remove([gone.name])
    with pytest.raises(NotFound):
        await blobs.joined([here, gone])


async def test_old_files_are_told_from_new_and_from_what_is_not_ours(blobs: Blobs, folder: Path) -> None:
    assert await blobs.older_than(2e9) == []
    old, new = await blobs.keep(InMemory(b"1")), await blobs.keep(InMemory(b"2"))
    os.utime(folder / old.name, (1000.0, 1000.0))
    unfinished = "0" * 32 + ".part"
    for name in (unfinished, "theirs.txt", "0" * 31, "0" * 32 + ".bak"):
        (folder / name).touch()
        os.utime(folder / name, (1000.0, 1000.0))
    assert set(await blobs.older_than(1000.5)) == {old.name, unfinished}
    assert (is_whole(old.name), is_whole(unfinished)) == (True, False)
    assert new.name in await blobs.older_than(4e9)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "", ".", "0" * 32 + "/..", "0" * 33, "A" * 32])
async def test_a_changed_database_leads_nowhere_else(blobs: Blobs, folder: Path, name: str) -> None:
    folder.mkdir(parents=True)
    (folder.parent / "outside").write_bytes(b"abc")
    with pytest.raises(NotFound):
        await blobs.open(Blob(name, Secret(new_key()), 3), "")
    await blobs.remove([name])
    assert (folder.parent / "outside").exists()


async def test_what_cannot_be_deleted_now_is_logged(
    blobs: Blobs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await blobs.keep(InMemory(b"1")), await blobs.keep(InMemory(b"2"))
    plain = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path.name == one.name:
            raise PermissionError
        plain(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    with capture_logs() as logs:
        await blobs.remove([one.name, other.name])
    assert [path.name for path in folder.iterdir()] == [one.name]
    assert [(log["event"], log["files"]) for log in logs] == [("files_not_deleted", 1)]
