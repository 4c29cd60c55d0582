"""Chats: created, listed, read as a tree, deleted; the model list; the settings."""

import json
from pathlib import Path

import pytest

from .shapes import Json, is_json
from .visitor import Reply, Visitor, question

pytestmark = pytest.mark.anyio

CORPUS = Path(__file__).parents[1] / "corpus"


def _corpus(name: str) -> Json:
    found = json.loads((CORPUS / name).read_text(encoding="utf-8"))
    assert is_json(found)
    return found


async def test_both_generations_of_bodies_make_a_chat(visitor: Visitor) -> None:
    request = _corpus("chats_new_2026-09-14.json")["request"]
    assert is_json(request)
    reply = await visitor.post("/api/v2/chats/new", request["body"])
    recorded = _corpus("chats_new_2026-09-14.json")["response"]
    assert is_json(recorded)
    assert list(reply.json()) == list(recorded)
    old = {"title": "Mine", "models": ["qwen3.7-plus"], "chat_mode": "normal", "chat_type": "t2t"}
    chat = (await visitor.post("/api/v2/chats/new", old)).data()["id"]
    assert (await visitor.get(f"/api/v2/chats/{chat}")).data()["title"] == "Mine"


async def test_a_bad_body_is_refused(visitor: Visitor) -> None:
    bodies: tuple[Json, ...] = ({}, {"models": []}, {"models": "x"})
    for body in bodies:
        reply = await visitor.post("/api/v2/chats/new", body)
        assert (reply.status, reply.actual(), reply.data()["code"]) == (200, 400, "RequestValidationError")


async def test_the_list_has_the_recorded_items_newest_first(visitor: Visitor) -> None:
    first, second = await visitor.new_chat(), await visitor.new_chat()
    visitor.sim.site.chats[first].updated += 10
    items = await _list(visitor, 1)
    recorded = _corpus("chats_list_2026-09-25.json")["data"]
    assert isinstance(recorded, list)
    assert [item["id"] for item in items] == [first, second]
    assert list(items[0]) == list(recorded[0])


async def test_pages_end_with_an_empty_one(visitor: Visitor) -> None:
    for _ in range(51):
        await visitor.new_chat()
    assert [len(await _list(visitor, page)) for page in (1, 2, 3)] == [50, 1, 0]


async def _list(visitor: Visitor, page: int) -> list[Json]:
    data = (await visitor.get(f"/api/v2/chats/?page={page}&exclude_project=true")).json()["data"]
    assert isinstance(data, list)
    return data


async def _nodes(visitor: Visitor, chat: str) -> dict[str, Json]:
    data = (await visitor.get(f"/api/v2/chats/{chat}")).data()
    inner = data["chat"]
    assert is_json(inner)
    history = inner["history"]
    assert is_json(history)
    assert history["currentId"] == data["currentId"]
    messages = history["messages"]
    assert is_json(messages)
    return {key: node for key, node in messages.items() if is_json(node)}


async def test_the_tree_grows_by_question_and_answer(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    first = (await visitor.ask("repeat: one", chat=chat)).created()
    nodes = await _nodes(visitor, chat)
    asked, answered = nodes[str(first["parent_id"])], nodes[str(first["response_id"])]
    assert (asked["parentId"], asked["content"], asked["childrenIds"]) == (None, "repeat: one", [answered["id"]])
    assert (answered["parentId"], answered["done"], answered["role"]) == (asked["id"], True, "assistant")
    assert _text(answered) == "one"


async def test_two_questions_under_one_answer_are_siblings(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    root = str((await visitor.ask("repeat: one", chat=chat)).created()["response_id"])
    a, b = [(await visitor.send(question(chat, prompt, parent=root))).created()["parent_id"] for prompt in ("a", "b")]
    nodes = await _nodes(visitor, chat)
    assert nodes[root]["childrenIds"] == [a, b]
    assert len(nodes) == 6


def _text(node: Json) -> str:
    listed = node["content_list"]
    assert isinstance(listed, list)
    return "".join(item["content"] for item in listed if item["phase"] == "answer")


async def test_the_site_names_a_chat_by_itself(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    await visitor.ask("repeat: a rather long question, is it not?", chat=chat)
    assert (await visitor.get(f"/api/v2/chats/{chat}")).data()["title"] == "repeat: a rather long question"


async def test_a_deleted_chat_is_gone(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    assert (await visitor.delete(f"/api/v2/chats/{chat}")).data() == {"status": True}
    gone = await visitor.get(f"/api/v2/chats/{chat}")
    assert (gone.status, gone.actual(), gone.data()["code"]) == (200, 404, "Not_Found")
    assert (await visitor.delete(f"/api/v2/chats/{chat}")).data()["code"] == "Not_Found"
    assert _recorded("chat_deleted") == (await visitor.send(question(chat, "x"))).data()
    assert await _list(visitor, 1) == []


def _recorded(name: str) -> object:
    lines = (CORPUS / "errors.jsonl").read_text(encoding="utf-8").splitlines()
    return next(json.loads(line)["body"]["data"] for line in lines if json.loads(line)["name"] == name)


async def test_faults_can_be_switched_on(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    await visitor.program(site={"chats_new_fault": "challenge", "delete_fault": "server", "models_fault": "down"})
    assert "ret" in (await visitor.post("/api/v2/chats/new", {"models": ["x"]})).json()
    assert (await visitor.delete(f"/api/v2/chats/{chat}")).data()["code"] == "Internal_Server_Error"
    assert (await visitor.get("/api/v2/models/")).status == 503
    assert (await visitor.get("/api/models")).status == 503


async def test_the_model_lists_are_the_captured_one(visitor: Visitor) -> None:
    recorded = _corpus("models_v2_2026-09-13.json")
    assert (await visitor.get("/api/v2/models/")).data() == recorded["data"]
    assert (await visitor.get("/api/models")).json() == recorded["data"]


async def test_guests_see_three_models(visitor: Visitor) -> None:
    del visitor.headers["Cookie"]
    del visitor.headers["Authorization"]
    assert len(_models(await visitor.get("/api/v2/models/"))) == 3


async def test_the_models_on_offer_can_be_switched(visitor: Visitor) -> None:
    await visitor.program(site={"models": ["qwen3.8-max", "qwen9-new"]})
    models = _models(await visitor.get("/api/v2/models/"))
    assert [model["id"] for model in models] == ["qwen3.8-max", "qwen9-new"]
    reply = await visitor.ask("x")  # asks for a model that is gone now
    assert reply.data()["details"] == "model not found"


def _models(reply: Reply) -> list[Json]:
    models = reply.data()["data"]
    assert isinstance(models, list)
    return models


async def test_settings_are_merged(visitor: Visitor) -> None:
    before = (await visitor.get("/api/v2/users/user/settings")).data()
    assert {"ui", "memory", "tools_enabled", "mcp", "personalization"} <= set(before)
    patch = {"tools_enabled": {"web_search": False}, "mcp": {"amap": True}}
    after = (await visitor.post("/api/v2/users/user/settings/update", patch)).data()
    assert after == (await visitor.get("/api/v2/users/user/settings")).data()
    old, new = before["tools_enabled"], after["tools_enabled"]
    assert is_json(old)
    assert new == old | {"web_search": False}
    assert after["memory"] == before["memory"]
    for rubbish in (b"[1]", b"{"):
        reply = await visitor.post_bytes("/api/v2/users/user/settings/update", rubbish)
        assert reply.data()["code"] == "Bad_Request"
