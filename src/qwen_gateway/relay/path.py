"""The way of one turn's conversation to the model, and what is remembered of it at the turn's end."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Literal

import structlog
from msgspec import Struct

from qwen_gateway.history import canon, chain, pack, plan
from qwen_gateway.history.inlined import Inlined, attaching, inlined
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.memory import Memory
from qwen_gateway.relay.ports import Ambient, KeptChat, Remembered
from qwen_gateway.turn.faults import StorageUnavailable
from qwen_gateway.turn.places import Node, Place, StoredMessage
from qwen_gateway.turn.request import Message, ToolCallPart

VERIFY_AGAIN = 1.0
"""Seconds until a chat is read a second time: an answer that was just stopped may be stored a moment later."""

ReadChat = Callable[[Account, str], Awaitable[Mapping[str, StoredMessage] | None]]
"""All messages of a chat, by id. `None` when the site does not say."""

_log = structlog.get_logger()


Knows = Literal["new", "changed", "known"]
"""What a model knows of the tools: nothing yet, others than these, or these."""
Words = Callable[[Knows], pack.ToolWords]
"""What is told beside the conversation. Raises ContextTooLong."""


class Telling(Struct, frozen=True):
    """What is to be told. remembers, verifies: what happens to the answer. shortens: old results may be shortened.
    offloads: the oldest entries may be attached as a document."""

    messages: Sequence[Message]
    words: Words
    view: plan.View
    tenant: str
    remembers: bool
    verifies: bool
    shortens: bool
    offloads: bool = False


class Path:
    """way, reason: as they are now (`history.plan`). Reasons of a replay that are the relay's own: `off` (nothing is
    kept), `mode` (the asker's), `store` (the database is away), `account` (the chat's cannot serve), `busy` (others are
    asking in it), `context` (also: what is new is too long for a message); and once it was asked there: `lost` (the
    chat is gone), `empty`, `failed`, `busy`, `account`."""

    def __init__(
        self,
        memory: Memory,
        ambient: Ambient,
        secret: bytes,
        reads: ReadChat,
        telling: Telling,
        found: plan.Plan,
    ) -> None:
        self._memory, self._ambient, self._secret, self._reads = memory, ambient, secret, reads
        self._telling, self._plan = telling, found
        self.way, self.reason = found.way, found.reason
        self._nodes = [node for node in found.nodes if node.account == found.nodes[0].account]
        self._next = 0
        self._entered: Node | None = None
        self._onward: pack.Packed | None = None
        self._whole: pack.Packed | None = None

    # -- what is told

    def packed(self) -> pack.Packed:
        """The text to ask with, for the present way."""
        if self.way == "replay":
            return self.whole()
        if self._onward is None:
            self._onward = self._written(self._telling.messages)
        return self._onward

    def _written(self, messages: Sequence[Message]) -> pack.Packed:
        """What is new of these."""
        writes = pack.onward if self.way == "continue" else pack.catchup
        words = self._telling.words("changed" if self._plan.resend_tools else "known")
        return writes(messages, self._new, key=self._key, resend=self._plan.resend, words=words)

    @property
    def _new(self) -> int:
        """Where what is new begins."""
        return self._telling.view.groups[self._plan.told].start

    def whole(self) -> pack.Packed:
        """The text of the whole conversation, whatever the present way."""
        if self._whole is None:
            self._whole = pack.whole(self._telling.messages, key=self._key, words=self._telling.words("new"))
        return self._whole

    def inlined(self, *, whole: bool = True, last: bool = False) -> list[Inlined]:
        """Files that are said rather than attached, the largest first: of all messages, of those that are new, or of
        the last one."""
        messages = self._telling.messages
        return inlined(messages[-1:] if last else messages if whole else messages[self._new :])

    def attached(self, identities: Collection[str]) -> pack.Packed:
        """As `packed` where the conversation goes on, which from now on gives the same, with these files attached and
        not said."""
        self._onward = self._written(attaching(self._telling.messages, identities))
        return self._onward

    def whole_attached(self, identities: Collection[str]) -> pack.Packed:
        """As `whole`, in the same way."""
        messages = attaching(self._telling.messages, identities)
        self._whole = pack.whole(messages, key=self._key, words=self._telling.words("new"))
        return self._whole

    def shortened(self, identities: Collection[str] = ()) -> pack.Packed | None:
        """As `whole`, which from now on gives the same, with old results shortened, and with these files attached.
        `None` when that is not allowed, or nothing becomes shorter."""
        if not self._telling.shortens or (self.whole().compacted and not identities):
            return None
        messages = attaching(self._telling.messages, identities)
        shorter = pack.whole(messages, key=self._key, compact=True, words=self._telling.words("new"))
        if not shorter.compacted:
            return None
        self._whole = shorter
        return shorter

    def offloaded(self, room: int, identities: Collection[str] = ()) -> pack.Packed | None:
        """As `whole`, which from now on gives the same, with the oldest entries in a document and these files attached,
        so that the text is no larger than `room` bytes as JSON. `None` when that is not allowed, or not enough."""
        if not self._telling.offloads:
            return None
        messages = attaching(self._telling.messages, identities)
        # Nothing is shortened: old results that shrink as they grow old would move the document's end each turn, and
        # the last entry, which is all that has to fit, is never old.
        found = pack.offloaded(messages, room=room, key=self._key, words=self._telling.words("new"))
        self._whole = found or self._whole
        return found

    @property
    def _key(self) -> bytes:
        linked = self._telling.view.chain
        return linked.keys[0] if linked.keys else linked.root

    # -- where

    @property
    def account(self) -> str | None:
        """Key of the account whose chats know the conversation; `None`: any will do."""
        return self._nodes[0].account if self._nodes and self.way != "replay" else None

    @property
    def entered(self) -> Place | None:
        return self._entered.place if self._entered is not None else None

    @property
    def tokens(self) -> int:
        """Of the conversation up to the place that was entered, or will be first, as the site counted them. 0 for a
        replay."""
        node = self._entered or (self._nodes[0] if self._nodes and self.way != "replay" else None)
        return node.tokens if node is not None else 0

    async def enter(self, *, again: bool = False) -> Place | None:
        """Takes the next free chat that knows the conversation, and leaves the one before it; `None` when no other one
        is free, and then stays. again: the one that was entered, or else the first that is free by now. Raises
        StorageUnavailable."""
        if again and self._entered is not None:
            return self._entered.place
        candidates = self._nodes if again else self._nodes[self._next :]
        for node in candidates:
            self._next = self._nodes.index(node) + 1
            if await self._take(node):
                if self._entered is not None:
                    self._memory.give_back(self._entered.chat_id)
                self._entered = node
                return node.place
        return None

    async def _take(self, node: Node) -> bool:
        try:
            return await self._memory.take(node.chat_id)
        except StorageUnavailable as fault:
            _log.info("chat_not_taken", chat=node.chat_id, why=fault.text)
            raise

    def leave(self) -> None:
        """Gives the chat back. `enter` begins again with the first."""
        self._next = 0
        if self._entered is not None:
            self._memory.give_back(self._entered.chat_id)
            self._entered = None

    def leaving(self) -> Callable[[], None]:
        """As `leave`, but the chat stays taken until the returned function is called."""
        self._next = 0
        entered, self._entered = self._entered, None
        return lambda: self._memory.give_back(entered.chat_id) if entered is not None else None

    def lost(self) -> None:
        """The chat that was entered is gone, or not ours any more: it is forgotten."""
        if self._entered is not None:
            chat_id = self._entered.chat_id
            self._memory.mark([chat_id])
            self._nodes = [node for node in self._nodes if node.chat_id != chat_id]
            self.leave()

    def replay(self, reason: str) -> None:
        """From now on the whole conversation is told in a new chat."""
        self.leave()
        self.way, self.reason = "replay", reason

    # -- what is remembered

    def finished(  # noqa: PLR0913 - all that is known of an answer
        self,
        account: str,
        place: Place,
        answer_id: str,
        text: str,
        calls: Sequence[ToolCallPart] = (),
        *,
        tokens: int = 0,
        handle: str = "",
    ) -> bool:
        """The chat holds exactly the answer that the client was given: the conversation can go on after it. False when
        nothing is to be remembered.

        account: key of the chat's. tokens: of the conversation with this answer. handle: the answer's id for clients.
        """
        if not self._remembers(answer_id):
            return False
        now = self._ambient.now()
        chat = KeptChat(place.chat_id, account, self._telling.tenant, created=now, used=now)
        view, secret, said = self._telling.view, self._secret, canon.answer(text, calls)
        keys = [chain.extend(secret, view.chain.tip, said)]
        if calls and said.text:
            # Some clients drop the text beside calls.
            keys.append(chain.extend(secret, view.chain.tip, canon.answer("", calls)))
        if self.way != "replay" and self._plan.reason == "suffix":
            # The chat holds more than the client has said: only what is like it may lead there, never what is the same.
            keys = [chain.digest(secret, b"suffix" + key) for key in keys]
        likeness = chain.likeness(secret, view.chain.root, view.groups[-1], said) if view.groups else None
        nodes = tuple(
            Node(
                key,
                place.chat_id,
                answer_id,
                account,
                bones=chain.extend_bare(secret, view.chain.bare_tip, said),
                handle=chain.handle(secret, view.chain.root, handle) if handle else b"",
                likeness=likeness,
                instructions=view.instructions,
                tools=view.tools,
                tokens=tokens,
                created=now,
            )
            for key in keys
        )
        return self._memory.remember(Remembered(chat, nodes))

    def verification(
        self, account: Account, place: Place, answer_id: str, text: str, *, handle: str = ""
    ) -> Callable[[], Awaitable[bool]] | None:
        """For an answer that broke off: to be called once the site writes no more. Reads the chat, and remembers the
        answer if it stands there exactly as the client was given it; whether it did. `None` when there is no use."""
        if not self._telling.verifies or not self._remembers(answer_id):
            return None
        # The site has not counted them. Three bytes are a token, roughly.
        tokens = self.tokens + (len(self.packed().said.encode()) + len(text.encode())) // 3
        finish = partial(self.finished, account.key, place, answer_id, text, tokens=tokens, handle=handle)
        return partial(self._verify, account, place.chat_id, answer_id, text, finish)

    async def _verify(
        self, account: Account, chat_id: str, answer_id: str, text: str, finish: Callable[[], bool]
    ) -> bool:
        for wait in (0.0, VERIFY_AGAIN):
            await asyncio.sleep(wait)
            stored = await self._reads(account, chat_id)
            if stored is None:
                return False
            message = stored.get(answer_id)
            if message is not None and message.done:
                return message.role == "assistant" and canon.is_same(message, text) and finish()
        return False

    def _remembers(self, answer_id: str) -> bool:
        """Not an answer that the client had begun: it has the first half, and we have the second."""
        groups = self._telling.view.groups
        begun = bool(groups) and groups[-1].role == "assistant"
        return self._telling.remembers and bool(answer_id) and not begun
