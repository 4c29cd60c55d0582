"""Chats as trees: where a question may hang, what the model sees above it, when the chat shows it, how it is told."""

import pytest

from qwen_gateway.simulator.frames import Ids
from qwen_gateway.simulator.tree import Chat, Node

from .shapes import Json, is_json
from .visitor import RawReply, Visitor, question, until

pytestmark = pytest.mark.anyio


async def _asked(visitor: Visitor, chat: str, prompt: str, parent: str | None = None) -> tuple[str, str]:
    """The ids of a question and its answer."""
    created = (await visitor.send(question(chat, prompt, parent))).created()
    return str(created["parent_id"]), str(created["response_id"])


async def _shown(visitor: Visitor, chat: str) -> Json:
    """The messages of a chat as the site shows them."""
    inner = (await visitor.get(f"/api/v2/chats/{chat}")).data()["chat"]
    assert is_json(inner)
    assert is_json(inner["history"])
    messages = inner["history"]["messages"]
    assert is_json(messages)
    return messages


async def _told(visitor: Visitor, chat: str) -> Json:
    listed = (await visitor.get("/__sim/tree")).json()["chats"]
    assert isinstance(listed, list)
    return next(one for one in listed if one["id"] == chat)


async def _nodes(visitor: Visitor, chat: str) -> dict[str, Json]:
    nodes = (await _told(visitor, chat))["nodes"]
    assert isinstance(nodes, list)
    return {node["id"]: node for node in nodes}


async def _left_alone(visitor: Visitor, chat: str) -> RawReply:
    """An answer whose client goes away after two of its three words."""
    await visitor.program({"text": "a b c", "error": "stall", "after_chunks": 2})
    running = await visitor.open_raw(question(chat, "hi"))
    await running.reader.readuntil(b'"content": " b"')
    await running.close()
    await until(lambda: not visitor.sim.site.streams)
    return running


# --- where a question may hang ---


async def test_a_chat_may_hold_several_conversations(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    first, second = await _asked(visitor, chat, "one"), await _asked(visitor, chat, "two")
    nodes = await _nodes(visitor, chat)
    assert [nodes[node]["parent"] for node in (*first, *second)] == [None, first[0], None, second[0]]


async def test_a_question_below_a_question_is_taken_and_does_not_see_the_answer(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    asked, answered = await _asked(visitor, chat, "one")
    below, _ = await _asked(visitor, chat, "two", parent=asked)
    nodes = await _nodes(visitor, chat)
    assert nodes[asked]["children"] == [answered, below]
    assert [node.id for node in visitor.sim.site.chats[chat].branch(below)] == [asked, below]


async def test_a_parent_of_another_chat_is_unknown(visitor: Visitor) -> None:
    chat, other = await visitor.new_chat(), await visitor.new_chat()
    _, answered = await _asked(visitor, chat, "one")
    refused = await visitor.send(question(other, "two", answered))
    assert (refused.data()["code"], answered in str(refused.data()["details"])) == ("PARENT_NOT_FOUND", True)


def _grown(*ids: tuple[str, str, str | None]) -> Chat:
    """A chat with these questions, answers and parents."""
    chat = Chat("u", "m")
    for asked, answered, parent in ids:
        chat.begin(Node("", parent, "user", asked, "m", "t2t"), Ids(chat.id, asked, answered))
    return chat


def test_a_branch_is_what_stands_above() -> None:
    chat = _grown(("q1", "a1", None), ("q2", "a2", "a1"), ("q3", "a3", "a1"))
    assert [node.id for node in chat.branch("a3")] == ["q1", "a1", "q3", "a3"]
    assert chat.branch(None) == chat.branch("elsewhere") == []


def test_a_lost_message_takes_all_below_with_it() -> None:
    chat = _grown(("q1", "a1", None), ("q2", "a2", "a1"), ("q3", "a3", "a1"), ("q4", "a4", "a3"))
    chat.lose("q3")
    assert list(chat.nodes) == ["q1", "a1", "q2", "a2"]
    assert (chat.nodes["a1"].children, chat.current) == (["q2"], "a1")
    chat.lose("q1")
    assert (chat.nodes, chat.current) == ({}, None)


def test_a_long_conversation_can_be_lost() -> None:
    chat = _grown(*((f"q{n}", f"a{n}", f"a{n - 1}" if n else None) for n in range(2000)))
    chat.lose("a0")
    assert (list(chat.nodes), chat.current) == (["q0"], "q0")


# --- stopped, left, and stored later ---


async def test_a_stopped_answer_keeps_what_was_said(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    await visitor.program({"text": "a b c", "error": "stall", "after_chunks": 2})
    running = await visitor.open_raw(question(chat, "hi"))
    await running.reader.readuntil(b'"content": " b"')
    await visitor.post("/api/v2/chat/completions/stop", {"chat_id": chat})
    await until(lambda: not visitor.sim.site.streams)
    await running.close()
    (answer,) = [node for node in (await _nodes(visitor, chat)).values() if node["role"] == "assistant"]
    assert (answer["text"], answer["done"], answer["error"]) == ("a b", True, None)
    assert (await visitor.send(question(chat, "on", str(answer["id"])))).said() == "ok"


async def test_an_answer_that_was_left_alone_is_whole_when_its_chat_is_free(visitor: Visitor) -> None:
    await visitor.program(site={"busy_after_abort_ms": 60_000})
    chat = await visitor.new_chat()
    await _left_alone(visitor, chat)
    told = await _told(visitor, chat)
    _, answer = (await _nodes(visitor, chat)).values()
    assert (told["busy"], answer["text"], answer["done"]) == (True, "a b", False)
    visitor.sim.site.chats[chat].busy_until = 0
    told = await _told(visitor, chat)
    _, answer = (await _nodes(visitor, chat)).values()
    assert (told["busy"], answer["text"], answer["done"]) == (False, "a b c", True)


async def test_an_answer_that_was_left_alone_can_still_be_stopped(visitor: Visitor) -> None:
    await visitor.program(site={"busy_after_abort_ms": 60_000})
    chat = await visitor.new_chat()
    await _left_alone(visitor, chat)
    assert (await visitor.send(question(chat, "hi"))).data()["details"] == "The chat is in progress!"
    await visitor.post("/api/v2/chat/completions/stop", {"chat_id": chat})
    _, answer = (await _nodes(visitor, chat)).values()
    assert (answer["text"], answer["done"]) == ("a b", True)
    assert (await visitor.ask("hi", chat=chat)).said() == "ok"


async def test_a_chat_can_be_busy_with_an_answer_that_had_not_begun(visitor: Visitor) -> None:
    await visitor.program({"first_byte_ms": 60_000}, site={"busy_after_abort_ms": 60_000})
    chat = await visitor.new_chat()
    running = await visitor.open_raw(question(chat, "hi"))
    await until(lambda: bool(visitor.sim.site.streams))
    await running.close()
    await until(lambda: not visitor.sim.site.streams)
    told = await _told(visitor, chat)
    assert (told["busy"], told["nodes"]) == (True, [])
    await visitor.post("/api/v2/chat/completions/stop", {"chat_id": chat})
    assert (await _told(visitor, chat))["busy"] is False


async def test_messages_can_be_shown_later_and_be_asked_after_at_once(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    first, answered = await _asked(visitor, chat, "one")
    await visitor.program(site={"stored_after_ms": 60_000})
    late = await _asked(visitor, chat, "two", parent=answered)
    shown = await _shown(visitor, chat)
    assert list(shown) == [first, answered]
    above = shown[answered]
    assert is_json(above)
    assert above["childrenIds"] == []
    assert (await visitor.get(f"/api/v2/chats/{chat}")).data()["currentId"] == answered
    assert list(await _nodes(visitor, chat)) == [first, answered, *late]
    assert (await visitor.send(question(chat, "three", late[1]))).said() == "ok"
    for node in visitor.sim.site.chats[chat].nodes.values():
        node.shown_at -= 61
    assert len(await _shown(visitor, chat)) == 6
    assert (await visitor.get(f"/api/v2/chats/{chat}")).data()["currentId"] not in (answered, None)


async def test_while_a_stream_runs_its_messages_are_shown_unless_they_come_later(visitor: Visitor) -> None:
    for later, count in ((0, 2), (1, 0)):
        chat = await visitor.new_chat()
        await visitor.program({"error": "stall"}, site={"stored_after_ms": later})
        running = await visitor.open_raw(question(chat, "hi"))
        await running.reader.readuntil(b"choices")
        assert len(await _shown(visitor, chat)) == count
        await running.close()


# --- as told to tests ---


async def test_the_tree_is_told_in_plain_words(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    asked, answered = await _asked(visitor, chat, "repeat: one")
    await visitor.delete(f"/api/v2/chats/{chat}")
    assert await _told(visitor, chat) == {
        "id": chat,
        "account": visitor.sim.site.chats[chat].user,
        "title": "repeat: one",
        "model": "qwen3.7-plus",
        "deleted": True,
        "busy": False,
        "current": answered,
        "nodes": [
            {
                "id": asked,
                "parent": None,
                "role": "user",
                "text": "repeat: one",
                "children": [answered],
                "done": True,
                "error": None,
            },
            {
                "id": answered,
                "parent": asked,
                "role": "assistant",
                "text": "one",
                "children": [],
                "done": True,
                "error": None,
            },
        ],
    }


async def test_a_request_tells_its_parent_and_its_size(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    _, answered = await _asked(visitor, chat, "one")
    await visitor.send(question(chat, "tw\N{LATIN SMALL LETTER O WITH DIAERESIS}", answered))
    await visitor.send(question(chat, "three", "nowhere"))
    await visitor.post_bytes("/api/v2/chat/completions", b"[1]")
    seen = await visitor.seen()
    assert [one["parent"] for one in seen] == [None, answered, "nowhere", None]
    sizes = [int(str(one["size"])) for one in seen]
    assert sizes[3] == 3
    assert sizes[1] > sizes[0] > 500
