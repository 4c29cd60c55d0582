"""Where answers end because the client wants no more, and begin because it has begun them."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.toolcall.answers import OPEN, call

from qwen_gateway.relay.calls import Tries
from qwen_gateway.relay.cuts import Length, Prefill, SiteNotes, Stops
from qwen_gateway.relay.pipeline import Stage
from qwen_gateway.turn.events import (
    Began,
    Citation,
    Event,
    Failed,
    Finished,
    NativeCall,
    Reasoning,
    SiteTool,
    Source,
    Text,
    ToolCallArguments,
    ToolCallBegan,
    ToolCallEnded,
    Usage,
)
from qwen_gateway.turn.faults import Incomplete
from qwen_gateway.turn.request import MaxOutput

from .reading import calls_of, calls_stage, text_of, through, told

BROKEN = Failed(Incomplete("broke"))
CALL: list[Event] = [ToolCallBegan(0, "id", "Read"), ToolCallArguments(0, "{}"), ToolCallEnded(0)]


def words(text: str) -> int:
    """A token is a word, and so is what may become one."""
    return len(text.split())


def length(most: int, *, reasoning: bool = False) -> Length:
    return Length(MaxOutput(most, reasoning), words)


class Line:
    """Stages one after the other, as in a pipeline."""

    def __init__(self, *stages: Stage) -> None:
        self._stages = stages

    @property
    def enough(self) -> bool:
        return any(stage.enough for stage in self._stages)

    @property
    def clean(self) -> bool:
        return all(stage.clean for stage in self._stages)

    def feed(self, events: list[Event]) -> list[Event]:
        for stage in self._stages:
            events = stage.feed(events)
        return events


# --- length ---


def test_an_answer_within_the_limit_passes_untouched() -> None:
    stage = length(3)
    events: list[Event] = [Began("c", "a"), Reasoning("Hm, hm, hm, hm."), Text("one two three"), Usage(1, 2)]
    assert through(stage, events) == [*events, Finished()]
    assert stage.clean
    assert not stage.enough


def test_an_answer_above_the_limit_ends_there_and_says_so() -> None:
    stage = length(2)
    assert through(stage, *told("one two three four")) == [Text("one two "), Finished("length")]
    assert stage.enough
    assert not stage.clean


@pytest.mark.parametrize(("counts", "text"), [(True, "one "), (False, "one two three ")])
def test_reasoning_counts_where_the_client_says_so(counts: bool, text: str) -> None:
    stage = length(3, reasoning=counts)
    assert through(stage, [Reasoning("let me ")], *told("one two three four")) == [
        Reasoning("let me "),
        Text(text),
        Finished("length"),
    ]


def test_a_limit_within_the_reasoning_leaves_no_text() -> None:
    assert through(length(2, reasoning=True), [Reasoning("let me think")], *told("one")) == [
        Reasoning("let me "),
        Finished("length"),
    ]


@pytest.mark.parametrize("end", [BROKEN, Finished("content_filter")])
def test_after_the_limit_only_figures_and_the_end_pass(end: Event) -> None:
    stage = length(1)
    after: list[Event] = [Reasoning("more"), NativeCall("Read", "{}"), SiteTool("search"), Usage(1, 2), end]
    assert stage.feed([Text("one two"), *after]) == [Text("one"), Text(" "), Usage(1, 2), Finished("length")]


def test_a_limit_within_a_call_that_is_held_leaves_no_call() -> None:
    """A63: cut, and never closed."""
    tries = Tries()
    line = Line(length(5), calls_stage(tries))
    events = through(line, *told("I look.\n", OPEN, '{"name": "Bash", "arguments": {"command": "ls -l -a"}}'))
    assert events == [Text("I look."), Finished("length")]
    assert tries.retried == ()
    assert not line.clean


def test_a_limit_behind_a_whole_call_leaves_the_call() -> None:
    """A63: the first of two calls is whole."""
    first = call("ping")
    line = Line(length(words(first) + 3), calls_stage())
    events = through(line, *told(first + "\n" + call("Bash", command="ls")))
    assert calls_of(events) == [("ping", "{}")]
    assert events[-1] == Finished("length")


# --- stop sequences ---


def test_the_text_ends_before_the_sequence_and_the_end_names_it() -> None:
    stage = Stops(["END", "\n\n"])
    assert through(stage, *told("one\n", "\ntwo END")) == [Text("one"), Finished("stop", "\n\n")]
    assert stage.enough
    assert not stage.clean


def test_what_only_began_like_a_sequence_is_text() -> None:
    stage = Stops(["END"])
    assert through(stage, *told("one E", "N")) == [Text("one EN"), Finished()]
    assert stage.clean


@pytest.mark.parametrize("stage", [lambda: Stops(["END"]), lambda: Prefill("one EN and more")], ids=["stop", "begun"])
def test_text_that_is_held_comes_before_the_calls(stage: Callable[[], Stage]) -> None:
    assert through(stage(), [Text("one EN"), *CALL]) == [Text("one EN"), *CALL, Finished()]


@pytest.mark.parametrize("stage", [lambda: Stops(["END"]), lambda: Prefill("one EN and more")], ids=["stop", "begun"])
def test_nothing_that_is_held_is_shown_of_an_answer_that_failed(stage: Callable[[], Stage]) -> None:
    assert through(stage(), [Text("EN" if isinstance(stage(), Stops) else "one EN"), BROKEN]) == [BROKEN]


@pytest.mark.parametrize("end", [BROKEN, Finished("length")])
def test_after_a_stop_sequence_only_figures_and_the_end_pass(end: Event) -> None:
    after: list[Event] = [Reasoning("more"), *CALL, Citation(0, 1, Source("u", "t")), Usage(1, 2), end]
    assert Stops(["X"]).feed([Text("one X two"), *after]) == [Text("one "), Usage(1, 2), Finished("stop", "X")]


def test_a_stop_sequence_within_arguments_is_none() -> None:
    """A62: visible text only."""
    line = Line(calls_stage(), Stops(["rm"]))
    events = through(line, *told("I clean up.\n" + call("Bash", command="rm -r x")))
    assert text_of(events) == "I clean up."
    assert calls_of(events) == [("Bash", '{"command": "rm -r x"}')]
    assert events[-1] == Finished("tool_calls")


def test_behind_a_stop_sequence_there_are_no_calls_and_no_further_tries() -> None:
    """A62: the generation would have ended there."""
    for rest in (call("Bash", command="ls"), call("invented"), call("Bash", command="ls")[:30]):
        line = Line(calls_stage(), Stops(["END"]))
        assert through(line, *told("I look. END\n" + rest)) == [Text("I look. "), Finished("stop", "END")]


# --- an answer that the client began ---


def test_what_the_client_has_begun_is_not_said_again() -> None:
    stage = Prefill("The answer is")
    assert through(stage, *told("The ans", "wer is", " 42.")) == [Text(" 42."), Finished()]


def test_an_answer_that_goes_on_at_once_is_whole() -> None:
    assert through(Prefill("The answer is"), *told(" 42.")) == [Text(" 42."), Finished()]


def test_what_only_began_like_the_beginning_is_text() -> None:
    assert through(Prefill("The answer is 42"), *told("The ans")) == [Text("The ans"), Finished()]


# --- notes ---


def test_a_tool_of_the_sites_becomes_a_note_in_the_reasoning() -> None:
    stage = SiteNotes()
    assert through(stage, [SiteTool("web_search"), Text("x")]) == [
        Reasoning("[Qwen's site uses its tool web_search.]\n"),
        Text("x"),
        Finished(),
    ]
    assert stage.clean


# --- cuts of the network ---

STAGES: dict[str, Callable[[], Stage]] = {
    "length": lambda: length(7),
    "length, short": lambda: length(2, reasoning=True),
    "stops": lambda: Stops(["three", "e f", "\n\n"]),
    "begun": lambda: Prefill("let us count: one two"),
    "all": lambda: Line(length(9), calls_stage(), Prefill("zero one two"), Stops(["five"])),
}


@given(
    st.sampled_from(sorted(STAGES)),
    st.lists(st.sampled_from(["one ", "two ", "three", " four\n\n", "five", " [TOOL ", "let us count: "]), max_size=12),
    st.sets(st.integers(0, 100)),
    st.sets(st.integers(0, 100), max_size=5),
)
def test_any_cut_of_the_text_gives_the_same(name: str, parts: list[str], cuts: set[int], ends: set[int]) -> None:
    text = "".join(parts) + "x"
    places = sorted({0, len(text)} | {cut for cut in cuts if cut < len(text)})
    pieces: list[Event] = [Text(text[start:end]) for start, end in pairwise(places)]
    borders = sorted({0, len(pieces)} | {end for end in ends if end < len(pieces)})
    batches = [pieces[start:end] for start, end in pairwise(borders)]
    whole, cut = STAGES[name](), STAGES[name]()
    assert through(cut, *batches) == through(whole, [Text(text)])
    assert cut.clean == whole.clean
