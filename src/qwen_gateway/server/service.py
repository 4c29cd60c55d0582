"""What the routes share: who may call, what may be called, and the bookkeeping around each request."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from qwen_gateway.relay.account import Account
from qwen_gateway.relay.accounts import Accounts
from qwen_gateway.relay.models import Models
from qwen_gateway.relay.run import Turns
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.server.callers import Caller, Door
from qwen_gateway.server.guard import Guard
from qwen_gateway.turn.faults import Draining, Overloaded


class Pace(Struct, frozen=True):
    """Bounds of one request: bytes of its body, seconds between signs of life, seconds to read what was written;
    and how many may run at the same time."""

    max_body: int
    heartbeat: float
    write_timeout: float
    max_in_flight: int


class Service:
    def __init__(  # noqa: PLR0913 - the parts are joined here, once
        self,
        *,
        door: Door,
        guard: Guard,
        accounts: Accounts,
        models: Models,
        turns: Turns,
        pace: Pace,
        new_id: Callable[[], str],
        observe: Callable[[TurnRecord], None],
    ) -> None:
        """observe: takes the record of each request that is over."""
        self.door, self.guard, self.accounts = door, guard, accounts
        self.models, self.turns, self.pace = models, turns, pace
        self._new_id, self._observe = new_id, observe
        self.in_flight = 0
        self.draining = False
        self.hang_up: Callable[[object], None] = lambda client: None
        """Cuts the connection of a client's address. The HTTP server gives it."""

    def new_request_id(self) -> str:
        return "req_" + self._new_id().replace("-", "")

    def account_of(self, caller: Caller) -> Account:
        """Raises NoAccount, BadKey."""
        if caller.token is not None:
            return self.accounts.brought(caller.token)
        return self.accounts.need_own()

    def admit(self) -> None:
        """Raises Draining and Overloaded."""
        if self.draining:
            raise Draining("The gateway is shutting down. Try again in a moment.", retry_after=5)
        if self.in_flight > self.pace.max_in_flight:
            raise Overloaded(
                f"The gateway already serves {self.pace.max_in_flight} requests. Try again in a moment.", retry_after=1
            )

    @contextmanager
    def watch(self, record: TurnRecord) -> Iterator[None]:
        """Counts the request while it runs, and hands on its record afterwards, whatever became of it."""
        self.in_flight += 1
        record.begun = time.monotonic()
        try:
            yield
        finally:
            self.in_flight -= 1
            record.duration = time.monotonic() - record.begun
            self._observe(record)
