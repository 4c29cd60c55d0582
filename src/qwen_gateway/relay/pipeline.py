"""The stages that one answer's bytes pass: the upstream's decoder, then what this turn needs of them.

Runs once per network chunk, synchronously. A stage that a turn does not need is not there.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from qwen_gateway.shaping.tokens import estimate, estimated_usage
from qwen_gateway.turn.contracts import Decoder
from qwen_gateway.turn.events import Event, Failed, Finished, NativeCall, Reasoning, Text, Usage

_WORDS = (Text, Reasoning, NativeCall)


class Stage(Protocol):
    """Takes the events of one answer, in order, and gives what becomes of them."""

    @property
    def enough(self) -> bool:
        """Nothing that follows will be passed on: the upstream can be stopped."""
        ...

    @property
    def clean(self) -> bool:
        """What is passed on is what the upstream has stored, once the answer has ended."""
        ...

    def feed(self, events: list[Event]) -> list[Event]: ...


class Pipeline:
    def __init__(
        self,
        decoder: Decoder,
        stages: Sequence[Stage],
        conversation: Callable[[], str],
        count: Callable[[str], int] = estimate,
    ) -> None:
        """conversation: all that the client sent, as one text. Counted where the site gives no figures, also when only
        the end of it was sent there: a client that reckons with the figures must not see it shrink."""
        self._decoder = decoder
        self._conversation, self._count = conversation, count
        self._stages = stages
        self._uncounted: list[Event] | None = []  # kept until the upstream gives token figures
        self.holds = False
        """With the last bytes the model went on, and none of it is passed on yet."""

    @property
    def settled(self) -> bool:
        return self._decoder.settled

    @property
    def enough(self) -> bool:
        return any(stage.enough for stage in self._stages)

    def feed(self, data: bytes) -> list[Event]:
        return self._through(self._decoder.feed(data))

    def close(self) -> list[Event]:
        """The last events, of which the very last is `Finished` or `Failed`."""
        return self._through(self._decoder.close())

    def cut(self) -> list[Event]:
        """The last events of an answer of which there is enough, before the upstream has ended it."""
        *events, last = self._decoder.close()
        return self._through([*events, last if isinstance(last, Finished) else Finished()])

    def _through(self, events: list[Event]) -> list[Event]:
        self.holds = False
        if not events:
            return events
        given = events
        for stage in self._stages:
            events = stage.feed(events)
        self.holds = not events and any(isinstance(one, _WORDS) for one in given)
        if self._uncounted is not None:
            if self._decoder.has_usage:
                self._uncounted = None
            else:
                self._uncounted += events
        last = events[-1] if events else None
        if isinstance(last, Finished | Failed) and not any(isinstance(one, Usage) for one in events):
            events.insert(-1, estimated_usage(self._conversation(), self._uncounted or (), self._count))
        return events
