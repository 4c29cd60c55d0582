"""What the routes share: who may call, what may be called, and the bookkeeping around each request."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from qwen_gateway.relay.accounts import Accounts
from qwen_gateway.relay.allowance import Allowances
from qwen_gateway.relay.file_pieces import Pieces
from qwen_gateway.relay.file_ports import Spool
from qwen_gateway.relay.files import Files
from qwen_gateway.relay.models import Models
from qwen_gateway.relay.pool import Pool
from qwen_gateway.relay.ports import Ambient, Continuation
from qwen_gateway.relay.tickets import Tickets
from qwen_gateway.relay.turns import Turns
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.server.callers import Caller, Door
from qwen_gateway.server.form_parts import FormLimits
from qwen_gateway.server.guard import Guard
from qwen_gateway.server.paths import Scope
from qwen_gateway.turn.faults import Draining, Fault, Overloaded

BESIDE = 1024 * 1024
"""Bytes of a form beside its file."""


class Pace(Struct, frozen=True):
    """Bounds of one request: bytes of its body, seconds between signs of life, seconds to read what was written;
    and how many may run at the same time."""

    max_body: int
    heartbeat: float
    write_timeout: float
    max_in_flight: int


class Storage(Struct, frozen=True):
    """How the stores are. database, counters: why they do not answer, if they do not. unwritten: rows of usage that
    wait for the database."""

    database: Callable[[], Fault | None]
    counters: Callable[[], Fault | None]
    unwritten: Callable[[], int]


class Desk(Struct, frozen=True):
    """What takes files in. spool: room for those on their way."""

    spool: Spool
    files: Files
    pieces: Pieces
    tickets: Tickets

    def form_limits(self, field: str, largest: int | None = None) -> FormLimits:
        """Of a form with one file in it, in this field. largest: bytes of the file; `None`: what any may have."""
        most = self.files.largest if largest is None else min(largest, self.files.largest)
        return FormLimits(total=most + BESIDE, file=field)


class Service:
    def __init__(  # noqa: PLR0913 - the parts are joined here, once
        self,
        *,
        door: Door,
        guard: Guard,
        accounts: Accounts,
        allowances: Allowances,
        models: Models,
        turns: Turns,
        pace: Pace,
        continuation: Continuation,
        strict_params: bool,
        ambient: Ambient,
        observe: Callable[[TurnRecord], None],
        storage: Storage,
        desk: Desk,
    ) -> None:
        """continuation: of callers whose key does not say. strict_params: what cannot be honoured is refused
        and not ignored. observe: takes the record of each request that is over."""
        self.door, self.guard, self.accounts, self.allowances = door, guard, accounts, allowances
        self.models, self.turns, self.pace = models, turns, pace
        self.continuation: Continuation = continuation
        self.strict_params = strict_params
        self._ambient, self._observe = ambient, observe
        self.storage, self.desk = storage, desk
        self.in_flight = 0
        self.draining = False
        self.hang_up: Callable[[object], None] = lambda client: None
        """Cuts the connection of a client's address. The HTTP server gives it."""

    @property
    def warning(self) -> bytes:
        """What the owner should know of the sessions' ends, as a header takes it."""
        told = self.accounts.warned
        return told.encode("ascii", "replace") if told else b""

    def wake(self) -> None:
        """What accounts rested for is over, and so is what kept us from asking the site."""
        self.turns.health.wake()
        self.accounts.wake()

    def new_request_id(self) -> str:
        return "req_" + self._ambient.new_id().replace("-", "")

    def caller(self, scope: Scope) -> Caller:
        """Raises Forbidden, BadKey, LimitReached, StorageUnavailable."""
        headers = scope["headers"]
        self.guard.check(headers)
        client = scope["client"]
        return self.door.admit(headers, scope["path"], scope["query_string"], client[0] if client else None)

    def accounts_of(self, caller: Caller) -> Pool:
        """Raises BadKey."""
        return self.accounts.pool if caller.token is None else self.accounts.brought(caller.token)

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
        record.begun, record.at = time.monotonic(), self._ambient.now()
        try:
            yield
        finally:
            self.in_flight -= 1
            record.duration = time.monotonic() - record.begun
            self._observe(record)
