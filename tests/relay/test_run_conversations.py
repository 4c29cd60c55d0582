"""Turns of one conversation: where they go on, what is told there, and what becomes of them when that cannot be."""

import asyncio

import pytest
from msgspec import structs

from qwen_gateway.relay import run
from qwen_gateway.relay.conversations import Asker
from qwen_gateway.turn.events import Began, Failed, Finished, Usage
from qwen_gateway.turn.faults import (
    Busy,
    Challenged,
    ChatBusy,
    ChatLost,
    ContextTooLong,
    Empty,
    Fault,
    Incomplete,
    LoginExpired,
    Unreachable,
)
from qwen_gateway.turn.places import StoredMessage

from .fakes import SILENCE, until
from .turn_bench import MakeBench, after, answer, asks, end_of, message, part, say

HI = asks("Hi")
ONWARD = "chat-1,answer-in-chat-1"


# --- it goes on ---


async def test_a_conversation_goes_on_in_its_chat_and_only_what_is_new_is_told(make: MakeBench) -> None:
    bench = make(answer(say("Hello")), answer(say("Well.")), answer(say("Yes.")))
    second = after(HI, await bench.answered(HI), "How are you?")
    assert bench.way == ("replay", "first")
    reply = await bench.answered(second)
    assert (reply.text, bench.way) == ("Well.", ("continue", "next"))
    await bench.answered(after(second, reply, "Really?"))
    assert bench.asked == ["chat-1", ONWARD, ONWARD]
    assert bench.site.texts == ["Hi", "How are you?", "Really?"]
    assert bench.net.count("new") == 1


async def test_where_nothing_is_kept_all_is_told_again(make: MakeBench) -> None:
    bench = make(answer(say("Hello")), answer(say("Well.")), policy="now")
    await bench.answered(after(HI, await bench.answered(HI), "How are you?"))
    assert bench.way == ("replay", "off")
    assert bench.asked == ["chat-1", "chat-2"]
    assert "Hello" in bench.site.texts[1]


async def test_a_turn_that_wants_nothing_kept_gets_no_node(make: MakeBench) -> None:
    bench = make(answer(say("Hello")))
    await bench.turn(HI, Asker("tenant", keep=False))
    assert await bench.remembered() == []


async def test_an_edited_message_makes_a_branch_of_its_own(make: MakeBench) -> None:
    bench = make(answer(say("Hello")), answer(say("Well.")), answer(say("Fine.")))
    reply = await bench.answered(HI)
    await bench.answered(after(HI, reply, "How are you?"))
    await bench.answered(after(HI, reply, "How is it?"))
    assert bench.way == ("continue", "next")
    assert bench.asked == ["chat-1", ONWARD, ONWARD]


# --- it cannot go on there ---


async def test_a_chat_that_is_gone_is_forgotten_and_all_is_told_in_a_new_one(make: MakeBench) -> None:
    bench = make(answer(say("Hello")), ChatLost("deleted"), answer(say("Well.")), answer(say("Yes.")))
    second = after(HI, await bench.answered(HI), "How are you?")
    reply = await bench.answered(second)
    assert (reply.text, bench.way) == ("Well.", ("replay", "lost"))
    assert bench.asked == ["chat-1", ONWARD, "chat-2"]
    assert "Hello" in bench.site.texts[2]
    await bench.answered(after(second, reply, "Really?"))
    assert bench.way == ("continue", "next")
    assert bench.asked[-1] == "chat-2,answer-in-chat-2"
    assert bench.record.tries == 1
    bench.next(answer(say("Fine.")))
    await bench.answered(second)
    assert bench.way == ("replay", "unknown")


async def test_a_chat_in_which_the_site_still_writes_is_left_for_a_new_one(make: MakeBench) -> None:
    bench = make(answer(say("Hello")), ChatBusy("in progress"), answer(say("Well.")))
    second = after(HI, await bench.answered(HI), "How are you?")
    await bench.answered(second)
    assert bench.way == ("replay", "busy")
    assert bench.asked == ["chat-1", ONWARD, "chat-2"]
    assert await bench.memory.take("chat-1"), "it was given back"


async def test_a_chat_in_which_another_turn_asks_is_left_alone(make: MakeBench) -> None:
    bench = make(answer(say("Hello")))
    second = after(HI, await bench.answered(HI), "How are you?")
    assert await bench.memory.take("chat-1")
    bench.next(answer(say("Well.")))
    await bench.answered(second)
    assert bench.way == ("replay", "busy")
    assert bench.asked == ["chat-1", "chat-2"]


async def test_where_its_account_rests_another_one_is_told_everything(make: MakeBench) -> None:
    bench = make(answer(say("Hello")), users="ab")
    second = after(HI, await bench.answered(HI), "How are you?")
    first = bench.user(bench.record.account)
    bench.on(first).failed("q-switch", Challenged("a wall"))
    bench.next(answer(say("Well.")))
    await bench.answered(second)
    assert bench.way == ("replay", "account")
    assert bench.user(bench.record.account) != first
    assert bench.asked == ["chat-1", "chat-2"]


async def test_where_its_account_meets_a_wall_another_one_is_told_everything(make: MakeBench) -> None:
    bench = make(answer(say("Hello")), Challenged("a wall"), answer(say("Well.")), users="ab")
    second = after(HI, await bench.answered(HI), "How are you?")
    first = bench.user(bench.record.account)
    await bench.answered(second)
    assert bench.way == ("replay", "account")
    assert bench.user(bench.record.account) != first
    assert bench.asked == ["chat-1", ONWARD, "chat-2"]
    assert [bench.on(user).busy for user in "ab"] == [0, 0]


@pytest.mark.parametrize(
    ("fault", "why"), [(Empty("nothing"), "empty"), (Unreachable("refused"), "failed"), (Incomplete("broke"), "empty")]
)
async def test_a_question_that_came_to_nothing_is_put_again_in_a_new_chat(
    make: MakeBench, fault: Fault, why: str
) -> None:
    bench = make(answer(say("Hello")), fault, answer(say("Well.")))
    await bench.answered(after(HI, await bench.answered(HI), "How are you?"))
    assert bench.way == ("replay", why)
    assert bench.asked == ["chat-1", ONWARD, "chat-2"]


async def test_a_busy_chat_is_waited_for_where_all_of_it_is_too_long(make: MakeBench) -> None:
    bench = make(answer(say("Hello")), ChatBusy("in progress"), ChatBusy("in progress"), answer(say("Well.")))
    first = asks("Hi", model="q-small")
    reply = await bench.answered(after(first, await bench.answered(first), "How are you?"))
    assert (reply.text, bench.way) == ("Well.", ("continue", "next"))
    assert bench.asked == ["chat-1", ONWARD, ONWARD, ONWARD]
    assert bench.net.count("stop") == 2, "what the site still writes there"


async def test_a_chat_that_is_gone_fails_the_turn_where_all_of_it_is_too_long(make: MakeBench) -> None:
    bench = make(answer(say("Hello")), ChatLost("deleted"))
    first = asks("Hi", model="q-small")
    second = after(first, await bench.answered(first), "How are you?")
    fault = end_of(await bench.turn(second))
    assert isinstance(fault, ContextTooLong)
    assert "q-small takes 60" in fault.text


async def test_what_is_new_may_be_too_long_for_a_message_where_all_of_it_is_not(make: MakeBench) -> None:
    """The oldest part of the whole becomes a document."""
    bench = make(answer(say("Hello")), answer(say("Well.")), offload=True)
    bench.site.longest = 9000
    first = asks("Hi", model="q-eyes")
    second = after(first, await bench.answered(first), "new " * 3000)
    second = structs.replace(second, messages=(*second.messages, message("user", "So?")))
    await bench.answered(second)
    assert (bench.way, bench.asked) == (("replay", "context"), ["chat-1", "chat-2"])
    assert bench.record.offloaded


async def test_what_is_too_long_either_way_is_refused(make: MakeBench) -> None:
    bench = make(answer(say("Hello")), offload=True)
    bench.site.longest = 9000
    first = asks("Hi", model="q-eyes")
    second = after(first, await bench.answered(first), "new " * 3000)
    with pytest.raises(ContextTooLong):
        await bench.turn(second)
    assert bench.asked == ["chat-1"]
    assert await bench.memory.take("chat-1"), "nobody has it"


async def test_a_conversation_that_is_too_long_is_refused_before_a_chat_is_made(make: MakeBench) -> None:
    bench = make()
    with pytest.raises(ContextTooLong):
        await bench.turn(asks("word " * 61, model="q-small"))
    assert bench.log == []


async def test_a_session_that_ends_in_between_is_renewed_and_the_conversation_goes_on(make: MakeBench) -> None:
    bench = make(answer(say("Hello")), LoginExpired("over"), answer(say("Well.")), refreshable=True)
    second = after(HI, await bench.answered(HI), "How are you?")
    reply = await bench.answered(second)
    assert (reply.text, bench.way) == ("Well.", ("continue", "next"))
    assert bench.asked == ["chat-1", ONWARD, ONWARD]
    assert bench.net.count("refresh") == 1
    assert await bench.memory.take("chat-1"), "it was given back"


async def test_where_no_account_is_left_the_turn_says_so_and_the_chat_is_free(make: MakeBench) -> None:
    bench = make(answer(say("Hello")))
    second = after(HI, await bench.answered(HI), "How are you?")
    bench.on("a").failed("q-switch", Challenged("a wall"))
    assert isinstance(end_of(await bench.turn(second)), Challenged)
    assert bench.asked == ["chat-1"]
    assert await bench.memory.take("chat-1")


# --- leaving ---


async def test_a_chat_whose_client_left_is_free_only_after_the_site_was_stopped(make: MakeBench) -> None:
    bench = make(answer(say("Hello")), part(say("We"), SILENCE))
    second = after(HI, await bench.answered(HI), "How are you?")
    bench.net.holds["stop"] = asyncio.Event()
    await bench.left(second)
    bench.chats.start()
    await until(lambda: bench.net.count("stop") == 1)
    assert not await bench.memory.take("chat-1")
    bench.net.holds["stop"].set()
    await bench.chats.close(5)
    assert await bench.memory.take("chat-1")
    assert bench.log[-1] == "stop chat-1,answer-in-chat-1", "the chat has what came before, and stays"


async def test_an_answer_that_the_client_did_not_wait_for_is_none_to_go_on_from(make: MakeBench) -> None:
    bench = make(part(say("He"), SILENCE))
    await bench.left(HI)
    assert await bench.remembered() == []


async def test_an_answer_that_the_client_left_is_remembered_if_the_chat_holds_just_that(make: MakeBench) -> None:
    bench = make(part(say("Hello"), SILENCE), verify=True)
    bench.site.stored["chat-1"] = [
        StoredMessage("q", None, "user", "Hi", done=True),
        StoredMessage("answer-in-chat-1", "q", "assistant", "Hello", done=True),
    ]
    async with bench.cleaning():
        await bench.left(HI)
    assert [node.answer_id for node in await bench.remembered()] == ["answer-in-chat-1"]


async def test_an_answer_that_was_cut_for_its_stop_sequence_is_not_looked_up(make: MakeBench) -> None:
    bench = make(part(say("Hello END"), SILENCE), verify=True)
    async with bench.cleaning():
        assert end_of(await bench.turn(asks("Hi", stop=("END",)))) == "stop"
    assert bench.net.count("read") == 0
    assert bench.log[-3:-1] == ["stop chat-1,answer-in-chat-1", "delete chat-1"]


# --- handles ---


async def test_a_client_that_changed_the_answers_words_goes_on_by_its_id(make: MakeBench) -> None:
    bench = make(answer(say("Hello **you**, good to see you.")), answer(say("Well.")))
    await bench.answered(HI)
    bench.site.stored["chat-1"] = [
        StoredMessage("q", None, "user", "Hi", done=True),
        StoredMessage("answer-in-chat-1", "q", "assistant", "Hello **you**, good to see you.", done=True),
    ]
    changed = asks("Hi", "good to see you.", "How are you?")
    await bench.answered(changed, Asker("tenant", handle=bench.record.answer))
    assert bench.way == ("continue", "handle")
    assert bench.asked == ["chat-1", ONWARD]


async def test_the_id_of_another_tenants_answer_is_of_no_use(make: MakeBench) -> None:
    bench = make(answer(say("Hello")), answer(say("Well.")))
    await bench.answered(HI)
    await bench.answered(asks("Hi", "Hell", "How?"), Asker("other", handle=bench.record.answer))
    assert bench.way == ("replay", "unknown")


# --- figures ---


async def test_tokens_of_a_node_are_those_of_the_conversation_as_the_site_counts_them(make: MakeBench) -> None:
    bench = make(answer(say("Hello"), usage="11,3"), answer(say("Well."), usage="17,2"))
    await bench.answered(after(HI, await bench.answered(HI), "How are you?"))
    assert sorted(node.tokens for node in await bench.remembered()) == [14, 19]


async def test_an_estimate_counts_the_whole_conversation_and_nothing_twice(make: MakeBench) -> None:
    bench = make(answer(say("Hello"), usage=""), answer(say("Well."), usage=""), answer(say("Yes."), usage=""))
    second = after(HI, await bench.answered(HI), "How are you?")
    third = after(second, reply := await bench.answered(second), "Really?")
    assert reply.usage.estimated
    turn = await bench.begin(third)
    words = len(turn.path.whole().text.split())
    assert words > 7
    assert turn.prompt_tokens() == max(node.tokens for node in await bench.remembered()) + len("Really?") // 3
    events = [event async for batch in turn.events() for event in batch]
    assert bench.site.texts[-1] == "Really?", "though only this was sent"
    assert [event for event in events if isinstance(event, Usage)] == [Usage(words, 1, estimated=True)]
    assert max(node.tokens for node in await bench.remembered()) == words + 1


async def test_of_a_turn_that_took_two_tries_the_events_come_in_order(make: MakeBench) -> None:
    bench = make(answer(say("Hello")), ChatLost("deleted"), answer(say("Well.")))
    events = await bench.turn(after(HI, await bench.answered(HI), "How are you?"))
    kinds = [type(event) for event in events]
    assert kinds[0] is Began
    assert kinds[-2:] == [Usage, Finished]
    assert kinds.count(Began) == kinds.count(Usage) == 1
    assert Failed not in kinds


async def test_where_its_account_is_taken_and_another_is_free_nobody_waits_for_long(
    make: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "OWN_WAIT", 0.01)
    bench = make(answer(say("Hello")), answer(say("Well.")), users="ab")
    request = after(HI, await bench.answered(HI), "How are you?")
    first = bench.user(bench.record.account)
    bench.on(first).busy = bench.on(first).seats
    await bench.answered(request)
    assert bench.way == ("replay", "account")
    assert bench.user(bench.record.account) != first


async def test_a_busy_site_is_not_taken_for_a_busy_chat(make: MakeBench) -> None:
    bench = make(answer(say("Hello")), Busy("too many visitors", retry_after=30))
    *_, failed = await bench.turn(after(HI, await bench.answered(HI), "How are you?"))
    assert isinstance(failed, Failed)
    assert failed.fault.retry_after == 30
    assert len(bench.asked) == 2, "no second chat in the middle of an overload"
