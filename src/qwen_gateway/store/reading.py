"""Files that several read at once, each from where it likes."""

import io
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER = 65_536
"""Bytes that a reader takes at once when it is asked for fewer."""

ReadAt = Callable[[int, int], bytes]
"""Given a place and a number, at least one byte from there and at most so many."""


class Descriptor:
    """An open file. Closed when nobody has it any more, if not before."""

    def __init__(self, number: int, lock: "threading.Lock | None" = None) -> None:
        self._number = number
        self._lock = lock or threading.Lock()
        self._end = weakref.finalize(self, os.close, number)

    def again(self) -> "Descriptor":
        """The same file, which stays open when this one is closed."""
        return Descriptor(os.dup(self.number), self._lock)

    @property
    def number(self) -> int:
        """Raises ValueError once it is closed: another file may have its number by then."""
        if not self._end.alive:
            raise ValueError("the file is closed")
        return self._number

    @property
    def size(self) -> int:
        return os.fstat(self.number).st_size

    if sys.platform == "win32":

        def read_at(self, offset: int, count: int) -> bytes:
            with self._lock:  # all that `again` gives share one place
                os.lseek(self.number, offset, os.SEEK_SET)
                return os.read(self.number, count)

    else:

        def read_at(self, offset: int, count: int) -> bytes:
            return os.pread(self.number, count, offset)

    def close(self) -> None:
        self._end()


def reader(size: int, read_at: ReadAt, close: Callable[[], object]) -> BinaryIO:
    """Reads so many bytes. close: called once, when the reader is closed or nobody has it any more."""
    return io.BufferedReader(_Raw(size, read_at, close), BUFFER)


class _Raw(io.RawIOBase):
    def __init__(self, size: int, read_at: ReadAt, close: Callable[[], object]) -> None:
        self._size, self._read_at, self._end = size, read_at, close
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("there is nothing before the first byte")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        room = memoryview(buffer).cast("B")
        count = min(len(room), self._size - self._at)
        if count <= 0:
            return 0
        data = self._read_at(self._at, count)
        room[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._end()
        super().close()
