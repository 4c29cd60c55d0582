"""Schemas as types."""

from typing import Any

import pytest

from qwen_gateway.toolcall.signatures import signature, type_of, unsaid

STRING: dict[str, Any] = {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        (STRING, "string"),
        ({"type": "integer"}, "integer"),
        ({}, "any"),
        (True, "any"),
        (False, "never"),
        ({"type": "unheard"}, "any"),
        ({"type": []}, "any"),
        ({"enum": ["a", 1, None]}, '"a" | 1 | null'),
        ({"const": "é"}, '"é"'),
        ({"type": ["string", "null"]}, "string | null"),
        ({"type": "array"}, "any[]"),
        ({"type": "array", "items": STRING}, "string[]"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, '("a" | "b")[]'),
        ({"type": "array", "prefixItems": [STRING, {"type": "null"}]}, "[string, null]"),
        ({"type": "array", "items": [STRING, STRING]}, "[string, string]"),
        ({"type": "object"}, "object"),
        ({"type": "object", "properties": {"a": STRING}, "required": ["a"]}, "{ a: string }"),
        ({"properties": {"a-b": STRING}}, '{ "a-b"?: string }'),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "{ [key: string]: number }"),
        ({"properties": {"a": STRING}, "additionalProperties": True}, "{ a?: string, [key: string]: any }"),
        ({"anyOf": [STRING, {"type": "null"}, STRING]}, "string | null"),
        ({"oneOf": [STRING, {"items": STRING}]}, "string | string[]"),
        ({"allOf": [{"properties": {"a": STRING}}, {"description": "x"}]}, "{ a?: string }"),
        ({"allOf": [{"anyOf": [STRING, {"type": "null"}]}, {"type": "object"}]}, "(string | null) & object"),
    ],
)
def test_types(schema: Any, written: str) -> None:
    assert type_of(schema) == written


def test_a_signature_marks_what_may_be_left_out() -> None:
    parameters = {"properties": {"path": STRING, "limit": {"type": "integer"}}, "required": ["path"]}
    assert signature("Read", parameters) == "Read(path: string, limit?: integer)"
    assert signature("Now", {}) == "Now()"


@pytest.mark.parametrize(
    ("schema", "left"),
    [
        (STRING, {}),
        ({"type": "string", "title": "T", "description": "d"}, {}),
        ({"type": "integer", "minimum": 1, "default": 3}, {"minimum": 1, "default": 3}),
        ({"properties": {"a": {"minimum": 1}}}, {}),
        ({"anyOf": [STRING, {"type": "null"}]}, {}),
        ({"anyOf": [{"type": "string", "pattern": "x"}]}, {"anyOf": [{"type": "string", "pattern": "x"}]}),
        ({"oneOf": [{"items": {"description": "d"}}]}, {"oneOf": [{"items": {"description": "d"}}]}),
        ({"additionalProperties": False}, {}),
        ({"additionalProperties": {"minimum": 1}}, {"additionalProperties": {"minimum": 1}}),
        ({"not": STRING}, {"not": STRING}),
        (True, {}),
    ],
)
def test_what_a_type_does_not_say_is_left(schema: Any, left: dict[str, Any]) -> None:
    assert unsaid(schema) == left
