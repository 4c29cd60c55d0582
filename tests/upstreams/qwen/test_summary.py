"""Cumulative arrays of titles and thoughts → increments that only grow."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.upstreams.qwen.summary import SummaryReader

Frame = tuple[list[str], list[str]]


def read(*frames: Frame) -> str:
    reader = SummaryReader()
    return "".join(reader.feed(*frame) for frame in frames) + reader.close()


CASES: dict[str, tuple[list[Frame], str]] = {
    "nothing": ([], ""),
    "empty arrays": ([([], [])], ""),
    "one thought": ([([], ["a"])], "a"),
    "title and thought": ([(["T"], ["a"])], "**T**\n\na"),
    "a frame that repeats": ([(["T"], ["a"]), (["T"], ["a"])], "**T**\n\na"),
    "a thought that grows": ([(["T"], ["a"]), (["T"], ["ab"]), (["T"], ["abc"])], "**T**\n\nabc"),
    "a thought that grows from nothing": ([(["T"], [""]), (["T"], ["abc"])], "**T**\n\nabc"),
    "a thought that grows from a blank": ([(["T"], [" "]), (["T"], [" abc"])], "**T**\n\n abc"),
    "an entry that grows from nothing": ([([""], [""]), (["T"], ["a"])], "**T**\n\na"),
    "a second entry": ([(["T"], ["a"]), (["T", "U"], ["a", "b"])], "**T**\n\na\n\n**U**\n\nb"),
    "growth of the first and a second": ([([], ["a"]), ([], ["ab", "c"])], "ab\n\nc"),
    "two thoughts under one title": ([(["T"], ["a", "b"])], "**T**\n\na\n\nb"),
    "a title that waits for its thought": ([(["T", "U"], ["a"]), (["T", "U"], ["a", "b"])], "**T**\n\na\n\n**U**\n\nb"),
    "titles without thoughts": ([(["T", "U"], [])], "**T**\n\n**U**"),
    "a rewritten thought stays as given": ([([], ["abc"]), ([], ["xyz"])], "abc"),
    "a shortened thought stays as given": ([([], ["abc"]), ([], ["ab"]), ([], ["abcd"])], "abcd"),
    "arrays that shrink": ([([], ["a", "b"]), ([], ["a"]), ([], ["a", "b", "c"])], "a\n\nb\n\nc"),
    "all at once": ([(["T", "U"], ["a", "b"])], "**T**\n\na\n\n**U**\n\nb"),
}


@pytest.mark.parametrize(("frames", "expected"), CASES.values(), ids=CASES.keys())
def test_what_is_given_out(frames: list[Frame], expected: str) -> None:
    assert read(*frames) == expected


def test_a_next_round_begins_from_nothing_behind_a_blank_line() -> None:
    reader = SummaryReader()
    assert reader.feed([], ["a"]) + reader.close() == "a"
    assert reader.feed([], ["a"]) + reader.close() == "\n\na"


PART = st.text(st.characters(exclude_characters="\n*"), max_size=4)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.text(st.characters(exclude_characters="\n"), min_size=1, max_size=6), max_size=6), st.data())
def test_thoughts_that_grow_give_themselves_back_split_at_blank_lines(thoughts: list[str], data: st.DataObject) -> None:
    """Every frame: all entries so far, the last of them perhaps not yet whole."""
    reader, out = SummaryReader(), ""
    for index, thought in enumerate(thoughts):
        for length in sorted(data.draw(st.lists(st.integers(1, len(thought)), max_size=3))):
            out += reader.feed([], [*thoughts[:index], thought[:length]])
        out += reader.feed([], thoughts[: index + 1])
    out += reader.close()
    assert (out.split("\n\n") if out else []) == thoughts


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.lists(PART, max_size=4), st.lists(PART, max_size=4)), max_size=6))
def test_arrays_of_any_kind_never_take_back_or_repeat(frames: list[Frame]) -> None:
    """Each frame twice gives what each frame once does: the second has nothing new."""
    reader, twice = SummaryReader(), SummaryReader()
    for frame in frames:
        assert twice.feed(*frame) == reader.feed(*frame)
        assert twice.feed(*frame) == ""
    assert twice.close() == reader.close()
