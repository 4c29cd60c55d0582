"""What of an answer a client sees."""

from typing import get_args

from qwen_gateway.turn import events
from qwen_gateway.turn.events import SHOWN, Declined, Event, Reasoning, Source, Text, ToolCallBegan


def test_text_reasoning_calls_and_refusals_are_shown_and_nothing_else() -> None:
    """After one of these nothing is tried again; the pieces and the end of a call only follow its beginning."""
    assert set(SHOWN) == {Text, Reasoning, ToolCallBegan, Declined}


def test_every_struct_of_the_module_is_an_event_or_a_part_of_one() -> None:
    structs = {kind for kind in vars(events).values() if isinstance(kind, type) and kind.__module__ == events.__name__}
    assert structs - {Source} == set(get_args(Event))
