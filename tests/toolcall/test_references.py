"""References within schemas, replaced by what they mean."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.toolcall.references import INNERMOST, Room, Schema, inlined, measure, subschemas


def count(schema: Any) -> int:
    if isinstance(schema, dict):
        return 1 + sum(map(count, schema.values()))
    return sum(map(count, schema)) if isinstance(schema, list) else 0


def test_references_become_what_they_refer_to_and_keep_what_stands_beside_them() -> None:
    schema = {
        "properties": {"a": {"$ref": "#/$defs/x", "description": "mine"}, "b": {"items": {"$ref": "#/definitions/y"}}},
        "$defs": {"x": {"type": "string", "description": "its"}},
        "definitions": {"y": {"$ref": "#/$defs/x"}},
    }
    assert inlined(schema) == {
        "properties": {
            "a": {"type": "string", "description": "mine"},
            "b": {"items": {"type": "string", "description": "its"}},
        }
    }


def test_a_reference_back_into_itself_becomes_an_object() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "name": {"type": "string"}}}
    plain = inlined({"$defs": {"node": node}, "properties": {"root": {"$ref": "#/$defs/node"}}})
    assert plain["properties"]["root"]["properties"] == {"next": {"type": "object"}, "name": {"type": "string"}}
    assert inlined({"properties": {"a": {"$ref": "#"}}})["properties"]["a"]["properties"]["a"] == {"type": "object"}


def test_names_with_slashes_and_tildes_are_found() -> None:
    assert inlined({"items": {"$ref": "#/$defs/a~1b~0c%20d"}, "$defs": {"a/b~c d": {"type": "null"}}}) == {
        "items": {"type": "null"}
    }


def test_a_schema_without_references_stays_as_it_is() -> None:
    schema = {"properties": {"$ref": {"type": "string"}, "a": {"enum": [{"$ref": "#"}], "default": {"$defs": 1}}}}
    assert inlined(schema) == schema


def test_inlining_ends_where_references_multiply_over_properties() -> None:
    definitions: dict[str, Any] = {"a0": {"type": "string"}}
    for level in range(1, 40):
        one = {"$ref": f"#/$defs/a{level - 1}"}
        definitions[f"a{level}"] = {"properties": {"x": one, "y": one, "z": one}}
    schema = {"$defs": definitions, "$ref": "#/$defs/a39"}
    measure(schema)
    assert count(inlined(schema)) < count(inlined(schema, Room(400_000))) < 60_000


def test_what_references_add_is_counted_by_its_size() -> None:
    """A long description that many refer to."""
    long_ = {"type": "string", "description": "x" * 1000}
    root = {"properties": {f"p{n}": {"$ref": "#/$defs/a"} for n in range(1000)}, "$defs": {"a": long_}}
    found = inlined(root)["properties"]
    assert 150 < sum(one == long_ for one in found.values()) < 200
    assert found["p999"] == {"type": "object"}
    assert len(json.dumps(found)) < 300_000


def test_several_schemas_share_a_room() -> None:
    root = {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"enum": ["x" * 80]}}}
    room = Room(150)
    assert inlined(root, room)["properties"]["a"] == {"enum": ["x" * 80]}
    assert inlined(root, room)["properties"]["a"] == {"type": "object"}
    assert inlined({"properties": {"a": {"enum": ["y" * 200]}}}, room)["properties"]["a"] == {"enum": ["y" * 200]}


def test_inlining_ends_where_references_go_ever_deeper() -> None:
    definitions: dict[str, Any] = {f"a{n}": {"properties": {"x": {"$ref": f"#/$defs/a{n + 1}"}}} for n in range(2000)}
    definitions["a2000"] = {"type": "string"}
    schema = {"$defs": definitions, "$ref": "#/$defs/a0"}
    measure(schema)
    assert count(inlined(schema)) <= 3 * INNERMOST


SCHEMAS: st.SearchStrategy[Schema] = st.recursive(
    st.sampled_from([{}, {"type": "string"}, {"$ref": "#"}, {"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}]),
    lambda inner: (
        st.dictionaries(st.sampled_from(["a", "$ref"]), inner, max_size=2).map(lambda named: {"properties": named})
        | st.lists(inner, min_size=1, max_size=2).map(lambda several: {"anyOf": several})
        | inner.map(lambda one: {"items": one})
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=300)
@given(SCHEMAS, SCHEMAS, SCHEMAS)
def test_no_reference_is_left_anywhere(schema: Schema, first: Schema, second: Schema) -> None:
    waiting = [inlined(schema | {"$defs": {"a": first, "b": second}})]
    while waiting:
        one = waiting.pop()
        assert "$ref" not in one
        assert "$defs" not in one
        waiting += [below for _, below in subschemas(one)]
