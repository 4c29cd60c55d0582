"""Asking: what the site insists on, one answer at a time, stopping, leaving."""

import json
from pathlib import Path

import pytest

from .shapes import Json, faults_of, is_json
from .visitor import MODEL, RawReply, Visitor, question, until

pytestmark = pytest.mark.anyio

CORPUS = Path(__file__).parents[1] / "corpus"


@pytest.mark.parametrize("name", ["req_t2t_fast_2026-09-14", "req_t2t_thinking_2026-09-14", "req_search_2026-09-14"])
async def test_a_recorded_request_is_answered(name: str, visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    body: Json = json.loads((CORPUS / f"{name}.json").read_text(encoding="utf-8"))
    reply = await visitor.send(body | {"chat_id": chat, "chatId": chat})
    assert faults_of(reply.text) == []
    phases = {delta["phase"] for delta in reply.deltas()}
    expected = {"fast": set(), "thinking": {"thinking_summary"}, "search": {"web_search"}}
    assert phases == {"answer"} | expected[name.split("_")[-2]]


def _changed(body: Json, **changes: object) -> Json:
    return {key: value for key, value in (body | changes).items() if value is not ...}


async def _refused(visitor: Visitor, **changes: object) -> tuple[object, str]:
    chat = await visitor.new_chat()
    body = _changed(question(chat, "hi"), **changes)
    reply = await visitor.post(f"/api/v2/chat/completions?chat_id={chat}", body)
    assert reply.status == 200
    assert reply.json()["success"] is False
    return reply.data()["code"], str(reply.data()["details"])


async def test_the_body_is_checked(visitor: Visitor) -> None:
    two = 2 * [{"role": "user", "content": "x"}]
    assert await _refused(visitor, messages=two) == ("Bad_Request", "Invalid input too many messages.")
    missing = ("RequestValidationError", "Field 'chat_id': Field required")
    assert await _refused(visitor, chat_id=...) == missing
    assert (await _refused(visitor, messages=...))[0] == "RequestValidationError"
    assert (await _refused(visitor, model=...))[0] == "RequestValidationError"
    assert (await _refused(visitor, messages=[]))[0] == "Bad_Request"
    assert (await _refused(visitor, stream=False))[0] == "Bad_Request"
    assert (await _refused(visitor, chatId="another"))[0] == "RequestValidationError"
    assert (await _refused(visitor, parentId="another"))[0] == "RequestValidationError"
    unknown = ("PARENT_NOT_FOUND", "Invalid input chat parent_id 1-2 is not exist.")
    assert await _refused(visitor, parent_id="1-2", parentId="1-2", messages=[_bare()]) == unknown
    assert (await _refused(visitor, model="qwen0"))[1] == "model not found"


def _bare() -> Json:
    return {"role": "user", "content": "x", "feature_config": {"output_schema": "phase"}}


async def test_the_query_must_name_the_same_chat(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    body = question(chat, "hi")
    assert (await visitor.post("/api/v2/chat/completions", body)).data()["code"] == "RequestValidationError"
    other = await visitor.post(f"/api/v2/chat/completions?chat_id={await visitor.new_chat()}", body)
    assert other.data()["code"] == "RequestValidationError"


@pytest.mark.parametrize("messages", [["x"], [None], "x", [{"role": 1}], [{"feature_config": []}]])
async def test_odd_messages_are_refused_and_listed(messages: object, visitor: Visitor) -> None:
    assert (await _refused(visitor, messages=messages))[0] == "RequestValidationError"
    seen = (await visitor.seen())[0]
    raw = seen["raw"]
    assert is_json(raw)
    assert is_json(raw["body"])
    assert raw["body"]["messages"] == messages


async def test_no_json_is_a_bad_request(visitor: Visitor) -> None:
    reply = await visitor.post_bytes("/api/v2/chat/completions?chat_id=x", b"{")
    assert reply.data()["code"] == "Bad_Request"
    assert [seen["status"] for seen in await visitor.seen()] == ["error"]


async def test_a_body_of_128_kib_is_challenged(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    assert (await visitor.send(question(chat, "x" * 117_000))).created()
    punished = (await visitor.send(question(chat, "x" * 128 * 1024))).json()
    assert "ret" in punished
    assert is_json(punished["data"])


async def test_stream_headers_are_the_recorded_ones(visitor: Visitor) -> None:
    reply = await visitor.ask("hi")
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.actual() == 200
    assert reply.headers["transfer-encoding"] == "chunked"


async def test_one_running_answer_per_chat(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    await visitor.program({"text": "a b c", "delay_ms": 60_000})
    running = await visitor.open_raw(question(chat, "hi"))
    await running.reader.readuntil(b"response.created")
    assert (await visitor.send(question(chat, "hi"))).data()["details"] == "The chat is in progress!"
    other = await visitor.ask("hi")
    assert other.said() == "ok"
    await running.close()


async def test_stop_ends_the_answer(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    await visitor.program({"text": "a b c", "delay_ms": 60_000})
    running = await visitor.open_raw(question(chat, "hi"))
    await running.reader.readuntil(b"response.created")
    stopped = await visitor.post(f"/api/v2/chat/completions/stop?chat_id={chat}", {"chat_id": chat})
    assert stopped.json()["success"] is True
    rest = await running.reader.readuntil(b"0\r\n\r\n")
    assert b"finished" not in rest
    await running.close()
    seen = (await visitor.seen())[0]
    assert (seen["aborted"], seen["stopped"], seen["status"]) == (True, True, "aborted")
    assert visitor.sim.site.stops == 1
    assert (await visitor.ask("hi", chat=chat)).said() == "ok"


async def test_stop_wants_a_chat_of_ours(visitor: Visitor) -> None:
    reply = await visitor.post("/api/v2/chat/completions/stop", {"chat_id": "x"})
    assert reply.data()["code"] == "Not_Found"
    missing = await visitor.post("/api/v2/chat/completions/stop", {})
    assert missing.data()["code"] == "RequestValidationError"


async def _leave(visitor: Visitor, chat: str) -> RawReply:
    await visitor.program({"text": "a b c", "delay_ms": 60_000})
    running = await visitor.open_raw(question(chat, "hi"))
    await running.reader.readuntil(b"response.created")
    await running.close()
    await until(lambda: not visitor.sim.site.streams)
    return running


async def test_leaving_is_noticed_and_the_answer_is_stored_whole(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    await _leave(visitor, chat)
    seen = (await visitor.seen())[0]
    assert (seen["aborted"], seen["stopped"], seen["status"]) == (True, False, "aborted")
    answers = [node for node in visitor.sim.site.chats[chat].nodes.values() if node.role == "assistant"]
    assert [node.content for node in answers] == ["a b c"]
    assert (await visitor.ask("hi", chat=chat)).said() == "ok"


async def test_leaving_between_bytes_loses_nothing_of_the_stored_answer(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    text = "word " * 50_000
    await visitor.program({"text": text, "chunks": 5})
    running = await visitor.open_raw(question(chat, "hi"))
    await running.reader.readuntil(b"response.created")
    running.writer.transport.abort()
    await until(lambda: not visitor.sim.site.streams)
    assert (await visitor.seen())[0]["aborted"] is True
    answers = [node for node in visitor.sim.site.chats[chat].nodes.values() if node.role == "assistant"]
    assert [node.content == text for node in answers] == [True]


async def test_a_left_chat_can_stay_busy(visitor: Visitor) -> None:
    await visitor.program(site={"busy_after_abort_ms": 200})
    chat = await visitor.new_chat()
    await _leave(visitor, chat)
    assert (await visitor.send(question(chat, "hi"))).data()["details"] == "The chat is in progress!"
    await until(lambda: not visitor.sim.site.chats[chat].busy())
    assert (await visitor.ask("hi", chat=chat)).said() == "ok"


async def test_a_request_is_listed_while_it_runs(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    await visitor.program({"first_byte_ms": 60_000})
    running = await visitor.open_raw(question(chat, "hi"))
    await until(lambda: bool(visitor.sim.site.streams))
    seen = (await visitor.seen())[0]
    assert (seen["prompt"], seen["model"], seen["ended"], seen["first_byte"]) == ("hi", MODEL, None, None)
    await running.close()


async def test_seen_holds_the_whole_request(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    body = question(chat, "hi")
    messages = body["messages"]
    assert isinstance(messages, list)
    picture = {
        "type": "image",
        "name": "a.png",
        "file_type": "image/png",
        "showType": "image",
        "file_class": "vision",
        "status": "uploaded",
        "url": "https://cdn.qwenlm.ai/a.png",
    }
    messages[0]["files"] = [picture]
    await visitor.send(body)
    seen = (await visitor.seen())[0]
    raw = seen["raw"]
    assert is_json(raw)
    assert (raw["method"], raw["path"], raw["query"]) == ("POST", "/api/v2/chat/completions", {"chat_id": chat})
    assert raw["body"] == body
    assert (seen["files"], seen["thinking"], seen["status"]) == ([picture], False, "complete")
    times = [float(str(seen[key])) for key in ("started", "first_byte", "ended")]
    assert times == sorted(times)


async def test_thinking_is_seen(visitor: Visitor) -> None:
    await visitor.ask("hi", thinking=True)
    assert (await visitor.seen())[0]["thinking"] is True
