"""The ports and a site, faked: what comes is scripted, and what was done is written into one log, in its order."""

import asyncio
import base64
import contextlib
import itertools
import json
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Raw, structs

from qwen_gateway.accounts.credential import Credential
from qwen_gateway.accounts.pace import Pace
from qwen_gateway.accounts.rest import Rest, Resting
from qwen_gateway.accounts.session import Session
from qwen_gateway.history.pack import ToolWords
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.chats import Chats, DeletePolicy
from qwen_gateway.relay.keeper import Keeper
from qwen_gateway.relay.path import Knows
from qwen_gateway.relay.pool import Pool, Queue
from qwen_gateway.relay.ports import (
    AccountStore,
    Ambient,
    ChatJournal,
    ChatRecord,
    Check,
    Secret,
    StoredAccount,
    StoredPause,
    StreamedReply,
    Transport,
)
from qwen_gateway.relay.renewal import Renewal
from qwen_gateway.turn.catalog import Catalog, Model
from qwen_gateway.turn.contracts import Decoder, Identity, Moment, Question, Tokens, Upstream, User
from qwen_gateway.turn.events import Began, Event, Failed, Finished, Reasoning, Text, Usage
from qwen_gateway.turn.faults import ContextTooLong, Empty, Fault, Incomplete, NameTaken, StorageUnavailable
from qwen_gateway.turn.files import Facts, Kind, SiteFile, Ticket
from qwen_gateway.turn.flow import Flow, HttpCall, HttpReply
from qwen_gateway.turn.places import Place, StoredMessage
from qwen_gateway.turn.prompt import Prompt
from qwen_gateway.turn.request import Thinking

from .conversation_fakes import FakeConversationStore

NOON = 1_000_000.0
"""What the fake clock shows at first, in seconds since 1970."""
SILENCE = 3600.0
"""Longer than any test."""

SWITCH = Model(id="q-switch", name="Switch", search=True)
ALWAYS = Model(id="q-always", name="Always", thinking="always")
NEVER = Model(id="q-never", name="Never", thinking="never")
CATALOG = Catalog((SWITCH, ALWAYS, NEVER))
PROMPT = Prompt("Say something.", SWITCH.id, Thinking("off"), search=False)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def ambient(self) -> Ambient:
        ids = itertools.count(1)
        return Ambient(lambda: self.now, lambda: f"id-{next(ids)}")


class Timers:
    """Stands in for the loop's `call_later`; nothing fires before `advance`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: list[tuple[float, Callable[..., object], tuple[Any, ...]]] = []

    def call_later(self, wait: float, call: Callable[..., object], *args: Any) -> None:
        self._waiting.append((self._clock.now + wait, call, args))

    @property
    def waits(self) -> list[float]:
        """Seconds from now at which something fires."""
        return sorted(when - self._clock.now for when, _, _ in self._waiting)

    async def advance(self, seconds: float) -> None:
        """Lets the time pass and everything happen that it makes due."""
        end = self._clock.now + seconds
        await settle()
        for _ in range(1000):
            due = min(self._waiting, key=lambda one: one[0], default=None)
            if due is None or due[0] > end:
                break
            self._waiting.remove(due)
            self._clock.now = max(self._clock.now, due[0])
            due[1](*due[2])
            await settle()
        self._clock.now = end


async def settle() -> None:
    """Lets every task go on until it waits for something that is not there yet."""
    for _ in range(60):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


Part = bytes | Fault | float


class Reply:
    """Satisfies `StreamedReply`. parts: bytes come, a fault breaks the body, a number is a silence."""

    def __init__(
        self,
        *parts: Part,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        set_cookies: tuple[str, ...] = (),
    ) -> None:
        self.status, self.set_cookies = status, set_cookies
        self.headers: Mapping[str, str] = headers if headers is not None else {"content-type": "text/event-stream"}
        self._parts = deque(parts)
        self._aborted: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.reads = 0
        self.closed = False
        self.fault: Fault | None = None

    async def read(self) -> bytes:
        self.reads += 1
        while True:
            if self.fault is not None:
                raise self.fault
            part = self._parts.popleft() if self._parts else b""
            if isinstance(part, bytes):
                return part
            if isinstance(part, Fault):
                raise part
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._aborted), part)

    def abort(self, fault: Fault) -> None:
        self.fault = self.fault or fault
        if not self._aborted.done():
            self._aborted.set_result(b"")

    def close(self) -> None:
        self.closed = True


class Net:
    """Satisfies `Transport`. Calls are named by the last-but-one part of their address, such as `delete`.

    log: what was done, oldest first. replies: to questions, in turn. breaks: faults of the next calls of a name.
    holds: calls of a name wait for the event. cookies: set by the next whole reply.
    """

    def __init__(self, log: list[str] | None = None) -> None:
        self.log: list[str] = [] if log is None else log
        self.replies: deque[StreamedReply | Fault] = deque()
        self.breaks: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.holds: dict[str, asyncio.Event] = {}
        self.cookies: tuple[str, ...] = ()
        self.seconds: dict[str, float] = {}

    def count(self, name: str) -> int:
        return sum(entry.split()[0] == name for entry in self.log)

    async def send(self, call: HttpCall, seconds: float) -> HttpReply:
        name = await self._take(call, seconds)
        if self.breaks[name]:
            raise self.breaks[name].popleft()
        cookies, self.cookies = self.cookies, ()
        return HttpReply(200, {}, b"", cookies)

    async def open(self, call: HttpCall, seconds: float) -> StreamedReply:
        await self._take(call, seconds)
        reply = self.replies.popleft()
        if isinstance(reply, Fault):
            raise reply
        return reply

    async def _take(self, call: HttpCall, seconds: float) -> str:
        *_, name, argument = call.url.split("/")
        self.log.append(f"{name} {argument}")
        self.seconds[name] = seconds
        if name in self.holds:
            await self.holds[name].wait()
        return name


class Words:
    """Satisfies `Decoder`. One word a line: `began`, `text:…`, `think:…`, `usage:1,2`, `end`; the rest is a comment."""

    def __init__(self, chat_id: str) -> None:
        self._chat_id = chat_id
        self._usage: Usage | None = None
        self._spoke = self._over = False
        self.settled = False

    @property
    def has_usage(self) -> bool:
        return self._usage is not None

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        for line in data.decode().splitlines():
            word, _, rest = line.removeprefix("data:").partition(":")
            if word == "began":
                events.append(Began(self._chat_id, f"answer-in-{self._chat_id}"))
            elif word == "text":
                events.append(Text(rest))
                self._spoke = True
            elif word == "think":
                events.append(Reasoning(rest))
                self._spoke = True
            elif word == "usage":
                given, made = rest.split(",")
                self._usage = Usage(int(given), int(made))
            elif word == "end":
                self.settled = True
        return events

    def close(self) -> list[Event]:
        if self._over:
            return []
        self._over = True
        usage: list[Event] = [self._usage] if self._usage is not None else []
        if self.settled:
            return [*usage, Finished()]
        return [*usage, Failed(Incomplete("broke off") if self._spoke else Empty("nothing came"))]


class Site:
    """Satisfies `Upstream`. says: faults that the flows of a name raise after their next replies. stored: what it has
    kept of each chat. asked, attached: the questions, and the files of each. longest: bytes that a question may have.
    unparsed: so many looks at a document find it unread."""

    name = "fake"
    parses: frozenset[Kind] = frozenset({"document"})

    def __init__(self) -> None:
        self.says: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.titled: dict[str, str] = {}
        self.stored: defaultdict[str, list[StoredMessage]] = defaultdict(list)
        self.refuses: Fault | None = None
        self.fresh = Tokens("fresh.access.token")
        self.user = User("u", "Some One", "someone@example.invalid")
        self.set: dict[str, Any] = {}
        self.asked: list[Question] = []
        self.attached: list[tuple[SiteFile, ...]] = []
        self.longest = 10_000_000
        self.unparsed = 0
        self._uploads = itertools.count(1)
        self._chats = itertools.count(1)

    def open_chat(self, who: Identity, at: Moment, prompt: Prompt, title: str) -> Flow[str]:
        yield from self._call("new", title)
        chat_id = f"chat-{next(self._chats)}"
        self.titled[title] = chat_id
        return chat_id

    def question(self, prompt: Prompt, files: int = 0) -> Question:
        text = Raw(json.dumps(prompt.text).encode())
        if len(bytes(text)) > self.room(files):
            raise ContextTooLong("The conversation is too long for the site.", param="messages")
        return Question(prompt, text)

    def room(self, files: int) -> int:
        return self.longest - 1_000 * files

    def ask(
        self, who: Identity, at: Moment, place: Place, question: Question, files: Sequence[SiteFile] = ()
    ) -> HttpCall:
        self.asked.append(question)
        self.attached.append(tuple(files))
        where = place.chat_id if place.parent is None else f"{place.chat_id},{place.parent}"
        return HttpCall("POST", f"https://site.test/ask/{where}", {})

    def decoder(self, chat_id: str) -> Decoder:
        return Words(chat_id)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> Fault | None:
        return self.refuses

    def is_stream(self, status: int, headers: Mapping[str, str]) -> bool:
        return status == 200 and headers.get("content-type") == "text/event-stream"

    def stop(self, who: Identity, at: Moment, chat_id: str, answer_id: str | None) -> Flow[None]:
        yield from self._call("stop", f"{chat_id},{answer_id}")

    def discard(self, who: Identity, at: Moment, chat_id: str) -> Flow[None]:
        yield from self._call("delete", chat_id)

    def read_chat(self, who: Identity, at: Moment, chat_id: str) -> Flow[dict[str, StoredMessage]]:
        yield from self._call("read", chat_id)
        return {message.id: message for message in self.stored[chat_id]}

    def find_titled(self, who: Identity, at: Moment, title: str) -> Flow[str | None]:
        yield from self._call("find", title)
        return self.titled.get(title)

    def models(self, who: Identity, at: Moment) -> Flow[Catalog]:
        yield from self._call("models", "all")
        return CATALOG

    def ticket(self, who: Identity, at: Moment, file: Facts) -> Flow[Ticket]:
        yield from self._call("ticket", file.name)
        file_id = f"file-{next(self._uploads)}"
        url, key = f"https://bucket.test/{file_id}", f"user/{file_id}_{file.name}"
        return Ticket(file_id, url, "bucket", key, "region", "https://storage.test", "key-id", "key-secret", "token")

    def parse(self, who: Identity, at: Moment, file_id: str) -> Flow[None]:
        yield from self._call("parse", file_id)

    def is_parsed(self, who: Identity, at: Moment, file_id: str) -> Flow[bool]:
        yield from self._call("parsed", file_id)
        self.unparsed -= 1
        return self.unparsed < 0

    def site_file(self, ticket: Ticket, file: Facts, at: Moment) -> SiteFile:
        entry = {"id": ticket.file_id, "name": file.name}
        return SiteFile(
            ticket.file_id, json.dumps(entry).encode(), json.dumps({**entry, "plain": True}, sort_keys=True).encode()
        )

    def refresh(self, who: Identity, at: Moment) -> Flow[Tokens]:
        yield from self._call("refresh", "token")
        return self.fresh

    def whoami(self, who: Identity, at: Moment) -> Flow[User]:
        yield from self._call("whoami", "me")
        return self.user

    def settings(self, who: Identity, at: Moment) -> Flow[dict[str, Any]]:
        yield from self._call("settings", "read")
        return self.set

    def change_settings(self, who: Identity, at: Moment, changes: dict[str, Any]) -> Flow[dict[str, Any]]:
        yield from self._call("settings", "change")
        for group, values in changes.items():
            self.set = {**self.set, group: {**self.set.get(group, {}), **values}}
        return self.set

    def _call(self, name: str, argument: str) -> Flow[None]:
        yield HttpCall("POST", f"https://site.test/{name}/{argument}", {})
        if self.says[name]:
            raise self.says[name].popleft()


class Journal:
    """Satisfies `ChatJournal`, in memory. full: puts that work before the disk is full; `None`: all. stuck: nothing is
    removed."""

    def __init__(self, log: list[str], *records: ChatRecord) -> None:
        self.log = log
        self.kept = {record.title: record for record in records}
        self.full: int | None = None
        self.stuck = False

    def put(self, record: ChatRecord) -> None:
        if self.full is not None:
            self.full -= 1
            if self.full < 0:
                raise StorageUnavailable("The disk is full.")
        self.log.append(f"put {record.title} {record.chat_id}")
        self.kept[record.title] = record

    def remove(self, title: str) -> None:
        if self.stuck:
            raise StorageUnavailable("The disk is full.")
        if self.kept.pop(title, None) is not None:
            self.log.append(f"remove {title}")

    def records(self) -> list[ChatRecord]:
        return list(self.kept.values())


def jwt(**claims: object) -> str:
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"aGVhZA.{middle}.c2ln"


class Accounts:
    """Satisfies `AccountStore`, in memory. down: what every method raises; `None` while all is well."""

    def __init__(self) -> None:
        self.rows: dict[str, StoredAccount] = {}
        self.rests: dict[tuple[str, str], StoredPause] = {}
        self.claims: dict[str, tuple[str, float]] = {}
        self.revision = 0
        self.down: Fault | None = None
        self.log: list[str] = []

    def _did(self, name: str) -> None:
        self.log.append(name)
        if self.down is not None:
            raise self.down

    def _replace(self, account_id: str, **changes: Any) -> bool:
        if account_id not in self.rows:
            return False
        self.rows[account_id] = structs.replace(self.rows[account_id], **changes)
        return True

    async def load(self) -> list[StoredAccount]:
        self._did("load")
        return sorted(self.rows.values(), key=lambda row: row.created_at)

    async def put(self, account: StoredAccount) -> int:
        self._did("put")
        if any(row.name == account.name and row.id != account.id for row in self.rows.values()):
            raise NameTaken(account.name)
        self.revision += 1
        self.rows[account.id] = structs.replace(account, revision=self.revision)
        return self.revision

    async def save_session(self, account_id: str, session: Secret, revision: int) -> int | None:
        self._did("save")
        if account_id not in self.rows or self.rows[account_id].revision != revision:
            return None
        self.revision += 1
        self._replace(account_id, session=session, revision=self.revision)
        return self.revision

    async def set_paused(self, account_id: str, paused: bool) -> bool:
        self._did("paused")
        return self._replace(account_id, paused=paused)

    async def set_check(self, account_id: str, check: Check) -> bool:
        self._did("check")
        return self._replace(account_id, check=check)

    async def set_undo(self, account_id: str, undo: bytes | None) -> bool:
        self._did("undo")
        return self._replace(account_id, undo=undo)

    async def remove(self, account_id: str) -> bool:
        self._did("remove")
        await self.clear_pauses(account_id)
        return self.rows.pop(account_id, None) is not None

    async def claim_refresh(self, account_id: str, owner: str, now: float, seconds: float) -> bool:
        self._did("claim")
        held, until = self.claims.get(account_id, ("", 0.0))
        if held and until > now:
            return False  # not even to the one who holds it
        self.claims[account_id] = (owner, now + seconds)
        return True

    async def release_refresh(self, account_id: str, owner: str) -> None:
        self._did("release")
        if self.claims.get(account_id, ("", 0.0))[0] == owner:
            del self.claims[account_id]

    async def pauses(self) -> list[StoredPause]:
        self._did("pauses")
        return list(self.rests.values())

    async def put_pause(self, pause: StoredPause) -> None:
        self._did("pause")
        self.rests[pause.account, pause.what] = pause

    async def clear_pauses(self, account_id: str) -> None:
        self._did("clear")
        for key in [key for key in self.rests if key[0] == account_id]:
            del self.rests[key]


def keeper(clock: Clock, store: AccountStore | None = None, owner: str = "me") -> Keeper:
    return Keeper(store or Accounts(), clock.ambient(), owner)


def renewal(site: Site, net: Net, clock: Clock, keeps: Keeper | None = None, seconds: float = 9) -> Renewal:
    return Renewal(site, net, clock.ambient(), seconds, keeps or keeper(clock))


def credential(*, user: str = "u", ends: float | None = None, refreshable: bool = False) -> Credential:
    """ends: of its token, seconds since 1970. refreshable: that token is an access token with a refresh cookie."""
    token = jwt(id=user, exp=ends, type="access_token" if refreshable else "")
    cookies = {"refresh_token": "again"} if refreshable else {"token": token}
    return Credential(cookies, token)


def account(
    clock: Clock, *, user: str = "u", ends: float | None = None, refreshable: bool = False, seats: int = 4
) -> Account:
    session = Session(credential(user=user, ends=ends, refreshable=refreshable))
    return Account(session, Rest(Resting(60)), clock.ambient(), seats=seats, pace=Pace(1_000_000, 1_000_000))


def pool(clock: Clock, *accounts: Account, size: int = 64, seconds: float = 5) -> Pool:
    return Pool(lambda: accounts, clock.ambient(), Queue(size, seconds), "There is no account.")


def chats(  # what a process's chats are made of
    site: Site,
    net: Net,
    journal: Journal,
    clock: Clock,
    policy: DeletePolicy = "now",
    store: FakeConversationStore | None = None,
) -> Chats:
    knows = (store or FakeConversationStore()).knows
    again = renewal(site, net, clock)
    return Chats(site, net, journal, clock.ambient(), renewal=again, knows=knows, policy=policy, seconds=9)


def no_words(knows: Knows) -> ToolWords:
    """Nothing is told beside the conversation."""
    return ToolWords()


class Counter:
    """Satisfies `TokenCounter`: a token is a word."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def ready(self, model: str) -> None:
        self.asked.append(model)

    def count(self, model: str, text: str) -> int:
        return len(text.split())


def _satisfied(site: Site, net: Net, reply: Reply, journal: Journal, rows: Accounts) -> None:
    """Only for mypy: the fakes are what the ports ask for."""
    _: tuple[Upstream, Transport, StreamedReply, ChatJournal, AccountStore] = (site, net, reply, journal, rows)
