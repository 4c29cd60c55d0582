"""A file of the person's own, read where it lies: nothing of it is copied."""

import asyncio
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from msgspec import Struct

from qwen_gateway.media.limits import Limits
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.files import FilePart, Given

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK = 1024 * 1024
"""Bytes that are read at once."""

Told = Callable[[int, int], None]
"""How many bytes have been read, and how many there are. Called in a thread."""


async def local_file(path: Path, told: Told, limits: Limits) -> FilePart:
    """The file as a part of a message. Reads all of it once, unless it is larger than any file may be. Raises
    InvalidRequest and BodyTooLarge."""
    param = param_of(path)
    left = threading.Event()
    try:
        content = await asyncio.to_thread(_read, path, param, told, limits, left)
    finally:
        left.set()  # the loop's end waits for its threads
    return FilePart(Given(content), name=_printable(path.name), param=param)


def param_of(path: Path) -> str:
    """How faults name it."""
    return _printable(f"--file {path}")


class LocalFile:
    """Satisfies `turn.files.Content`, as long as the file stays as it is: then its readers raise InvalidRequest."""

    def __init__(self, path: Path, param: str, state: "_State", digest: str) -> None:
        self._path, self._param, self._state = path, param, state
        self.sha256 = digest

    @property
    def size(self) -> int:
        return self._state.size

    def reader(self) -> BinaryIO:
        return io.BufferedReader(_open(self._path, self._param, self._state), BLOCK)

    def close(self) -> None:
        """The file is the person's."""


class _State(Struct, frozen=True):
    """By which a file is known to be as it was. size: bytes. changed: nanoseconds since 1970."""

    size: int
    changed: int


class _Unchanged(io.FileIO):
    """A file that raises InvalidRequest where it is no longer what it was. Only for a buffered reader: that one calls
    no other methods to read than these."""

    def __init__(self, path: Path, param: str, state: _State | None) -> None:
        super().__init__(path)
        self._param = param
        self.state = state or self._now()
        try:
            self._check()
        except InvalidRequest:
            self.close()
            raise

    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        with _readable(self._param):
            count = super().readinto(buffer)
        self._check()
        return count

    def readall(self) -> bytes:
        with _readable(self._param):
            data = super().readall()
        self._check()
        return data

    def _check(self) -> None:
        if self._now() != self.state:
            raise InvalidRequest(
                "The file was changed while it was being read. Ask again once nothing writes to it.",
                code="file_changed",
                param=self._param,
            )

    def _now(self) -> _State:
        state = os.fstat(self.fileno())
        return _State(state.st_size, state.st_mtime_ns)


@contextmanager
def _readable(param: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidRequest(f"The file cannot be read: {error.strerror}.", param=param) from error


def _open(path: Path, param: str, state: _State | None = None) -> _Unchanged:
    with _readable(param):
        return _Unchanged(path, param, state)


def _read(path: Path, param: str, told: Told, limits: Limits, left: threading.Event) -> LocalFile:
    raw = _open(path, param)
    with io.BufferedReader(raw, BLOCK) as file:
        size, read, digest = raw.state.size, 0, sha256()
        limits.check_size(None, size, param)
        told(0, size)
        while not left.is_set() and (block := file.read(BLOCK)):
            digest.update(block)
            read += len(block)
            told(read, size)
        return LocalFile(path, param, raw.state, digest.hexdigest())


def _printable(name: str) -> str:
    """A name may hold bytes that are no text, which JSON does not take."""
    return name.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
