"""Which processes are at work on a data directory: each holds a lock on a file that is named by it.

So what a killed one has left can be tidied up at once, and what is under way in another one is left alone. A lock and
not a process's number: that one may be another process's by now, or in another container.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qwen_gateway.settings import Settings, SettingsError
from qwen_gateway.store import lock

FOLDER = "owners"
STALE = 3600.0
"""Seconds after which a file that nobody holds is of a process that was killed, and not of one that just begins."""


@contextmanager
def present(directory: Path, owner: str) -> Iterator[None]:
    """As long as it is open, `Presence` says that the owner is there. Raises SettingsError."""
    path = _path(directory, owner)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = lock.take(path)
        _clear(path.parent)
    except OSError as problem:
        raise SettingsError([f"The data directory {directory} cannot be used: {problem.strerror}."]) from problem
    try:
        yield
    finally:
        os.close(descriptor)  # first: Windows deletes no file that is open
        with suppress(OSError):
            path.unlink()


class Presence:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def gone(self, owner: str) -> bool:
        """Whether the process of this name has ended. False where that cannot be told."""
        return _is_free(_path(self._directory, owner))


def presence_of(settings: Settings) -> Presence | None:
    """`None` where processes share more than a data directory."""
    return Presence(settings.data_dir) if settings.database_url is None else None


def _path(directory: Path, owner: str) -> Path:
    return directory / FOLDER / f"{owner}.lock"


def _clear(folder: Path) -> None:
    """Files of those that were killed."""
    before = time.time() - STALE
    for path in folder.glob("*.lock"):
        with suppress(OSError):
            if path.stat().st_mtime < before and _is_free(path):
                path.unlink()


def _is_free(path: Path) -> bool:
    if not path.exists():
        return True
    try:
        os.close(lock.take(path))
    except (lock.Taken, OSError):
        return False
    return True
