"""What is put to the upstream: one message of text, and how it should be answered."""

from msgspec import Struct

from qwen_gateway.turn.request import Thinking


class Prompt(Struct, frozen=True):
    text: str
    model: str
    """The upstream's own id of the model."""
    thinking: Thinking
    search: bool
