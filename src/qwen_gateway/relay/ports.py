"""What the middle needs from the rim, and nothing about how it is done.

All store methods raise StorageUnavailable, within a few seconds, when the database does not answer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from qwen_gateway.turn.contracts import Moment
from qwen_gateway.turn.faults import Fault
from qwen_gateway.turn.flow import HttpCall, HttpReply
from qwen_gateway.turn.places import Node


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


class Secret(Struct, frozen=True):
    """Bytes that no log, error or repr may show."""

    value: bytes

    def __repr__(self) -> str:
        return "Secret(…)"


AccountState = Literal["unchecked", "valid", "expired", "challenged", "blocked", "unreachable", "unclear"]
"""What the last check found: what the site said of the session, never a guess."""


class Check(Struct, frozen=True):
    """The last check of an account. `at`: seconds since 1970. `text`: for people."""

    state: AccountState = "unchecked"
    at: float = 0.0
    text: str = ""


class StoredAccount(Struct, frozen=True):
    """An account of the owner's. Times in seconds since 1970.

    id: names it in logs and on disk (`accounts.session.Session.key`). name: what people call it, unique.
    session: what `Session.dump` gave. revision: raised by the store with each change of the session.
    source: `environment` for the account of the settings. origin: digest of the imported text, so that a fresh paste
    is told from the one whose cookies have been renewed since. undo: settings of the account at the site as they were
    before we changed some, as JSON.
    """

    id: str
    name: str
    session: Secret
    source: Literal["imported", "environment"] = "imported"
    origin: str = ""
    revision: int = 0
    paused: bool = False
    created_at: float = 0.0
    check: Check = Check()
    undo: bytes | None = None


class StoredPause(Struct, frozen=True):
    """Why an account (`what` is empty) or a model of it (`what` names it) rests. Times in seconds since 1970.

    code, text: of the fault. challenges: how many came without a success between.
    """

    account: str
    what: str
    since: float
    until: float
    code: str
    text: str
    challenges: int = 0


class AccountStore(Protocol):
    async def load(self) -> list[StoredAccount]:
        """All accounts that can be read, by `created_at`. One whose secrets cannot be decrypted is left out and logged;
        the others can serve meanwhile, and a fresh session under its id makes it whole. When there are accounts and
        none can be read, BadVault: then the key is wrong rather than a row."""
        ...

    async def put(self, account: StoredAccount) -> int:
        """Adds it, or replaces the one with this id. Returns its new revision. Raises NameTaken."""
        ...

    async def save_session(self, account_id: str, session: Secret, revision: int) -> int | None:
        """Stores a renewed session if `revision` is still the stored one; then returns the new revision, else `None`
        (another process was first, or the account is gone)."""
        ...

    async def set_paused(self, account_id: str, paused: bool) -> bool:
        """False when there is no such account; likewise below."""
        ...

    async def set_check(self, account_id: str, check: Check) -> bool: ...
    async def set_undo(self, account_id: str, undo: bytes | None) -> bool: ...
    async def remove(self, account_id: str) -> bool:
        """Its pauses go with it."""
        ...

    async def claim_refresh(self, account_id: str, owner: str, now: float, seconds: float) -> bool:
        """Whether `owner` may renew the session now: at most one of all processes, for at most `seconds`."""
        ...

    async def release_refresh(self, account_id: str, owner: str) -> None: ...
    async def pauses(self) -> list[StoredPause]: ...
    async def put_pause(self, pause: StoredPause) -> None:
        """Adds it, or replaces the one of this account and `what`."""
        ...

    async def clear_pauses(self, account_id: str) -> None: ...


Role = Literal["client", "viewer", "admin"]
"""client: may take turns. viewer: may also look at what the management API shows. admin: may also change it."""


Continuation = Literal["auto", "replay", "suffix"]
"""auto: goes on in the chat that holds exactly this conversation. replay: a new chat for each turn. suffix: like auto,
and where that finds nothing, in the one chat whose last question and answer are the same."""


class KeyRecord(Struct, frozen=True):
    """A key that clients call with. Times in seconds since 1970.

    id: its public part. digest: SHA-256 of the whole key. models: names or patterns (`qwen3*`) of models that it may
    use, endpoints: names of dialects (`openai_chat`) and `models`; none means all. `None` means no limit.
    continuation: `None` means as the gateway's setting says.
    """

    id: str
    digest: Secret
    name: str
    role: Role = "client"
    created_at: float = 0.0
    expires_at: float | None = None
    enabled: bool = True
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    concurrency: int | None = None
    tokens_per_day: int | None = None
    continuation: Continuation | None = None


class KeyStore(Protocol):
    async def load(self) -> list[KeyRecord]:
        """All keys, by `created_at`."""
        ...

    async def add(self, key: KeyRecord) -> None:
        """Raises NameTaken."""
        ...

    async def replace(self, key: KeyRecord) -> bool:
        """The one with this id. False when there is none. Raises NameTaken."""
        ...


class Revisions(Protocol):
    """How processes that share a database notice each other's changes."""

    async def read(self) -> dict[str, int]:
        """A number for each of `accounts`, `pauses` and `keys` that rises with every change of theirs."""
        ...


class Window(Struct, frozen=True):
    """Where a key stands within its requests per minute. reset: seconds until all of them are free again. wait: until
    one is; 0 while there are some."""

    allowed: bool
    remaining: int
    reset: float
    wait: float = 0.0


class Counters(Protocol):
    """Limits that may be forgotten at a restart. Each method is atomic over all processes that share the counters."""

    async def hit(self, key: str, per_minute: int) -> Window:
        """Counts a request, if it is still within the limit."""
        ...

    async def enter(self, key: str, seat: str, limit: int, seconds: float) -> bool:
        """Takes one of `limit` seats under a fresh name. One that is never given back is free after `seconds`."""
        ...

    async def leave(self, key: str, seat: str) -> None: ...


class Budgets(Protocol):
    """Tokens per key and day. They outlive a restart. day: whole days since 1970-01-01 UTC."""

    async def reserve(self, key: str, day: int, tokens: int, limit: int) -> int | None:
        """Adds `tokens` to what is used, if the sum stays within `limit`: then the sum, else `None` and nothing
        is added."""
        ...

    async def settle(self, key: str, day: int, change: int) -> None:
        """Adds what a request used more (or less, negative) than it had reserved. Never falls below zero.

        StorageUnavailable means: try again. It is raised when nothing was added, and also when that is unknown and
        `change` is positive, which may then count twice. A negative one of which it is unknown counts as made: a budget
        is rather too small than overspent.
        """
        ...

    async def used(self, day: int) -> dict[str, int]: ...


class UsageRow(Struct, frozen=True):
    """One accepted request, once it is over. Durations in seconds.

    at: its arrival, in seconds since 1970. key, account: ids, or empty. asked_model: as the client wrote it.
    endpoint: name of the dialect. status, end, code: as `relay.watch.TurnRecord` says. tokens: as the site counted
    them, or `estimated`. first_event: from arrival to the first piece of the answer. queued: waiting for an account.
    added: of `first_event` (or of `duration`, when nothing came) what was spent neither in the queue nor waiting for
    the site. calls: what became of the tool calls that the model tried, such as `bracket: ok=2 retried=1`.
    """

    id: str
    at: float
    key: str
    account: str
    model: str
    asked_model: str
    endpoint: str
    stream: bool
    status: int
    end: str
    code: str
    tries: int
    input: int
    output: int
    reasoning: int
    cached: int
    estimated: bool
    first_event: float | None
    duration: float
    queued: float
    added: float
    calls: str = ""


class UsageSink(Protocol):
    def add(self, row: UsageRow) -> None:
        """Takes a row to be written soon. Never waits and never raises."""
        ...


UsageBy = Literal["day", "key", "model", "account", "endpoint", "end"]


class UsageSum(Struct, frozen=True):
    """Sums over the rows that share `name`: a UTC date such as 2026-11-21, an id, a model, …"""

    name: str
    requests: int
    failed: int
    input: int
    output: int
    reasoning: int
    cached: int
    estimated: int
    """Requests whose tokens were estimated."""
    mean_first_event: float | None
    mean_added: float


class UsageQueries(Protocol):
    """since, until: seconds since 1970, `until` not included."""

    async def sums(self, by: UsageBy, since: float, until: float) -> list[UsageSum]:
        """By name for days, else the largest number of requests first; at most 1000."""
        ...

    async def rows(self, since: float, until: float, limit: int) -> Sequence[UsageRow]:
        """The newest first. limit: at most 1000."""
        ...


class KeptChat(Struct, frozen=True):
    """A chat of ours that stays at the site for a while, so that its conversation can go on there.

    account: key of the one it belongs to. tenant: whose conversation (`relay.conversations`). Times in seconds since
    1970; used: when it was last asked.
    """

    id: str
    account: str
    tenant: str
    created: float
    used: float


class Remembered(Struct, frozen=True):
    """An answer to remember, and what the chat that it stands in has become by it."""

    chat: KeptChat
    nodes: tuple[Node, ...]


NodeField = Literal["key", "likeness", "handle"]


class ConversationStore(Protocol):
    """Chats that are kept, and the places in them. Shared by all processes that share the database.

    A chat is held by one process at a time, for `seconds` after it last said so. owner: names a process. A chat that
    is marked to go is found no more, and stays in the store until `gone`: the site must have deleted it first.
    """

    async def find(self, field: NodeField, values: Sequence[bytes], owner: str, now: float) -> list[Node]:
        """Nodes in which `field` is one of `values` (at most 500), those of the chats used last first, at most 200.
        A node is busy when another owner holds its chat."""
        ...

    async def take(self, chat_id: str, owner: str, now: float, seconds: float) -> bool:
        """Holds the chat, unless another process does or it is marked to go."""
        ...

    async def hold(self, chat_ids: Sequence[str], owner: str, now: float, seconds: float) -> None:
        """Holds on to chats that this owner holds."""
        ...

    async def release(self, chat_ids: Sequence[str], owner: str) -> None: ...
    async def remember(self, answers: Sequence[Remembered]) -> None:
        """Adds nodes and chats, all or nothing; of a chat that is there, only `used` changes. Not for chats that are
        marked to go, whose nodes are left out. Adding the same again changes nothing."""
        ...

    async def knows(self, chat_ids: Sequence[str]) -> set[str]:
        """Those of them that are in the store, marked or not."""
        ...

    async def mark(self, chat_ids: Sequence[str]) -> None:
        """They are to go. Their nodes are removed."""
        ...

    async def mark_tenant(self, tenant: str) -> int:
        """All chats of the tenant are to go. How many were marked."""
        ...

    async def mark_old(self, *, used_before: float, created_before: float, most: int, now: float) -> int:
        """Marks chats that were last used or were made before then, and of each account all but the `most` used last;
        never one that is held. At most 500 at once. How many were marked."""
        ...

    async def claim_marked(
        self, accounts: Sequence[str], owner: str, now: float, seconds: float, most: int
    ) -> list[KeptChat]:
        """Up to `most` marked chats of these accounts, which for `seconds` nobody else gets."""
        ...

    async def gone(self, chat_ids: Sequence[str]) -> None:
        """The site has deleted them, or they are not to be deleted: they leave the store with all their nodes."""
        ...

    async def count(self) -> dict[str, int]:
        """Chats by account that are not marked, for status pages; under `""` those that are marked."""
        ...


class TokenCounter(Protocol):
    """Counts tokens as a model does, or about so."""

    async def ready(self, model: str) -> None:
        """Returns when `count` counts as exactly for this model as it ever will."""
        ...

    def count(self, model: str, text: str) -> int: ...


class Ambient(Struct, frozen=True):
    """Clock and randomness. `now`: seconds since 1970. `new_id`: a fresh UUID."""

    now: Callable[[], float]
    new_id: Callable[[], str]

    def moment(self) -> Moment:
        return Moment(self.now(), self.new_id())
