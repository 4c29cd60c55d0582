"""Answers that have to be JSON."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_gateway.relay.calls import Tries
from qwen_gateway.relay.forms import Form, JsonAsItComes, WholeJson, mended, retried
from qwen_gateway.toolcall.schema import Schema
from qwen_gateway.turn.events import (
    Declined,
    Event,
    Failed,
    Finished,
    Reasoning,
    Text,
    ToolCallArguments,
    ToolCallBegan,
    ToolCallEnded,
    Usage,
)
from qwen_gateway.turn.faults import Incomplete
from qwen_gateway.turn.request import OutputFormat

from .reading import text_of, through, told, unfit

AGE = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"], "additionalProperties": False}
BROKEN = Failed(Incomplete("broke"))
CALL: list[Event] = [ToolCallBegan(0, "id", "Read"), ToolCallArguments(0, "{}"), ToolCallEnded(0)]


class Whole:
    """A `WholeJson`, and whether it told that its answer is invalid."""

    def __init__(self, tries: Tries | None = None, *, strict: bool = False, schema: bool = True) -> None:
        self.tries, self.told_invalid = tries or Tries(), False
        wanted = OutputFormat("json_schema", AGE, strict) if schema else OutputFormat("json_object")
        self.stage = WholeJson(Form(wanted, Schema(AGE) if schema else None), self.tries, self._invalid)

    def _invalid(self) -> None:
        self.told_invalid = True

    def gives(self, *texts: str) -> list[Event]:
        return through(self.stage, *told(*texts))


# --- checked when it is whole ---


def test_an_answer_that_fits_is_shown_when_it_is_whole() -> None:
    whole = Whole()
    assert whole.stage.feed([Reasoning("Hm."), Text('{"age"')]) == [Reasoning("Hm.")]
    assert whole.stage.feed([Text(": 3}\n"), Usage(1, 2), Finished()]) == [Usage(1, 2), Text('{"age": 3}'), Finished()]
    assert whole.stage.clean


@pytest.mark.parametrize(
    "answer",
    ['```json\n{"age":3}\n```', 'Here it is: {"age":3}', '{"age": "3"}', '{"age": 3, "more": 1}'],
    ids=["fence", "introduction", "another type", "more keys"],
)
def test_an_answer_that_can_be_put_right_is_put_right(answer: str) -> None:
    whole = Whole()
    assert whole.gives(answer) == [Text('{"age":3}'), Finished()]
    assert not whole.stage.clean, "the chat holds something else"
    assert whole.tries.retried == ()


def test_keys_that_the_schema_forbids_are_not_taken_out_of_a_strict_answer() -> None:
    assert unfit(Whole(strict=True).gives('{"age": 3, "more": 1}')).hint


@pytest.mark.parametrize("answer", ["I am three.", '{"age": []}', '{"age": 3', ""])
def test_an_answer_that_does_not_fit_is_asked_for_again(answer: str) -> None:
    whole = Whole()
    events = whole.gives(answer)
    assert len(events) == 1
    assert unfit(events).code == "structured_output_failed"
    assert "could not be used" in (unfit(events).hint or "")
    assert (len(whole.tries.retried), whole.tries.counts.retried) == (1, 1)


LAST = [Tries(("malformed", "malformed")), Tries(left=0)]


@pytest.mark.parametrize("tries", LAST, ids=["tried twice", "no question left"])
def test_the_last_answer_is_delivered_as_invalid_or_refused(tries: Tries) -> None:
    whole = Whole(tries)
    assert whole.gives('{"age": []}') == [Text('{"age":[]}'), Finished()]
    assert whole.told_invalid
    assert unfit(Whole(tries, strict=True).gives('{"age": []}')).hint is None
    assert unfit(Whole(tries).gives('{"age": ')).hint is None
    assert unfit(Whole(tries).gives("")).hint is None


def test_words_in_the_end_are_a_refusal_of_the_models() -> None:
    whole = Whole(Tries(left=0), strict=True)
    assert whole.gives("I will not say ", "that.\n") == [Declined("I will not say that."), Finished()]
    assert not whole.stage.clean, "the client has no text, and the chat has"


def test_an_answer_that_was_cut_is_passed_on_as_it_is() -> None:
    whole = Whole()
    assert through(whole.stage, [Text('{"age'), Finished("length")]) == [Text('{"age'), Finished("length")]
    assert through(Whole().stage, [Finished("content_filter")]) == [Finished("content_filter")]


def test_words_before_calls_are_passed_on_in_their_place() -> None:
    whole = Whole()
    end = Finished("tool_calls")
    assert through(whole.stage, [Text("I look.")], [*CALL, end]) == [Text("I look."), *CALL, end]
    assert whole.stage.clean


def test_calls_without_words_are_passed_on() -> None:
    end = Finished("tool_calls")
    assert through(Whole().stage, [*CALL, end]) == [*CALL, end]


def test_a_call_that_broke_off_does_not_make_the_words_json() -> None:
    events: list[Event] = [Text("I look."), CALL[0], Finished("length")]
    assert through(Whole().stage, events) == events


def test_what_is_held_of_an_answer_that_failed_is_not_shown() -> None:
    assert through(Whole().stage, [Text('{"age": 3}'), BROKEN]) == [BROKEN]


def test_any_object_will_do_without_a_schema() -> None:
    assert Whole(schema=False).gives('{"a": [1]}') == [Text('{"a": [1]}'), Finished()]
    assert unfit(Whole(schema=False).gives("[1]")).hint


# --- passed on while it comes ---


def test_an_object_is_passed_on_while_it_comes() -> None:
    stage = JsonAsItComes(Tries())
    assert stage.feed([Reasoning("Hm."), Text('{"a": ')]) == [Reasoning("Hm."), Text('{"a": ')]
    assert stage.feed([Text("1}")]) == [Text("1}")]
    assert not stage.enough, "the site ends by itself, as a rule"
    assert stage.feed([Text("\n"), Usage(1, 2), Finished()]) == [Usage(1, 2), Finished()]
    assert stage.clean


def test_what_stands_around_an_object_is_left_out() -> None:
    stage = JsonAsItComes(Tries())
    assert through(stage, *told("Here:\n```json\n", '{"a": 1}', "\n```\n")) == [Text('{"a": 1}'), Finished()]
    assert not stage.enough
    assert not stage.clean


def test_words_behind_an_object_stop_the_site() -> None:
    stage = JsonAsItComes(Tries())
    assert through(stage, *told('{"a": 1}', "\n", "That is all.")) == [Text('{"a": 1}'), Finished()]
    assert stage.enough
    assert not stage.clean


@pytest.mark.parametrize("answer", ["I will not.", "", "x" * 500], ids=["words", "nothing", "many words"])
def test_an_answer_without_an_object_is_asked_for_again(answer: str) -> None:
    tries = Tries()
    events = through(JsonAsItComes(tries), *told(answer))
    assert len(events) == 1
    assert unfit(events).hint
    assert tries.counts.retried == 1
    tries.left = 0
    assert unfit(through(JsonAsItComes(tries), *told(answer))).hint is None


@pytest.mark.parametrize("answer", ["x" * 300, '{"a": 1]', '{"a": x}'])
def test_an_answer_of_which_nothing_can_come_stops_the_site(answer: str) -> None:
    stage = JsonAsItComes(Tries())
    stage.feed([Text("x")])
    assert not stage.enough
    stage.feed([Text(answer)])
    assert stage.enough


@pytest.mark.parametrize("answer", ['{"a": 1', '{"a": 1]', '{"a": x}'], ids=["cut off", "another bracket", "no JSON"])
def test_an_object_that_goes_wrong_after_it_was_shown_is_a_fault(answer: str) -> None:
    events = through(JsonAsItComes(Tries()), *told(answer))
    assert text_of(events).startswith('{"a": ')
    assert (unfit(events).code, unfit(events).hint) == ("structured_output_failed", None)


def test_an_object_that_was_cut_for_its_length_is_no_fault() -> None:
    assert through(JsonAsItComes(Tries()), [Text('{"a": 1'), Finished("length")]) == [
        Text('{"a": 1'),
        Finished("length"),
    ]


def test_an_answer_that_broke_off_is_that_and_nothing_else() -> None:
    assert through(JsonAsItComes(Tries()), [Text('{"a": 1'), BROKEN]) == [Text('{"a": 1'), BROKEN]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), values, max_size=4), st.sets(st.integers(1, 200)), st.booleans())
def test_any_cut_of_an_object_gives_it_whole(value: dict[str, object], cuts: set[int], as_it_comes: bool) -> None:
    text = json.dumps(value)
    places = sorted({0, len(text)} | {cut for cut in cuts if cut < len(text)})
    pieces = [text[start:end] for start, end in pairwise(places)]
    stage = JsonAsItComes(Tries()) if as_it_comes else Whole(schema=False).stage
    assert through(stage, *told(*pieces)) == [Text(text), Finished()]
    assert stage.clean


def test_another_try_is_counted_and_named() -> None:
    tries = Tries(("required",))
    fault = retried(tries, "Reply again.")
    assert (fault.hint, fault.code) == ("Reply again.", "structured_output_failed")
    assert tries.retried == ("required", "malformed")
    assert tries.counts.retried == 1


@pytest.mark.parametrize(
    ("nearly", "json_text"),
    [
        ('{"a": 1,}', '{"a": 1}'),
        ('{"a": "x\ny"}', '{"a": "x\\ny"}'),
        ('{"a": True}', '{"a": true}'),
        ('{"a": 1', None),
        ('{"a": [1]', None),
        ('{"a": "say "hi" now"}', None),
        ('{"a": 1} x', None),
        ("null", None),
    ],
)
def test_what_can_only_have_meant_one_thing_is_put_right_and_nothing_is_guessed(
    nearly: str, json_text: str | None
) -> None:
    found = mended(nearly)
    assert (json.loads(found) if found else None) == (json.loads(json_text) if json_text else None)
