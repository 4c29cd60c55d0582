"""When an account may be used again: it rests after a challenge, and a model or feature rests after a daily limit.

Several processes may use one account and share a store. What each knows is a table of entries, at most one for the
account and for each model or feature, and of two entries for the same the one with the later `since` holds: a table in
which the last writer wins. The end of a rest by a success is such an entry too (its `code` is empty), so that it ends
the rest in the other processes and no older knowledge brings it back. Only what a person clears is taken out of the
store: what is missing there is over here as well, unless the store cannot know of it yet. See `Rest.restore`.
"""

from collections.abc import Iterable

from msgspec import Struct, structs

from qwen_gateway.turn.faults import (
    Blocked,
    Challenged,
    Crowded,
    Fault,
    LoginExpired,
    RateLimited,
    SiteError,
    Throttled,
)

LONGEST_REST = 1800.0
CROWDED_REST = 30.0
LIMIT_REST = 3600.0
LOGIN_REST = 60.0
BLOCKED_REST = 1800.0
"""Seconds. A challenge lifts after 2 to 50 minutes, or at once when a person solves it (2026-09). A limit whose
end the site does not say is tried again after an hour."""
PROBE_WAIT = 5.0
"""Seconds after which one asks again while another request tries whether a rest is really over."""
PROBE_LONGEST = 300.0
"""Seconds after which such a try without an outcome counts as lost, and another may begin."""

_CODES: dict[str, type[Fault]] = {
    "upstream_challenge": Challenged,
    "upstream_crowded": Crowded,
    "upstream_rate_limited": RateLimited,
    "upstream_throttled": Throttled,  # its fault's own code is that of RateLimited
    "upstream_auth_required": LoginExpired,
    "upstream_blocked": Blocked,
}
_ACCOUNT = ""


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


class RestEntry(Struct, frozen=True):
    """A pause as it is stored, or the end of one. Times in seconds since 1970.

    what: the model or feature that rests; empty for the account. code: says which fault it was; empty when a success
    ended the rest. challenges: how many came without a success between.
    """

    what: str
    since: float
    until: float
    code: str
    text: str
    challenges: int = 0


class _Held(Struct, frozen=True):
    """pause: `None` at the end of one. saved: when the store surely had the entry, by our clock."""

    entry: RestEntry
    pause: Pause | None
    saved: float | None = None


class Rest:
    """What rests, for one account. One model's limit never freezes the others.

    `what` is a model or a feature of the site; empty where a call needs none in particular.
    """

    def __init__(self, resting: Resting) -> None:
        self._resting = resting
        self._held: dict[str, _Held] = {}
        self._probe: float | None = None
        self._restored = float("-inf")

    # -- whether it may be used

    def pause(self, what: str, now: float) -> Pause | None:
        """Changes nothing."""
        if (held := self.held(what, now)) is not None:
            return held
        account = self._rested()
        if account is not None and self.probing(now):
            return Pause(account.since, now + PROBE_WAIT, account.fault)
        return None

    def held(self, what: str, now: float) -> Pause | None:
        """A rest that is not over, leaving aside that somebody may be trying whether one is."""
        for held in (self._held.get(_ACCOUNT), self._held.get(what)):
            if held is not None and held.pause is not None and held.pause.until > now:
                return held.pause
        return None

    def probing(self, now: float) -> bool:
        """A turn tries whether the account's rest is really over."""
        return self._rested() is not None and self._probe is not None and now - self._probe < PROBE_LONGEST

    def begin(self, what: str, now: float) -> Pause | None:
        """A turn takes the account. After a rest of the whole account only one at a time gets through until a success
        has shown that the rest is over. Whoever gets `None` reports by `succeeded`, `failed`, `ended` or `abandoned`,
        with this `now` as `began`; by `succeeded` as soon as the site begins to answer, since others wait for it."""
        pause = self.pause(what, now)
        if pause is None and self._rested() is not None:
            self._probe = now
        return pause

    def _rested(self) -> Pause | None:
        """The account's last rest, while no success has ended it."""
        held = self._held.get(_ACCOUNT)
        return held.pause if held is not None else None

    # -- what turns tell

    def failed(self, what: str, fault: Fault, now: float, began: float | None = None) -> None:
        """Takes a fault of the site, of a turn that began then. Most mean no rest."""
        self.abandoned(began)
        account = self._rested()
        active = account if account is not None and account.until > now else None
        challenges = self._challenges
        if isinstance(fault, Crowded):
            if active is None or active.until < now + CROWDED_REST:
                self._rest(_ACCOUNT, CROWDED_REST, fault, now, challenges)
        elif isinstance(fault, Challenged):
            if active is not None and (challenges or isinstance(active.fault, Blocked)):
                return  # of a request that was under way when the rest began
            seconds = min(self._resting.first * 2**challenges, LONGEST_REST)
            # The count stays far above the longest rest, and far below overflow.
            self._rest(_ACCOUNT, seconds, fault, now, min(challenges + 1, 64))
        elif isinstance(fault, Blocked):
            self._rest(_ACCOUNT, BLOCKED_REST, fault, now, challenges)
        elif isinstance(fault, RateLimited):
            usual = CROWDED_REST if isinstance(fault, Throttled) else LIMIT_REST
            self._rest(what, fault.retry_after or usual, fault, now)

    def ended(self, fault: LoginExpired, now: float) -> None:
        """The session is over and cannot be renewed: a person must act. A request a minute may look whether one has."""
        self._rest(_ACCOUNT, LOGIN_REST, fault, now, self._challenges)

    def succeeded(self, began: float) -> None:
        """A turn that began then has been answered. It says nothing about a challenge that came meanwhile."""
        account = self._rested()
        if account is not None and account.since < began:
            self._held[_ACCOUNT] = _Held(RestEntry(_ACCOUNT, began, began, "", ""), None)
            self._probe = None

    def abandoned(self, began: float | None = None) -> None:
        """The turn that began then was cancelled, or said nothing about the account: another may try."""
        if self._probe is not None and (began is None or began >= self._probe):
            self._probe = None

    def clear(self, now: float | None = None) -> None:
        """All that rested may be used again. What the store was asked for before `now` no longer counts."""
        self._held.clear()
        self._probe = None
        if now is not None:
            self._restored = now

    @property
    def _challenges(self) -> int:
        held = self._held.get(_ACCOUNT)
        return held.entry.challenges if held is not None else 0

    def _rest(self, what: str, seconds: float, fault: Fault, now: float, challenges: int = 0) -> None:
        before = self._held.get(what)
        if before is not None and before.pause is not None and before.pause.until >= now + seconds:
            said = fault.retry_after is not None and type(before.pause.fault) is type(fault)
            if not said:  # else the site has thought better of it
                return  # of a request that was under way: what it learned is no news, and ends sooner
        since = now if before is None else max(now, before.entry.since)  # another process's clock may be ahead
        pause = Pause(since, now + min(seconds, self._resting.longest), fault)
        entry = RestEntry(what, since, pause.until, _code(fault), fault.text, challenges)
        self._held[what] = _Held(entry, pause)
        if what == _ACCOUNT:
            self._probe = None

    # -- what is stored

    def entries(self) -> list[RestEntry]:
        """All that is known, also rests that are over but not yet ended by a success."""
        return [held.entry for held in self._held.values()]

    def unsaved(self) -> list[RestEntry]:
        """What has to be written to the store, each in place of the one with the same `what`."""
        return [held.entry for held in self._held.values() if held.saved is None]

    def saved(self, entries: Iterable[RestEntry], now: float) -> None:
        """These have been written; the store had them at `now`."""
        for entry in entries:
            held = self._held.get(entry.what)
            if held is not None and held.entry == entry and held.saved is None:
                self._held[entry.what] = structs.replace(held, saved=now)

    def restore(self, entries: Iterable[RestEntry], asked: float) -> None:
        """Takes over all that the store has of this account. asked: when it was asked, before it answered.

        For each `what` the entry with the later `since` holds. Ours that the store does not have
        - stays, and stays unsaved, if it was not yet written when the store was asked;
        - is over if the store had it before: a person has cleared it;
        - stays and has to be written again if the store has an older one in its place: two processes wrote, and the one
          that knew less was the last.
        """
        if asked < self._restored:
            return
        self._restored = asked
        before = self._held.get(_ACCOUNT)
        stored = {entry.what: entry for entry in entries}
        merged = {what: self._merged(what, stored.get(what), asked) for what in [*self._held, *stored]}
        self._held = {
            what: held
            for what, held in merged.items()
            if held is not None and (what == _ACCOUNT or held.entry.until > asked)
        }
        after = self._held.get(_ACCOUNT)
        if before is None or after is None or before.entry != after.entry:
            self._probe = None

    def _merged(self, what: str, theirs: RestEntry | None, asked: float) -> _Held | None:
        ours = self._held.get(what)
        unknown = ours is not None and (ours.saved is None or ours.saved >= asked)
        if theirs is None:
            return ours if unknown else None
        if ours is None:
            return _Held(theirs, _pause(theirs), asked)
        if _age(theirs) > _age(ours.entry):
            return _Held(theirs, _pause(theirs), asked)
        if theirs == ours.entry:
            return structs.replace(ours, saved=asked)
        return ours if unknown else structs.replace(ours, saved=None)


def _age(entry: RestEntry) -> tuple[object, ...]:
    """What orders entries for the same; the same in all processes, also where two began in one moment."""
    return entry.since, entry.until, entry.challenges, entry.code, entry.text


def _code(fault: Fault) -> str:
    return next((code for code, kind in _CODES.items() if kind is type(fault)), fault.code)


def _pause(entry: RestEntry) -> Pause | None:
    if not entry.code:
        return None
    kind = _CODES.get(entry.code)
    fault = SiteError(entry.text, code=entry.code) if kind is None else kind(entry.text)
    return Pause(entry.since, entry.until, fault)
