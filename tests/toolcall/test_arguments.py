"""The transducer: what is put right, what is refused, and that its output only ever grows."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toolcall.answers import NONCE, TOOLS

from qwen_gateway.toolcall.ahead import AHEAD
from qwen_gateway.toolcall.arguments import DEPTH, Arguments
from qwen_gateway.toolcall.markers import Markers

SCHEMAS = {one.name: one.parameters for one in TOOLS}


def reader(name: str | None = None) -> Arguments:
    return Arguments(SCHEMAS.get, Markers(NONCE).boundary, name=name)


def run(text: str, *, pieces: int = 0, name: str | None = None) -> Arguments:
    """Fed at once, and in pieces of one character: both must be alike, and what was taken must only have grown."""
    at_once, by_one = reader(name), reader(name)
    at_once.feed(text)
    at_once.finish()
    taken, ready = "", 0
    for start in range(0, len(text), pieces or 1):
        by_one.feed(text[start : start + (pieces or 1)])
        assert by_one.ready >= ready
        ready = by_one.ready
        taken += by_one.take()
    by_one.finish()
    taken += by_one.take(doubtful=True)
    for one in (at_once, by_one):
        assert (one.state, one.why, one.name, one.doubtful, one.repairs, one.rest, one.arguments, one.ready) == (
            by_one.state,
            by_one.why,
            by_one.name,
            by_one.doubtful,
            by_one.repairs,
            by_one.rest,
            by_one.arguments,
            by_one.ready,
        )
    assert taken == by_one.arguments
    return at_once


def bash(inside: str, after: str = "}}") -> str:
    return '{"name": "Bash", "arguments": {' + inside + after


REPAIRED: dict[str, tuple[str, dict[str, object], set[str]]] = {
    "nothing": (bash('"command": "ls"'), {"command": "ls"}, set()),
    "A10 raw line ends and tabs": (bash('"command": "a\n\tb\r\x01"'), {"command": "a\n\tb\r\x01"}, {"control"}),
    "A11 inner quotes": (
        bash('"command":"cd "/x" && echo "hi"","description":"d"'),
        {"command": 'cd "/x" && echo "hi"', "description": "d"},
        {"inner_quote"},
    ),
    "A12 JSON in a shell string, keys that the tool does not have": (
        bash("""\"command": "echo '{"k": "v", "k2": "w"}' | jq", "description": "d\""""),
        {"command": """echo '{"k": "v", "k2": "w"}' | jq""", "description": "d"},
        {"inner_quote"},
    ),
    "a JSON document as content": (
        '{"name": "Write", "arguments": {"file_path": "a", "content": "{"a": {"b": "c"}}"}}',
        {"file_path": "a", "content": '{"a": {"b": "c"}}'},
        {"inner_quote"},
    ),
    "brackets in quotes": (
        '{"name": "Write", "arguments": {"file_path": "f", "content": "x = "}}"\ny = "z""}}',
        {"file_path": "f", "content": 'x = "}}"\ny = "z"'},
        {"inner_quote", "control"},
    ),
    "inner quotes within a list of objects": (
        '{"name": "Edit", "arguments": {"edits": [{"old": "x", "new": "{"a": "x", "b": "y"}"}]}}',
        {"edits": [{"old": "x", "new": '{"a": "x", "b": "y"}'}]},
        {"inner_quote"},
    ),
    "pairs of inner quotes within a list": (
        '{"name": "Edit", "arguments": {"tags": ["say "hi" x", "b"]}}',
        {"tags": ['say "hi" x', "b"]},
        {"inner_quote"},
    ),
    "A13 a path of Windows": (
        bash(r'"command": "C:\Users\d \" \\ \u00e9"'),
        {"command": 'C:\\Users\\d " \\ é'},
        {"escape"},
    ),
    "a short unicode escape": (bash(r'"command": "\u12 x"'), {"command": r"\u12 x"}, {"escape"}),
    "a backslash at a line's end": (bash('"command": "a \\\n b"'), {"command": "a \\\n b"}, {"escape", "control"}),
    "A60 half a surrogate pair stays an escape": (bash(r'"command": "\ud83d"'), {"command": "\ud83d"}, set()),
    "A60 a line separator and an emoji": (bash('"command": "\u2028😀"'), {"command": "\u2028😀"}, set()),
    "trailing commas": (
        '{"name": "Edit", "arguments": {"tags": ["a", ], "size": 1, } , }',
        {"tags": ["a"], "size": 1},
        {"trailing_comma"},
    ),
    "keys without quotes": ('{name: "Bash", arguments: {command: "ls"}}', {"command": "ls"}, {"bare_key"}),
    "words of Python": (
        '{"name": "Read", "arguments": {"a": True, "b": False, "c": None}}',
        {"a": True, "b": False, "c": None},
        {"literal"},
    ),
    "A15 arguments as a string": (
        r'{"name": "Bash", "arguments": "{\"command\": \"a\\nb\"}"}',
        {"command": "a\nb"},
        {"string_arguments"},
    ),
    "arguments as a string without escapes": (
        '{"name": "Bash", "arguments": "{"command": "ls"}"}',
        {"command": "ls"},
        {"string_arguments", "inner_quote"},
    ),
    "arguments as an empty string": ('{"name": "ping", "arguments": ""}', {}, {"string_arguments"}),
    "A16 no arguments": ('{"name": "ping"}', {}, set()),
    "A16 arguments that are null": ('{"name": "ping", "arguments": null}', {}, set()),
    "another word for arguments": ('{"name": "ping", "parameters": {"a": 1.5e3}}', {"a": 1.5e3}, set()),
    "A19 arguments before the name": ('{"arguments": {"command": "ls"}, "name": "Bash"}', {"command": "ls"}, set()),
    "a name with an escape": (r'{"name": "Ba\u0073h", "arguments": {}}', {}, set()),
    "more keys in the envelope": ('{"id": [1, {"a": "b"}], "name": "ping", "arguments": {}}', {}, set()),
    "empty containers": ('{"name": "Edit", "arguments": {"edits": [], "a": {}}}', {"edits": [], "a": {}}, set()),
}


@pytest.mark.parametrize(("text", "expected", "repairs"), REPAIRED.values(), ids=REPAIRED.keys())
def test_what_is_put_right(text: str, expected: dict[str, object], repairs: set[str]) -> None:
    read = run(text)
    assert (read.state, read.rest) == ("whole", ""), read.why
    assert json.loads(read.arguments) == expected
    assert read.repairs == repairs
    assert read.doubtful == ("inner_quote" in repairs)


MISSING = {
    "A9 one brace": bash('"command": "ls"', "}"),
    "two braces behind a word": '{"name": "Read", "arguments": {"limit": 3',
    "two braces behind a string, our marker": bash('"command": "ls"', ""),
    "a bracket of a list": '{"name": "Edit", "arguments": {"tags": ["a"',
}


@pytest.mark.parametrize("text", MISSING.values(), ids=MISSING.keys())
def test_missing_brackets_are_added_in_front_of_a_closing_marker(text: str) -> None:
    read = run(text + "\n[END TOOL CALL k7q2] rest")
    assert read.state == "whole", read.why
    assert read.rest == "[END TOOL CALL k7q2] rest"
    assert read.repairs == {"missing_close"}
    assert isinstance(json.loads(read.arguments), dict)


@pytest.mark.parametrize("text", [*MISSING.values(), bash('"command": "echo ${x:-"')[:-1]])
def test_missing_brackets_at_the_end_of_the_answer_are_a_call_that_was_cut(text: str) -> None:
    assert run(text).state == "cut"


CUT = {
    "within a key": '{"name": "Bash", "argu',
    "within a string": bash('"command": "rm -rf /tmp', ""),
    "A14 within an escape": bash(r'"command": "\u12', ""),
    "behind a backslash": bash('"command": "\\', ""),
    "behind a quote": bash('"command": "ls"', ""),
    "within a number": '{"name": "Read", "arguments": {"limit": 3',
    "behind a comma": bash('"command": "ls",', ""),
    "before anything": "",
    "behind inner quotes": bash('"command": "say "hi', ""),
}


@pytest.mark.parametrize("text", CUT.values(), ids=CUT.keys())
def test_an_answer_that_ends_within_a_call(text: str) -> None:
    assert run(text).state == "cut"


BROKEN = {
    "A18 arguments as a list": '{"name": "Bash", "arguments": [1]}',
    "arguments as a number": '{"name": "Bash", "arguments": 1 }',
    "arguments as another word": '{"name": "Bash", "arguments": nothing }',
    "arguments as a word": '{"name": "Bash", "arguments": None1 }',
    "arguments as text that is no object": '{"name": "Bash", "arguments": "[1]"}',
    "arguments as a string in a string": r'{"name": "Bash", "arguments": "\"{}\""}',
    "a list": "[1]",
    "no name": '{"arguments": {}}',
    "a name that is a number": '{"name": 1, "arguments": {}}',
    "two names": '{"name": "a", "name": "b", "arguments": {}}',
    "arguments twice": '{"name": "a", "arguments": {}, "input": {}}',
    "a quote within the name": '{"name": "a"b", "arguments": {}}',
    "single quotes": "{'name': 'Bash'}",
    "a string that lacks its first quote": bash('"command": ls"'),
    "a comment": bash('"command": 1 // list'),
    "no comma": bash('"command": "ls" "description": "d"', "}}").replace('"ls" ', "1 "),
    "no colon": bash('"command" "ls"'),
    "the wrong bracket": '{"name": "Edit", "arguments": {"tags": [1}]}',
    "a number with a zero in front": '{"name": "Read", "arguments": {"limit": 03 }}',
    "a number like no other": '{"name": "Read", "arguments": {"limit": 1.2.3 }}',
    "not a number": '{"name": "Read", "arguments": {"limit": NaN }}',
    "too long a number": '{"name": "Read", "arguments": {"limit": ' + "1" * 1100 + " }}",
    "too deep": '{"name": "Edit", "arguments": {"tags": ' + "[" * DEPTH,
    "a bare key without a colon": '{name "Bash"',
    "two commas": '{"name": "Edit", "arguments": {"tags": [1,,2]}}',
    "A12 inner quotes without a schema": """{"name": "ping", "arguments": {"a": "echo '{"k": "v", "k2": "w"}'"}}""",
    "one inner quote within a list": '{"name": "Edit", "arguments": {"tags": ["say "hi", "b"]}}',
    "inner quotes whose keys are the tool's own": (
        '{"name": "Write", "arguments": {"content": "{"file_path": "x", "content": "y"}", "file_path": "a"}}'
        "\n[END TOOL CALL] "
    ),
    "inner quotes behind a key that came twice": bash('"command": "a", "command": "say "hi" x"'),
    "white space without end": bash('"command": "ls"' + " " * (AHEAD + 1), ""),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_refused(text: str) -> None:
    read = run(text)
    assert read.state == "broken"
    assert "near" in read.why


def test_a_key_that_comes_twice_is_no_harm_where_nothing_is_repaired() -> None:
    assert run(bash('"command": "a", "command": "b"')).arguments == '{"command": "a", "command": "b"}'


def test_a_complaint_shows_the_place() -> None:
    assert run('{"name": "Bash", "arguments": {"command": ls"}}').why == (
        'a word that is no value, near "ame\\": \\"Bash\\", \\"arguments\\": {\\"command\\": l"'
    )


def test_what_follows_a_call_is_left() -> None:
    assert run(bash('"command": "ls"') + "}\n[END").rest == "}\n[END"
    assert run('{"name":"ping"} text').rest == " text"


def test_arguments_alone_when_the_name_is_known() -> None:
    read = run('{"command": "echo "}" x"} \n✿RESULT✿', name="Bash")
    assert json.loads(read.arguments) == {"command": 'echo "}" x'}
    assert read.rest == " \n✿RESULT✿"
    assert run('{"any": {"thing": "x"}}', name="none").state == "whole"


def test_a_doubtful_call_is_ready_up_to_the_doubt() -> None:
    read = run(bash('"command": "say "hi" x"'))
    assert read.arguments[: read.ready] == '{"command": "say '
    assert read.take() == '{"command": "say '
    assert read.take(doubtful=True) == '\\"hi\\" x"}'


def test_arguments_in_front_of_their_name_are_not_ready_before_the_end() -> None:
    assert run('{"arguments": {"command": "ls"}, "name": "Bash"}').ready == 0


def test_keys_that_the_tool_does_not_have_are_no_harm_where_nothing_is_repaired() -> None:
    text = '{"x": "a", "y": ["b", "c"], "z": {"w": "d", "v": "e"}}'
    assert run('{"name": "Bash", "arguments": ' + text + "}").arguments == text


def test_little_text_is_kept_however_long_a_string_is() -> None:
    read = reader()
    read.feed('{"name": "Write", "arguments": {"content": "')
    for _ in range(2_000):
        read.feed('say \\"x\\", or\n')
        assert len(read._text) <= 8
    assert read.ready > 24_000


SAFE = st.text(st.characters(codec="utf-8"), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | SAFE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SAFE, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(SAFE, VALUES, max_size=4), st.sampled_from([None, 1, 2]), st.booleans(), st.integers(1, 20))
def test_valid_json_is_passed_on_as_it_is(
    given_: dict[str, object], indent: int | None, ascii_: bool, size: int
) -> None:
    text = json.dumps(given_, indent=indent, ensure_ascii=ascii_)
    for envelope in ('{"name": "Bash", "arguments": %s}', '{"input":%s,"name":"Bash"}'):
        read = run(envelope.replace("%s", text), pieces=size)
        assert (read.state, read.arguments, read.repairs) == ("whole", text, set()), read.why


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(['"', "{", "}", "[", "]", ",", ":", "\\", "\n", " ", "a", "1", "u12", "command"])))
def test_whatever_is_written_any_cut_gives_the_same_and_valid_json(pieces: list[str]) -> None:
    read = run(bash('"command": "' + "".join(pieces)) + "\n[END TOOL CALL k7q2]")
    if read.state == "whole":
        assert isinstance(json.loads(read.arguments), dict)
