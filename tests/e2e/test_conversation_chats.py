"""Accounts, chats and memories that went away: the client is answered all the same, with what it has told."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qwen_gateway.relay import machine, memory
from qwen_gateway.simulator import Simulator

from .conversations import CONVERSING, LONG, NEXT, OTHER, UNKNOWN, Client, fresh, owner, tree
from .rig import Rig, running, until
from .wire import Json

LOST = ("replay", "lost")
BUSY = ("replay", "busy")
ELSEWHERE = ("replay", "account")


@pytest.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with running(tmp_path_factory.mktemp("home"), **CONVERSING) as found:
        yield found


@pytest.fixture
async def rig(home: Rig) -> Rig:
    return await fresh(home)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Rig]:
    """A gateway with the accounts `ann` and `bob`."""
    async with running(tmp_path, own=False, **CONVERSING) as found:
        await found.join("ann", "bob")
        yield found


@pytest.fixture
async def site() -> AsyncIterator[Simulator]:
    async with Simulator() as found:
        yield found


async def _talked(rig: Rig, **more: object) -> Client:
    """After two questions."""
    client = Client(rig, **more)  # type: ignore[arg-type]
    await client.say("one", "1")
    await client.say("two", "2")
    return client


async def _forget(rig: Rig, **what: object) -> None:
    """A person deletes something at the site by hand."""
    assert (await rig.http.post(f"{rig.sim.url}/__sim/forget", json=what)).status_code == 200


# -- callers and models


async def test_another_key_does_not_enter_the_chat(tmp_path: Path) -> None:
    """B6: it sends the same history."""
    async with running(tmp_path, **CONVERSING, api_keys=("first-key", "second-key")) as rig:
        first = await _talked(rig, key="first-key")
        second = first.fork(key="second-key")
        assert (await second.say("three", "3b")).way == UNKNOWN
        assert (await first.say("three", "3")).way == NEXT
        assert [path[-2:] for (path,) in tree(rig)] == [["three", "3"], [tree(rig)[1][0][0], "3b"]]
        assert (await second.say("four", "4")).way == NEXT


async def test_keys_that_were_made_have_conversations_of_their_own(rig: Rig) -> None:
    """B6 with keys from the database."""
    keys = [(await rig.manage("POST", "/keys", {"name": name})).json()["text"] for name in ("ann", "bob")]
    ann = await _talked(rig, key=keys[0])
    assert (await ann.fork(key=keys[1]).say("three", "3")).way == UNKNOWN
    assert (await ann.say("three", "3")).way == NEXT


async def test_another_model_does_not_enter_the_chat(rig: Rig) -> None:
    """B7: the client changes the model, and back."""
    client = await _talked(rig)
    other = client.fork(body={"model": OTHER})
    assert (await other.say("three", "3b")).way == UNKNOWN
    assert (await other.say("four", "4b")).way == NEXT
    assert (await client.say("three", "3")).way == NEXT
    assert [len(path) for (path,) in tree(rig)] == [6, 4]


async def test_a_rotated_key_is_the_same_key_and_a_new_one_is_not(rig: Rig) -> None:
    """B52: rotating keeps the id, so the conversations stay its own."""
    key = (await rig.manage("POST", "/keys", {"name": "old"})).json()["text"]
    client = await _talked(rig, key=key)
    client.key = (await rig.manage("POST", "/keys/old/rotate")).json()["text"]
    assert (await client.say("three", "3")).way == NEXT
    client.key = (await rig.manage("POST", "/keys", {"name": "new"})).json()["text"]
    assert (await client.say("four", "4")).way == UNKNOWN


async def test_callers_with_tokens_of_their_own_have_conversations_of_their_own(tmp_path: Path) -> None:
    """B6 in pass-through mode; a renewed token of the same account is the same caller."""
    async with running(tmp_path, own=False, pass_through=True, api_keys=(), **CONVERSING) as rig:
        ann = await _talked(rig, key=rig.sim.token("ann", expires_in=1000))
        bob = ann.fork(key=rig.sim.token("bob"))
        assert (await bob.say("three", "3b")).way == UNKNOWN
        ann.key = rig.sim.token("ann", expires_in=2000)
        assert (await ann.say("three", "3")).way == NEXT
        assert [owner(rig, number) for number in range(2)] == ["ann", "bob"]


# -- accounts


async def test_a_conversation_stays_with_its_account(pair: Rig) -> None:
    """B1 with two accounts, of which new conversations are spread."""
    clients = [Client(pair) for _ in range(4)]
    for turn in ("one", "two", "three"):
        for number, client in enumerate(clients):
            await client.say(f"{number} {turn}", f"to {number} {turn}")
    assert [len(path) for (path,) in tree(pair)] == [6] * 4
    assert sorted(owner(pair, number) for number in range(4)) == ["ann", "ann", "bob", "bob"]


@pytest.mark.parametrize(("method", "path"), [("POST", "/pause"), ("DELETE", "")], ids=["paused", "removed"])
async def test_without_its_account_a_conversation_goes_on_with_another(pair: Rig, method: str, path: str) -> None:
    """B17: somebody has taken the account away."""
    client = await _talked(pair)
    name = owner(pair, 0)
    assert (await pair.manage(method, f"/accounts/{name}{path}")).status == 200
    reply = await client.say("three", "3")
    assert reply.way == ELSEWHERE
    assert "one" in reply.asked
    assert owner(pair, 1) != name
    assert (await client.say("four", "4")).way == NEXT


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_an_account_that_refuses_in_the_middle_of_a_conversation_is_not_noticed(pair: Rig, stream: bool) -> None:
    """B17: its limit for today is used up, which shows only when it is asked; then it rests."""
    client = await _talked(pair, stream=stream)
    name = owner(pair, 0)
    older = client.fork()
    await pair.behave(**{name: {"state": "rate_limited", "num": 3}})
    assert (await client.say("three", "3")).way == ELSEWHERE
    assert owner(pair, 1) != name
    asked = pair.sim.site.tallies[name].asked
    assert (await client.say("four", "4")).way == NEXT
    assert (await older.say("drei", "3b")).way == ELSEWHERE
    assert pair.sim.site.tallies[name].asked == asked, "one that rests is left alone"


async def test_a_site_that_is_busy_everywhere_is_told(pair: Rig) -> None:
    """B17: there is no other account either."""
    client = await _talked(pair)
    await pair.behave(ann="challenged", bob="challenged")
    client.add("user", "three")
    assert (await client.refused()).status == 503


async def test_a_log_in_that_is_renewed_in_the_middle_leaves_the_conversation_where_it_is(rig: Rig) -> None:
    """B17: the site does not know the token any more, and takes the new one."""
    client = await _talked(rig)
    await rig.program({"error": "unauthorized"})
    reply = await client.say("three", "3")
    assert rig.sim.site.refreshes == 1
    assert (reply.way, reply.asked) == (NEXT, "three")
    assert len(rig.sim.site.chats) == 1


# -- chats


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_chat_that_was_deleted_by_hand_is_not_missed(rig: Rig, stream: bool) -> None:
    """B18"""
    client = await _talked(rig, stream=stream)
    older = client.fork()
    older.forget(2)
    (gone,) = rig.sim.site.chats
    await _forget(rig, chats=[gone])
    reply = await client.say("three", "3")
    assert (reply.way, reply.text) == (LOST, "3")
    assert all(text in reply.asked for text in ("one", "1", "two", "2", "three"))
    assert (await client.say("four", "4")).way == NEXT
    asked = len(rig.sim.site.seen)
    assert (await older.say("zwei", "2b")).way == UNKNOWN, "nothing of that chat is known any more"
    assert len(rig.sim.site.seen) == asked + 1, "so it is not asked again"


async def test_a_place_that_the_site_has_lost_is_not_missed(rig: Rig) -> None:
    """B33: the chat is there, and the answer to go on from is not."""
    client = await _talked(rig)
    (chat,) = rig.sim.site.chats.values()
    assert chat.current is not None
    await _forget(rig, nodes=[chat.current])
    reply = await client.say("three", "3")
    assert (reply.way, reply.text) == (LOST, "3")
    assert (await client.say("four", "4")).way == NEXT


async def test_all_chats_deleted_by_hand_are_not_missed(rig: Rig) -> None:
    """B51: in each of the conversations."""
    clients = [Client(rig) for _ in range(3)]
    for number, client in enumerate(clients):
        await client.say(f"conversation {number}", str(number))
    await _forget(rig, chats="all")
    for number, client in enumerate(clients):
        reply = await client.say("go on", f"{number}b")
        assert reply.way == LOST
        assert f"conversation {number}" in reply.asked
    for client in clients:
        assert (await client.say("and on")).way == NEXT


async def test_a_chat_in_which_an_answer_still_runs_is_left_for_a_new_one(rig: Rig) -> None:
    """B32: the site says so, though nobody here is asking there."""
    client = await _talked(rig)
    next(iter(rig.sim.site.chats.values())).busy_until = time.time() + 60
    reply = await client.say("three", "3")
    assert reply.way == BUSY
    assert "one" in reply.asked
    assert rig.sim.site.stops == 0
    assert (await client.say("four", "4")).way == NEXT


async def test_of_two_chats_the_one_that_is_free_is_asked(rig: Rig) -> None:
    """B32: another chat knows the same."""
    first, second = Client(rig), Client(rig)
    for client in (first, second):
        await client.say("one", "1")
    old, new = rig.sim.site.chats.values()
    new.busy_until = time.time() + 60
    assert (await first.say("two", "2")).way == NEXT
    assert [node.content for node in old.nodes.values()] == ["one", "1", "two", "2"]


async def test_a_busy_chat_is_waited_for_when_the_conversation_is_too_long_to_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B32: what still runs there is stopped first."""
    monkeypatch.setattr(machine, "BUSY_WAITS", (0.05, 0.05))
    async with running(tmp_path, **CONVERSING, long_conversations="refuse") as rig:
        client = Client(rig)
        for number in range(3):
            await client.say(f"{number} {'x' * 50_000}", str(number))
        (chat,) = rig.sim.site.chats.values()
        chat.busy_until = time.time() + 60
        reply = await client.say("go on", "3")
        assert (reply.way, reply.asked) == (NEXT, "go on")
        assert rig.sim.site.stops == 1
        assert len(rig.sim.site.chats) == 1


IN_STREAM: Json = {"after_chunks": 0}
"""The site's sentence comes as an event, where an answer should begin."""


@pytest.mark.parametrize(
    ("turn", "way"),
    [
        ({"error": "empty"}, ("replay", "empty")),
        ({"error": "http_503"}, ("replay", "failed")),
        ({"error": "disconnect"}, ("replay", "failed")),
        ({"error": "chat_deleted"}, LOST),
        ({"error": "chat_deleted", **IN_STREAM}, LOST),
        ({"error": "parent_unknown"}, LOST),
        ({"error": "parent_unknown", **IN_STREAM}, LOST),
        ({"error": "not_found"}, LOST),
        ({"error": "in_progress"}, BUSY),
        ({"error": "in_progress", **IN_STREAM}, BUSY),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
async def test_when_asking_there_fails_the_conversation_is_told_anew(
    rig: Rig, turn: Json, way: tuple[str, str]
) -> None:
    """B18, B32, B33 for all ways in which the site says so: nothing of it is seen."""
    client = await _talked(rig)
    await rig.program(turn)
    reply = await client.say("three", "3")
    assert (reply.way, reply.text) == (way, "3")
    assert "one" in reply.asked
    assert [len(branch) for branch in tree(rig)[-1]] == [2]
    assert (await client.say("four", "4")).way == NEXT


async def test_what_fails_twice_is_told(rig: Rig) -> None:
    """B18: one replay for a request, and never more than three questions."""
    client = await _talked(rig)
    asked = len(rig.sim.site.seen)
    await rig.program({"error": "empty", "sticky": True})
    client.add("user", "three")
    answer = await client.refused()
    assert answer.status >= 500
    assert len(rig.sim.site.seen) - asked in (2, 3)
    await rig.http.post(f"{rig.sim.url}/__sim/program", json={})
    rig.sim.site.queue.clear()
    assert (await client.send("3")).way == NEXT, "the chat itself is as it was"


# -- what the gateway remembers


async def test_a_conversation_goes_on_after_a_restart(tmp_path: Path, site: Simulator) -> None:
    """B34: whatever was answered in the last moment is remembered too."""
    async with running(tmp_path, site=site, **CONVERSING) as rig:
        client = await _talked(rig, instructions="Be kind.")
    async with running(tmp_path, site=site, **CONVERSING) as rig:
        client.rig = rig
        reply = await client.say("three", "3")
        assert (reply.way, reply.asked) == (NEXT, "three")
        assert [len(path) for (path,) in tree(rig)] == [6]
        client.messages = client.messages[:3]
        assert (await client.say("zwei", "2b")).way == NEXT, "its older branches are known too"


async def test_without_its_memory_a_gateway_tells_everything_anew(tmp_path: Path, site: Simulator) -> None:
    """B35: the database is lost, or it is a gateway that has another one."""
    async with running(tmp_path / "a", site=site, **CONVERSING) as rig:
        client = await _talked(rig)
    async with running(tmp_path / "b", site=site, **CONVERSING) as rig:
        client.rig = rig
        assert (await client.say("three", "3")).way == UNKNOWN
        assert (await client.say("four", "4")).way == NEXT
        assert len(rig.left_over) == 2, "the chat of the other one is not touched"


async def test_while_the_database_is_held_conversations_are_told_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B35 for a moment: nobody waits for it longer than `store_timeout`, and afterwards all is as before."""
    monkeypatch.setattr(memory, "RETRY", 0.1)
    async with running(tmp_path, **CONVERSING, store_timeout=1) as rig:
        client = await _talked(rig)
        remembered = rig.service.turns.conversations._memory
        await until(lambda: not remembered._has_work)
        meanwhile = client.fork()
        database = sqlite3.connect(tmp_path / "data" / "gateway.db", isolation_level=None, check_same_thread=False)
        with contextlib.closing(database) as other:
            # In a thread: the gateway in this loop may be writing.
            await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
            reply = await meanwhile.say("three", "3b")
            assert reply.way[0] == "replay"
            assert reply.way[1] in ("store", "busy")
            other.execute("ROLLBACK")
        await until(lambda: not remembered._has_work)
        assert (await client.say("three", "3")).way == NEXT
        assert (await meanwhile.say("four", "4")).way == NEXT


async def test_a_long_first_message_is_told_once(rig: Rig) -> None:
    """B1: what travels does not grow with the conversation."""
    client = Client(rig)
    await client.say(LONG * 10, "1")
    sizes = []
    for number in range(4):
        await client.say(f"question {number}", "ok")
        sizes.append(rig.sim.site.seen[-1].size)
    assert max(sizes) < 2000
    assert max(sizes) - min(sizes) < 100
