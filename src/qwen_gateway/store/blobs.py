"""Files that are kept, encrypted, in one folder: each under a name of our own, with a key that its row in the database
has under seal. A file is written before its row; what has no row is deleted in time (`store/file_pruning`)."""

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import secrets
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, TypeVar

import structlog
from msgspec import Struct

from qwen_gateway.relay.ports import Secret
from qwen_gateway.store import sealed_files
from qwen_gateway.store.reading import reader
from qwen_gateway.store.sealed_files import DamagedFile, SealedFile, Stopped
from qwen_gateway.turn.faults import NotFound, StorageUnavailable
from qwen_gateway.turn.files import Content

Result = TypeVar("Result")
Stop = Callable[[], bool]
"""Whether nobody waits for the work any more."""

THREADS = 2
"""Files that are written, or looked for, at once."""
_PART = ".part"
_OURS = re.compile(r"[0-9a-f]{32}(\.part)?").fullmatch
_HASHED = 1_000_000

_NOT_HERE = (
    "The bytes of this file are not here any more, or lie on another machine that uses the same database. "
    "Upload it again."
)
_NO_DISK = "The gateway cannot use the folder in which it keeps files ({why})."

_log = structlog.get_logger()


class Blob(Struct, frozen=True):
    """A file of the folder. size: bytes that it holds."""

    name: str
    key: Secret
    size: int


class Blobs:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(THREADS, "blobs")

    async def keep(self, content: Content) -> Blob:
        """Returns when a power cut cannot lose it. Raises StorageUnavailable, and what reading the content raises."""
        blob = Blob(secrets.token_hex(16), Secret(sealed_files.new_key()), content.size)
        source = content.reader()
        await self._run_wanted(lambda stopped: self._write(blob, source, stopped))
        return blob

    async def open(self, blob: Blob, sha256: str) -> Content:
        """Raises NotFound, DamagedFile, StorageUnavailable."""
        return _Whole(await self._run(lambda: self.opened(blob)), sha256)

    async def joined(self, blobs: Sequence[Blob]) -> Content:
        """One after the other. Raises as `open`, and so does reading it: each is opened when it is its turn."""
        joined = _Joined(blobs, self.opened)
        joined.sha256 = await self._run_wanted(lambda stopped: _digest(joined, stopped))
        return joined

    async def remove(self, names: Iterable[str]) -> None:
        """What cannot be deleted now is logged, and left to a later search for what has no row."""
        await self._run(lambda: self._remove(list(names)))

    async def older_than(self, time: float) -> list[str]:
        """Names of all that were last written before then, finished or not."""
        return await self._run(lambda: self._older_than(time))

    def opened(self, blob: Blob) -> SealedFile:
        try:
            file = sealed_files.opened(self._path(blob.name), blob.key.value, blob.name)
        except FileNotFoundError:
            raise NotFound(_NOT_HERE, code="file_not_found") from None
        if file.size != blob.size:
            raise DamagedFile
        return file

    def _path(self, name: str) -> Path:
        """Raises NotFound for what is no name of ours: the database, which was changed then, leads nowhere else."""
        if not _OURS(name):
            raise NotFound(_NOT_HERE, code="file_not_found")
        return self._folder / name

    async def _run(self, work: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except OSError as problem:
            raise StorageUnavailable(_NO_DISK.format(why=_why(problem))) from problem

    async def _run_wanted(self, work: Callable[[Stop], Result]) -> Result:
        """As `_run`. The thread is told when whoever waits has left."""
        stop = threading.Event()
        try:
            return await self._run(lambda: work(stop.is_set))
        finally:
            stop.set()

    def _write(self, blob: Blob, source: BinaryIO, stopped: Stop) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(blob.name)
        unfinished = path.with_suffix(_PART)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            with source, os.fdopen(os.open(unfinished, flags, 0o600), "wb") as file:
                sealed_files.write(file, source, blob.key.value, blob.name, stopped)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
            _flush(self._folder)
        except Stopped:
            pass  # nobody is told
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink()

    def _remove(self, names: list[str]) -> None:
        failed = 0
        for name in filter(_OURS, names):
            try:
                self._path(name).unlink(missing_ok=True)
            except OSError:  # on Windows, while somebody reads it
                failed += 1
        if failed:
            _log.warning("files_not_deleted", files=failed)

    def _older_than(self, time: float) -> list[str]:
        found: list[str] = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # deleted since
                    if _OURS(entry.name) and entry.stat(follow_symlinks=False).st_mtime < time:
                        found.append(entry.name)
        return found


class _Whole:
    """Satisfies `turn.files.Content`. Stays readable when the file is deleted."""

    def __init__(self, file: SealedFile, sha256: str) -> None:
        self._file, self.size, self.sha256 = file, file.size, sha256

    def reader(self) -> BinaryIO:
        again = self._file.again()
        return reader(again.size, again.read_at, again.close)

    def close(self) -> None:
        self._file.close()


class _Joined:
    """Satisfies `turn.files.Content`. There may be thousands, so only one of them is open at a time."""

    def __init__(self, blobs: Sequence[Blob], opened: Callable[[Blob], SealedFile]) -> None:
        self._blobs, self._opened = blobs, opened
        self._starts = list(accumulate((blob.size for blob in blobs), initial=0))
        self.size = self._starts[-1]
        self.sha256 = ""

    def reader(self) -> BinaryIO:
        pieces = _Pieces(self._blobs, self._starts, self._opened)
        return reader(self.size, pieces.read_at, pieces.close)

    def close(self) -> None:
        pass


class _Pieces:
    def __init__(self, blobs: Sequence[Blob], starts: list[int], opened: Callable[[Blob], SealedFile]) -> None:
        self._blobs, self._starts, self._opened = blobs, starts, opened
        self._number = -1
        self._file: SealedFile | None = None

    def read_at(self, offset: int, count: int) -> bytes:
        # Of several that begin here, all but the last are empty.
        number = bisect_right(self._starts, offset) - 1
        if number != self._number or self._file is None:
            self.close()
            try:
                self._file = self._opened(self._blobs[number])
            except OSError as problem:
                raise StorageUnavailable(_NO_DISK.format(why=_why(problem))) from problem
            self._number = number
        return self._file.read_at(offset - self._starts[number], count)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def is_whole(name: str) -> bool:
    """Whether it was written to its end, so that a row may know it."""
    return not name.endswith(_PART)


def _digest(content: Content, stopped: Stop) -> str:
    digest = hashlib.sha256()
    with content.reader() as source:
        while not stopped() and (data := source.read(_HASHED)):
            digest.update(data)
    return digest.hexdigest()


def _flush(folder: Path) -> None:
    """So that the new name outlives a power cut."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _why(problem: OSError) -> str:
    return "the disk is full" if problem.errno == errno.ENOSPC else str(problem.strerror)
