"""What is remembered of conversations: answers after which they can go on, and who is asking in which chat.

No turn waits until an answer is written. It is known here at once, and written soon, with others, again until it
succeeds. What is written is known to all processes that share the database.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

import structlog
from msgspec import structs

from qwen_gateway.relay.overlay import Overlay
from qwen_gateway.relay.ports import Ambient, ConversationStore, NodeField, Remembered
from qwen_gateway.turn.faults import StorageUnavailable
from qwen_gateway.turn.places import Node

BATCH = 200
"""Answers in one transaction."""
ROOM = 10_000
"""Answers that may wait to be written. Of more, the oldest are dropped. As many marks are kept in mind."""
DELAY = 0.2
"""Seconds that an answer waits for others."""
RETRY, RETRY_IN_HASTE = 1.0, 0.1
"""Seconds between tries while the database is away; and while the process ends."""
HELD = 30.0
"""Seconds that a chat is ours after we last said so."""
HOLD_EVERY = 10.0
MOST_VALUES = 500
"""What `ConversationStore.find` takes at once."""
LONGEST_ID = 100
"""Characters of a chat's or an answer's id. The site's have 36."""

_log = structlog.get_logger()


class Memory:
    """owner: names this process. kept: told which chats the database has from now on; dropped: which chats it will not
    have, though they were to be remembered. Neither may wait or raise."""

    def __init__(
        self,
        store: ConversationStore,
        ambient: Ambient,
        *,
        owner: str,
        kept: Callable[[list[str]], None],
        dropped: Callable[[list[str]], None],
    ) -> None:
        self._store, self._ambient, self._owner = store, ambient, owner
        self._on_kept, self._on_dropped = kept, dropped
        self._unwritten = Overlay()
        self._held: set[str] = set()
        self._released: set[str] = set()  # chats that are free here, and not yet in the database
        self._releasing: frozenset[str] = frozenset()  # those of which the database is being told
        self._marked: OrderedDict[str, None] = OrderedDict()  # never to come back, oldest first
        self._unmarked: set[str] = set()  # marks that are not yet in the database
        self._rounds: list[asyncio.Future[bool]] = []  # of those who wait for the next write
        self._step = BATCH
        self._news, self._haste, self._closing = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._away = self._overflowing = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def waiting(self) -> int:
        """Answers that are still to be written."""
        return len(self._unwritten)

    def start(self) -> None:
        """Before it, nothing is written."""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._keep_holding())]

    async def close(self, seconds: float) -> None:
        """Writes what waits, for at most `seconds`. What is lost then is logged: it will be told anew."""
        self._closing.set()
        self._haste.set()
        self._news.set()
        if self._tasks:
            await asyncio.wait(self._tasks[:1], timeout=seconds)
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        self._tell_waiting(written=False)
        if self.waiting:
            _log.error("conversations_lost", answers=self.waiting)

    # -- what is known

    async def find(self, field: NodeField, values: Sequence[bytes]) -> list[Node]:
        """Nodes in which `field` is one of `values`, newest first. A node is busy when someone else, here or elsewhere,
        is asking in its chat. Raises StorageUnavailable."""
        if not values:
            return []
        # Before the database is asked: what is written meanwhile is in one of both.
        ours = self._unwritten.find(field, values)
        rows = await self._store.find(field, values[:MOST_VALUES], self._owner, self._ambient.now())
        found = {(node.key, node.chat_id, node.answer_id): node for node in (*ours, *rows)}
        return [
            structs.replace(node, busy=True) if node.chat_id in self._held and not node.busy else node
            for node in found.values()
            if node.chat_id not in self._marked
        ]

    def remember(self, answer: Remembered) -> bool:
        """Known at once, written soon. False when nothing is remembered: its chat was marked meanwhile, or has an id
        that the database would not take."""
        if answer.chat.id in self._marked or not _fits(answer):
            return False
        if len(self._unwritten) >= ROOM:
            self._overflow()
        self._unwritten.add(answer)
        self._news.set()
        return True

    def mark(self, chat_ids: Iterable[str]) -> None:
        """The chats are to go: nothing of them is known any more."""
        for chat_id in chat_ids:
            self._marked[chat_id] = None
            self._marked.move_to_end(chat_id)
            self._unmarked.add(chat_id)
            if self._unwritten.forget(chat_id):
                self._on_dropped([chat_id])
        while len(self._marked) > ROOM:
            self._marked.popitem(last=False)
        self._news.set()

    async def forget(self, tenant: str) -> int:
        """All chats of the tenant are to go. How many were marked. Raises StorageUnavailable."""
        unwritten = self._unwritten.chats_of(tenant)
        self.mark(unwritten)
        await self._written()  # else some of them might be written later than they are marked
        return len(unwritten) + await self._store.mark_tenant(tenant)

    # -- who asks where

    async def take(self, chat_id: str) -> bool:
        """Whether the chat is free, and ours until `give_back`. Raises StorageUnavailable."""
        if chat_id in self._held or chat_id in self._marked:
            return False
        self._held.add(chat_id)
        self._released.discard(chat_id)
        taken = False
        try:
            # The database can only give what it has, and must not hear of an older release after this.
            while chat_id in self._unwritten or chat_id in self._releasing:
                if not await self._written():
                    return False
            taken = await self._store.take(chat_id, self._owner, self._ambient.now(), HELD)
            taken = taken and chat_id not in self._marked
        finally:
            if not taken:
                self.give_back(chat_id)  # also where it was taken, and the answer lost
        return taken

    def give_back(self, chat_id: str) -> None:
        """Free here at once, for other processes soon."""
        if chat_id in self._held:
            self._held.discard(chat_id)
            self._released.add(chat_id)
            self._news.set()

    async def _keep_holding(self) -> None:
        while True:
            await asyncio.sleep(HOLD_EVERY)
            if not self._held:
                continue
            try:
                await self._store.hold(list(self._held), self._owner, self._ambient.now(), HELD)
            except Exception as problem:  # noqa: BLE001 - whatever it was, there is time for two more tries
                _log.warning("chats_not_held", chats=len(self._held), problem=str(problem))

    # -- writing

    async def _written(self) -> bool:
        """Has what waits written now. Whether that succeeded."""
        if not self._tasks or self._closing.is_set():
            return False
        waits: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._rounds.append(waits)
        self._haste.set()
        self._news.set()
        return await waits

    @property
    def _has_work(self) -> bool:
        return bool(len(self._unwritten) or self._unmarked or self._released or self._rounds)

    async def _run(self) -> None:
        while self._has_work or not self._closing.is_set():
            await self._news.wait()
            self._news.clear()
            await self._pause(DELAY)
            while self._has_work:
                await self._write_some()

    async def _write_some(self) -> None:
        if not self._closing.is_set():
            self._haste.clear()
        waiting, self._rounds = self._rounds, []
        answers = self._unwritten.first(self._step)
        written = False
        try:
            await self._write(answers)
            written = True
        except Exception as problem:  # noqa: BLE001 - upkeep: whatever it was, it is still to be written
            _tell(waiting, written=False)
            await self._failed(answers, problem)
        finally:
            _tell(waiting, written=written)  # also at the end of the process
        if not written:
            return
        if self._away:
            _log.info("conversations_written_again", waiting=self.waiting)
        self._away = self._overflowing = False
        self._step = BATCH

    async def _write(self, answers: list[Remembered]) -> None:
        """In this order: a chat that is marked must be there to be marked, and is ours until its answer is known."""
        marks = list(self._unmarked)
        if answers:
            await self._store.remember(answers)
            self._unwritten.remove(answers)
            self._on_kept([answer.chat.id for answer in answers])
        if marks:
            await self._store.mark(marks)
            self._unmarked.difference_update(marks)
        self._releasing = frozenset(chat_id for chat_id in self._released if chat_id not in self._unwritten)
        try:
            if self._releasing:
                await self._store.release(list(self._releasing), self._owner)
                self._released -= self._releasing
        finally:
            self._releasing = frozenset()

    async def _failed(self, answers: list[Remembered], problem: Exception) -> None:
        stuck = answers and answers[:1] == self._unwritten.first(1)
        if stuck and not isinstance(problem, StorageUnavailable):
            # The database is well, and will never take one of these.
            if self._step > 1:
                self._step = 1
                return
            _log.error("conversation_refused", chat=answers[0].chat.id, problem=repr(problem))
            self._drop(answers[0])
            return
        if not self._away:
            _log.warning("conversations_wait", waiting=self.waiting, problem=str(problem))
        self._away = True
        await self._pause(RETRY)

    def _overflow(self) -> None:
        if not self._overflowing:
            _log.error("conversations_dropped", room=ROOM)
        self._overflowing = True
        self._drop(self._unwritten.first(1)[0])

    def _drop(self, answer: Remembered) -> None:
        self._unwritten.remove([answer])
        if answer.chat.id not in self._unwritten:
            self._on_dropped([answer.chat.id])

    def _tell_waiting(self, *, written: bool) -> None:
        waiting, self._rounds = self._rounds, []
        _tell(waiting, written=written)

    async def _pause(self, seconds: float) -> None:
        if self._closing.is_set():
            await asyncio.sleep(min(seconds, RETRY_IN_HASTE))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._haste.wait()


def _fits(answer: Remembered) -> bool:
    """What the store leaves out must not count as written: nobody would delete the chat."""
    ids = [answer.chat.id, *(node.answer_id for node in answer.nodes)]
    return all(len(one) <= LONGEST_ID and one.isascii() and one.isprintable() for one in ids)


def _tell(waiting: Iterable["asyncio.Future[bool]"], *, written: bool) -> None:
    for one in waiting:
        if not one.done():
            one.set_result(written)
