"""A file of the person's own: read where it lies, and only as long as it stays as it was."""

import asyncio
import os
import threading
from hashlib import sha256
from pathlib import Path

import pytest

from qwen_gateway.app.local_file import BLOCK, local_file
from qwen_gateway.media.limits import Limits
from qwen_gateway.turn.faults import BodyTooLarge, InvalidRequest
from qwen_gateway.turn.files import Content, FilePart, Given

DATA = bytes(range(256)) * (BLOCK // 256) + b"and a little more"
LIMITS = Limits()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "cat.png"
    path.write_bytes(DATA)
    return path


def nothing(done: int, total: int) -> None:
    """For files that nobody watches."""


def content_of(part: FilePart) -> Content:
    assert isinstance(part.source, Given)
    return part.source.content


async def test_it_says_what_the_file_is_and_gives_all_bytes_as_often_as_wanted(path: Path) -> None:
    told: list[tuple[int, int]] = []
    part = await local_file(path, lambda done, total: told.append((done, total)), LIMITS)
    assert (part.name, part.param, part.kind) == ("cat.png", f"--file {path}", None)
    content = content_of(part)
    assert (content.size, content.sha256) == (len(DATA), sha256(DATA).hexdigest())
    assert told == [(0, len(DATA)), (BLOCK, len(DATA)), (len(DATA), len(DATA))]
    with content.reader() as one, content.reader() as other:
        assert one.read() == DATA
        assert other.seek(BLOCK) == BLOCK
        assert other.read(10) == DATA[BLOCK : BLOCK + 10]
    content.close()
    assert path.exists()


async def test_readers_may_be_used_in_threads_at_once(path: Path) -> None:
    content = content_of(await local_file(path, nothing, LIMITS))

    def read(start: int) -> bytes:
        with content.reader() as reader:
            reader.seek(start)
            return reader.read(1000)

    starts = range(0, len(DATA), 50_000)
    parts = await asyncio.gather(*(asyncio.to_thread(read, start) for start in starts))
    assert parts == [DATA[start : start + 1000] for start in starts]


@pytest.mark.parametrize("change", ["longer", "shorter", "other bytes", "gone"])
async def test_a_file_that_has_changed_since_is_refused(change: str, path: Path) -> None:
    content = content_of(await local_file(path, nothing, LIMITS))
    if change == "gone":
        path.unlink()
    elif change == "other bytes":
        path.write_bytes(DATA[::-1])
        os.utime(path, ns=(0, 0))
    else:
        path.write_bytes(DATA + b"x" if change == "longer" else DATA[:-1])
    with pytest.raises(InvalidRequest) as refused:
        content.reader()
    assert refused.value.param == f"--file {path}"
    assert ("changed" in refused.value.text) is (change != "gone")


async def test_a_file_that_changes_while_it_is_read_is_refused(path: Path) -> None:
    content = content_of(await local_file(path, nothing, LIMITS))
    with content.reader() as reader:
        assert reader.read(10) == DATA[:10]
        with path.open("ab") as file:
            file.write(b"x")
        with pytest.raises(InvalidRequest, match="changed while it was being read"):
            reader.read()


async def test_a_file_that_grows_while_it_is_first_read_is_refused(path: Path) -> None:
    def grow(done: int, total: int) -> None:
        with path.open("ab") as file:
            file.write(b"x")

    with pytest.raises(InvalidRequest, match="changed") as refused:
        await local_file(path, grow, LIMITS)
    assert refused.value.code == "file_changed"


async def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read: No such file"):
        await local_file(tmp_path / "gone.png", nothing, LIMITS)


async def test_one_that_is_larger_than_any_file_may_be_is_not_read(path: Path) -> None:
    told = list[int]()
    limits = Limits(image=10, document=10, audio=10, video=len(DATA) - 1)
    with pytest.raises(BodyTooLarge) as refused:
        await local_file(path, lambda done, _: told.append(done), limits)
    assert (refused.value.code, refused.value.param) == ("file_too_large", f"--file {path}")
    assert told == []
    await local_file(path, nothing, Limits(image=10, document=10, audio=10, video=len(DATA)))


async def test_whoever_stops_waiting_stops_the_reading(path: Path) -> None:
    begun, go_on, seen = threading.Event(), threading.Event(), list[int]()

    def watch(done: int, total: int) -> None:
        seen.append(done)
        begun.set()
        go_on.wait(10)

    task = asyncio.create_task(local_file(path, watch, LIMITS))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await asyncio.get_running_loop().shutdown_default_executor()  # as the end of the command does
    assert seen == [0]


async def test_a_name_that_is_no_text_becomes_one(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xffcat.png"))
    try:
        path.write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes no such names")
    part = await local_file(path, nothing, LIMITS)
    assert part.name.endswith("cat.png")
    assert (part.name + part.param).encode()
