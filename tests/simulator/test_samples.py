"""Made-up values fit what they are made up for."""

import json
from typing import Any

import jsonschema_rs
import pytest

from qwen_gateway.simulator.samples import sample
from qwen_gateway.simulator.signatures import arguments
from qwen_gateway.toolcall.signatures import signature

SCHEMAS: dict[str, dict[str, Any]] = {
    "all kinds": {
        "type": "object",
        "properties": {
            "s": {"type": "string"}, "n": {"type": "number"}, "i": {"type": "integer"}, "b": {"type": "boolean"},
            "z": {"type": "null"}, "l": {"type": "array", "items": {"type": "integer"}}, "o": {"type": "object"},
        },
        "required": ["s", "n", "i", "b", "z", "l", "o"],
        "additionalProperties": False,
    },
    "choices": {
        "type": "object",
        "properties": {
            "e": {"enum": ["x", "y"]}, "c": {"const": 7}, "a": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "t": {"type": ["string", "null"]}, "r": {"oneOf": [{"type": "boolean"}]},
        },
        "required": ["e", "c", "a", "t", "r"],
    },
    "bounds": {
        "type": "object",
        "properties": {
            "low": {"type": "integer", "minimum": 40}, "high": {"type": "integer", "maximum": -3},
            "above": {"type": "number", "exclusiveMinimum": 5}, "below": {"type": "number", "exclusiveMaximum": 0},
            "long": {"type": "string", "minLength": 30}, "short": {"type": "string", "maxLength": 2},
            "many": {"type": "array", "items": {"type": "string"}, "minItems": 3},
            "few": {"type": "array", "maxItems": 0},
        },
    },
    "parts": {
        "$defs": {"p": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}},
        "type": "object",
        "properties": {
            "p": {"$ref": "#/$defs/p"}, "l": {"type": "array", "items": {"$ref": "#/$defs/p"}},
            "a": {"allOf": [{"$ref": "#/$defs/p"}, {"properties": {"y": {"type": "string"}}, "required": ["y"]}]},
            "f": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
        },
    },
    "a tree": {
        "$defs": {"t": {"type": "object", "properties": {"n": {"type": "integer"}, "below": {"type": "array", "items": {
            "$ref": "#/$defs/t"}}}, "required": ["n", "below"]}},
        "$ref": "#/$defs/t",
    },
    "formats": {"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}},
    "a list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
    "a word": {"type": "string"},
    "anything": {},
}  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_a_sample_satisfies_its_schema(schema: dict[str, Any]) -> None:
    value = sample(schema)
    jsonschema_rs.validate(schema, value)
    assert value == sample(schema)


def test_optional_properties_are_shown_too() -> None:
    assert sample({"properties": {"a": {"type": "integer"}, "b": {}}}) == {"a": 1, "b": "simulated"}


def test_a_schema_that_cannot_be_satisfied_ends_somewhere() -> None:
    endless = {"$defs": {"t": {"type": "object", "properties": {"t": {"$ref": "#/$defs/t"}}, "required": ["t"]}}}
    assert json.dumps(sample(endless | {"$ref": "#/$defs/t"})).count("{") < 20
    assert sample({"$ref": "#"}) is None
    assert sample({"$ref": "#/nowhere"}) == "simulated"
    huge = sample({"type": "array", "minItems": 10**12, "items": {"type": "string", "minLength": 10**12}})
    assert isinstance(huge, list)
    assert len(huge) == len(huge[0]) == 1000


TOOLS: dict[str, dict[str, Any]] = {
    "all kinds": SCHEMAS["all kinds"],
    "choices": SCHEMAS["choices"],
    "nested": {
        "type": "object",
        "properties": {
            "edits": {"type": "array", "items": {"type": "object", "properties": {"old text": {"type": "string"}},
                      "required": ["old text"]}},
            "either": {"type": "array", "items": {"enum": ["a)", "b, c"]}},
            "pair": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2},
            "both": {"allOf": [{"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
                     {"type": "object", "properties": {"y": {"type": "string"}}, "required": ["y"]}]},
            "optional": {"type": "string"},
        },
        "required": ["edits", "either", "pair", "both"],
        "additionalProperties": {"type": "string"},
    },
    "none": {"type": "object", "properties": {}},
}  # fmt: skip


@pytest.mark.parametrize("parameters", TOOLS.values(), ids=TOOLS.keys())
def test_arguments_satisfy_the_schema_behind_the_signature(parameters: dict[str, Any]) -> None:
    members = signature("Tool", parameters).removeprefix("Tool(").removesuffix(")")
    given = arguments(members)
    jsonschema_rs.validate(parameters, given)
    assert set(given) == set(parameters.get("required", []))


@pytest.mark.parametrize("members", ["a", "a:", "a: {", "a: (string", ": string", "a: string b", "(" * 5000, "a?", "]"])
def test_a_signature_that_cannot_be_read_gives_no_arguments(members: str) -> None:
    assert arguments(members) == {}
