"""Chats and messages that vanish: by hand between two questions, or just before one."""

import pytest

from .shapes import Json
from .visitor import Visitor, question

pytestmark = pytest.mark.anyio


def _use(visitor: Visitor, user: str) -> None:
    visitor.headers |= {
        "Cookie": visitor.sim.cookies(user),
        "Authorization": f"Bearer {visitor.sim.access_token(user)}",
    }


async def _begun(visitor: Visitor) -> tuple[str, str, str]:
    """A chat with a question and an answer: their ids."""
    chat = await visitor.new_chat()
    created = (await visitor.ask("one", chat=chat)).created()
    return chat, str(created["parent_id"]), str(created["response_id"])


async def _code(visitor: Visitor, chat: str, parent: str | None) -> object:
    reply = await visitor.send(question(chat, "on", parent))
    return "answered" if reply.text.startswith("data:") else reply.data()["code"]


# --- between two questions ---


async def test_a_chat_deleted_in_another_session_is_gone_in_all(visitor: Visitor) -> None:
    chat, _, answered = await _begun(visitor)
    before = dict(visitor.headers)
    _use(visitor, visitor.sim.site.chats[chat].user)
    await visitor.delete(f"/api/v2/chats/{chat}")
    visitor.headers = before
    assert await _code(visitor, chat, answered) == "CHAT_NOT_FOUND"


async def test_chats_are_deleted_by_hand(visitor: Visitor) -> None:
    chat, _, answered = await _begun(visitor)
    other, _, there = await _begun(visitor)
    assert (await visitor.post("/__sim/forget", {"chats": [chat]})).json() == {"ok": True, "chats": 1, "nodes": 0}
    assert await _code(visitor, chat, answered) == "CHAT_NOT_FOUND"
    assert await _code(visitor, other, there) == "answered"
    assert visitor.sim.site.deleted == [], "those are the ones that clients have deleted"


async def test_all_chats_are_deleted_by_hand_or_those_of_one_account(visitor: Visitor) -> None:
    mine = [await visitor.new_chat() for _ in range(2)]
    _use(visitor, "anna")
    hers = await visitor.new_chat()
    reply = await visitor.post("/__sim/forget", {"chats": "all", "account": "anna"})
    assert reply.json() == {"ok": True, "chats": 1, "nodes": 0}
    site = visitor.sim.site
    assert [site.chats[chat].deleted for chat in (*mine, hers)] == [False, False, True]
    assert (await visitor.post("/__sim/forget", {"chats": "all"})).json()["chats"] == 2
    assert all(chat.deleted for chat in site.chats.values())


async def test_messages_are_deleted_by_hand(visitor: Visitor) -> None:
    chat, asked, answered = await _begun(visitor)
    reply = await visitor.post("/__sim/forget", {"nodes": [asked, answered]})
    assert reply.json() == {"ok": True, "chats": 0, "nodes": 2}
    assert await _code(visitor, chat, answered) == "PARENT_NOT_FOUND"
    assert await _code(visitor, chat, None) == "answered"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"chats": ["x1"]}, "x1"),
        ({"nodes": ["x2"]}, "x2"),
        ({"chats": "some"}, "chats"),
        ({"chat": []}, "chat"),
        ({"account": "anna"}, "account"),
    ],
)
async def test_what_is_not_there_is_not_forgotten(body: Json, named: str, visitor: Visitor) -> None:
    chat, _, answered = await _begun(visitor)
    both: Json = {"nodes": [answered], **body} if "nodes" not in body else {"chats": [chat], **body}
    reply = await visitor.post("/__sim/forget", both)
    assert reply.status == 400
    assert named in str(reply.json()["error"])
    assert await _code(visitor, chat, answered) == "answered"


async def test_a_chat_is_forgotten_only_once(visitor: Visitor) -> None:
    chat, _, answered = await _begun(visitor)
    await visitor.post("/__sim/forget", {"chats": [chat]})
    assert (await visitor.post("/__sim/forget", {"chats": [chat]})).status == 400
    assert (await visitor.post("/__sim/forget", {"nodes": [answered]})).status == 400


async def test_forgetting_leaves_the_demo_responder(visitor: Visitor) -> None:
    await visitor.post("/__sim/forget", {"chats": "all"})
    assert "simulator" in (await visitor.ask("hello")).said()


# --- just before a question ---


async def test_a_turn_can_find_its_chat_deleted(visitor: Visitor) -> None:
    chat, _, answered = await _begun(visitor)
    other, _, there = await _begun(visitor)
    await visitor.program({"error": "chat_lost"}, {"text": "anew"})
    assert [await _code(visitor, chat, answered) for _ in range(2)] == ["CHAT_NOT_FOUND"] * 2
    assert (await visitor.send(question(other, "on", there))).said() == "anew"


async def test_a_turn_can_find_all_chats_of_its_account_deleted(visitor: Visitor) -> None:
    _use(visitor, "anna")
    hers = await visitor.new_chat()
    _use(visitor, "bert")
    chat, _, answered = await _begun(visitor)
    other = await visitor.new_chat()
    await visitor.program({"error": "chats_lost"})
    assert await _code(visitor, chat, answered) == "CHAT_NOT_FOUND"
    site = visitor.sim.site
    assert [site.chats[one].deleted for one in (hers, chat, other)] == [False, True, True]


async def test_a_turn_can_find_its_parent_deleted(visitor: Visitor) -> None:
    chat, asked, answered = await _begun(visitor)
    await visitor.program({"error": "parent_lost"})
    refused = await visitor.send(question(chat, "on", answered))
    details = f"Invalid input chat parent_id {answered} is not exist."
    assert refused.data() == {"code": "PARENT_NOT_FOUND", "details": details}
    assert await _code(visitor, chat, answered) == "PARENT_NOT_FOUND"
    assert await _code(visitor, chat, asked) == "answered"


@pytest.mark.parametrize("name", ["chat_lost", "chats_lost", "parent_lost"])
async def test_a_loss_is_no_fault_of_a_running_stream_nor_of_another_endpoint(name: str, visitor: Visitor) -> None:
    assert (await visitor.program({"error": name, "after_chunks": 1})).status == 400
    assert (await visitor.program(site={"models_fault": name})).status == 400
