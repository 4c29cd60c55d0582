"""Tools and which of them are to be called, in both forms."""

from typing import Any

import pytest

from qwen_gateway.dialects.openai_chat_request import read
from qwen_gateway.dialects.openai_chat_tools import MOST_TOOLS
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.request import Tool, ToolChoice

from .bodies import body, refused

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
NO_ARGUMENTS = {"type": "object", "properties": {}}
READ = {"type": "function", "function": {"name": "Read", "description": "Reads a file.", "parameters": SCHEMA}}
WRITE = {"type": "function", "function": {"name": "Write", "parameters": SCHEMA}}
OLDER = {"name": "Read", "description": "Reads a file.", "parameters": SCHEMA}
CUSTOM = {"type": "custom", "custom": {"name": "apply_patch", "format": {"type": "text"}}}


def tool(**function: object) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **function}}


def one(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def allowed(*names: str, mode: str = "auto") -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [one(name) for name in names]}}


TOOLS: dict[str, tuple[dict[str, Any], Tool]] = {
    "all of it": (READ, Tool("Read", "Reads a file.", SCHEMA)),
    "without a description": (WRITE, Tool("Write", "", SCHEMA)),
    "description null": (tool(description=None, parameters=SCHEMA), Tool("f", "", SCHEMA)),
    "without parameters": (tool(), Tool("f", "", NO_ARGUMENTS)),
    "parameters null": (tool(parameters=None), Tool("f", "", NO_ARGUMENTS)),
    "parameters of anything": (tool(parameters={}), Tool("f", "", {})),
    "strict": (tool(strict=True), Tool("f", "", NO_ARGUMENTS, strict=True)),
    "not strict": (tool(strict=False), Tool("f", "", NO_ARGUMENTS)),
    "strict null": (tool(strict=None), Tool("f", "", NO_ARGUMENTS)),
    "without a type": ({"function": {"name": "f"}}, Tool("f", "", NO_ARGUMENTS)),
    "every letter of a name": (tool(name="aZ09_.:-"), Tool("aZ09_.:-", "", NO_ARGUMENTS)),
    "the longest name": (tool(name="x" * 128), Tool("x" * 128, "", NO_ARGUMENTS)),
}


@pytest.mark.parametrize(("given", "expected"), TOOLS.values(), ids=TOOLS.keys())
def test_tools(given: dict[str, Any], expected: Tool) -> None:
    found = read(body(tools=[given]))
    assert (found.tools, found.tool_choice, found.legacy_calls) == ((expected,), ToolChoice(), False)
    assert found.ignored == ()


def test_tools_stay_in_their_order_and_parameters_in_theirs() -> None:
    wide = {"type": "object", "properties": {"z": {}, "a": {"enum": [1.5, 10**20, None, "é"]}}}
    found = read(body(tools=[WRITE, READ, tool(parameters=wide)])).tools
    assert [tool.name for tool in found] == ["Write", "Read", "f"]
    assert list(found[2].parameters["properties"]) == ["z", "a"]
    assert found[2].parameters == wide


def test_keys_of_tools_that_have_no_effect_are_named_once() -> None:
    given = [{**tool(name=f"f{i}", odd=1), "cache_control": {"type": "ephemeral"}} for i in range(3)]
    assert read(body(tools=given)).ignored == ("tools[].cache_control", "tools[].function.odd")
    assert read(body(functions=[{**OLDER, "strict": True}])).ignored == ("functions[].strict",)


def test_functions_are_tools_of_a_client_that_knows_the_older_form() -> None:
    found = read(body(functions=[OLDER]))
    assert found.tools == (Tool("Read", "Reads a file.", SCHEMA),)
    assert found.legacy_calls
    # Its answers have room for one call.
    assert found.tool_choice == ToolChoice(parallel=False)


@pytest.mark.parametrize("tools", [{"tools": []}, {"tools": None}, {"functions": []}, {"tools": [], "functions": []}])
def test_empty_lists_are_no_tools(tools: dict[str, Any]) -> None:
    assert read(body(**tools)) == read(body())


@pytest.mark.parametrize("tools", [{"tools": []}, {"tools": None}])
def test_functions_count_beside_an_empty_list_of_tools(tools: dict[str, Any]) -> None:
    assert read(body(functions=[OLDER], **tools)).legacy_calls


CHOICES: dict[str, tuple[dict[str, Any], ToolChoice]] = {
    "auto": ({"tool_choice": "auto"}, ToolChoice()),
    "null": ({"tool_choice": None}, ToolChoice()),
    "none": ({"tool_choice": "none"}, ToolChoice("none")),
    "required": ({"tool_choice": "required"}, ToolChoice("required")),
    "a certain one": ({"tool_choice": one("Write")}, ToolChoice("required", ("Write",))),
    "some of them": ({"tool_choice": allowed("Write")}, ToolChoice("auto", ("Write",))),
    "one of some": (
        {"tool_choice": allowed("Write", "Read", mode="required")},
        ToolChoice("required", ("Write", "Read")),
    ),
    "some, named twice": ({"tool_choice": allowed("Read", "Read")}, ToolChoice("auto", ("Read",))),
    "several calls at once": ({"parallel_tool_calls": True}, ToolChoice()),
    "one call at once": ({"parallel_tool_calls": False}, ToolChoice(parallel=False)),
    "one call of a certain one": (
        {"tool_choice": one("Read"), "parallel_tool_calls": False},
        ToolChoice("required", ("Read",), parallel=False),
    ),
}


@pytest.mark.parametrize(("fields", "expected"), CHOICES.values(), ids=CHOICES.keys())
def test_choices(fields: dict[str, Any], expected: ToolChoice) -> None:
    found = read(body(tools=[READ, WRITE], **fields))
    assert (found.tool_choice, found.ignored) == (expected, ())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("auto", ToolChoice(parallel=False)),
        ("none", ToolChoice("none", parallel=False)),
        ({"name": "Read"}, ToolChoice("required", ("Read",), parallel=False)),
    ],
)
def test_choices_in_the_older_form(given: object, expected: ToolChoice) -> None:
    assert read(body(functions=[OLDER], function_call=given)).tool_choice == expected


def test_without_tools_nothing_is_to_be_called_and_one_may_say_so() -> None:
    assert read(body(tool_choice="none")).tool_choice == ToolChoice("none")
    found = read(body(function_call="none", parallel_tool_calls=True))
    assert (found.tools, found.tool_choice, found.legacy_calls) == ((), ToolChoice(), False)


NAMES = ["", "x" * 129, "a b", "ä", "a/b", "f\n", "$f"]
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    # name: fields, param, code
    **{
        f"name {name[:5]!r}": ({"tools": [READ, tool(name=name)]}, "tools[1].function.name", "invalid_value")
        for name in NAMES
    },
    **{
        f"older name {name[:5]!r}": ({"functions": [{"name": name}]}, "functions[0].name", "invalid_value")
        for name in NAMES
    },
    "no list": ({"tools": {}}, "tools", "invalid_value"),
    "a tool that is a word": ({"tools": ["x"]}, "tools[0]", "invalid_value"),
    "no function": ({"tools": [READ, {"type": "function"}]}, "tools[1].function", "invalid_value"),
    "a flat function": ({"tools": [{"type": "function", "name": "f"}]}, "tools[0].function", "invalid_value"),
    "no name": ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function", "invalid_value"),
    "a name that is none": ({"tools": [tool(name=1)]}, "tools[0].function.name", "invalid_value"),
    "a description that is none": ({"tools": [tool(description=1)]}, "tools[0].function.description", "invalid_value"),
    "parameters in a list": ({"tools": [tool(parameters=[])]}, "tools[0].function.parameters", "invalid_value"),
    "parameters as text": ({"tools": [tool(parameters="{}")]}, "tools[0].function.parameters", "invalid_value"),
    "parameters of truth": ({"tools": [tool(parameters=True)]}, "tools[0].function.parameters", "invalid_value"),
    "strict in words": ({"tools": [tool(strict="yes")]}, "tools[0].function.strict", "invalid_value"),
    "one name twice": ({"tools": [READ, WRITE, READ]}, "tools[2].function.name", "invalid_value"),
    "too many": ({"tools": [tool(name=f"f{i}") for i in range(MOST_TOOLS + 1)]}, "tools", "invalid_value"),
    "custom": ({"tools": [READ, CUSTOM]}, "tools[1].type", "unsupported_tool"),
    "the site's": ({"tools": [{"type": "web_search"}]}, "tools[0].type", "unsupported_tool"),
    "type null": ({"tools": [{**READ, "type": None}]}, "tools[0].type", "invalid_value"),
    "functions in no list": ({"functions": "x"}, "functions", "invalid_value"),
    "older parameters in a list": (
        {"functions": [{"name": "f", "parameters": []}]},
        "functions[0].parameters",
        "invalid_value",
    ),
    "one older name twice": ({"functions": [OLDER, OLDER]}, "functions[1].name", "invalid_value"),
    "both forms": ({"tools": [READ], "functions": [OLDER]}, "functions", "invalid_value"),
    "choice of no tools": ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
    "auto of no tools": ({"tools": [], "tool_choice": "auto"}, "tool_choice", "invalid_value"),
    "choice of a certain one of none": ({"tool_choice": one("Read")}, "tool_choice", "invalid_value"),
    "choice among functions": ({"functions": [OLDER], "tool_choice": "auto"}, "tool_choice", "invalid_value"),
    "older choice among tools": ({"tools": [READ], "function_call": "auto"}, "function_call", "invalid_value"),
    "older choice of none": ({"function_call": {"name": "Read"}}, "function_call", "invalid_value"),
    "choice unknown": ({"tools": [READ], "tool_choice": "any"}, "tool_choice", "invalid_value"),
    "choice of an unknown kind": (
        {"tools": [READ], "tool_choice": {"type": "mcp"}},
        "tool_choice.type",
        "invalid_value",
    ),
    "choice of a custom one": (
        {"tools": [READ], "tool_choice": {"type": "custom", "custom": {"name": "x"}}},
        "tool_choice.type",
        "invalid_value",
    ),
    "choice of a stranger": (
        {"tools": [READ], "tool_choice": one("read")},
        "tool_choice.function.name",
        "invalid_value",
    ),
    "choice of some strangers": (
        {"tools": [READ], "tool_choice": allowed("Read", "x")},
        "tool_choice.allowed_tools.tools[1].function.name",
        "invalid_value",
    ),
    "choice of an empty list": (
        {"tools": [READ], "tool_choice": allowed()},
        "tool_choice.allowed_tools.tools",
        "invalid_value",
    ),
    "allowed in an unknown way": (
        {"tools": [READ], "tool_choice": allowed("Read", mode="none")},
        "tool_choice.allowed_tools.mode",
        "invalid_value",
    ),
    "older choice of a stranger": (
        {"functions": [OLDER], "function_call": {"name": "x"}},
        "function_call.name",
        "invalid_value",
    ),
    "older choice that must be": (
        {"functions": [OLDER], "function_call": "required"},
        "function_call",
        "invalid_value",
    ),
    "parallel in words": ({"tools": [READ], "parallel_tool_calls": "no"}, "parallel_tool_calls", "invalid_value"),
}


@pytest.mark.parametrize(("fields", "param", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_faults_name_their_parameter(fields: dict[str, Any], param: str, code: str) -> None:
    assert refused(body(**fields)) == (param, code)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tools": [CUSTOM]}, "'apply_patch' is of type 'custom'"),
        ({"tools": [{"type": "custom", "name": "flat"}]}, "'flat' is of type 'custom'"),
        ({"tools": [{"type": "web_search_preview"}]}, "`enable_search`"),
        ({"tools": [READ, WRITE, READ]}, "'Read' is the name of another one, tools[0].function.name"),
        ({"tool_choice": "required"}, "`tools` is missing"),
        ({"tools": [], "tool_choice": "required"}, "`tools` is empty"),
        ({"tools": [READ], "tool_choice": one("Grep")}, "'Grep' is not among `tools`"),
    ],
)
def test_what_is_refused_is_called_by_its_name(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(body(**fields))
    assert words in caught.value.text


def test_the_most_tools() -> None:
    assert len(read(body(tools=[tool(name=f"f{i}") for i in range(MOST_TOOLS)])).tools) == MOST_TOOLS
