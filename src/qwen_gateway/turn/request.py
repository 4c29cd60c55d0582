"""What a client asked for, in one shape for all dialects.

A message has one of three roles. Results of tools are parts of a user message, because that is where they
stand in every dialect once messages are grouped by who spoke; `developer` is read as `system`.
"""

from typing import Any, Literal

from msgspec import Struct

from qwen_gateway.turn.files import FilePart

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
    is_error: bool = False
    files: tuple[FilePart, ...] = ()


Part = TextPart | ReasoningPart | ToolCallPart | ToolResultPart | FilePart


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


class Tool(Struct, frozen=True):
    """One tool of the client's. parameters: a JSON Schema of an object. strict: no call that misses it is wanted."""

    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool = False


class ToolChoice(Struct, frozen=True):
    """names: of the tools that may be called; none means all. parallel: several calls in one answer are welcome."""

    mode: Literal["auto", "none", "required"] = "auto"
    names: tuple[str, ...] = ()
    parallel: bool = True


class OutputFormat(Struct, frozen=True):
    """The answer is to be JSON: some object, or what satisfies `schema`. strict: nothing else will do."""

    kind: Literal["json_object", "json_schema"]
    schema: dict[str, Any] | None = None
    strict: bool = False


class MaxOutput(Struct, frozen=True):
    """Most tokens of the answer. reasoning: whether those of the reasoning count."""

    tokens: int
    reasoning: bool


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
    end_user: str = ""
    """Whose conversation it is, where one key serves several people; as the client calls them."""
    store: bool = True
    """False: the client wants nothing kept of this turn."""
    tools: tuple[Tool, ...] = ()
    """In the client's order."""
    tool_choice: ToolChoice = ToolChoice()
    format: OutputFormat | None = None
    stop: tuple[str, ...] = ()
    """The answer's text ends before the first of these."""
    max_output: MaxOutput | None = None
    choices: int = 1
    """How many answers are wanted, each of them a turn of its own."""
    legacy_calls: bool = False
    """The client knows calls in the dialect's older form only."""
    ignored: tuple[str, ...] = ()
