"""What a dialect and an upstream must offer. Modules and objects are checked against these by mypy."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from msgspec import Raw, Struct

from qwen_gateway.turn.catalog import Catalog
from qwen_gateway.turn.events import Event, Usage
from qwen_gateway.turn.faults import Fault
from qwen_gateway.turn.files import Content, Facts, Kind, SiteFile, Ticket
from qwen_gateway.turn.flow import Flow, HttpCall
from qwen_gateway.turn.places import Place, StoredMessage
from qwen_gateway.turn.prompt import Prompt
from qwen_gateway.turn.reply import Reply
from qwen_gateway.turn.request import TurnRequest


class FormFile(Struct, frozen=True):
    """A file of a form. name: its last part, without folders. media_type: in lower case, without parameters."""

    field: str
    name: str
    media_type: str
    content: Content


class Form(Struct, frozen=True):
    """A body of `multipart/form-data`, in the order sent."""

    fields: tuple[tuple[str, str], ...]
    files: tuple[FormFile, ...]


class Incoming(Struct, frozen=True):
    """A request as it came. `headers` in the order sent, names in lower case. form: in place of `body`, for a route
    that takes forms (`TakesForms`)."""

    path: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes = b""
    form: Form | None = None


class ReplyHead(Struct, frozen=True):
    """What a dialect's answer says of itself: an id that stays the same (letters and digits; the dialect puts its own
    mark before it), seconds since 1970, the serving model."""

    id: str
    created: int
    model: str


class Writer(Protocol):
    """Events → bytes of one streamed answer. Each call returns whole records, ready to be sent."""

    def feed(self, events: Sequence[Event]) -> bytes: ...
    def fail(self, fault: Fault) -> bytes:
        """The dialect's own end of a broken stream. Never looks like a success."""
        ...


class Dialect(Protocol):
    """A client API. Stateless; a module satisfies it."""

    @property
    def name(self) -> str: ...
    @property
    def routes(self) -> tuple[str, ...]:
        """Paths that take a turn by POST, such as `/v1/chat/completions`."""
        ...

    @property
    def stream_type(self) -> str:
        """Content type of a streamed answer."""
        ...

    @property
    def heartbeat(self) -> bytes:
        """Bytes that a client of this dialect ignores, sent while nothing else is."""
        ...

    def read(self, incoming: Incoming) -> TurnRequest:
        """Raises InvalidRequest that names the parameter."""
        ...

    def writer(self, request: TurnRequest, head: ReplyHead) -> Writer: ...
    def whole(self, request: TurnRequest, head: ReplyHead, reply: Reply) -> bytes: ...
    def refusal(self, fault: Fault) -> bytes: ...


class ChoicesWriter(Protocol):
    """Events → bytes of one streamed answer that holds several choices."""

    def feed(self, choice: int, events: Sequence[Event]) -> bytes: ...
    def finish(self, usage: Usage) -> bytes:
        """The end, once each choice has finished. usage: of all of them together."""
        ...

    def fail(self, fault: Fault) -> bytes: ...


@runtime_checkable
class Several(Protocol):
    """What a dialect offers whose requests can want several choices (`TurnRequest.choices`)."""

    def choices_writer(self, request: TurnRequest, head: ReplyHead) -> ChoicesWriter: ...
    def choices_whole(self, request: TurnRequest, head: ReplyHead, replies: Sequence[Reply]) -> bytes: ...


class FormRoute(Struct, frozen=True):
    """A route that takes a form with one file in it. field: the file's. largest: bytes of the file; `None`: what any
    file may have."""

    field: str
    largest: int | None = None


@runtime_checkable
class TakesForms(Protocol):
    """What a dialect offers some of whose routes take forms."""

    @property
    def forms(self) -> Mapping[str, FormRoute]:
        """Those of its routes that take `multipart/form-data`, and nothing else, by path."""
        ...


class Identity(Protocol):
    """An account's session, as far as an upstream needs to see it to write headers."""

    @property
    def cookie_header(self) -> str: ...
    @property
    def bearer(self) -> str | None: ...
    @property
    def user_agent(self) -> str | None: ...


class Moment(Struct, frozen=True):
    """The clock and the randomness of one call, so that what uses them stays pure."""

    now: float
    """Seconds since 1970."""
    request_id: str
    """A fresh UUID."""


class Decoder(Protocol):
    """Bytes of one streamed answer → events. The same events for any cut of the bytes."""

    @property
    def settled(self) -> bool:
        """The answer is whole; only the end of the stream is missing."""
        ...

    @property
    def has_usage(self) -> bool:
        """The upstream has given token figures so far, so none need to be estimated."""
        ...

    def feed(self, data: bytes) -> list[Event]: ...
    def close(self) -> list[Event]: ...


class Question(Struct, frozen=True):
    """A prompt with the part of the work done that is the same for every try. `text`: its text as JSON."""

    prompt: Prompt
    text: Raw


class Tokens(Struct, frozen=True):
    """A refreshed session. `expires_at` in seconds since 1970."""

    access_token: str
    refresh_token: str | None = None
    expires_at: float | None = None

    def __repr__(self) -> str:
        return "Tokens(…)"


class User(Struct, frozen=True):
    """Who the site says that a session belongs to."""

    id: str
    name: str
    email: str


class Upstream(Protocol):
    """A site that answers. Pure: says what to send and understands what comes back."""

    @property
    def name(self) -> str: ...
    def open_chat(self, who: Identity, at: Moment, prompt: Prompt, title: str) -> Flow[str]:
        """Makes a place for the answer. Returns its id."""
        ...

    def question(self, prompt: Prompt, files: int = 0) -> Question:
        """The prompt made ready to be asked, once per turn. files: how many will be attached. Raises ContextTooLong
        when it is larger than the site takes."""
        ...

    def room(self, files: int) -> int:
        """Bytes that the text of a question with so many files may have, as JSON."""
        ...

    def ask(
        self, who: Identity, at: Moment, place: Place, question: Question, files: Sequence[SiteFile] = ()
    ) -> HttpCall: ...

    def decoder(self, chat_id: str) -> Decoder: ...
    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> Fault | None:
        """The fault that a reply other than a stream stands for. `None`: no fault to be seen."""
        ...

    def is_stream(self, status: int, headers: Mapping[str, str]) -> bool: ...
    def stop(self, who: Identity, at: Moment, chat_id: str, answer_id: str | None) -> Flow[None]: ...
    def discard(self, who: Identity, at: Moment, chat_id: str) -> Flow[None]: ...
    def read_chat(self, who: Identity, at: Moment, chat_id: str) -> Flow[dict[str, StoredMessage]]:
        """All messages of the chat, by id. Raises ChatLost."""
        ...

    def find_titled(self, who: Identity, at: Moment, title: str) -> Flow[str | None]:
        """The id of the chat with exactly this title, among the newest ones."""
        ...

    def models(self, who: Identity, at: Moment) -> Flow[Catalog]: ...
    @property
    def parses(self) -> frozenset[Kind]:
        """Kinds of files that have to be parsed before a question can name them."""
        ...

    def ticket(self, who: Identity, at: Moment, file: Facts) -> Flow[Ticket]:
        """Leave to put a file into the site's storage. Raises Throttled when there were too many of late."""
        ...

    def parse(self, who: Identity, at: Moment, file_id: str) -> Flow[None]:
        """Has the site begin to read a file that was put there."""
        ...

    def is_parsed(self, who: Identity, at: Moment, file_id: str) -> Flow[bool]:
        """Whether it has read the file. Raises InvalidRequest when it cannot, and SiteError when it cannot read any."""
        ...

    def site_file(self, ticket: Ticket, file: Facts, at: Moment) -> SiteFile:
        """How questions of this account name a file that was put there."""
        ...

    def refresh(self, who: Identity, at: Moment) -> Flow[Tokens]: ...
    def whoami(self, who: Identity, at: Moment) -> Flow[User]:
        """The user whose session it is: a user object, never concluded from a status. Raises LoginExpired,
        Challenged, Blocked and what else the site says."""
        ...

    def settings(self, who: Identity, at: Moment) -> Flow[dict[str, Any]]:
        """The account's settings at the site, in the site's own words."""
        ...

    def change_settings(self, who: Identity, at: Moment, changes: dict[str, Any]) -> Flow[dict[str, Any]]:
        """Merges `changes` into the account's settings. Returns all of them as they are then."""
        ...
