"""What stands on the wire, byte by byte: the rules that satisfy all known clients."""

import asyncio
import json
import time
from typing import Any

import pytest

from . import wire
from .rig import KEY, Rig
from .wire import Json, ask, request_bytes

SEARCH: Json = {
    "text": "One says this [[1]], the other that [[2]].",
    "search": {
        "queries": ["q"],
        "docs": [{"url": "https://a.example/x", "title": "A"}, {"url": "https://b.example/(y)", "title": "B"}],
    },
}


async def test_a_stream_says_role_once_then_text_then_finish_then_done(rig: Rig) -> None:
    await rig.program({"text": "one two three", "thinking": "let me see"})
    answer = await rig.post(ask(stream=True, enable_thinking=True))
    stream = answer.stream()
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-cache", "no")
    assert ["role" in delta for delta in stream.deltas] == [True] + [False] * (len(stream.deltas) - 1)
    assert (stream.text, stream.reasoning, stream.finish) == ("one two three", "let me see", "stop")
    assert stream.records[-1] == "data: [DONE]"
    assert answer.whole


async def test_reasoning_and_text_never_share_a_delta_and_none_is_empty(rig: Rig) -> None:
    await rig.program({"text": "a b c", "thinking": "x y\n\nz", "chunks": 1, "keep_alives": 3})
    stream = (await rig.post(ask(stream=True, enable_thinking=True))).stream()
    *pieces, last = stream.deltas
    for delta in pieces:
        assert len({"content", "reasoning_content"} & set(delta)) == 1
        assert delta.get("content") or delta.get("reasoning_content")
    assert last == {}
    kinds = ["content" if "content" in delta else "reasoning_content" for delta in pieces]
    assert kinds == sorted(kinds, reverse=True), "reasoning comes first"


async def test_an_answer_without_text_still_has_a_role_and_a_finish(rig: Rig) -> None:
    await rig.program({"error": "f54", "text": ""})
    stream = (await rig.post(ask(stream=True, enable_thinking=True))).stream()
    assert stream.deltas[0]["role"] == "assistant"
    assert (stream.text, stream.finish, stream.done) == ("", "stop", True)


async def test_usage_is_a_chunk_of_its_own_only_when_asked_for(rig: Rig) -> None:
    usage = {"input": 11, "output": 5, "reasoning": 2}
    await rig.program({"text": "a b", "thinking": "m", "usage": usage, "sticky": True})
    apart = (await rig.post(ask(stream=True, enable_thinking=True, stream_options={"include_usage": True}))).stream()
    inside = (await rig.post(ask(stream=True, enable_thinking=True))).stream()
    *before, finish, last = apart.chunks
    assert last["choices"] == []
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == (11, 5)
    assert (last["usage"]["total_tokens"], last["usage"]["completion_tokens_details"]) == (16, {"reasoning_tokens": 2})
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert not any("usage" in chunk for chunk in [*before, finish])
    assert all(len(chunk["choices"]) == 1 for chunk in inside.chunks)
    assert inside.chunks[-1]["usage"] == last["usage"]
    assert not any("usage" in chunk for chunk in inside.chunks[:-1])


async def test_ids_stay_the_same_in_a_stream_and_created_is_in_seconds(rig: Rig) -> None:
    answers = [await rig.post(ask(stream=True)), await rig.post(ask(stream=True))]
    for answer in answers:
        chunks = answer.stream().chunks
        assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1
        assert abs(chunks[0]["created"] - time.time()) < 60
        assert chunks[0]["id"].startswith("chatcmpl-")
        assert chunks[0]["id"][9:] == answer.headers["x-request-id"][4:]
    assert len({answer.stream().chunks[0]["id"] for answer in answers}) == 2


async def test_a_whole_answer_has_the_shape_of_openai(rig: Rig) -> None:
    await rig.program({"text": "hi there", "thinking": "hm", "usage": {"input": 3, "output": 4, "reasoning": 1}})
    answer = await rig.post(ask(enable_thinking=True))
    body = answer.json()
    assert body["object"] == "chat.completion"
    (choice,) = body["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": "hi there",
        "refusal": None,
        "reasoning_content": "hm",
    }
    assert (choice["finish_reason"], choice["index"], choice["logprobs"]) == ("stop", 0, None)
    assert body["usage"]["total_tokens"] == 7
    assert answer.headers["content-type"] == "application/json"


async def test_a_stream_folded_is_the_whole_answer(rig: Rig) -> None:
    turn = {**SEARCH, "thinking": "hm hm", "usage": {"input": 3, "output": 4}}
    await rig.program(turn, turn)
    stream = (await rig.post(ask(stream=True, enable_thinking=True, chat_type="search"))).stream()
    whole = (await rig.post(ask(enable_thinking=True, chat_type="search"))).json()
    message = whole["choices"][0]["message"]
    assert (stream.text, stream.reasoning) == (message["content"], message["reasoning_content"])
    assert stream.deltas[-1]["annotations"] == message["annotations"]
    assert stream.chunks[-1]["usage"] == whole["usage"]


@pytest.mark.parametrize("stream", [True, False])
async def test_search_marks_become_links_and_annotations_point_at_them(rig: Rig, stream: bool) -> None:
    await rig.program({**SEARCH, "chunks": 3, "tcp_bytes": 7})
    answer = await rig.post(ask("q", stream=stream, chat_type="search"))
    message = answer.stream().deltas[-1] if stream else answer.json()["choices"][0]["message"]
    text = answer.stream().text if stream else message["content"]
    links = [one["url_citation"] for one in message["annotations"]]
    assert [(one["title"], one["url"]) for one in links] == [
        ("A", "https://a.example/x"),
        ("B", "https://b.example/(y)"),
    ]
    assert [text[one["start_index"] : one["end_index"]] for one in links] == [
        "[1](https://a.example/x)",
        "[2](https://b.example/%28y%29)",
    ]
    assert "[[" not in text


async def test_a_silent_site_is_bridged_by_comments(rig: Rig) -> None:
    await rig.program({"text": "late words", "first_byte_ms": 900})
    stream = (await rig.post(ask(stream=True))).stream()
    assert stream.records[0] == ": ping", "the sign of life comes before the first event"
    assert len(stream.comments) >= 2
    assert (stream.text, stream.finish, stream.done) == ("late words", "stop", True)


async def test_after_an_early_comment_an_error_stands_in_the_stream(rig: Rig) -> None:
    await rig.program({"error": "content_filter", "first_byte_ms": 700})
    answer = await rig.post(ask(stream=True))
    stream = answer.stream()
    assert answer.status == 200
    assert stream.comments
    assert stream.error is not None
    assert stream.error["code"] == "content_filter"
    assert (stream.chunks, stream.finish, stream.done, answer.whole) == ([], None, False, True)


async def test_before_any_comment_the_same_error_is_a_status(rig: Rig) -> None:
    await rig.program({"error": "content_filter"})
    answer = await rig.post(ask(stream=True))
    assert (answer.status, answer.error()["code"]) == (400, "content_filter")
    assert answer.headers["content-type"] == "application/json"


async def test_no_comment_interrupts_a_stream_that_flows(rig: Rig) -> None:
    text = "a b c d e f g h i j k l"
    await rig.program({"text": text, "delay_ms": 50})
    stream = (await rig.post(ask(stream=True))).stream()
    assert (stream.comments, stream.text) == ([], text)


async def test_pieces_arrive_one_by_one_and_not_at_the_end(rig: Rig) -> None:
    await rig.program({"text": "a b c d e", "delay_ms": 100})
    times: list[float] = []
    async with wire.connection(rig.url) as (reader, writer):
        writer.write(request_bytes("/v1/chat/completions", ask(stream=True), key=KEY))
        await wire.read_head(reader)
        async with asyncio.timeout(5):
            while b"[DONE]" not in await reader.readuntil(b"\n\n"):
                times.append(time.monotonic())
    assert times[-1] - times[0] > 0.35


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/chat/completions",
        "//v1//chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completions?beta=true",
    ],
)
async def test_the_route_goes_with_and_without_version_and_slashes(rig: Rig, path: str) -> None:
    assert (await rig.post(ask(), path=path)).json()["choices"][0]["message"]["content"] == "ok"


@pytest.mark.parametrize(
    "field",
    [
        {"temperature": 0.3},
        {"top_p": 1, "seed": 3, "frequency_penalty": 0.1},
        {"service_tier": "auto", "metadata": {"a": "b"}},
        {"unheard_of": {"deep": [1, 2]}},
    ],
)
async def test_what_cannot_be_honoured_is_named_in_a_header(rig: Rig, field: Json) -> None:
    for stream in (True, False):
        answer = await rig.post(ask(stream=stream, **field))
        assert answer.status == 200
        assert answer.headers["x-gateway-ignored"].split(", ") == list(field)


async def test_ignored_keys_inside_messages_are_named_and_cannot_forge_headers(rig: Rig) -> None:
    body = ask() | {"evil\r\nset-cookie: a=b": 1, "ümlaut": 2}
    body["messages"][0].update(name="bob", cache_control={"type": "ephemeral"})
    answer = await rig.post(body)
    assert answer.status == 200
    named = answer.headers["x-gateway-ignored"]
    assert "messages[].name" in named
    assert "messages[].cache_control" in named
    assert "set-cookie" not in answer.headers
    assert named.isascii()


async def test_nothing_ignored_means_no_header(rig: Rig) -> None:
    answer = await rig.post(ask(stream=False, stream_options=None, temperature=None, n=1, chat_type="t2t"))
    assert "x-gateway-ignored" not in answer.headers


async def test_the_model_that_served_is_named_in_header_and_body(rig: Rig) -> None:
    for asked, served in (
        ("gpt-4o", "qwen3.7-plus"),
        ("qwen-max-thinking", "qwen3.8-max"),
        ("claude-x", "qwen3.8-max"),
    ):
        answer = await rig.post(ask() | {"model": asked})
        assert (answer.json()["model"], answer.headers["x-gateway-model"]) == (served, served)
        assert rig.sim.site.seen[-1].model == served


def _said(**message: object) -> bytes:
    return json.dumps(ask() | {"messages": [message]}).encode()


def _with(**more: Any) -> bytes:
    return json.dumps(ask(**more)).encode()


IMAGE = [{"type": "image_url", "image_url": {"url": "data:,"}}]
BAD: list[tuple[bytes, str | None, str]] = [
    (b"", None, "invalid_json"),
    (b"{", None, "invalid_json"),
    (b"[]", None, "invalid_json"),
    (b"\xff\xfe", None, "invalid_json"),
    (b"[" * 100_000, None, "invalid_json"),
    (b'{"model": "\xed\xa0\x80", "messages": []}', "model", "invalid_value"),
    (b"{}", "model", "missing_required_parameter"),
    (b'{"model": "qwen"}', "messages", "missing_required_parameter"),
    (b'{"model": 3, "messages": []}', "model", "invalid_value"),
    (b'{"model": "qwen", "messages": []}', "messages", "invalid_value"),
    (_with(n=5), "n", "unsupported_value"),
    (_with(tool_choice="required"), "tool_choice", "invalid_value"),
    (_with(stop=["a", "b", "c", "d", "e"]), "stop", "invalid_value"),
    (_with(max_tokens=0), "max_tokens", "invalid_value"),
    (_with(logprobs=True), "logprobs", "unsupported_parameter"),
    (_with(response_format={"type": "xml"}), "response_format.type", "invalid_value"),
    (_with(thinking_budget=-2), "thinking_budget", "invalid_value"),
    (_with(stream="yes"), "stream", "invalid_value"),
    (_with(reasoning_effort="huge"), "reasoning_effort", "invalid_value"),
    (_said(role="user", content=" "), "messages", "invalid_value"),
    (_said(role="robot", content="x"), "messages[0].role", "invalid_value"),
    (_said(role="user"), "messages[0].content", "invalid_value"),
    (_said(role="user", content=IMAGE), "messages[0].content[0].image_url.url", "url_not_allowed"),
    (_said(role="tool", content="x"), "messages[0].tool_call_id", "invalid_value"),
]


@pytest.mark.parametrize(("body", "param", "code"), BAD, ids=lambda one: str(one)[:40])
async def test_a_bad_body_is_refused_by_name_and_the_site_never_asked(
    rig: Rig, body: bytes, param: str | None, code: str
) -> None:
    answer = await rig.post(body)
    error = answer.error()
    assert (answer.status, error["param"], error["code"]) == (400, param, code)
    assert error["type"] == "invalid_request_error"
    assert (answer.headers["x-gateway-fault"], answer.headers["x-should-retry"]) == ("client", "false")
    assert not rig.sim.site.seen
    assert not rig.sim.site.chats


async def test_too_long_a_conversation_is_refused_before_a_chat_is_made(rig: Rig) -> None:
    answer = await rig.post(ask("x" * 117_000))
    assert (answer.status, answer.error()["code"], answer.error()["param"]) == (
        400,
        "context_length_exceeded",
        "messages",
    )
    assert not rig.sim.site.chats


async def test_the_largest_prompt_that_is_let_through_passes_at_the_site(rig: Rig) -> None:
    # Escapes make a body longer than its text: what counts are bytes on the wire.
    answer = await rig.post(ask('"' * 57_500))
    assert answer.status == 200
    assert rig.sim.site.seen[-1].prompt == '"' * 57_500
