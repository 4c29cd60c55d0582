"""Instructions that change while a conversation goes on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .conversations import CONVERSING, FIRST, NEXT, Client, fresh, tree
from .rig import Rig, running

BILLING = "x-anthropic-billing-header: cc_version=2.1.29; cch={}"


@pytest.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with running(tmp_path_factory.mktemp("home"), **CONVERSING) as found:
        yield found


@pytest.fixture
async def rig(home: Rig) -> Rig:
    return await fresh(home)


async def test_instructions_that_stay_are_told_once(rig: Rig) -> None:
    """B1 with instructions."""
    client = Client(rig, instructions="Answer in French.")
    reply = await client.say("one", "1")
    assert "Answer in French." in reply.asked
    for text in ("two", "three"):
        reply = await client.say(text, text)
        assert (reply.way, reply.asked) == (NEXT, text)


async def test_changed_instructions_are_told_again_before_the_question(rig: Rig) -> None:
    """B13: a line with the date; and then once only."""
    client = Client(rig, instructions="Be kind.\nToday is Monday.")
    await client.say("one", "1")
    client.instruct("Be kind.\nToday is Tuesday.")
    reply = await client.say("two", "2")
    assert reply.way == NEXT
    assert reply.asked.startswith("[Updated instructions ")
    assert "Today is Tuesday." in reply.asked
    assert "Monday" not in reply.asked
    assert reply.asked.endswith("two")
    reply = await client.say("three", "3")
    assert (reply.way, reply.asked) == (NEXT, "three")
    assert [len(path) for path in tree(rig)[0]] == [6]


async def test_another_branch_is_told_the_instructions_that_it_does_not_know(rig: Rig) -> None:
    """B13 with B2: what one branch was told, the other was not."""
    client = Client(rig, instructions="Be kind.")
    await client.say("one", "1")
    older = client.fork()
    client.instruct("Be brief.")
    await client.say("two", "2")
    older.instruct("Be brief.")
    reply = await older.say("zwei", "2b")
    assert reply.way == NEXT
    assert "Be brief." in reply.asked


async def test_instructions_that_are_gone_are_taken_back(rig: Rig) -> None:
    """B13: the client sends none any more; and one that had none gets some."""
    client = Client(rig, instructions="Answer in French.")
    await client.say("one", "1")
    client.instruct("")
    reply = await client.say("two", "2")
    assert reply.way == NEXT
    assert reply.asked.startswith("[Updated instructions ")
    assert "French" not in reply.asked
    client.instruct("Answer in German.")
    reply = await client.say("three", "3")
    assert reply.way == NEXT
    assert "Answer in German." in reply.asked


async def test_other_instructions_begin_a_new_chat_where_the_owner_wants_it(tmp_path: Path) -> None:
    """B13 with `changed_instructions = replay`."""
    async with running(tmp_path, **CONVERSING, changed_instructions="replay") as rig:
        client = Client(rig, instructions="Be kind.")
        await client.say("one", "1")
        client.instruct("Be brief.")
        reply = await client.say("two", "2")
        assert reply.way == ("replay", "instructions")
        assert "Be brief." in reply.asked
        assert "Be kind." not in reply.asked
        assert (await client.say("three", "3")).way == NEXT


async def test_a_line_that_changes_with_every_request_is_no_change(rig: Rig) -> None:
    """B14: Claude Code's billing header."""
    client = Client(rig, instructions=f"{BILLING.format('a1')}\nBe kind.")
    await client.say("one", "1")
    for number, text in enumerate(("two", "three")):
        client.instruct(f"{BILLING.format(number)}\nBe kind.")
        reply = await client.say(text, text)
        assert (reply.way, reply.asked) == (NEXT, text)


async def test_the_owner_says_which_lines_those_are(tmp_path: Path) -> None:
    """B14 with `volatile_lines`: then the billing header is a line like others."""
    async with running(tmp_path, **CONVERSING, volatile_lines=("^Today is .*$",)) as rig:
        client = Client(rig, instructions="Be kind.\nToday is Monday.")
        await client.say("one", "1")
        client.instruct("Be kind.\nToday is Tuesday.")
        assert (await client.say("two", "2")).asked == "two"
        client.instruct(f"Be kind.\n{BILLING.format('a1')}")
        assert "billing" in (await client.say("three", "3")).asked


async def test_instructions_in_the_middle_are_a_part_of_the_conversation(rig: Rig) -> None:
    """B48: a system message between two others, and one after the last answer."""
    client = Client(rig, instructions="Be kind.")
    await client.say("one", "1")
    client.add("system", "From now on be brief.")
    reply = await client.say("two", "2")
    assert reply.way == NEXT
    assert reply.asked.startswith("[Instruction ")
    assert "From now on be brief." in reply.asked
    assert "Be kind." not in reply.asked
    reply = await client.say("three", "3")
    assert (reply.way, reply.asked) == (NEXT, "three")
    client.messages = [one for one in client.messages if one["content"] != "From now on be brief."]
    assert (await client.say("four", "4")).way != NEXT, "without it, it is another conversation"


async def test_the_same_instructions_do_not_make_two_conversations_one(rig: Rig) -> None:
    """B13 the other way round: equal instructions and questions, other answers."""
    first, second = Client(rig, instructions="Be kind."), Client(rig, instructions="Be kind.")
    for client, answer in ((first, "1"), (second, "1b")):
        assert (await client.say("one", answer)).way == FIRST
    for client, answer in ((first, "2"), (second, "2b")):
        assert (await client.say("two", answer)).way == NEXT
    assert [path[1:] for (path,) in tree(rig)] == [["1", "two", "2"], ["1b", "two", "2b"]]
