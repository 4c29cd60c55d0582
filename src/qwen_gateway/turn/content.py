"""Bytes in memory, as the content of a file."""

import hashlib
from typing import BinaryIO, Self, cast


class Bytes:
    """A Content (`turn.files`). Equal to every other one of the same bytes."""

    __slots__ = ("_data", "sha256")

    def __init__(self, data: bytes) -> None:
        self._data = data
        # At once: who makes it knows whether it may take a while, and who asks later does not.
        self.sha256 = hashlib.sha256(data).hexdigest()

    @property
    def size(self) -> int:
        return len(self._data)

    def reader(self) -> BinaryIO:
        return cast("BinaryIO", Reader(self._data))

    def close(self) -> None:
        """They go when nobody has them any more."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bytes) and other.sha256 == self.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"Bytes(size={self.size}, sha256={self.sha256!r})"


class Reader:
    """Of a file open for reading, what programs use; `io`, which has one too, is out of bounds for pure code."""

    __slots__ = ("_data", "_place", "closed")

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._place = 0
        self.closed = False

    def read(self, size: int | None = -1) -> bytes:
        self._check()
        end = len(self._data) if size is None or size < 0 else self._place + size
        found = bytes(self._data[self._place : end])
        self._place += len(found)
        return found

    def readinto(self, buffer: bytearray | memoryview) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._check()
        place = offset + (0, self._place, len(self._data))[whence]
        if place < 0:
            raise ValueError("a place before the beginning")
        self._place = place
        return place

    def tell(self) -> int:
        self._check()
        return self._place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self) -> None:
        if self.closed:
            raise ValueError("read of a closed file")
