"""A turn's events in the words of chat completions.

`tests/golden/openai_chat/` holds the bytes for each recording, and for turns made by hand, of which there is no
recording (`made_…`, in `answers.py`): as a stream, and whole. To write them anew:
`REGENERATE=1 pytest tests/dialects/test_openai_chat.py`; the diff is reviewed like code.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from qwen_gateway.dialects import openai_chat
from qwen_gateway.shaping.citations import CitationLinks
from qwen_gateway.turn.contracts import Dialect, Incoming, Several
from qwen_gateway.turn.events import (
    Began,
    Citation,
    Declined,
    Event,
    Failed,
    Finished,
    NativeCall,
    Reasoning,
    SiteTool,
    Sources,
    Text,
    Usage,
)
from qwen_gateway.turn.faults import Incomplete
from qwen_gateway.turn.request import TurnRequest
from qwen_gateway.upstreams.qwen.decoder import Decoder

from .answers import (
    ASKED,
    HEAD,
    OLDER,
    REQUEST,
    SCENES,
    SOURCE,
    TWO,
    TWO_ASKED,
    Chunk,
    call,
    chunks,
    deltas,
    put_together,
    reply,
    stream,
    whole,
)

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "golden/openai_chat"
DIALECT: Dialect = openai_chat
SEVERAL: Several = openai_chat


def recorded(path: Path) -> list[Event]:
    """As the gateway's pipeline makes them of a recording."""
    raw = path.read_bytes()
    chat = json.loads(raw.split(b"\n")[0][5:]).get("response.created", {}).get("chat_id", "")
    decoder, links = Decoder(chat), CitationLinks()
    return links.feed(decoder.feed(raw)) + links.feed(decoder.close())


TURNS = {path.stem: (REQUEST, recorded(path)) for path in sorted((TESTS / "corpus").glob("*sse_*.txt"))} | SCENES
OF_ALL = pytest.mark.parametrize(("request_", "events"), TURNS.values(), ids=TURNS.keys())


def two_choices() -> list[list[Event]]:
    """The same question asked twice: an answer and a call."""
    return [SCENES["made_text_stopped"][1], SCENES["made_text_then_two_calls"][1]]


def choices_stream(request: TurnRequest, turns: list[list[Event]], usage: Usage) -> bytes:
    """The choices' events by turns, one at a time, as if they came at the same pace."""
    writer, raw = openai_chat.choices_writer(request, HEAD), b""
    for step in range(max(map(len, turns))):
        for index, events in enumerate(turns):
            raw += writer.feed(index, events[step : step + 1])
    return raw + writer.finish(usage)


# --- goldens ---


def check_golden(name: str, written: bytes) -> None:
    golden = GOLDEN / name
    if os.environ.get("REGENERATE"):
        golden.write_bytes(written)
    assert written == golden.read_bytes()


@pytest.mark.parametrize("name", TURNS)
@pytest.mark.parametrize(("suffix", "write"), [("stream.txt", stream), ("whole.json", whole)])
def test_bytes_are_those_of_the_golden_file(name: str, suffix: str, write: Any) -> None:
    request, events = TURNS[name]
    check_golden(f"{name}.{suffix}", write(events, request))


def test_bytes_of_two_choices_are_those_of_the_golden_file() -> None:
    check_golden("made_two_choices.stream.txt", choices_stream(TWO, two_choices(), Usage(95, 32, 5)))
    replies = [reply(events) for events in two_choices()]
    check_golden("made_two_choices.whole.json", openai_chat.choices_whole(TWO, HEAD, replies))


def test_every_golden_file_is_of_a_turn() -> None:
    names = {*TURNS, "made_two_choices"}
    assert {path.name for path in GOLDEN.iterdir()} == {
        f"{name}.{end}" for name in names for end in ("stream.txt", "whole.json")
    }


# --- the vendor's own SDK ---


def collected(raw: bytes) -> ChatCompletion:
    """The answer as OpenAI's own SDK puts it together."""
    state = ChatCompletionStreamState()
    for chunk in chunks(raw):
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    return state.get_final_completion()


@OF_ALL
def test_the_vendors_own_types_read_every_chunk(request_: TurnRequest, events: list[Event]) -> None:
    for chunk in chunks(stream(events, request_)):
        if "error" not in chunk:
            ChatCompletionChunk.model_validate(chunk)
    if isinstance(events[-1], Finished):
        read = ChatCompletion.model_validate_json(whole(events, request_))
        assert read.usage is not None
        assert read.usage.total_tokens == read.usage.prompt_tokens + read.usage.completion_tokens


# Of an answer that the limit has cut, the SDK makes an exception.
@pytest.mark.parametrize("name", [name for name in SCENES if name != "made_call_cut_by_the_limit"])
def test_the_vendors_own_sdk_puts_a_stream_together_to_the_whole_answer(name: str) -> None:
    request, events = SCENES[name]
    (streamed,) = collected(stream(events, request)).choices
    (at_once,) = ChatCompletion.model_validate_json(whole(events, request)).choices
    assert streamed.finish_reason == at_once.finish_reason
    assert streamed.message.content == at_once.message.content
    assert streamed.message.refusal == at_once.message.refusal
    assert calls_of(streamed) == calls_of(at_once)


def test_the_vendors_own_sdk_puts_two_choices_together() -> None:
    found = collected(choices_stream(TWO_ASKED, two_choices(), Usage(95, 32)))
    assert found.usage is not None
    assert found.usage.total_tokens == 127
    assert [choice.finish_reason for choice in found.choices] == ["stop", "tool_calls"]
    assert [choice.message.content for choice in found.choices] == ["one two", "I look at both."]
    assert [len(calls_of(choice)) for choice in found.choices] == [0, 2]


def calls_of(choice: Any) -> list[tuple[str, str, str]]:
    older = choice.message.function_call
    rows = [(one.id, one.function.name, one.function.arguments) for one in choice.message.tool_calls or ()]
    return rows + ([("", older.name, older.arguments)] if older else [])


# --- what holds for every turn ---


@OF_ALL
def test_the_role_is_said_once_and_first_and_no_delta_is_empty_before_the_end(
    request_: TurnRequest, events: list[Event]
) -> None:
    found = deltas(stream([event for event in events if not isinstance(event, Failed)], request_))
    said = found[:-1] if isinstance(events[-1], Finished) else found
    assert [delta.get("role") for delta in said] == ["assistant"] * bool(said) + [None] * (len(said) - 1)
    for delta in said:
        keys = ("content", "reasoning_content", "tool_calls", "function_call", "refusal")
        assert sum(bool(delta.get(key)) for key in keys) == 1


PIECES = st.lists(
    st.builds(Text, st.text(min_size=1, max_size=5))
    | st.builds(Reasoning, st.text(min_size=1, max_size=5))
    | st.sampled_from([Began("c", "a"), SiteTool("web_search"), Sources((SOURCE,)), Citation(0, 0, SOURCE)])
    | st.builds(NativeCall, st.text(max_size=3), st.text(max_size=3))
    | st.builds(Usage, st.integers(0, 99), st.integers(0, 99), estimated=st.booleans()),
    max_size=10,
)
CALLS = st.lists(st.tuples(st.text(max_size=5), st.lists(st.text(min_size=1, max_size=5), max_size=3)), max_size=3)
REASONS = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])


TURN = st.tuples(PIECES, CALLS, REASONS, st.text(max_size=3))


def made(pieces: list[Event], calls: list[tuple[str, list[str]]], reason: Any, declined: str = "") -> list[Event]:
    called = [event for i, (name, arguments) in enumerate(calls) for event in call(i, name, *arguments)]
    return [*pieces, *called, *([Declined(declined)] if declined else []), Usage(3, 2), Finished(reason)]


@settings(deadline=None, max_examples=200)
@given(TURN, st.sampled_from([REQUEST, ASKED, OLDER]))
def test_a_stream_put_together_is_the_whole_answer(turn: Any, request: TurnRequest) -> None:
    events = made(*turn)
    found = chunks(stream(events, request))
    expected = json.loads(whole(events, request))
    (choice,) = expected["choices"]
    assert put_together(found) == (choice["message"], choice["finish_reason"])
    assert [chunk["usage"] for chunk in found if "usage" in chunk] == [expected["usage"]]
    assert {(chunk["id"], chunk["created"], chunk["model"]) for chunk in found} == {
        ("chatcmpl-" + HEAD.id, HEAD.created, HEAD.model)
    }


@settings(deadline=None, max_examples=100)
@given(TURN, TURN, st.sampled_from([TWO, TWO_ASKED]))
def test_choices_put_together_are_the_whole_answer(one: Any, other: Any, request: TurnRequest) -> None:
    turns = [made(*one), made(*other)]
    found = chunks(choices_stream(request, turns, Usage(6, 4)))
    expected = json.loads(openai_chat.choices_whole(request, HEAD, [reply(events) for events in turns]))
    for index, choice in enumerate(expected["choices"]):
        assert put_together(found, index) == (choice["message"], choice["finish_reason"])
    usages: list[Chunk] = [chunk["usage"] for chunk in found if "usage" in chunk]
    assert usages == [expected["usage"]]


# --- the dialect's other names ---


def test_what_the_server_needs_to_know() -> None:
    assert isinstance(SEVERAL, Several)
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
