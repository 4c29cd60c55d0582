"""What comes back, as it comes: the events of one answer.

A stage yields lists of these. The last event of an answer is `Finished` or `Failed`, and nothing follows it;
`Failed` is a value and not an exception, so that what came before it in the same network chunk is not lost.
"""

from typing import Literal

from msgspec import Struct

from qwen_gateway.turn.faults import Fault

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class Began(Struct, frozen=True):
    """The upstream accepted the question. The ids say where the answer stands there."""

    chat_id: str
    answer_id: str


class Text(Struct, frozen=True, gc=False):
    """The next piece of the answer. Never empty."""

    text: str


class Reasoning(Struct, frozen=True, gc=False):
    """The next piece of the reasoning. Never empty."""

    text: str


class SiteTool(Struct, frozen=True):
    """The upstream runs a tool of its own, such as its search. Nothing of the client's is called."""

    name: str


class Source(Struct, frozen=True):
    """A page that the upstream's search found."""

    url: str
    title: str
    snippet: str = ""


class Sources(Struct, frozen=True):
    """Pages found by one search. Answers refer to them by their number, counted from 1 within the latest list."""

    sources: tuple[Source, ...]


class Citation(Struct, frozen=True):
    """The answer's text from `start` to `end` (in characters, over the whole answer) refers to `source`."""

    start: int
    end: int
    source: Source


class Usage(Struct, frozen=True):
    """Tokens. `output` includes `reasoning`. Sums over all rounds of the answer."""

    input: int
    output: int
    reasoning: int = 0
    cached: int = 0
    estimated: bool = False
    """Counted by us, because the upstream did not say."""


class Finished(Struct, frozen=True):
    reason: FinishReason = "stop"


class Failed(Struct, frozen=True):
    fault: Fault


Event = Began | Text | Reasoning | SiteTool | Sources | Citation | Usage | Finished | Failed

SHOWN = (Text, Reasoning)
"""Events that a client sees. After the first of these nothing may be retried."""
