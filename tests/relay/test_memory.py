"""What a process remembers of conversations: at once for itself, soon for all, and never what was marked."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
from structlog.testing import capture_logs

from qwen_gateway.relay import memory as module
from qwen_gateway.relay.memory import HELD, ROOM, Memory
from qwen_gateway.turn.faults import StorageUnavailable

from .conversation_fakes import FakeConversationStore, answered
from .fakes import Clock, settle, until

AWAY = StorageUnavailable("away")


class Bench:
    """Processes that share a store."""

    def __init__(self) -> None:
        self.clock, self.store = Clock(), FakeConversationStore()
        self.kept: list[str] = []
        self.dropped: list[str] = []
        self.processes: list[Memory] = []

    def process(self, owner: str = "me", *, started: bool = True) -> Memory:
        made = Memory(self.store, self.clock.ambient(), owner=owner, kept=self.kept.extend, dropped=self.dropped.extend)
        if started:
            made.start()
        self.processes.append(made)
        return made

    async def written(self, memory: Memory) -> None:
        await until(lambda: not memory.waiting)

    def count(self, name: str) -> int:
        return len(self.store.did(name))


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DELAY", "RETRY", "RETRY_IN_HASTE"):
        monkeypatch.setattr(module, name, 0.001)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    for memory in made.processes:
        await memory.close(0)


def _more(bench: Bench, than: int) -> bool:
    return bench.count("hold") > than


async def chats(memory: Memory, *keys: bytes) -> list[str]:
    return [node.chat_id for node in await memory.find("key", keys or (b"key",))]


# --- remembering ---


async def test_an_answer_is_known_at_once_and_written_soon(bench: Bench) -> None:
    memory, other = bench.process(), bench.process("other")
    assert memory.remember(answered())
    assert (await chats(memory), await chats(other), bench.kept) == (["chat"], [], [])
    await bench.written(memory)
    assert (await chats(memory), await chats(other), bench.kept) == (["chat"], ["chat"], ["chat"])


async def test_many_answers_are_written_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 3)
    memory = bench.process(started=False)
    memory._step = 3
    for number in range(7):
        memory.remember(answered(f"c{number}"))
    memory.start()
    await bench.written(memory)
    assert bench.store.did("remember") == ["c0 c1 c2", "c3 c4 c5", "c6"]


async def test_what_is_unwritten_comes_first_and_nothing_twice(bench: Bench) -> None:
    memory = bench.process(started=False)
    await bench.store.remember([answered("a", at=1.0), answered("b", at=2.0)])
    memory.remember(answered("b", at=2.0))
    memory.remember(answered("c", at=3.0))
    assert await chats(memory) == ["c", "b", "a"]


async def test_an_answer_that_is_written_while_the_database_is_asked_is_not_missed(bench: Bench) -> None:
    memory = bench.process()
    memory.remember(answered())
    bench.store.holds["find"] = asyncio.Event()
    asking = asyncio.create_task(chats(memory))
    await bench.written(memory)
    bench.store.nodes.clear()  # as it looked when the question came
    bench.store.holds["find"].set()
    assert await asking == ["chat"]


async def test_nothing_to_look_for_asks_nobody(bench: Bench) -> None:
    assert await bench.process().find("key", []) == []
    assert bench.count("find") == 0


async def test_no_more_is_looked_for_than_the_store_takes(bench: Bench) -> None:
    await bench.process().find("key", [b"%d" % number for number in range(900)])
    assert bench.store.did("find") == ["key 500"]


async def test_a_database_that_is_away_is_said_to_be(bench: Bench) -> None:
    memory = bench.process()
    bench.store.away = AWAY
    with pytest.raises(StorageUnavailable):
        await chats(memory)
    with pytest.raises(StorageUnavailable):
        await memory.take("chat")
    assert not memory._held


# --- an outage ---


async def test_answers_wait_out_an_outage_and_it_is_told_once(bench: Bench) -> None:
    memory = bench.process()
    bench.store.away = AWAY
    with capture_logs() as logs:
        memory.remember(answered("a"))
        await until(lambda: bench.count("remember") > 3)
        memory.remember(answered("b"))
        assert (bench.kept, bench.dropped) == ([], [])
        bench.store.away = None
        await bench.written(memory)
    assert sorted(bench.kept) == ["a", "b"]
    assert [log["event"] for log in logs] == ["conversations_wait", "conversations_written_again"]


async def test_an_answer_whose_writing_was_not_answered_is_written_again(bench: Bench) -> None:
    memory = bench.process()
    bench.store.lost.add("remember")
    memory.remember(answered())
    await bench.written(memory)
    assert (bench.count("remember"), len(bench.store.nodes), bench.kept) == (2, 1, ["chat"])


async def test_of_too_many_the_oldest_are_dropped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROOM", 3)
    memory = bench.process(started=False)
    with capture_logs() as logs:
        for name in ("a", "b", "b", "c", "d", "e"):
            memory.remember(answered(name))
    assert bench.dropped == ["a", "b"], "of `b` one answer is still there when the first is dropped"
    assert memory.waiting == 3
    assert [log["event"] for log in logs] == ["conversations_dropped"]


async def test_one_answer_that_the_database_will_not_have_costs_no_other(bench: Bench) -> None:
    bench.store.refuses.add("odd")
    memory = bench.process(started=False)
    for name in ("a", "odd", "b", "c"):
        memory.remember(answered(name))
    memory.start()
    await bench.written(memory)
    assert (bench.kept, bench.dropped) == (["a", "b", "c"], ["odd"])


@pytest.mark.parametrize("odd", ["x" * 101, "null\0", "é"])
async def test_an_id_that_the_database_would_leave_out_is_not_remembered(bench: Bench, odd: str) -> None:
    memory = bench.process()
    assert not memory.remember(answered(odd))
    assert not memory.remember(answered(answer_id=odd))
    assert memory.waiting == 0


async def test_a_mistake_of_the_database_with_marks_drops_no_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = bench.process(started=False)
    memory.remember(answered("a"))
    memory.mark(["old"])

    async def mistaken(_: object) -> None:
        raise ValueError("no such column")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "mark", mistaken)
        memory.start()
        await bench.written(memory)
        memory.remember(answered("b"))
        await bench.written(memory)
    await until(lambda: bench.count("mark") == 1)
    assert (bench.kept, bench.dropped) == (["a", "b"], [])


# --- marks ---


async def test_a_marked_chat_is_forgotten_at_once_and_never_comes_back(bench: Bench) -> None:
    memory, other = bench.process(), bench.process("other")
    memory.remember(answered())
    await bench.written(memory)
    memory.mark(["chat"])
    assert await chats(memory) == []
    assert not await memory.take("chat")
    assert not memory.remember(answered(key=b"late"))
    await until(lambda: bench.store.marked == {"chat"})
    assert await chats(other) == []


async def test_a_chat_that_is_marked_before_it_is_written_is_dropped(bench: Bench) -> None:
    memory = bench.process(started=False)
    memory.remember(answered())
    memory.mark(["chat"])
    assert (bench.dropped, memory.waiting) == (["chat"], 0)
    memory.start()
    await until(lambda: bench.count("mark") == 1)
    assert (bench.store.chats, bench.kept) == ({}, [])


async def test_a_chat_that_is_marked_while_it_is_written_is_marked_after_that(bench: Bench) -> None:
    memory = bench.process()
    bench.store.holds["remember"] = asyncio.Event()
    memory.remember(answered())
    await until(lambda: bench.count("remember") == 1)
    memory.mark(["chat"])
    bench.store.holds["remember"].set()
    await until(lambda: bench.store.marked == {"chat"})
    assert (bench.dropped, bench.kept) == (["chat"], ["chat"])
    assert await chats(memory) == []


async def test_marks_wait_out_an_outage(bench: Bench) -> None:
    memory = bench.process()
    await bench.store.remember([answered()])
    bench.store.away = AWAY
    memory.mark(["chat"])
    await until(lambda: bench.count("mark") > 2)
    bench.store.away = None
    await until(lambda: bench.store.marked == {"chat"})


async def test_no_more_marks_are_kept_in_mind_than_there_is_room(bench: Bench) -> None:
    memory = bench.process(started=False)
    memory.mark(f"c{number}" for number in range(ROOM + 1))
    assert memory.remember(answered("c0"))
    assert not memory.remember(answered("c1"))


# --- who asks where ---


async def test_a_chat_is_taken_by_one_turn_of_one_process(bench: Bench) -> None:
    memory, other = bench.process(), bench.process("other")
    await bench.store.remember([answered()])
    assert await memory.take("chat")
    assert not await memory.take("chat")
    assert not await other.take("chat")
    assert [node.busy for node in await memory.find("key", [b"key"])] == [True]
    assert [node.busy for node in await other.find("key", [b"key"])] == [True]


async def test_what_is_given_back_is_free_here_at_once_and_elsewhere_soon(bench: Bench) -> None:
    memory, other = bench.process(), bench.process("other")
    await bench.store.remember([answered()])
    await memory.take("chat")
    memory.give_back("chat")
    memory.give_back("chat")
    assert [node.busy for node in await memory.find("key", [b"key"])] == [False]
    await until(lambda: bench.store.owners == {})
    assert await other.take("chat")
    assert not await memory.take("chat")


async def test_the_next_turn_can_take_it_before_it_is_released(bench: Bench) -> None:
    memory, other = bench.process(started=False), bench.process("other")
    await bench.store.remember([answered()])
    await memory.take("chat")
    memory.give_back("chat")
    assert await memory.take("chat")
    memory.start()
    memory.mark(["something"])
    await until(lambda: bench.count("mark") == 1)
    await settle()
    assert bench.count("release") == 0
    assert not await other.take("chat")


async def test_the_next_turn_waits_for_a_release_that_is_under_way(bench: Bench) -> None:
    memory, other = bench.process(), bench.process("other")
    await bench.store.remember([answered()])
    await memory.take("chat")
    bench.store.holds["release"] = asyncio.Event()
    memory.give_back("chat")
    await until(lambda: bench.count("release") == 1)
    taking = asyncio.create_task(memory.take("chat"))
    await settle()
    assert bench.count("take") == 1
    bench.store.holds["release"].set()
    assert await taking
    await settle()
    assert not await other.take("chat")


async def test_a_chat_that_is_not_written_yet_is_written_before_it_is_taken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DELAY", 3600)
    memory, other = bench.process(), bench.process("other")
    memory.remember(answered())
    await settle()
    assert bench.count("remember") == 0
    assert await memory.take("chat")
    assert bench.kept == ["chat"]
    assert not await other.take("chat")


async def test_one_that_cannot_be_written_now_is_not_taken(bench: Bench) -> None:
    memory = bench.process()
    bench.store.away = AWAY
    memory.remember(answered())
    assert not await memory.take("chat")
    bench.store.away = None
    await bench.written(memory)
    assert await memory.take("chat")


async def test_nothing_is_waited_for_that_nobody_writes(bench: Bench) -> None:
    memory = bench.process(started=False)
    memory.remember(answered())
    assert not await memory.take("chat")
    memory.start()
    await memory.close(5)
    memory.remember(answered("late"))
    assert not await memory.take("late")


async def test_a_turn_that_is_cancelled_while_it_takes_a_chat_holds_nothing(bench: Bench) -> None:
    memory, other = bench.process(), bench.process("other")
    await bench.store.remember([answered()])
    bench.store.holds["take"] = asyncio.Event()
    taking = asyncio.create_task(memory.take("chat"))
    await until(lambda: bench.count("take") == 1)
    taking.cancel()
    await asyncio.wait([taking])
    bench.store.holds.clear()
    await until(lambda: bench.count("release") == 1)
    assert await other.take("chat")


async def test_a_chat_that_was_taken_without_an_answer_to_that_is_released(bench: Bench) -> None:
    memory = bench.process()
    await bench.store.remember([answered()])
    bench.store.lost.add("take")
    with pytest.raises(StorageUnavailable):
        await memory.take("chat")
    await until(lambda: bench.store.owners == {})


async def test_a_chat_that_is_marked_while_it_is_taken_is_not_taken(bench: Bench) -> None:
    memory = bench.process()
    await bench.store.remember([answered()])
    bench.store.holds["take"] = asyncio.Event()
    taking = asyncio.create_task(memory.take("chat"))
    await until(lambda: bench.count("take") == 1)
    memory._marked["chat"] = None  # and the database does not know yet
    bench.store.holds["take"].set()
    assert not await taking


async def test_a_chat_is_released_only_after_what_was_said_in_it_is_written(bench: Bench) -> None:
    memory = bench.process()
    await bench.store.remember([answered()])
    await memory.take("chat")
    bench.store.holds["remember"] = asyncio.Event()
    memory.remember(answered("another"))
    await until(lambda: bench.count("remember") == 2)
    memory.remember(answered(key=b"next"))
    memory.give_back("chat")
    bench.store.holds["remember"].set()
    await until(lambda: bench.count("release") == 1)
    names = [entry.split()[0] for entry in bench.store.log]
    assert names[-2:] == ["remember", "release"]


async def test_held_chats_stay_held(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOLD_EVERY", 0.001)
    memory, other = bench.process(), bench.process("other")
    await bench.store.remember([answered(), answered("free")])
    await memory.take("chat")
    for _ in range(5):
        bench.clock.now += HELD - 1
        held = bench.count("hold")
        await until(partial(_more, bench, held + 1))
        assert not await other.take("chat")
    assert set(bench.store.did("hold")) == {"chat"}


async def test_holding_on_survives_an_outage(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOLD_EVERY", 0.001)
    memory = bench.process()
    await bench.store.remember([answered()])
    await memory.take("chat")
    bench.store.away = AWAY
    await until(lambda: bench.count("hold") > 2)
    bench.store.away, bench.clock.now = None, bench.clock.now + HELD
    await until(lambda: bench.store.owners["chat"][1] > bench.clock.now)


# --- the end ---


async def test_closing_writes_what_waits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELAY", 3600)
    memory = bench.process()
    await bench.store.remember([answered("held")])
    await memory.take("held")
    memory.give_back("held")
    memory.remember(answered())
    memory.mark(["gone"])
    await memory.close(5)
    assert (bench.kept, bench.count("mark"), bench.store.owners) == (["chat"], 1, {})


async def test_closing_does_not_wait_for_a_database_that_is_away(bench: Bench) -> None:
    memory = bench.process()
    bench.store.away = AWAY
    memory.remember(answered())
    with capture_logs() as logs:
        async with asyncio.timeout(10):
            await memory.close(0.01)
    assert logs[-1] == {"event": "conversations_lost", "log_level": "error", "answers": 1}
    assert bench.dropped == [], "the journal has it"


async def test_whoever_waits_for_a_write_is_told_of_the_end(bench: Bench) -> None:
    memory = bench.process()
    bench.store.holds["remember"] = asyncio.Event()
    memory.remember(answered())
    taking = asyncio.create_task(memory.take("chat"))
    await until(lambda: bench.count("remember") == 1)
    await settle()
    await memory.close(0.01)
    assert not await taking
