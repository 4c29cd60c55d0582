"""A stream of events, folded."""

import pytest

from qwen_gateway.turn.events import (
    Began,
    Citation,
    Event,
    Failed,
    Finished,
    Reasoning,
    SiteTool,
    Source,
    Sources,
    Text,
    Usage,
)
from qwen_gateway.turn.faults import Incomplete
from qwen_gateway.turn.reply import Fold, Reply

ONE, TWO = Source("https://a.example", "A"), Source("https://b.example", "B")


def fold(*events: Event) -> Fold:
    folded = Fold()
    for event in events:
        folded.feed([event])
    return folded


def test_everything_is_collected_in_order() -> None:
    events: list[Event] = [
        Began("c", "a"),
        Reasoning("r"),
        Text("a"),
        SiteTool("web_search"),
        Sources((ONE,)),
        Reasoning("s"),
        Citation(0, 1, ONE),
        Sources((TWO,)),
        Text("b"),
        Usage(1, 1),
        Usage(5, 2),
        Finished("length"),
    ]
    expected = Reply("ab", "rs", (Citation(0, 1, ONE),), (ONE, TWO), Usage(5, 2), "length")
    assert fold(*events).reply() == expected
    at_once = Fold()
    at_once.feed(events)
    assert at_once.reply() == expected


def test_without_figures_usage_is_nothing_and_says_that_it_is_estimated() -> None:
    assert fold(Text("a"), Finished()).reply().usage == Usage(0, 0, estimated=True)


def test_an_answer_that_failed_raises_its_fault() -> None:
    fault = Incomplete("broke off")
    folded = fold(Text("a"), Failed(fault))
    assert folded.failed is not None
    with pytest.raises(Incomplete) as caught:
        folded.reply()
    assert caught.value is fault


def test_an_answer_that_has_not_ended_is_no_reply() -> None:
    with pytest.raises(ValueError, match="not ended"):
        fold(Text("a")).reply()
