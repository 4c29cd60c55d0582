"""Bodies of chat completions: every form that is read, and every fault with its parameter."""

import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.dialects.openai_chat_request import MAX_NAMED, read
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.request import (
    MaxOutput,
    Message,
    OutputFormat,
    TextPart,
    Thinking,
    Tool,
    ToolChoice,
    TurnRequest,
)

from .bodies import body, refused


def attempt(raw: bytes) -> TurnRequest | InvalidRequest:
    try:
        return read(raw)
    except InvalidRequest as fault:
        return fault


def is_sound(found: TurnRequest | InvalidRequest) -> bool:
    """A fault names its parameter, unless there is no JSON to have one."""
    return isinstance(found, TurnRequest) or bool(found.param) or found.code == "invalid_json"


def test_the_least_request() -> None:
    assert read(body()) == TurnRequest(model="m", messages=(Message("user", (TextPart("hello"),)),))


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
    "stream options": (
        {"stream_options": {"include_usage": True, "include_obfuscation": False}},
        {"ignored": ("stream_options.include_obfuscation",), "stream_usage": True},
    ),
    "whose conversation": ({"user": "ann"}, {"end_user": '{"user":"ann"}'}),
    "whose conversation, in newer words": ({"safety_identifier": "a1"}, {"end_user": '{"safety_identifier":"a1"}'}),
    "both are told apart": (
        {"user": "ann", "safety_identifier": "a1"},
        {"end_user": '{"user":"ann","safety_identifier":"a1"}'},
    ),
    "nothing is to be kept": ({"store": False}, {"store": False}),
    "what may be kept": ({"store": True}, {}),
    "ignored": (
        {"metadata": {"a": "b"}, "service_tier": "auto", "prediction": {}, "temperature": 0.5, "x": False},
        {"ignored": ("metadata", "service_tier", "prediction", "temperature", "x")},
    ),
}


@pytest.mark.parametrize(("fields", "expected"), PARAMETERS.values(), ids=PARAMETERS.keys())
def test_parameters(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    messages = (Message("user", (TextPart("hello"),)),)
    assert read(body(**fields)) == TurnRequest(model="m", messages=messages, **expected)


NULLS = ["stream", "stream_options", "thinking_budget", "user", "store", "chat_type", "temperature", "seed", "logprobs"]
NULLS += ["tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format", "stop", "n"]
NULLS += ["max_tokens", "max_completion_tokens", "logit_bias", "audio", "modalities", "metadata", "anything"]


@pytest.mark.parametrize("name", NULLS)
def test_null_is_the_same_as_nothing(name: str) -> None:
    assert read(body(**{name: None})) == read(body())


def test_everything_at_once() -> None:
    """Each parameter arrives at its own place, also beside the others; what is ignored is named in order."""
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True, "odd": 1}
    messages = [{"role": "user", "content": "hi", "name": "Ann"}]
    found = read(
        body(
            messages=messages,
            stream=True,
            tools=[{"type": "function", "function": function, "cache_control": {}}],
            tool_choice="required",
            parallel_tool_calls=False,
            response_format={"type": "json_object", "more": 1},
            stop=["a", "b"],
            max_tokens=5,
            max_completion_tokens=7,
            n=2,
            temperature=1,
            reasoning_effort="none",
            thinking_budget=5,
            stream_options={"x": 1},
        )
    )
    assert found == TurnRequest(
        model="m",
        messages=(Message("user", (TextPart("hi"),)),),
        stream=True,
        thinking=Thinking("off", param="reasoning_effort"),
        tools=(Tool("f", "d", {"type": "object"}, strict=True),),
        tool_choice=ToolChoice("required", parallel=False),
        format=OutputFormat("json_object"),
        stop=("a", "b"),
        max_output=MaxOutput(7, reasoning=True),
        choices=2,
        ignored=(
            "temperature",
            "thinking_budget",
            "max_tokens",
            "messages[].name",
            "stream_options.x",
            "tools[].cache_control",
            "tools[].function.odd",
            "response_format.more",
        ),
    )


# --- what is not passed on is named ---


def test_not_more_than_forty_names_are_given() -> None:
    assert len(read(body(**{f"x{i}": 1 for i in range(100)})).ignored) == MAX_NAMED


# --- faults ---

REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    # name: fields, param, code
    "user too long": ({"user": "x" * 513}, "user", "invalid_value"),
    "user a number": ({"user": 1}, "user", "invalid_value"),
    "store a word": ({"store": "no"}, "store", "invalid_value"),
    "model null": ({"model": None}, "model", "invalid_value"),
    "model a number": ({"model": 1}, "model", "invalid_value"),
    "stream a text": ({"stream": "true"}, "stream", "invalid_value"),
    "stream a number": ({"stream": 1}, "stream", "invalid_value"),
    "options a list": ({"stream_options": []}, "stream_options", "invalid_value"),
    "usage a text": ({"stream_options": {"include_usage": "x"}}, "stream_options.include_usage", "invalid_value"),
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


MESSAGES = b'"messages": [{"role": "user", "content": "x"}]'


@pytest.mark.parametrize(
    "shape",
    [
        b'"stream_options": {"x": %s}',
        b'"messages": [{"role": "user", "content": "x", "annotations": %s}]',
        b'"messages": [{"role": "user", "content": "x", "x": 1, "annotations": %s}]',
        b'"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f"}, "x": %s}]}]',
        b'"model": %s',
        b'"tools": [{"type": %s}]',
        b'"tools": [{"function": %s}]',
        b'"functions": [{"name": "f", "parameters": {"x": %s}}]',
        b'"tool_choice": %s',
        b'"response_format": {"type": "json_schema", "json_schema": {"schema": {"x": %s}}}',
        b'"logit_bias": %s',
        b'"stop": %s',
    ],
)
def test_no_depth_of_nesting_is_anything_but_read_or_refused(shape: bytes) -> None:
    """Also where the whole body still passes and a value of it, read a few calls deeper, does not."""
    limit = sys.getrecursionlimit()
    for depth in [*range(limit - 150, limit), 2 * limit]:
        deep = shape % (b"[" * depth + b"]" * depth)
        assert is_sound(attempt(b'{"model": "m", ' + MESSAGES + b", " + deep + b"}"))


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
PARAMS += ["chat_type", "n", "logprobs", "response_format", "tools", "tool_choice", "temperature", "model", "stop"]
PARAMS += ["max_tokens", "max_completion_tokens", "functions", "function_call", "parallel_tool_calls", "seed", "audio"]
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
