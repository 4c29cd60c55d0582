"""Messages of chat completions: every form that is read, and every fault with its place."""

from typing import Any

import pytest

from qwen_gateway.dialects.openai_chat_messages import MAX_MESSAGES
from qwen_gateway.dialects.openai_chat_request import read
from qwen_gateway.turn.request import Message, Part, ReasoningPart, TextPart, ToolCallPart, ToolResultPart

from .bodies import HELLO, body, refused

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}

MESSAGES: dict[str, tuple[dict[str, Any], str, tuple[Part, ...]]] = {
    "system": ({"role": "system", "content": "s"}, "system", (TextPart("s"),)),
    "developer": ({"role": "developer", "content": "s"}, "system", (TextPart("s"),)),
    "user": (HELLO, "user", (TextPart("hello"),)),
    "empty": ({"role": "user", "content": ""}, "user", ()),
    "no parts": ({"role": "user", "content": []}, "user", ()),
    "parts": (
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        "user",
        (TextPart("a"), TextPart("b")),
    ),
    "assistant": ({"role": "assistant", "content": "a"}, "assistant", (TextPart("a"),)),
    "assistant in parts": (
        {"role": "assistant", "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "no"}]},
        "assistant",
        (TextPart("a"), TextPart("no")),
    ),
    "assistant that refused": ({"role": "assistant", "content": None, "refusal": "no"}, "assistant", (TextPart("no"),)),
    "assistant with nothing": ({"role": "assistant"}, "assistant", ()),
    "assistant with reasoning": (
        {"role": "assistant", "content": "a", "reasoning_content": "r"},
        "assistant",
        (ReasoningPart("r"), TextPart("a")),
    ),
    "reasoning of others": ({**HELLO, "reasoning_content": "r"}, "user", (TextPart("hello"),)),
    "assistant with calls": (
        {"role": "assistant", "content": "a", "tool_calls": [CALL, {"function": {"name": "g"}}]},
        "assistant",
        (TextPart("a"), ToolCallPart("c1", "f", '{"a": 1}'), ToolCallPart("", "g", "{}")),
    ),
    "arguments that are no JSON": (
        {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "ü x", "arguments": "{oops"}}]},
        "assistant",
        (ToolCallPart("c", "ü x", "{oops"),),
    ),
    "the older form of a call": (
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        "assistant",
        (ToolCallPart("", "f", "{}"),),
    ),
    "tool": ({"role": "tool", "tool_call_id": "c1", "content": "out"}, "user", (ToolResultPart("c1", "out"),)),
    "tool in parts": (
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": t} for t in "ab"]},
        "user",
        (ToolResultPart("c1", "a\nb"),),
    ),
    "tool without output": ({"role": "tool", "tool_call_id": "c1"}, "user", (ToolResultPart("c1", ""),)),
    "function": ({"role": "function", "name": "f", "content": "out"}, "user", (ToolResultPart("", "out"),)),
    "leftovers of an earlier answer": (
        {"role": "assistant", "content": "a", "annotations": [{"x": 1}], "audio": None},
        "assistant",
        (TextPart("a"),),
    ),
}


@pytest.mark.parametrize(("message", "role", "parts"), MESSAGES.values(), ids=MESSAGES.keys())
def test_messages(message: dict[str, Any], role: str, parts: tuple[Part, ...]) -> None:
    expected = (Message(role, parts),)  # type: ignore[arg-type] # the table's are right
    assert read(body(messages=[message])).messages == expected
    slow = read(body(messages=[{**message, "cache_control": {"type": "ephemeral"}}]))
    assert slow.messages == expected
    assert "messages[].cache_control" in slow.ignored


def test_unknown_keys_are_named_by_where_they_stand_and_once() -> None:
    piece = {"type": "text", "text": "a", "cache_control": {}, "extra": 1}
    message = {"role": "user", "content": [piece, piece], "id": "x"}
    found = read(body(messages=[message, message], seed=1)).ignored
    assert found == ("seed", "messages[].content[].cache_control", "messages[].content[].extra", "messages[].id")


def test_names_of_speakers_are_not_passed_on_and_named() -> None:
    assert read(body(messages=[{**HELLO, "name": "Ann"}, {**HELLO, "name": "Bob"}])).ignored == ("messages[].name",)
    assert read(body(messages=[{**HELLO, "name": None}])).ignored == ()


def test_values_beside_unknown_keys_stay_as_they_are() -> None:
    odd = {**HELLO, "x": 1, "annotations": [10**30, -(10**30), 1e300, None, "é"], "audio": {"id": 1}}
    assert read(body(messages=[odd])).messages == (Message("user", (TextPart("hello"),)),)


REFUSED: dict[str, tuple[object, str, str]] = {
    # name: messages, param, code
    "messages null": (None, "messages", "invalid_value"),
    "messages text": ("x", "messages", "invalid_value"),
    "messages an object": ({}, "messages", "invalid_value"),
    "messages empty": ([], "messages", "invalid_value"),
    "message null": ([HELLO, None], "messages[1]", "invalid_value"),
    "message a text": (["x"], "messages[0]", "invalid_value"),
    "no role": ([{"content": "x"}], "messages[0]", "invalid_value"),
    "role root": ([{"role": "root", "content": "x"}], "messages[0].role", "invalid_value"),
    "no content": ([HELLO, {"role": "user"}], "messages[1].content", "invalid_value"),
    "system without content": ([{"role": "system"}], "messages[0].content", "invalid_value"),
    "content a number": ([{"role": "user", "content": 1}], "messages[0].content", "invalid_value"),
    "content with null": (
        [{"role": "user", "content": [None]}],
        "messages[0].content[0]",
        "invalid_value",
    ),
    "a part without type": (
        [{"role": "user", "content": [{"text": "x"}]}],
        "messages[0].content[0]",
        "invalid_value",
    ),
    "a part without text": (
        [{"role": "user", "content": [{"type": "text"}]}],
        "messages[0].content[0].text",
        "invalid_value",
    ),
    "a part with a wrong text": (
        [{"role": "user", "content": [{"type": "text", "text": 1}]}],
        "messages[0].content[0].text",
        "invalid_value",
    ),
    "a picture": (
        [HELLO, {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
        "messages[1].content[0].image_url.url",
        "url_not_allowed",
    ),
    "sound": (
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}],
        "messages[0].content[0].input_audio.data",
        "invalid_value",
    ),
    "a file": (
        [{"role": "user", "content": [{"type": "file", "file": {}}]}],
        "messages[0].content[0].file",
        "invalid_value",
    ),
    "a part of no known type": (
        [{"role": "user", "content": [{"type": "x" * 500}]}],
        "messages[0].content[0]",
        "unsupported_content",
    ),
    "a result of no call": (
        [{"role": "tool", "content": "x"}],
        "messages[0].tool_call_id",
        "invalid_value",
    ),
    "calls that are no list": (
        [{"role": "assistant", "tool_calls": {}}],
        "messages[0].tool_calls",
        "invalid_value",
    ),
    "a call without a name": (
        [{"role": "assistant", "tool_calls": [{"function": {}}]}],
        "messages[0].tool_calls[0].function",
        "invalid_value",
    ),
    "arguments that are no text": (
        [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}],
        "messages[0].tool_calls[0].function.arguments",
        "invalid_value",
    ),
}


@pytest.mark.parametrize(("messages", "param", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_faults_name_their_place(messages: object, param: str, code: str) -> None:
    assert refused(body(messages=messages)) == (param, code)


def test_a_fault_beside_unknown_keys_names_its_parameter_too() -> None:
    messages = [{**HELLO, "x": 1}, {"role": "root", "content": "", "y": 2}]
    assert refused(body(messages=messages)) == ("messages[1].role", "invalid_value")


def test_too_many_messages() -> None:
    assert len(read(body(messages=[HELLO] * MAX_MESSAGES)).messages) == MAX_MESSAGES
    assert refused(body(messages=[HELLO] * (MAX_MESSAGES + 1))) == ("messages", "invalid_value")
