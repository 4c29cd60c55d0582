"""An account in use: its session, its seats, and what of it rests."""

import math
from collections.abc import Callable
from typing import Literal

from qwen_gateway.accounts.pace import Pace
from qwen_gateway.accounts.pool import span
from qwen_gateway.accounts.rest import Pause, Rest
from qwen_gateway.accounts.session import Session
from qwen_gateway.relay.ports import Ambient, Check
from qwen_gateway.turn.faults import Challenged, Fault, LoginExpired, NoAccount

_EXPIRED = (
    "The session at chat.qwen.ai has ended. Log in there in your browser and give the gateway the fresh cookies "
    "(`qwen-gateway login`)."
)
_PAUSED = "The account {key} is paused. `qwen-gateway accounts resume {key}` lets the gateway use it again."
DAY = 86_400.0


class Account:
    """seats: turns that may run on it at the same time. pace: how often one may begin.

    name, source, created_at, paused, revision, check: as stored. busy: turns that have a seat. aside: turns that have
    left theirs to others while they bring files. last_used: seconds since 1970.
    on_change: told when the session or a rest has become different from what is stored. on_report: told when a turn has
    said something of the account, for which others may have waited.
    """

    def __init__(self, session: Session, rest: Rest, ambient: Ambient, *, seats: int, pace: Pace) -> None:
        self.session, self.rest, self.pace, self.seats = session, rest, pace, seats
        self.key = session.key
        self.name = session.key
        self.source: Literal["imported", "environment"] = "imported"
        self.created_at = 0.0
        self.paused = False
        self.revision = 0
        self.check = Check()
        self.busy = self.aside = 0
        self.last_used = 0.0
        self.on_change: Callable[[Account], None] = lambda _: None
        self.on_report: Callable[[], None] = lambda: None
        self._ambient = ambient

    # -- whether it can be used

    def refusal(self, what: str) -> Fault | None:
        """The fault for which the account, or this model or feature on it, cannot be used; with the time left."""
        if self.paused:
            return NoAccount(_PAUSED.format(key=self.key), code="account_paused")
        now = self._ambient.now()
        if self.session.expired(now):
            return LoginExpired(_EXPIRED)
        return self._told(self.rest.pause(what, now), now)

    def awaits_probe(self, what: str) -> bool:
        """Nothing speaks against it but that one turn tries, after a rest, whether that is really over: the others had
        better wait for what it finds."""
        now = self._ambient.now()
        usable = not self.paused and not self.session.expired(now)
        return usable and self.rest.probing(now) and self.rest.held(what, now) is None

    def resting(self) -> Fault | None:
        """Why no model of the account can be used now, for health pages."""
        return self.refusal("")

    def begin(self, what: str) -> Fault | None:
        """A turn takes the account, which nothing speaks against (`refusal`): after a challenge, one at a time may try
        whether it is over. Whoever gets `None` reports by `succeeded`, `failed` or `abandoned`."""
        now = self._ambient.now()
        return self._told(self.rest.begin(what, now), now)

    def _told(self, pause: Pause | None, now: float) -> Fault | None:
        if pause is None:
            return None
        left = float(max(1, math.ceil(pause.until - now)))  # who comes back sooner is refused again
        fault = pause.fault
        return type(fault)(f"{fault.text} (The gateway asks again in {span(left)}.)", code=fault.code, retry_after=left)

    def warning(self, days: float, who: str = "") -> str | None:
        """What its owner should know before the session ends. `None` while that is more than `days` away. who: what to
        call it; by its key where clients read it too."""
        who = who or self.key
        end = self.session.expires_at
        if end is None:
            return None
        left = end - self._ambient.now()
        if left <= 0:
            return f"The Qwen session of the account {who} has ended. Log in again: qwen-gateway login"
        if left > days * DAY:
            return None
        return (
            f"The Qwen session of the account {who} ends in {span(left)}. Log in at chat.qwen.ai and run "
            "qwen-gateway login before that."
        )

    # -- what calls to the site tell of it

    def absorb(self, set_cookies: tuple[str, ...]) -> None:
        if set_cookies:
            before = self.session.generation
            self.session.absorb(set_cookies, self._ambient.now())
            if self.session.generation != before:
                self.on_change(self)

    def failed(self, what: str, fault: Fault, began: float | None = None) -> None:
        """Takes a fault of the site, of a turn that began then: after a challenge the account rests, and the fault says
        how long."""
        now = self._ambient.now()
        self.rest.failed(what, fault, now, began)
        pause = self.rest.held(what, now)
        if pause is not None and (isinstance(fault, Challenged) or fault.retry_after is None):
            fault.retry_after = pause.until - now
        self._rested()

    def noticed(self, fault: Fault) -> None:
        """Takes a fault of a call beside the turns (a deletion, the list of models), where the end of a session and a
        challenge count as well."""
        if isinstance(fault, Challenged):
            self.failed("", fault)
        elif isinstance(fault, LoginExpired) and not self.session.can_refresh:
            self.ended(fault)  # else the next turn renews the session, or learns that this is not possible

    def succeeded(self, began: float) -> None:
        """A turn that began then (seconds since 1970) is being answered."""
        self.rest.succeeded(began)
        self._rested()

    def abandoned(self, began: float | None = None) -> None:
        """What `begin` let through then has ended without a word about the account."""
        self.rest.abandoned(began)
        self.on_report()

    def ended(self, fault: LoginExpired) -> None:
        """The session is over and could not be renewed."""
        self.rest.ended(fault, self._ambient.now())
        self._rested()

    def wake(self) -> None:
        """Ends any rest, here. In the store it has to be cleared as well."""
        self.rest.clear(self._ambient.now())

    def _rested(self) -> None:
        if self.rest.unsaved():
            self.on_change(self)
        self.on_report()
