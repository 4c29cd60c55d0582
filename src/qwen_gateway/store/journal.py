"""The journal of chats to delete: one JSON line for each change, only ever appended.

A line is handed to the operating system before `put` returns, so it survives a crash or a kill of this process
(not a power cut: the price of a flush for each chat would be paid by every request). The file is written anew,
with what is still open, at each start and when most of its lines are history.
"""

import contextlib
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from qwen_gateway.relay.ports import ChatRecord
from qwen_gateway.store import lock
from qwen_gateway.turn.faults import StorageUnavailable

COMPACT_AT = 10_000
"""Lines of history after which the file is written anew."""


class _Line(Struct, omit_defaults=True):
    put: ChatRecord | None = None
    gone: str | None = None


_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Line).decode


class FileJournal:
    """Satisfies `relay.ports.ChatJournal`. One process per file: a second one raises lock.Taken."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._lock = lock.take(path.with_suffix(".lock"))
        self._records = _read(path)
        self._file = -1
        self._history = 0
        self._torn = False
        self._rewrite()

    def close(self) -> None:
        os.close(self._file)
        os.close(self._lock)

    def records(self) -> list[ChatRecord]:
        return list(self._records.values())

    def put(self, record: ChatRecord) -> None:
        self._append(_Line(put=record))
        self._records[record.title] = record
        self._compact()

    def remove(self, title: str) -> None:
        if self._records.pop(title, None) is not None:
            self._append(_Line(gone=title))
            self._compact()

    def _append(self, line: _Line) -> None:
        # After a line that was cut off, a new one must not go on where that one ended.
        written = (b"\n" if self._torn else b"") + _encode(line) + b"\n"
        self._torn = True
        try:
            _write(self._file, written)
        except OSError as problem:
            raise StorageUnavailable(
                f"The gateway cannot write to its data directory ({problem.strerror}), and makes no chat that it "
                "could not delete again.",
            ) from problem
        self._torn = False
        self._history += 1

    def _compact(self) -> None:
        """Only once `_records` hold what the last line says: the new file is made from them."""
        if self._history > COMPACT_AT + len(self._records):
            with contextlib.suppress(OSError):  # the old file still has everything; the next line tries again
                self._rewrite()

    def _rewrite(self) -> None:
        new = self._path.with_suffix(".new")
        written = b"".join(_encode(_Line(put=record)) + b"\n" for record in self._records.values())
        file = os.open(new, _FLAGS | os.O_TRUNC, 0o600)
        try:
            _write(file, written)
            os.fsync(file)
        finally:
            os.close(file)
        old, self._file = self._file, -1
        if old >= 0:
            os.close(old)
        try:
            new.replace(self._path)  # only now: Windows does not replace a file that is open
        finally:
            self._file = os.open(self._path, _FLAGS, 0o600)
        self._history, self._torn = 0, False


def _write(file: int, data: bytes) -> None:
    """All of it. A disk that fills up takes a part, and says so only when asked to take the rest."""
    while data:
        data = data[os.write(file, data) :]


def _read(path: Path) -> dict[str, ChatRecord]:
    """What is open according to the file. A last line that a crash cut in two is no change."""
    records: dict[str, ChatRecord] = {}
    if not path.exists():
        return records
    for raw in path.read_bytes().splitlines():
        try:
            line = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if line.put is not None:
            records[line.put.title] = line.put
        elif line.gone is not None:
            records.pop(line.gone, None)
    return records
