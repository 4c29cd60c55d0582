"""Bodies of chat completions: every form that is read, and every fault with its parameter."""

import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.dialects.openai_chat_request import MAX_MESSAGES, MAX_NAMED, read
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.request import (
    Message,
    Part,
    ReasoningPart,
    TextPart,
    Thinking,
    ToolCallPart,
    ToolResultPart,
    TurnRequest,
)

HELLO = {"role": "user", "content": "hello"}


def body(**fields: object) -> bytes:
    return json.dumps({"model": "m", "messages": [HELLO], **fields}).encode()


def attempt(raw: bytes) -> TurnRequest | InvalidRequest:
    try:
        return read(raw)
    except InvalidRequest as fault:
        return fault


def is_sound(found: TurnRequest | InvalidRequest) -> bool:
    """A fault names its parameter, unless there is no JSON to have one."""
    return isinstance(found, TurnRequest) or bool(found.param) or found.code == "invalid_json"


def refused(raw: bytes) -> tuple[str | None, str]:
    with pytest.raises(InvalidRequest) as caught:
        read(raw)
    assert caught.value.text.endswith(".")
    return caught.value.param, caught.value.code


def test_the_least_request() -> None:
    assert read(body()) == TurnRequest(model="m", messages=(Message("user", (TextPart("hello"),)),))


# --- messages ---

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


# --- parameters ---

PARAMETERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "stream": ({"stream": True}, {"stream": True}),
    "no stream": ({"stream": False}, {"stream": False}),
    "stream null": ({"stream": None}, {"stream": False}),
    "usage": ({"stream_options": {"include_usage": True}}, {"stream_usage": True}),
    "no usage": ({"stream_options": {"include_usage": False}}, {"stream_usage": False}),
    "empty options": ({"stream_options": {}}, {"stream_usage": False}),
    "options null": ({"stream_options": None}, {"stream_usage": False}),
    "thinking": ({"enable_thinking": True}, {"thinking": Thinking("on", param="enable_thinking")}),
    "no thinking": ({"enable_thinking": False}, {"thinking": Thinking("off", param="enable_thinking")}),
    "thinking null": ({"enable_thinking": None}, {"thinking": Thinking()}),
    "budget": ({"thinking_budget": 100}, {"thinking": Thinking("on", 100, "thinking_budget")}),
    "budget none": ({"thinking_budget": 0}, {"thinking": Thinking("off", param="thinking_budget")}),
    "budget any": ({"thinking_budget": -1}, {"thinking": Thinking()}),
    "budget and switch": (
        {"thinking_budget": 1, "enable_thinking": False},
        {"thinking": Thinking("off", param="enable_thinking"), "ignored": ("thinking_budget",)},
    ),
    "budget and switch on": (
        {"thinking_budget": 5, "enable_thinking": True},
        {"thinking": Thinking("on", 5, "enable_thinking")},
    ),
    "effort of no meaning": ({"reasoning_effort": "default"}, {"thinking": Thinking()}),
    "effort": ({"reasoning_effort": "low"}, {"thinking": Thinking("on", param="reasoning_effort")}),
    "no effort": ({"reasoning_effort": "none"}, {"thinking": Thinking("off", param="reasoning_effort")}),
    "minimal effort": ({"reasoning_effort": "minimal"}, {"thinking": Thinking("off", param="reasoning_effort")}),
    "switch above effort": (
        {"reasoning_effort": "high", "enable_thinking": False},
        {"thinking": Thinking("off", param="enable_thinking"), "ignored": ("reasoning_effort",)},
    ),
    "search": ({"enable_search": True}, {"search": True}),
    "no search": ({"enable_search": False}, {"search": False}),
    "chat type": ({"chat_type": "search"}, {"search": True}),
    "chat type above switch": ({"chat_type": "t2t", "enable_search": True}, {"search": False}),
    "one answer": ({"n": 1}, {}),
    "no probabilities": ({"logprobs": False}, {}),
    "plain format": ({"response_format": {"type": "text"}}, {}),
    "stream options": (
        {"stream_options": {"include_usage": True, "include_obfuscation": False}},
        {"ignored": ("stream_options.include_obfuscation",), "stream_usage": True},
    ),
    "tools": ({"tools": [{"type": "function"}]}, {"ignored": ("tools",)}),
    "tools that may be called": ({"tools": [], "tool_choice": "auto"}, {"ignored": ("tools", "tool_choice")}),
    "tools that may not": ({"tools": [], "tool_choice": "none"}, {"ignored": ("tools", "tool_choice")}),
    "tools, choice null": ({"tools": [], "tool_choice": None}, {"ignored": ("tools",)}),
    "null is nothing": ({"temperature": None, "stop": None, "user": None}, {}),
    "ignored": ({"temperature": 0.5, "max_tokens": -1, "x": {}}, {"ignored": ("temperature", "max_tokens", "x")}),
}


@pytest.mark.parametrize(("fields", "expected"), PARAMETERS.values(), ids=PARAMETERS.keys())
def test_parameters(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    messages = (Message("user", (TextPart("hello"),)),)
    assert read(body(**fields)) == TurnRequest(model="m", messages=messages, **expected)


# --- what is not passed on is named ---


def test_unknown_keys_are_named_by_where_they_stand_and_once() -> None:
    piece = {"type": "text", "text": "a", "cache_control": {}, "extra": 1}
    message = {"role": "user", "content": [piece, piece], "id": "x"}
    found = read(body(messages=[message, message], seed=1)).ignored
    assert found == ("seed", "messages[].content[].cache_control", "messages[].content[].extra", "messages[].id")


def test_names_of_speakers_are_not_passed_on_and_named() -> None:
    assert read(body(messages=[{**HELLO, "name": "Ann"}, {**HELLO, "name": "Bob"}])).ignored == ("messages[].name",)
    assert read(body(messages=[{**HELLO, "name": None}])).ignored == ()


def test_not_more_than_forty_names_are_given() -> None:
    assert len(read(body(**{f"x{i}": 1 for i in range(100)})).ignored) == MAX_NAMED


def test_values_beside_unknown_keys_stay_as_they_are() -> None:
    odd = {**HELLO, "x": 1, "annotations": [10**30, -(10**30), 1e300, None, "é"], "audio": {"id": 1}}
    assert read(body(messages=[odd])).messages == (Message("user", (TextPart("hello"),)),)


# --- faults ---

REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    # name: fields, param, code
    "model null": ({"model": None}, "model", "invalid_value"),
    "model a number": ({"model": 1}, "model", "invalid_value"),
    "messages null": ({"messages": None}, "messages", "invalid_value"),
    "messages text": ({"messages": "x"}, "messages", "invalid_value"),
    "messages an object": ({"messages": {}}, "messages", "invalid_value"),
    "messages empty": ({"messages": []}, "messages", "invalid_value"),
    "message null": ({"messages": [HELLO, None]}, "messages[1]", "invalid_value"),
    "message a text": ({"messages": ["x"]}, "messages[0]", "invalid_value"),
    "no role": ({"messages": [{"content": "x"}]}, "messages[0]", "invalid_value"),
    "role root": ({"messages": [{"role": "root", "content": "x"}]}, "messages[0].role", "invalid_value"),
    "no content": ({"messages": [HELLO, {"role": "user"}]}, "messages[1].content", "invalid_value"),
    "system without content": ({"messages": [{"role": "system"}]}, "messages[0].content", "invalid_value"),
    "content a number": ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content", "invalid_value"),
    "content with null": (
        {"messages": [{"role": "user", "content": [None]}]},
        "messages[0].content[0]",
        "invalid_value",
    ),
    "a part without type": (
        {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
        "messages[0].content[0]",
        "invalid_value",
    ),
    "a part without text": (
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        "messages[0].content[0].text",
        "invalid_value",
    ),
    "a part with a wrong text": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
        "messages[0].content[0].text",
        "invalid_value",
    ),
    "a picture": (
        {"messages": [HELLO, {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        "messages[1].content[0]",
        "unsupported_content",
    ),
    "sound": (
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        "messages[0].content[0]",
        "unsupported_content",
    ),
    "a file": (
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
        "messages[0].content[0]",
        "unsupported_content",
    ),
    "a part of no known type": (
        {"messages": [{"role": "user", "content": [{"type": "x" * 500}]}]},
        "messages[0].content[0]",
        "unsupported_content",
    ),
    "a result of no call": (
        {"messages": [{"role": "tool", "content": "x"}]},
        "messages[0].tool_call_id",
        "invalid_value",
    ),
    "calls that are no list": (
        {"messages": [{"role": "assistant", "tool_calls": {}}]},
        "messages[0].tool_calls",
        "invalid_value",
    ),
    "a call without a name": (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
        "messages[0].tool_calls[0].function",
        "invalid_value",
    ),
    "arguments that are no text": (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}]},
        "messages[0].tool_calls[0].function.arguments",
        "invalid_value",
    ),
    "stream a text": ({"stream": "true"}, "stream", "invalid_value"),
    "stream a number": ({"stream": 1}, "stream", "invalid_value"),
    "options a list": ({"stream_options": []}, "stream_options", "invalid_value"),
    "usage a text": ({"stream_options": {"include_usage": "x"}}, "stream_options.include_usage", "invalid_value"),
    "a thousand answers": ({"n": 1000}, "n", "unsupported_value"),
    "no answers": ({"n": 0}, "n", "unsupported_value"),
    "answers true": ({"n": True}, "n", "invalid_value"),
    "answers without end": ({"n": 10**30}, "n", "unsupported_value"),
    "probabilities": ({"logprobs": True}, "logprobs", "unsupported_parameter"),
    "JSON format": ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
    "no format": ({"response_format": {}}, "response_format", "invalid_value"),
    "a function that must be": ({"function_call": {"name": "f"}}, "function_call", "unsupported_parameter"),
    "a call that must be": ({"tools": [], "tool_choice": "required"}, "tool_choice", "unsupported_parameter"),
    "a certain call": (
        {"tools": [], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        "tool_choice",
        "unsupported_parameter",
    ),
    "effort unknown": ({"reasoning_effort": "extreme"}, "reasoning_effort", "invalid_value"),
    "thinking a text": ({"enable_thinking": "on"}, "enable_thinking", "invalid_value"),
    "budget negative": ({"thinking_budget": -2}, "thinking_budget", "invalid_value"),
    "budget absurd": ({"thinking_budget": 10**12}, "thinking_budget", "invalid_value"),
    "budget a fraction": ({"thinking_budget": 1.5}, "thinking_budget", "invalid_value"),
    "search a text": ({"enable_search": "yes"}, "enable_search", "invalid_value"),
    "pictures as an answer": ({"chat_type": "t2i"}, "chat_type", "invalid_value"),
}


@pytest.mark.parametrize(("fields", "param", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_faults_name_their_parameter(fields: dict[str, Any], param: str, code: str) -> None:
    assert refused(body(**fields)) == (param, code)


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_what_is_missing_is_named(missing: str) -> None:
    fields = json.loads(body())
    del fields[missing]
    assert refused(json.dumps(fields).encode()) == (missing, "missing_required_parameter")


def test_a_fault_beside_unknown_keys_names_its_parameter_too() -> None:
    messages = [{**HELLO, "x": 1}, {"role": "root", "content": "", "y": 2}]
    assert refused(body(messages=messages)) == ("messages[1].role", "invalid_value")


def test_too_many_messages() -> None:
    assert len(read(body(messages=[HELLO] * MAX_MESSAGES)).messages) == MAX_MESSAGES
    assert refused(body(messages=[HELLO] * (MAX_MESSAGES + 1))) == ("messages", "invalid_value")


NO_OBJECT: dict[str, bytes] = {
    "nothing": b"",
    "half": body()[:-1],
    "bytes behind": body() + b"x",
    "an array": b"[]",
    "null": b"null",
    "a text": b'"x"',
    "NaN": b'{"model": "m", "messages": [], "temperature": NaN}',
    "a byte order mark": b"\xef\xbb\xbf" + body(),
    "UTF-16": body().decode().encode("utf-16"),
    "half a character": rb'{"model": "m", "messages": [{"role": "user", "content": "\ud83d"}]}',
    "a control character": b'{"model": "a\nb"}',
    "deep arrays": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"x":' * 100_000 + b"1" + b"}" * 100_000,
}


@pytest.mark.parametrize("raw", NO_OBJECT.values(), ids=NO_OBJECT.keys())
def test_what_is_no_json_object_has_no_parameter_to_name(raw: bytes) -> None:
    assert refused(raw) == (None, "invalid_json")


RAW: dict[str, tuple[bytes, str]] = {
    "a stray byte": (b'{"model": "m", "messages": [{"role": "user", "content": "\xff"}]}', "messages"),
    "a stray byte in the model": (b'{"model": "\xff", "messages": []}', "model"),
    "a number without bound": (b'{"model": "m", "messages": [], "n": 1e999999}', "n"),
}


@pytest.mark.parametrize(("raw", "param"), RAW.values(), ids=RAW.keys())
def test_broken_values_name_their_parameter(raw: bytes, param: str) -> None:
    assert refused(raw)[0] == param


def test_the_last_of_two_equal_keys_counts() -> None:
    """As in every JSON reader that clients are written against."""
    assert read(b'{"model": "a", "model": "b", "messages": [{"role": "user", "content": "x"}]}').model == "b"


@pytest.mark.parametrize(
    "shape",
    [
        b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "stream_options": {"x": %s}}',
        b'{"model": "m", "messages": [{"role": "user", "content": "x", "annotations": %s}]}',
        b'{"model": "m", "messages": [{"role": "user", "content": "x", "x": 1, "annotations": %s}]}',
        b'{"model": "m", "messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f"}, "x": %s}]}]}',
        b'{"model": %s, "messages": [{"role": "user", "content": "x"}]}',
    ],
)
def test_no_depth_of_nesting_is_anything_but_read_or_refused(shape: bytes) -> None:
    """Also where the whole body still passes and a value of it, read a few calls deeper, does not."""
    limit = sys.getrecursionlimit()
    for depth in [*range(limit - 150, limit), 2 * limit]:
        assert is_sound(attempt(shape % (b"[" * depth + b"]" * depth)))


# --- anything at all ---

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PARAMS = ["stream", "stream_options", "enable_thinking", "thinking_budget", "reasoning_effort", "enable_search"]
PARAMS += ["chat_type", "n", "logprobs", "response_format", "tools", "tool_choice", "temperature", "model"]
PIECE = st.dictionaries(st.sampled_from(["type", "text", "refusal", "image_url", "file", "x"]), JSON | st.just("text"))
ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
KEYS = ["content", "name", "tool_calls", "function_call", "tool_call_id", "annotations", "reasoning_content", "x"]
MESSAGE = st.builds(
    lambda role, content, more: {"role": role, "content": content, **more},
    ROLES | JSON,
    st.text(max_size=5) | st.lists(PIECE | JSON, max_size=2) | JSON,
    st.dictionaries(st.sampled_from(KEYS), JSON, max_size=2),
)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(PARAMS), JSON, max_size=3), st.lists(MESSAGE | JSON, max_size=3) | JSON)
def test_any_json_is_read_or_refused_with_a_parameter(fields: dict[str, Any], messages: object) -> None:
    found = attempt(json.dumps({"model": "m", "messages": messages, **fields}).encode())
    if isinstance(found, TurnRequest):
        assert isinstance(messages, list)
        assert len(found.messages) == len(messages)
    else:
        assert found.param
        assert found.param.split(".")[0].split("[")[0] in (*PARAMS, "messages")


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=60), st.integers(0, len(body())))
def test_any_bytes_are_read_or_refused(noise: bytes, at: int) -> None:
    for raw in (noise, body()[:at] + noise + body()[at:], b'{"model": "m", "messages": ' + noise + b"}"):
        assert is_sound(attempt(raw))
