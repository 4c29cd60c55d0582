"""The form of an encrypted file: `QGWFILE1`, then pieces of 64 KiB, the last one shorter or as long, each sealed with
AES-256-GCM.

Each file has a key of its own, so a nonce need only tell the pieces apart: seven zeros, the piece's number, and whether
it is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015). Pieces can thus be read one by
one, and none of them can be changed, left out or put elsewhere, neither at the end. The name is sealed along, so that
no file can take another's place.
"""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qwen_gateway.store.reading import Descriptor
from qwen_gateway.turn.faults import StorageUnavailable

PIECE = 65_536
_HEAD = b"QGWFILE1"
_TAG = 16
_SEALED = PIECE + _TAG
_nonce = struct.Struct(">7xI?").pack

_DAMAGED = (
    "A file that the gateway keeps cannot be read: it was changed, or cut off, on the disk. Put it back from a copy of "
    "the data directory; or delete it, and upload it again."
)
_UNREADABLE = "A file that the gateway keeps cannot be read from its disk ({why})."


class DamagedFile(StorageUnavailable):
    """Trying again does not help: what is on the disk is not what was written there."""

    retryable = False

    def __init__(self) -> None:
        super().__init__(_DAMAGED)


class Stopped(Exception):
    """Nobody wants the file any more."""


def new_key() -> bytes:
    return AESGCM.generate_key(256)


def write(target: BinaryIO, source: BinaryIO, key: bytes, name: str, stopped: Callable[[], bool]) -> None:
    """Raises Stopped, OSError, and what `source` raises."""
    cipher, bound = AESGCM(key), _bound(name)
    target.write(_HEAD)
    number, data = 0, source.read(PIECE)
    while not stopped():
        following = source.read(PIECE) if len(data) == PIECE else b""
        target.write(cipher.encrypt(_nonce(number, not following), data, bound))
        if not following:
            return
        number, data = number + 1, following
    raise Stopped


class SealedFile:
    """One that is open. size: bytes that it holds, of which its length on the disk tells."""

    def __init__(self, descriptor: Descriptor, key: bytes, name: str) -> None:
        self._descriptor, self._key, self._name = descriptor, key, name
        self._cipher, self._bound = AESGCM(key), _bound(name)
        self._piece: tuple[int, bytes] = (-1, b"")
        self._length = descriptor.size
        pieces = -((len(_HEAD) - self._length) // _SEALED)
        self.size = self._length - len(_HEAD) - pieces * _TAG
        self._last = pieces - 1

    def again(self) -> "SealedFile":
        """For another reader. This one may be closed then."""
        return SealedFile(self._descriptor.again(), self._key, self._name)

    def read_at(self, offset: int, count: int) -> bytes:
        """For one thread at a time. Raises DamagedFile and StorageUnavailable."""
        number = offset // PIECE
        if self._piece[0] != number:
            self._piece = (number, self._open(number))
        start = offset - number * PIECE
        found = self._piece[1][start : start + count]
        if count and not found:
            raise DamagedFile
        return found

    def check_end(self) -> None:
        """Raises as `read_at` does."""
        if self._last < 0:
            raise DamagedFile
        self._piece = (self._last, self._open(self._last))

    def close(self) -> None:
        self._descriptor.close()

    def _open(self, number: int) -> bytes:
        start = len(_HEAD) + number * _SEALED
        try:
            sealed = self._descriptor.read_at(start, min(_SEALED, self._length - start))
            return self._cipher.decrypt(_nonce(number, number == self._last), sealed, self._bound)
        except OSError as problem:
            raise StorageUnavailable(_UNREADABLE.format(why=problem.strerror)) from problem
        except InvalidTag:
            raise DamagedFile from None


def opened(path: Path, key: bytes, name: str) -> SealedFile:
    """Its end is looked at here: whether it was cut off, and whether it is the one of this key and name.

    Raises DamagedFile, and OSError.
    """
    descriptor = Descriptor(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
    if descriptor.read_at(0, len(_HEAD)) != _HEAD:
        raise DamagedFile
    file = SealedFile(descriptor, key, name)
    file.check_end()
    return file


def _bound(name: str) -> bytes:
    return _HEAD + name.encode()
