"""What to do next in one turn: a state machine without I/O. It is told outcomes and answers with effects.

    OpenChat ──Opened──► Ask ──Completed──► Done
       ▲                  │
       │   Refused, nothing shown:
       ├── log-in expired, first time ──► Refresh ──Refreshed──┐
       ├── worth another try, first time ──────────────────────┤
       └────────────────────────────────────────────────────────┘
                          │ Refused otherwise, or anything shown ──► Fail

At most three questions are put to the upstream, and none after the first event that the client saw.
"""

from typing import assert_never

from msgspec import Struct

from qwen_gateway.turn.faults import ChatLost, Empty, Fault, Incomplete, LoginExpired, SiteError, Unreachable

RETRY_AFTER = 0.25
"""Seconds before a second try: long enough for a connection to be replaced, short enough not to be felt."""

_WORTH_ANOTHER_TRY = (Unreachable, Empty, Incomplete, ChatLost, SiteError)


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


Effect = OpenChat | Ask | Refresh | Fail | Done


class Opened(Struct, frozen=True):
    chat_id: str


class Refreshed(Struct, frozen=True):
    pass


class Completed(Struct, frozen=True):
    pass


class Refused(Struct, frozen=True):
    """The step failed. `shown`: the client has already seen something of the answer."""

    fault: Fault
    shown: bool = False


Outcome = Opened | Refreshed | Completed | Refused


class Machine:
    """One turn. `can_refresh`: the account's session can be renewed without a person."""

    def __init__(self, *, can_refresh: bool) -> None:
        self._may_refresh = can_refresh
        self._may_retry = True

    def first(self) -> Effect:
        return OpenChat()

    def next(self, outcome: Outcome) -> Effect:
        if isinstance(outcome, Opened):
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
        if refused.shown:
            return Fail(fault)
        if isinstance(fault, LoginExpired) and self._may_refresh:
            self._may_refresh = False
            return Refresh()
        if isinstance(fault, _WORTH_ANOTHER_TRY) and self._may_retry:
            self._may_retry = False
            return OpenChat(RETRY_AFTER)
        return Fail(fault)
