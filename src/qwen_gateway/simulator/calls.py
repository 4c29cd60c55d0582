"""Tool calls as text: the forms in which a model may write a call.

Here: rendering, and reading from a prompt which form it teaches. Not here: the site's own `function_call`
frames (`rounds`).
"""

import json
import re

from .turns import Style, ToolCall

_OPENING = re.compile(r"\[TOOL CALL(?: [^\]\s]+)?\]")
_CLOSING = re.compile(r"\[END TOOL CALL(?: [^\]\s]+)?\]")
_REMINDER = re.compile(r"^\[Reminder: .*", re.MULTILINE)


def spoken(calls: list[ToolCall], style: Style, prompt: str) -> str:
    """The text of the calls, one block after another."""
    match style:
        case "hermes":
            blocks = [f"<tool_call>\n{_payload(call)}\n</tool_call>" for call in calls]
        case "coder_xml":
            blocks = [_coder_block(call) for call in calls]
        case _:
            opening, end = taught_markers(prompt)
            blocks = [f"{opening}\n{_payload(call)}\n{end}" for call in calls]
    return "\n".join(blocks)


def taught_markers(prompt: str) -> tuple[str, str]:
    """The markers that this prompt teaches.

    A closing reminder counts before anything else: what stands between may be quoted text (file contents,
    tool results) that holds markers of another conversation.
    """
    reminders = _REMINDER.findall(prompt)
    place = reminders[-1] if reminders and _OPENING.search(reminders[-1]) else prompt
    opening, end = _OPENING.search(place), _CLOSING.search(place)
    return (opening[0] if opening else "[TOOL CALL]", end[0] if end else "[END TOOL CALL]")


def arguments_text(call: ToolCall) -> str:
    return call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments, ensure_ascii=False)


def _payload(call: ToolCall) -> str:
    name = json.dumps(call.name, ensure_ascii=False)
    return f'{{"name": {name}, "arguments": {arguments_text(call)}}}'


def _coder_block(call: ToolCall) -> str:
    """Qwen3-Coder's trained form: raw values, nothing escaped."""
    arguments = call.arguments if isinstance(call.arguments, dict) else {"arguments": call.arguments}
    lines = ["<tool_call>", f"<function={call.name}>"]
    for name, value in arguments.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines += [f"<parameter={name}>", text, "</parameter>"]
    return "\n".join([*lines, "</function>", "</tool_call>"])
