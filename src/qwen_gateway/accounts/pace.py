"""How often turns may begin on an account: a few at once, then evenly (GCRA)."""


class Pace:
    """per_minute: turns in the long run. burst: how many may begin at once after a pause.

    In any span of t seconds at most burst + t · per_minute / 60 begin, if each one waits for `ready_at`.
    """

    def __init__(self, per_minute: float, burst: int) -> None:
        if not per_minute > 0 or burst < 1:
            raise ValueError("a pace needs a rate above zero and a burst of at least one")
        self._interval = 60 / per_minute
        self._ahead = (burst - 1) * self._interval
        self._due = float("-inf")

    def ready_at(self, now: float) -> float:
        """When a turn may begin, in seconds since 1970: `now` or earlier when at once."""
        # A clock that was set back must not stop everything for as long as it was wrong.
        self._due = min(self._due, now + self._ahead + self._interval)
        return self._due - self._ahead

    def take(self, now: float) -> None:
        """A turn begins."""
        self._due = max(self._due, now) + self._interval
