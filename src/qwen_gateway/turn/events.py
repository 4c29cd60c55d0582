"""What comes back, as it comes: the events of one answer.

A stage yields lists of these. The last event of an answer is `Finished` or `Failed`, and nothing follows it;
`Failed` is a value and not an exception, so that what came before it in the same network chunk is not lost.
"""

from collections.abc import Sequence
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


class NativeCall(Struct, frozen=True):
    """A call in the form that the site takes for its own, as far as it has come; `arguments` from its very beginning.

    Each replaces the one before. Only for calls that may be the client's: those of the site's tools are `SiteTool`.
    """

    name: str
    arguments: str


class NativeResult(Struct, frozen=True):
    """What the site told the model as the result of such a call."""

    name: str
    text: str


class ToolCallBegan(Struct, frozen=True):
    """The answer calls a tool of the client's. index: from 0 within the answer. id: letters and digits; the dialect
    puts its own mark before it."""

    index: int
    id: str
    name: str


class ToolCallArguments(Struct, frozen=True, gc=False):
    """The next piece of the call's arguments, as JSON text. Pieces are only ever appended."""

    index: int
    text: str


class ToolCallEnded(Struct, frozen=True):
    """The arguments are whole: a JSON object."""

    index: int


class Declined(Struct, frozen=True):
    """The model says in these words that it will not answer in the form that was demanded. All of them at once."""

    text: str


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
    context: int = 0
    """Of the conversation with this answer, where that is not `input` and `output` together: each round of an answer
    reads all of it again."""

    @property
    def conversation(self) -> int:
        """How long the conversation is with this answer."""
        return self.context or self.input + self.output


def total(usages: Sequence[Usage]) -> Usage:
    """Of several answers together."""
    return Usage(
        sum(usage.input for usage in usages),
        sum(usage.output for usage in usages),
        reasoning=sum(usage.reasoning for usage in usages),
        cached=sum(usage.cached for usage in usages),
        estimated=any(usage.estimated for usage in usages),
    )


class Finished(Struct, frozen=True):
    """stopped_by: the stop sequence that ended it."""

    reason: FinishReason = "stop"
    stopped_by: str | None = None


class Failed(Struct, frozen=True):
    fault: Fault


Event = (
    Began
    | Text
    | Reasoning
    | SiteTool
    | NativeCall
    | NativeResult
    | ToolCallBegan
    | ToolCallArguments
    | ToolCallEnded
    | Declined
    | Sources
    | Citation
    | Usage
    | Finished
    | Failed
)

SHOWN = (Text, Reasoning, ToolCallBegan, Declined)
"""Events that a client sees. After the first of these nothing may be retried."""
