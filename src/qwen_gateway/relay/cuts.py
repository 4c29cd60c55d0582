"""Where an answer ends because the client wants no more of it, and where it begins because the client has begun it."""

from collections.abc import Callable, Sequence

from qwen_gateway.shaping.length import LengthCut
from qwen_gateway.shaping.prefill import PrefillCut
from qwen_gateway.shaping.stops import StopCut
from qwen_gateway.turn.events import (
    Citation,
    Event,
    Failed,
    Finished,
    Reasoning,
    SiteTool,
    Sources,
    Text,
    ToolCallBegan,
    Usage,
)
from qwen_gateway.turn.request import MaxOutput

_TEXT_ENDS = (ToolCallBegan, Finished)
"""What is held back when the answer fails is not among them: the question may still be put again."""


_WITHIN_WORDS = (Usage, Citation, Sources)
"""Come between any two pieces of a text."""


class Length:
    """A stage: no more tokens than the client wants. What it cuts off counts as `length`, also where the upstream fails
    at the same moment."""

    def __init__(self, most: MaxOutput, count: Callable[[str], int]) -> None:
        self._cut = LengthCut(most.tokens, count)
        self._counts_reasoning = most.reasoning
        self._last: type[Text | Reasoning] = Text  # of what was counted
        self._has_passed = False  # some of it

    @property
    def enough(self) -> bool:
        return self._cut.full

    @property
    def clean(self) -> bool:
        return not self._cut.full

    def feed(self, events: list[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if isinstance(event, Text) or (isinstance(event, Reasoning) and self._counts_reasoning):
                if type(event) is not self._last:
                    self._close(out)
                    self._last = type(event)
                self._show(self._cut.feed(event.text), out)
                continue
            # Behind a fault only calls may follow what was shown, so that has to be whole.
            if not isinstance(event, _WITHIN_WORDS) and (self._has_passed or not isinstance(event, Failed)):
                self._close(out)
            if not self._cut.full or isinstance(event, Usage):
                out.append(event)
            elif isinstance(event, Finished | Failed):
                out.append(Finished("length"))
        return out

    def _close(self, out: list[Event]) -> None:
        """The text is over, and with it its last word."""
        self._show(self._cut.close(), out)

    def _show(self, text: str, out: list[Event]) -> None:
        if text:
            self._has_passed = True
            out.append(self._last(text))


class Stops:
    """A stage: the text ends before the first of these, and with it the answer: neither calls nor faults that come
    behind it are the client's concern."""

    def __init__(self, sequences: Sequence[str]) -> None:
        self._cut = StopCut(sequences)
        self._has_passed = False  # some text

    @property
    def enough(self) -> bool:
        return self._cut.stopped_by is not None

    @property
    def clean(self) -> bool:
        return self._cut.stopped_by is None

    def feed(self, events: list[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if isinstance(event, Text):
                if shown := self._cut.feed(event.text):
                    self._has_passed = True
                    out.append(Text(shown))
            elif (by := self._cut.stopped_by) is not None:
                if isinstance(event, Finished | Failed):
                    out.append(Finished("stop", by))
                elif isinstance(event, Usage):
                    out.append(event)
            else:
                # Behind a fault only calls may follow what was shown, so that has to be whole.
                ends = isinstance(event, _TEXT_ENDS) or (isinstance(event, Failed) and self._has_passed)
                if ends and (held := self._cut.close()):
                    out.append(Text(held))
                out.append(event)
        return out


class Prefill:
    """A stage: the answer does not say again what the client has begun it with."""

    enough = False
    clean = True

    def __init__(self, begun: str) -> None:
        self._cut = PrefillCut(begun)

    def feed(self, events: list[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if isinstance(event, Text):
                if shown := self._cut.feed(event.text):
                    out.append(Text(shown))
                continue
            if isinstance(event, _TEXT_ENDS) and (held := self._cut.close()):
                out.append(Text(held))
            out.append(event)
        return out


class SiteNotes:
    """A stage: where the site uses a tool of its own, the reasoning says so."""

    enough = False
    clean = True

    def feed(self, events: list[Event]) -> list[Event]:
        return [Reasoning(f"[Qwen's site uses its tool {event.name}.]\n") if isinstance(event, SiteTool) else event
                for event in events]  # fmt: skip
