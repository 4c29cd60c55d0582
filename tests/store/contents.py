"""Contents to test with: bytes in memory, and many bytes that are nowhere."""

import hashlib
import io
from typing import BinaryIO

from qwen_gateway.store.reading import reader
from qwen_gateway.turn.files import Content


class InMemory:
    """Satisfies `turn.files.Content`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size, self.sha256 = len(data), hashlib.sha256(data).hexdigest()

    def reader(self) -> BinaryIO:
        return io.BytesIO(self._data)

    def close(self) -> None:
        pass


class Endless:
    """So many bytes, made while they are read, with a sum that says where each block came from."""

    BLOCK = 1_000_000

    def __init__(self, size: int) -> None:
        self.size, self.sha256 = size, "unknown"

    def reader(self) -> BinaryIO:
        return reader(self.size, self._at, lambda: None)

    def close(self) -> None:
        pass

    def _at(self, offset: int, count: int) -> bytes:
        number, start = divmod(offset, self.BLOCK)
        return block(number)[start : start + count]


def block(number: int) -> bytes:
    return number.to_bytes(4, "big") * (Endless.BLOCK // 4)


def all_of(content: Content) -> bytes:
    with content.reader() as source:
        return source.read()
