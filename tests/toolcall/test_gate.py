"""What becomes of answers: one decision, in one order, with bounds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.toolcall.gate import (
    MOST_RETRIES,
    Answer,
    Decision,
    Deliver,
    Policy,
    Refuse,
    Retry,
    announces,
    gate,
)
from qwen_gateway.toolcall.hints import Reason
from qwen_gateway.toolcall.pieces import Bad

AUTO = Policy(names=("Bash", "Read"))
REQUIRED = Policy(names=("Bash", "Read"), required=True)
NAMED = Policy(names=("Bash",), required=True)
MALFORMED = Bad("malformed", "no comma")


def after(policy: Policy, *retried: Reason, time_left: bool = True) -> Policy:
    return Policy(
        names=policy.names,
        required=policy.required,
        nudge=policy.nudge,
        retried=retried,
        time_left=time_left,
    )


def reason(decision: Decision) -> str:
    assert isinstance(decision, Retry)
    return decision.reason


def test_a1_a2_a_call_with_or_without_text_is_delivered() -> None:
    assert gate(Answer(calls=("Bash",)), AUTO) == Deliver("tool_calls")
    assert gate(Answer(calls=("Bash", "Read"), text="I look.", text_shown=True), REQUIRED) == Deliver("tool_calls")


def test_a64_text_is_delivered_as_text() -> None:
    assert gate(Answer(text="I will not do that. Sorry."), AUTO) == Deliver("stop")


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a63_an_answer_that_the_site_or_a_limit_ended_is_delivered_as_that(finish: str) -> None:
    ended = Answer(finish="length" if finish == "length" else "content_filter", bad=(Bad("truncated"),))
    assert gate(ended, REQUIRED) == Deliver(ended.finish)


def test_a21_a_shown_call_that_broke_off_ends_with_length_and_is_never_tried_again() -> None:
    assert gate(Answer(call_shown=True, bad=(Bad("truncated"),)), REQUIRED) == Deliver("length")
    assert gate(Answer(calls=("Bash",), call_shown=True, bad=(Bad("truncated"),)), AUTO) == Deliver("length")


@pytest.mark.parametrize("kind", ["malformed", "schema", "truncated", "too long"])
def test_a21_a_shown_call_that_broke_behind_a_whole_one_ends_with_length(kind: str) -> None:
    answer = Answer(calls=("Bash",), call_shown=True, open=True, bad=(Bad(kind, "", "Read"),))
    assert gate(answer, AUTO) == gate(answer, REQUIRED) == Deliver("length")
    assert gate(Answer(open=True, bad=(Bad(kind),)), REQUIRED) == Deliver("length")


def test_a22_a_held_call_that_broke_off_is_asked_for_again_then_refused() -> None:
    answer = Answer(bad=(Bad("truncated", "it broke off"),))
    assert reason(gate(answer, AUTO)) == "malformed"
    assert gate(answer, after(AUTO, "malformed")) == Refuse("invalid_tool_call")


def test_a25_an_invented_name_is_told_once_then_the_text_goes_out() -> None:
    answer = Answer(text="Let us see.", bad=(Bad("unknown", "Shell"),))
    first = gate(answer, AUTO)
    assert reason(first) == "unknown"
    assert isinstance(first, Retry)
    assert '"Shell"' in first.hint
    assert "Bash, Read" in first.hint
    assert gate(answer, after(AUTO, "unknown")) == Deliver("stop")
    assert gate(answer, after(REQUIRED, "required", "required")) == Refuse("tool_choice_unsatisfied")


@pytest.mark.parametrize("kind", ["malformed", "truncated", "no_payload", "forged_result", "something new"])
def test_a18_what_could_not_be_read_is_told(kind: str) -> None:
    decision = gate(Answer(bad=(Bad(kind, "near x"),)), AUTO)
    assert reason(decision) == "malformed"
    assert isinstance(decision, Retry)
    assert '"near x"' in decision.hint


def test_a17_arguments_that_do_not_fit_are_told_with_their_tool() -> None:
    decision = gate(Answer(bad=(Bad("schema", "/a: wrong", "Bash"),)), AUTO)
    assert isinstance(decision, Retry)
    assert decision.reason == "schema"
    assert 'call of Bash was rejected: "/a: wrong"' in decision.hint


def test_a32_forged_results_behind_text_that_was_shown_are_only_cut() -> None:
    assert gate(Answer(text="Done.", text_shown=True, bad=(Bad("forged_result"),)), AUTO) == Deliver("stop")


def test_a35_a_call_in_the_reasoning_is_asked_for_in_the_answer() -> None:
    assert reason(gate(Answer(thought=True), AUTO)) == "thought"
    assert gate(Answer(thought=True), after(AUTO, "thought")) == Refuse("invalid_tool_call")


def test_a36_a_call_in_reasoning_and_answer_is_that_of_the_answer() -> None:
    assert gate(Answer(calls=("Bash",), thought=True), AUTO) == Deliver("tool_calls")


def test_a38_an_intercepted_call_is_told_the_form() -> None:
    policy = Policy(names=("Bash",), form="Use exactly [TOOL CALL k7q2].")
    decision = gate(Answer(text="No such tool.", bad=(MALFORMED, Bad("intercepted", "", "Bash"))), policy)
    assert isinstance(decision, Retry)
    assert decision.reason == "intercepted"
    assert decision.hint.endswith("another format. Use exactly [TOOL CALL k7q2].")
    assert gate(Answer(bad=(Bad("intercepted"),)), after(AUTO, "intercepted")) == Refuse("tool_call_intercepted")


def test_a47_required_is_asked_for_twice_and_then_refused() -> None:
    prose = Answer(text="I would rather talk.")
    assert reason(gate(prose, REQUIRED)) == "required"
    assert reason(gate(prose, after(REQUIRED, "required"))) == "required"
    assert gate(prose, after(REQUIRED, "required", "required")) == Refuse("tool_choice_unsatisfied")


def test_a48_another_tool_than_the_named_one_is_never_delivered() -> None:
    wrong = Answer(calls=("Read",))
    assert reason(gate(wrong, NAMED)) == "required"
    assert gate(wrong, after(NAMED, "required", "required")) == Refuse("tool_choice_unsatisfied")
    assert reason(gate(Answer(calls=("Bash", "Read")), NAMED)) == "required"


def test_a_required_call_that_failed_is_told_why() -> None:
    decision = gate(Answer(bad=(MALFORMED,)), REQUIRED)
    assert isinstance(decision, Retry)
    assert decision.reason == "required"
    assert '"no comma"' in decision.hint


def test_calls_that_are_run_as_a_set_are_asked_for_again_when_one_is_bad() -> None:
    mixed = Answer(calls=("Bash",), bad=(MALFORMED,))
    assert reason(gate(mixed, AUTO)) == "malformed"
    assert gate(mixed, after(AUTO, "malformed")) == Deliver("tool_calls")


def test_after_a_shown_call_bad_siblings_are_left_out() -> None:
    assert gate(Answer(calls=("Bash",), call_shown=True, bad=(MALFORMED,)), AUTO) == Deliver("tool_calls")


def test_an_empty_answer_is_asked_for_again_once() -> None:
    assert gate(Answer(text=" \n"), AUTO) == Retry("empty", "")
    assert gate(Answer(), after(AUTO, "empty")) == Refuse("upstream_empty")


def test_text_that_was_shown_stays_and_only_calls_may_follow() -> None:
    decision = gate(Answer(text="I look.", text_shown=True, bad=(MALFORMED,)), AUTO)
    assert isinstance(decision, Retry)
    assert decision.calls_only
    assert gate(Answer(text="I look.", text_shown=True, bad=(MALFORMED,)), after(AUTO, "malformed")) == Deliver("stop")


def test_without_time_nothing_is_asked_again() -> None:
    assert gate(Answer(bad=(MALFORMED,)), after(AUTO, time_left=False)) == Refuse("invalid_tool_call")


def test_an_announcement_is_nudged_once_where_that_is_wanted() -> None:
    answer = Answer(text="The tests fail. Let me fix the import.")
    assert gate(answer, AUTO) == Deliver("stop")
    nudging = Policy(names=AUTO.names, nudge=True)
    assert reason(gate(answer, nudging)) == "nudge"
    assert gate(answer, after(nudging, "nudge")) == Deliver("stop")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("Now I'll run the tests.", True),
        ("I’ll look at the file:", True),
        ("Found it.\n\nLet me change it", True),
        ("接下来我会运行测试。", True),
        ("让我看看这个文件", True),
        ("I will fix it. Done, all tests pass.", False),
        ("Shall I run it? I'll wait.", False),
        ("All done. Let me know if you need more.", False),
        ("All done. I'll be happy to help further.", False),
        ("已完成。如需更多帮助，请告诉我。", False),
        ("Let me think. " * 50, False),
        ("", False),
        ("...", False),
    ],
)
def test_announcements(text: str, is_one: bool) -> None:
    assert announces(text) is is_one


KINDS = st.sampled_from(["malformed", "truncated", "unknown", "schema", "intercepted", "forged_result"])
ANSWERS = st.builds(
    Answer,
    calls=st.lists(st.sampled_from(["Bash", "Other"]), max_size=2).map(tuple),
    bad=st.lists(KINDS.map(Bad), max_size=2).map(tuple),
    text=st.sampled_from(["", "Text.", "Let me look."]),
    text_shown=st.booleans(),
    call_shown=st.booleans(),
    open=st.booleans(),
    thought=st.booleans(),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(ANSWERS, min_size=MOST_RETRIES + 1, max_size=MOST_RETRIES + 1), st.booleans(), st.booleans())
def test_whatever_is_answered_it_ends_and_calls_outside_of_the_list_never_go_out_unseen(
    answers: list[Answer], required: bool, nudge: bool
) -> None:
    retried: tuple[Reason, ...] = ()
    for answer in answers:
        decision = gate(answer, Policy(names=("Bash",), required=required, nudge=nudge, retried=retried))
        if not isinstance(decision, Retry):
            if answer.open:
                assert decision == Deliver("length")
            elif isinstance(decision, Deliver) and not answer.call_shown:
                assert "Other" not in answer.calls
                assert not required or answer.calls
            return
        assert not answer.call_shown
        assert not answer.open
        assert decision.reason == "required" or decision.reason not in retried
        retried = (*retried, decision.reason)
    pytest.fail(f"asked again {len(retried)} times")
