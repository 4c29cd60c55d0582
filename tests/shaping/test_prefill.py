"""Answers that say the given beginning once more."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.shaping.prefill import PrefillCut

START = "The three colours are: red, green"


def run(prefill: str, *pieces: str) -> str:
    cut = PrefillCut(prefill)
    return "".join([*map(cut.feed, pieces), cut.close()])


@pytest.mark.parametrize(
    ("prefill", "answer", "shown"),
    [
        (START, " and blue.", " and blue."),
        (START, START + " and blue.", " and blue."),
        (START, "\n" + START + " and blue.", " and blue."),
        (START, "red, green and blue.", " and blue."),
        (START, "green and blue.", "green and blue."),
        (START, START, ""),
        (START, START[:10], START[:10]),
        (START, "The three colours vary.", "The three colours vary."),
        ("{", '{"a": 1}', '"a": 1}'),
        ("{", '"a": 1}', '"a": 1}'),
        ("Answer: \n", "Answer: \nyes", "yes"),
        ("Answer: \n", "Answer:yes", "yes"),
        ("Answer: \n", "Answer:yes \n", "yes \n"),
        ("Answer: \n", "yes", "yes"),
        ("", "  text", "  text"),
        ("  ", "  text", "  text"),
        ("abababab", "ababababab", "ab"),
        ("x abababab", "abababab c", " c"),
    ],
)
def test_repetitions(prefill: str, answer: str, shown: str) -> None:
    assert run(prefill, answer) == shown
    assert run(prefill, *answer) == shown


def test_an_answer_that_goes_on_is_not_held() -> None:
    cut = PrefillCut(START)
    assert cut.feed(" an") == " an"
    assert cut.feed("d blue") == "d blue"


def test_an_answer_that_may_be_a_repetition_is_held_until_it_is_known() -> None:
    cut = PrefillCut(START)
    assert cut.feed("The three") == ""
    assert cut.feed(" kings") == "The three kings"


@settings(deadline=None, max_examples=400)
@given(st.text(alphabet="ab \n", max_size=24), st.lists(st.text(alphabet="ab \n", max_size=10), max_size=8))
def test_any_cut_gives_the_same_end_of_the_answer(prefill: str, pieces: list[str]) -> None:
    answer = "".join(pieces)
    shown = run(prefill, *pieces)
    assert shown == run(prefill, answer)
    assert answer.endswith(shown)
    dropped = answer[: len(answer) - len(shown)].strip()
    assert dropped == "" or prefill.rstrip().endswith(dropped)


_MANY = 800_000
"""With quadratic time so many pieces would take minutes; with linear time it is about a second."""


@pytest.mark.parametrize("prefill", ["Answer:", "Answer:" + "\n" * _MANY])
def test_white_space_without_end_is_read_in_linear_time(prefill: str) -> None:
    blanks = ["\n"] * _MANY
    assert run(prefill, *blanks, "yes") == "\n" * _MANY + "yes"
    assert run(prefill, "Answer:", *blanks, "yes").lstrip("\n") == "yes"
