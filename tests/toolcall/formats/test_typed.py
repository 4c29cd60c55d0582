import json
from typing import Any

import pytest

from qwen_gateway.toolcall.formats.typed import as_json, is_text, property_of, types_of

CASES: list[tuple[str, Any, Any]] = [
    ("3", {"type": "string"}, "3"),
    ("null", {"type": "string"}, "null"),
    ("3", {}, "3"),
    ("3", None, "3"),
    (" 3\n", {"type": "integer"}, 3),
    ("3.0", {"type": "integer"}, "3.0"),
    ("03", {"type": "integer"}, "03"),
    ("3.5e2", {"type": "number"}, 350.0),
    ("-3", {"type": "number"}, -3),
    ("NaN", {"type": "number"}, "NaN"),
    ("TRUE", {"type": "boolean"}, True),
    ("yes", {"type": "boolean"}, "yes"),
    ("Null", {"type": ["string", "null"]}, None),
    ("none", {"type": ["string", "null"]}, "none"),
    ("[1]", {"type": "array"}, [1]),
    ("[1]", {"type": "object"}, "[1]"),
    ("[1", {"type": "array"}, "[1"),
    ("[" * 100_000, {"type": "array"}, "[" * 100_000),
    ('{"a": 1}', {"anyOf": [{"type": "object"}, {"type": "string"}]}, {"a": 1}),
    ("3", {"oneOf": [{"type": "integer"}, {"type": "null"}]}, 3),
    ("2", {"enum": [1, 2]}, 2),
    ("a", {"enum": ["a", None]}, "a"),
    ("null", {"enum": ["a", None]}, None),
    ("true", {"const": True}, True),
]


@pytest.mark.parametrize(("value", "schema", "expected"), CASES)
def test_the_first_type_that_fits(value: str, schema: Any, expected: object) -> None:
    assert json.loads(as_json(value, schema)) == expected


def test_types() -> None:
    assert types_of({"type": ["string", 3]}) == {"string"}
    assert types_of({"enum": [1.5, [], {}, "a", True]}) == {"number", "array", "object", "string", "boolean"}
    assert is_text({})
    assert is_text({"enum": ["a"]})
    assert not is_text({"type": ["string", "null"]})


def test_properties() -> None:
    assert property_of({"properties": {"a": 1}}, "a") == 1
    assert property_of({"properties": {}}, "a") is None
    assert property_of({"properties": []}, "a") is None
    assert property_of(None, "a") is None
