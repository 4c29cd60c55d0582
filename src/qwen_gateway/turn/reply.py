"""A whole answer: the events of a stream, folded. Streaming and not streaming differ only in this step."""

from collections.abc import Sequence

from msgspec import Struct

from qwen_gateway.turn.events import (
    Citation,
    Declined,
    Event,
    Failed,
    Finished,
    FinishReason,
    Reasoning,
    Source,
    Sources,
    Text,
    ToolCallArguments,
    ToolCallBegan,
    Usage,
)
from qwen_gateway.turn.request import ToolCallPart


class Reply(Struct, frozen=True):
    text: str
    reasoning: str
    citations: tuple[Citation, ...]
    sources: tuple[Source, ...]
    usage: Usage
    finish: FinishReason
    calls: tuple[ToolCallPart, ...] = ()
    stopped_by: str | None = None
    declined: str = ""


class Fold:
    """Collects events. `reply()` is for an answer that finished; `failed` holds the fault of one that did not."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._citations: list[Citation] = []
        self._sources: list[Source] = []
        self._usage = Usage(0, 0, estimated=True)
        self._calls: dict[int, tuple[ToolCallBegan, list[str]]] = {}
        self._stopped_by: str | None = None
        self._declined = ""
        self.finish: FinishReason | None = None
        self.failed: Failed | None = None

    def feed(self, events: Sequence[Event]) -> None:
        for event in events:
            if type(event) is Text:
                self._text.append(event.text)
            elif type(event) is Reasoning:
                self._reasoning.append(event.text)
            elif type(event) is Citation:
                self._citations.append(event)
            elif type(event) is Sources:
                self._sources.extend(event.sources)
            elif type(event) is Usage:
                self._usage = event
            elif type(event) is ToolCallBegan:
                self._calls[event.index] = event, []
            elif type(event) is ToolCallArguments:
                self._calls[event.index][1].append(event.text)
            elif type(event) is Declined:
                self._declined = event.text
            elif type(event) is Finished:
                self.finish, self._stopped_by = event.reason, event.stopped_by
            elif type(event) is Failed:
                self.failed = event

    def reply(self) -> Reply:
        """The answer. Raises its fault when it failed, and ValueError when it has not ended."""
        if self.failed is not None:
            raise self.failed.fault
        if self.finish is None:
            raise ValueError("the answer has not ended")
        return Reply(
            text=self.text(),
            reasoning="".join(self._reasoning),
            citations=tuple(self._citations),
            sources=tuple(self._sources),
            usage=self._usage,
            finish=self.finish,
            calls=self.calls(),
            stopped_by=self._stopped_by,
            declined=self._declined,
        )

    def text(self) -> str:
        """So far."""
        return "".join(self._text)

    def calls(self) -> tuple[ToolCallPart, ...]:
        """Those so far, in their order."""
        return tuple(ToolCallPart(began.id, began.name, "".join(pieces)) for began, pieces in self._calls.values())
