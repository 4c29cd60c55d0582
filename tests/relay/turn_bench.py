"""Whole turns of conversations over fakes: chats are kept, and a scripted model writes texts and calls."""

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from types import MappingProxyType
from typing import Any

from msgspec import structs
from tests.toolcall.answers import BASH, READ

from qwen_gateway.relay.account import Account
from qwen_gateway.relay.chats import DeletePolicy
from qwen_gateway.relay.conversations import Asker, Conversations, Manner
from qwen_gateway.relay.memory import Memory
from qwen_gateway.relay.models import Models
from qwen_gateway.relay.run import Turn
from qwen_gateway.relay.tools import ToolManner
from qwen_gateway.relay.turns import Limits, Turns
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.turn.catalog import Catalog, Model
from qwen_gateway.turn.contracts import Decoder
from qwen_gateway.turn.events import Event, Failed, Finished, NativeCall, NativeResult, Text
from qwen_gateway.turn.faults import Fault, Incomplete, Unreachable
from qwen_gateway.turn.reply import Fold, Reply
from qwen_gateway.turn.request import Message, Part, Role, TextPart, ToolResultPart, TurnRequest

from . import fakes
from .attachment_fakes import Files
from .conversation_fakes import FakeConversationStore
from .fakes import Clock, Counter, Journal, Net, Site, Words, account, chats, pool, renewal, until
from .fakes import Part as Piece

LIMITS = Limits(first_event=5, first_event_thinking=7, idle=5, total=20)
ME = Asker("tenant")
TOOLS = (BASH, READ)
SMALL = Model(id="q-small", name="Small", context_window=60)
EYES = Model(id="q-eyes", name="Eyes", capabilities=("vision", "document", "video", "audio"))
CATALOG = Catalog((*fakes.CATALOG.models, SMALL, EYES))
_NONCE = re.compile(r"\[TOOL CALL (\w+)\]")


class Told(Words):
    """Satisfies `Decoder`. As `Words`, and `say:` a JSON text (`{N}` stands for the nonce that the model was told),
    `call:Name {…}` and `result:Name text` of the site."""

    def __init__(self, chat_id: str, site: "ToldSite") -> None:
        super().__init__(chat_id)
        self._site = site

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        for line in data.splitlines(keepends=True):
            word, _, rest = line.decode().strip().partition(":")
            if word == "say":
                self._spoke = True
                events.append(Text(json.loads(rest).replace("{N}", self._site.nonce)))
            elif word == "call":
                events.append(NativeCall(*rest.split(" ", 1)))
            elif word == "result":
                events.append(NativeResult(*rest.split(" ", 1)))
            else:
                events += super().feed(line)
        return events


class ToldSite(Site):
    """refusals: what replies that are no streams stand for, in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals: deque[Fault] = deque()

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> Fault | None:
        return self.refusals.popleft()

    @property
    def nonce(self) -> str:
        """That the last question has."""
        found = _NONCE.search(self.texts[-1])
        return found[1] if found else ""

    @property
    def texts(self) -> list[str]:
        """Of all questions."""
        return [question.prompt.text for question in self.asked]

    def decoder(self, chat_id: str) -> Decoder:
        return Told(chat_id, self)


class Bench:
    """Everything that turns share, faked. Accounts are named by their users; `a` if there is but one. files: how
    `Files` are made."""

    def __init__(
        self,
        *replies: fakes.Reply | Fault,
        users: str = "a",
        policy: DeletePolicy = 24.0,
        refreshable: bool = False,
        limits: Limits = LIMITS,
        manner: ToolManner | None = None,
        verify: bool = False,
        offload: bool = False,
        files: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.clock, self.site, self.store = Clock(), ToldSite(), FakeConversationStore()
        self.log: list[str] = []
        self.net, self.journal = Net(self.log), Journal(self.log)
        for reply in replies:
            self.next(reply)
        ambient, again = self.clock.ambient(), renewal(self.site, self.net, self.clock)
        self.chats = chats(self.site, self.net, self.journal, self.clock, policy, self.store)
        self.memory = Memory(self.store, ambient, owner="me", kept=self.chats.kept, dropped=self.chats.drop)
        self.memory.start()
        conversations = Conversations(
            self.memory,
            self.site,
            self.net,
            again,
            ambient,
            secret=b"secret",
            seconds=9,
            manner=Manner(policy, verify=verify, offload=offload),
        )
        self.counter = Counter()
        self.files = Files(self.site, self.net, self.clock, **files)
        self.turns = Turns(
            self.site,
            self.net,
            Models(self._fetch, CATALOG, {}, ambient, 600),
            self.chats,
            conversations,
            ambient,
            renewal=again,
            limits=limits,
            default_thinking="off",
            tool_manner=manner or ToolManner(),
            tokens=self.counter,
            attachments=self.files.attachments,
        )
        self.accounts = {user: account(self.clock, user=user, refreshable=refreshable) for user in users}
        self.pool = pool(self.clock, *self.accounts.values())
        for one in self.accounts.values():
            self.chats.take_up(one)
        self.record = TurnRecord("req_0", "openai_chat")
        self._count = 0

    def next(self, reply: fakes.Reply | Fault) -> None:
        """What the next question gets. A fault comes as it would: by the connection, or in words of the site."""
        if isinstance(reply, fakes.Reply | Unreachable):
            self.net.replies.append(reply)
        elif isinstance(reply, Incomplete):
            self.net.replies.append(fakes.Reply(b"began\n", reply))
        else:
            self.site.refusals.append(reply)
            self.net.replies.append(fakes.Reply(b"{}", status=400))

    async def _fetch(self) -> Catalog:
        return CATALOG

    def user(self, key: str) -> str:
        """Whose account has this key."""
        return next(user for user, one in self.accounts.items() if one.key == key)

    def on(self, user: str) -> Account:
        return self.accounts[user]

    async def begin(self, request: TurnRequest, asker: Asker = ME) -> Turn:
        """A second later. Its record is `record`."""
        self.clock.now += 1
        self._count += 1
        self.record = TurnRecord(f"req_{self._count:08}", "openai_chat")
        return await self.turns.begin(request, self.pool, self.record, asker)

    async def turn(self, request: TurnRequest, asker: Asker = ME) -> list[Event]:
        """All events of a turn."""
        turn = await self.begin(request, asker)
        async with asyncio.timeout(10):
            return [event async for events in turn.events() for event in events]

    async def answered(self, request: TurnRequest, asker: Asker = ME) -> Reply:
        fold = Fold()
        fold.feed(await self.turn(request, asker))
        return fold.reply()

    async def left(self, request: TurnRequest) -> None:
        """A turn whose client leaves with the first words."""
        turn = await self.begin(request)
        async with aclosing(turn.events()) as batches:
            async for events in batches:
                if any(isinstance(event, Text) for event in events):
                    break

    @property
    def asked(self) -> list[str]:
        """Where questions were put: a chat, and the answer in it after which one stands."""
        return [entry.removeprefix("ask ") for entry in self.log if entry.startswith("ask ")]

    @property
    def way(self) -> tuple[str, str]:
        return self.record.way, self.record.why

    @asynccontextmanager
    async def cleaning(self) -> AsyncIterator[None]:
        """Afterwards, what is due has been done."""
        yield
        self.chats.start()
        await self.chats.close(5)

    async def remembered(self) -> list[Any]:
        """All nodes, once they are written."""
        await until(lambda: not self.memory.waiting)
        return list(self.store.nodes.values())


MakeBench = Callable[..., Bench]
"""As `Bench`."""


def answer(*lines: str, usage: str = "11,3") -> fakes.Reply:
    """A whole one, each line a network chunk. usage: empty for none."""
    figures = f"usage:{usage}\n" if usage else ""
    return fakes.Reply(b"began\n", *(f"{line}\n".encode() for line in lines), f"{figures}end\n".encode())


def part(*pieces: str | Piece) -> fakes.Reply:
    """One that does not end by itself: lines, silences and faults."""
    return fakes.Reply(b"began\n", *(f"{one}\n".encode() if isinstance(one, str) else one for one in pieces))


def say(text: str) -> str:
    return f"say:{json.dumps(text)}"


def writes(name: str, **arguments: object) -> str:
    """A call as the model was taught to write it."""
    return f"[TOOL CALL {{N}}]\n{json.dumps({'name': name, 'arguments': arguments})}\n[END TOOL CALL]"


def message(role: Role, *parts: str | Part) -> Message:
    return Message(role, tuple(TextPart(one) if isinstance(one, str) else one for one in parts))


def talk(*texts: str) -> tuple[Message, ...]:
    """User and assistant in turns."""
    return tuple(message("assistant" if at % 2 else "user", text) for at, text in enumerate(texts))


def asks(*texts: str, model: str = "q-switch", **changes: Any) -> TurnRequest:
    return TurnRequest(model=model, messages=talk(*texts), **changes)


def after(request: TurnRequest, reply: Reply, *parts: str | Part, drop_text: bool = False) -> TurnRequest:
    """The request that follows: what the client was answered, sent back, and `parts` of the user's."""
    said = [TextPart(reply.text)] if reply.text and not drop_text else []
    back = Message("assistant", (*said, *reply.calls))
    return structs.replace(request, messages=(*request.messages, back, message("user", *parts)))


def result(reply: Reply, text: str) -> ToolResultPart:
    """Of its only call."""
    (call,) = reply.calls
    return ToolResultPart(call.id, text)


def end_of(events: Sequence[Event]) -> Fault | str:
    """The fault of a turn that failed, or how it finished. Told once, and last."""
    ends = [event for event in events if isinstance(event, Failed | Finished)]
    assert ends == [events[-1]]
    return ends[0].fault if isinstance(ends[0], Failed) else ends[0].reason
