"""A lock on a file, held until its descriptor is closed or the process ends."""

import errno
import os
import sys
from pathlib import Path

_HELD = frozenset({errno.EAGAIN, errno.EACCES, errno.EDEADLK})
"""What systems say of a lock that another process holds; Windows says one of the last two."""


class Taken(Exception):
    """Another process holds the lock."""


def take(path: Path) -> int:
    """The descriptor that holds the lock. Raises Taken, and OSError where the file can be neither opened nor locked."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor)
    except OSError as problem:
        os.close(descriptor)
        if problem.errno not in _HELD:
            raise
        raise Taken(str(path)) from problem
    return descriptor


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
