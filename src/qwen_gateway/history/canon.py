"""What a list of messages says, in one form for all ways of writing it.

Clients, and the protocols between them and us, change what means nothing: line ends, blanks at the end of a line, ids
of calls, the order of keys in arguments, whether two texts are two parts or two messages. Here such lists become equal,
and lists that say different things stay different: no case folding, no markdown, no collapsing of white space.

A conversation is instructions and *groups*: what came from the user's side between two answers (texts, files, results
of tools, later instructions, in order), and the answers. Two groups in a row never have the same role.
"""

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile
from typing import Literal

import msgspec
from msgspec import Struct

from qwen_gateway.turn.files import FilePart
from qwen_gateway.turn.places import StoredMessage
from qwen_gateway.turn.request import Message, TextPart, ToolCallPart, ToolResultPart


class Group(Struct, frozen=True):
    """A user's or an assistant's part of a conversation.

    canon: what it says, as bytes: equal for what says the same to a model, and different for all else. bare: of an
    answer all but its text; of a user's group the same as `canon`. text: an answer's words in canonical form; "" for a
    user's group. calls: how many an answer makes. start, end: it stands in `messages[start:end]`.
    """

    role: Literal["user", "assistant"]
    canon: bytes
    bare: bytes
    text: str = ""
    calls: int = 0
    start: int = 0
    end: int = 0


class Conversation(Struct, frozen=True):
    """instructions: the leading system messages as one canonical text, with their files behind it."""

    instructions: str
    groups: tuple[Group, ...]


def read(messages: Sequence[Message], volatile: Sequence[re.Pattern[str]] = ()) -> Conversation:
    """volatile: lines of the leading instructions in which one of these is found change with every request, and do not
    count. Raises ValueError for a file that was not looked at."""
    leading = list(takewhile(_is_system, messages))
    groups: list[Group] = []
    at, ids = len(leading), list[str]()
    for by_assistant, run in groupby(messages[at:], key=_is_assistant):
        said = tuple(run)
        start, at = at, at + len(said)
        if by_assistant:
            calls = [part for message in said for part in message.parts if type(part) is ToolCallPart]
            ids = [call.id for call in calls]
            texts = filter(None, (_without_reasoning(text_of(message)) for message in said))
            files = [part for message in said for part in message.parts if type(part) is FilePart]
            groups.append(_answer("\n".join(texts), calls, files, start, at))
        else:
            canon = b"".join(_items(said, ids))
            groups.append(Group("user", canon, canon, start=start, end=at))
    return Conversation(_instructions(leading, volatile), tuple(groups))


def answer(text: str, calls: Sequence[ToolCallPart] = ()) -> Group:
    """The group that a client will send back for an answer of ours."""
    return _answer(_without_reasoning(text), calls, (), 0, 0)


def spoken(text: str) -> str:
    """An answer's words in canonical form: without the reasoning that some clients keep in front of them."""
    return canonical(_without_reasoning(text))


def is_same(stored: StoredMessage, text: str) -> bool:
    """Whether the site holds exactly the answer `text` that the client was given."""
    return spoken(stored.text) == spoken(text)


def canonical(text: str) -> str:
    """`text` with lines that end in LF and not in blanks, without blank lines at either end, in Unicode's form NFC."""
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        text = _composed(text)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    # One character is looked for far faster than two, and most texts have no tab.
    if " \n" in text or ("\t" in text and "\t\n" in text):
        # Not by a pattern: a long run of blanks that does not end its line would take quadratic time.
        text = "\n".join([line.rstrip(" \t") for line in text.split("\n")])
    return text.strip(_BLANKS)


def text_of(message: Message) -> str:
    """A message's texts as they are sent to the model."""
    return "\n".join([part.text for part in message.parts if type(part) is TextPart])


def identity(file: FilePart) -> str:
    """What makes it this file and no other. Raises ValueError when it was not looked at."""
    if not file.identity:
        raise ValueError(f"the file at {file.param!r} has not been looked at")
    return file.identity


_BLANKS = " \t\n"
_MOST_MARKS = 100
# As clients keep reasoning in an answer's text: DeepSeek's and Qwen's own mark, and Open WebUI's.
_REASONING = re.compile(r'(?:\s*(?:<think>.*?</think>|<details type="reasoning"[^>]*>.*?</details>))+', re.DOTALL)


def _composed(text: str) -> str:
    """In form NFC, but for runs of marks that no language has: sorting one takes quadratic time, 7 s for 100,000."""
    runs = (len(list(run)) for is_mark, run in groupby(map(unicodedata.combining, text), key=bool) if is_mark)
    return text if max(runs, default=0) > _MOST_MARKS else unicodedata.normalize("NFC", text)


def _is_system(message: Message) -> bool:
    return message.role == "system"


def _is_assistant(message: Message) -> bool:
    return message.role == "assistant"


def _instructions(messages: Sequence[Message], volatile: Sequence[re.Pattern[str]]) -> str:
    text = canonical("\n\n".join(filter(None, map(text_of, messages))))
    files = [part for message in messages for part in message.parts if type(part) is FilePart]
    if volatile:
        lines = [line for line in text.split("\n") if not any(pattern.search(line) for pattern in volatile)]
        text = "\n".join(lines).strip(_BLANKS)
    return "\0".join([text, *map(identity, files)])


def _without_reasoning(text: str) -> str:
    found = _REASONING.match(text)
    return text[found.end() :].lstrip() if found else text


def _answer(text: str, calls: Sequence[ToolCallPart], files: Sequence[FilePart], start: int, end: int) -> Group:
    """files: which a client says that the answer had. None of ours has any, so it is then told as another answer."""
    text = canonical(text)
    bare = b"".join([*map(_file, files), *map(_call, calls)]) if files or calls else b""
    return Group("assistant", _item(b"text", text) + bare, bare, text, len(calls), start, end)


def _items(messages: Sequence[Message], ids: Sequence[str]) -> Iterator[bytes]:
    """What stands between two answers. Neighbouring texts are one item, however they are spread over messages.

    ids: of the calls that the answer before has made.
    """
    ordinals: _Ordinals | None = None
    texts: list[str] = []
    for message in messages:
        if message.role == "system":
            yield _flushed(texts)
            yield _item(b"instruction", canonical(text_of(message)))
            yield from (_file(part) for part in message.parts if type(part) is FilePart)
            continue
        for part in message.parts:
            if type(part) is TextPart:
                texts.append(part.text)
            elif type(part) is ToolResultPart:
                yield _flushed(texts)
                ordinals = ordinals or _Ordinals(ids)
                yield _result(ordinals.of(part.call_id), part.text)
                yield from (_file(file, b"returned file") for file in part.files)
            elif type(part) is FilePart:
                yield _flushed(texts)
                yield _file(part)
    yield _flushed(texts)


def _flushed(texts: list[str]) -> bytes:
    item = _item(b"text", canonical("\n".join(texts)))
    texts.clear()
    return item


class _Ordinals:
    """Which of an answer's calls a result belongs to, whatever ids a client or a bridge has given them."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._left: dict[str, list[int]] = {}
        for ordinal, one in enumerate(ids):
            self._left.setdefault(one, []).append(ordinal)

    def of(self, call_id: str) -> int:
        """-1 for none of them. Where calls share an id, its results are theirs in order, and the last one's after."""
        ordinals = self._left.get(call_id)
        if ordinals is None:
            return -1
        return ordinals.pop(0) if len(ordinals) > 1 else ordinals[0]


# Each item says what it is and how long it is, so that no text can look like another item.


def _item(kind: bytes, text: str) -> bytes:
    """Nothing for an empty text: it says nothing."""
    if not text:
        return b""
    raw = text.encode()
    return b"%b %d:%b" % (kind, len(raw), raw)


def _file(file: FilePart, kind: bytes = b"file") -> bytes:
    """Its bytes or its address alone: what it is called says nothing. A tool's file stands behind its result."""
    return _item(kind, identity(file))


def _result(ordinal: int, text: str) -> bytes:
    raw = canonical(text).encode()
    return b"result %d %d:%b" % (ordinal, len(raw), raw)


def _call(call: ToolCallPart) -> bytes:
    name, (kind, arguments) = call.name.encode(), _arguments(call.arguments)
    return b"call %d:%b%b %d:%b" % (len(name), name, kind, len(arguments), arguments)


def _number(text: str) -> int | float:
    """JavaScript writes 1.0 as 1, so whole numbers are one however they are written."""
    value = float(text)
    if math.isinf(value):
        raise ValueError("out of range")
    return int(value) if value.is_integer() else value


_json = msgspec.json.Decoder(float_hook=_number)


def _arguments(text: str) -> tuple[bytes, bytes]:
    """As JSON with sorted keys; as it is what is no JSON. No text at all is how some clients write no arguments."""
    try:
        return b"json", msgspec.json.encode(_json.decode(text.strip() or "{}"), order="sorted")
    except (msgspec.DecodeError, ValueError, RecursionError):
        return b"raw", text.encode()
