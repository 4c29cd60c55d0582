"""The form that Qwen2.5 and Qwen3 were trained on: JSON in `<tool_call>`, one token of their vocabulary.

The site reads it itself and takes it out of the answer, so its calls are mostly met in other frames (`native`); here
is what still comes as text.
"""

import json

from qwen_gateway.toolcall.arguments import Arguments
from qwen_gateway.toolcall.formats import bracket
from qwen_gateway.toolcall.markers import Markers
from qwen_gateway.toolcall.pieces import Reader, SchemaOf

_RULES = """\
- Inside <tool_call> goes one JSON object with the keys "name" and "arguments". Standard JSON: in strings write \\" for
  a quote, \\\\ for a backslash and \\n for a line break. No comments, no code fence around the block."""


def reader(schema_of: SchemaOf, markers: Markers) -> Reader:
    """For what stands in `<tool_call>`, if it begins with a brace."""
    return Arguments(schema_of, markers.boundary)


def teach(listing: str, nonce: str) -> str:
    """The part of the first message that says which tools there are and how they are called."""
    return bracket.lesson(call(nonce, "tool name from the list", '{"argument": "value"}'), _RULES, listing, nonce)


def call(nonce: str, name: str, arguments: str) -> str:
    """A call of an earlier answer. This form has no place for a nonce."""
    del nonce
    envelope = f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {arguments.strip() or "{}"}}}'
    return f"<tool_call>\n{envelope}\n</tool_call>"


def anchor(reminder: str, nonce: str) -> str:
    """For the end of a later message: what the tools were and how they are called."""
    del nonce
    return bracket.reminded(reminder, "<tool_call> … </tool_call>")


def form(nonce: str) -> str:
    """One sentence that shows the form."""
    del nonce
    return 'Use exactly <tool_call>, one JSON object with "name" and "arguments", and </tool_call>.'
