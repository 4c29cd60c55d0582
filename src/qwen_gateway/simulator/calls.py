"""Tool calls as text: the forms in which a model may write a call.

Here: rendering calls, and giving a programmed turn what it can only know from the prompt. Not here: reading what a
prompt teaches (`taught`), the site's own `function_call` frames (`rounds`).
"""

import json

import msgspec

from .taught import taught
from .turns import Style, ToolCall, Turn


def spoken(calls: list[ToolCall], style: Style, prompt: str) -> str:
    """The text of the calls, one block after another."""
    known = taught(prompt)
    form = known.form if style in ("taught", "native") else style
    return "\n".join(_block(call, form, known.nonce) for call in calls)


def fitted(turn: Turn, prompt: str) -> Turn:
    """The turn as it is played to this prompt: with its nonce, with calls repeated, and with those that are thought."""
    if turn.nonce:
        turn = _with_nonce(turn, turn.nonce, taught(prompt).nonce)
    if turn.repeat_calls > 1:
        turn = msgspec.structs.replace(turn, tool_calls=turn.tool_calls * turn.repeat_calls)
    if turn.calls_in != "answer":
        block = spoken(turn.tool_calls, turn.style, prompt)
        thinking = f"{turn.thinking}\n\n{block}" if turn.thinking else block
        turn = msgspec.structs.replace(turn, thinking=thinking, text=turn.answer())
        if turn.calls_in == "thinking":
            turn = msgspec.structs.replace(turn, tool_calls=[])
    return turn


def _with_nonce(turn: Turn, mark: str, nonce: str) -> Turn:
    def put(text: str) -> str:
        return text.replace(mark, nonce)

    calls = [
        ToolCall(name=call.name, arguments=put(call.arguments) if isinstance(call.arguments, str) else call.arguments)
        for call in turn.tool_calls
    ]
    return msgspec.structs.replace(
        turn,
        text=None if turn.text is None else put(turn.text),
        thinking=None if turn.thinking is None else put(turn.thinking),
        chunks=[put(piece) for piece in turn.chunks] if isinstance(turn.chunks, list) else turn.chunks,
        tool_calls=calls,
    )


def arguments_text(call: ToolCall) -> str:
    return call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments, ensure_ascii=False)


def _block(call: ToolCall, form: str, nonce: str) -> str:
    mark = f" {nonce}" if nonce else ""
    match form:
        case "hermes":
            return f"<tool_call>\n{_payload(call)}\n</tool_call>"
        case "coder_xml":
            return _coder_block(call)
        case "raw":
            return "\n".join([f"[TOOL CALL{mark}] {call.name}", *_raw_lines(call), f"[END TOOL CALL{mark}]"])
        case _:
            return f"[TOOL CALL{mark}]\n{_payload(call)}\n[END TOOL CALL]"


def _payload(call: ToolCall) -> str:
    name = json.dumps(call.name, ensure_ascii=False)
    return f'{{"name": {name}, "arguments": {arguments_text(call)}}}'


def _raw_lines(call: ToolCall) -> list[str]:
    if not isinstance(call.arguments, dict):
        return [arguments_text(call)]
    return [line for name, value in call.arguments.items() for line in (f"[ARG {name}]", _raw_value(value))]


def _coder_block(call: ToolCall) -> str:
    """Qwen3-Coder's trained form: raw values, nothing escaped."""
    arguments = call.arguments if isinstance(call.arguments, dict) else {"arguments": call.arguments}
    lines = ["<tool_call>", f"<function={call.name}>"]
    for name, value in arguments.items():
        lines += [f"<parameter={name}>", _raw_value(value), "</parameter>"]
    return "\n".join([*lines, "</function>", "</tool_call>"])


def _raw_value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
