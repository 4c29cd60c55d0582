"""The stages of an answer: token figures are the site's where it gives believable ones, else an estimate."""

import json
from pathlib import Path

import pytest

from qwen_gateway.relay.cuts import Stops
from qwen_gateway.relay.pipeline import Pipeline
from qwen_gateway.shaping.citations import CitationLinks
from qwen_gateway.shaping.tokens import estimate
from qwen_gateway.turn.events import Began, Citation, Event, Failed, Finished, Text, Usage
from qwen_gateway.upstreams.qwen.decoder import Decoder

from .fakes import PROMPT, Words

CORPUS = Path(__file__).parents[1] / "corpus"


def through(pipeline: Pipeline, *chunks: bytes) -> list[Event]:
    events = [event for chunk in chunks for event in pipeline.feed(chunk)]
    return events + pipeline.close()


def frame(content: str = "", *, usage: object = None, status: str = "typing") -> bytes:
    """A frame as the site sends it."""
    delta = {"role": "assistant", "content": content, "phase": "answer", "status": status}
    body = {"choices": [{"delta": delta}], **({} if usage is None else {"usage": usage})}
    return f"data: {json.dumps(body)}\n\n".encode()


def usage_of(given: object) -> Usage:
    """What an answer that says "Hello" has for its usage when the site gives these figures."""
    events = through(
        Pipeline(Decoder("c"), [], lambda: PROMPT.text), frame("Hello", usage=given), frame(status="finished")
    )
    assert isinstance(events[-1], Finished)
    assert isinstance(events[-2], Usage)
    assert sum(isinstance(event, Usage) for event in events) == 1
    return events[-2]


ESTIMATE = Usage(estimate(PROMPT.text), estimate("Hello"), estimated=True)
FIGURES: dict[str, tuple[object, Usage]] = {
    "given": ({"input_tokens": 7, "output_tokens": 3}, Usage(7, 3)),
    "given with details": (
        {"input_tokens": 7, "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 2}},
        Usage(7, 3, reasoning=2),
    ),
    "absent": (None, ESTIMATE),
    "empty": ({}, ESTIMATE),
    "zero": ({"input_tokens": 0, "output_tokens": 0}, ESTIMATE),
    "negative": ({"input_tokens": -7, "output_tokens": 3}, ESTIMATE),
    "absurd": ({"input_tokens": 7, "output_tokens": 10**12}, ESTIMATE),
    "words": ({"input_tokens": "seven"}, ESTIMATE),
}


@pytest.mark.parametrize("name", FIGURES)
def test_token_figures(name: str) -> None:
    given, expected = FIGURES[name]
    assert usage_of(given) == expected


def test_an_estimate_counts_the_whole_answer() -> None:
    events = through(
        Pipeline(Words("c"), [], lambda: PROMPT.text), b"think:Let me see\n", b"text:One two\n", b"text: three\nend\n"
    )
    spoken, thought = estimate("One two three"), estimate("Let me see")
    assert events[-2] == Usage(estimate(PROMPT.text), spoken + thought, reasoning=thought, estimated=True)


def test_an_answer_that_failed_has_an_estimate_too() -> None:
    events = through(Pipeline(Words("c"), [], lambda: PROMPT.text), b"text:One\n")
    assert isinstance(events[-1], Failed)
    assert events[-2] == Usage(estimate(PROMPT.text), estimate("One"), estimated=True)


def test_figures_that_came_before_the_failure_are_kept() -> None:
    events = through(Pipeline(Words("c"), [], lambda: PROMPT.text), b"text:One\nusage:5,6\n")
    assert isinstance(events[-1], Failed)
    assert events[-2] == Usage(5, 6)


@pytest.mark.parametrize("search", [True, False])
def test_references_become_citations_only_where_the_site_searched(search: bool) -> None:
    recorded = (CORPUS / "sse_search_2026-09-14.txt").read_bytes()
    created = json.loads(recorded.split(b"\n")[0].removeprefix(b"data: "))["response.created"]
    stages = [CitationLinks()] if search else []
    events = through(Pipeline(Decoder(created["chat_id"]), stages, lambda: "Say something."), recorded)
    assert isinstance(events[-1], Finished)
    assert any(isinstance(event, Citation) for event in events) == search


def test_settled_is_what_the_decoder_says() -> None:
    pipeline = Pipeline(Words("c"), [], lambda: PROMPT.text)
    assert not pipeline.settled
    pipeline.feed(b"text:a\nend\n")
    assert pipeline.settled


def test_nothing_makes_nothing() -> None:
    pipeline = Pipeline(Words("c"), [], lambda: PROMPT.text)
    assert pipeline.feed(b": comment\n") == []
    assert pipeline.close()
    assert pipeline.close() == []


class Until:
    """A stage that has enough once it has seen a text."""

    def __init__(self, text: str) -> None:
        self.text, self.enough, self.clean = text, False, True

    def feed(self, events: list[Event]) -> list[Event]:
        self.enough = self.enough or Text(self.text) in events
        return events


def test_of_an_answer_of_which_there_is_enough_the_end_is_made_here() -> None:
    pipeline = Pipeline(Words("c"), [Until("stop")], lambda: PROMPT.text)
    assert pipeline.feed(b"text:go\n") == [Text("go")]
    assert not pipeline.enough
    assert pipeline.feed(b"text:stop\n") == [Text("stop")]
    assert pipeline.enough
    usage, end = pipeline.cut()
    assert end == Finished()
    assert isinstance(usage, Usage)
    assert usage.estimated


def test_what_follows_enough_is_not_asked_of_the_upstream() -> None:
    pipeline = Pipeline(Words("c"), [Stops(["END"])], lambda: PROMPT.text)
    assert pipeline.feed(b"text:one END two\nusage:5,6\n") == [Text("one ")]
    assert pipeline.enough
    assert pipeline.cut() == [Usage(5, 6), Finished("stop", "END")]


def test_an_answer_that_ended_by_itself_keeps_its_end_when_it_is_cut() -> None:
    pipeline = Pipeline(Words("c"), [Until("stop")], lambda: PROMPT.text)
    pipeline.feed(b"text:stop\nusage:5,6\nend\n")
    assert pipeline.cut() == [Usage(5, 6), Finished()]


def test_an_estimate_counts_what_is_passed_on_and_not_what_was_cut() -> None:
    pipeline = Pipeline(Words("c"), [Stops(["END"])], lambda: "a b c", count=lambda text: len(text.split()))
    pipeline.feed(b"text:one END two three four\n")
    assert pipeline.cut()[0] == Usage(3, 1, estimated=True)


def test_the_pipeline_says_when_the_model_writes_and_nothing_may_be_shown_yet() -> None:
    pipeline = Pipeline(Words("c"), [Stops(["END"])], lambda: PROMPT.text)
    assert pipeline.feed(b"began\n") == [Began("c", "answer-in-c")]
    assert not pipeline.holds
    assert pipeline.feed(b"text:EN\n") == []
    assert pipeline.holds
    assert pipeline.feed(b": a sign of life\n") == []
    assert not pipeline.holds
    assert pipeline.feed(b"text:ough\n") == [Text("ENough")]
    assert not pipeline.holds
