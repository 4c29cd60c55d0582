"""The calls of one answer: shown, asked for again or refused, whichever way and in whichever pieces they came."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toolcall.answers import CLOSE, NONCE, OPEN, call

from qwen_gateway.relay import calls as calls_module
from qwen_gateway.relay import thought
from qwen_gateway.relay.calls import Calls, Tries
from qwen_gateway.toolcall.draft import PATIENCE, WORTH
from qwen_gateway.turn.events import (
    Began,
    Citation,
    Event,
    Failed,
    Finished,
    NativeCall,
    NativeResult,
    Reasoning,
    Source,
    Sources,
    Text,
    ToolCallArguments,
    ToolCallBegan,
    ToolCallEnded,
    Usage,
)
from qwen_gateway.turn.faults import Incomplete

from .reading import calls_of, calls_stage, joined, text_of, through, told, unfit

LS, PWD = call("Bash", command="ls"), call("Bash", command="pwd")
LS_ARGUMENTS = '{"command": "ls"}'
UNREADABLE = OPEN + '{"name": "Bash", "arguments": ["ls"]}' + CLOSE
UNKNOWN = call("invented", a=1)
LONG = "line\n" * 600
PAGE = Source("https://site.test/a", "A")


# --- what is delivered ---


def test_a_call_is_one_call_and_the_end_says_so() -> None:
    """A1: nothing but a call."""
    stage = calls_stage()
    assert through(stage, *told(LS)) == [
        ToolCallBegan(0, "id1", "Bash"),
        ToolCallArguments(0, LS_ARGUMENTS),
        ToolCallEnded(0),
        Finished("tool_calls"),
    ]
    assert stage.clean
    assert not stage.enough


def test_text_is_shown_at_once_and_the_call_after_it() -> None:
    """A2: a sentence, then a call."""
    stage = calls_stage()
    assert stage.feed([Text("I look.")]) == [Text("I look.")]
    assert stage.feed([Text("\n\n" + LS)]) == []
    assert calls_of(stage.feed([Finished()])) == [("Bash", LS_ARGUMENTS)]
    assert stage.clean


def test_calls_have_ids_of_their_own_and_count_from_zero() -> None:
    """A3: three calls back to back."""
    events = through(calls_stage(), *told("\n".join([LS, PWD, call("ping")])))
    assert [event for event in events if isinstance(event, ToolCallBegan)] == [
        ToolCallBegan(0, "id1", "Bash"),
        ToolCallBegan(1, "id2", "Bash"),
        ToolCallBegan(2, "id3", "ping"),
    ]
    assert events[-1] == Finished("tool_calls")


def test_a_long_call_is_shown_while_it_comes() -> None:
    """A20: more than 2 KiB of arguments."""
    stage, text = calls_stage(), call("Write", file_path="a", content=LONG)
    shown = stage.feed([Text(text[:2800])])
    assert shown[0] == ToolCallBegan(0, "id1", "Write")
    assert calls_of(shown + stage.feed([Text(text[2800:]), Finished()])) == [
        ("Write", json.dumps({"file_path": "a", "content": LONG}))
    ]
    assert stage.clean


def test_a_call_that_takes_long_is_shown_while_it_comes() -> None:
    stage = calls_stage(seconds=PATIENCE / 2 + 0.1)
    assert stage.feed([Text(OPEN + '{"name": "Bash", "arguments": {"comm')]) == []
    assert stage.feed([Text('and": "' + "x" * WORTH)]) == []
    assert stage.feed([Text("l")])[0] == ToolCallBegan(0, "id1", "Bash")


def test_a_call_that_is_shown_lets_those_before_it_out() -> None:
    stage = calls_stage()
    assert stage.feed([Text(LS)]) == []
    shown = stage.feed([Text("\n" + call("Write", file_path="a", content=LONG)[:2800])])
    assert [event.name for event in shown if isinstance(event, ToolCallBegan)] == ["Bash", "Write"]


def test_what_an_answer_says_besides_passes_untouched() -> None:
    others: list[Event] = [Began("c", "a"), Reasoning("Hm."), Sources((PAGE,)), Citation(0, 1, PAGE), Usage(1, 2)]
    assert through(calls_stage(), others, *told("x")) == [*others, Text("x"), Finished()]


def test_an_end_that_the_site_gave_is_kept() -> None:
    stage = calls_stage()
    assert through(stage, [Text("x"), Finished("content_filter")])[-1] == Finished("content_filter")


def test_an_answer_that_breaks_off_fails_and_its_whole_calls_are_not_run() -> None:
    broken = Failed(Incomplete("broke"))
    assert through(calls_stage(), [Text("I look.\n" + LS), broken]) == [Text("I look."), broken]


def test_a_refusal_in_words_is_text() -> None:
    """A64: no call, as the model is free to do."""
    stage = calls_stage()
    assert through(stage, *told("I will not do that.")) == [Text("I will not do that."), Finished()]
    assert stage.clean


# --- asked for again ---

AGAIN: dict[str, tuple[str, str, str]] = {
    # answer → a word of the note, code
    "A17: an argument that is required is missing": (call("Bash", description="x"), "rejected", "invalid_tool_call"),
    "A18: the arguments are a list": (UNREADABLE, "could not be read", "invalid_tool_call"),
    "A22: it ends within a call that is held": (LS[:40], "could not be read", "invalid_tool_call"),
    "A25: an invented name": (UNKNOWN, 'called "invented"', "invalid_tool_call"),
    "a good call and a bad one, which are run as a set": (LS + "\n" + UNKNOWN, '"invented"', "invalid_tool_call"),
    "nothing at all": ("", "", "upstream_empty"),
    "nothing but blanks": (" \n ", "", "upstream_empty"),
}


@pytest.mark.parametrize("name", AGAIN)
def test_an_answer_that_does_not_fit_is_asked_for_again(name: str) -> None:
    answer, note, code = AGAIN[name]
    tries = Tries()
    events = through(calls_stage(tries), *told(answer))
    fault = unfit(events)
    assert len(events) == 1, "nothing of it was shown"
    assert fault.hint is not None
    assert note in fault.hint
    assert fault.code == code
    assert (len(tries.retried), tries.calls_only, tries.counts.retried) == (1, False, 1)


LAST: dict[str, tuple[str, list[Event] | str]] = {
    # answer of the last try → what is delivered, or the code of the refusal
    "A25: an invented name again, with words": ("I look.\n" + UNKNOWN, [Text("I look."), Finished()]),
    "A25: an invented name again, without words": (UNKNOWN, "invalid_tool_call"),
    "nothing again": ("", "upstream_empty"),
}


@pytest.mark.parametrize("name", LAST)
@pytest.mark.parametrize("tries", [Tries(("unknown", "empty")), Tries(left=0)], ids=["tried twice", "no question left"])
def test_the_last_try_is_delivered_as_text_or_refused(name: str, tries: Tries) -> None:
    answer, expected = LAST[name]
    stage = calls_stage(Tries(tries.retried, left=tries.left))
    events = through(stage, *told(answer))
    if isinstance(expected, str):
        assert (unfit(events).code, unfit(events).hint) == (expected, None)
    else:
        assert events == expected
        assert not stage.clean, "the chat holds the bad call, and the client does not"


def test_a_good_call_beside_a_bad_one_is_delivered_when_no_other_try_is_left() -> None:
    stage = calls_stage(Tries(left=0))
    events = through(stage, *told(LS + "\n" + UNKNOWN))
    assert calls_of(events) == [("Bash", LS_ARGUMENTS)]
    assert not stage.clean


def test_a_call_that_was_shown_and_broke_off_is_never_closed() -> None:
    """A21: the site cuts in the middle of a call that the client has seen."""
    text = call("Write", file_path="a", content=LONG)[:2900]
    events = through(calls_stage(), *told(text))
    assert isinstance(events[0], ToolCallBegan)
    assert not any(isinstance(event, ToolCallEnded) for event in events)
    assert events[-1] == Finished("length")


def test_the_end_that_the_site_made_of_a_call_that_was_shown_is_a_fault() -> None:
    """A21: the connection breaks in the middle of it."""
    broken = Failed(Incomplete("broke"))
    stage = calls_stage()
    shown = stage.feed([Text(call("Write", file_path="a", content=LONG)[:2900])])
    assert shown
    assert stage.feed([broken]) == [broken]


def test_text_that_was_shown_stays_and_the_next_try_adds_only_calls() -> None:
    tries = Tries()
    first = through(calls_stage(tries), *told("I look.\n" + UNKNOWN))
    assert first[:-1] == [Text("I look.")]
    assert unfit(first).hint
    assert tries.calls_only
    second = calls_stage(tries)
    events = through(
        second,
        [Reasoning("Again."), Sources((PAGE,)), Text("I look once more."), Citation(0, 6, PAGE), Text("\n" + LS)],
    )
    assert not any(isinstance(event, Text | Reasoning | Sources | Citation) for event in events)
    assert calls_of(events) == [("Bash", LS_ARGUMENTS)]
    assert events[-1] == Finished("tool_calls")
    assert not second.clean, "the chat holds the second text, and the client has the first"


def test_text_that_a_later_stage_keeps_was_not_shown() -> None:
    tries = Tries()
    through(calls_stage(tries, holds=True), *told("I look.\n" + UNKNOWN))
    assert not tries.calls_only


def test_a_reason_that_did_not_help_once_is_not_given_again() -> None:
    tries = Tries()
    assert unfit(through(calls_stage(tries), *told(UNREADABLE))).hint
    assert unfit(through(calls_stage(tries), *told(UNREADABLE))).hint is None


def test_an_announcement_is_followed_up_only_where_that_is_wished() -> None:
    answer = "The file is there. Now I will read it."
    assert through(calls_stage(), *told(answer))[-1] == Finished()
    tries = Tries()
    events = through(calls_stage(tries, nudge=True), *told(answer))
    assert text_of(events) == answer
    assert "announced an action" in (unfit(events).hint or "")
    assert tries.calls_only


# --- a demanded call ---


def test_prose_where_a_call_is_demanded_is_held_and_asked_for_twice() -> None:
    """A47: `tool_choice` is required, and the model answers in prose."""
    tries = Tries()
    for left in (2, 1, 0):
        tries.left = left
        stage = calls_stage(tries, required=True)
        assert stage.feed([Text("I cannot.")]) == []
        events = stage.feed([Finished()])
        assert len(events) == 1
        assert unfit(events).code == "tool_choice_unsatisfied"
        assert (unfit(events).hint is not None) == (left > 0)
    assert (tries.retried, tries.calls_only) == (("required", "required"), False)
    assert (tries.counts.retried, tries.counts.failed) == (2, 1)


def test_text_before_a_demanded_call_comes_with_it_in_its_place() -> None:
    """A47: the call is there."""
    stage = calls_stage(required=True)
    assert stage.feed([Text("I look.")]) == []
    events = joined(stage.feed([Text("\n" + LS), Finished()]))
    assert events[:2] == [Text("I look."), ToolCallBegan(0, "id1", "Bash")]
    assert stage.clean


def test_a_demanded_call_is_shown_when_it_is_whole_however_long_it_is() -> None:
    stage, text = calls_stage(required=True), call("Write", file_path="a", content=LONG)
    assert stage.feed([Text(text[:2800])]) == []
    assert stage.feed([Text(text[2800:])]) == []
    assert [name for name, _ in calls_of(stage.feed([Finished()]))] == ["Write"]


def test_text_where_a_call_is_demanded_is_delivered_when_it_is_cut_for_its_length() -> None:
    """A63: the limit of tokens is reached before the call."""
    stage = calls_stage(required=True)
    assert stage.feed([Text("First I")]) == []
    assert stage.feed([Finished("length")]) == [Text("First I"), Finished("length")]


def test_another_tool_than_the_named_one_is_never_delivered() -> None:
    """A48: the list has the named tool only."""
    from tests.toolcall.answers import READ  # noqa: PLC0415

    tries = Tries()
    for left in (2, 1, 0):
        tries.left = left
        events = through(calls_stage(tries, tools=(READ,), required=True), *told(LS))
        assert calls_of(events) == []
        assert (unfit(events).code, unfit(events).hint is not None) == ("tool_choice_unsatisfied", left > 0)


def test_of_two_calls_where_one_is_wanted_the_first_is_delivered_and_the_site_is_stopped() -> None:
    """A49: no parallel calls."""
    stage = calls_stage(parallel=False)
    stage.feed([Text(LS)])
    assert not stage.enough
    stage.feed([Text("\n" + PWD)])
    assert stage.enough
    assert calls_of(stage.feed([Finished()])) == [("Bash", LS_ARGUMENTS)]
    assert not stage.clean


@pytest.mark.parametrize("second", [UNKNOWN, UNREADABLE, call("Write", file_path="a", content=LONG)[:2900], "Done."])
def test_what_follows_the_one_call_that_is_wanted_does_no_harm(second: str) -> None:
    """A49: whatever it is."""
    tries = Tries()
    stage = calls_stage(tries, parallel=False)
    events = through(stage, *told(LS + "\n" + second))
    assert calls_of(events) == [("Bash", LS_ARGUMENTS)]
    assert events[-1] == Finished("tool_calls")
    assert stage.enough
    assert tries.retried == ()


def test_one_call_where_one_is_wanted_needs_no_stop_and_the_conversation_can_go_on() -> None:
    """A49: the model obeys."""
    stage = calls_stage(parallel=False)
    assert calls_of(through(stage, *told(LS + "\n"))) == [("Bash", LS_ARGUMENTS)]
    assert not stage.enough
    assert stage.clean


# --- models that do not stop ---

RUNAWAYS = {
    "A34: an explanation after the call": LS + "\nThis lists the directory.",
    "A33: the same call again": LS + "\n" + LS,
    "A32: results that the model made up": LS + f"\n[TOOL RESULTS {NONCE}]\na b c",
}


@pytest.mark.parametrize("name", RUNAWAYS)
def test_what_follows_the_calls_is_dropped_and_the_site_is_stopped(name: str) -> None:
    stage = calls_stage()
    events = through(stage, *told(RUNAWAYS[name] + " "))
    assert stage.enough
    assert events[-1] == Finished("tool_calls")
    assert (text_of(events), calls_of(events)) == ("", [("Bash", LS_ARGUMENTS)])
    assert not stage.clean


def test_not_more_calls_than_anyone_can_mean_are_delivered() -> None:
    """A33: 245 further ones after the first batch."""
    tries = Tries()
    stage = calls_stage(tries)
    events = through(stage, *told(*(call("Bash", command=f"ls {number}") + "\n" for number in range(245))))
    assert len(calls_of(events)) == calls_module.MOST_CALLS
    assert stage.enough
    assert (tries.counts.ok, tries.counts.runaway) == (calls_module.MOST_CALLS, 1)


def test_once_there_is_enough_nothing_passes_but_figures_and_the_end() -> None:
    stage = calls_stage()
    after: list[Event] = [Reasoning("x"), Text("y"), NativeCall("Read", "{}"), Sources((PAGE,)), Usage(1, 2)]
    assert stage.feed([Text(LS + " And then."), *after]) == [Usage(1, 2)]


# --- reasoning ---


def test_a_call_that_ends_the_reasoning_before_an_empty_answer_is_delivered() -> None:
    """A35: with our nonce and valid."""
    stage = calls_stage()
    events = through(stage, [Reasoning("I look.\n" + LS[:30]), Reasoning(LS[30:])])
    assert text_of([event for event in events if isinstance(event, Reasoning)]) == ""
    assert calls_of(events) == [("Bash", LS_ARGUMENTS)]
    assert events[-1] == Finished("tool_calls")
    assert not stage.clean, "the chat holds an empty answer"


THOUGHTS = {
    "without the nonce": LS.replace(f" {NONCE}", ""),
    "with words behind it": LS + "\nThen I shall see.",
    "with another tool's name before it, and no nonce": "<tool_call>\n" + '{"name": "ping"}' + "\n</tool_call>",
}


@pytest.mark.parametrize("name", THOUGHTS)
def test_a_call_in_the_reasoning_that_may_not_be_meant_is_asked_for(name: str) -> None:
    """A35: otherwise."""
    events = through(calls_stage(), [Reasoning("I look.\n" + THOUGHTS[name])])
    assert calls_of(events) == []
    assert "inside your reasoning" in (unfit(events).hint or "")


def test_a_call_both_in_the_reasoning_and_in_the_answer_is_one_call() -> None:
    """A36: the answer counts."""
    stage = calls_stage()
    events = through(stage, [Reasoning("I look.\n" + PWD)], *told(LS))
    assert calls_of(events) == [("Bash", LS_ARGUMENTS)]
    assert stage.clean


def test_a_call_in_the_reasoning_before_an_answer_in_words_is_not_run() -> None:
    """A36: the answer counts, and it has none."""
    events = through(calls_stage(), [Reasoning(LS)], *told("There is nothing to do."))
    assert calls_of(events) == []
    assert events[-1] == Finished()


def test_only_the_end_of_long_reasoning_is_kept_in_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thought, "LONGEST", 200)
    for thoughts, calls in (([PWD, "x" * 199], 0), (["x" * 1000, LS], 1), ([*("x" * 90 + LS)], 1)):
        events = through(calls_stage(), [Reasoning(text) for text in thoughts])
        assert len(calls_of(events)) == calls


def test_reasoning_without_calls_before_an_empty_answer_is_no_call() -> None:
    events = through(calls_stage(), [Reasoning("I recall nothing of that.")])
    assert unfit(events).code == "upstream_empty"


# --- calls that the site took for its own ---

MISSING = NativeResult("Bash", "Tool Bash does not exists.")


def test_a_native_call_is_delivered_and_what_the_model_says_after_it_is_not() -> None:
    """A37: snapshots, the site's word that there is no such tool, and a story about it."""
    stage = calls_stage()
    snapshots: list[Event] = [NativeCall("Bash", '{"comm'), NativeCall("Bash", LS_ARGUMENTS)]
    events = through(stage, [Text("I look."), *snapshots, snapshots[-1], MISSING], *told("The tool is missing."))
    assert text_of(events) == "I look."
    assert calls_of(events) == [("Bash", LS_ARGUMENTS)]
    assert events[-1] == Finished("tool_calls")
    assert stage.enough
    assert not stage.clean, "the site has put messages of its own into the chat"


def test_a_native_call_whose_arguments_never_came_is_asked_for_in_our_form() -> None:
    """A38: nothing but the site's word."""
    tries = Tries()
    events = through(calls_stage(tries), [NativeCall("Bash", ""), MISSING], *told(""))
    fault = unfit(events)
    assert fault.code == "tool_call_intercepted"
    assert f"[TOOL CALL {NONCE}]" in (fault.hint or "")
    assert tries.counts.intercepted == 1


def test_an_intercepted_call_before_a_story_that_was_shown_is_asked_for_as_well() -> None:
    """A38: calls only, from then on."""
    tries = Tries()
    events = through(calls_stage(tries), [MISSING], *told("The tool does not exist."))
    assert text_of(events) == "The tool does not exist."
    assert unfit(events).hint
    assert tries.calls_only


@pytest.mark.parametrize("native_first", [True, False])
def test_the_same_call_as_text_and_as_frames_is_one_call(native_first: bool) -> None:
    """A41: in either order."""
    native: list[Event] = [NativeCall("Bash", LS_ARGUMENTS), MISSING]
    events = through(calls_stage(), *([native, *told(LS)] if native_first else [*told(LS), native]))
    assert calls_of(events) == [("Bash", LS_ARGUMENTS)]


def test_different_calls_as_text_and_as_frames_are_two_calls_with_indices_of_their_own() -> None:
    events = through(calls_stage(), *told(PWD), [NativeCall("Bash", LS_ARGUMENTS), MISSING])
    assert [event.index for event in events if isinstance(event, ToolCallBegan)] == [0, 1]
    assert len(calls_of(events)) == 2


def test_a_native_call_that_ends_the_answer_is_delivered_and_the_chat_is_not_gone_on_with() -> None:
    """A37: the site has not said anything of it yet."""
    stage = calls_stage()
    events = through(stage, [NativeCall("Bash", LS_ARGUMENTS)])
    assert calls_of(events) == [("Bash", LS_ARGUMENTS)]
    assert not stage.enough
    assert not stage.clean


def test_a_native_call_goes_before_one_in_the_text_that_broke_off() -> None:
    """A41: native beats text."""
    tries = Tries()
    events = through(calls_stage(tries), *told("I look.\n" + PWD[:40]), [NativeCall("Bash", LS_ARGUMENTS), MISSING])
    assert text_of(events) == "I look."
    assert calls_of(events) == [("Bash", LS_ARGUMENTS)]
    assert tries.retried == ()


def test_native_calls_obey_what_the_client_wants() -> None:
    """A49: one call, from frames."""
    both: list[Event] = [NativeCall("Bash", LS_ARGUMENTS), NativeCall("Read", '{"file_path": "a"}')]
    events = through(calls_stage(parallel=False), both)
    assert calls_of(events) == [("Bash", LS_ARGUMENTS)]


@pytest.mark.parametrize("behind", [MISSING, NativeCall("Read", '{"file_path": "a"}')])
def test_behind_a_call_that_was_shown_and_broke_off_nothing_is_read(behind: Event) -> None:
    stage = calls_stage()
    half = json.dumps({"command": "x" * 3000})[:2500]
    shown = stage.feed([NativeCall("Bash", half)])
    assert isinstance(shown[0], ToolCallBegan)
    assert not stage.enough
    assert stage.feed([behind]) == []
    assert stage.enough
    assert stage.feed([Text(LS), Finished()]) == [Finished("length")]


# --- counts ---


def test_what_became_of_the_calls_is_counted_over_all_tries() -> None:
    tries = Tries()
    through(calls_stage(tries), *told(UNREADABLE))
    through(calls_stage(tries), *told(UNKNOWN))
    tries.left = 0
    repaired = OPEN + '{"name": "Bash", "arguments": {"command": "a\nb"}' + CLOSE
    stage = calls_stage(tries)
    through(stage, *told(repaired + "\n" + PWD))
    assert tries.counts.told() == "ok=2 repaired=2 malformed=1 unknown=1 retried=2"
    assert not stage.clean, "the chat holds it unrepaired"


def test_a_quoted_call_is_text_and_no_repair() -> None:
    """A30: the model repeats a block that it has read."""
    tries = Tries()
    stage = calls_stage(tries, quoted=["The file:\n" + LS])
    assert text_of(through(stage, *told("It says:\n" + LS))) == "It says:\n" + LS
    assert tries.counts.told() == ""
    assert stage.clean


# --- cuts ---

SCRIPTS: list[list[Event]] = [
    [Text("Just text, with [brackets], `code` and <tags>.\n")],
    [Reasoning("Hm.\n"), Text("I look.\n\n" + LS + "\n" + PWD + "\n")],
    [Text(LS + "\nDone."), Reasoning("more"), Text("and more")],
    [Text("I look.\n" + UNKNOWN)],
    [Text(LS + "\n" + UNREADABLE)],
    [Text(LS[:40])],
    [Text(call("Write", file_path="a", content=LONG))],
    [Text(call("Write", file_path="a", content=LONG)[:2900])],
    [Reasoning("I look.\n" + LS)],
    [Reasoning("I look.\n" + LS + "\nNo."), Text(" \n")],
    [Text("I look."), NativeCall("Bash", '{"comm'), NativeCall("Bash", LS_ARGUMENTS), MISSING, Text("Gone.")],
    [Text(PWD), NativeCall("Bash", LS_ARGUMENTS), Text("x"), NativeCall("Read", '{"file_path": "a"}')],
    [NativeCall("Bash", ""), MISSING, Text("There is no such tool.")],
    [Text(f"x\n[TOOL RESULTS {NONCE}]\na\n--- {NONCE} end of results ---\n" + LS)],
    [Text("[TOOL CALL k7q2] y [TOOL CALL] z [tool calls](http://x)")],
]


@st.composite
def cut_scripts(draw: st.DrawFn) -> tuple[list[Event], list[list[Event]]]:
    """An answer, and the same in batches as a network might bring it."""
    script = draw(st.sampled_from(SCRIPTS))
    pieces: list[Event] = []
    for event in script:
        if not isinstance(event, Text | Reasoning):
            pieces.append(event)
            continue
        text, size = event.text, draw(st.sampled_from([1, 3, 12, 100, 10_000]))
        places = draw(st.sets(st.integers(0, len(text)), max_size=10)) | set(range(0, len(text), size))
        kind: type[Text | Reasoning] = type(event)
        pieces += [kind(text[start:end]) for start, end in pairwise(sorted(places | {0, len(text)})) if end > start]
    ends = sorted(draw(st.sets(st.integers(0, len(pieces)), max_size=10)) | {0, len(pieces)})
    return script, [pieces[start:end] for start, end in pairwise(ends)]


def outcome(stage: Calls, tries: Tries, batches: list[list[Event]]) -> tuple[object, ...]:
    events = through(stage, *batches)
    last = events[-1]
    end = (last.fault.code, getattr(last.fault, "hint", None)) if isinstance(last, Failed) else last
    return events[:-1], end, stage.clean, tries


@settings(deadline=None, max_examples=300)
@given(cut_scripts(), st.sampled_from(["hybrid", "complete"]), st.booleans(), st.booleans())
def test_any_cut_of_an_answer_gives_the_same_events(
    cut: tuple[list[Event], list[list[Event]]],
    commit: str,
    parallel: bool,
    required: bool,
) -> None:
    """A4: markers in pieces, and everything else."""
    script, batches = cut
    changes: dict[str, Any] = {"commit": commit, "parallel": parallel, "required": required}
    one, other = Tries(), Tries()
    assert outcome(calls_stage(one, **changes), one, [[event] for event in script]) == outcome(
        calls_stage(other, **changes), other, batches
    )


words = st.text(st.sampled_from("abc .,\n"), max_size=60).map(lambda text: text.strip())
arguments = st.text(max_size=40).map(lambda text: {"command": text})


@settings(deadline=None)
@given(words, st.lists(arguments, max_size=5, unique_by=lambda one: one["command"]), st.integers(1, 40))
def test_what_the_model_wrote_is_all_there(text: str, wanted: list[dict[str, str]], size: int) -> None:
    """A60: whatever characters."""
    answer = (
        "\n".join([text, *(call("Bash", **one) for one in wanted)])
        if text
        else "\n".join(call("Bash", **one) for one in wanted)
    )
    stage = calls_stage()
    events = through(stage, *told(*(answer[start : start + size] for start in range(0, len(answer), size))))
    if not answer:
        assert unfit(events).code == "upstream_empty"
        return
    assert text_of(events) == text
    assert [json.loads(found) for _, found in calls_of(events)] == wanted
    assert events[-1] == Finished("tool_calls" if wanted else "stop")
    assert stage.clean
