"""Which files a message carries, and what its text says in the places where they stand.

A file is attached, and the text says so in a note that numbers it; or, being a short text, it is said itself, between
two lines that carry the nonce, so that nothing in it can be taken for anything else.
"""

from collections.abc import Iterable, Iterator

from qwen_gateway.history.canon import identity
from qwen_gateway.history.marks import in_short, line, neutral
from qwen_gateway.turn.files import FilePart
from qwen_gateway.turn.request import Message, ToolResultPart

SEE = "(see attachment)"
"""The words of a message that has none, beside its only file."""


class Attached:
    """The files of one message, each of them once, numbered from 1 as they come."""

    def __init__(self) -> None:
        self._numbered: dict[str, tuple[int, FilePart]] = {}

    @property
    def files(self) -> tuple[FilePart, ...]:
        return tuple(file for _, file in self._numbered.values())

    def told(self, file: FilePart, *, returned: bool = False) -> str:
        """What stands in the file's place. returned: by a tool. Raises ValueError for a file that was not looked at."""
        if file.text is not None:
            return _said(file.name, file.text)
        number, first = self._numbered.setdefault(identity(file), (len(self._numbered) + 1, file))
        name = _name(first.name)
        return f"({'see ' if returned else ''}attached {first.kind or 'file'} {number}{name and ': ' + name})"


def to_attach(messages: Iterable[Message]) -> Iterator[FilePart]:
    """All files of the messages that are not said themselves, in order, as often as they stand there."""
    for message in messages:
        for part in message.parts:
            files = (part,) if type(part) is FilePart else part.files if type(part) is ToolResultPart else ()
            yield from (file for file in files if file.text is None)


def _said(name: str, text: str) -> str:
    name = _name(name)
    heading = line(f'file "{name}"' if name else "file")
    return f"{heading}\n{neutral(text) or '(empty file)'}\n{line('end of file')}"


def _name(name: str) -> str:
    return in_short(neutral(name))
