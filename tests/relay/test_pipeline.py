"""The stages of an answer: token figures are the site's where it gives believable ones, else an estimate."""

import json
from pathlib import Path

import pytest

from qwen_gateway.relay.pipeline import Pipeline
from qwen_gateway.shaping.tokens import estimate
from qwen_gateway.turn.events import Citation, Event, Failed, Finished, Usage
from qwen_gateway.turn.prompt import Prompt
from qwen_gateway.turn.request import Thinking
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
    events = through(Pipeline(Decoder("c"), PROMPT), frame("Hello", usage=given), frame(status="finished"))
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
    events = through(Pipeline(Words("c"), PROMPT), b"think:Let me see\n", b"text:One two\n", b"text: three\nend\n")
    spoken, thought = estimate("One two three"), estimate("Let me see")
    assert events[-2] == Usage(estimate(PROMPT.text), spoken + thought, reasoning=thought, estimated=True)


def test_an_answer_that_failed_has_an_estimate_too() -> None:
    events = through(Pipeline(Words("c"), PROMPT), b"text:One\n")
    assert isinstance(events[-1], Failed)
    assert events[-2] == Usage(estimate(PROMPT.text), estimate("One"), estimated=True)


def test_figures_that_came_before_the_failure_are_kept() -> None:
    events = through(Pipeline(Words("c"), PROMPT), b"text:One\nusage:5,6\n")
    assert isinstance(events[-1], Failed)
    assert events[-2] == Usage(5, 6)


@pytest.mark.parametrize("search", [True, False])
def test_references_become_citations_only_where_the_site_searched(search: bool) -> None:
    recorded = (CORPUS / "sse_search_2026-09-14.txt").read_bytes()
    created = json.loads(recorded.split(b"\n")[0].removeprefix(b"data: "))["response.created"]
    prompt = Prompt("Say something.", "q", Thinking("off"), search)
    events = through(Pipeline(Decoder(created["chat_id"]), prompt), recorded)
    assert isinstance(events[-1], Finished)
    assert any(isinstance(event, Citation) for event in events) == search


def test_settled_is_what_the_decoder_says() -> None:
    pipeline = Pipeline(Words("c"), PROMPT)
    assert not pipeline.settled
    pipeline.feed(b"text:a\nend\n")
    assert pipeline.settled


def test_nothing_makes_nothing() -> None:
    pipeline = Pipeline(Words("c"), PROMPT)
    assert pipeline.feed(b": comment\n") == []
    assert pipeline.close()
    assert pipeline.close() == []
