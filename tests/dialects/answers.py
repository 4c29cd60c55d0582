"""Answers as chat completions write them, and what a client reads of them."""

import json
from collections.abc import Sequence
from typing import Any

from qwen_gateway.dialects import openai_chat
from qwen_gateway.turn.contracts import ReplyHead
from qwen_gateway.turn.events import (
    Began,
    Declined,
    Event,
    Failed,
    Finished,
    Reasoning,
    Source,
    Text,
    ToolCallArguments,
    ToolCallBegan,
    ToolCallEnded,
    Usage,
)
from qwen_gateway.turn.reply import Fold, Reply
from qwen_gateway.turn.request import TurnRequest

HEAD = ReplyHead("1", 1_789_353_470, "qwen3.7-plus")
REQUEST = TurnRequest(model="qwen", messages=(), stream=True)
ASKED = TurnRequest(model="qwen", messages=(), stream=True, stream_usage=True)
OLDER = TurnRequest(model="qwen", messages=(), stream=True, legacy_calls=True)
TWO = TurnRequest(model="qwen", messages=(), stream=True, choices=2)
TWO_ASKED = TurnRequest(model="qwen", messages=(), stream=True, choices=2, stream_usage=True)
SOURCE = Source("https://a.example/?q=1", "A “title”")

Chunk = dict[str, Any]


def call(index: int, name: str, *pieces: str, id_: str = "") -> list[Event]:
    arguments = [ToolCallArguments(index, piece) for piece in pieces]
    return [ToolCallBegan(index, id_ or f"{index:024x}", name), *arguments, ToolCallEnded(index)]


READ = call(0, "Read", '{"file_path":', ' "/src/“a”.py"}')
SCENES: dict[str, tuple[TurnRequest, list[Event]]] = {
    "made_call_alone": (REQUEST, [Began("c", "a"), *READ, Usage(90, 12), Finished("tool_calls")]),
    "made_text_then_two_calls": (
        ASKED,
        [
            Reasoning("Both."),
            Text("I look at both."),
            *READ,
            *call(1, "Bash", '{"command": "cd \\"/x\\"\\n', 'ls"}'),
            Usage(90, 30, 5),
            Finished("tool_calls"),
        ],
    ),
    "made_call_without_arguments": (REQUEST, [*call(0, "list_files", "{}"), Usage(9, 3), Finished("tool_calls")]),
    "made_call_cut_by_the_limit": (REQUEST, [*READ[:2], Usage(90, 5), Finished("length")]),
    "made_older_call": (OLDER, [*READ, Usage(90, 12), Finished("tool_calls")]),
    "made_refusal": (REQUEST, [Reasoning("No."), Declined("I will not."), Usage(5, 4), Finished()]),
    "made_text_stopped": (REQUEST, [Text("one two"), Usage(5, 2), Finished("stop", "three")]),
}


def stream(events: Sequence[Event], request: TurnRequest = REQUEST) -> bytes:
    writer = openai_chat.writer(request, HEAD)
    out = b"".join(writer.feed([event]) for event in events)
    assert openai_chat.writer(request, HEAD).feed(events) == out
    return out + b"".join(writer.fail(event.fault) for event in events if isinstance(event, Failed))


def reply(events: Sequence[Event]) -> Reply:
    folded = Fold()
    folded.feed(events)
    return folded.reply()


def whole(events: Sequence[Event], request: TurnRequest = REQUEST) -> bytes:
    if isinstance(events[-1], Failed):
        return openai_chat.refusal(events[-1].fault)
    return openai_chat.whole(request, HEAD, reply(events))


def message(events: Sequence[Event], request: TurnRequest = REQUEST) -> Chunk:
    found: Chunk = json.loads(whole(events, request))["choices"][0]["message"]
    return found


def records(raw: bytes) -> list[str]:
    """Values of the stream's events, by the rules of event streams as far as we use them."""
    *parts, rest = raw.decode().split("\n\n")
    assert rest == ""
    assert all(part.startswith("data: ") and "\n" not in part for part in parts)
    return [part.removeprefix("data: ") for part in parts]


def chunks(raw: bytes) -> list[Chunk]:
    return [json.loads(value) for value in records(raw) if value != "[DONE]"]


def deltas(raw: bytes) -> list[Chunk]:
    return [chunk["choices"][0]["delta"] for chunk in chunks(raw) if chunk["choices"]]


def put_together(found: Sequence[Chunk], choice: int = 0) -> tuple[Chunk, str | None]:
    """What a client has of one choice when it has read all chunks: the message, and why it ended."""
    text, reasoning, finish = "", "", None
    more: Chunk = {"refusal": None}
    calls: dict[int, Chunk] = {}
    for row in (row for chunk in found for row in chunk["choices"] if row["index"] == choice):
        finish = row["finish_reason"]
        for key, value in row["delta"].items():
            if key == "content":
                text += value or ""
            elif key == "reasoning_content":
                reasoning += value
            elif key == "tool_calls":
                (piece,) = value
                _add(calls, piece["index"], {name: one for name, one in piece.items() if name != "index"})
            elif key == "function_call":
                _add(calls, -1, {"function": value})
            else:
                assert more.get(key) is None
                more[key] = value
    if reasoning:
        more["reasoning_content"] = reasoning
    if -1 in calls:
        more["function_call"] = calls[-1]["function"]
    elif calls:
        more["tool_calls"] = list(calls.values())
    return {**more, "content": text or (None if calls or more["refusal"] else "")}, finish


def _add(calls: dict[int, Chunk], index: int, piece: Chunk) -> None:
    """The first piece of a call has everything but arguments; the others have nothing else."""
    if index not in calls:
        assert index in (len(calls), -1)
        assert piece["function"]["arguments"] == ""
        calls[index] = piece
    else:
        assert piece.keys() == {"function"}
        assert piece["function"].keys() == {"arguments"}
        calls[index]["function"]["arguments"] += piece["function"]["arguments"]
