"""Answers in one piece."""

import json

from qwen_gateway.dialects import openai_chat
from qwen_gateway.turn.events import Declined, Event, Finished, Reasoning, Text, Usage, total

from .answers import HEAD, OLDER, READ, REQUEST, TWO, call, message, reply, whole


def test_a_whole_answer_by_hand() -> None:
    events: list[Event] = [Reasoning("r"), Text("a"), Text("b"), Usage(5, 3, 1, 2), Finished("length")]
    assert json.loads(whole(events)) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_789_353_470,
        "model": "qwen3.7-plus",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ab", "refusal": None, "reasoning_content": "r"},
                "logprobs": None,
                "finish_reason": "length",
            }
        ],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    }


def test_without_reasoning_there_is_no_key_for_it() -> None:
    assert "reasoning_content" not in json.loads(whole([Text("a"), Finished()]))["choices"][0]["message"]


# --- calls ---


def test_calls_stand_beside_the_text() -> None:
    events = [Text("Look:"), *READ, *call(1, "Bash", "{", "}"), Finished("tool_calls")]
    assert message(events) == {
        "role": "assistant",
        "content": "Look:",
        "refusal": None,
        "tool_calls": [
            {
                "id": f"call_{0:024x}",
                "type": "function",
                "function": {"name": "Read", "arguments": '{"file_path": "/src/“a”.py"}'},
            },
            {"id": f"call_{1:024x}", "type": "function", "function": {"name": "Bash", "arguments": "{}"}},
        ],
    }
    assert json.loads(whole(events))["choices"][0]["finish_reason"] == "tool_calls"


def test_without_text_the_content_is_null_beside_calls_and_empty_without() -> None:
    assert message([*READ, Finished("tool_calls")])["content"] is None
    assert message([Reasoning("r"), *READ, Finished("tool_calls")])["content"] is None
    assert message([Reasoning("r"), Finished()])["content"] == ""


def test_without_calls_there_is_no_key_for_them() -> None:
    assert message([Text("a"), Finished()]).keys() == {"role", "content", "refusal"}


def test_a_call_in_the_older_form_is_the_first_one() -> None:
    events = [*READ, *call(1, "Bash", "{}"), Finished("tool_calls")]
    assert message(events, OLDER) == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "function_call": {"name": "Read", "arguments": '{"file_path": "/src/“a”.py"}'},
    }
    assert json.loads(whole(events, OLDER))["choices"][0]["finish_reason"] == "function_call"
    assert json.loads(whole([Text("a"), Finished()], OLDER))["choices"][0]["finish_reason"] == "stop"


# --- refusals ---


def test_a_refusal_stands_in_its_own_field() -> None:
    found = message([Reasoning("No."), Declined("I will not."), Finished()])
    assert (found["content"], found["refusal"], found["reasoning_content"]) == (None, "I will not.", "No.")


# --- several choices ---


def test_choices_are_numbered_and_their_usage_is_summed() -> None:
    first = reply([Text("a"), Usage(5, 3, 1, 2), Finished()])
    second = reply([*READ, Usage(5, 4, 0, 1, estimated=True), Finished("tool_calls")])
    found = json.loads(openai_chat.choices_whole(TWO, HEAD, [first, second]))
    assert [choice["index"] for choice in found["choices"]] == [0, 1]
    assert [choice["finish_reason"] for choice in found["choices"]] == ["stop", "tool_calls"]
    assert [choice["message"]["content"] for choice in found["choices"]] == ["a", None]
    assert found["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 1},
        "estimated": True,
    }


def test_one_choice_is_written_like_an_answer() -> None:
    one = reply([Text("a"), Usage(5, 3), Finished()])
    assert openai_chat.choices_whole(REQUEST, HEAD, [one]) == openai_chat.whole(REQUEST, HEAD, one)


def test_figures_are_ours_when_one_of_them_is() -> None:
    assert total([Usage(1, 1), Usage(1, 1)]) == Usage(2, 2)
    assert total([Usage(1, 1), Usage(1, 1, estimated=True)]).estimated
