"""Chunks of a stream: their order, what stands on each, and how the stream ends."""

import json

import pytest

from qwen_gateway.dialects import openai_chat
from qwen_gateway.turn.contracts import ReplyHead
from qwen_gateway.turn.events import (
    Began,
    Citation,
    Declined,
    Event,
    Failed,
    Finished,
    NativeCall,
    NativeResult,
    Reasoning,
    Sources,
    Text,
    ToolCallArguments,
    ToolCallBegan,
    ToolCallEnded,
    Usage,
)
from qwen_gateway.turn.faults import Incomplete
from qwen_gateway.turn.request import TurnRequest

from .answers import (
    ASKED,
    HEAD,
    OLDER,
    READ,
    REQUEST,
    SOURCE,
    TWO,
    TWO_ASKED,
    call,
    chunks,
    deltas,
    message,
    put_together,
    records,
    stream,
)


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
    assert message(events)["annotations"] == [annotation]


def test_what_stands_in_text_or_model_cannot_leave_its_string() -> None:
    evil = '"}\n\ndata: [DONE]\n\n\u2028\x00<script>'
    raw = openai_chat.writer(REQUEST, ReplyHead(evil, 1, evil)).feed([Text(evil), Finished()])
    first, _ = chunks(raw)
    assert (first["id"], first["model"], first["choices"][0]["delta"]["content"]) == ("chatcmpl-" + evil, evil, evil)


# --- calls ---

ID = f"call_{0:024x}"


def test_a_call_by_hand() -> None:
    function = {"name": "Read", "arguments": ""}
    assert deltas(stream([*READ, Finished("tool_calls")])) == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"index": 0, "id": ID, "type": "function", "function": function}],
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"file_path":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ' "/src/“a”.py"}'}}]},
        {},
    ]


def test_a_call_after_text_says_no_role_and_no_content() -> None:
    first, second, *_ = deltas(stream([Text("Look:"), *READ, Finished("tool_calls")]))
    assert first == {"role": "assistant", "content": "Look:"}
    assert second.keys() == {"tool_calls"}


def test_text_after_a_call_says_no_role_again() -> None:
    assert deltas(stream([*READ, Text("There.")]))[-1] == {"content": "There."}
    assert deltas(stream([*READ, Reasoning("There.")]))[-1] == {"reasoning_content": "There."}


def test_each_chunk_has_one_call_and_each_call_its_id_once() -> None:
    events = [*READ, *call(1, "Bash", "{", "}"), *call(2, "Bash", "{}"), Finished("tool_calls")]
    found = [delta["tool_calls"] for delta in deltas(stream(events)) if "tool_calls" in delta]
    assert all(len(calls) == 1 for calls in found)
    assert [(one["index"], one["id"]) for [one] in found if "id" in one] == [(i, f"call_{i:024x}") for i in range(3)]
    assert [one["index"] for [one] in found] == [0, 0, 0, 1, 1, 1, 2, 2]


def test_calls_that_the_client_does_not_make_are_not_seen() -> None:
    """Snapshots of calls in the site's own form are for the stage before us."""
    assert stream([NativeCall("Bash", "{}"), NativeResult("Bash", "no such tool"), ToolCallEnded(0)]) == b""


@pytest.mark.parametrize("reason", ["tool_calls", "length", "stop"])
def test_the_end_of_calls_is_what_the_turn_says(reason: str) -> None:
    finish = chunks(stream([*READ, Finished(reason)]))[-1]  # type: ignore[arg-type] # the list's are right
    assert finish["choices"][0]["finish_reason"] == reason


def test_a_call_in_the_older_form() -> None:
    raw = stream([*READ, Finished("tool_calls")], OLDER)
    assert deltas(raw) == [
        {"role": "assistant", "content": None, "function_call": {"name": "Read", "arguments": ""}},
        {"function_call": {"arguments": '{"file_path":'}},
        {"function_call": {"arguments": ' "/src/“a”.py"}'}},
        {},
    ]
    assert chunks(raw)[-1]["choices"][0]["finish_reason"] == "function_call"


def test_the_older_form_has_room_for_one_call() -> None:
    assert stream([*READ, *call(1, "Bash", "{}")], OLDER) == stream(READ, OLDER)


def test_what_stands_in_a_call_cannot_leave_its_string() -> None:
    evil = '"}}]}\n\ndata: [DONE]\n\n'
    raw = stream([ToolCallBegan(0, "x", evil), ToolCallArguments(0, evil)])
    first, second = (delta["tool_calls"][0]["function"] for delta in deltas(raw))
    assert (first["name"], second["arguments"]) == (evil, evil)


# --- refusals ---


def test_a_refusal_stands_in_its_own_field() -> None:
    events: list[Event] = [Declined("I will not."), Finished()]
    assert deltas(stream(events)) == [{"role": "assistant", "content": None, "refusal": "I will not."}, {}]
    assert deltas(stream([Reasoning("No."), *events]))[1] == {"refusal": "I will not."}


# --- several choices ---


def test_choices_by_hand() -> None:
    writer = openai_chat.choices_writer(TWO, HEAD)
    opened = {"role": "assistant", "content": ""}
    first = writer.feed(1, [Text("b")])
    assert [chunk["choices"][0]["index"] for chunk in chunks(first)] == [0, 1, 1], "in their order, whoever is first"
    assert deltas(first) == [opened, opened, {"content": "b"}]
    raw = writer.feed(0, [Reasoning("a")])
    raw += writer.feed(1, [Usage(1, 1), Finished()])
    raw += writer.feed(0, READ)
    raw += writer.feed(0, [Usage(2, 2), Finished("tool_calls")])
    raw += writer.finish(Usage(3, 3))
    assert records(raw)[-1] == "[DONE]"
    found = chunks(raw)
    assert [chunk["choices"][0]["index"] for chunk in found] == [0, 1, 0, 0, 0, 0]
    assert [chunk["choices"][0]["finish_reason"] for chunk in found] == [None, "stop", None, None, None, "tool_calls"]
    assert ["usage" in chunk for chunk in found] == [False] * 5 + [True]
    assert found[-1]["usage"]["total_tokens"] == 6
    assert put_together([*chunks(first), *found], 0)[0]["tool_calls"][0]["id"] == ID


def test_each_choice_says_its_role() -> None:
    writer = openai_chat.choices_writer(TWO, HEAD)
    raw = writer.feed(0, [Text("a"), Text("b")]) + writer.feed(1, [*READ[:1]])
    assert [delta.get("role") for delta in deltas(raw)] == ["assistant", "assistant", None, None, None]


def test_usage_of_choices_comes_apart_when_asked_for() -> None:
    writer = openai_chat.choices_writer(TWO_ASKED, HEAD)
    raw = writer.feed(0, [Finished()]) + writer.feed(1, [Finished()]) + writer.finish(Usage(4, 2))
    *finishes, usage = chunks(raw)
    assert [chunk["choices"][0]["finish_reason"] for chunk in finishes] == [None, None, "stop", "stop"]
    assert not any("usage" in chunk for chunk in finishes)
    assert (usage["choices"], usage["usage"]["prompt_tokens"]) == ([], 4)


def test_a_stream_of_choices_has_no_end_before_all_have_finished() -> None:
    writer = openai_chat.choices_writer(TWO, HEAD)
    raw = writer.feed(0, [Text("a"), Finished()])
    assert b"[DONE]" not in raw
    with pytest.raises(ValueError, match="1 choices have not finished"):
        writer.finish(Usage(1, 1))
    writer.feed(1, [Finished()])
    assert writer.finish(Usage(1, 1)).endswith(b"data: [DONE]\n\n")


def test_choices_that_break_end_with_an_error() -> None:
    writer = openai_chat.choices_writer(TWO, HEAD)
    raw = writer.feed(0, [Text("a"), Finished()]) + writer.fail(Incomplete("It broke."))
    assert json.loads(records(raw)[-1])["error"]["message"] == "It broke."
    assert b"[DONE]" not in raw


def test_behind_its_opening_a_choice_is_written_as_an_answer_alone() -> None:
    events: list[Event] = [Reasoning("r"), Text("a"), *READ, Usage(1, 2), Finished("tool_calls")]
    for request in (REQUEST, ASKED, OLDER):
        writer = openai_chat.choices_writer(request, HEAD)
        opening, rest = (writer.feed(0, events) + writer.finish(Usage(1, 2))).split(b"\n\n", 1)
        assert json.loads(opening.removeprefix(b"data: "))["choices"][0]["delta"] == {
            "role": "assistant",
            "content": "",
        }
        assert rest == stream(events, request).replace(b'"role":"assistant",', b"", 1)
