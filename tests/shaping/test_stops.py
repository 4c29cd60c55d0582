"""Stop sequences: where the text ends, which one it was, and what is held back meanwhile."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.shaping.stops import StopCut


def run(sequences: list[str], *pieces: str) -> tuple[str, str | None]:
    cut = StopCut(sequences)
    text = "".join([*map(cut.feed, pieces), cut.close()])
    return text, cut.stopped_by


@pytest.mark.parametrize(
    ("sequences", "text", "shown", "by"),
    [
        (["STOP"], "a STOP b", "a ", "STOP"),
        (["STOP"], "a STO", "a STO", None),
        (["STOP"], "STSTOP", "ST", "STOP"),
        (["aab"], "aaaab", "aa", "aab"),
        (["x", "yz"], "a yz x", "a ", "yz"),
        (["\n\n"], "a\nb\n\nc", "a\nb", "\n\n"),
        (["abc", "b"], "xabc", "xa", "b"),
        (["bc", "abc"], "xabc", "x", "abc"),
        (["abcd", "bc"], "abce", "a", "bc"),
        (["é😀"], "a é😀", "a ", "é😀"),
        ([], "text", "text", None),
        ([""], "text", "text", None),
    ],
)
def test_the_sequence_that_is_complete_first_ends_the_text(
    sequences: list[str], text: str, shown: str, by: str | None
) -> None:
    assert run(sequences, text) == (shown, by)
    assert run(sequences, *text) == (shown, by)


def test_only_what_may_become_a_sequence_is_held() -> None:
    cut = StopCut(["###", "END"])
    assert cut.feed("a #") == "a "
    assert cut.feed("b E") == "#b "
    assert cut.feed("x") == "Ex"
    assert cut.feed("##") == ""
    assert cut.close() == "##"


def test_nothing_follows_a_stop() -> None:
    cut = StopCut(["."])
    assert [cut.feed("a.b"), cut.feed("c"), cut.close()] == ["a", "", ""]


LETTERS = st.text(alphabet="ab\n", max_size=12)


def expected(sequences: list[str], text: str) -> tuple[str, str | None]:
    for end in range(1, len(text) + 1):
        if found := [one for one in sequences if one and text[:end].endswith(one)]:
            longest = max(found, key=len)
            return text[: end - len(longest)], longest
    return text, None


@settings(deadline=None, max_examples=400)
@given(st.lists(LETTERS, max_size=4), st.lists(LETTERS, max_size=8))
def test_any_cut_gives_what_a_plain_search_gives(sequences: list[str], pieces: list[str]) -> None:
    assert run(sequences, *pieces) == expected(sequences, "".join(pieces))


@settings(deadline=None, max_examples=200)
@given(st.lists(LETTERS, min_size=1, max_size=4), st.lists(LETTERS, max_size=8))
def test_no_more_is_held_than_the_longest_beginning_of_a_sequence(sequences: list[str], pieces: list[str]) -> None:
    cut, seen, shown = StopCut(sequences), "", ""
    for piece in pieces:
        seen, shown = seen + piece, shown + cut.feed(piece)
        if cut.stopped_by is None:
            held = seen[len(shown) :]
            assert shown + held == seen
            assert not held or any(one.startswith(held) for one in sequences)
