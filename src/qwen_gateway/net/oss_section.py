"""A stretch of a file as the SDK of the storage wants to read it, and what ends that reading at once."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from qwen_gateway.turn.faults import Fault, StorageUnavailable
from qwen_gateway.turn.files import Content


class Halted(Exception):
    """Whoever wanted this has left."""


class Unanswered(Exception):
    """It was asked, and the answer got lost: nobody knows whether it is done. fault: what it is for those outside."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self.fault = fault


class Connection(Protocol):
    """As urllib3 makes them. sock: while it is connected."""

    sock: socket.socket | None


class Halt:
    """Ends what threads do with a file: what they read, and what they wait for."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._connections: list[Connection] = []

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        if self.is_set:
            raise Halted

    def watch(self, connection: Connection) -> None:
        """It is broken when all ends, if it is connected by then. Raises Halted."""
        self._connections.append(connection)
        self.check()

    def now(self) -> None:
        self._event.set()
        for connection in list(self._connections):
            if (sock := connection.sock) is not None:
                with contextlib.suppress(OSError):
                    # Of the plain class: that of TLS would take its own state away from under a thread that waits.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)


class Tally:
    """How many bytes have arrived, added up over threads and told in the loop."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress, self._loop = progress, asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._sum = 0
        self._due = self._over = False

    def move(self, change: int) -> None:
        """In any thread."""
        with self._lock:
            self._sum += change
            if self._due:
                return
            self._due = True
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        with self._lock:
            self._due, arrived = False, self._sum
        if not self._over:
            self._progress(arrived)

    def restart(self) -> None:
        """What has arrived counts for nothing."""
        with self._lock:
            self._sum = 0
        self._progress(0)

    def end(self) -> None:
        self._over = True


class Section:
    """`size` bytes of a file from `start` on; read in pieces, so that memory stays flat. Reads raise Halted, and
    StorageUnavailable when the bytes are not there any more."""

    def __init__(self, content: Content, start: int, size: int, halt: Halt, tally: Tally) -> None:
        """Close it."""
        self._start, self._size, self._halt, self._tally = start, size, halt, tally
        self._position = 0
        with _from_disk():
            self._reader = content.reader()
            self._reader.seek(start)

    def __len__(self) -> int:
        return self._size

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        position = offset + (0, self._position, self._size)[whence]
        if position != self._position:
            with _from_disk():
                self._reader.seek(self._start + position)
            self._tally.move(position - self._position)
            self._position = position
        return position

    def read(self, size: int = -1) -> bytes:
        self._halt.check()
        left = self._size - self._position
        wanted = left if size < 0 else min(size, left)
        if wanted <= 0:
            return b""
        with _from_disk():
            data = self._reader.read(wanted)
        if not data:
            raise _lost()
        self._position += len(data)
        self._tally.move(len(data))
        return data

    def close(self) -> None:
        self._reader.close()


@contextmanager
def _from_disk() -> Iterator[None]:
    """A disk that fails is not to be taken for a network that does."""
    try:
        yield
    except OSError:
        raise _lost() from None


def _lost() -> StorageUnavailable:
    return StorageUnavailable("The bytes of a file could not be read back from the gateway's own disk.")
