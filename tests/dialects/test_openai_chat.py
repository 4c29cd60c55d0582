"""A turn's events in the words of chat completions.

`tests/golden/openai_chat/` holds the bytes for each recording: as a stream, and whole. To write them anew:
`REGENERATE=1 pytest tests/dialects/test_openai_chat.py`; the diff is reviewed like code.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from qwen_gateway.dialects import openai_chat
from qwen_gateway.shaping.citations import CitationLinks
from qwen_gateway.turn.contracts import Dialect, Incoming, ReplyHead
from qwen_gateway.turn.events import (
    Began,
    Citation,
    Event,
    Failed,
    Finished,
    Reasoning,
    SiteTool,
    Source,
    Sources,
    Text,
    Usage,
)
from qwen_gateway.turn.faults import Incomplete
from qwen_gateway.turn.reply import Fold
from qwen_gateway.turn.request import TurnRequest
from qwen_gateway.upstreams.qwen.decoder import Decoder

TESTS = Path(__file__).parents[1]
RECORDINGS = sorted((TESTS / "corpus").glob("*sse_*.txt"))
OF_ALL = pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
DIALECT: Dialect = openai_chat
HEAD = ReplyHead("1", 1_789_353_470, "qwen3.7-plus")
REQUEST = TurnRequest(model="qwen", messages=(), stream=True)
ASKED = TurnRequest(model="qwen", messages=(), stream=True, stream_usage=True)
SOURCE = Source("https://a.example/?q=1", "A “title”")

Chunk = dict[str, Any]


def events_of(path: Path) -> list[Event]:
    """As the gateway's pipeline makes them of a recording."""
    raw = path.read_bytes()
    chat = json.loads(raw.split(b"\n")[0][5:]).get("response.created", {}).get("chat_id", "")
    decoder, links = Decoder(chat), CitationLinks()
    return links.feed(decoder.feed(raw)) + links.feed(decoder.close())


def stream(events: Sequence[Event], request: TurnRequest = REQUEST) -> bytes:
    writer = openai_chat.writer(request, HEAD)
    out = b"".join(writer.feed([event]) for event in events)
    assert openai_chat.writer(request, HEAD).feed(events) == out
    return out + b"".join(writer.fail(event.fault) for event in events if isinstance(event, Failed))


def whole(events: Sequence[Event]) -> bytes:
    folded = Fold()
    folded.feed(events)
    if folded.failed is not None:
        return openai_chat.refusal(folded.failed.fault)
    return openai_chat.whole(REQUEST, HEAD, folded.reply())


def records(raw: bytes) -> list[str]:
    """Values of the stream's events, by the rules of event streams as far as we use them."""
    *parts, rest = raw.decode().split("\n\n")
    assert rest == ""
    assert all(part.startswith("data: ") and "\n" not in part for part in parts)
    return [part.removeprefix("data: ") for part in parts]


def chunks(raw: bytes) -> list[Chunk]:
    return [json.loads(value) for value in records(raw) if value != "[DONE]"]


def deltas(raw: bytes) -> list[Chunk]:
    return [chunk["choices"][0]["delta"] for chunk in chunks(raw) if chunk["choices"]]


# --- goldens ---


@OF_ALL
@pytest.mark.parametrize(("suffix", "write"), [("stream.txt", stream), ("whole.json", whole)])
def test_bytes_are_those_of_the_golden_file(path: Path, suffix: str, write: Any) -> None:
    golden, written = TESTS / "golden/openai_chat" / f"{path.stem}.{suffix}", write(events_of(path))
    if os.environ.get("REGENERATE"):
        golden.write_bytes(written)
    assert written == golden.read_bytes()


@OF_ALL
def test_the_vendors_own_types_read_every_chunk(path: Path) -> None:
    events = events_of(path)
    for chunk in chunks(stream(events, ASKED)):
        if "error" not in chunk:
            ChatCompletionChunk.model_validate(chunk)
    if isinstance(events[-1], Finished):
        read = ChatCompletion.model_validate_json(whole(events))
        assert read.usage is not None
        assert read.usage.total_tokens == read.usage.prompt_tokens + read.usage.completion_tokens


# --- the stream ---


def test_a_whole_stream_by_hand() -> None:
    start = (
        '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1789353470,"model":"qwen3.7-plus","choices":['
    )
    tail = '},"logprobs":null,"finish_reason":null}]}'
    figures = (
        '"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":2},'
        '"completion_tokens_details":{"reasoning_tokens":1}}'
    )
    events: list[Event] = [Began("c", "a"), Reasoning("r"), Text("a"), Text("é\n"), Usage(5, 3, 1, 2), Finished()]
    said = [
        start + '{"index":0,"delta":{"role":"assistant","reasoning_content":"r"' + tail,
        start + '{"index":0,"delta":{"content":"a"' + tail,
        start + '{"index":0,"delta":{"content":"é\\n"' + tail,
    ]
    end = start + '{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]'
    assert records(stream(events)) == [*said, end + "," + figures + "}", "[DONE]"]
    assert records(stream(events, ASKED)) == [*said, end + "}", start + "]," + figures + "}", "[DONE]"]


@OF_ALL
def test_the_role_is_said_once_and_first_and_no_delta_is_empty_before_the_end(path: Path) -> None:
    events = events_of(path)
    found = deltas(stream([event for event in events if not isinstance(event, Failed)]))
    said = found[:-1] if isinstance(events[-1], Finished) else found
    assert [delta.get("role") for delta in said] == ["assistant"] * bool(said) + [None] * (len(said) - 1)
    for delta in said:
        assert bool(delta.get("content")) != bool(delta.get("reasoning_content"))


def test_an_answer_without_text_still_has_a_role() -> None:
    assert deltas(stream([Finished()])) == [{"role": "assistant", "content": ""}]


def test_usage_comes_apart_only_when_asked_for() -> None:
    events: list[Event] = [Text("a"), Usage(1, 1), Finished()]
    assert [len(chunk["choices"]) for chunk in chunks(stream(events))] == [1, 1]
    assert "usage" in chunks(stream(events))[-1]
    first, finish, usage = chunks(stream(events, ASKED))
    assert "usage" not in first
    assert "usage" not in finish
    assert (finish["choices"][0]["finish_reason"], usage["choices"]) == ("stop", [])
    assert usage["usage"]["total_tokens"] == 2


@pytest.mark.parametrize("request_", [REQUEST, ASKED])
def test_the_stream_ends_with_done_and_only_then(request_: TurnRequest) -> None:
    events: list[Event] = [Text("a"), Usage(1, 1), Finished("length")]
    assert records(stream(events, request_))[-1] == "[DONE]"
    assert "[DONE]" not in records(stream(events[:-1], request_))


@pytest.mark.parametrize("before", [[], [Text("a")], [Reasoning("a"), Text("b"), Usage(1, 1)]])
def test_a_stream_that_breaks_ends_with_an_error_and_never_like_a_success(before: list[Event]) -> None:
    raw = stream([*before, Failed(Incomplete("It broke.", retry_after=3))])
    assert json.loads(records(raw)[-1]) == {
        "error": {"message": "It broke.", "type": "server_error", "param": None, "code": "upstream_incomplete"}
    }
    assert b"[DONE]" not in raw
    assert b'"finish_reason":"' not in raw


def test_figures_of_ours_are_marked() -> None:
    finish = chunks(stream([Text("a"), Usage(1, 1, estimated=True), Finished()]))[-1]
    assert finish["usage"]["estimated"] is True
    assert "estimated" not in chunks(stream([Text("a"), Usage(1, 1), Finished()]))[-1]["usage"]


def test_citations_stand_in_the_finish_chunk() -> None:
    events: list[Event] = [Sources((SOURCE,)), Citation(0, 3, SOURCE), Text("abc"), Finished()]
    annotation = {
        "type": "url_citation",
        "url_citation": {"start_index": 0, "end_index": 3, "url": SOURCE.url, "title": SOURCE.title},
    }
    first, finish = deltas(stream(events))
    assert "annotations" not in first
    assert finish == {"annotations": [annotation]}
    assert json.loads(whole(events))["choices"][0]["message"]["annotations"] == [annotation]


def test_what_stands_in_text_or_model_cannot_leave_its_string() -> None:
    evil = '"}\n\ndata: [DONE]\n\n\u2028\x00<script>'
    raw = openai_chat.writer(REQUEST, ReplyHead(evil, 1, evil)).feed([Text(evil), Finished()])
    first, _ = chunks(raw)
    assert (first["id"], first["model"], first["choices"][0]["delta"]["content"]) == ("chatcmpl-" + evil, evil, evil)


# --- whole ---


def test_a_whole_answer_by_hand() -> None:
    events: list[Event] = [Reasoning("r"), Text("a"), Text("b"), Usage(5, 3, 1, 2), Finished("length")]
    assert json.loads(whole(events)) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_789_353_470,
        "model": "qwen3.7-plus",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ab", "refusal": None, "reasoning_content": "r"},
                "logprobs": None,
                "finish_reason": "length",
            }
        ],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    }


def test_without_reasoning_there_is_no_key_for_it() -> None:
    assert "reasoning_content" not in json.loads(whole([Text("a"), Finished()]))["choices"][0]["message"]


# --- both ways say the same ---

PIECES = st.lists(
    st.builds(Text, st.text(min_size=1, max_size=5))
    | st.builds(Reasoning, st.text(min_size=1, max_size=5))
    | st.sampled_from([Began("c", "a"), SiteTool("web_search"), Sources((SOURCE,)), Citation(0, 0, SOURCE)])
    | st.builds(Usage, st.integers(0, 99), st.integers(0, 99), estimated=st.booleans()),
    max_size=10,
)
REASONS = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])


@settings(deadline=None, max_examples=200)
@given(PIECES, REASONS, st.booleans())
def test_a_stream_put_together_is_the_whole_answer(pieces: list[Event], reason: Any, asked: bool) -> None:
    events = [*pieces, Usage(3, 2), Finished(reason)]
    found = chunks(stream(events, ASKED if asked else REQUEST))
    message: Chunk = {"content": "", "refusal": None, "reasoning_content": ""}
    finish = None
    for chunk in found:
        for choice in chunk["choices"]:
            for key, value in choice["delta"].items():
                message[key] = message[key] + value if key in ("content", "reasoning_content") else value
            finish = choice["finish_reason"]
    if not message["reasoning_content"]:
        del message["reasoning_content"]
    expected = json.loads(whole(events))
    assert expected["choices"][0]["message"] == message
    assert expected["choices"][0]["finish_reason"] == finish == reason
    assert [chunk["usage"] for chunk in found if "usage" in chunk] == [expected["usage"]]
    assert {(chunk["id"], chunk["created"], chunk["model"]) for chunk in found} == {
        ("chatcmpl-" + HEAD.id, HEAD.created, HEAD.model)
    }


# --- the dialect's other names ---


def test_what_the_server_needs_to_know() -> None:
    assert DIALECT.name == "openai_chat"
    assert DIALECT.routes == ("/v1/chat/completions",)
    assert DIALECT.stream_type.startswith("text/event-stream")
    assert DIALECT.heartbeat.startswith(b":")
    assert DIALECT.heartbeat.endswith(b"\n\n")


def test_reading_and_refusing_are_the_dialects_own() -> None:
    assert (
        DIALECT.read(Incoming("/", [], b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}')).model == "m"
    )
    assert json.loads(DIALECT.refusal(Incomplete("x")))["error"]["code"] == "upstream_incomplete"
