"""Files on their way: what was written is read, within a bound, without a name and without waiting for the disk."""

import asyncio
import errno
import gc
import hashlib
import os
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.store.contents import all_of, block
from tests.store.rows import until

from qwen_gateway.relay.file_ports import Spool, SpoolWriter
from qwen_gateway.store import spool as module
from qwen_gateway.store.spool import DiskSpool
from qwen_gateway.turn.faults import BodyTooLarge, Overloaded, StorageUnavailable
from qwen_gateway.turn.files import Content

MB = 1_000_000
LINUX = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc, which Linux has")
KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from qwen_gateway.store.spool import DiskSpool

async def main():
    writer = DiskSpool(Path(sys.argv[1]), total=10**9).begin()
    for _ in range(5):
        await writer.write(b"x" * 1_000_000)
    content = await writer.finish()
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "spool"


@pytest.fixture
def spool(folder: Path) -> DiskSpool:
    return DiskSpool(folder, total=10 * MB)


async def written(spool: Spool, *pieces: bytes) -> Content:
    writer: SpoolWriter = spool.begin()
    for piece in pieces:
        await writer.write(piece)
    assert writer.size == sum(map(len, pieces))
    return await writer.finish()


def open_files(folder: Path) -> int:
    """How many files of this folder are open, those without a name too."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        try:
            found += str(each.readlink()).startswith(f"{folder}/")
        except FileNotFoundError:  # the folder's own
            continue
    return found


@pytest.mark.parametrize("sizes", [[], [0], [1], [5, 0, 7], [MB - 1], [MB], [MB + 1, 1], [10] * 1000, [2 * MB, 3 * MB]])
async def test_what_is_written_is_read(spool: DiskSpool, sizes: list[int]) -> None:
    pieces = [os.urandom(size) for size in sizes]
    content = await written(spool, *pieces)
    whole = b"".join(pieces)
    assert content.size == len(whole)
    assert content.sha256 == hashlib.sha256(whole).hexdigest()
    assert all_of(content) == whole
    content.close()


async def test_several_readers_do_not_disturb_each_other(spool: DiskSpool) -> None:
    data = os.urandom(3 * MB)
    content = await written(spool, data)
    with content.reader() as one, content.reader() as other:
        assert one.read(10) == data[:10]
        assert other.read(5) == data[:5]
        one.seek(2 * MB)
        assert other.read(MB) == data[5 : 5 + MB]
        assert one.read(7) == data[2 * MB : 2 * MB + 7]
        assert one.tell() == 2 * MB + 7

    def read(at: int) -> bool:
        with content.reader() as source:
            source.seek(at)
            return source.read(200_000) == data[at : at + 200_000]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(0, 2 * MB, 50_000)))
    content.close()


async def test_a_reader_that_is_late_does_not_read_another_file(spool: DiskSpool) -> None:
    """Such as one in a thread that goes on a moment longer than its request."""
    content = await written(spool, b"mine" * 50_000)
    late = content.reader()
    assert late.read(4) == b"mine"
    content.close()
    other = await written(spool, b"theirs" * 50_000)
    assert set(late.read().split(b"mine")) == {b""}
    late.close()
    other.close()


async def test_all_files_together_are_bounded(spool: DiskSpool) -> None:
    first = spool.begin()
    await first.write(b"x" * (6 * MB))
    second = spool.begin()
    await second.write(b"x" * (3 * MB))
    with pytest.raises(Overloaded, match=r"10,000,000 bytes .* Try again in a moment") as caught:
        await second.write(b"x" * (2 * MB))
    assert caught.value.retry_after
    assert spool.used == 9 * MB
    second.discard()
    assert spool.used == 6 * MB
    content = await first.finish()
    assert spool.used == 6 * MB
    content.close()
    content.close()
    assert spool.used == 0


async def test_a_file_that_no_wait_would_make_room_for_is_too_large(spool: DiskSpool) -> None:
    other = spool.begin()
    await other.write(b"x" * MB)
    writer = spool.begin()
    await writer.write(b"x" * (8 * MB))
    with pytest.raises(Overloaded):  # without the other it would fit
        await writer.write(b"x" * (2 * MB))
    with pytest.raises(BodyTooLarge, match="10,000,000 bytes") as caught:
        await writer.write(b"x" * (2 * MB + 1))
    assert caught.value.code == "file_too_large"
    assert spool.used == 9 * MB
    writer.discard()
    other.discard()


async def test_what_still_waits_in_memory_counts_as_well(folder: Path) -> None:
    spool = DiskSpool(folder, total=10)
    other, writer = spool.begin(), spool.begin()
    await writer.write(b"0123456789")
    with pytest.raises(Overloaded):
        spool.begin()
    with pytest.raises(Overloaded):
        await other.write(b"0")
    with pytest.raises(BodyTooLarge):
        await writer.write(b"0")
    writer.discard()
    other.discard()
    spool.begin().discard()


async def test_discarding_after_the_end_takes_nothing_away(spool: DiskSpool) -> None:
    writer = spool.begin()
    await writer.write(b"abc")
    content = await writer.finish()
    writer.discard()
    assert all_of(content) == b"abc"
    assert spool.used == 3
    content.close()


async def test_what_was_discarded_cannot_be_gone_on_with(spool: DiskSpool) -> None:
    writer = spool.begin()
    writer.discard()
    with pytest.raises(ValueError, match="discarded"):
        await writer.write(b"abc")
    with pytest.raises(ValueError, match="discarded"):
        await writer.finish()
    assert spool.used == 0


@LINUX
async def test_what_is_lost_sight_of_is_given_back(spool: DiskSpool, folder: Path) -> None:
    content = await written(spool, b"x" * MB)
    writer = spool.begin()
    await writer.write(b"x" * MB)
    assert (spool.used, open_files(folder)) == (2 * MB, 2)
    del content, writer
    gc.collect()
    await until(lambda: (spool.used, open_files(folder)) == (0, 0))


@LINUX
async def test_closing_and_discarding_leave_no_file_open(spool: DiskSpool, folder: Path) -> None:
    content, writer = await written(spool, b"x" * MB), spool.begin()
    await writer.write(b"x" * MB)
    assert open_files(folder) == 2
    content.close()
    writer.discard()
    await until(lambda: open_files(folder) == 0)


async def test_no_file_has_a_name_and_the_folder_is_private(spool: DiskSpool, folder: Path) -> None:
    content = await written(spool, b"x" * (2 * MB))
    if sys.platform != "win32":
        assert list(folder.iterdir()) == []
        assert folder.stat().st_mode & 0o777 == 0o700
    content.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGKILL")
def test_a_process_that_is_killed_leaves_nothing(folder: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False).returncode == -9
    assert list(folder.iterdir()) == []


async def test_400_mb_pass_without_being_in_memory(folder: Path) -> None:
    spool = DiskSpool(folder, total=10**9)
    writer, count, digest = spool.begin(), 400, hashlib.sha256()
    tracemalloc.start()
    for number in range(count):
        data = block(number)
        digest.update(data)
        await writer.write(data)
    content = await writer.finish()
    with content.reader() as source:
        for number in range(count):
            assert source.read(MB) == block(number)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (content.size, content.sha256) == (count * MB, digest.hexdigest())
    assert peak < 8 * MB
    content.close()


async def test_the_loop_goes_on_while_the_disk_is_slow(spool: DiskSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, plain = threading.Event(), module._write

    def slow(file: int, data: bytes) -> None:
        assert disk.wait(20)
        plain(file, data)

    monkeypatch.setattr(module, "_write", slow)
    writer = spool.begin()
    writing = asyncio.create_task(writer.write(b"x" * MB))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not writing.done()
    disk.set()
    await writing
    (await writer.finish()).close()


@LINUX
async def test_a_writer_that_is_cancelled_while_the_disk_is_slow_is_cleared_away(
    spool: DiskSpool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, begun, plain = threading.Event(), threading.Event(), module._write

    def slow(file: int, data: bytes) -> None:
        begun.set()
        assert disk.wait(20)
        plain(file, data)

    monkeypatch.setattr(module, "_write", slow)
    writer = spool.begin()
    writing = asyncio.create_task(writer.write(b"x" * MB))
    await until(begun.is_set)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    writer.discard()
    assert spool.used == 0
    with pytest.raises(ValueError, match="discarded"):
        await writer.finish()
    disk.set()
    await until(lambda: open_files(folder) == 0)


@pytest.mark.parametrize(
    ("number", "fault", "words"),
    [(errno.ENOSPC, Overloaded, "is full. Make room"), (errno.EIO, StorageUnavailable, os.strerror(errno.EIO))],
)
async def test_a_disk_that_takes_no_more_is_told_in_words(
    spool: DiskSpool, monkeypatch: pytest.MonkeyPatch, number: int, fault: type[Exception], words: str
) -> None:
    def broken(file: int, data: object) -> int:
        raise OSError(number, os.strerror(number))

    writer = spool.begin()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", broken)
        with pytest.raises(fault, match=words):
            await writer.write(b"x" * MB)
    writer.discard()
    assert spool.used == 0
    with pytest.raises(ValueError, match="discarded"):  # never a file that lacks a part
        await writer.finish()


async def test_a_disk_that_takes_a_part_at_a_time_gets_all_of_it(
    spool: DiskSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.write
    monkeypatch.setattr(os, "write", lambda file, data: plain(file, data[:100_001]))
    data = os.urandom(2 * MB)
    content = await written(spool, data)
    assert all_of(content) == data
    content.close()
