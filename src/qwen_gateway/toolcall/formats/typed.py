"""Values that were written raw, without JSON around them → JSON by the type that the tool's schema gives.

The first type that fits, in the order null, boolean, integer, number, array or object, text. What may only be text
stays text, whatever it looks like.
"""

import json
import re
from typing import Any

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,300})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,300})(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,3})?")


def property_of(schema: Any, name: str) -> Any:
    """The schema of one argument. `None`: the tool has none of that name."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties.get(name) if isinstance(properties, dict) else None


def types_of(schema: Any) -> frozenset[str]:
    """The JSON types that a schema allows. Empty: it does not say."""
    if not isinstance(schema, dict):
        return frozenset()
    kind = schema.get("type")
    if isinstance(kind, str):
        return frozenset({kind})
    if isinstance(kind, list):
        return frozenset(one for one in kind if isinstance(one, str))
    found: set[str] = set()
    for key in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(key) or ():
            found |= types_of(one)
    values = [*(schema.get("enum") or ()), *([schema["const"]] if "const" in schema else ())]
    return frozenset(found | {_type_of(value) for value in values})


def is_text(schema: Any) -> bool:
    """Only text is allowed, or nothing is said."""
    return types_of(schema) <= {"string"}


def as_json(value: str, schema: Any) -> str:
    """The JSON text of a raw value. What fits none of the types stays text: the check will refuse it."""
    types = types_of(schema)
    word = value.strip()
    if "null" in types and word.lower() == "null":
        return "null"
    if "boolean" in types and word.lower() in ("true", "false"):
        return word.lower()
    if ("integer" in types and _INTEGER.fullmatch(word)) or ("number" in types and _NUMBER.fullmatch(word)):
        return word
    if types & {"array", "object"}:
        try:
            read = json.loads(word)
        except (ValueError, RecursionError):
            read = None
        if isinstance(read, list | dict) and _type_of(read) in types:
            return word
    return f'"{escaped(value)}"'


def escaped(text: str) -> str:
    """As it stands within a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def _type_of(value: Any) -> str:
    return _TYPES.get(type(value), "null")
