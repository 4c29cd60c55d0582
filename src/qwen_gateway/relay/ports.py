"""What the middle needs from the rim, and nothing about how it is done."""

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from qwen_gateway.turn.contracts import Moment
from qwen_gateway.turn.faults import Fault
from qwen_gateway.turn.flow import HttpCall, HttpReply


class StreamedReply(Protocol):
    """A reply whose body is still coming."""

    status: int
    headers: Mapping[str, str]
    set_cookies: tuple[str, ...]

    async def read(self) -> bytes:
        """What has come since, at least one byte; empty at the end. Raises Incomplete when the body breaks off."""
        ...

    def abort(self, fault: Fault) -> None:
        """The `read` that waits, and any later one, raises `fault`."""
        ...

    def close(self) -> None:
        """Gives the connection back, or closes it when the body was not read to its end."""
        ...


class Transport(Protocol):
    """Sends calls. Raises Unreachable and TimedOut."""

    async def send(self, call: HttpCall, seconds: float) -> HttpReply: ...
    async def open(self, call: HttpCall, seconds: float) -> StreamedReply:
        """Returns when the reply's head has come, at most `seconds` after the call. The caller closes the reply."""
        ...


class ChatRecord(Struct, frozen=True):
    """A chat that we made, or are about to make, and that must go away again.

    title: the name it is made with, unlike any other; how it is found if its id never reached us.
    account: key of the account it belongs to. due: when to delete it, in seconds since 1970.
    """

    title: str
    account: str
    chat_id: str | None
    due: float


class ChatJournal(Protocol):
    """Remembers chats to delete, also across a crash of this process."""

    def put(self, record: ChatRecord) -> None:
        """Adds or replaces the record with this title. Returns when a crash of the process cannot lose it."""
        ...

    def remove(self, title: str) -> None: ...
    def records(self) -> list[ChatRecord]: ...


class Ambient(Struct, frozen=True):
    """Clock and randomness. `now`: seconds since 1970. `new_id`: a fresh UUID."""

    now: Callable[[], float]
    new_id: Callable[[], str]

    def moment(self) -> Moment:
        return Moment(self.now(), self.new_id())
