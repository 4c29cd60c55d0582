"""What the parts of this package hand to one another: tools, verdicts, and what is read out of an answer.

Nothing here decides anything.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol

from msgspec import Struct

from qwen_gateway.turn.request import Tool as Tool  # noqa: PLC0414 - one of the shapes that are handed on here

Level = Literal[1, 2, 3]
"""How sure it is that the model meant a call: 3 by a marker with our nonce, 2 by a marker without it, at the start of a
line and outside of code, 1 by nothing but its shape, as the whole answer. What is below that is text."""

Commit = Literal["hybrid", "complete", "eager"]
"""When a call is shown: once it is whole and checked, as soon as its name is known, or (hybrid) whole unless long."""


class TextOut(Struct, frozen=True, gc=False):
    """The next piece of visible text. Never empty."""

    text: str


class CallBegan(Struct, frozen=True, gc=False):
    """A call, by its place among the calls of this answer. `name` is a tool's, as the client wrote it."""

    index: int
    name: str


class CallArguments(Struct, frozen=True, gc=False):
    """The next piece of a call's arguments, as JSON text. Pieces are only ever appended."""

    index: int
    piece: str


class CallEnded(Struct, frozen=True, gc=False):
    """The call is whole and may be run. `arguments` is all its pieces in one: a JSON object."""

    index: int
    arguments: str


class Bad(Struct, frozen=True, gc=False):
    """Something that was meant as a call and is none. If its `CallBegan` was out, no `CallEnded` comes.

    kind: malformed, truncated, no_payload, unknown, schema, forged_result, or what a verdict says.
    info: what was wrong, for a note to the model: the name that is no tool, the complaint of the check, or why the
    text could not be read and near what. `name`: the tool, where it is known.
    """

    kind: str
    info: str = ""
    name: str = ""


class Stop(Struct, frozen=True, gc=False):
    """Nothing that follows will be read: the upstream may be stopped.

    reason: prose_after_call, forged_result, duplicate, cap, malformed, native (the site has answered the calls).
    """

    reason: str


Out = TextOut | CallBegan | CallArguments | CallEnded | Bad | Stop


class Verdict(Struct, frozen=True):
    """What a check says of a call. `arguments` is what to deliver: as given, or with types put right.

    kind: what was wrong, as in `Bad`.
    """

    ok: bool
    arguments: str
    why: str = ""
    kind: str = ""


class Check(Protocol):
    """Whether a call of the tool `name` with these arguments (JSON text) may be delivered at this level."""

    def __call__(self, name: str, arguments: str, level: Level) -> Verdict: ...


SchemaOf = Callable[[str], Any]
"""The JSON Schema of a tool's arguments, by the name as the model wrote it. `None`: no such tool."""

ReaderState = Literal["open", "whole", "broken", "cut"]
"""Reading; the value is complete; it cannot be read; the answer ended within it."""


class Reader(Protocol):
    """Reads one call in one format. `feed` until the state is no longer open, `finish` at the end of the answer."""

    @property
    def state(self) -> ReaderState: ...

    @property
    def why(self) -> str:
        """Why it is broken or cut."""

    @property
    def name(self) -> str | None:
        """The tool's name as the model wrote it, as soon as it is known."""

    @property
    def begun(self) -> bool:
        """More was read than a tag and a name, which a text can also speak of."""

    @property
    def doubtful(self) -> bool:
        """A repair was made that could be a guess: the strictest check decides."""

    @property
    def repairs(self) -> set[str]:
        """Words for what was put right."""

    @property
    def rest(self) -> str:
        """What stood behind the call."""

    @property
    def ready(self) -> int:
        """Length of the arguments, in characters, that could be given out before the call is whole."""

    @property
    def arguments(self) -> str:
        """All arguments, as JSON text of an object. Only once whole."""

    def take(self, *, doubtful: bool = False) -> str:
        """The next piece of the arguments: what became ready since the last time. doubtful: what is doubtful too."""

    def feed(self, text: str) -> None: ...

    def finish(self) -> None: ...
