"""What to do next in one turn: a state machine without I/O. It is told outcomes and answers with effects.

    Lease ──Leased──► Enter ─────Opened──► Ask ──Completed──► Done        goes on in a chat that knows the conversation
      │                 │   refused           │
      │                 ▼                     ▼
      │               Replay(why) ──Replanned──► OpenChat, on this account or on another one
      │
    Lease ──Leased──► OpenChat ──Opened──► Ask ──Completed──► Done        tells all of it in a new chat
      ▲                  ▲                  │
      │                  │   Refused, nothing shown:
      │                  ├── log-in expired, first time ──► Refresh ──Refreshed──┐
      │                  ├── worth another try, first time, granted ─────────────┤
      │                  └───────────────────────────────────────────────────────┘
      └── this account refused, first time, another one is there, granted
                                            │ Refused otherwise, or anything shown ──► Fail

At most three questions are put to the upstream, and none after the first event that the client saw, but for one: where
the model's answer does not fit, the same question is put again with a note, beside the first one. What needs no
grant: a renewed log-in, due once in a token's life; a chat that is gone or busy, which is no sign of a site in need.
"""

from collections.abc import Callable
from typing import assert_never

from msgspec import Struct

from qwen_gateway.turn.faults import (
    Blocked,
    Challenged,
    ChatBusy,
    ChatLost,
    Crowded,
    Drift,
    Empty,
    Fault,
    Incomplete,
    LoginExpired,
    NoAccount,
    Overloaded,
    RateLimited,
    SiteError,
    StorageUnavailable,
    Unfit,
    Unreachable,
)
from qwen_gateway.turn.places import Place

MOST_QUESTIONS = 3
RETRY_AFTER = 0.25
"""Seconds before a second try: long enough for a connection to be replaced, short enough not to be felt."""
BUSY_WAITS = (2.0, 3.0)
"""Seconds before a busy chat is asked again: an abandoned answer ends 2 to 5 s after it was stopped (2026-09)."""

_WORTH_ANOTHER_TRY = (Unreachable, Empty, Incomplete, ChatLost, SiteError)
OF_THE_ACCOUNT = (LoginExpired, Challenged, Blocked, RateLimited)


class Lease(Struct, frozen=True):
    """Take an account: the one whose chat knows the conversation, or another one than those before."""

    going_on: bool = False


class Enter(Struct, frozen=True):
    """Take the next chat that knows the conversation. again: the same one, which was busy: stop what it does and wait
    for so many seconds."""

    again: bool = False
    after: float = 0.0


class Replay(Struct, frozen=True):
    """Tell the whole conversation in a new chat. why: a word for people."""

    why: str


class OpenChat(Struct, frozen=True):
    """Make a chat, `after` seconds from now."""

    after: float = 0.0


class Ask(Struct, frozen=True):
    place: Place


class Refresh(Struct, frozen=True):
    """Renew the session's access token."""


class Fail(Struct, frozen=True):
    fault: Fault


class Done(Struct, frozen=True):
    pass


Effect = Lease | Enter | Replay | OpenChat | Ask | Refresh | Fail | Done


class Leased(Struct, frozen=True):
    """can_refresh: the account's session can be renewed without a person."""

    can_refresh: bool


class Opened(Struct, frozen=True):
    place: Place


class Replanned(Struct, frozen=True):
    """From now on the whole conversation is told. Where it is too long for that, the outcome is `Refused`."""


class Refreshed(Struct, frozen=True):
    pass


class Completed(Struct, frozen=True):
    pass


class Refused(Struct, frozen=True):
    """The step failed. shown: the client has already seen something of the answer. others: another account could take
    the turn."""

    fault: Fault
    shown: bool = False
    others: bool = False


Outcome = Leased | Opened | Replanned | Refreshed | Completed | Refused


class Machine:
    """One turn. Before a further try it asks `grant`: tries of all turns together are bounded. going_on: there is a
    chat that knows the conversation."""

    def __init__(self, grant: Callable[[], bool], *, going_on: bool = False) -> None:
        self._grant = grant
        self._going_on = going_on
        self._leased = False
        self._entering = False
        self._may_refresh = False
        self._may_retry = True
        self._may_change = True
        self._asked = 0
        self._waits = list(BUSY_WAITS)
        self._cause: Fault | None = None  # for which the conversation is being told anew
        self._then: Effect = OpenChat()

    def first(self) -> Effect:
        return Lease(self._going_on)

    def next(self, outcome: Outcome) -> Effect:
        if isinstance(outcome, Leased):
            self._leased = True
            self._may_refresh = outcome.can_refresh and self._may_change
            return self._begin()
        if isinstance(outcome, Opened):
            self._asked += 1
            self._entering = False
            return Ask(outcome.place)
        if isinstance(outcome, Replanned):
            self._going_on, self._cause = False, None
            self._leased = self._leased and not isinstance(self._then, Lease)
            return self._then
        if isinstance(outcome, Refreshed):
            return self._begin()
        if isinstance(outcome, Completed):
            return Done()
        if isinstance(outcome, Refused):
            return self._refused(outcome)
        assert_never(outcome)

    def _refused(self, refused: Refused) -> Effect:
        if self._cause is not None:
            return self._too_long(self._cause, refused.fault)
        fault = refused.fault
        if isinstance(fault, Unfit) and fault.hint is not None and self._asked < MOST_QUESTIONS:
            return Enter(again=True) if self._going_on else OpenChat()
        if refused.shown or self._asked >= MOST_QUESTIONS:
            return Fail(fault)
        if self._leased and isinstance(fault, LoginExpired) and self._may_refresh:
            self._may_refresh = False
            return Refresh()
        return self._instead(refused) if self._going_on else self._after(refused)

    def _begin(self) -> Effect:
        self._entering = self._going_on
        return Enter() if self._going_on else OpenChat()

    def _instead(self, refused: Refused) -> Effect:
        """The conversation cannot go on where it stands."""
        fault = refused.fault
        if not self._leased:
            return self._without_account(refused)
        if isinstance(fault, ChatBusy) and not self._entering and self._asked < MOST_QUESTIONS - 1:
            self._entering = True
            return Enter()
        if (why := _of_chat(fault)) is not None:
            return self._replay(why, fault, OpenChat())
        if _is_of_account(fault) and self._may_change and refused.others and self._grant():
            self._may_change = self._may_retry = False
            return self._replay("account", fault, Lease())
        # Also what is not understood: it may mean, in words of a newer site, that the chat is gone.
        if isinstance(fault, (*_WORTH_ANOTHER_TRY, Drift)) and self._grant():
            self._may_retry = False
            return self._replay("empty" if isinstance(fault, Empty) else "failed", fault, OpenChat(RETRY_AFTER))
        return Fail(fault)

    def _without_account(self, refused: Refused) -> Effect:
        fault = refused.fault
        crowded = isinstance(fault, Overloaded) and refused.others
        if crowded or isinstance(fault, (*OF_THE_ACCOUNT, NoAccount)):
            return self._replay("account", fault, Lease())
        return Fail(fault)

    def _replay(self, why: str, cause: Fault, then: Effect) -> Effect:
        self._cause, self._then = cause, then
        return Replay(why)

    def _too_long(self, cause: Fault, fault: Fault) -> Effect:
        """It cannot be told anew either. Only a busy chat is worth waiting for."""
        self._cause = None
        if isinstance(cause, ChatBusy) and self._waits:
            self._entering = True
            return Enter(again=True, after=self._waits.pop(0))
        return Fail(fault if isinstance(cause, ChatLost) else cause)

    def _after(self, refused: Refused) -> Effect:
        fault = refused.fault
        if not self._leased:
            return Fail(fault)
        if isinstance(fault, _WORTH_ANOTHER_TRY) and self._may_retry and self._grant():
            self._may_retry = False
            return OpenChat(RETRY_AFTER)
        may_change = self._may_change and refused.others
        if may_change and _is_of_account(fault) and self._grant():
            # No refresh and no second try on the new one.
            self._may_change = self._may_retry = self._leased = False
            return Lease()
        return Fail(fault)


def _of_chat(fault: Fault) -> str | None:
    """Why another chat does as well, if it does: the site is none the worse for it."""
    if isinstance(fault, ChatBusy):
        return "busy"
    if isinstance(fault, StorageUnavailable):
        return "store"
    return "lost" if isinstance(fault, ChatLost) else None


def _is_of_account(fault: Fault) -> bool:
    """Crowded is the wall that everyone meets: another account would only meet it too."""
    return isinstance(fault, OF_THE_ACCOUNT) and not isinstance(fault, Crowded)
