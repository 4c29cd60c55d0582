"""Form, end, length and number of answers."""

import pytest

from qwen_gateway.dialects.openai_chat_output import LONGEST_STOP, MOST_CHOICES, MOST_STOPS
from qwen_gateway.dialects.openai_chat_request import read
from qwen_gateway.turn.request import MaxOutput, OutputFormat

from .bodies import body, refused

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
DESCRIBED = {"description": "A place.", **SCHEMA}


def form(**described: object) -> dict[str, object]:
    return {"type": "json_schema", "json_schema": described}


FORMATS: dict[str, tuple[object, OutputFormat | None]] = {
    "text": ({"type": "text"}, None),
    "text, said in full": ({"type": "text", "json_schema": None}, None),
    "an object": ({"type": "json_object"}, OutputFormat("json_object")),
    "a schema": (form(name="place", schema=SCHEMA), OutputFormat("json_schema", SCHEMA)),
    "a strict schema": (form(name="p", strict=True, schema=SCHEMA), OutputFormat("json_schema", SCHEMA, strict=True)),
    "strict null": (form(name="p", strict=None, schema=SCHEMA), OutputFormat("json_schema", SCHEMA)),
    "any object": (form(name="p", schema={}), OutputFormat("json_schema", {})),
    "a description": (form(schema=SCHEMA, description="A place."), OutputFormat("json_schema", DESCRIBED)),
    "two descriptions": (form(schema=DESCRIBED, description="Not this."), OutputFormat("json_schema", DESCRIBED)),
}


@pytest.mark.parametrize(("given", "expected"), FORMATS.values(), ids=FORMATS.keys())
def test_forms_of_the_answer(given: object, expected: OutputFormat | None) -> None:
    found = read(body(response_format=given))
    assert (found.format, found.ignored) == (expected, ())


def test_keys_of_a_form_that_have_no_effect_are_named() -> None:
    given = {**form(name="p", schema=SCHEMA, x=1), "y": 2}
    assert read(body(response_format=given)).ignored == ("response_format.y", "response_format.json_schema.x")
    given = {"type": "json_object", "schema": SCHEMA}
    assert read(body(response_format=given)).ignored == ("response_format.schema",)


WRONG_FORMATS: dict[str, tuple[object, str]] = {
    "a word": ("json_object", "response_format"),
    "of no type": ({}, "response_format"),
    "of unknown type": ({"type": "grammar"}, "response_format.type"),
    "without a schema": ({"type": "json_schema"}, "response_format.json_schema"),
    "with a schema of nothing": (form(name="p"), "response_format.json_schema"),
    "with a schema that is none": (form(name="p", schema="x"), "response_format.json_schema.schema"),
    "with a schema of truth": (form(name="p", schema=True), "response_format.json_schema.schema"),
    "with an odd name": (form(name=1, schema={}), "response_format.json_schema.name"),
    "strict in words": (form(name="p", strict="yes", schema={}), "response_format.json_schema.strict"),
}


@pytest.mark.parametrize(("given", "param"), WRONG_FORMATS.values(), ids=WRONG_FORMATS.keys())
def test_a_form_that_cannot_be_read_is_refused(given: object, param: str) -> None:
    assert refused(body(response_format=given)) == (param, "invalid_value")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("END", ("END",)),
        (["a", "b", "c", "d"], ("a", "b", "c", "d")),
        ([], ()),
        ("\n", ("\n",)),
        (["x", "x"], ("x",) * 2),
    ],
)
def test_stop_sequences(given: object, expected: tuple[str, ...]) -> None:
    assert read(body(stop=given)).stop == expected


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ("", "stop"),
        (["a", ""], "stop[1]"),
        (["x"] * (MOST_STOPS + 1), "stop"),
        ("x" * (LONGEST_STOP + 1), "stop"),
        (["a", "x" * (LONGEST_STOP + 1)], "stop[1]"),
        (1, "stop"),
        ([1], "stop[0]"),
        ([None], "stop[0]"),
        ({}, "stop"),
    ],
)
def test_what_stops_nothing_is_refused(given: object, param: str) -> None:
    assert refused(body(stop=given)) == (param, "invalid_value")


def test_the_longest_stop_sequence() -> None:
    assert read(body(stop="x" * LONGEST_STOP)).stop == ("x" * LONGEST_STOP,)


def test_the_older_limit_is_of_what_is_seen_and_the_newer_of_everything() -> None:
    assert read(body(max_tokens=1)).max_output == MaxOutput(1, reasoning=False)
    assert read(body(max_completion_tokens=10**30)).max_output == MaxOutput(10**30, reasoning=True)
    assert read(body()).max_output is None
    assert read(body(max_tokens=9)).ignored == ()


def test_the_newer_limit_wins_and_the_other_is_named() -> None:
    found = read(body(max_tokens=5, max_completion_tokens=9))
    assert (found.max_output, found.ignored) == (MaxOutput(9, reasoning=True), ("max_tokens",))
    found = read(body(max_tokens=None, max_completion_tokens=9))
    assert (found.max_output, found.ignored) == (MaxOutput(9, reasoning=True), ())
    assert read(body(max_tokens=5, max_completion_tokens=None)).max_output == MaxOutput(5, reasoning=False)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("given", [0, -1, 1.5, "10", True, -(10**30)])
def test_a_limit_that_leaves_nothing_is_refused(name: str, given: object) -> None:
    assert refused(body(**{name: given})) == (name, "invalid_value")


@pytest.mark.parametrize("given", range(1, MOST_CHOICES + 1))
def test_some_answers_at_once(given: int) -> None:
    assert read(body(n=given)).choices == given


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (0, "unsupported_value"),
        (-1, "unsupported_value"),
        (MOST_CHOICES + 1, "unsupported_value"),
        (10**30, "unsupported_value"),
        (True, "invalid_value"),
        ("2", "invalid_value"),
        (1.5, "invalid_value"),
    ],
)
def test_other_numbers_of_answers_are_refused(given: object, code: str) -> None:
    assert refused(body(n=given)) == ("n", code)
