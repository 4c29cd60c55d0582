"""The tools of one request: what the model is told of them, and how its calls are read."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, Protocol

from msgspec import Struct, structs

from qwen_gateway.history.pack import ToolWords, neutral
from qwen_gateway.relay.calls import Reading
from qwen_gateway.relay.path import Knows
from qwen_gateway.toolcall import digest, teaching
from qwen_gateway.toolcall.draft import quoted_in
from qwen_gateway.toolcall.formats import bracket, hermes, raw
from qwen_gateway.toolcall.pieces import Commit
from qwen_gateway.toolcall.schema import Checks
from qwen_gateway.toolcall.sieve import Format
from qwen_gateway.turn.faults import ContextTooLong, InvalidRequest
from qwen_gateway.turn.request import Message, TextPart, Tool, ToolCallPart, ToolResultPart, TurnRequest

SHORT = 4
"""Messages up to which the list of tools is near enough to need no reminder."""
_NONE = "There are no tools any more: do not call any."
NONCE = "\0"
"""Stands for the nonce until the message is packed."""


class Teaches(Protocol):
    """A form of calls that can be taught: a module of `toolcall.formats`."""

    def teach(self, listing: str, nonce: str) -> str: ...
    def call(self, nonce: str, name: str, arguments: str) -> str: ...
    def anchor(self, reminder: str, nonce: str) -> str: ...
    def form(self, nonce: str) -> str: ...


_FORMATS: dict[Format, Teaches] = {"bracket": bracket, "raw": raw, "hermes": hermes}


class ToolManner(Struct, frozen=True):
    """The settings. format: in which calls are taught. commit: when they are shown. nudge: whether a model that only
    announces an action is asked on. show_site_tools: the reasoning says where the site uses tools of its own. most:
    bytes of the list of tools."""

    format: Format = "bracket"
    commit: Commit = "hybrid"
    nudge: bool = False
    show_site_tools: bool = False
    most: int = teaching.BUDGET


class Toolset:
    """tools: those that the model may call, as it is told of them."""

    def __init__(self, request: TurnRequest, manner: ToolManner) -> None:
        """Raises InvalidRequest that names the parameter."""
        self._request, self._manner = request, manner
        self._writes = _FORMATS[manner.format]
        choice = request.tool_choice
        every = tuple(map(_neutral, request.tools)) if choice.mode != "none" else ()
        self.tools = tuple(tool for tool in every if not choice.names or tool.name in choice.names)
        try:
            # All of them: a fault counts in the client's list.
            self._check = Checks(every if self.tools else ())
        except ValueError as problem:
            said = str(problem) if not request.legacy_calls else str(problem).replace("tools[", "functions[", 1)
            raise InvalidRequest(f"{said}.", param=said.partition(".")[0]) from problem

    @property
    def digest(self) -> bytes:
        """The same for the same tools; empty for none."""
        return digest.canonical(self.tools) if self.tools else b""

    def words(self, knows: Knows) -> ToolWords:
        """The list and how calls are written, or only a reminder of both. Raises ContextTooLong."""
        lesson = knows != "known"
        if not self.tools:
            # Earlier calls are not shown in the form in which the model would make more.
            return ToolWords(lesson=_NONE if knows == "changed" or (lesson and self._had_tools()) else "")
        call = partial(self._writes.call, NONCE)
        listed = self._lesson() if lesson else ""
        # Also behind the list, where a long conversation stands between.
        reminder = self._writes.anchor(teaching.reminder(self.tools), NONCE)
        if lesson and len(self._request.messages) < SHORT:
            reminder = ""
        return ToolWords(lesson=listed, reminder=reminder, tail=self._demand(), call=call)

    def _had_tools(self) -> bool:
        """The conversation has calls in it: a model that has made some would make more."""
        return any(isinstance(part, ToolCallPart) for message in self._request.messages for part in message.parts)

    @property
    def left_out(self) -> bool:
        """Whether the model is told less of the tools than the client said: descriptions within arguments."""
        return bool(self.tools) and self._listing.left_out != "nothing"

    def reading(self) -> Reading | None:
        """`None`: no call is looked for, and whatever looks like one is text."""
        if not self.tools:
            return None
        choice, messages = self._request.tool_choice, self._request.messages
        last = messages[-1].parts if messages else ()
        return Reading(
            tools=self.tools,
            check=self._check,
            quoted=_Quoted(messages),
            format=self._manner.format,
            # Of an answer that is sent whole, the client sees nothing before its end: all of it can be asked for again.
            commit=self._manner.commit if self._request.stream else "complete",
            required=choice.mode == "required",
            parallel=choice.parallel,
            nudge=self._manner.nudge and any(isinstance(part, ToolResultPart) for part in last),
            form=self._writes.form,
        )

    def _lesson(self) -> str:
        listing = self._listing
        if listing.left_out == "descriptions":
            raise ContextTooLong(
                f"The descriptions of the {len(self.tools)} tools are too long for one message to Qwen's site. Offer "
                "fewer tools, or shorter descriptions.",
                param="tools",
            )
        return self._writes.teach(listing.text, NONCE)

    @cached_property
    def _listing(self) -> teaching.Listing:
        return teaching.listing(self.tools, self._manner.most)

    def _demand(self) -> str:
        choice = self._request.tool_choice
        lines = []
        if choice.mode == "required" and len(self.tools) == 1:
            lines.append(f'This reply must call "{self.tools[0].name}" (only that tool).')
        elif choice.mode == "required":
            lines.append("This reply must contain at least one tool call.")
        if not choice.parallel:
            lines.append("Make at most one tool call in this reply.")
        return "\n".join(lines)


class _Quoted:
    """Whether a text stands in what the client sent. Made ready when it is first asked: most answers never need it."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages
        self._quoted: Callable[[str], bool] | None = None

    def __call__(self, text: str) -> bool:
        if self._quoted is None:
            self._quoted = quoted_in(list(_texts(self._messages)))
        return self._quoted(text)


def _texts(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        if message.role != "assistant":
            yield from (part.text for part in message.parts if isinstance(part, TextPart | ToolResultPart))


def _neutral(tool: Tool) -> Tool:
    """Without what could be read as the end of a message, or as the place of the nonce."""
    return structs.replace(tool, description=neutral(tool.description), parameters=_neutral_value(tool.parameters))


def _neutral_value(value: Any) -> Any:
    if isinstance(value, str):
        return neutral(value)
    if isinstance(value, list):
        return [_neutral_value(one) for one in value]
    if isinstance(value, dict):
        return {neutral(key): _neutral_value(one) for key, one in value.items()}
    return value
