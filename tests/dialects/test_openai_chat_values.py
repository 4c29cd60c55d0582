"""Values of a body: read, or refused by the name of the parameter and the place in it."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec import Raw, Struct

from qwen_gateway.dialects.openai_chat_values import (
    converted,
    invalid,
    is_given,
    loose,
    refused,
    unknown_keys,
    unsupported,
    value,
)
from qwen_gateway.turn.faults import InvalidRequest

FIELDS = {"null": Raw(b"null"), "one": Raw(b"1"), "list": Raw(b'[1,"x"]'), "object": Raw(b'{"a":1}')}
NUMBERS = msgspec.json.Decoder(list[int])


class Inner(Struct):
    size: int


class Outer(Struct):
    inner: Inner


def fault(attempt: Callable[[], Any]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        attempt()
    return caught.value


def test_null_and_what_is_missing_are_not_given() -> None:
    assert [is_given(FIELDS, key) for key in ("one", "null", "missing")] == [True, False, False]
    assert [value(FIELDS, key, NUMBERS) for key in ("null", "missing")] == [None, None]
    assert [loose(FIELDS, key) for key in ("null", "missing", "object")] == [None, None, {"a": 1}]


def test_a_wrong_value_names_its_place() -> None:
    found = fault(lambda: value(FIELDS, "list", NUMBERS))
    assert (found.param, found.code) == ("list[1]", "invalid_value")
    assert found.text == "`list[1]`: Expected `int`, got `str`."
    assert fault(lambda: loose(FIELDS, "one")).param == "one"


def test_a_wrong_part_of_a_value_names_its_place() -> None:
    assert converted({"inner": {"size": 2}}, Outer, "x") == Outer(Inner(2))
    assert fault(lambda: converted({"inner": {"size": "2"}}, Outer, "x[3]")).param == "x[3].inner.size"
    assert fault(lambda: converted(None, Outer, "x[3]")).param == "x[3]"


def test_keys_that_nobody_knows_are_named_with_their_path() -> None:
    assert unknown_keys({"a": 1, "b": 2, "c": False, "d": None}, ("b",), "x[]") == ["x[].a", "x[].c"]


def test_refusals_say_what_they_are_about() -> None:
    assert (refused("n", "too many").text, refused("n", "too many").code) == ("`n`: too many.", "invalid_value")
    assert refused("n", "too many", "unsupported_value").code == "unsupported_value"
    found = unsupported("echo", "no echo")
    assert (found.text, found.param) == ("`echo` cannot be honoured: no echo.", "echo")
    assert found.code == "unsupported_parameter"
    assert invalid("x", ValueError("Bad - at `$.y[2]`")).param == "x.y[2]"
