"""Whether the last run ended by itself: a file stands in the data directory while the gateway runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

FILE = "running"

_log = structlog.get_logger()


@contextmanager
def clean_end(directory: Path) -> Iterator[None]:
    """Says at the start what an end without warning (a kill, a power cut) may have cost."""
    mark = directory / FILE
    if mark.exists():
        _log.warning(
            "unclean_end",
            why="The gateway was ended without warning the last time. Usage of its last second may be missing, and "
            "reserved tokens of requests that ran then stay counted for the day.",
        )
    mark.touch(mode=0o600)
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)
