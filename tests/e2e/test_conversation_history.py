"""Clients that changed what was said: the model gets what the client has now, and never what it had before."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qwen_gateway.relay import path

from .conversations import CHANGED, CONVERSING, FIRST, LONG, NEXT, UNKNOWN, Client, fresh, tree
from .rig import Rig, running, until

TOO_MUCH = ("replay", "changed")
WORDS = "alpha beta gamma delta epsilon zeta eta theta"


@pytest.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with running(tmp_path_factory.mktemp("home"), **CONVERSING) as found:
        yield found


@pytest.fixture
async def rig(home: Rig) -> Rig:
    return await fresh(home)


@pytest.fixture
async def client(rig: Rig) -> Client:
    return Client(rig)


async def test_an_answer_that_the_user_has_edited_replaces_the_one_given(client: Client) -> None:
    """B11: the first answer; no chat knows the rest any more."""
    await client.say("one", "original")
    client.messages[-1]["content"] = "edited"
    reply = await client.say("two", "2")
    assert reply.way == UNKNOWN
    assert "edited" in reply.asked
    assert "original" not in reply.asked
    assert (await client.say("three", "3")).way == NEXT
    assert tree(client.rig)[0] == [["one", "original"]]


async def test_a_small_change_in_a_long_conversation_is_caught_up_with(client: Client) -> None:
    """B11: a later answer; the chat that knows the beginning is told how it went on instead."""
    await client.say(LONG, "1")
    await client.say("two", "original")
    client.messages[-1]["content"] = "edited"
    reply = await client.say("three", "3")
    assert reply.way == CHANGED
    assert "edited" in reply.asked
    assert "original" not in reply.asked
    assert LONG.strip() not in reply.asked
    assert tree(client.rig) == [[[LONG, "1", "two", "original"], [LONG, "1", reply.asked, "3"]]]
    assert (await client.say("four", "4")).way == NEXT
    assert tree(client.rig)[0][1][2:] == [reply.asked, "3", "four", "4"]


async def test_a_large_change_is_told_from_the_beginning(client: Client) -> None:
    """B11: when most of it would have to be told again anyway."""
    await client.say("one", "1")
    await client.say("two", "original")
    client.messages[-1]["content"] = LONG
    reply = await client.say("three", "3")
    assert reply.way == TOO_MUCH
    assert reply.asked.index("one") < reply.asked.index(LONG.strip()) < reply.asked.index("three")
    assert "original" not in reply.asked


async def test_a_history_that_lost_its_beginning_is_told_as_it_is(client: Client) -> None:
    """B12: the client has trimmed the oldest messages."""
    for text, answer in (("earliest", "first words"), ("two", "2"), ("three", "3")):
        await client.say(text, answer)
    del client.messages[:2]
    reply = await client.say("four", "4")
    assert reply.way == UNKNOWN
    assert "earliest" not in reply.asked
    assert "first words" not in reply.asked
    assert (await client.say("five", "5")).way == NEXT


async def test_a_window_that_slides_is_a_new_conversation_each_time(client: Client) -> None:
    """B41: a client that sends its last five messages only."""
    ways = []
    for number in range(1, 7):
        del client.messages[:-4]
        ways.append((await client.say(f"question {number}", f"answer {number}")).way)
    assert ways == [FIRST, NEXT, NEXT, UNKNOWN, UNKNOWN, UNKNOWN]


async def test_blocks_of_reasoning_in_old_answers_may_come_and_go(client: Client) -> None:
    """B43: Open WebUI keeps reasoning in the answer, and changes what it says about it."""
    await client.say("one", "1")
    for seconds in (3, 4):
        client.messages[1]["content"] = (
            f'<details type="reasoning" done="true" duration="{seconds}">\n'
            f"<summary>Thought for {seconds} seconds</summary>\n> hm\n</details>\n1"
        )
        assert (await client.say("two", "2")).way == NEXT
        client.forget(2)
    client.messages[1]["content"] = '<details type="tool_calls" done="true"><summary>Done</summary></details>\n1'
    assert (await client.say("two", "2")).way == UNKNOWN


async def test_arguments_of_an_old_call_that_were_edited_make_another_conversation(client: Client) -> None:
    """B25"""
    client.add("user", "read it")
    client.call("call_1", "the file")
    assert (await client.send("a file")).way == UNKNOWN
    edited = client.fork()
    assert (await client.say("and now?", "2")).way == NEXT
    edited.messages[1]["tool_calls"][0]["function"]["arguments"] = '{"file_path":"b.py"}'
    reply = await edited.say("and now?", "2")
    assert reply.way == UNKNOWN
    assert "b.py" in reply.asked


@pytest.mark.parametrize(("opening", "way"), [(LONG * 2, CHANGED), ("one", TOO_MUCH)], ids=["small", "large"])
async def test_an_old_result_that_was_cleared_is_not_remembered(
    client: Client, opening: str, way: tuple[str, str]
) -> None:
    """B26: the client has cleared a result in place, to save room."""
    await client.say(opening, "1")
    client.add("user", "read it")
    client.call("call_1", f"secret {LONG}")
    await client.send("2")
    await client.say("three", "3")
    result = next(message for message in client.messages if message["role"] == "tool")
    result["content"] = "[cleared]"
    reply = await client.say("four", "4")
    assert reply.way == way
    assert "[cleared]" in reply.asked
    assert "secret" not in reply.asked
    assert (await client.say("five", "5")).way == NEXT
    before = [opening, "1"] if way == CHANGED else []
    assert [*before, reply.asked, "4", "five", "5"] in [path for chat in tree(client.rig) for path in chat]


async def test_who_left_in_the_middle_goes_on_with_what_it_has(client: Client) -> None:
    """B31: the partial answer is what the client believes to have been said."""
    await client.say(LONG, "1")
    partial = await client.leave("tell me", "word " * 200, words=3)
    reply = await client.say("go on", "2")
    assert reply.way == CHANGED
    assert partial.strip() in reply.asked
    assert reply.asked.count("word") == partial.count("word")
    first, second = tree(client.rig)[0]
    assert first[:3] == [LONG, "1", "tell me"]
    assert second == [LONG, "1", reply.asked, "2"]
    assert (await client.say("more", "3")).way == NEXT


async def test_who_leaves_and_asks_again_at_once_is_answered(client: Client) -> None:
    """B31, B32: the site still writes the answer that nobody reads, for a while."""
    await client.rig.program(busy_after_abort_ms=60_000)
    await client.say(LONG, "1")
    partial = await client.leave("tell me", "word " * 200, settle=False)
    reply = await client.say("go on", "2")
    assert reply.way in (CHANGED, ("replay", "busy")), "by whether the stop or the question came first"
    assert reply.asked.count("word") == partial.count("word")
    assert (await client.say("more", "3")).way == NEXT


async def test_who_left_in_the_first_answer_begins_again_with_what_it_has(client: Client) -> None:
    """B31: there is nothing to go on from, and the chat of that answer is not kept."""
    rig = client.rig
    partial = await client.leave("tell me", "word " * 200, words=3)
    reply = await client.say("go on", "2")
    assert reply.way == UNKNOWN
    assert partial.strip() in reply.asked
    await until(lambda: len(rig.left_over) == 1)
    assert tree(rig) == [[[reply.asked, "2"]]]


async def test_an_answer_that_broke_off_is_no_place_to_go_on_from(client: Client) -> None:
    """B29: the site's stream ended in the middle, and the client keeps what came."""
    await client.say(LONG, "1")
    partial = await client.broken("tell me", WORDS)
    assert partial
    assert partial != WORDS
    reply = await client.say("go on", "2")
    assert reply.way == CHANGED
    assert partial.strip() in reply.asked
    assert tree(client.rig)[0][1] == [LONG, "1", reply.asked, "2"]


async def test_an_answer_that_broke_off_is_one_after_all_when_the_site_has_exactly_it(tmp_path: Path) -> None:
    """B29, upgraded: with `verify_unclean` the chat is read back."""
    async with running(tmp_path, **CONVERSING, verify_unclean=True) as rig:
        client = Client(rig)
        await client.say(LONG, "1")
        partial = await client.broken("tell me", WORDS)
        reply = await client.say("go on", "2")
        assert (reply.way, reply.asked) == (NEXT, "go on")
        assert tree(rig) == [[[LONG, "1", "tell me", partial, "go on", "2"]]]


async def test_an_answer_that_is_stored_late_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B29, upgraded: the chat shows it a moment after the stream."""
    monkeypatch.setattr(path, "VERIFY_AGAIN", 0.3)
    async with running(tmp_path, **CONVERSING, verify_unclean=True) as rig:
        await rig.program(stored_after_ms=100)
        client = Client(rig)
        await client.say(LONG, "1")
        await client.broken("tell me", WORDS)
        assert (await client.say("go on", "2")).way == NEXT


async def test_a_site_that_went_on_alone_has_another_answer_than_the_client(tmp_path: Path) -> None:
    """B31 with `verify_unclean`: the stored answer is longer than what the client got, so it is not gone on from."""
    async with running(tmp_path, **CONVERSING, verify_unclean=True) as rig:
        client = Client(rig)
        await client.say(LONG, "1")
        await client.leave("tell me", "word " * 200, words=3)
        (chat,) = rig.sim.site.chats.values()
        stored = next(node for node in reversed(chat.nodes.values()) if node.role == "assistant")
        client.messages[-1]["content"] = stored.content[: len(stored.content) // 2]
        assert (await client.say("go on", "2")).way == CHANGED
