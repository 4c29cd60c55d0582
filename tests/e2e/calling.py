"""A program with tools, written with OpenAI's client: its tools, and its answers whole however they came."""

import json
from collections.abc import Sequence
from typing import Any

from openai import LengthFinishReasonError, OpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionFunctionToolParam
from openai.types.chat.chat_completion import Choice
from openai.types.chat.chat_completion_message_function_tool_call import ChatCompletionMessageFunctionToolCall

from .wire import MODEL, Json

MARK = "@@"
"""Stands for the nonce in the texts of `damaged`; a turn with such a text says so: `"nonce": MARK`."""


def _tool(name: str, about: str, /, *required: str, **properties: Json) -> ChatCompletionFunctionToolParam:
    parameters: dict[str, object] = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": about, "parameters": parameters}}


_STRING: Json = {"type": "string"}
READ = _tool("read_file", "Reads one file of the project.", "path", path=_STRING, lines={"type": "integer"})
WRITE = _tool("write_file", "Writes one file of the project.", "path", "content", path=_STRING, content=_STRING)
SHELL = _tool("run", "Runs a command in a shell.", "command", command=_STRING, description=_STRING)
CLOCK = _tool("clock", "Tells the time.")
TOOLS = [READ, WRITE, SHELL, CLOCK]

QUESTION: list[Any] = [{"role": "user", "content": "What does the project do?"}]


def call(name: str, /, **arguments: object) -> Json:
    """A call as the simulator is told of it."""
    return {"name": name, "arguments": arguments}


def damaged(name: str, arguments: str, mark: str = MARK) -> str:
    """The text of a call in the form that is taught, whatever stands in place of its arguments."""
    return f'[TOOL CALL {mark}]\n{{"name": "{name}", "arguments": {arguments}}}\n[END TOOL CALL]'


def answer(
    openai: OpenAI, stream: bool, messages: list[Any] = QUESTION, *, model: str = MODEL, **more: Any
) -> ChatCompletion:
    """Whole, or put together from a stream."""
    return folded(openai.chat.completions.create(model=model, messages=messages, stream=stream, **more))


def folded(found: Any) -> ChatCompletion:
    """What `create` gave: an answer, or a stream that the SDK puts together."""
    if isinstance(found, ChatCompletion):
        return found
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for chunk in found:
        state.handle_chunk(chunk)
    try:
        return state.get_final_completion()
    except LengthFinishReasonError as end:
        return end.completion


def calls(choice: Choice) -> list[ChatCompletionMessageFunctionToolCall]:
    found: Sequence[object] = choice.message.tool_calls or ()
    return [one for one in found if isinstance(one, ChatCompletionMessageFunctionToolCall)]


def made(choice: Choice) -> list[tuple[str, Json]]:
    """The calls of an answer: names, and arguments as they parse."""
    return [(one.function.name, json.loads(one.function.arguments)) for one in calls(choice)]


def said_again(choice: Choice) -> Json:
    """The answer as a client puts it into its history."""
    return choice.message.model_dump(exclude_none=True)


def result(call_id: str, text: str) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": text}
