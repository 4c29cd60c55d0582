import json

import pytest
from tests.toolcall.answers import TOOLS

from qwen_gateway.toolcall.formats.others import LARGEST, Bare, Flower
from qwen_gateway.toolcall.markers import Markers

SCHEMAS = {one.name: one.parameters for one in TOOLS}


def flower(text: str) -> Flower:
    at_once, by_one = Flower(SCHEMAS.get, Markers("k7q2")), Flower(SCHEMAS.get, Markers("k7q2"))
    at_once.feed(text)
    for char in text:
        by_one.feed(char)
    at_once.finish()
    by_one.finish()
    assert (at_once.state, at_once.why, at_once.name, at_once.rest) == (
        by_one.state,
        by_one.why,
        by_one.name,
        by_one.rest,
    )
    return at_once


@pytest.mark.parametrize("end", ["", "\n✿RESULT✿: x", "\n✿FUNCTION✿: ping\n", "\n✿RETURN✿"])
def test_the_form_with_flowers(end: str) -> None:
    read = flower('✿FUNCTION✿: Bash\n✿ARGS✿: {"command": "echo "}" x"}' + end)
    assert (read.state, read.name, read.rest) == ("whole", "Bash", end)
    assert json.loads(read.take(doubtful=True)) == {"command": 'echo "}" x'}
    assert read.doubtful
    assert read.repairs == {"inner_quote"}
    assert read.ready == 0


def test_flowers_without_arguments() -> None:
    assert flower("✿FUNCTION✿: Bash\n").state == "cut"
    assert flower("✿FUNCTION✿: Bash\n✿ARGS✿: {").state == "cut"
    read = flower("✿FUNCTION✿: Bash\n" + "x" * 500)
    assert read.state == "broken"
    assert "near" in read.why
    assert (read.arguments, read.take(), read.rest, read.doubtful, read.repairs) == ("", "", "", False, set())


def bare(text: str) -> list[tuple[str, str]] | None:
    """`None`: it was no call before it ended."""
    at_once, by_one = Bare(SCHEMAS.get), Bare(SCHEMAS.get)
    may_be = at_once.feed(text)
    start = text.index("{") + 1
    fed = [by_one.feed(piece) for piece in (text[:start], *text[start:])]
    assert all(fed) == may_be
    assert at_once.text == by_one.text == text
    return at_once.calls() if may_be else None


CALL = '{"name": "Bash", "arguments": {"command":  "ls"}}'


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (CALL, '{"command":  "ls"}'),
        (f"\n{CALL}\n", '{"command":  "ls"}'),
        (f"```json\n{CALL}\n```\n", '{"command":  "ls"}'),
        ('{"arguments": {"a": 1}, "name": "Bash"}', '{"a": 1}'),
        ('{"name": "Bash"}', "{}"),
        (
            '{"tool_calls": [{"type": "function", "function": {"name": "Bash", "arguments": "{\\"a\\":1}"}}]}',
            '{"a": 1}',
        ),
        ('{"tool_calls": [{"name": "Bash", "arguments": ""}]}', "{}"),
        ('{"function": {"name": "Bash"}}', "{}"),
    ],
)
def test_calls_alone(text: str, arguments: str) -> None:
    assert bare(text) == [("Bash", arguments)]


@pytest.mark.parametrize("text", ['{"a": 1}', '{"name": "Bob"}', "{}", "{x", "{1", '{"name" = 1', '{"' + "a" * 30])
def test_what_is_soon_seen_to_be_something_else(text: str) -> None:
    assert bare(text) is None


NOT = [
    '{"name": "Bash"',
    '{"name": "Bash"} text',
    '{"tool_calls": [1]}',
    '{"tool_calls": []}',
    '{"tool_calls": {}}',
    CALL + CALL,
]
NOT += ['{"tool_calls": [{"name": "a", "arguments": [1]}]}', '{"tool_calls": [{"name": "a", "arguments": "x"}]}', "{"]
NOT += ['{"tool_calls": [{"name": 1}]}', '{"function": {"name": "Bash"}} x', '{"name": 1}', "{" + " " * 600]


@pytest.mark.parametrize("text", NOT)
def test_what_turns_out_to_be_something_else(text: str) -> None:
    assert not bare(text)


def test_it_does_not_grow_without_end() -> None:
    one = Bare(SCHEMAS.get)
    assert one.feed('{"tool_calls": [')
    assert one.feed("1," * 1000)
    assert not one.feed("1" * LARGEST)


def test_a_name_that_is_too_long() -> None:
    assert bare('{"name": "' + "x" * 600) is None
