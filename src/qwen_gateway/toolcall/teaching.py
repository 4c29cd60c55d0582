"""The list of tools as the model reads it: for each its signature, its description, and what is to be said of its
arguments.

Descriptions are never rewritten or cut. A list that is too long loses the descriptions of nested arguments, and says so
itself. One that is too long even then is not written at all: no more of it is built than shows that.

20 tools of a coding program, 49 KB: 11.8 k tokens as schemas, 9.6 k so, 0.9 k as signatures alone (2026-11-20).
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Literal

from msgspec import Struct

from qwen_gateway.toolcall.pieces import Tool
from qwen_gateway.toolcall.references import Room, Schema, inlined
from qwen_gateway.toolcall.signatures import signature, unsaid

BUDGET = 90_000
"""Bytes of UTF-8. A request near 128 KiB is stopped by the site's firewall."""
SHORT = 1_500
"""Bytes for the reminder of a later turn."""

Left = Literal["nothing", "nested", "descriptions"]

_NESTED_LEFT = "(Descriptions of nested arguments are left out of this list.)"


class Listing(Struct, frozen=True):
    """left_out: of the text. `descriptions`: it cannot be written without leaving out those of the tools themselves,
    and `text` is empty."""

    text: str
    left_out: Left = "nothing"


def listing(tools: Sequence[Tool], budget: int = BUDGET) -> Listing:
    """The tools in the client's order, in at most `budget` bytes. Schemas as `schema.Schema` accepts."""
    plain = _Plains(tools)
    full = _joined((_entry(one, nested=True) for one in plain), "\n\n", budget)
    if full is not None:
        return Listing(full)
    short = _joined(chain((_entry(one, nested=False) for one in plain), [_NESTED_LEFT]), "\n\n", budget)
    return Listing("", "descriptions") if short is None else Listing(short, "nested")


def reminder(tools: Sequence[Tool], budget: int = SHORT) -> str:
    """Signatures if they fit into `budget` bytes, else names: for a turn whose conversation has the list already."""
    bare = _joined((signature(one.name, one.parameters) for one in _Plains(tools)), "; ", budget)
    return ", ".join(tool.name for tool in tools) if bare is None else bare


def _joined(parts: Iterable[str], between: str, budget: int) -> str | None:
    """`None` as soon as it is more than `budget` bytes."""
    found: list[str] = []
    left = budget + len(between)
    for part in parts:
        left -= _size(part) + len(between)
        if left < 0:
            return None
        found.append(part)
    return between.join(found)


class _Plain(Struct, frozen=True):
    name: str
    description: str
    parameters: Schema


class _Plains:
    """Tools without references in their schemas, each made once and when it is first met. One room for all."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = tools
        self._room = Room()
        self._made: list[_Plain] = []

    def __iter__(self) -> Iterator[_Plain]:
        for index, tool in enumerate(self._tools):
            if index == len(self._made):
                self._made.append(_Plain(tool.name, tool.description, inlined(tool.parameters, self._room)))
            yield self._made[index]


def _entry(tool: _Plain, *, nested: bool) -> str:
    lines = [signature(tool.name, tool.parameters), tool.description.strip()]
    properties = tool.parameters.get("properties")
    for name, schema in properties.items() if isinstance(properties, dict) else ():
        lines += _notes(name, schema, nested=nested)
    if rest := unsaid(tool.parameters):
        lines.append(f"- all arguments together: {_compact(rest, nested=nested)}")
    return "\n".join(filter(None, lines))


def _notes(name: str, schema: Any, *, nested: bool) -> Iterator[str]:
    """What there is to say of one argument, then of what is within it. Without `nested`: bounds, no descriptions."""
    if not isinstance(schema, dict):
        return
    if note := _note(schema, schema.get("description"), nested=nested):
        yield f"- {name}: {note}"
    for path, below in _within(name, schema):
        description = below.get("description") if nested else None
        if note := _note(below, description, nested=nested):
            yield f"- {path}: {note}"


def _note(schema: Schema, description: Any, *, nested: bool) -> str:
    said = description.strip() if isinstance(description, str) else ""
    rest = unsaid(schema)
    return " ".join(filter(None, [said, _compact(rest, nested=nested) if rest else ""]))


def _within(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    for name, one in _parts(schema):
        if isinstance(one, dict):
            yield path + name, one
            yield from _within(path + name, one)


def _parts(schema: Schema) -> Iterator[tuple[str, Any]]:
    properties, items, first = (schema.get(key) for key in ("properties", "items", "prefixItems"))
    if isinstance(properties, dict):
        yield from ((f".{name}", one) for name, one in properties.items())
    yield "[]", items
    for several in (items, first):
        yield from ((f"[{index}]", one) for index, one in enumerate(several if isinstance(several, list) else []))


def _compact(value: Any, *, nested: bool) -> str:
    return json.dumps(value if nested else _bare(value), ensure_ascii=False, separators=(",", ":"))


def _bare(schema: Any) -> Any:
    """A schema without the descriptions in it."""
    if isinstance(schema, list):
        return [_bare(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _bare_value(key, value) for key, value in schema.items() if key != "description"}


def _bare_value(key: str, value: Any) -> Any:
    if key in ("default", "enum", "const", "examples"):
        return value
    if key == "properties" and isinstance(value, dict):
        return {name: _bare(one) for name, one in value.items()}
    return _bare(value)


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))
