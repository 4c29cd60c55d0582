"""The messages of a conversation as the model is shown them: texts, files, calls and results, each safe to be sent."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Literal

from msgspec import Struct

from qwen_gateway.history.attached import Attached
from qwen_gateway.history.marks import in_short, neutral, neutral_within, on_one_line
from qwen_gateway.turn.files import FilePart
from qwen_gateway.turn.request import Message, Part, TextPart, ToolCallPart, ToolResultPart

COMPACT_ABOVE = 4096
"""Bytes of a result that compacting leaves whole."""
COMPACT_TO = 1024
"""Bytes that are kept of its head, and of its tail."""
RECENT_GROUPS = 6
"""What the model works on now is never shortened."""
LATELY = 10
"""Of so many results, the last ones, those that are the same count as repeated."""
EMPTY = "(empty message)"

Shown = Callable[[str, str], str]
"""A call as the model would have written it, from its name and its arguments (JSON text). `marks.MARK` stands where the
nonce goes."""


class Piece(Struct, frozen=True):
    """A text, a call or the result of one. name: of the call, on one line; a call that is shown as the model would have
    written it is a text, and so is what is said of a file. What is said of a result's files is part of the result.

    times: how often, lately, the same call returned this very result. shortened: not all of the result is there.
    """

    text: str
    kind: Literal["", "call", "result of"] = ""
    name: str = ""
    times: int = 1
    shortened: bool = False


class Entry(Struct, frozen=True):
    role: str
    pieces: Sequence[Piece]


def entries(
    messages: Sequence[Message],
    attached: Attached,
    start: int = 0,
    *,
    compact_before: int = 0,
    shown: Shown | None = None,
) -> Iterator[Entry]:
    """From `messages[start:]`, whose files are added to `attached`. A result is named by the call that it answers,
    which may stand before `start`: by tool and arguments, since the model sees no ids. The results in
    `messages[:compact_before]` are shortened."""
    past = _Past()
    for at, message in enumerate(messages):
        pieces = list[Piece]()
        for part in message.parts:
            if at >= start:
                pieces += _pieces(part, past, attached, at < compact_before, shown)
            past.add(part)
        if at < start:
            continue
        if message.role == "user" and not any(piece.text.strip() for piece in pieces):
            pieces = [Piece(EMPTY)]
        yield Entry("instruction" if message.role == "system" else message.role, pieces)


def recent(messages: Sequence[Message]) -> int:
    """Where the last groups begin."""
    lengths = [len(list(run)) for _, run in groupby(messages, key=lambda message: message.role == "assistant")]
    return sum(lengths[:-RECENT_GROUPS])


class _Past:
    """What was called, and what came back lately."""

    def __init__(self) -> None:
        self._calls: dict[str, ToolCallPart] = {}  # some clients use the same ids again, so the last one counts
        self._returns = deque[object](maxlen=LATELY - 1)

    def add(self, part: Part) -> None:
        if type(part) is ToolCallPart:
            self._calls[part.id] = part
        elif type(part) is ToolResultPart and part.call_id in self._calls:
            self._returns.append(self._return(part))

    def name(self, result: ToolResultPart) -> str:
        call = self._calls.get(result.call_id)
        return f"{call.name} {in_short(call.arguments)}" if call else "an unknown call"

    def times(self, result: ToolResultPart) -> int:
        """This one counts."""
        return self._returns.count(self._return(result)) + 1 if result.call_id in self._calls else 1

    def _return(self, result: ToolResultPart) -> object:
        call = self._calls[result.call_id]
        return call.name, call.arguments, result.is_error, result.text, [file.identity for file in result.files]


def _pieces(part: Part, past: _Past, attached: Attached, compact: bool, shown: Shown | None) -> Iterator[Piece]:
    """One, or none for what is never sent."""
    if type(part) is TextPart:
        yield Piece(neutral(part.text))
    elif type(part) is FilePart:
        yield Piece(attached.told(part))
    elif type(part) is ToolCallPart:
        name, arguments = on_one_line(part.name), neutral(part.arguments)
        yield Piece(_written(shown, name, arguments)) if shown else Piece(arguments, "call", name)
    elif type(part) is ToolResultPart:
        text = neutral(part.text)
        shorter = _compacted(text) if compact else text
        name = on_one_line(past.name(part)) + (" (error)" if part.is_error else "")
        files = [attached.told(file, returned=True) for file in part.files]
        said = "\n".join(filter(None, [shorter, *files])) or "(no output)"
        yield Piece(said, "result of", name, past.times(part), shortened=shorter != text)


def _written(shown: Shown, name: str, arguments: str) -> str:
    written = shown(name, arguments)
    if "\\" in arguments and arguments.strip() not in written:
        # The form shows the values themselves, and with them what JSON's escapes had hidden.
        written = shown(name, neutral_within(arguments))
    return written


def _compacted(text: str) -> str:
    raw = text.encode()
    if len(raw) <= COMPACT_ABOVE:
        return text
    # A character that is cut in two goes.
    head, tail = (part.decode(errors="ignore") for part in (raw[:COMPACT_TO], raw[-COMPACT_TO:]))
    left_out = len(raw) - len(head.encode()) - len(tail.encode())
    return f"{head}\n[{left_out} bytes of this result are left out here]\n{tail}"
