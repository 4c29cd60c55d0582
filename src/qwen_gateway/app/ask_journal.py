"""The journals of chats that `ask` makes: beside the gateway's own, which a gateway holds locked while it runs.

They are the first free of a few files, one for each `ask` that runs at the same time. What one that was killed has left
in its file is taken over by the next `ask`, or by the gateway at its next start.
"""

from collections.abc import Iterator
from pathlib import Path

from qwen_gateway.settings import SettingsError
from qwen_gateway.store.journal import FileJournal
from qwen_gateway.store.lock import Taken
from qwen_gateway.turn.faults import StorageUnavailable

MOST = 8
"""Questions at the same time."""


def ask_journal(directory: Path) -> FileJournal:
    """One of our own, with what others have left. Raises SettingsError."""
    for path in _paths(directory):
        try:
            journal = FileJournal(path)
        except Taken:
            continue
        except OSError as problem:
            raise SettingsError([f"The data directory {directory} cannot be used: {problem.strerror}."]) from problem
        gather(journal, directory)
        return journal
    raise SettingsError([f"{MOST} questions of `qwen-gateway ask` are being answered already. Wait for one to end."])


def gather(journal: FileJournal, directory: Path) -> None:
    """Takes over what stands in journals that nobody holds. What cannot be taken stays for the next time."""
    for path in _paths(directory):
        try:
            if path.stat().st_size:
                _move(path, journal)
        except (Taken, OSError, StorageUnavailable):
            continue


def _move(path: Path, journal: FileJournal) -> None:
    other = FileJournal(path)
    try:
        for record in other.records():
            journal.put(record)
            other.remove(record.title)  # only now: in both for a moment, so that no kill loses it
    finally:
        other.close()


def _paths(directory: Path) -> Iterator[Path]:
    for number in range(1, MOST + 1):
        yield directory / (f"asks-{number}.jsonl" if number > 1 else "asks.jsonl")
