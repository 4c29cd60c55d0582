"""A spool in memory that knows what has become of each file in it. Satisfies `relay.file_ports.Spool`."""

import hashlib
import io
from typing import BinaryIO

from qwen_gateway.turn.faults import Overloaded


class Kept:
    def __init__(self, data: bytes) -> None:
        self.data, self.closed = data, False

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def reader(self) -> BinaryIO:
        return io.BytesIO(self.data)

    def close(self) -> None:
        self.closed = True


class Writing:
    def __init__(self, spool: "MemorySpool") -> None:
        self._spool, self._data = spool, bytearray()
        self.longest = 0
        self.kept: Kept | None = None
        self.discarded = False

    @property
    def size(self) -> int:
        return len(self._data)

    async def write(self, data: bytes) -> None:
        assert self.kept is None
        assert not self.discarded
        self._data += data
        self.longest = max(self.longest, len(data))
        if self._spool.written > self._spool.room:
            raise Overloaded("No room.")

    async def finish(self) -> Kept:
        assert not self.discarded
        self.kept = Kept(bytes(self._data))
        return self.kept

    def discard(self) -> None:
        if self.kept is None:
            self.discarded = True


class MemorySpool:
    """room: bytes for all files together."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.room = room
        self.files: list[Writing] = []

    def begin(self) -> Writing:
        self.files.append(Writing(self))
        return self.files[-1]

    @property
    def written(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def left(self) -> int:
        """Files that nobody has given back."""
        return sum(not (file.discarded or (file.kept is not None and file.kept.closed)) for file in self.files)
