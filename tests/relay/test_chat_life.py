"""No chat is ever lost: whatever moment a process crashes in, the next one knows each chat that is to go some day."""

import asyncio
from collections.abc import Callable

import pytest

from qwen_gateway.relay import memory as memory_module
from qwen_gateway.relay import sweep as sweep_module
from qwen_gateway.relay.chats import DeletePolicy
from qwen_gateway.relay.conversations import Asker, Conversations, Manner
from qwen_gateway.relay.memory import Memory
from qwen_gateway.relay.ports import ChatRecord
from qwen_gateway.relay.sweep import CLAIMED, Sweep
from qwen_gateway.turn.faults import SiteError, StorageUnavailable
from qwen_gateway.turn.places import Place
from qwen_gateway.turn.request import Message, TextPart, TurnRequest

from .conversation_fakes import FakeConversationStore
from .fakes import PROMPT, SWITCH, Clock, Journal, Net, Site, account, chats, no_words, renewal, until


class Left:
    """What a crash leaves: the journal, the database, and the chats that are at the site, by their titles."""

    def __init__(self, records: list[ChatRecord], store: FakeConversationStore, site: dict[str, str], at: str) -> None:
        self.records, self.store, self.at = records, FakeConversationStore(), at
        self.store.chats, self.store.nodes = dict(store.chats), dict(store.nodes)
        self.store.marked, self.store.owners = set(store.marked), dict(store.owners)
        self.site = site

    def unknown(self) -> list[str]:
        """Chats at the site that neither the journal nor the database knows."""
        titles = {record.title for record in self.records}
        return [chat for title, chat in self.site.items() if title not in titles and chat not in self.store.chats]


class Watched(list[str]):
    """A log. Tells of each entry."""

    def __init__(self, told: Callable[[str], None]) -> None:
        super().__init__()
        self._told = told

    def append(self, entry: str) -> None:
        super().append(entry)
        self._told(entry)


class Process:
    """One run of the gateway's middle, over what an earlier one has left. lefts: what a crash would leave, at each
    step."""

    def __init__(self, policy: DeletePolicy, left: Left | None = None, *, later: float = 0.0) -> None:
        self.lefts: list[Left] = []
        log = Watched(self._step)
        self.clock, self.site, self.net = Clock(), Site(), Net(log)
        self.clock.now += later
        self.store = left.store if left is not None else FakeConversationStore()
        self.store.log = log
        self.journal = Journal(log, *(left.records if left is not None else ()))
        self.site.titled = dict(left.site) if left is not None else {}
        self.account = account(self.clock)
        self.chats = chats(self.site, self.net, self.journal, self.clock, policy, self.store)
        ambient = self.clock.ambient()
        self.memory = Memory(self.store, ambient, owner="me", kept=self.chats.kept, dropped=self.chats.drop)
        again = renewal(self.site, self.net, self.clock)
        manner = Manner(policy)
        self.conversations = Conversations(
            self.memory, self.site, self.net, again, ambient, secret=b"s", seconds=9, manner=manner
        )
        self.sweep = Sweep(self.store, self.chats, ambient, owner="me", policy=policy, most=200)

    def start(self) -> None:
        self.chats.start()
        self.chats.take_up(self.account)
        self.memory.start()
        self.sweep.start()

    async def close(self) -> None:
        await self.sweep.close(0.01)
        await self.chats.close(0.01)
        await self.memory.close(0.01)

    @property
    def there(self) -> dict[str, str]:
        """Chats at the site, by title."""
        deleted = {entry.split()[1] for entry in self.net.log if entry.startswith("delete ")}
        return {title: chat for title, chat in self.site.titled.items() if chat not in deleted}

    def _step(self, entry: str) -> None:
        self.lefts.append(Left(list(self.journal.kept.values()), self.store, self.there, entry))

    async def turn(self, *texts: str, answer: str = "", keep: bool = True, lost: bool = False) -> None:
        """answer: empty: it breaks off. lost: the chat that is gone on with is not there any more."""
        request = TurnRequest(
            model=SWITCH.id,
            messages=tuple(
                Message("assistant" if number % 2 else "user", (TextPart(text),)) for number, text in enumerate(texts)
            ),
        )
        of = self.account
        path = await self.conversations.path(
            request,
            Asker("me", keep=keep),
            SWITCH,
            lambda key: of if key == of.key else None,
            tools=b"",
            words=no_words,
        )
        place = await path.enter()
        if place is not None and lost:
            self.chats.release(of, place.chat_id, answer_id=None, unfinished=False)
            path.lost()
            path.replay("lost")
            place = None
        if place is None:
            place = Place(await self.chats.open(of, PROMPT, keep=keep))
        self.clock.now += 1
        kept = bool(answer) and path.finished(of.key, place, f"a-{self.clock.now:.0f}", answer)
        self.chats.release(of, place.chat_id, answer_id="a", unfinished=not answer, kept=kept)
        path.leave()

    async def day(self) -> None:
        """All that can become of a chat."""
        await self.turn("Hi", answer="Hello.")
        await self.turn("Hi", "Hello.", "So?", answer="Fine.")
        await self.turn("Private", answer="Yes.", keep=False)
        await self.turn("Cut off")
        await self.turn("Hi", "Hello.", "So?", "Fine.", "And?")
        await until(lambda: not self.memory.waiting)
        await self.turn("Ho", answer="Ho ho.")
        await self.turn("Ho", "Ho ho.", "And?", answer="No more.", lost=True)
        await until(lambda: not self.memory.waiting and not self.chats.pending)


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DELAY", "RETRY", "RETRY_IN_HASTE"):
        monkeypatch.setattr(memory_module, name, 0.001)
    monkeypatch.setattr(sweep_module, "EVERY", 0.005)


@pytest.mark.parametrize("policy", ["now", 24.0])
async def test_at_each_step_the_journal_or_the_database_knows_each_chat(policy: DeletePolicy) -> None:
    process = Process(policy)
    process.start()
    await process.day()
    staying = 0 if policy == "now" else 2
    await until(lambda: len(process.there) == staying and not process.store.marked)
    await process.close()
    assert len(process.lefts) > 20
    assert [(left.at, left.unknown()) for left in process.lefts if left.unknown()] == []
    assert (process.journal.kept, len(process.store.chats)) == ({}, staying)


@pytest.mark.parametrize("policy", ["now", 24.0])
async def test_after_a_crash_at_any_step_the_next_run_leaves_no_chat_behind(policy: DeletePolicy) -> None:
    crashed = Process(policy)
    crashed.start()
    await crashed.day()
    await until(lambda: not crashed.store.marked)
    await crashed.close()
    for left in crashed.lefts:
        after = Process(policy, left, later=CLAIMED + 60)
        after.start()
        async with asyncio.timeout(5):
            while not _is_clean(after):
                await asyncio.sleep(0.001)
        await after.close()


def _is_clean(process: Process) -> bool:
    """The journal is done, and at the site there are those chats that the database wants to stay."""
    wanted = set(process.store.chats) - process.store.marked
    return not process.journal.kept and not process.store.marked and set(process.there.values()) == wanted


async def test_chats_of_an_outage_are_kept_after_it() -> None:
    process = Process(24.0)
    process.start()
    process.store.away = StorageUnavailable("away")
    await process.turn("Hi", answer="Hello.")
    await process.turn("Hi", "Hello.", "So?", answer="Fine.")
    assert (len(process.there), len(process.journal.kept)) == (2, 2)
    process.store.away = None
    await until(lambda: not process.journal.kept)
    assert set(process.store.chats) == set(process.there.values())
    await process.close()


async def test_chats_of_an_outage_that_outlasts_the_process_are_deleted_by_the_next() -> None:
    crashed = Process(24.0)
    crashed.start()
    crashed.store.away = StorageUnavailable("away")
    await crashed.turn("Hi", answer="Hello.")
    await crashed.close()
    after = Process(24.0, crashed.lefts[-1])
    after.store.away = StorageUnavailable("still away")
    after.start()
    await until(lambda: "knows chat-1" in after.net.log)
    assert len(after.there) == 1, "nothing is deleted blindly"
    await after.close()
    last = Process(24.0, after.lefts[-1])
    last.start()
    await until(lambda: not last.journal.kept)
    assert last.there == {}
    await last.close()


async def test_a_site_in_need_delays_deletions_and_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen_gateway.relay.cleaning.RETRY_FIRST", 0.0)
    monkeypatch.setattr("qwen_gateway.relay.cleaning.RETRY_LAST", 0.0)
    process = Process("now")
    process.start()
    process.net.breaks["delete"].extend(SiteError("down") for _ in range(9))
    await process.turn("Hi", answer="Hello.")
    await until(lambda: not process.journal.kept)
    assert process.net.count("delete") == 10
    await process.close()
