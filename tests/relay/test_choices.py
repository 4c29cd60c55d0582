"""Several answers to one request: side by side, ended together, summed up."""

import asyncio
from contextlib import aclosing

import pytest

from qwen_gateway.relay.choices import own_record, summed, together
from qwen_gateway.relay.counts import CallCounts
from qwen_gateway.relay.run import Turn
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.turn.events import Event, Failed, Finished, Text, Usage, total
from qwen_gateway.turn.faults import Drift

from .fakes import SILENCE, until
from .turn_bench import Bench, MakeBench, after, answer, asks, part, say

HI = asks("Hi", choices=2)


async def begun(bench: Bench, count: int) -> list[Turn]:
    return [await bench.begin(HI) for _ in range(count)]


async def all_of(turns: list[Turn]) -> list[Event]:
    async with asyncio.timeout(10), aclosing(together(turns)) as batches:
        return [event async for _, events in batches for event in events]


async def test_each_answer_is_told_with_its_turn_and_comes_from_a_chat_of_its_own(make: MakeBench) -> None:
    bench = make(answer(say("One")), answer(say("Two")))
    texts, ends = {0: "", 1: ""}, []
    async with asyncio.timeout(10), aclosing(together(await begun(bench, 2))) as batches:
        async for choice, events in batches:
            texts[choice] += "".join(event.text for event in events if isinstance(event, Text))
            ends += [event for event in events if isinstance(event, Finished)]
    assert sorted(texts.values()) == ["One", "Two"]
    assert ends == [Finished(), Finished()]
    assert sorted(bench.asked) == ["chat-1", "chat-2"]


async def test_they_run_at_the_same_time(make: MakeBench) -> None:
    replies = [part(SILENCE), part(SILENCE)]
    bench = make(*replies)
    turns = await begun(bench, 2)

    task = asyncio.create_task(all_of(turns))
    await until(lambda: all(reply.reads == 2 for reply in replies))
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert all(reply.closed for reply in replies), "who leaves, stops all"
    assert bench.on("a").busy == 0


async def test_the_first_that_fails_ends_the_others(make: MakeBench) -> None:
    silent = part(say("On"), SILENCE)
    bench = make(silent, Drift("odd"))
    events = await all_of(await begun(bench, 2))
    assert [event for event in events if isinstance(event, Failed)] == [events[-1]]
    assert silent.closed
    assert bench.on("a").busy == 0


async def test_a_mistake_of_ours_in_one_is_raised_and_ends_the_others(
    make: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = part(say("On"), SILENCE)
    bench = make(silent)
    turns = await begun(bench, 2)

    def broken(_: object) -> None:
        raise ValueError("a mistake")

    monkeypatch.setattr(turns[1], "_take", broken)
    with pytest.raises(ValueError, match="a mistake"):
        await all_of(turns)
    assert silent.closed or silent.reads == 0
    assert bench.on("a").busy == 0


async def test_only_one_of_them_goes_on_in_the_conversations_chat(make: MakeBench) -> None:
    bench = make(answer(say("Hello")), answer(say("One")), answer(say("Two")))
    second = after(HI, await bench.answered(HI), "And?")
    events = await all_of([await bench.begin(second) for _ in range(2)])
    assert events.count(Finished()) == 2
    assert sorted(bench.asked) == ["chat-1", "chat-1,answer-in-chat-1", "chat-2"]


async def test_a_client_that_reads_slowly_does_not_fill_the_memory(make: MakeBench) -> None:
    replies = [answer(*map(say, "x" * 200)), answer(*map(say, "y" * 200))]
    bench = make(*replies)
    async with asyncio.timeout(10), aclosing(together(await begun(bench, 2))) as batches:
        async for _ in batches:
            for _ in range(300):
                await asyncio.sleep(0)
            assert sum(reply.reads for reply in replies) < 60
            break


# --- records ---


def test_a_turn_of_several_has_a_record_of_its_own() -> None:
    record = TurnRecord("r", "e", key="k", usage=Usage(1, 1), calls=CallCounts(ok=1))
    own = own_record(record, 1)
    own.tries = 3
    assert (own.answer, own.key, own.usage, own.calls) == ("r:1", "k", None, None), "an id that names one place"
    assert own_record(record, 0).answer == "r"
    assert record.tries == 0


def test_a_request_is_what_its_turns_came_to() -> None:
    record = TurnRecord("r", "e")
    one = TurnRecord("r", "e", model="q", account="a", way="replay", why="first", ignored=("thinking",), tries=1)
    one.sent, one.site, one.queued, one.usage = 10, 0.5, 0.1, Usage(7, 3, reasoning=1)
    one.calls, one.call_format, one.prefilled, one.listed_short = CallCounts(ok=1), "bracket", True, True
    two = TurnRecord("r", "e", model="q", account="b", way="replay", why="first", tries=2, invalid_json=True)
    two.sent, two.site, two.queued, two.usage = 20, 0.2, 0.4, Usage(8, 2, cached=5, estimated=True)
    two.calls, two.shortened, two.offloaded = CallCounts(retried=1), 2, True
    one.files = two.files = 3
    summed(record, [one, two])
    assert (record.model, record.account, record.way, record.why) == ("q", "a", "replay", "first")
    assert (record.tries, record.sent, record.site, record.queued) == (3, 30, 0.5, 0.4)
    assert record.usage == Usage(15, 5, reasoning=1, cached=5, estimated=True)
    assert (record.calls, record.call_format) == (CallCounts(ok=1, retried=1), "bracket")
    assert (record.ignored, record.prefilled, record.listed_short) == (("thinking",), True, True)
    assert (record.shortened, record.invalid_json, record.offloaded) == (2, True, True)
    assert record.files == 3, "each asks with all of them"


def test_turns_that_were_never_asked_leave_no_figures() -> None:
    record = TurnRecord("r", "e")
    summed(record, [TurnRecord("r", "e"), TurnRecord("r", "e")])
    assert (record.usage, record.calls, record.tries) == (None, None, 0)


def test_a_sum_of_the_sites_figures_is_no_estimate() -> None:
    assert total([Usage(1, 2), Usage(3, 4)]) == Usage(4, 6)
    assert total([]) == Usage(0, 0)
