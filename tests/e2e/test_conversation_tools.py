"""Conversations with tools, with answers that are cut on purpose, and with several answers to one question."""

import re
from collections.abc import AsyncIterator

import pytest

from .calling import CLOCK, READ, SHELL, call
from .conversations import CHANGED, CONVERSING, FIRST, LONG, NEXT, UNKNOWN, Client, branches, fresh, tree
from .rig import Rig, running, until
from .wire import Json

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
REPLACES = "this list replaces all earlier lists"


@pytest.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with running(tmp_path_factory.mktemp("home"), **CONVERSING) as found:
        yield found


@pytest.fixture
async def rig(home: Rig) -> Rig:
    return await fresh(home)


def _listed(asked: str, *tools: object) -> list[bool]:
    """Which of the tools the text tells of at length."""
    return [tool["function"]["description"] in asked for tool in tools]  # type: ignore[index]


# -- tools


@BOTH
async def test_another_list_of_tools_is_told_whole_in_the_same_chat_and_then_no_more(rig: Rig, stream: bool) -> None:
    """B15"""
    client = Client(rig, stream=stream, tools=[READ, SHELL])
    first = await client.say("the first question", "1")
    assert (first.way, _listed(first.asked, READ, SHELL, CLOCK)) == (FIRST, [True, True, False])
    assert REPLACES not in first.asked

    client.body["tools"] = [READ, CLOCK]
    await rig.program({"tool_calls": [call("clock")]})
    reply = await client.say("two")
    assert (reply.way, _listed(reply.asked, READ, SHELL, CLOCK)) == (NEXT, [True, False, True])
    assert reply.asked.count(REPLACES) == 1
    assert "the first question" not in reply.asked
    assert client.messages[-1]["tool_calls"][0]["function"]["name"] == "clock"

    client.results("noon")
    reply = await client.send("3")
    assert (reply.way, _listed(reply.asked, READ, SHELL, CLOCK)) == (NEXT, [False, False, False])
    assert REPLACES not in reply.asked

    client.body["tools"] = [READ, SHELL]
    reply = await client.say("four", "4")
    assert (reply.way, _listed(reply.asked, READ, SHELL, CLOCK)) == (NEXT, [True, True, False])
    assert reply.asked.count(REPLACES) == 1
    assert [[len(branch) for branch in chat] for chat in tree(rig)] == [[8]]


async def test_a_client_without_tools_any_more_says_so_once(rig: Rig) -> None:
    """B15: the list has become empty."""
    client = Client(rig, tools=[READ])
    await client.say("one", "1")
    client.body.clear()
    reply = await client.say("two", "2")
    assert (reply.way, REPLACES in reply.asked, "no tools any more" in reply.asked) == (NEXT, True, True)
    assert (await client.say("three", "3")).asked == "three"


@BOTH
async def test_after_a_call_only_its_results_are_sent(rig: Rig, stream: bool) -> None:
    """B22"""
    client = Client(rig, stream=stream, instructions="You work on code.", tools=[READ, SHELL])
    await rig.program({"tool_calls": [call("read_file", path="a.py"), call("read_file", path="b.py")]})
    assert (await client.say("what is in them?")).way == FIRST
    client.results("text of a", "text of b")
    await rig.program({"tool_calls": [call("run", command="make")]})
    reply = await client.send()
    assert reply.way == NEXT
    results = re.match(
        r"\[TOOL RESULTS (\w+)\]\n"
        r'--- \1 result 1 of 2: read_file \{"path": ?"a.py"\} ---\ntext of a\n'
        r'--- \1 result 2 of 2: read_file \{"path": ?"b.py"\} ---\ntext of b\n'
        r"--- \1 end of results ---",
        reply.asked,
    )
    assert results
    for told in ("You work on code.", "what is in them?", "assistant", READ["function"]["description"]):
        assert told not in reply.asked
    client.results("made")
    reply = await client.send("All is well.")
    assert (reply.way, reply.text) == (NEXT, "All is well.")
    assert "made" in reply.asked
    assert "text of a" not in reply.asked
    assert [[len(branch) for branch in chat] for chat in tree(rig)] == [[6]]


@BOTH
async def test_a_text_beside_a_call_may_be_dropped(rig: Rig, stream: bool) -> None:
    """B23: some clients send a call back without what was said before it, others with it."""
    client = Client(rig, stream=stream, tools=[READ])
    await rig.program({"text": "I look it up.", "tool_calls": [call("read_file", path="a.py")]})
    reply = await client.say("what is in it?")
    assert reply.text.strip() == "I look it up."
    client.results("text of a")
    dropping = client.fork()
    dropping.messages[1]["content"] = None
    for one, said in ((dropping, "It is short."), (client, "It is long.")):
        reply = await one.send(said)
        assert reply.way == NEXT
        assert "text of a" in reply.asked
        assert "I look it up." not in reply.asked
        assert (await one.say("and now?", f"{said} Still.")).way == NEXT
    (chat,) = tree(rig)
    assert [(branch[3], branch[5]) for branch in chat] == [
        ("It is short.", "It is short. Still."),
        ("It is long.", "It is long. Still."),
    ]
    assert chat[0][:2] == chat[1][:2]


# -- answers that are cut


@BOTH
async def test_an_answer_that_was_cut_at_a_stop_sequence_is_caught_up_with_beside_it(rig: Rig, stream: bool) -> None:
    """B29: the chat holds more than the client got, so the conversation goes on from the answer before."""
    client = Client(rig, stream=stream, stop="END")
    await client.say(LONG, "1")
    cut = await client.say("tell me", "alpha END beta " + "gamma " * 200)
    assert (cut.way, cut.text) == (NEXT, "alpha ")
    await rig.settle()
    reply = await client.say("go on", "2")
    assert reply.way == CHANGED
    assert "alpha" in reply.asked
    assert "tell me" in reply.asked
    assert not re.search("beta|gamma|END", reply.asked)
    (chat,) = tree(rig)
    assert chat[0][:3] == [LONG, "1", "tell me"]
    assert chat[1] == [LONG, "1", reply.asked, "2"]
    assert (await client.say("more", "3")).way == NEXT
    assert tree(rig)[0][1] == [LONG, "1", reply.asked, "2", "more", "3"]


async def test_a_first_answer_that_was_cut_at_a_stop_sequence_is_told_anew(rig: Rig) -> None:
    """B29: there is nothing before it, so its chat goes."""
    client = Client(rig, stop="END")
    await client.say("tell me", "alpha END beta")
    reply = await client.say("go on", "2")
    assert reply.way == UNKNOWN
    assert "alpha" in reply.asked
    assert "beta" not in reply.asked
    await until(lambda: len(rig.left_over) == 1)
    assert tree(rig) == [[[reply.asked, "2"]]]


async def test_a_stop_sequence_that_did_not_come_changes_nothing(rig: Rig) -> None:
    """B29"""
    client = Client(rig, stop="END")
    await client.say("one", "alpha EN")
    reply = await client.say("two", "2")
    assert (reply.way, reply.asked) == (NEXT, "two")


# -- several answers


@BOTH
async def test_whichever_of_several_answers_is_taken_its_own_chat_goes_on(rig: Rig, stream: bool) -> None:
    """B37"""
    client = Client(rig, stream=stream, n=3)
    await rig.program(*({"text": f"answer {letter}"} for letter in "abc"))
    client.add("user", "one")
    choices = (await client.send()).messages
    assert {choice["content"] for choice in choices} == {"answer a", "answer b", "answer c"}
    await _each_goes_on(client, choices)
    assert sorted(tree(rig)) == [
        [["one", f"answer {letter}", "two", f"on with answer {letter}", "three", f"still answer {letter}"]]
        for letter in "abc"
    ]


@BOTH
async def test_several_answers_in_a_conversation_that_goes_on_can_be_gone_on_with_as_well(
    rig: Rig, stream: bool
) -> None:
    """B37, B16: one of them goes on in the chat, which is taken for the others."""
    client = Client(rig, stream=stream)
    await client.say("zero", "0")
    client.body["n"] = 3
    await rig.program(*({"text": f"answer {letter}", "delay_ms": 20} for letter in "abc"))
    client.add("user", "one")
    choices = (await client.send()).messages
    await _each_goes_on(client, choices)
    chats = list(rig.sim.site.chats.values())
    assert [[len(branch) for branch in branches(chat)] for chat in chats] == [[8], [6], [6]]
    assert [seen.prompt for seen in rig.sim.site.seen].count("one") == 1
    ends = {branches(chat)[0][-5]: branches(chat)[0][-1] for chat in chats}
    assert ends == {f"answer {letter}": f"still answer {letter}" for letter in "abc"}


async def _each_goes_on(client: Client, choices: list[Json]) -> None:
    """client: the newest of its messages is one of the choices."""
    client.body.pop("n")
    for choice in choices:
        one = client.fork()
        one.messages[-1] = choice
        for text, answer in (("two", "on with"), ("three", "still")):
            reply = await one.say(text, f"{answer} {choice['content']}")
            assert (reply.way, reply.asked) == (NEXT, text)
