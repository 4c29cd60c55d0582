"""The stages that one answer's bytes pass: the upstream's decoder, then what this turn needs of `shaping`.

Runs once per network chunk, synchronously. A stage that a turn does not need is not there.
"""

from qwen_gateway.shaping.citations import CitationLinks
from qwen_gateway.shaping.tokens import estimated_usage
from qwen_gateway.turn.contracts import Decoder
from qwen_gateway.turn.events import Event, Failed, Finished, Usage
from qwen_gateway.turn.prompt import Prompt


class Pipeline:
    def __init__(self, decoder: Decoder, prompt: Prompt) -> None:
        self._decoder = decoder
        self._prompt = prompt
        self._citations = CitationLinks() if prompt.search else None
        self._uncounted: list[Event] | None = []  # kept until the upstream gives token figures

    @property
    def settled(self) -> bool:
        return self._decoder.settled

    def feed(self, data: bytes) -> list[Event]:
        return self._through(self._decoder.feed(data))

    def close(self) -> list[Event]:
        """The last events, of which the very last is `Finished` or `Failed`."""
        return self._through(self._decoder.close())

    def _through(self, events: list[Event]) -> list[Event]:
        if not events:
            return events
        if self._citations is not None:
            events = self._citations.feed(events)
        if self._uncounted is not None:
            if self._decoder.has_usage:
                self._uncounted = None
            else:
                self._uncounted += events
        last = events[-1] if events else None
        if isinstance(last, Finished | Failed) and not any(isinstance(one, Usage) for one in events):
            events.insert(-1, estimated_usage(self._prompt.text, self._uncounted or ()))
        return events
