"""When an account may be used again: it rests after a challenge, and a model rests after a daily limit."""

from msgspec import Struct

from qwen_gateway.turn.faults import Challenged, Crowded, Fault, RateLimited

LONGEST_REST = 1800.0
CROWDED_REST = 30.0
LIMIT_REST = 3600.0
"""Seconds. A challenge lifts after 2 to 50 minutes, or at once when a person solves it (2026-09). A limit whose
end the site does not say is tried again after an hour."""


class Pause(Struct, frozen=True):
    """What stands in the way, and until when (seconds since 1970)."""

    until: float
    fault: Fault


class Rest:
    """What rests, for one account. One model's limit never freezes the others.

    first: seconds of the first rest after a challenge; each further one without a success between doubles it.
    """

    def __init__(self, first: float) -> None:
        self._first = first
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
                self._account = Pause(now + CROWDED_REST, fault)
        elif isinstance(fault, Challenged):
            if self._challenges and self._account is not None and self._account.until > now:
                return  # of a request that was under way when the rest began
            self._account = Pause(now + min(self._first * 2**self._challenges, LONGEST_REST), fault)
            self._challenges = min(self._challenges + 1, 64)  # far above the longest rest, far below overflow
        elif isinstance(fault, RateLimited):
            self._models[model] = Pause(now + (fault.retry_after or LIMIT_REST), fault)

    def succeeded(self) -> None:
        self._account = None
        self._challenges = 0
