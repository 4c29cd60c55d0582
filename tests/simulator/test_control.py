"""The control interface: what is taken, what is refused, what is told."""

import pytest

from .shapes import Json
from .visitor import Visitor

pytestmark = pytest.mark.anyio


async def test_unused_the_demo_answers_and_used_ok(visitor: Visitor) -> None:
    assert "simulator" in (await visitor.ask("hello")).said()
    await visitor.post("/__sim/reset", {})
    assert (await visitor.ask("hello")).said() == "ok"


async def test_turns_are_taken_in_order_where_they_fit(visitor: Visitor) -> None:
    await visitor.program({"text": "tea", "match": "cup"}, {"text": "one"}, {"text": "two"})
    said = [(await visitor.ask(prompt)).said() for prompt in ("hi", "a cup", "hi", "hi", "a cup")]
    assert said == ["one", "tea", "two", "ok", "ok"]


async def test_a_sticky_turn_stays(visitor: Visitor) -> None:
    await visitor.program({"text": "again", "match": "x", "sticky": True})
    assert [(await visitor.ask("x")).said() for _ in range(3)] == ["again"] * 3
    assert (await visitor.ask("y")).said() == "ok"


REFUSED: dict[str, tuple[Json, str]] = {
    "unknown key": ({"turns": [{"texd": "x"}]}, "texd"),
    "unknown key inside": ({"turns": [{"usage": {"inputs": 1}}]}, "inputs"),
    "unknown top key": ({"turn": []}, "turn"),
    "unknown switch": ({"site": {"strict_jaw": True}}, "strict_jaw"),
    "wrong type": ({"turns": [{"delay_ms": "soon"}]}, "delay_ms"),
    "unknown style": ({"turns": [{"style": "french"}]}, "style"),
    "unknown fault": ({"turns": [{"error": "gremlins"}]}, "gremlins"),
    "fault that cannot come late": ({"turns": [{"error": "http_503", "after_chunks": 1}]}, "http_503"),
    "fault that is no whole answer": ({"site": {"models_fault": "stall"}}, "models_fault"),
    "video": ({"turns": [{"video": "aGk="}]}, "video"),
    "no base64": ({"turns": [{"images": ["*"]}]}, "images"),
    "no base64 as raw": ({"turns": [{"raw": {"base64": "*"}}]}, "base64"),
    "raw with a fault": ({"turns": [{"raw": "x", "error": "stall"}]}, "raw"),
    "late, but no fault": ({"turns": [{"after_chunks": 1}]}, "after_chunks"),
    "chunks of nothing": ({"turns": [{"chunks": 0}]}, "chunks"),
    "pieces of nothing": ({"turns": [{"tcp_bytes": 0}]}, "tcp_bytes"),
    "chunks beside the text": ({"turns": [{"chunks": ["a"], "text": "b"}]}, "chunks"),
    "pictures with calls": ({"turns": [{"images": ["aGk="], "tool_calls": [{"name": "x"}]}]}, "images"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_nothing_is_ignored_silently(name: str, visitor: Visitor) -> None:
    program, named = REFUSED[name]
    reply = await visitor.post("/__sim/program", program)
    assert reply.status == 400
    assert named in str(reply.json()["error"])
    assert "simulator" in (await visitor.ask("hello")).said()  # and nothing was taken


async def test_reset_forgets_all_but_tokens(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    await visitor.program({"text": "x"}, site={"models": ["one"]})
    await visitor.post("/__sim/reset", {})
    state = (await visitor.get("/__sim/state")).json()
    assert (state["chats"], state["queued"], state["requests_total"], await visitor.seen()) == ([], 0, 0, [])
    assert (await visitor.get(f"/api/v2/chats/{chat}")).data()["code"] == "Not_Found"
    assert (await visitor.ask("hello")).said() == "ok"


async def test_state_counts(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    await visitor.ask("hello", chat=chat)
    await visitor.delete(f"/api/v2/chats/{chat}")
    state = (await visitor.get("/__sim/state")).json()
    assert (state["deleted"], state["open_streams"], state["requests_total"]) == ([chat], 0, 3)
    chats = state["chats"]
    assert isinstance(chats, list)
    assert (chats[0]["id"], chats[0]["deleted"], chats[0]["title"]) == (chat, True, "hello")
    assert len(chats[0]["chat"]["messages"]) == 2


async def test_programmed_turns_are_reachable_in_process(visitor: Visitor) -> None:
    await visitor.program({"text": "x"})
    assert [turn.text for turn in visitor.sim.site.queue] == ["x"]


async def test_refused_connections_leave_the_control_interface(visitor: Visitor) -> None:
    await visitor.program(site={"refuse_connections": True})
    with pytest.raises(OSError, match="reset"):
        await visitor.get("/api/v2/models/")
    await visitor.post("/__sim/reset", {})
    assert (await visitor.get("/api/v2/models/")).status == 200
