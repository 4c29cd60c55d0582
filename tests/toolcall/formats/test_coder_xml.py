import json

import pytest
from tests.toolcall.answers import TOOLS

from qwen_gateway.toolcall.formats.coder_xml import Elements, Style

SCHEMAS = {one.name: one.parameters for one in TOOLS}


def run(text: str, style: Style = "function") -> Elements:
    at_once, by_one = Elements(SCHEMAS.get, style), Elements(SCHEMAS.get, style)
    at_once.feed(text)
    for char in text:
        by_one.feed(char)
        assert by_one.ready == 0
    assert (at_once.state, at_once.why, at_once.name, at_once.rest) == (
        by_one.state,
        by_one.why,
        by_one.name,
        by_one.rest,
    )
    at_once.finish()
    by_one.finish()
    assert (at_once.state, at_once.why, at_once.take()) == (by_one.state, by_one.why, by_one.take())
    assert at_once.take() == ""
    return at_once


def element(name: str, value: str) -> str:
    return f"<parameter={name}>\n{value}\n</parameter>\n"


READ = {
    "texts": ("Write", element("file_path", "/a") + element("content", "x\ny"), {"file_path": "/a", "content": "x\ny"}),
    "none": ("ping", "", {}),
    "types": ("Read", element("file_path", "3") + element("limit", "3"), {"file_path": "3", "limit": 3}),
    "tags within a value": (
        "Write",
        element("content", "<parameter=x>\n</parameter>\n</function\n</parameter> </tool"),
        {"content": "<parameter=x>\n</parameter>\n</function\n</parameter> </tool"},
    ),
    "on one line": ("Bash", "<parameter=command>ls</parameter>", {"command": "ls"}),
    "an empty value": ("Bash", element("command", ""), {"command": ""}),
    "white space without end": (
        "Bash",
        element("command", "</parameter>" + " " * 300),
        {"command": "</parameter>" + " " * 300},
    ),
}


@pytest.mark.parametrize(("name", "inside", "expected"), READ.values(), ids=READ.keys())
@pytest.mark.parametrize("closing", ["</function>", "</tool_call>"])
def test_what_is_read(name: str, inside: str, expected: dict[str, object], closing: str) -> None:
    read = run(f"<function={name}>\n{inside}{closing} rest")
    assert (read.state, read.name) == ("whole", name), read.why
    assert json.loads(read.arguments) == expected
    assert read.rest == (" rest" if closing == "</function>" else "</tool_call> rest")


def test_the_form_with_invoke() -> None:
    read = run('<invoke name="Bash">\n<parameter name="command" string="true">ls</parameter>\n</invoke>', "invoke")
    assert (read.state, json.loads(read.arguments)) == ("whole", {"command": "ls"})


@pytest.mark.parametrize(
    "text",
    ["<function=", "<function=Bash>", "<function=Bash><parameter=command>ls", "<function=Bash>" + element("a", "b")],
)
def test_an_answer_that_ends_within_a_call(text: str) -> None:
    assert run(text).state == "cut"


@pytest.mark.parametrize(
    "text",
    [
        "<function=>",
        "<function=" + "x" * 300,
        "<function=Bash>text</function>",
        "<function=Bash><x></function>",
        "<function=Bash>" + element("a", "1") + element("a", "2") + "</function>",
        "<function=Bash>" + " " * 300,
    ],
)
def test_what_is_refused(text: str) -> None:
    read = run(text)
    assert read.state == "broken"
    assert "near" in read.why


def test_little_is_kept() -> None:
    read = Elements(SCHEMAS.get, "function")
    read.feed("<function=Write><parameter=content>")
    for _ in range(500):
        read.feed("</parameter> </paramet")
        assert len(read._text) < 40
