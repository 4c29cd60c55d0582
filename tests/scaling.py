"""How the time of a piece of work grows with what it is given."""

import time
from collections.abc import Callable

TIMES = 16
_MOST = 96
"""Linear time is 16 times as much, quadratic time 256 times."""


def grows_linearly(work: Callable[[int], Callable[[], object]], size: int) -> bool:
    """Whether `work(16 * size)` takes about 16 times as long as `work(size)`, or less: in time of the processor that
    this thread has had, at its best of a few."""
    return _seconds(work(TIMES * size)) < _MOST * max(_seconds(work(size)), 5e-6)


def _seconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(5):
        began = time.thread_time()
        work()
        best = min(best, time.thread_time() - began)
        if best > 1:
            break  # once is enough to see
    return best
