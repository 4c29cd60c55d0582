"""Short text files that are said in the message itself, and how they are attached instead where it gets too long.

What a file is stays the same: the fingerprints of a conversation (`canon`) do not know which of the two ways it went.
"""

from collections.abc import Collection, Iterable

import msgspec
from msgspec import Struct, structs

from qwen_gateway.history.canon import identity
from qwen_gateway.history.marks import neutral
from qwen_gateway.turn.files import FilePart
from qwen_gateway.turn.request import Message, Part, ToolResultPart


class Inlined(Struct, frozen=True):
    """file: as it stands where it is said first. size: bytes that it takes as JSON, in all places together."""

    file: FilePart
    size: int


def inlined(messages: Iterable[Message]) -> list[Inlined]:
    """The files that are said in these messages, each once, the largest first. Raises ValueError for a file that was
    not looked at."""
    found: dict[str, Inlined] = {}
    for message in messages:
        for part in message.parts:
            for file in _files(part):
                if file.text is not None:
                    known = found.setdefault(identity(file), Inlined(file, 0))
                    size = len(msgspec.json.encode(neutral(file.text))) - len('""')
                    found[file.identity] = Inlined(known.file, known.size + size)
    return sorted(found.values(), key=lambda one: (-one.size, one.file.identity))


def attaching(messages: Iterable[Message], identities: Collection[str]) -> tuple[Message, ...]:
    """The same with these files to be attached, in every place where they stand."""
    return tuple(_attaching(message, identities) for message in messages)


def _attaching(message: Message, identities: Collection[str]) -> Message:
    if not any(_is_among(file, identities) for part in message.parts for file in _files(part)):
        return message
    return structs.replace(message, parts=tuple(_outside(part, identities) for part in message.parts))


def _outside(part: Part, identities: Collection[str]) -> Part:
    if type(part) is FilePart and _is_among(part, identities):
        return structs.replace(part, text=None)
    if type(part) is ToolResultPart and part.files:
        files = (structs.replace(file, text=None) if _is_among(file, identities) else file for file in part.files)
        return structs.replace(part, files=tuple(files))
    return part


def _is_among(file: FilePart, identities: Collection[str]) -> bool:
    return file.text is not None and file.identity in identities


def _files(part: Part) -> tuple[FilePart, ...]:
    return (part,) if type(part) is FilePart else part.files if type(part) is ToolResultPart else ()
