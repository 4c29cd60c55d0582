"""The form that is taught if nothing else is chosen: JSON between two markers that no site and no vocabulary knows.

    [TOOL CALL k7q2]
    {"name": "Read", "arguments": {"file_path": "/src/a.py"}}
    [END TOOL CALL]

The form was measured without the nonce (Rfym21/Qwen2API, read 2026-11): of 85 turns 95 % could be read.
"""

import json

from qwen_gateway.toolcall.arguments import Arguments
from qwen_gateway.toolcall.markers import Markers
from qwen_gateway.toolcall.pieces import Reader, SchemaOf

_LESSON = """\
## Tools you can use in this conversation
The program that sends you these messages can run the tools listed here for you. They are not part of this web site:
nothing has to be looked up or enabled, and a name in this list always works. Do not use the site's own tools (search,
code interpreter, memory, …); use only the list.

To run tools, end your reply with one block per call, written exactly like this, each marker alone on its line:

{example}

How it works
{rules}
- Give every argument that is not marked with "?"; leave out arguments you do not need.
- Calls that do not depend on each other may follow one another directly. After the last block write nothing: the
  results arrive in the next message{where}. Never write results yourself.
- A call counts only in the reply itself. What you write while thinking is not executed.
- Text before the first block is shown to the user; keep it short. If no tool is needed, answer normally without any
  block.
- Do not repeat a call whose result you already have unless something has changed since.

### Tool list
{listing}"""

_RULES = """\
- Between the markers goes one JSON object with the keys "name" and "arguments". Standard JSON: in strings write \\" for
  a quote, \\\\ for a backslash and \\n for a line break. No comments, no code fence around the block."""


def reader(schema_of: SchemaOf, markers: Markers) -> Reader:
    """For what stands between the markers."""
    return Arguments(schema_of, markers.boundary)


def teach(listing: str, nonce: str) -> str:
    """The part of the first message that says which tools there are (`teaching.listing`) and how they are called."""
    return lesson(call(nonce, "tool name from the list", '{"argument": "value"}'), _RULES, listing, nonce)


def call(nonce: str, name: str, arguments: str) -> str:
    """A call of an earlier answer, as the model would have written it. `arguments`: JSON text, passed on as it is."""
    opening = f"[TOOL CALL {nonce}]" if nonce else "[TOOL CALL]"
    envelope = f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {arguments.strip() or "{}"}}}'
    return f"{opening}\n{envelope}\n[END TOOL CALL]"


def anchor(reminder: str, nonce: str) -> str:
    """For the end of a later message: what the tools were (`teaching.reminder`) and how they are called."""
    return reminded(reminder, f"[TOOL CALL {nonce}] … [END TOOL CALL]" if nonce else "[TOOL CALL] … [END TOOL CALL]")


def form(nonce: str) -> str:
    """One sentence that shows the form."""
    return f"Use exactly {f'[TOOL CALL {nonce}]' if nonce else '[TOOL CALL]'} and [END TOOL CALL]."


def lesson(example: str, rules: str, listing: str, nonce: str) -> str:
    where = f", under [TOOL RESULTS {nonce}]" if nonce else ""
    return _LESSON.format(example=example, rules=rules, listing=listing, where=where)


def reminded(reminder: str, markers: str) -> str:
    return (
        f"[Reminder: tools as listed before: {reminder}. Call them with {markers} at the end of the reply; never "
        "answer that a listed tool is missing.]"
    )
