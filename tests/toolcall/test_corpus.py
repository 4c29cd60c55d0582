"""Every answer of tests/corpus/toolcalls gives what its line says, and in whatever pieces it comes, the same."""

from collections import Counter

import pytest
from tests.corpus.toolcalls.player import KINDS, Case, Outcome, cases, complaints, play

CASES = cases()
ALL_PLACES = 500
"""Characters up to which an answer is cut at every place; a longer one is at every seventh, besides each by itself."""


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_an_answer_gives_what_its_line_says_however_it_is_cut(case: Case) -> None:
    whole = play(case)
    assert not complaints(case, whole)
    assert play(case, list) == whole
    length = _length(case)
    for place in range(1, length, 1 if length <= ALL_PLACES else 7):
        assert _cut_at(case, place) == whole, f"cut at {place}"


def _cut_at(case: Case, place: int) -> Outcome:
    """In two pieces; with frames, each of them in two."""
    return play(case, lambda text: [piece for piece in (text[:place], text[place:]) if piece])


def _length(case: Case) -> int:
    """Of the longest text in it that is cut."""
    texts = [
        case.answer,
        *(frame.text for frame in case.frames),
        *(frame.call[1] for frame in case.frames if frame.call),
    ]
    return max(map(len, texts))


def test_the_corpus_is_as_large_and_as_mixed_as_it_should_be() -> None:
    assert len({case.id for case in CASES}) == len(CASES) >= 220
    kinds = Counter(case.kind for case in CASES)
    assert min(kinds[kind] for kind in KINDS) >= 40
    assert sum(case.lang == "zh" for case in CASES) >= 60
    assert {case.format for case in CASES} == {"bracket", "raw", "hermes"}


def test_a_line_that_expects_something_else_is_noticed() -> None:
    call = next(case for case in CASES if case.id == "clean-bracket-one")
    text = next(case for case in CASES if case.id == "clean-plain")
    again = next(case for case in CASES if case.id == "damaged-arguments-list")
    assert complaints(call, play(text))
    assert complaints(text, play(call))
    assert complaints(again, play(call))
    assert complaints(call, play(again))
