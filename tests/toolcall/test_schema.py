"""Arguments against schemas: what is refused at which level, what is put right, and what a schema may be."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.toolcall.coercion import parsed
from qwen_gateway.toolcall.pieces import Level, Tool, Verdict
from qwen_gateway.toolcall.schema import Checks, Schema

BASH = Tool(
    "Bash",
    "Runs a command.",
    {
        "type": "object",
        "properties": {
            "command": {"type": "string"},
            "timeout": {"type": "integer", "minimum": 1},
            "background": {"type": "boolean"},
        },
        "required": ["command"],
    },
)
LIST = Tool("List", "", {"type": "object", "properties": {"path": {"type": "string"}}})
STRICT = Tool("Strict", "", BASH.parameters, strict=True)
FREE = Tool("Free", "", {"type": "object"})
CHECKS = Checks([BASH, LIST, STRICT, FREE])
ALL: tuple[Level, ...] = (1, 2, 3)


@pytest.mark.parametrize("level", ALL)
@pytest.mark.parametrize("arguments", ['{"command": "ls"}', '{ "timeout" : 3,"command":"a\\ud83db\u2028😀" }'])
def test_a60_arguments_that_fit_pass_as_they_were_written(arguments: str, level: Level) -> None:
    assert CHECKS("Bash", arguments, level) == Verdict(True, arguments)


def test_a23_a_name_in_another_case_is_checked_as_the_tool_that_it_means() -> None:
    assert CHECKS("bash", '{"command": "ls"}', 3).ok


@pytest.mark.parametrize("level", ALL)
def test_a25_an_invented_name_is_unknown(level: Level) -> None:
    assert CHECKS("Shell", "{}", level) == Verdict(False, "{}", "Shell", "unknown")


@pytest.mark.parametrize("level", ALL)
@pytest.mark.parametrize("arguments", ["", "  ", "null", '""', '"{}"', "{}"])
def test_a16_missing_arguments_are_an_empty_object_where_none_is_required(arguments: str, level: Level) -> None:
    verdict = CHECKS("List", arguments, level)
    assert verdict.ok
    assert verdict.arguments == "{}"


@pytest.mark.parametrize("level", ALL)
@pytest.mark.parametrize("arguments", ["", "null", "{}", '{"timeout": 1}'])
def test_a17_missing_arguments_that_are_required_are_told(arguments: str, level: Level) -> None:
    verdict = CHECKS("Bash", arguments, level)
    assert (verdict.ok, verdict.kind) == (False, "schema")
    assert '"command"' in verdict.why


def test_a15_arguments_written_as_text_are_decoded_once() -> None:
    assert CHECKS("Bash", json.dumps('{"command": "é"}'), 3) == Verdict(True, '{"command": "é"}')
    twice = json.dumps(json.dumps('{"command": "ls"}'))
    assert CHECKS("Bash", twice, 3).kind == "malformed"


@pytest.mark.parametrize("level", ALL)
@pytest.mark.parametrize("arguments", ['["ls"]', "3", '{"command": "ls"', '{"command": NaN}', '"ls"', "true"])
def test_a18_anything_but_an_object_is_malformed(arguments: str, level: Level) -> None:
    assert CHECKS("Bash", arguments, level).kind == "malformed"


@pytest.mark.parametrize("depth", [250, 990, 100_000])
def test_nesting_without_end_is_malformed(depth: int) -> None:
    assert CHECKS("Free", '{"a":' * depth + "1" + "}" * depth, 3).kind == "malformed"


def test_brackets_in_strings_are_no_nesting() -> None:
    assert CHECKS("Bash", json.dumps({"command": "[{" * 5_000 + '\\"' * 9}), 3).ok


def test_numbers_that_python_cannot_hold_are_malformed() -> None:
    assert CHECKS("Free", '{"a": 1e999}', 3).kind == "malformed"
    assert CHECKS("Free", '{"a": ' + "9" * 5000 + "}", 3).kind == "malformed"


def test_what_a_client_can_tell_the_model_itself_is_delivered_at_the_highest_level() -> None:
    assert CHECKS("Bash", '{"command": "ls", "timeout": 0, "other": 1}', 3).ok


def test_a_strict_tool_gets_only_what_validates() -> None:
    verdict = CHECKS("Strict", '{"command": "ls", "timeout": 0}', 3)
    assert (verdict.ok, verdict.kind) == (False, "schema")
    assert verdict.why.startswith("/timeout: ")
    assert CHECKS("Strict", '{"command": "ls", "timeout": 1}', 3).ok


@pytest.mark.parametrize(("level", "ok"), [(3, True), (2, False), (1, False)])
def test_without_the_nonce_required_arguments_must_not_be_null(level: Level, ok: bool) -> None:
    assert CHECKS("Bash", '{"command": null}', level).ok is ok


def test_null_that_the_schema_allows_is_a_value() -> None:
    nullable = Tool("T", "", {"properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]})
    assert Checks([nullable])("T", '{"a": null}', 1).ok


@pytest.mark.parametrize(("level", "ok"), [(3, True), (2, True), (1, False)])
def test_a12_a45_undeclared_arguments_are_refused_where_only_the_shape_speaks_for_a_call(
    level: Level, ok: bool
) -> None:
    verdict = CHECKS("Bash", '{"command": "ls", "k2": "w"}', level)
    assert verdict.ok is ok
    assert ok or verdict.why == "undeclared arguments: k2"


@pytest.mark.parametrize(
    ("schema", "ok"),
    [
        ({"type": "object"}, True),
        ({}, True),
        ({"type": "object", "properties": {}}, False),
        ({"type": "object", "properties": {}, "additionalProperties": True}, True),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, True),
        ({"properties": {"a": {}}, "additionalProperties": True}, False),
        ({"properties": {"a": {}}, "patternProperties": {"^k": {}}}, True),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"properties": {"k": {}}}}}, True),
        ({"properties": {"a": {}}, "anyOf": [{"properties": {"k": {}}}, {}]}, True),
    ],
)
def test_what_counts_as_declared(schema: dict[str, Any], ok: bool) -> None:
    assert Checks([Tool("T", "", schema)])("T", '{"k": 1}', 1).ok is ok


COERCIONS: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "integer": ({"type": "integer"}, "12", 12),
    "negative": ({"type": "integer"}, " -3 ", -3),
    "no integer": ({"type": "integer"}, "3.5", "3.5"),
    "leading zero": ({"type": "integer"}, "007", "007"),
    "number": ({"type": "number"}, "2.5", 2.5),
    "boolean": ({"type": "boolean"}, "True", True),
    "no boolean": ({"type": "boolean"}, "yes", "yes"),
    "string of a number": ({"type": "string"}, 5, "5"),
    "string of a boolean": ({"type": "string"}, True, "true"),
    "string of null": ({"type": "string"}, None, None),
    "string of an object": ({"type": "string"}, {"a": 1}, {"a": 1}),
    "object": ({"type": "object"}, '{"a": 1}', {"a": 1}),
    "no object": ({"type": "object"}, "[1]", "[1]"),
    "array": ({"type": "array"}, "[1, 2]", [1, 2]),
    "nullable": ({"type": ["integer", "null"]}, "1", 1),
    "nullable choice": ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "1", 1),
    "two types": ({"type": ["integer", "boolean"]}, "1", "1"),
    "choice": ({"anyOf": [{"type": "integer"}, {"type": "boolean"}]}, "1", "1"),
    "no better": ({"type": "string", "maxLength": 0}, 5, 5),
    "items": ({"type": "array", "items": {"type": "integer"}}, ["1", 2], [1, 2]),
    "deep": (
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "boolean"}}}},
        '{"a": "[\\"false\\"]"}',
        {"a": [False]},
    ),
    "other keys": ({"type": "object", "additionalProperties": {"type": "integer"}}, {"a": "1"}, {"a": 1}),
    "reference": ({"$ref": "#/properties/n"}, "1", 1),
    "longest": ({"type": "integer"}, "9" * 400, "9" * 400),
}


@pytest.mark.parametrize(("schema", "given", "expected"), COERCIONS.values(), ids=COERCIONS.keys())
def test_types_are_put_right_where_one_thing_can_be_meant(schema: dict[str, Any], given: Any, expected: Any) -> None:
    whole = Schema({"properties": {"v": schema, "n": {"type": "integer"}}})
    assert whole.coerced({"v": given}) == {"v": expected}


def test_arguments_that_were_put_right_are_written_anew_without_escaping_more() -> None:
    verdict = CHECKS("Bash", '{"command": "é\\ud83d", "timeout": "3"}', 3)
    assert verdict.arguments == '{"command": "\\u00e9\\ud83d", "timeout": 3}'
    assert CHECKS("Bash", '{"command": "é", "timeout": "3"}', 3).arguments == '{"command": "é", "timeout": 3}'


def test_forbidden_keys_are_taken_out_at_every_depth() -> None:
    closed: dict[str, Any] = {"type": "object", "properties": {"a": {}}, "additionalProperties": False}
    schema = Schema({"properties": {"x": {"type": "array", "items": closed}, "y": {}}})
    assert schema.pruned({"x": [{"a": 1, "b": 2}], "z": 3}) == {"x": [{"a": 1}], "z": 3}


def test_lone_surrogates_are_checked_like_other_text() -> None:
    schema = Schema({"properties": {"a": {"minLength": 2}}, "additionalProperties": False})
    found = schema.problems({"a": "\ud83d", "\udc00": 1})
    assert sorted(problem.keyword for problem in found) == ["additionalProperties", "minLength"]


def test_problems_quote_at_most_the_ends_of_a_long_value() -> None:
    problem = Schema({"type": "integer"}).problems("x" * 100_000)[0]
    assert len(problem.message) < 250
    assert str(problem).startswith("(whole value): ")


BAD_SCHEMAS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown type": ({"properties": {"a": {"type": "strin"}}}, "/properties/a/type: "),
    "no map": ({"properties": []}, "/properties: "),
    "pattern": ({"properties": {"a/b": {"pattern": "("}}}, "/properties/a~1b/pattern: "),
    "remote": ({"items": {"$ref": "https://example.com/x"}}, "/items/$ref: only references within"),
    "file": ({"$ref": "file:///etc/passwd"}, "/$ref: only references within"),
    "relative": ({"$ref": "other.json"}, "/$ref: only references within"),
    "dynamic": ({"$dynamicRef": "https://example.com/x"}, "/$dynamicRef: only references within"),
    "nowhere": ({"$ref": "#/$defs/a"}, "/$ref: '#/$defs/a' refers to nothing"),
    "too large": ({"enum": list(range(30_000))}, ": the schema is too large"),
}


@pytest.mark.parametrize(("schema", "told"), BAD_SCHEMAS.values(), ids=BAD_SCHEMAS.keys())
def test_a_schema_that_cannot_be_used_is_refused_with_its_place(schema: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 the text is compared below
        Checks([LIST, Tool("T", "", schema)])
    assert str(refused.value).startswith(f"tools[1].parameters{told}")


@pytest.mark.parametrize("depth", [60, 5_000, 100_000])
def test_a_schema_that_is_too_deep_is_refused(depth: int) -> None:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"properties": {"a": schema}}
    with pytest.raises(ValueError, match=r"^/properties/a/properties/a.*too deep"):
        Schema(schema)


def test_references_that_multiply_are_refused() -> None:
    definitions: dict[str, Any] = {"a0": {"type": "string"}}
    for level in range(1, 40):
        definitions[f"a{level}"] = {"allOf": [{"$ref": f"#/$defs/a{level - 1}"}] * 2}
    with pytest.raises(ValueError, match="multiply"):
        Schema({"$defs": definitions, "$ref": "#/$defs/a39"})


def test_references_by_name_without_end_are_refused() -> None:
    several = [{"$ref": "#here"}] * 200
    with pytest.raises(ValueError, match="references by name"):
        Schema({"$defs": {"x": {"$anchor": "here"}}, "anyOf": several})
    Schema({"$defs": {"here": {}}, "prefixItems": [{"$ref": "#/$defs/here"}, {"$ref": "#"}] * 200})


def test_references_in_a_row_without_end_are_refused() -> None:
    definitions: dict[str, Any] = {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(3000)}
    definitions["a3000"] = {}
    with pytest.raises(ValueError, match="in a row"):
        Schema({"$defs": definitions, "$ref": "#/$defs/a0"})


GOOD_SCHEMAS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "itself": {"properties": {"a": {"$ref": "#"}}},
    "older draft": {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]},
    "unknown draft": {"$schema": "https://example.com/draft", "type": "object"},
    "an argument called $ref": {"properties": {"$ref": {"type": "string"}}},
    "data that looks like a reference": {"properties": {"a": {"default": {"$ref": "https://example.com"}}}},
    "anchor": {"$defs": {"x": {"$anchor": "here"}}, "$ref": "#here"},
    "unknown keywords": {"properties": {"a": {"nullable": True, "format": "nothing"}}},
}


@pytest.mark.parametrize("schema", GOOD_SCHEMAS.values(), ids=GOOD_SCHEMAS.keys())
def test_schemas_that_programs_send_are_taken(schema: dict[str, Any]) -> None:
    assert Schema(schema).problems({}) == []


def test_a_pattern_that_takes_forever_ends() -> None:
    schema = Schema({"pattern": "^(?=(a+)+$)\\1(b|bb)+c$"})
    assert schema.problems("a" * 5000 + "b" * 60)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from(["string", "number", "integer", "boolean", "object", "array"])


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from("abc"), VALUES), st.dictionaries(st.sampled_from("abc"), TYPES))
def test_putting_right_never_makes_it_worse_and_is_done_once(value: dict[str, Any], types: dict[str, str]) -> None:
    schema = Schema({"properties": {name: {"type": kind} for name, kind in types.items()}})
    better = schema.coerced(value)
    assert len(schema.problems(better, 50)) <= len(schema.problems(value, 50))
    assert schema.coerced(better) == better
    if not schema.problems(value):
        assert better is value


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=5), st.booleans())
def test_valid_objects_pass_a_free_tool_unchanged(value: dict[str, Any], ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert CHECKS("Free", text, 1) == Verdict(True, text)
    assert parsed(text) == value
