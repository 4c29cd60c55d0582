"""Estimated tokens: near what was measured, and sane for any text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.shaping.tokens import estimate, estimated_usage
from qwen_gateway.turn.events import Began, Event, Finished, Reasoning, Text, Usage


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("", 0, 0),
        (" ", 1, 1),
        ("\n", 1, 1),
        ("\u200b", 1, 1),
        ("hello", 1, 1),
        ("Hello, world!", 3, 4),
        ("The quick brown fox jumps over the lazy dog.", 9, 11),
        ("12345", 5, 5),
        ("你好，世界", 3, 5),
        ("def f(x):\n    return x + 1\n", 9, 14),
        ("Donaudampfschifffahrtsgesellschaft", 6, 9),
        ("😀", 1, 3),
        ("x" * 52, 10, 10),
    ],
)
def test_simple_texts(text: str, low: int, high: int) -> None:
    assert low <= estimate(text) <= high


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=60))
def test_only_an_empty_text_has_no_tokens_and_none_has_more_than_its_characters(text: str) -> None:
    assert (estimate(text) == 0) == (text == "")
    assert estimate(text) <= len(text)


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=40), st.text(max_size=40))
def test_texts_together_have_at_most_the_sum_and_little_less(first: str, second: str) -> None:
    """Words that grow together, and two roundings, save a few tokens and not more."""
    both, apart = estimate(first + second), estimate(first) + estimate(second)
    assert apart - 3 <= both <= apart + 1


@settings(deadline=None, max_examples=300)
@given(st.text(st.characters(max_codepoint=127), max_size=60))
def test_how_a_text_is_written_does_not_matter_to_its_other_words(text: str) -> None:
    assert estimate(f"a {text}") == estimate(f"é {text}")


def test_usage_counts_reasoning_within_the_output_and_says_that_it_is_estimated() -> None:
    events: list[Event] = [
        Began("c", "a"),
        Reasoning("one "),
        Text("two "),
        Reasoning("three"),
        Text("four five"),
        Finished(),
    ]
    assert estimated_usage("a question", events) == Usage(3, 5, reasoning=2, estimated=True)


def test_how_the_answer_was_cut_does_not_matter() -> None:
    whole = estimated_usage("", [Text("internationalization")])
    assert estimated_usage("", [Text("internat"), Text("ionalization")]) == whole
