"""Made-up values that satisfy a simple JSON Schema.

Here: the smallest value that fits; the texts say what they are. Not here: patterns, and parts of a schema that exclude
one another. The arguments of a tool come from its signature (`signatures`).
"""

TEXT = "simulated"

_DEEPEST = 12
_MOST = 1000
_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "email": "simulated@example.invalid",
    "uri": "https://example.com/simulated",
    "uuid": "00000000-0000-4000-8000-000000000000",
}

Schema = dict[str, object]


def sample(schema: object) -> object:
    """A value for a schema; for what is none (`true`), a text."""
    return _sample(schema, schema, 0)


def _sample(schema: object, root: object, depth: int) -> object:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return TEXT if depth <= _DEEPEST else None
    if isinstance(reference := schema.get("$ref"), str):
        return _sample(_target(reference, root), root, depth + 1)
    if values := _listed(schema, "enum") or [schema[key] for key in ("const",) if key in schema]:
        return values[0]
    if parts := _listed(schema, "anyOf") or _listed(schema, "oneOf"):
        return _sample(parts[0], root, depth + 1)
    if parts := _listed(schema, "allOf"):
        return _sample(_together(schema, parts, root), root, depth + 1)
    return _of_type(schema, root, depth)


def _listed(schema: Schema, key: str) -> list[object]:
    value = schema.get(key)
    return value if isinstance(value, list) else []


def _target(reference: str, root: object) -> object:
    place = root
    for key in reference.removeprefix("#").split("/")[1:]:
        place = place.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(place, dict) else None
    return place


def _together(schema: Schema, parts: list[object], root: object) -> Schema:
    """One schema instead of several that hold at once: their properties add up."""
    properties: Schema = {}
    required: list[object] = []
    whole: Schema = {}
    for part in [{key: value for key, value in schema.items() if key != "allOf"}, *parts]:
        found = _target(str(part["$ref"]), root) if isinstance(part, dict) and "$ref" in part else part
        if isinstance(found, dict):
            whole |= found
            properties |= found.get("properties") or {}
            required += found.get("required") or []
    return whole | ({"properties": properties, "required": required} if properties else {})


def _of_type(schema: Schema, root: object, depth: int) -> object:
    kind = schema.get("type")
    if isinstance(kind, list) and kind:
        kind = kind[0]
    if kind == "object" or (kind is None and "properties" in schema):
        return _object(schema, root, depth)
    if kind == "array" or (kind is None and "items" in schema):
        return _array(schema, root, depth)
    if kind in ("integer", "number"):
        return _between(schema)
    if kind == "boolean":
        return True
    return None if kind == "null" else _text(schema)


def _object(schema: Schema, root: object, depth: int) -> object:
    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    names = [str(name) for name in _listed(schema, "required")]
    if depth <= 1:
        # Further down only what must be there: a schema may contain itself.
        names += [name for name in known if name not in names]
    return {name: _sample(known.get(name), root, depth + 1) for name in names}


def _array(schema: Schema, root: object, depth: int) -> object:
    if depth > 2 * _DEEPEST // 3 or schema.get("maxItems") == 0:
        return []
    fixed = [_sample(one, root, depth + 1) for one in _listed(schema, "prefixItems")]
    lacking = max(1, min(int(_number(schema, "minItems", 0)), _MOST)) - len(fixed)
    return fixed + [_sample(schema.get("items"), root, depth + 1)] * lacking


def _between(schema: Schema) -> float:
    """1, or the bound that is nearest to it."""
    low = max(_number(schema, "minimum", float("-inf")), _number(schema, "exclusiveMinimum", float("-inf")) + 1)
    high = min(_number(schema, "maximum", float("inf")), _number(schema, "exclusiveMaximum", float("inf")) - 1)
    value = min(max(1.0, low), high)
    return int(value) if value.is_integer() else value


def _text(schema: Schema) -> str:
    text = _FORMATS.get(str(schema.get("format")), TEXT)
    text += "." * (min(int(_number(schema, "minLength", 0)), _MOST) - len(text))
    return text[: int(_number(schema, "maxLength", len(text)))]


def _number(schema: Schema, key: str, otherwise: float) -> float:
    value = schema.get(key)
    return float(value) if isinstance(value, int | float) else otherwise
