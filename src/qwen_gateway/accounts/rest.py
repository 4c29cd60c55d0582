"""When an account may be used again: it rests after a challenge, and a model rests after a daily limit."""

from msgspec import Struct

from qwen_gateway.turn.faults import Challenged, Crowded, Fault, LoginExpired, RateLimited, Throttled

LONGEST_REST = 1800.0
CROWDED_REST = 30.0
LIMIT_REST = 3600.0
LOGIN_REST = 60.0
"""Seconds. A challenge lifts after 2 to 50 minutes, or at once when a person solves it (2026-09). A limit whose
end the site does not say is tried again after an hour."""


class Pause(Struct, frozen=True):
    """What stands in the way, since when and until when (seconds since 1970)."""

    since: float
    until: float
    fault: Fault


class Resting(Struct, frozen=True):
    """Seconds. first: of the first rest after a challenge; each further one without a success between doubles it.
    longest: of any rest."""

    first: float
    longest: float = 86_400.0


class Rest:
    """What rests, for one account. One model's limit never freezes the others."""

    def __init__(self, resting: Resting) -> None:
        self._resting = resting
        self._account: Pause | None = None
        self._models: dict[str, Pause] = {}
        self._challenges = 0

    def pause(self, model: str, now: float) -> Pause | None:
        for pause in (self._account, self._models.get(model)):
            if pause is not None and pause.until > now:
                return pause
        return None

    def failed(self, model: str, fault: Fault, now: float) -> None:
        """Takes a fault of the site. Most mean no rest."""
        if isinstance(fault, Crowded):
            if self._account is None or self._account.until < now + CROWDED_REST:
                self._account = self._pause(CROWDED_REST, fault, now)
        elif isinstance(fault, Challenged):
            if self._challenges and self._account is not None and self._account.until > now:
                return  # of a request that was under way when the rest began
            self._account = self._pause(min(self._resting.first * 2**self._challenges, LONGEST_REST), fault, now)
            self._challenges = min(self._challenges + 1, 64)  # far above the longest rest, far below overflow
        elif isinstance(fault, Throttled):
            self._models[model] = self._pause(fault.retry_after or CROWDED_REST, fault, now)
        elif isinstance(fault, RateLimited):
            self._models[model] = self._pause(fault.retry_after or LIMIT_REST, fault, now)

    def ended(self, fault: LoginExpired, now: float) -> None:
        """The session is over and cannot be renewed: a person must act. A request a minute may look whether one has."""
        self._account = self._pause(LOGIN_REST, fault, now)

    def _pause(self, seconds: float, fault: Fault, now: float) -> Pause:
        return Pause(now, now + min(seconds, self._resting.longest), fault)

    def clear(self) -> None:
        """All that rested may be used again."""
        self._account = None
        self._challenges = 0
        self._models.clear()

    def succeeded(self, began: float) -> None:
        """A turn that began then has been answered. It says nothing about a challenge that came meanwhile."""
        if self._account is None or self._account.since < began:
            self._account = None
            self._challenges = 0
