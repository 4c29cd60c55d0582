"""What stages make of an answer: its events through one stage, joined where only the cuts of the network differ."""

import itertools
from collections.abc import Sequence
from typing import Any

from tests.toolcall.answers import NONCE, TOOLS

from qwen_gateway.relay.calls import Calls, Reading, Tries
from qwen_gateway.relay.pipeline import Stage
from qwen_gateway.toolcall.draft import quoted_in
from qwen_gateway.toolcall.formats import bracket
from qwen_gateway.toolcall.schema import Checks
from qwen_gateway.turn.events import Event, Failed, Finished, Reasoning, Text, ToolCallArguments
from qwen_gateway.turn.faults import Unfit
from qwen_gateway.turn.reply import Fold


def reading(*, quoted: Sequence[str] = (), **changes: Any) -> Reading:
    settings: dict[str, Any] = {
        "tools": TOOLS,
        "check": Checks(TOOLS),
        "quoted": quoted_in(quoted),
        "format": "bracket",
        "commit": "hybrid",
        "required": False,
        "parallel": True,
        "nudge": False,
        "form": bracket.form,
    }
    return Reading(**settings | changes)


def calls_stage(
    tries: Tries | None = None, *, nonce: str = NONCE, holds: bool = False, seconds: float = 0, **changes: Any
) -> Calls:
    """seconds: that pass between two looks at the clock."""
    ids, clock = itertools.count(1), itertools.count()
    return Calls(
        reading(**changes),
        tries or Tries(),
        nonce,
        lambda: f"id{next(ids)}",
        lambda: next(clock) * seconds,
        holds=holds,
    )


def through(stage: Stage, *batches: Sequence[Event]) -> list[Event]:
    """As the pipeline gives them: once there is enough, the end is made. Without an end, the answer ends well."""
    out: list[Event] = []
    for batch in batches:
        out += stage.feed(list(batch))
        if out and isinstance(out[-1], Finished | Failed):
            return joined(out)
        if stage.enough:
            break
    return joined([*out, *stage.feed([Finished()])])


def joined(events: Sequence[Event]) -> list[Event]:
    found: list[Event] = []
    for event in events:
        last = found[-1] if found else None
        if isinstance(event, Text) and isinstance(last, Text):
            found[-1] = Text(last.text + event.text)
        elif isinstance(event, Reasoning) and isinstance(last, Reasoning):
            found[-1] = Reasoning(last.text + event.text)
        elif isinstance(event, ToolCallArguments) and isinstance(last, ToolCallArguments) and last.index == event.index:
            found[-1] = ToolCallArguments(event.index, last.text + event.text)
        else:
            found.append(event)
    return found


def told(*texts: str) -> list[list[Event]]:
    """Each a piece of the answer, in a batch of its own."""
    return [[Text(text)] for text in texts if text]


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def calls_of(events: Sequence[Event]) -> list[tuple[str, str]]:
    fold = Fold()
    fold.feed(events)
    return [(call.name, call.arguments) for call in fold.calls()]


def unfit(events: Sequence[Event]) -> Unfit:
    """Why an answer was not delivered. That is its last event."""
    assert isinstance(events[-1], Failed)
    fault = events[-1].fault
    assert isinstance(fault, Unfit)
    return fault
