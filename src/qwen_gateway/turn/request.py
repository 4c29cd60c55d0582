"""What a client asked for, in one shape for all dialects.

A message has one of three roles. Results of tools are parts of a user message, because that is where they
stand in every dialect once messages are grouped by who spoke; `developer` is read as `system`.
"""

from typing import Literal

from msgspec import Struct

Role = Literal["system", "user", "assistant"]
ThinkingMode = Literal["on", "off", "auto"]


class TextPart(Struct, frozen=True):
    text: str


class ReasoningPart(Struct, frozen=True):
    """Reasoning of an earlier answer that the client sent back. Never replayed to the model."""

    text: str


class ToolCallPart(Struct, frozen=True):
    """A call that an earlier answer made. `arguments` is the JSON text as the client sent it."""

    id: str
    name: str
    arguments: str


class ToolResultPart(Struct, frozen=True):
    """What the client's program got when it ran the call `call_id`."""

    call_id: str
    text: str


Part = TextPart | ReasoningPart | ToolCallPart | ToolResultPart


class Message(Struct, frozen=True):
    role: Role
    parts: tuple[Part, ...]


class Thinking(Struct, frozen=True):
    """Whether the model should reason before it answers. `None` leaves the choice to model and settings."""

    mode: ThinkingMode | None = None
    budget: int | None = None
    """Upper bound for the reasoning, in tokens."""
    param: str = ""
    """Name of the client's parameter that chose the mode, so that it can be named where the model cannot follow."""


class TurnRequest(Struct, frozen=True, kw_only=True):
    """One turn of one conversation.

    `ignored` names what the client sent and we cannot honour, for a response header: parameters by their
    wire name, such as `temperature` or `messages[].name`.
    """

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    stream_usage: bool = False
    """The client asked for a usage record of its own at the end of the stream."""
    thinking: Thinking = Thinking()
    search: bool | None = None
    ignored: tuple[str, ...] = ()
