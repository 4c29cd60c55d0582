"""JSON out of answers: what is told, extracted, put right, asked for again and given up."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.shaping.structured import (
    Deliver,
    Fits,
    Misses,
    Refusal,
    Refuse,
    Retry,
    decide,
    hint,
    prompt,
    read,
)
from qwen_gateway.toolcall.schema import Schema
from qwen_gateway.turn.request import OutputFormat

PERSON = Schema(
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name"],
        "additionalProperties": False,
    }
)
NUMBER = Schema({"type": "integer"})


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '  {"a": 1}\n',
        '\ufeff{"a": 1}',
        '```json\n{"a": 1}\n```',
        '```\n{"a": 1}```',
        'Here you are:\n{"a": 1}',
        'Sure!\n```json\n{"a": 1}\n```\nAnything else?',
    ],
)
def test_an_object_is_found_with_little_around_it(text: str) -> None:
    assert read(text) == Fits('{"a": 1}')


def test_what_the_model_wrote_is_delivered_as_it_is() -> None:
    text = '{\n  "name": "é\\u00e9",\n  "age": 1e0\n}'
    assert read(text, PERSON) == Fits(text)


@pytest.mark.parametrize(
    "text", ["", "I cannot do that.", "x" * 300 + ' {"a": 1}', '{"a": 1', '{"a": NaN}', '{"a": 1e999}', "[1]", "3"]
)
def test_anything_else_is_no_object(text: str) -> None:
    assert isinstance(read(text), Misses)


def test_of_two_values_the_one_that_validates_is_taken() -> None:
    assert read('{"x": 1}\n{"name": "A"}', PERSON) == Fits('{"name": "A"}')
    misses = read('{"x": 1}\n{"name": 1, "y": 2}', PERSON)
    assert isinstance(misses, Misses)
    assert misses.json == '{"x":1}'


def test_scalars_are_values_where_the_schema_wants_one() -> None:
    assert read("3", NUMBER) == Fits("3")
    assert read("```\n3\n```", NUMBER) == Fits("3")
    assert read('"3"', NUMBER) == Fits("3")


def test_types_are_put_right_and_foreign_keys_taken_out_only_when_asked() -> None:
    assert read('{"name": "A", "age": "3"}', PERSON) == Fits('{"name":"A","age":3}')
    assert isinstance(read('{"name": "A", "x": 1}', PERSON), Misses)
    assert read('{"name": "A", "x": 1}', PERSON, prune=True) == Fits('{"name":"A"}')


def test_broken_json_goes_to_what_mends_it() -> None:
    def mend(text: str) -> str | None:
        return text + "}" if text.startswith("{") else None

    assert read('{"name": "A"', PERSON, mend=mend) == Fits('{"name": "A"}')
    assert isinstance(read('["name"', PERSON, mend=mend), Misses)
    assert isinstance(read('{"name": "A', PERSON, mend=mend), Misses)


@pytest.mark.parametrize(
    "text",
    [
        "````json\n{}\n````",
        "~~~\n{}\n~~~",
        "```\n{}\n````",
        "``` \t\n\n {} \n  ```",
        '```json\n{"a": "```"}\n```',
    ],
)
def test_a_fence_is_taken_off(text: str) -> None:
    outcome = read(text)
    assert isinstance(outcome, Fits)
    assert outcome.json in text.splitlines() or outcome.json == "{}"


@pytest.mark.parametrize("text", ["```\n{\n~~~", "```\n{\n``", "``\n{\n``", "```\n```", "```"])
def test_what_is_no_fence_is_none(text: str) -> None:
    assert isinstance(read(text), Misses)


_LARGE = 400_000
"""Characters. With quadratic time reading so many would take minutes; with linear time it is far below a second."""


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "' + '\\"' * (_LARGE // 2),
        '{"a": "' + '\\"' * (_LARGE // 2) + "\\",
        '{"a": "' + "\\" * _LARGE,
        '{"a": ' + '"x" ' * (_LARGE // 4),
        "{" + '"' * (_LARGE + 1),
        "[" * _LARGE,
        "{}" * (_LARGE // 2),
        "```\n" + " " * _LARGE + "x",
        "```\n" + "```   \n" * (_LARGE // 7) + "x",
        "```\n" + "\n" * _LARGE + "x",
        "`" * (_LARGE // 2) + "\n" + "`" * (_LARGE // 2 - 1),
        "```" + "-" * _LARGE,
        "x " * (_LARGE // 2),
    ],
    ids=range(13),
)
def test_what_is_no_json_is_read_in_linear_time(text: str) -> None:
    assert isinstance(read(text), Misses)


def test_nesting_without_end_is_a_miss() -> None:
    for depth in (300, 5_000, 100_000):
        assert isinstance(read('{"a":' * depth + "1" + "}" * depth, PERSON), Misses)


def test_what_is_wrong_names_the_place() -> None:
    misses = read('{"age": "x"}', PERSON)
    assert isinstance(misses, Misses)
    assert any(problem.startswith("/age: ") for problem in misses.problems)
    assert all(problem in hint(misses.problems) for problem in misses.problems)


def test_a_hint_has_five_problems_at_most() -> None:
    told = hint([f"/{n}: wrong" for n in range(9)])
    assert "/4:" in told
    assert "/5:" not in told


MISS = Misses(("/a: wrong",), '{"a":1}')
WORDS = Misses(("not valid JSON",), prose=True)


def test_an_answer_that_fits_is_delivered_whatever_was_tried() -> None:
    assert decide("{}", Fits("{}"), strict=True, tried=2) == Deliver("{}")


@pytest.mark.parametrize("tried", [0, 1])
def test_a_miss_is_asked_for_again_twice(tried: int) -> None:
    assert decide("", MISS, strict=False, tried=tried) == Retry(hint(MISS.problems))


def test_after_that_the_last_value_goes_out_with_a_mark_unless_strict() -> None:
    assert decide("", MISS, strict=False, tried=2) == Deliver('{"a":1}', invalid=True)
    assert decide("", MISS, strict=True, tried=2) == Refuse()
    assert decide("", MISS, strict=False, tried=0, time_left=False) == Deliver('{"a":1}', invalid=True)
    assert decide("{", Misses(("x",)), strict=False, tried=2) == Refuse()


@pytest.mark.parametrize(
    "words",
    [
        "I cannot help with that.",
        "Sorry,\nno.",
        "抱歉，我无法帮助您完成这个请求。",
        "申し訳ありませんが、お手伝いできません。",
        "ขออภัยฉันช่วยไม่ได้",
    ],
)
def test_words_instead_of_json_are_a_refusal(words: str) -> None:
    for strict in (True, False):
        assert decide(f"{words} ", read(words, PERSON), strict=strict, tried=2) == Refusal(words)


@pytest.mark.parametrize("text", ["", " ", "None", "3.", '{"name": "北京', "[北京]", '{"name": 北京}', "抱歉：{"])
def test_a_try_at_json_and_a_single_word_are_none(text: str) -> None:
    assert decide(text, read(text, PERSON), strict=True, tried=2) == Refuse()


def test_the_prompt_has_the_schema_and_says_the_format() -> None:
    told = prompt(OutputFormat("json_schema", {"type": "object"}))
    assert told.startswith("[Output format] Reply with one JSON value and nothing else")
    assert told.endswith('\n{"type":"object"}')
    assert "one JSON object" in prompt(OutputFormat("json_object"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4), st.sampled_from(["{}", "```json\n{}\n```", "So: {}."]))
def test_every_object_is_read_back(value: dict[str, object], around: str) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert read(around.replace("{}", text)) == Fits(text)
