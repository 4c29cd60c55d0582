"""A stream of events, folded."""

import pytest

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
    SiteTool,
    Source,
    Sources,
    Text,
    ToolCallArguments,
    ToolCallBegan,
    ToolCallEnded,
    Usage,
)
from qwen_gateway.turn.faults import Incomplete
from qwen_gateway.turn.reply import Fold, Reply
from qwen_gateway.turn.request import ToolCallPart

ONE, TWO = Source("https://a.example", "A"), Source("https://b.example", "B")


def fold(*events: Event) -> Fold:
    folded = Fold()
    for event in events:
        folded.feed([event])
    return folded


def test_everything_is_collected_in_order() -> None:
    events: list[Event] = [
        Began("c", "a"),
        Reasoning("r"),
        Text("a"),
        SiteTool("web_search"),
        Sources((ONE,)),
        Reasoning("s"),
        Citation(0, 1, ONE),
        Sources((TWO,)),
        Text("b"),
        Usage(1, 1),
        Usage(5, 2),
        Finished("length"),
    ]
    expected = Reply("ab", "rs", (Citation(0, 1, ONE),), (ONE, TWO), Usage(5, 2), "length")
    assert fold(*events).reply() == expected
    at_once = Fold()
    at_once.feed(events)
    assert at_once.reply() == expected


def test_without_figures_usage_is_nothing_and_says_that_it_is_estimated() -> None:
    assert fold(Text("a"), Finished()).reply().usage == Usage(0, 0, estimated=True)


def test_an_answer_that_failed_raises_its_fault() -> None:
    fault = Incomplete("broke off")
    folded = fold(Text("a"), Failed(fault))
    assert folded.failed is not None
    with pytest.raises(Incomplete) as caught:
        folded.reply()
    assert caught.value is fault


def test_an_answer_that_has_not_ended_is_no_reply() -> None:
    with pytest.raises(ValueError, match="not ended"):
        fold(Text("a")).reply()


def test_calls_are_put_together_from_their_pieces_in_their_order() -> None:
    events: list[Event] = [
        Text("Look:"),
        ToolCallBegan(0, "a", "Read"),
        ToolCallArguments(0, '{"x":'),
        ToolCallArguments(0, " 1}"),
        ToolCallEnded(0),
        ToolCallBegan(1, "b", "Bash"),
        ToolCallArguments(1, "{}"),
        ToolCallEnded(1),
        Finished("tool_calls"),
    ]
    reply = fold(*events).reply()
    assert reply.calls == (ToolCallPart("a", "Read", '{"x": 1}'), ToolCallPart("b", "Bash", "{}"))
    assert (reply.text, reply.finish) == ("Look:", "tool_calls")


def test_a_call_that_was_cut_is_there_as_far_as_it_came() -> None:
    begun: list[Event] = [ToolCallBegan(0, "a", "Read"), ToolCallArguments(0, '{"x":')]
    assert fold(*begun).calls() == (ToolCallPart("a", "Read", '{"x":'),)
    assert fold(*begun, Finished("length")).reply().calls == (ToolCallPart("a", "Read", '{"x":'),)
    assert fold(ToolCallBegan(0, "a", "Read")).calls() == (ToolCallPart("a", "Read", ""),)


def test_calls_in_the_sites_own_form_are_no_calls_of_the_reply() -> None:
    """What they mean is decided before: here they are left out."""
    reply = fold(NativeCall("Read", "{}"), NativeResult("Read", "no such tool"), Text("a"), Finished()).reply()
    assert (reply.calls, reply.text) == ((), "a")


def test_the_sequence_that_stopped_an_answer_is_kept() -> None:
    assert fold(Text("a"), Finished("stop", "END")).reply().stopped_by == "END"
    assert fold(Text("a"), Finished()).reply().stopped_by is None


def test_a_refusal_is_kept_apart_from_the_text() -> None:
    reply = fold(Declined("I will not."), Finished()).reply()
    assert (reply.text, reply.declined) == ("", "I will not.")
    assert fold(Text("a"), Finished()).reply().declined == ""


def test_what_has_come_so_far_can_be_looked_at() -> None:
    folded = fold(Text("a"), Text("b"))
    assert folded.text() == "ab"
    assert folded.finish is None
