"""The formats that are taught, and that a call which is written in one is read as what it was."""

import json
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toolcall.answers import NONCE, call, calls_of, read, tool

from qwen_gateway.toolcall.formats import bracket, hermes, raw
from qwen_gateway.toolcall.pieces import Level, Verdict

TAUGHT = [bracket, raw, hermes]
JSON: dict[str, Any] = {"type": ["object", "array", "null"]}
ANY = tool(
    "Any",
    count={"type": "integer"},
    share={"type": "number"},
    yes={"type": "boolean"},
    data=JSON,
    text={"type": "string"},
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    [
        "\n",
        "\na\n",
        "3",
        "null",
        "true",
        '"',
        "[ARG text]",
        "a\n[ARG text]\n",
        "[END TOOL CALL k7q2]",
        "\n[x]\n[",
        "\r\n",
        " ",
        "\\n",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT, lambda one: st.lists(one) | st.dictionaries(TEXT, one)
)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "count": st.integers(),
        "share": st.floats(allow_nan=False, allow_infinity=False),
        "yes": st.booleans(),
        "data": st.none() | st.lists(VALUES, max_size=3) | st.dictionaries(TEXT, VALUES, max_size=3),
        "text": TEXT,
    },
)


@pytest.mark.parametrize("form", TAUGHT, ids=lambda form: form.__name__.rpartition(".")[2])
@settings(deadline=None, max_examples=200)
@given(arguments=ARGUMENTS, size=st.integers(1, 40))
def test_a_call_is_read_as_it_was_written(form: ModuleType, arguments: dict[str, object], size: int) -> None:
    text = form.call(NONCE, "Any", json.dumps(arguments))
    out = read(*(text[start : start + size] for start in range(0, len(text), size)), tools=[ANY], check=ok)
    assert calls_of(out) == [("Any", arguments)]


def ok(name: str, arguments: str, level: Level) -> Verdict:
    return Verdict(True, arguments)


@pytest.mark.parametrize("form", TAUGHT)
def test_what_is_taught_is_what_is_read(form: ModuleType) -> None:
    lesson = form.teach("Any(text?: string)\nTakes anything.", NONCE)
    assert lesson.endswith("### Tool list\nAny(text?: string)\nTakes anything.")
    assert f"under [TOOL RESULTS {NONCE}]" in lesson
    example = lesson.split("each marker alone on its line:\n\n")[1].split("\n\nHow it works")[0]
    example = example.replace("tool name from the list", "Any")
    given = tool("Any", "argument", "another argument")
    names = [name for name, _ in calls_of(read(example, tools=[given], check=ok))]
    assert names == ["Any"]


@pytest.mark.parametrize("form", TAUGHT)
def test_the_reminder_and_the_form_show_the_marker(form: ModuleType) -> None:
    opening = form.call(NONCE, "Any", "{}").split("\n")[0].removesuffix(" Any")
    assert opening in form.anchor("Any()", NONCE)
    assert "Any()" in form.anchor("Any()", NONCE)
    assert opening in form.form(NONCE)


def test_the_bracket_form() -> None:
    assert bracket.call("k7q2", "Read", ' {"file_path": "/src/a.py"} ') == (
        '[TOOL CALL k7q2]\n{"name": "Read", "arguments": {"file_path": "/src/a.py"}}\n[END TOOL CALL]'
    )
    assert bracket.call("", "a", "") == '[TOOL CALL]\n{"name": "a", "arguments": {}}\n[END TOOL CALL]'
    assert "[TOOL CALL]" in bracket.anchor("", "")
    assert "under" not in bracket.teach("", "")
    assert bracket.form("") == "Use exactly [TOOL CALL] and [END TOOL CALL]."


def test_the_raw_form() -> None:
    assert raw.call("k7q2", "Write", '{"file_path": "/a", "content": "x\\ny", "n": [1]}') == (
        "[TOOL CALL k7q2] Write\n[ARG file_path]\n/a\n[ARG content]\nx\ny\n[ARG n]\n[1]\n[END TOOL CALL k7q2]"
    )
    assert raw.call("k7q2", "ping", "") == "[TOOL CALL k7q2] ping\n[END TOOL CALL k7q2]"


@pytest.mark.parametrize(
    "arguments", ['{"a": "x\\n[ARG b]"}', '{"a]": 1}', "[1]", "no JSON", '{"a": "[END TOOL CALL k7q2]"}']
)
def test_what_the_raw_form_cannot_hold_is_written_as_json(arguments: str) -> None:
    assert raw.call("k7q2", "Any", arguments) == bracket.call("k7q2", "Any", arguments)


def test_the_native_form() -> None:
    assert (
        hermes.call("k7q2", "Read", '{"a": 1}') == '<tool_call>\n{"name": "Read", "arguments": {"a": 1}}\n</tool_call>'
    )


def test_the_forms_may_be_mixed() -> None:
    text = (
        raw.call(NONCE, "ping", "{}")
        + "\n"
        + call("Bash", command="ls")
        + "\n"
        + hermes.call("", "Bash", '{"command": "a"}')
    )
    assert [name for name, _ in calls_of(read(text))] == ["ping", "Bash", "Bash"]


def test_without_a_nonce_the_raw_form_is_not_taught() -> None:
    assert raw.teach("x", "") == bracket.teach("x", "")
    assert raw.anchor("x", "") == bracket.anchor("x", "")
    assert raw.form("") == bracket.form("")
    assert raw.call("", "a", "{}") == bracket.call("", "a", "{}")
