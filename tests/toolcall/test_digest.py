"""Lists of tools and calls: when they are the same."""

import pytest

from qwen_gateway.toolcall.digest import call_key, canonical, tools_hash
from qwen_gateway.toolcall.pieces import Tool

A = Tool("a", "does a", {"type": "object", "properties": {"x": {"type": "string"}, "y": {}}})
B = Tool("b", "does b", {})


def test_the_order_of_keys_does_not_matter() -> None:
    other = Tool("a", "does a", {"properties": {"y": {}, "x": {"type": "string"}}, "type": "object"})
    assert tools_hash([other]) == tools_hash([A])


def test_the_mark_for_caching_does_not_matter() -> None:
    marked = Tool("b", "does b", {"cache_control": {"type": "ephemeral"}})
    assert canonical([marked]) == canonical([B])


def test_an_argument_that_is_called_like_that_mark_matters() -> None:
    named = Tool("b", "does b", {"properties": {"cache_control": {}}})
    assert canonical([named]) != canonical([Tool("b", "does b", {"properties": {}})])


@pytest.mark.parametrize(
    "other",
    [
        [B, A],
        [A],
        [A, Tool("b", "does c", {})],
        [A, Tool("c", "does b", {})],
        [A, Tool("b", "does b", {}, strict=True)],
        [A, Tool("b", "does b", {"type": "object"})],
    ],
)
def test_a52_any_change_of_the_list_is_another_list(other: list[Tool]) -> None:
    assert tools_hash(other) != tools_hash([A, B])


def test_the_hash_stays_from_version_to_version() -> None:
    """It is stored with conversations: another one would send every list again."""
    assert canonical([A]) == (
        b'[{"description":"does a","name":"a","parameters":{"properties":{"x":{"type":"string"},"y":{}},'
        b'"type":"object"},"strict":false}]'
    )


def test_lone_surrogates_have_a_digest() -> None:
    assert tools_hash([Tool("a", "\ud83d", {})]) != tools_hash([Tool("a", "", {})])


def test_calls_are_the_same_whatever_their_spacing_and_order() -> None:
    assert call_key("a", '{"x": 1, "y": "é"}') == call_key("a", '{"y":"\\u00e9","x":1}')
    assert call_key("a", "{}") != call_key("b", "{}")
    assert call_key("a", '{"x":1}') != call_key("a", '{"x":"1"}')
    assert call_key("a", '{"x"') == call_key("a", '{"x"')
    assert call_key("a", '"\ud83d') != call_key("a", "")
