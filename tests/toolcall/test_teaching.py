"""The list of tools in a prompt: whole, and shorter by rules when it is too long."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from qwen_gateway.toolcall.pieces import Tool
from qwen_gateway.toolcall.teaching import BUDGET, Listing, listing, reminder

WRITE_LIST = Tool(
    "TodoWrite",
    "Keeps a list of what is to be done.\n\nUse it often.",
    {
        "type": "object",
        "properties": {
            "todos": {
                "type": "array",
                "description": "The list",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {
                        "content": {"type": "string", "description": "What to do", "minLength": 1},
                        "status": {"enum": ["open", "done"]},
                        "description": {"type": "string", "description": "More of it"},
                    },
                    "required": ["content", "status"],
                },
            },
            "mode": {"oneOf": [{"type": "string", "description": "a name", "format": "x"}, {"type": "integer"}]},
        },
        "required": ["todos"],
    },
)
READ = Tool("Read", "Reads.", {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]})


def test_a_tool_has_its_signature_description_and_notes() -> None:
    assert listing([WRITE_LIST, READ]).text == (
        'TodoWrite(todos: { content: string, status: "open" | "done", description?: string }[],'
        " mode?: string | integer)\n"
        "Keeps a list of what is to be done.\n\nUse it often.\n"
        '- todos: The list {"minItems":1}\n'
        '- todos[].content: What to do {"minLength":1}\n'
        "- todos[].description: More of it\n"
        '- mode: {"oneOf":[{"type":"string","description":"a name","format":"x"},{"type":"integer"}]}\n'
        "\n"
        "Read(path: string)\nReads."
    )


def test_the_order_is_the_clients() -> None:
    text = listing([WRITE_LIST, READ]).text
    assert listing([READ, WRITE_LIST]).text != text
    assert text.index("TodoWrite(") < text.index("Read(")


def test_what_holds_for_all_arguments_together_is_said() -> None:
    tool = Tool("T", "", {"properties": {"a": {}}, "minProperties": 1})
    assert listing([tool]).text.endswith('- all arguments together: {"minProperties":1}')


def test_references_are_taught_as_what_they_mean() -> None:
    tool = Tool("T", "", {"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "integer"}}})
    assert listing([tool]).text == "T(a?: integer)"


def test_nested_descriptions_go_first_and_the_list_says_so() -> None:
    full = listing([WRITE_LIST, READ])
    short = listing([WRITE_LIST, READ], budget=len(full.text) - 1)
    assert (full.left_out, short.left_out) == ("nothing", "nested")
    assert "What to do" not in short.text
    assert "a name" not in short.text
    assert '- todos: The list {"minItems":1}' in short.text
    assert '- todos[].content: {"minLength":1}' in short.text
    assert '"format":"x"' in short.text
    assert "description?: string" in short.text
    assert short.text.endswith("(Descriptions of nested arguments are left out of this list.)")


def test_a_list_that_is_too_long_even_then_is_not_written() -> None:
    assert listing([WRITE_LIST, READ], budget=100) == Listing("", "descriptions")


def test_a_list_fits_to_the_byte() -> None:
    full = listing([WRITE_LIST, READ]).text
    assert listing([WRITE_LIST, READ], budget=len(full)).text == full
    short = listing([WRITE_LIST, READ], budget=len(full) - 1).text
    assert listing([WRITE_LIST, READ], budget=len(short)).text == short
    assert listing([WRITE_LIST, READ], budget=len(short) - 1).left_out == "descriptions"


def test_data_in_a_schema_keeps_its_own_descriptions() -> None:
    parameters = {"properties": {"a": {"default": {"description": "kept"}, "not": {"description": "gone" * 40}}}}
    short = listing([Tool("T", "", parameters)], budget=150)
    assert short.left_out == "nested"
    assert "kept" in short.text
    assert "gone" not in short.text


def many_tools(nested: int) -> list[Tool]:
    """25 tools with schemas of about 2.8 KB each."""
    item = {
        "type": "object",
        "properties": {
            f"field_{n}": {"type": "string", "description": "What this field is for. " * nested} for n in range(10)
        },
    }
    parameters: dict[str, Any] = {
        "type": "object",
        "properties": {"items": {"type": "array", "description": "All of them", "items": item}},
    }
    return [Tool(f"tool_{n}", "Does what its name says. " * 8, parameters) for n in range(25)]


@pytest.mark.parametrize(("nested", "left_out"), [(9, "nothing"), (20, "nested")])
def test_a53_25_tools_are_taught_within_the_budget(nested: int, left_out: str) -> None:
    tools = many_tools(nested)
    assert sum(len(json.dumps(tool.parameters)) for tool in tools) > 65_000
    taught = listing(tools)
    assert len(taught.text.encode()) <= BUDGET
    assert taught.left_out == left_out
    assert taught.text.count("Does what its name says. " * 7) == 25


def fan(name: str, below: str = "abcdefgh") -> Tool:
    """1.5 KB in which references multiply to 32,768 schemas."""
    levels: dict[str, Any] = {
        f"d{level}": {"type": "object", "properties": {key: {"$ref": f"#/$defs/d{level + 1}"} for key in below}}
        for level in range(5)
    }
    levels["d5"] = {"type": "string"}
    root = {"type": "object", "properties": {"r": {"$ref": "#/$defs/d0"}, "own": {"type": "integer"}}, "$defs": levels}
    return Tool(name, "", root)


def work(task: Callable[[], object]) -> int:
    """How many Python functions a task calls."""
    calls = 0

    def count(_frame: object, event: str, _of: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        task()
    finally:
        sys.setprofile(before)
    return calls


def test_references_that_multiply_are_followed_once_for_the_whole_list() -> None:
    one, many = [fan("t")], [fan(f"t{n}") for n in range(128)]
    assert work(lambda: listing(many)) < 3 * work(lambda: listing(one))
    assert work(lambda: reminder(many)) < 2 * work(lambda: reminder(one))


def test_the_shorter_list_follows_the_same_references() -> None:
    tool = fan("t")
    tool.parameters["properties"]["more"] = {"properties": {"x": {"description": "y" * 90}}}
    full = listing([tool]).text
    short = listing([tool], budget=len(full) - 1)
    assert short.left_out == "nested"
    assert short.text.splitlines()[0] == full.splitlines()[0]


def test_what_stands_in_a_schema_itself_is_taught_when_no_room_is_left_for_references() -> None:
    text = listing([fan("first"), fan("second")]).text
    assert text.splitlines()[-1] == "second(r?: object, own?: integer)"


def test_a_long_list_is_built_only_as_far_as_it_can_be_used() -> None:
    tools = [Tool(f"t{n}", "x" * 1000, {"properties": {f"p{k}": {"type": "string"} for k in range(20)}})
             for n in range(400)]  # fmt: skip
    assert listing(tools).left_out == "descriptions"
    assert work(lambda: listing(tools)) < 3 * work(lambda: listing(tools[:90]))
    assert work(lambda: reminder(tools)) < 3 * work(lambda: reminder(tools[:5]))


def test_the_budget_counts_bytes() -> None:
    tool = Tool("T", "说明" * 100, {})
    assert listing([tool], budget=500).left_out == "descriptions"
    assert listing([tool], budget=700).left_out == "nothing"


def test_a_later_turn_is_reminded_of_signatures_or_only_of_names() -> None:
    assert reminder([READ, Tool("Now", "", {})]) == "Read(path: string); Now()"
    assert reminder([READ, WRITE_LIST], budget=20) == "Read, TodoWrite"
