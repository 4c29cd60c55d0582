"""The client's tools, and which of them are to be called: in the form of today, and in the older one of `functions`.

Schemas are not looked into here: what turns them into text and checks calls against them knows what it can use.
"""

import re
from collections.abc import Collection
from typing import Any, Literal, NoReturn

import msgspec
from msgspec import Struct

from qwen_gateway.dialects.openai_chat_values import Fields, converted, is_given, refused, unknown_keys, value
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.request import Tool, ToolChoice

MOST_TOOLS = 512

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


class Calling(Struct, frozen=True):
    """legacy: the client knows the older form only. unknown: names of keys that have no effect."""

    tools: tuple[Tool, ...]
    choice: ToolChoice
    legacy: bool
    unknown: list[str]


class _Function(Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Named(Struct):
    name: str


class _One(Struct, tag_field="type", tag="function"):
    function: _Named


class _Several(Struct):
    tools: list[_One]
    mode: Literal["auto", "required"] = "auto"


class _Allowed(Struct, tag_field="type", tag="allowed_tools"):
    allowed_tools: _Several


_list = msgspec.json.Decoder(list[dict[str, Any]])
_switch = msgspec.json.Decoder(bool)
_choice = msgspec.json.Decoder(Literal["auto", "none", "required"] | _One | _Allowed)
_older_choice = msgspec.json.Decoder(Literal["auto", "none"] | _Named)


def read(fields: Fields) -> Calling:
    """Raises InvalidRequest."""
    unknown: dict[str, None] = {}  # in the order in which they are found, each once
    tools = _tools(fields, unknown)
    functions = _functions(fields, unknown)
    if tools and functions:
        raise refused("functions", "`tools` are given too, and mean the same; only one of them can be")
    choice = _tool_choice(fields, tools)
    older_choice = _function_call(fields, functions)
    if functions:
        return Calling(functions, older_choice, True, list(unknown))
    return Calling(tools, choice, False, list(unknown))


def _tools(fields: Fields, unknown: dict[str, None]) -> tuple[Tool, ...]:
    tools = []
    for i, given in enumerate(_listed(fields, "tools")):
        path = f"tools[{i}]"
        if given.get("type", "function") != "function":
            _refuse_kind(given, path)
        unknown |= dict.fromkeys(unknown_keys(given, ("type", "function"), "tools[]"))
        tools.append(_tool(given.get("function"), f"{path}.function"))
        unknown |= dict.fromkeys(unknown_keys(given["function"], _Function.__struct_fields__, "tools[].function"))
    _refuse_same_names(tools, "tools[{}].function.name")
    return tuple(tools)


def _functions(fields: Fields, unknown: dict[str, None]) -> tuple[Tool, ...]:
    tools = []
    for i, given in enumerate(_listed(fields, "functions")):
        unknown |= dict.fromkeys(unknown_keys(given, ("name", "description", "parameters"), "functions[]"))
        tool = _tool(given, f"functions[{i}]")
        tools.append(Tool(tool.name, tool.description, tool.parameters))
    _refuse_same_names(tools, "functions[{}].name")
    return tuple(tools)


def _listed(fields: Fields, key: str) -> list[dict[str, Any]]:
    given = value(fields, key, _list) or []
    if len(given) > MOST_TOOLS:
        raise refused(key, f"at most {MOST_TOOLS}")
    return given


def _tool(given: object, path: str) -> Tool:
    function = converted(given, _Function, path)
    if not _NAME.fullmatch(function.name):
        raise refused(f"{path}.name", "1 to 128 letters, digits and `_ . : -`")
    # By OpenAI's reference, a function without parameters takes none.
    parameters = {"type": "object", "properties": {}} if function.parameters is None else function.parameters
    return Tool(function.name, function.description or "", parameters, bool(function.strict))


def _refuse_kind(given: dict[str, Any], path: str) -> NoReturn:
    kind = converted(given["type"], str, f"{path}.type")
    described = given.get(kind)
    name = described.get("name") if isinstance(described, dict) else given.get("name")
    which = f"{name[:128]!r} is of type" if isinstance(name, str) else "is of type"
    instead = ", and `enable_search` for the site's own search" if kind.startswith("web_search") else ""
    raise refused(f"{path}.type", f"{which} {kind[:40]!r}; only functions are passed on{instead}", "unsupported_tool")


def _refuse_same_names(tools: list[Tool], path: str) -> None:
    seen: dict[str, int] = {}
    for i, tool in enumerate(tools):
        if (first := seen.setdefault(tool.name, i)) != i:
            raise refused(path.format(i), f"{tool.name!r} is the name of another one, {path.format(first)}, too")


def _tool_choice(fields: Fields, tools: tuple[Tool, ...]) -> ToolChoice:
    parallel = value(fields, "parallel_tool_calls", _switch) is not False
    wanted = value(fields, "tool_choice", _choice)
    if wanted is None:
        return ToolChoice(parallel=parallel)
    if wanted != "none" and not tools:
        raise _without("tool_choice", "tools", fields)
    names = frozenset(tool.name for tool in tools)
    if isinstance(wanted, _One):
        _check_listed(wanted.function.name, names, "tool_choice.function.name", "tools")
        return ToolChoice("required", (wanted.function.name,), parallel)
    if isinstance(wanted, _Allowed):
        several = wanted.allowed_tools
        return ToolChoice(several.mode, _allowed(several, names), parallel)
    return ToolChoice(wanted, parallel=parallel)


def _allowed(several: _Several, names: Collection[str]) -> tuple[str, ...]:
    path = "tool_choice.allowed_tools.tools"
    if not several.tools:
        raise refused(path, "is empty; `none` is the choice that allows no tool")
    for i, one in enumerate(several.tools):
        _check_listed(one.function.name, names, f"{path}[{i}].function.name", "tools")
    return tuple(dict.fromkeys(one.function.name for one in several.tools))


def _function_call(fields: Fields, functions: tuple[Tool, ...]) -> ToolChoice:
    """The older form has room for one call in an answer."""
    wanted = value(fields, "function_call", _older_choice)
    if wanted is None:
        return ToolChoice(parallel=False)
    if wanted != "none" and not functions:
        raise _without("function_call", "functions", fields)
    if isinstance(wanted, _Named):
        _check_listed(wanted.name, [tool.name for tool in functions], "function_call.name", "functions")
        return ToolChoice("required", (wanted.name,), parallel=False)
    return ToolChoice(wanted, parallel=False)


def _without(choice: str, what: str, fields: Fields) -> InvalidRequest:
    """There is nothing to choose from."""
    return refused(choice, f"`{what}` {'is empty' if is_given(fields, what) else 'is missing'}, so none can be called")


def _check_listed(name: str, names: Collection[str], path: str, what: str) -> None:
    if name not in names:
        raise refused(path, f"{name[:128]!r} is not among `{what}`")
