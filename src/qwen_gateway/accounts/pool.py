"""Which account a turn gets, and what to say when it gets none."""

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from qwen_gateway.turn.faults import (
    Blocked,
    Challenged,
    Crowded,
    Fault,
    GatewayFault,
    LoginExpired,
    NoAccount,
    RateLimited,
    Throttled,
)

_REASONS: tuple[tuple[type[Fault], str, str], ...] = (
    # the first that fits; for one account and for several
    (Crowded, "is turned away because the site is crowded", "are turned away because the site is crowded"),
    (Challenged, "waits for a human check", "wait for a human check"),
    (Throttled, "was asked to slow down", "were asked to slow down"),
    (RateLimited, "has used up today's limit of this model", "have used up today's limit of this model"),
    (LoginExpired, "needs a new login", "need a new login"),
    (Blocked, "is blocked by the site", "are blocked by the site"),
    (NoAccount, "is paused by its owner", "are paused by their owner"),
    (Fault, "cannot be used", "cannot be used"),
)
_TRIED = ("has just been tried", "have just been tried")


class Candidate(Struct, frozen=True):
    """An account as it is now. busy of seats: turns that run. ready_at: when its pace lets a turn begin. last_used: in
    seconds since 1970. fault: why it cannot be used, with `retry_after` where that passes by itself."""

    key: str
    busy: int
    seats: int
    ready_at: float
    last_used: float
    fault: Fault | None = None


class Take(Struct, frozen=True):
    key: str


class Wait(Struct, frozen=True):
    """An account can be used, but not at once. until: when a pace lets a turn begin; `None` when a seat must get
    free."""

    until: float | None


class Nobody(Struct, frozen=True):
    fault: Fault


def choose(
    candidates: Sequence[Candidate],
    now: float,
    *,
    excluded: frozenset[str] = frozenset(),
) -> Take | Wait | Nobody:
    """The least busy account, else the one longest unused, of those that can begin at once.

    excluded: keys of accounts that this turn has tried.
    """
    usable = [one for one in candidates if one.fault is None and one.key not in excluded]
    if not usable:
        return Nobody(_nobody(candidates, excluded))
    seated = [one for one in usable if one.busy < one.seats]
    ready = [one for one in seated if one.ready_at <= now]
    if ready:
        best = min(ready, key=lambda one: (one.busy, one.last_used, one.key))
        return Take(best.key)
    return Wait(min((one.ready_at for one in seated), default=None))


def _nobody(candidates: Sequence[Candidate], excluded: frozenset[str]) -> Fault:
    """The fault that passes soonest, and in words what is the matter with each account."""
    faults = [one.fault for one in candidates if one.fault is not None]
    if not faults:
        text = "Every account has been tried." if excluded and candidates else "No Qwen account is connected."
        return NoAccount(text)
    soonest = min(faults, key=_order)
    if len(candidates) == 1:
        return soonest
    tried = len(candidates) - len(faults)
    text = f"All {len(candidates)} accounts rest: {_summary(faults, tried)}."
    if soonest.retry_after is not None and not _needs_person(soonest):
        text += f" The first is asked again in {span(soonest.retry_after)}."
    return type(soonest)(text, code=soonest.code, retry_after=soonest.retry_after)


def _needs_person(fault: Fault) -> bool:
    return isinstance(fault, (LoginExpired, GatewayFault))


def _order(fault: Fault) -> tuple[bool, float]:
    return _needs_person(fault), float("inf") if fault.retry_after is None else fault.retry_after


def _summary(faults: Sequence[Fault], tried: int) -> str:
    reasons = Counter(next((one, many) for kind, one, many in _REASONS if isinstance(fault, kind)) for fault in faults)
    if tried:
        reasons[_TRIED] = tried
    return ", ".join(f"{count} {one if count == 1 else many}" for (one, many), count in reasons.most_common())


def span(seconds: float) -> str:
    """A time as a person would say it, never shorter than it is by much."""
    if seconds < 120:
        return f"{max(1.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
