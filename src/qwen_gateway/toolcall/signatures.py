"""Schemas as types, the way TypeScript writes them: a tenth of the tokens of the schema.

What a type cannot say (bounds, patterns, defaults) is `unsaid` and has to be told beside it.
"""

import json
import re
from typing import Any

from qwen_gateway.toolcall.references import Schema

_PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$]*")
_TYPES = frozenset({"string", "number", "integer", "boolean", "null", "object", "array"})
# Said by the type, or of no use to one who fills the value in.
_SAID = frozenset(
    {
        "type", "properties", "required", "items", "prefixItems", "enum", "const", "anyOf", "oneOf", "allOf",
        "additionalProperties", "description", "title", "$schema", "$comment", "cache_control", "strict",
    }
)  # fmt: skip
_COMPOSED = ("anyOf", "oneOf", "allOf")


def signature(name: str, parameters: Schema) -> str:
    """`Read(file_path: string, limit?: integer)`. Takes a schema without references."""
    return f"{name}({_members(parameters)})"


def type_of(schema: Any) -> str:
    """The type of a value that satisfies `schema`. `any` where none can be said."""
    if not isinstance(schema, dict):
        return "never" if schema is False else "any"
    if "const" in schema:
        return _literal(schema["const"])
    if isinstance(values := schema.get("enum"), list) and values:
        return " | ".join(map(_literal, values))
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return _union([_of_kind(kind, schema) for kind in kinds]) or "any"
    if isinstance(kinds, str):
        return _of_kind(kinds, schema)
    return _of_parts(schema)


def unsaid(schema: Any) -> Schema:
    """The keywords of `schema` that its type does not say. Those of properties and items count for themselves, and are
    not in it; of choices the whole is, when a part has more to say than its type."""
    if not isinstance(schema, dict):
        return {}
    found = {key: value for key, value in schema.items() if key not in _SAID}
    for key in _COMPOSED:
        parts = schema.get(key)
        if isinstance(parts, list) and any(_has_more(part) for part in parts):
            found[key] = parts
    if isinstance(rest := schema.get("additionalProperties"), dict) and _has_more(rest):
        found["additionalProperties"] = rest
    return found


def _has_more(schema: Any) -> bool:
    """Whether there is more to say of `schema`, at any depth, than its type."""
    if not isinstance(schema, dict):
        return False
    below = [schema.get("items"), *_list(schema.get("prefixItems"))]
    if isinstance(properties := schema.get("properties"), dict):
        below += properties.values()
    return bool(schema.get("description")) or bool(unsaid(schema)) or any(map(_has_more, below))


def _of_kind(kind: Any, schema: Schema) -> str:
    if kind == "object":
        members = _members(schema)
        return f"{{ {members} }}" if members else "object"
    if kind == "array":
        return _array(schema)
    return kind if kind in _TYPES else "any"


def _of_parts(schema: Schema) -> str:
    if isinstance(schema.get("properties"), dict):
        return _of_kind("object", schema)
    if "items" in schema or "prefixItems" in schema:
        return _array(schema)
    for key in ("anyOf", "oneOf"):
        if parts := _list(schema.get(key)):
            return _union([type_of(part) for part in parts])
    if parts := _list(schema.get("allOf")):
        types = [one for one in dict.fromkeys(map(_alone, parts)) if one != "any"]
        return " & ".join(types) or "any"
    return "any"


def _array(schema: Schema) -> str:
    items = schema.get("items")
    if fixed := _list(schema.get("prefixItems")) or _list(items):
        return f"[{', '.join(map(type_of, fixed))}]"
    return f"{_alone(items)}[]" if isinstance(items, dict) else "any[]"


def _alone(schema: Any) -> str:
    """A type that may stand within another one."""
    said = type_of(schema)
    choices = [schema.get(key) for key in ("enum", "type", *_COMPOSED)] if isinstance(schema, dict) else []
    return f"({said})" if any(len(_list(one)) > 1 for one in choices) else said


def _members(schema: Schema) -> str:
    properties, required, rest = (schema.get(key) for key in ("properties", "required", "additionalProperties"))
    known = properties if isinstance(properties, dict) else {}
    needed = required if isinstance(required, list) else []
    members = [f"{_key(name)}{'' if name in needed else '?'}: {type_of(one)}" for name, one in known.items()]
    if isinstance(rest, dict) or (rest is True and known):
        members.append(f"[key: string]: {type_of(rest)}")
    return ", ".join(members)


def _union(types: list[str]) -> str:
    return " | ".join(dict.fromkeys(types))


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) else _literal(name)


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
