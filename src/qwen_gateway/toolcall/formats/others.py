"""Forms that models fall into on their own. Read only.

`✿FUNCTION✿: name` with `✿ARGS✿: {…}` (Qwen 1.5 and 2), and an answer that is nothing but the JSON of calls.
"""

import json
import re
from typing import Any

from qwen_gateway.toolcall.ahead import NEAR, near
from qwen_gateway.toolcall.arguments import ARGUMENTS, Arguments
from qwen_gateway.toolcall.markers import Markers
from qwen_gateway.toolcall.pieces import ReaderState, SchemaOf

LARGEST = 1024 * 1024

_FLOWER = re.compile(
    r"✿FUNCTION✿[ \t]*[:：][ \t]*([^\n✿]{1,256}?)[ \t]*\r?\n\s*✿ARGS✿[ \t]*[:：]\s*(?=\{)", re.IGNORECASE
)
_FLOWER_LONGEST = 400


class Flower:
    """A `Reader`. What it is fed begins with `✿FUNCTION✿`."""

    def __init__(self, schema_of: SchemaOf, markers: Markers) -> None:
        self.name: str | None = None
        self.ready = 0
        self._schema_of = schema_of
        self._markers = markers
        self._head = ""
        self._inner: Arguments | None = None
        self._failed = ""
        self._cut = False

    @property
    def state(self) -> ReaderState:
        if self._inner is not None:
            return self._inner.state
        return "broken" if self._failed else "cut" if self._cut else "open"

    @property
    def why(self) -> str:
        return self._inner.why if self._inner else self._failed

    @property
    def begun(self) -> bool:
        return self._inner is not None

    @property
    def doubtful(self) -> bool:
        return self._inner is not None and self._inner.doubtful

    @property
    def repairs(self) -> set[str]:
        return self._inner.repairs if self._inner else set()

    @property
    def rest(self) -> str:
        return self._inner.rest if self._inner else ""

    @property
    def arguments(self) -> str:
        return self._inner.arguments if self._inner else ""

    def take(self, *, doubtful: bool = False) -> str:
        return self._inner.take(doubtful=doubtful) if self._inner and self._inner.state == "whole" else ""

    def feed(self, text: str) -> None:
        if self._inner is not None:
            self._inner.feed(text)
            return
        self._head += text
        head = _FLOWER.match(self._head)
        if head and head.end() <= _FLOWER_LONGEST:
            self.name = head[1]
            self._inner = Arguments(self._schema_of, self._markers.boundary, name=self.name)
            self._inner.feed(self._head[head.end() :])
        elif len(self._head) > _FLOWER_LONGEST:
            self._failed = near("no arguments behind the name", self._head[_FLOWER_LONGEST - NEAR : _FLOWER_LONGEST])

    def finish(self) -> None:
        if self._inner is not None:
            self._inner.finish()
        else:
            self._cut = True


_FIRST_KEY = re.compile(r'\{\s*(?:"([A-Za-z_]{1,20})"\s*:|\Z|"[A-Za-z_]{0,20}"?\s*\Z)')
_NAME = re.compile(r'\{\s*"name"\s*:\s*"((?:[^"\\]|\\.){0,256})"')
_KEYS = frozenset({"name", "function", "tool_calls", "arguments", "parameters"})
_FENCE = re.compile(r"(?:`{3,}|~{3,})[\w-]*[ \t]*\r?\n")


class Bare:
    """An answer that may be nothing but calls as JSON: it is kept until it ends, or until it is surely something else.

    `feed` tells whether it still may be; `calls` gives what it was, as (name, arguments as JSON text).
    """

    def __init__(self, schema_of: SchemaOf) -> None:
        self._schema_of = schema_of
        self._length = 0
        self._start = ""
        self._is_sure = False
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def feed(self, text: str) -> bool:
        self._pieces.append(text)
        self._length += len(text)
        if self._length > LARGEST:
            return False
        if self._is_sure:
            return True
        self._start += text[: 1024 - len(self._start)]
        start = self._start[self._start.find("{") :]
        return self._may_be(start)

    def _may_be(self, start: str) -> bool:
        key = _FIRST_KEY.match(start)
        if not key:
            return False
        if key[1] is None:
            return len(start) < 512
        if key[1] not in _KEYS:
            return False
        name = _NAME.match(start)
        if name is None:
            self._is_sure = key[1] != "name" or len(start) >= 512
            return key[1] != "name" or len(start) < 512
        self._is_sure = True
        return self._schema_of(name[1]) is not None

    def calls(self) -> list[tuple[str, str]]:
        """Nothing: it is no calls."""
        text = self.text.strip()
        if fence := _FENCE.match(text):
            text = text[fence.end() :].rstrip(text[0]).rstrip()
        one = Arguments(self._schema_of, lambda *_: 0)
        one.feed(text)
        one.finish()
        if one.state == "whole" and not one.doubtful and one.name and not one.rest.strip():
            return [(one.name, one.arguments)]
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return []
        several = value.get("tool_calls") if isinstance(value, dict) else None
        listed = several if isinstance(several, list) else [value]
        calls = [_call(one) for one in listed]
        return [call for call in calls if call] if all(calls) else []


def _call(value: Any) -> tuple[str, str] | None:
    """A call as OpenAI's API writes it, with or without `function` around it."""
    if not isinstance(value, dict):
        return None
    inner = value.get("function", value)
    if not isinstance(inner, dict) or not isinstance(name := inner.get("name"), str):
        return None
    given: Any = next((inner[key] for key in sorted(ARGUMENTS) if key in inner), {})
    if isinstance(given, str):
        try:
            given = json.loads(given or "{}")
        except (ValueError, RecursionError):
            return None
    return (name, json.dumps(given, ensure_ascii=False)) if isinstance(given, dict) else None
