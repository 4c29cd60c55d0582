"""Files on their way, on disk: without a name, so that a process that is killed leaves nothing behind."""

import asyncio
import errno
import hashlib
import os
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

from qwen_gateway.store.reading import Descriptor, reader
from qwen_gateway.turn.faults import BodyTooLarge, Overloaded, StorageUnavailable
from qwen_gateway.turn.files import Content

BATCH = 1_000_000
"""Bytes that wait in memory, for each file, before they go to the disk."""
WRITERS = 4
"""Files that are written at once."""

_NO_ROOM = (
    "The gateway has no room for more files now: those that are under way take all {total} bytes that it may use. "
    "Try again in a moment."
)
_TOO_LARGE = "The file is larger than all the room that the gateway has for files that are under way ({total} bytes)."
_DISK_FULL = "The disk on which the gateway keeps files that are under way is full. Make room there, and try again."
_NO_DISK = "The gateway cannot keep files that are under way on its disk ({why})."


class DiskSpool:
    """Satisfies `relay.file_ports.Spool`. total: bytes, of all files under way."""

    def __init__(self, folder: Path, *, total: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._room = _Room(total)
        self._threads = ThreadPoolExecutor(WRITERS, "spool")

    @property
    def used(self) -> int:
        """Bytes of all files under way."""
        return self._room.used

    def begin(self) -> "SpoolFile":
        self._room.take(0)
        return SpoolFile(self._folder, _Claim(self._room), self._threads)


class SpoolFile:
    """Satisfies `relay.file_ports.SpoolWriter`."""

    def __init__(self, folder: Path, claim: "_Claim", threads: ThreadPoolExecutor) -> None:
        self._claim, self._threads = claim, threads
        self._target = _Target(folder)
        self._waiting: list[bytes] = []
        self._weight = 0
        self._ended = False
        self.size = 0

    async def write(self, data: bytes) -> None:
        """Raises Overloaded, and BodyTooLarge for a file that would not fit if it were the only one."""
        self._claim.grow(len(data))
        self._waiting.append(data)
        self._weight += len(data)
        self.size += len(data)
        if self._weight >= BATCH:
            await self._flush()

    async def finish(self) -> Content:
        if self._ended:
            raise ValueError("the file was finished or discarded")
        await self._flush()
        self._ended = True
        descriptor, digest = self._target.result()
        return SpoolContent(self.size, digest, descriptor, self._claim, self._threads)

    def discard(self) -> None:
        if not self._ended:
            self._ended = True
            self._waiting.clear()
            self._claim.release()
            self._threads.submit(self._target.close)

    async def _flush(self) -> None:
        batch, self._waiting, self._weight = self._waiting, [], 0
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, partial(self._target.write, batch))
        except BaseException:
            self.discard()  # a part of it is missing from now on
            raise


class SpoolContent:
    """Satisfies `turn.files.Content`. One that is lost sight of is given back as well."""

    def __init__(
        self, size: int, sha256: str, descriptor: Descriptor, claim: "_Claim", threads: ThreadPoolExecutor
    ) -> None:
        self.size, self.sha256 = size, sha256
        self._descriptor, self._claim, self._threads = descriptor, claim, threads

    def reader(self) -> BinaryIO:
        again = self._descriptor.again()
        return reader(self.size, again.read_at, again.close)

    def close(self) -> None:
        self._claim.release()
        # Deleting a large file takes the disk a while: 400 MB on ext4 some 30 ms (measured 2026-11-21).
        self._threads.submit(self._descriptor.close)


class _Target:
    """The file itself, for the threads: made when the first bytes come, closed when no thread writes to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digest = hashlib.sha256()
        self._lock = threading.Lock()
        self._descriptor: Descriptor | None = None
        self._closed = False

    def write(self, batch: Sequence[bytes]) -> None:
        """Raises Overloaded and StorageUnavailable."""
        data = b"".join(batch)
        with self._lock:
            if self._closed:
                return
            try:
                if self._descriptor is None:
                    self._descriptor = Descriptor(_nameless(self._folder))
                _write(self._descriptor.number, data)
            except OSError as problem:
                raise _fault(problem) from problem
            self._digest.update(data)

    def result(self) -> tuple[Descriptor, str]:
        """After the last `write`."""
        if self._descriptor is None:
            raise ValueError("nothing was written")
        return self._descriptor, self._digest.hexdigest()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._descriptor is not None:
                self._descriptor.close()


class _Room:
    """Bytes, of all files. `take` is for the event loop; `give` for any thread and moment, since the garbage collector
    may call it within anything else."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._taken = 0
        self._given_back: deque[list[int]] = deque()

    @property
    def used(self) -> int:
        while self._given_back:
            self._taken -= sum(self._given_back.popleft())
        return self._taken

    def take(self, count: int) -> None:
        """Raises Overloaded, also when nothing is asked for and nothing is left."""
        if self.used + max(count, 1) > self.total:
            raise Overloaded(_NO_ROOM.format(total=f"{self.total:,}"), retry_after=5)
        self._taken += count

    def give(self, counts: list[int]) -> None:
        self._given_back.append(counts)


class _Claim:
    """The room that one file takes."""

    def __init__(self, room: _Room) -> None:
        self._room = room
        self._counts: list[int] = [0]
        self._end = weakref.finalize(self, room.give, self._counts)

    def grow(self, count: int) -> None:
        if not self._end.alive:
            raise ValueError("the file was discarded")
        if self._counts[0] + count > self._room.total:  # trying again would never help
            raise BodyTooLarge(_TOO_LARGE.format(total=f"{self._room.total:,}"), code="file_too_large")
        self._room.take(count)
        self._counts[0] += count

    def release(self) -> None:
        self._end()


def _nameless(folder: Path) -> int:
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        return os.dup(file.fileno())


def _write(file: int, data: bytes) -> None:
    """All of it. A disk that fills up takes a part, and says so only when asked to take the rest."""
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _fault(problem: OSError) -> Overloaded | StorageUnavailable:
    if problem.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Overloaded(_DISK_FULL, retry_after=60)
    return StorageUnavailable(_NO_DISK.format(why=problem.strerror))
