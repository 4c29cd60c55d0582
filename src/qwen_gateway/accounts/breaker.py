"""Whether the site is asked at all: after failures in a row it gets time, then one request looks how it is.

A pool of accounts does not help against a site that is down, so there is one breaker for all of them.
"""

from collections import deque
from typing import Literal

from qwen_gateway.turn.faults import Fault, SiteError, TimedOut, Unreachable

FAILURES = 5
WINDOW = 60.0
"""So many failures in a row within so many seconds, and it opens."""
FIRST_OPEN = 10.0
LONGEST_OPEN = 120.0
"""Seconds. Each look that fails doubles the time."""
PROBE_WAIT = 1.0
"""Seconds after which one asks again while another request looks."""
PROBE_LONGEST = 120.0
"""Seconds after which a look without an outcome counts as lost, and another may begin."""

State = Literal["closed", "open", "half_open"]


def counts(fault: Fault) -> bool:
    """Whether a fault says that the site itself is in trouble. A refusal, whatever its reason, is a sign of life."""
    return isinstance(fault, (Unreachable, TimedOut, SiteError))


class Breaker:
    def __init__(self) -> None:
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._until: float | None = None
        self._seconds = FIRST_OPEN
        self._probe: float | None = None

    def state(self, now: float) -> State:
        """half_open: the time is over, and one request may look or is at it."""
        if self._until is None:
            return "closed"
        return "open" if now < self._until else "half_open"

    def left(self, now: float) -> float | None:
        """Seconds for which nobody may ask. `None` when it is worth a `check`."""
        return self._until - now if self._until is not None and now < self._until else None

    def check(self, now: float) -> float | None:
        """Seconds until the site may be asked. `None`: go ahead, and report how it went."""
        if self._until is None:
            return None
        if now < self._until:
            return self._until - now
        if self._probe is not None and now - self._probe < PROBE_LONGEST:
            return PROBE_WAIT
        self._probe = now
        return None

    def failed(self, now: float) -> None:
        """A fault that `counts`."""
        if self._until is None:
            self._failures.append(now)
            if len(self._failures) == FAILURES and now - self._failures[0] <= WINDOW:
                self._until = now + self._seconds
        elif self._probe is not None:
            self._seconds = min(self._seconds * 2, LONGEST_OPEN)
            self._until = now + self._seconds
        self._probe = None

    def succeeded(self, now: float) -> None:
        """The site has answered, if only by a refusal: also when the request began before the breaker opened."""
        self._failures.clear()
        self._until, self._probe, self._seconds = None, None, FIRST_OPEN

    def abandoned(self) -> None:
        """The request that looked was cancelled or said nothing about the site: another may look."""
        self._probe = None
