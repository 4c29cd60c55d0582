"""Packs a conversation, or what is new of it, into the one message of text that the site takes.

A single user message without instructions and tools goes as it is. Everything else becomes `sections`. Also one
message alone, behind a list of tools: where it begins and ends must not be a guess. Plain sections cost 0.8 % more
tokens than bare text, JSON lines 17.7 %, and role names in the text make the model play on (measured on a five-turn
conversation about code, 2026-11-20).

Files are attached to the message, and a note stands in the place of each; of a single one beside a text that goes as it
is, nothing needs to be said. What a chat has before the message, it has with its files (B27).

What is too large for the site becomes smaller in steps: go on in a chat instead of telling all anew (`plan`), shorten
old results (`whole(compact=True)`), attach short texts of files instead of saying them (`inlined`), attach the oldest
entries as a document (`offloaded`).
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from qwen_gateway.history.attached import Attached, to_attach
from qwen_gateway.history.entries import EMPTY, entries, recent
from qwen_gateway.history.marks import MARK, neutral
from qwen_gateway.history.oldest import offloaded
from qwen_gateway.history.sections import (
    GO_ON,
    NO_WORDS,
    QUOTED,
    REPEATED,
    TITLE,
    Document,
    Packed,
    ToolWords,
    instructions_section,
    packed,
    results_block,
    said,
    sections,
    split,
)
from qwen_gateway.turn.files import FilePart
from qwen_gateway.turn.request import Message, TextPart

__all__ = ["REPEATED", "Document", "Packed", "ToolWords", "catchup", "neutral", "offloaded", "onward", "whole"]

_SO_FAR = f"{TITLE} The {QUOTED} {GO_ON}"
_MEANWHILE = f"""\
## Conversation since then
Meanwhile the conversation went on as follows; this replaces whatever else you remember of it. The {QUOTED} {GO_ON}"""
_UPDATED = f"[Updated instructions {MARK} - they replace the earlier ones]\n%s\n[End of instructions {MARK}]"
_UPDATED_TOOLS = f"[Updated tools {MARK} - this list replaces all earlier lists]\n%s\n[End of tools {MARK}]"
_INSTRUCTION = f"[Instruction {MARK}]\n%s\n[End of instruction {MARK}]"


def whole(messages: Sequence[Message], *, key: bytes, compact: bool = False, words: ToolWords | None = None) -> Packed:
    """All of them, for a new chat. The same messages give the same text.

    key: of the conversation's first group (`chain.Chain.keys[0]`, or its root when there is none).
    """
    words, attached = words or NO_WORDS, Attached()
    instructions, rest = split(messages, attached)
    if not instructions and not words.lesson and _is_plain(rest):
        text = said(rest[0].parts, attached, alone=_is_alone(rest, attached))
        return packed([text, words.reminder, words.tail], key, attached)
    told = list(entries(rest, attached, compact_before=recent(rest) if compact else 0, shown=words.call))
    parts = [instructions_section(instructions), words.lesson]
    if told:
        parts += [_SO_FAR, sections(told)]
    return packed([*parts, words.reminder, words.tail], key, attached, told)


def onward(
    messages: Sequence[Message], start: int, *, key: bytes, resend: bool = False, words: ToolWords | None = None
) -> Packed:
    """`messages[start:]`, none of which is an assistant's, for a chat that has all before them.

    resend: with the leading instructions, since the chat knows others. A lesson means that it knows other tools.
    """
    words, attached = words or NO_WORDS, Attached()
    parts = _updated(messages, words, attached, resend=resend)
    alone = _is_alone(messages[start:], attached)
    told = entries(messages, attached, start)
    parts += results_block([piece for entry in told for piece in entry.pieces if piece.kind])
    parts += _said(messages[start:], attached, alone=alone)
    return packed([*(parts or [EMPTY]), words.reminder, words.tail], key, attached)


def catchup(
    messages: Sequence[Message], start: int, *, key: bytes, resend: bool = False, words: ToolWords | None = None
) -> Packed:
    """`messages[start:]` for a chat that has all before them and none of the answers among them."""
    words, attached = words or NO_WORDS, Attached()
    parts = _updated(messages, words, attached, resend=resend)
    parts += [_MEANWHILE, sections(list(entries(messages, attached, start, shown=words.call)))]
    return packed([*parts, words.reminder, words.tail], key, attached)


def _is_plain(messages: Sequence[Message]) -> bool:
    """One message of the user's, with nothing but text and files."""
    return (
        len(messages) == 1
        and messages[0].role == "user"
        and all(type(part) in (TextPart, FilePart) for part in messages[0].parts)
    )


def _is_alone(messages: Sequence[Message], attached: Attached) -> bool:
    """Whether nothing but one file of these messages is attached."""
    return not attached.files and len(list(to_attach(messages))) == 1


def _updated(messages: Sequence[Message], words: ToolWords, attached: Attached, *, resend: bool) -> list[str]:
    """What replaces what the chat knows."""
    parts = [_UPDATED % (split(messages, attached)[0] or "There are none any more.")] if resend else []
    if words.lesson:
        parts.append(_UPDATED_TOOLS % words.lesson)
    return parts


def _said(messages: Sequence[Message], attached: Attached, *, alone: bool) -> Iterator[str]:
    """The user's texts and files and the instructions between them, but for empty ones."""
    for by_system, run in groupby(messages, key=lambda message: message.role == "system"):
        if by_system:
            texts = (said(message.parts, attached) for message in run)
            yield from (_INSTRUCTION % text for text in texts if text.strip())
        else:
            parts = [part for message in run for part in message.parts]
            if (text := said(parts, attached, alone=alone)).strip():
                yield text
