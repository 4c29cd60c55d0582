"""A client's tools, a check that looks at keys only, and answers that models write."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from qwen_gateway.toolcall.draft import quoted_in
from qwen_gateway.toolcall.pieces import (
    Bad,
    CallArguments,
    CallBegan,
    CallEnded,
    Level,
    Out,
    Stop,
    TextOut,
    Tool,
    Verdict,
)
from qwen_gateway.toolcall.sieve import Sieve

NONCE = "k7q2"
OPEN = "[TOOL CALL k7q2]\n"
CLOSE = "\n[END TOOL CALL]"


def tool(tool_name: str, /, *required: str, strict: bool = False, **properties: Any) -> Tool:
    """A tool whose arguments are texts, unless another schema is given for them."""
    schemas = {name: {"type": "string"} for name in required} | properties
    schema = {"type": "object", "properties": schemas, "required": list(required)}
    return Tool(tool_name, "", schema, strict)


TEXT = {"type": "string"}
BASH = tool("Bash", "command", description=TEXT)
READ = tool("Read", "file_path", limit={"type": "integer"}, whole={"type": ["boolean", "null"]})
WRITE = tool("Write", "file_path", "content")
EDITS = tool(
    "Edit",
    edits={"type": "array", "items": {"type": "object", "properties": {"old": TEXT, "new": TEXT}}},
    tags={"type": "array", "items": TEXT},
    size={"type": "number"},
)
PING = Tool("ping", "", {"type": "object"})
TOOLS = (BASH, READ, WRITE, EDITS, PING)


def check(name: str, arguments: str, level: Level) -> Verdict:
    schema = next(one for one in TOOLS if one.name == name).parameters
    given = json.loads(arguments)
    if missing := [key for key in schema.get("required", ()) if key not in given]:
        return Verdict(False, arguments, f"missing {missing}", "schema")
    if level == 1 and (more := [key for key in given if key not in schema.get("properties", {})]):
        return Verdict(False, arguments, f"undeclared {more}", "schema")
    return Verdict(True, arguments)


def call(name: str, **arguments: object) -> str:
    return OPEN + json.dumps({"name": name, "arguments": arguments}) + CLOSE


def read(*pieces: str, quoted: Sequence[str] = (), tools: Sequence[Tool] = TOOLS, **options: Any) -> list[Out]:
    """What comes out of an answer, with pieces of one kind joined."""
    settings: dict[str, Any] = {"nonce": NONCE, "check": check, "quoted": quoted_in(quoted)}
    sieve = Sieve(tools, **settings | options)
    out = [one for piece in pieces for one in sieve.feed(piece)]
    return joined(out + sieve.close())


def joined(out: Sequence[Out]) -> list[Out]:
    found: list[Out] = []
    for one in out:
        last = found[-1] if found else None
        if isinstance(one, TextOut) and isinstance(last, TextOut):
            found[-1] = TextOut(last.text + one.text)
        elif isinstance(one, CallArguments) and isinstance(last, CallArguments):
            assert one.index == last.index
            found[-1] = CallArguments(one.index, last.piece + one.piece)
        else:
            found.append(one)
    return found


def whole(*calls: tuple[str, Mapping[str, object]]) -> list[Out]:
    """The events of these calls, arguments as `json.dumps` writes them."""
    out: list[Out] = []
    for index, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments)
        out += [CallBegan(index, name), CallArguments(index, text), CallEnded(index, text)]
    return out


def text_of(out: Sequence[Out]) -> str:
    return "".join(one.text for one in out if isinstance(one, TextOut))


def calls_of(out: Sequence[Out]) -> list[tuple[str, Any]]:
    """Names and arguments of the calls that ended."""
    names = {one.index: one.name for one in out if isinstance(one, CallBegan)}
    return [(names[one.index], json.loads(one.arguments)) for one in out if isinstance(one, CallEnded)]


def bad_of(out: Sequence[Out]) -> list[tuple[str, str]]:
    return [(one.kind, one.name) for one in out if isinstance(one, Bad)]


def stops_of(out: Sequence[Out]) -> list[str]:
    return [one.reason for one in out if isinstance(one, Stop)]
