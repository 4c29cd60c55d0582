"""Values of the wrong type that can only have been meant in one way, put right along a schema.

A number or truth value written as text, text written without quotes, an object or list written as text. Where a
schema allows several types nothing is touched, but for null beside one other type.
"""

import json
import math
import re
from typing import Any

from qwen_gateway.toolcall.references import Schema, target

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_INTEGER = re.compile(r"-?(0|[1-9]\d*)")
# Longer ones are not meant as numbers, and Python refuses to read them.
_LONGEST_NUMBER = 300
_DEEPEST = 200
_SURROGATE = re.compile("[\ud800-\udfff]")
_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def parsed(text: str) -> Any:
    """Strict JSON. Of keys that come twice the last counts. Raises ValueError, also for NaN and for nesting that
    nothing here could walk through."""
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if _depth_exceeds(text, _DEEPEST):
        raise ValueError("nested too deep")
    return value


def dumped(value: Any) -> str:
    """JSON text, characters as they are. A lone surrogate, which no encoding takes, stays an escape."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isascii() or not _SURROGATE.search(text) else json.dumps(value)


def coerced(value: Any, schema: Any, root: Schema) -> Any:
    """`value` with what is unambiguous put right. The same object where nothing is."""
    schema = _plain(schema, root)
    if schema is None:
        return value
    kind = _only_type(schema)
    if kind is not None:
        value = _typed(value, kind)
    if isinstance(value, dict):
        return _members(value, schema, root)
    if isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        return [coerced(one, items, root) for one in value]
    return value


def pruned(value: Any, schema: Any, root: Schema) -> Any:
    """`value` without the keys that `additionalProperties: false` forbids."""
    schema = _plain(schema, root)
    if schema is None:
        return value
    if isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        return [pruned(one, items, root) for one in value]
    known = schema.get("properties")
    if not isinstance(value, dict) or not isinstance(known, dict):
        return value
    closed = schema.get("additionalProperties") is False and not schema.get("patternProperties")
    return {key: pruned(one, known.get(key), root) for key, one in value.items() if key in known or not closed}


def _members(value: dict[str, Any], schema: Schema, root: Schema) -> dict[str, Any]:
    known, rest = schema.get("properties"), schema.get("additionalProperties")
    known = known if isinstance(known, dict) else {}
    return {key: coerced(one, known.get(key, rest), root) for key, one in value.items()}


def _plain(schema: Any, root: Schema) -> Schema | None:
    """What `schema` says where it only refers to another one, or allows null beside another one."""
    for _ in range(20):
        if not isinstance(schema, dict):
            return None
        if isinstance(reference := schema.get("$ref"), str):
            schema = target(root, reference)
            continue
        choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        if not choices or "type" in schema or "properties" in schema:
            return schema
        others = [one for one in choices if not (isinstance(one, dict) and one.get("type") == "null")]
        if len(others) != 1:
            return schema
        schema = others[0]
    return None


def _only_type(schema: Schema) -> str | None:
    kinds = schema.get("type")
    if isinstance(kinds, list):
        others = [kind for kind in kinds if kind != "null"]
        kinds = others[0] if len(others) == 1 else None
    return kinds if isinstance(kinds, str) else None


def _typed(value: Any, kind: str) -> Any:
    if kind == "string":
        return dumped(value) if isinstance(value, bool | int | float) else value
    if not isinstance(value, str):
        return value
    if kind in ("object", "array"):
        return _structure(value, dict if kind == "object" else list)
    if kind == "boolean":
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    shape = {"integer": _INTEGER, "number": _NUMBER}.get(kind)
    return value if shape is None else _number(value, shape)


def _number(text: str, shape: re.Pattern[str]) -> Any:
    digits = text.strip()
    if len(digits) > _LONGEST_NUMBER or not shape.fullmatch(digits):
        return text
    try:
        return parsed(digits)
    except ValueError:
        return text


def _structure(text: str, kind: type) -> Any:
    try:
        value = parsed(text)
    except ValueError:
        return text
    return value if isinstance(value, kind) else text


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _finite(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise ValueError(f"{digits[:40]} is too large a number")
    return number


def _depth_exceeds(text: str, most: int) -> bool:
    """For text that is JSON."""
    if text.count("{") + text.count("[") <= most:
        return False
    depth = 0
    for found in _BRACKET.finditer(text):
        if found[0] in "[{":
            depth += 1
            if depth > most:
                return True
        elif found[0] in "]}":
            depth -= 1
    return False
