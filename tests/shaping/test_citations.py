"""Markers of a search's answer → links, however they are cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.shaping.citations import CitationLinks
from qwen_gateway.turn.events import Citation, Event, Failed, Finished, Reasoning, Source, Sources, Text, Usage
from qwen_gateway.turn.faults import Incomplete

A, B, C = (Source(f"https://{name}.example", name.upper()) for name in "abc")
FOUND = Sources((A, B, C))


def run(*events: Event) -> list[Event]:
    """Given one by one and all at once, which must be the same but for where texts are cut."""
    stage = CitationLinks()
    out = [out for event in events for out in stage.feed([event])]
    assert text_of(CitationLinks().feed(events)) == text_of(out)
    return out


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def citations_of(events: list[Event]) -> list[Citation]:
    return [event for event in events if isinstance(event, Citation)]


TEXTS: dict[str, tuple[str, str, list[Source]]] = {
    "none": ("abc", "abc", []),
    "one": ("a [[1]].", "a [1](https://a.example).", [A]),
    "two": ("[[1]][[2]]", "[1](https://a.example)[2](https://b.example)", [A, B]),
    "one twice": ("[[1]] [[1]]", "[1](https://a.example) [1](https://a.example)", [A, A]),
    "number zero": ("[[0]]", "[[0]]", []),
    "leading zeros": ("[[00]]", "[[00]]", []),
    "beyond the list": ("[[4]] [[999]]", "[[4]] [[999]]", []),
    "too many digits": ("[[1111]]", "[[1111]]", []),
    "no digits": ("[[]] [[a]] [[ 1 ]]", "[[]] [[a]] [[ 1 ]]", []),
    "more brackets": ("[[[1]]]", "[[1](https://a.example)]", [A]),
    "an open end": ("a [[1", "a [[1", []),
    "one bracket at the end": ("a [", "a [", []),
    "half closed": ("a [[1]", "a [[1]", []),
    "a line end behind a bracket": ("x = [\n 1]", "x = [\n 1]", []),
    "a line end behind half a marker": ("[[1]\n]", "[[1]\n]", []),
}


@pytest.mark.parametrize(("text", "expected", "cited"), TEXTS.values(), ids=TEXTS.keys())
def test_markers(text: str, expected: str, cited: list[Source]) -> None:
    for pieces in ([text], list(text)):
        out = run(FOUND, *map(Text, pieces), Finished())
        assert text_of(out) == expected
        assert [one.source for one in citations_of(out) if one.start < one.end] == cited
        assert isinstance(out[-1], Finished)


@pytest.mark.parametrize("text", ["a [[1]] b", "[[1", "matrix = [[1]]"])
def test_without_sources_nothing_is_touched_or_held(text: str) -> None:
    events: list[Event] = [Text(text), Usage(1, 1), Finished()]
    assert run(*events) == events


def test_text_before_the_search_counts_for_the_places_behind_it() -> None:
    out = run(Text("ab [[1]] "), FOUND, Text("c [[2]]"), Finished())
    assert text_of(out) == "ab [[1]] c [2](https://b.example)"
    assert citations_of(out)[0] == Citation(11, 33, B)


def test_numbers_count_within_the_latest_search() -> None:
    out = run(FOUND, Text("[[1]]"), Sources((B,)), Text("[[1]] [[2]]"), Finished())
    assert text_of(out) == "[1](https://a.example)[1](https://b.example) [[2]]"


@pytest.mark.parametrize("number", [99, 100, 120])
def test_long_numbers_are_found_however_they_are_cut(number: int) -> None:
    many = Sources(tuple(Source(f"https://{i}.example", "") for i in range(1, 121)))
    out = run(many, *map(Text, f"a [[{number}]]."), Finished())
    assert text_of(out) == f"a [{number}](https://{number}.example)."


def test_half_a_marker_before_another_search_is_text() -> None:
    out = run(FOUND, Text("[[1"), Sources((B,)), Text("]]"), Finished())
    assert text_of(out) == "[[1]]"


def test_pages_that_no_text_cites_stand_at_the_end() -> None:
    out = run(FOUND, Text("[[2]]!"), Finished())
    assert citations_of(out) == [Citation(0, 22, B), Citation(23, 23, A), Citation(23, 23, C)]


def test_held_text_comes_before_what_follows_it() -> None:
    assert run(FOUND, Text("a [["), Usage(1, 1), Finished())[1:4] == [Text("a "), Text("[["), Usage(1, 1)]
    fault = Failed(Incomplete("x"))
    assert run(FOUND, Text("a [[1"), fault)[1:] == [Text("a "), Text("[[1"), fault]


def test_reasoning_is_not_touched() -> None:
    assert run(FOUND, Reasoning("[[1]]"))[1] == Reasoning("[[1]]")


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://a.example/x_(y)?q=1 2", "[1](https://a.example/x_%28y%29?q=1%202)"),
        ("https://a.example/)[x](javascript:1", "[1](https://a.example/%29[x]%28javascript:1)"),
        ("http://a.example", "[1](http://a.example)"),
        ("https://a.example/\nx", "[1](https://a.example/x)"),
        ("javascript:alert(1)", "[1]"),
        ("JAVASCRIPT:alert(1)", "[1]"),
        ("data:text/html,x", "[1]"),
        (" https://a.example", "[1]"),
        ("/path", "[1]"),
        ("", "[1]"),
    ],
)
def test_only_addresses_of_the_web_become_links(url: str, link: str) -> None:
    assert text_of(run(Sources((Source(url, "T"),)), Text("[[1]]"), Finished())) == link


PIECES = st.lists(st.sampled_from(["[", "[[", "]", "]]", "1", "2", "4", "12", "\n", " ", "é", "[[1]]", "[[3]]", "ab"]))


@settings(deadline=None, max_examples=300)
@given(PIECES, st.booleans())
def test_any_cut_gives_the_same_text_and_citations(pieces: list[str], found: bool) -> None:
    before = [FOUND] if found else []
    cut = run(*before, *map(Text, pieces), Finished())
    joined = "".join(pieces)
    whole = run(*before, *([Text(joined)] if joined else []), Finished())
    assert text_of(cut) == text_of(whole)
    assert citations_of(cut) == citations_of(whole)
    assert all(event.text for event in cut + whole if isinstance(event, Text) and event not in map(Text, pieces))


@settings(deadline=None, max_examples=200)
@given(PIECES, st.sampled_from(["", "start "]))
def test_places_slice_the_text_to_the_link_and_the_rest_is_unchanged(pieces: list[str], before: str) -> None:
    first = [Text(before)] if before else []
    out = run(*first, FOUND, *map(Text, pieces), Finished())
    text, end = text_of(out), 0
    restored = ""
    for one in citations_of(out):
        if one.start == one.end:
            assert one.start == len(text)
            continue
        number = (A, B, C).index(one.source) + 1
        assert text[one.start : one.end] == f"[{number}]({one.source.url})"
        restored += text[end : one.start] + f"[[{number}]]"
        end = one.end
    assert restored + text[end:] == before + "".join(pieces)
