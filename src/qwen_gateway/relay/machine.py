"""What to do next in one turn: a state machine without I/O. It is told outcomes and answers with effects.

    Lease ──Leased──► OpenChat ──Opened──► Ask ──Completed──► Done
      ▲                  ▲                  │
      │                  │   Refused, nothing shown:
      │                  ├── log-in expired, first time ──► Refresh ──Refreshed──┐
      │                  ├── worth another try, first time, granted ─────────────┤
      │                  └───────────────────────────────────────────────────────┘
      └── this account refused, first time, another one is there, granted
                                            │ Refused otherwise, or anything shown ──► Fail

At most three questions are put to the upstream, and none after the first event that the client saw. A renewed log-in
needs no grant: it is due once in a token's life, not once in a storm.
"""

from collections.abc import Callable
from typing import assert_never

from msgspec import Struct

from qwen_gateway.turn.faults import (
    Blocked,
    Challenged,
    ChatLost,
    Crowded,
    Empty,
    Fault,
    Incomplete,
    LoginExpired,
    RateLimited,
    SiteError,
    Unreachable,
)

MOST_QUESTIONS = 3
RETRY_AFTER = 0.25
"""Seconds before a second try: long enough for a connection to be replaced, short enough not to be felt."""

_WORTH_ANOTHER_TRY = (Unreachable, Empty, Incomplete, ChatLost, SiteError)
OF_THE_ACCOUNT = (LoginExpired, Challenged, Blocked, RateLimited)


class Lease(Struct, frozen=True):
    """Take an account; another one than those before."""


class OpenChat(Struct, frozen=True):
    """Make a chat, `after` seconds from now."""

    after: float = 0.0


class Ask(Struct, frozen=True):
    chat_id: str


class Refresh(Struct, frozen=True):
    """Renew the session's access token."""


class Fail(Struct, frozen=True):
    fault: Fault


class Done(Struct, frozen=True):
    pass


Effect = Lease | OpenChat | Ask | Refresh | Fail | Done


class Leased(Struct, frozen=True):
    """can_refresh: the account's session can be renewed without a person."""

    can_refresh: bool


class Opened(Struct, frozen=True):
    chat_id: str


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


Outcome = Leased | Opened | Refreshed | Completed | Refused


class Machine:
    """One turn. Before a further try it asks `grant`: tries of all turns together are bounded."""

    def __init__(self, grant: Callable[[], bool]) -> None:
        self._grant = grant
        self._leased = False
        self._may_refresh = False
        self._may_retry = True
        self._may_change = True
        self._asked = 0

    def first(self) -> Effect:
        return Lease()

    def next(self, outcome: Outcome) -> Effect:
        if isinstance(outcome, Leased):
            self._leased = True
            self._may_refresh = outcome.can_refresh and self._may_change
            return OpenChat()
        if isinstance(outcome, Opened):
            self._asked += 1
            return Ask(outcome.chat_id)
        if isinstance(outcome, Refreshed):
            return OpenChat()
        if isinstance(outcome, Completed):
            return Done()
        if isinstance(outcome, Refused):
            return self._after(outcome)
        assert_never(outcome)

    def _after(self, refused: Refused) -> Effect:
        fault = refused.fault
        if refused.shown or not self._leased:
            return Fail(fault)
        if isinstance(fault, LoginExpired) and self._may_refresh:
            self._may_refresh = False
            return Refresh()
        if isinstance(fault, _WORTH_ANOTHER_TRY) and self._may_retry and self._grant():
            self._may_retry = False
            return OpenChat(RETRY_AFTER)
        may_change = self._may_change and self._asked < MOST_QUESTIONS and refused.others
        if may_change and _is_of_account(fault) and self._grant():
            # No refresh and no second try on the new one.
            self._may_change = self._may_retry = self._leased = False
            return Lease()
        return Fail(fault)


def _is_of_account(fault: Fault) -> bool:
    """Crowded is the wall that everyone meets: another account would only meet it too."""
    return isinstance(fault, OF_THE_ACCOUNT) and not isinstance(fault, Crowded)
