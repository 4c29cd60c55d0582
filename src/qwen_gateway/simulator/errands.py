"""What the demo responder does with tools and with a form that its answer must have.

Here: calling a tool that it is asked to call, telling what came back, JSON for a schema. Not here: phrases (`demo`),
how a call is written (`calls`), what the gateway's prompts look like (`packed`, `taught`).
"""

import json
import re

from . import packed, samples, signatures
from .ask import Ask
from .taught import NAME, Declared, declared
from .tree import Node
from .turns import ToolCall, Turn

SELF = "This is the simulator of Qwen Gateway, not a Qwen model."

_REQUEST = re.compile(
    rf"""(?:(?:please|now|then|and|ok,?) )*(?:use|call|run) (?:the )?(?P<tool>tool )?[“"'`]?(?P<name>{NAME})[”"'`]?"""
    r"""(?P<after> tool)?(?:[^{\n]*?\bwith\b:?\s*(?P<arguments>\{.*))?""",
    re.IGNORECASE | re.DOTALL,
)
_SHOWN = 500


def tools(ask: Ask, above: list[Node]) -> list[Declared]:
    """What may be called now."""
    return declared(ask.prompt, [node.content for node in above if node.role == "user"])


def errand(ask: Ask, above: list[Node], said: str) -> Turn | None:
    """The answer where it is more than words for words."""
    offered = tools(ask, above)
    asked = _asked(offered, said)
    if asked is None and (demand := packed.demand(ask.prompt)):
        wanted = [tool for tool in offered if demand.name in (None, tool.name)]
        asked = _call(wanted[0], None) if wanted else None
    if asked is not None:
        return asked
    schema = packed.output_schema(ask.prompt)
    if schema is not None:
        return Turn(text=_json(schema, said))
    return None if said else _told(packed.results(ask.prompt))


def _asked(offered: list[Declared], said: str) -> Turn | None:
    """The call that the words ask for. `call me Bob` is none, but a tool that is named as one must be there."""
    match = _REQUEST.match(said)
    if match is None:
        return None
    name = match["name"].rstrip(".:")
    found = [tool for tool in offered if tool.name == name]
    found += [tool for tool in offered if tool.name.lower() == name.lower()]
    if found:
        return _call(found[0], match["arguments"])
    if not (match["tool"] or match["after"]):
        return None
    names = ", ".join(tool.name for tool in offered) or "none"
    return Turn(text=f"{SELF} I see no tool “{name}”. The tools that I was sent: {names}.")


def _call(tool: Declared, given: str | None) -> Turn:
    arguments: object = signatures.arguments(tool.members or "")
    if given is not None:
        try:
            arguments, _ = json.JSONDecoder().raw_decode(given)
        except ValueError:
            return Turn(text=f"{SELF} I cannot read these arguments as JSON: {given[:_SHOWN]}")
    return Turn(text=f"{SELF} I call the tool {tool.name}.", tool_calls=[ToolCall(name=tool.name, arguments=arguments)])


def _told(found: list[packed.Result]) -> Turn | None:
    if not found:
        return None
    lines = [f"{SELF} This is what the tools returned:"]
    for result in found:
        shown = result.text if len(result.text) <= _SHOWN else f"{result.text[:_SHOWN]} …"
        lines.append(f"\n{result.call}\n{shown}")
    return Turn(text="\n".join(lines))


def _json(schema: object, said: str) -> str:
    value = {"note": SELF, "you_wrote": said[:200]} if schema is True else samples.sample(schema)
    return json.dumps(value, ensure_ascii=False)
