"""The inside of a JSON Schema: where schemas stand in it, what its references mean, how large it is.

Only references within the schema are followed. Everything here is bounded, because schemas come from clients.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

DEEPEST = 100
"""Levels of JSON. A property takes two of them."""
LARGEST = 20_000
"""Values of all kinds in one schema."""
HEAVIEST = 50_000
"""Schemas that one value must be compared with, all references followed."""
ANCHORS = 100
"""References by a name instead of a place: each is a search through the schema."""
LONGEST = 100
"""Schemas for one value, each of which refers to the next."""
ROOMIEST = 200_000
"""Characters, about, that references may add to all the schemas of one list."""
INNERMOST = 50
"""How deep schemas stand in each other in an inlined one. References beyond become an object."""

Schema = dict[str, Any]
Path = tuple[str | int, ...]

_ONE = (
    "additionalProperties",
    "items",
    "additionalItems",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_LIST = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_MAP = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
# These hold for the very value that the schema around them is about, so they multiply.
_SAME_VALUE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")
_NODE = 8
"""Characters, about, that a schema takes at least."""
_NOT_INLINED = {"$ref", "$id", "$anchor", "$defs", "definitions"}


def subschemas(schema: Schema) -> Iterator[tuple[Path, Schema]]:
    """The schemas right below `schema`, with their way from it. Data (`enum`, `default`, …) is not looked into."""
    for key in _ONE:
        if isinstance(one := schema.get(key), dict):
            yield (key,), one
    for key in _LIST:
        if isinstance(several := schema.get(key), list):
            yield from (((key, index), one) for index, one in enumerate(several) if isinstance(one, dict))
    for key in _MAP:
        if isinstance(named := schema.get(key), dict):
            yield from (((key, name), one) for name, one in named.items() if isinstance(one, dict))


def pointer(path: Path) -> str:
    """A JSON pointer: `/properties/a~1b/0`."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def target(root: Schema, reference: str) -> Any:
    """What `#/…` or `#anchor` refers to. `None`: nothing, or nothing within `root`."""
    if reference == "#":
        return root
    if reference.startswith("#/"):
        return _at(root, [unquote(step).replace("~1", "/").replace("~0", "~") for step in reference[2:].split("/")])
    if reference.startswith("#"):
        return next((one for _, one in _walk(root) if reference[1:] in (one.get("$anchor"), one.get("$id"))), None)
    return None


def measure(root: Schema) -> None:
    """Raises ValueError, beginning with the place, when the schema is too deep, too large, too heavy to check values
    with, or refers to something outside of itself."""
    _bounded(root)
    targets = _Targets(root)
    references = [(path, key, schema[key]) for path, schema in _walk(root) for key in _REFERENCES if key in schema]
    if sum(isinstance(to, str) and not to.startswith("#/") and to != "#" for _, _, to in references) > ANCHORS:
        raise ValueError(f": more than {ANCHORS} references by name")
    for path, key, to in references:
        place = pointer((*path, key))
        if isinstance(to, str) and not to.startswith("#"):
            raise ValueError(f"{place}: only references within the schema (#…) are followed")
        if key == "$ref" and isinstance(to, str) and not isinstance(targets[to], dict | bool):
            raise ValueError(f"{place}: {to[:80]!r} refers to nothing")
    weights: dict[int, int] = {}
    for path, schema in _walk(root):
        if _weight(targets, schema, weights) > HEAVIEST:
            raise ValueError(f"{pointer(path)}: its references multiply to too many schemas")


class Room(Struct):
    """How many characters references may still add."""

    left: int = ROOMIEST


def inlined(root: Schema, room: Room | None = None) -> Schema:
    """`root` with every reference replaced by what it refers to. One that leads back into itself becomes an object,
    and so does what lies beyond INNERMOST, or what there is no `room` for: a list of tools has one room, and nothing
    that stands in a schema itself is charged to it. Needs a schema that `measure` accepts."""
    return _Inliner(root, Room() if room is None else room).inline(root)


class _Targets(dict[str, Any]):
    """What the references of one schema refer to, each looked for once."""

    def __init__(self, root: Schema) -> None:
        super().__init__()
        self._root = root

    def __missing__(self, reference: str) -> Any:
        self[reference] = found = target(self._root, reference)
        return found


class _Inliner:
    def __init__(self, root: Schema, room: Room) -> None:
        self._room = room
        self._targets = _Targets(root)
        self._sizes: dict[int, int] = {}
        self._open: list[str] = []
        self._depth = 0

    def inline(self, schema: Schema) -> Schema:
        if self._depth == INNERMOST or not self._has_room(schema):
            return {"type": "object"}
        self._depth += 1
        found = self._referred(schema.get("$ref"))
        for key, value in schema.items():
            if key not in _NOT_INLINED:
                found[key] = self._value(key, value)
        self._depth -= 1
        return found

    def _referred(self, reference: Any) -> Schema:
        if not isinstance(reference, str) or not isinstance(to := self._targets[reference], dict):
            return {}
        if reference in self._open:
            return {"type": "object"}
        self._open.append(reference)
        found = self.inline(to)
        self._open.pop()
        return found

    def _has_room(self, schema: Schema) -> bool:
        if not self._open:
            return True
        self._room.left -= self._size(schema)
        return self._room.left >= 0

    def _size(self, schema: Schema) -> int:
        """Of what stands in `schema` itself, and not in the schemas within it, which count when they are met."""
        size = self._sizes.get(id(schema))
        if size is None:
            size = self._sizes[id(schema)] = _NODE + sum(len(key) + _own(key, one) for key, one in schema.items())
        return size

    def _value(self, key: str, value: Any) -> Any:
        if key in _MAP and isinstance(value, dict):
            return {name: self.inline(one) if isinstance(one, dict) else one for name, one in value.items()}
        if key in _LIST and isinstance(value, list):
            return [self.inline(one) if isinstance(one, dict) else one for one in value]
        return self.inline(value) if key in _ONE and isinstance(value, dict) else value


def _own(key: str, value: Any) -> int:
    """Characters of a value, about, without those of schemas in it."""
    if (key in _ONE and isinstance(value, dict)) or key in ("$defs", "definitions"):
        return 0
    if key in _MAP and isinstance(value, dict):
        return sum(len(name) + (0 if isinstance(one, dict) else _NODE) for name, one in value.items())
    if key in _LIST and isinstance(value, list):
        return sum(0 if isinstance(one, dict) else _NODE for one in value)
    return len(json.dumps(value))


def _walk(root: Schema) -> Iterator[tuple[Path, Schema]]:
    waiting: list[tuple[Path, Schema]] = [((), root)]
    while waiting:
        path, schema = waiting.pop()
        yield path, schema
        waiting += [((*path, *step), one) for step, one in subschemas(schema)]


def _bounded(root: Schema) -> None:
    level: list[tuple[Path, Any]] = [((), root)]
    count = 0
    for _ in range(DEEPEST + 1):
        level = [((*path, key), one) for path, value in level for key, one in _items(value)]
        count += len(level)
        if count > LARGEST:
            raise ValueError(f": the schema is too large: more than {LARGEST} values")
        if not level:
            return
    raise ValueError(f"{pointer(level[0][0][:6])}/…: the schema is too deep: more than {DEEPEST} levels")


def _items(value: Any) -> list[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _at(value: Any, steps: list[str]) -> Any:
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _weight(targets: "_Targets", schema: Schema, weights: dict[int, int], depth: int = 0) -> int:
    """How many schemas one value is compared with by `schema`. A reference into itself counts once."""
    if (known := weights.get(id(schema))) is not None:
        return known
    if depth > LONGEST:
        raise ValueError(f": more than {LONGEST} schemas refer to one another in a row")
    weights[id(schema)] = 1
    parts = [one for (key, *_), one in subschemas(schema) if key in _SAME_VALUE]
    if isinstance(reference := schema.get("$ref"), str) and isinstance(to := targets[reference], dict):
        parts.append(to)
    weights[id(schema)] = weight = 1 + sum([_weight(targets, part, weights, depth + 1) for part in parts])
    return weight
