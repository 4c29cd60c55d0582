"""One conversation, several ways through it: each question goes below the answer that the client saw last."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from .conversations import CONVERSING, FIRST, NEXT, UNKNOWN, Client, branches, fresh, tree, way
from .rig import Rig, running, until
from .wire import Json

SLOW: Json = {"text": "a b c d e f", "delay_ms": 30}


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


async def _talked(rig: Rig) -> Client:
    """After three questions."""
    client = Client(rig)
    for text, answer in (("one", "1"), ("two", "2"), ("three", "3")):
        await client.say(text, answer)
    return client


async def test_each_question_goes_alone_to_the_chat_that_knows_the_rest(client: Client) -> None:
    """B1: the next turn, streamed or not."""
    assert (await client.say("one", "1")).way == FIRST
    for number, word in enumerate(("two", "three", "four", "five"), 2):
        client.stream = number % 2 == 0
        reply = await client.say(word, str(number))
        assert (reply.way, reply.asked, reply.text) == (NEXT, word, str(number))
    assert tree(client.rig) == [[["one", "1", "two", "2", "three", "3", "four", "4", "five", "5"]]]
    assert not client.rig.sim.site.deleted


async def test_an_answer_that_is_wanted_again_stands_beside_the_first(client: Client) -> None:
    """B2: the last answer is regenerated, and the conversation goes on from the new one."""
    await client.say("one", "1")
    await client.say("two", "2")
    client.forget()
    reply = await client.send("2b")
    assert (reply.way, reply.asked) == (NEXT, "two")
    assert tree(client.rig) == [[["one", "1", "two", "2"], ["one", "1", "two", "2b"]]]
    assert (await client.say("three", "3")).way == NEXT
    assert tree(client.rig) == [[["one", "1", "two", "2"], ["one", "1", "two", "2b", "three", "3"]]]


async def test_who_takes_the_first_answer_after_all_goes_on_there(client: Client) -> None:
    """B2: the client keeps both answers, and goes back to the older one."""
    await client.say("one", "1")
    await client.say("two", "2")
    older = client.fork()
    client.forget()
    await client.send("2b")
    assert (await older.say("three", "3")).way == NEXT
    assert tree(client.rig) == [[["one", "1", "two", "2b"], ["one", "1", "two", "2", "three", "3"]]]


async def test_an_edited_question_hangs_below_the_answer_before_it(rig: Rig) -> None:
    """B3: the second message of the user is edited, which drops what followed."""
    client = await _talked(rig)
    client.forget(4)
    reply = await client.say("zwei", "2b")
    assert (reply.way, reply.asked) == (NEXT, "zwei")
    assert tree(rig) == [[["one", "1", "two", "2", "three", "3"], ["one", "1", "zwei", "2b"]]]
    assert (await client.say("drei", "3b")).way == NEXT
    assert tree(rig)[0][1] == ["one", "1", "zwei", "2b", "drei", "3b"]


async def test_the_first_answer_again_takes_a_chat_of_its_own(client: Client) -> None:
    """B4: the first answer is regenerated; each of the two goes on where it stands."""
    await client.say("one", "1")
    older = client.fork()
    client.forget()
    assert (await client.send("1b")).way == FIRST
    assert tree(client.rig) == [[["one", "1"]], [["one", "1b"]]]
    assert (await client.say("two", "2")).way == NEXT
    assert (await older.say("two", "zwei")).way == NEXT
    assert tree(client.rig) == [[["one", "1", "two", "zwei"]], [["one", "1b", "two", "2"]]]


async def test_an_edited_beginning_is_another_conversation(rig: Rig) -> None:
    """B5: the first message is edited, without what followed it and with it."""
    client = await _talked(rig)
    kept = client.fork()
    client.forget(6)
    assert (await client.say("eins", "1b")).way == FIRST
    kept.messages[0]["content"] = "un"
    reply = await kept.say("four", "4")
    assert reply.way == UNKNOWN
    assert "un\n" in reply.asked
    assert "one" not in reply.asked
    assert [len(chat) for chat in tree(rig)] == [1, 1, 1]
    assert tree(rig)[0] == [["one", "1", "two", "2", "three", "3"]]


async def test_the_same_answer_in_two_conversations_confuses_neither(rig: Rig) -> None:
    """B19, B20: both ended with "Two."; the second goes on first, and then the first."""
    adding, taking = Client(rig), Client(rig)
    await adding.say("one and one?", "Two.")
    await taking.say("three less one?", "Two.")
    for client, text in ((taking, "less two?"), (adding, "and one?"), (taking, "and now?")):
        assert (await client.say(text, f"to {text}")).way == NEXT
    assert tree(rig) == [
        [["one and one?", "Two.", "and one?", "to and one?"]],
        [["three less one?", "Two.", "less two?", "to less two?", "and now?", "to and now?"]],
    ]


async def test_of_two_chats_that_know_the_same_the_newest_is_taken(rig: Rig) -> None:
    """B21: two conversations are the same word by word until now."""
    first, second = Client(rig), Client(rig)
    for client in (first, second):
        assert (await client.say("one", "1")).way == FIRST
    assert (await first.say("two", "2")).way == NEXT
    assert tree(rig) == [[["one", "1"]], [["one", "1", "two", "2"]]]
    assert (await second.say("zwei", "2b")).way == NEXT
    assert tree(rig) == [[["one", "1"]], [["one", "1", "two", "2"], ["one", "1", "zwei", "2b"]]]


async def test_while_one_chat_is_in_use_another_one_is_taken_and_then_a_new_one(rig: Rig) -> None:
    """B16: three at once where two chats know the conversation."""
    clients = [Client(rig), Client(rig)]
    for client in clients:
        await client.say("one", "1")
    clients.append(clients[0].fork())
    await rig.program({**SLOW, "sticky": True})
    for number, client in enumerate(clients):
        client.add("user", str(number))
    answers = []
    for number, client in enumerate(clients, 1):
        answers.append(asyncio.create_task(rig.post(client.request(), key=rig.key)))
        await until(lambda number=number: len(rig.sim.site.streams) == number)  # type: ignore[misc]
    ways = [way(answer) for answer in await asyncio.gather(*answers)]
    assert ways == [NEXT, NEXT, ("replay", "busy")]
    old, newer, own = tree(rig)
    assert (old, newer) == ([["one", "1", "1", SLOW["text"]]], [["one", "1", "0", SLOW["text"]]])
    assert "one" in own[0][0]


async def test_an_answer_that_ended_leaves_its_chat_to_the_next_one(client: Client) -> None:
    """B16: nobody holds a chat for longer than an answer takes, also one that broke off."""
    await client.say("one", "1")
    left = client.fork()
    await left.leave("two", "word " * 100)
    assert (await client.say("three", "3")).way == NEXT


async def test_the_same_request_twice_gives_two_answers_that_both_go_on(client: Client) -> None:
    """B38: a client that lost patience asks again, one after the other."""
    await client.say("one", "1")
    again = client.fork()
    assert (await client.say("two", "2")).way == NEXT
    assert (await again.say("two", "2b")).way == NEXT
    assert (await client.say("three", "3")).way == NEXT
    assert (await again.say("three", "3b")).way == NEXT
    assert tree(client.rig) == [[["one", "1", "two", "2", "three", "3"], ["one", "1", "two", "2b", "three", "3b"]]]


async def test_the_same_request_twice_at_once_makes_two_chats_that_both_go_on(client: Client) -> None:
    """B38: and while the first answer still runs."""
    rig = client.rig
    await client.say("one", "1")
    again = client.fork()
    await rig.program(SLOW)
    first = asyncio.create_task(client.say("two"))
    await until(lambda: bool(rig.sim.site.streams))
    assert (await again.say("two", "2b")).way == ("replay", "busy")
    assert (await first).way == NEXT
    for one in (client, again):
        assert (await one.say("three", "3")).way == NEXT
    assert [len(chat[0]) for chat in tree(rig)] == [6, 4]


async def test_agents_with_the_same_instructions_do_not_wait_for_one_another(rig: Rig) -> None:
    """B40: sub-agents in parallel, with the same instructions and other tasks."""
    agents = [Client(rig, instructions="You are a sub-agent.") for _ in range(6)]
    await rig.program({"text": "done", "delay_ms": 5, "sticky": True})
    for turn, expected in enumerate((FIRST, NEXT, NEXT)):
        replies = await asyncio.gather(*(agent.say(f"task {n}, part {turn}") for n, agent in enumerate(agents)))
        assert [reply.way for reply in replies] == [expected] * 6
    chats = [branches(chat) for chat in rig.sim.site.chats.values()]
    assert len(chats) == 6
    for number, (path,) in enumerate(sorted(chats, key=lambda chat: chat[0][2])):
        assert f"task {number}, part 0" in path[0]
        assert path[2:] == [f"task {number}, part 1", "done", f"task {number}, part 2", "done"]
