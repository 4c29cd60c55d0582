"""The shape of a completion stream, as the recordings show it.

One set of checks for both: every recording in tests/corpus and everything the simulator sends. `faults_of`
names what is wrong, in words; an empty list is a stream of the site's shape.

Two groups of recordings are not the wire's own bytes (tests/corpus/INDEX.md): those re-serialised by a test
suite, and mocks. `Source` says which checks can be held against them.
"""

import json
import re
from enum import Enum
from itertools import pairwise
from typing import TypeGuard

Json = dict[str, object]

CREATED = re.compile(
    r'data: \{"response\.created":\{"chat_id": "[^"]+", "parent_id": "[^"]+", '
    r'"response_id":"[^"]+"(, "response_index": "0")?\}\} '
)
CLOSING_KEYS = ["content", "role", "status", "phase"]
USAGE_KEYS = {
    "input_tokens",
    "output_tokens",
    "characters",
    "total_tokens",
    "input_tokens_details",
    "output_tokens_details",
    "prompt_tokens_details",
}
PICTURE_USAGE_KEYS = {"input_tokens", "output_tokens", "characters", "width", "image_count", "height"}
PHASES = {"answer", "think", "thinking_summary", "web_search", "code_interpreter", "image_gen"}


class Source(Enum):
    """How much of the wire a stream shows."""

    WIRE = "byte for byte"
    PARTS = "re-serialised or cut by its author: frames only"


def faults_of(stream: str, source: Source = Source.WIRE) -> list[str]:
    """What in this stream is not as the site sends it."""
    lines = [line for line in stream.split("\n") if not line.startswith(":")]
    frames, found = _frames(lines)
    deltas = [delta for frame in frames if (delta := delta_of(frame)) is not None]
    found += [fault for delta in deltas for fault in _delta_faults(delta)]
    found += _thought_faults(deltas) + _argument_faults(deltas)
    if source is Source.WIRE:
        found += _wire_faults(stream, lines, frames)
    return found


def _frames(lines: list[str]) -> tuple[list[Json], list[str]]:
    frames: list[Json] = []
    found: list[str] = []
    for line in filter(None, lines):
        try:
            frame = json.loads(line.removeprefix("data: "))
        except ValueError:
            frame = None
        if not line.startswith("data: ") or not isinstance(frame, dict):
            found.append(f"no data line with a JSON object: {line[:60]}")
        else:
            frames.append(frame)
    return frames, found


def delta_of(frame: Json) -> Json | None:
    """The delta of a content frame."""
    choices = frame.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not is_json(choices[0]):
        return None
    delta = choices[0].get("delta")
    return delta if is_json(delta) else None


def is_json(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


def _delta_faults(delta: Json) -> list[str]:
    found = []
    if not isinstance(delta.get("content"), str) and delta.get("phase") != "thinking_summary":
        found.append(f"content is no text: {delta}")
    if delta.get("phase") not in PHASES:
        found.append(f"unknown phase: {delta}")
    if delta.get("status", "typing") not in {"typing", "finished"}:
        found.append(f"unknown status: {delta}")
    if delta.get("role", "assistant") not in {"assistant", "function"}:
        found.append(f"unknown role: {delta}")
    if delta.get("role") == "function" and not delta.get("name"):
        found.append(f"a function without a name: {delta}")
    return found


def _thought_faults(deltas: list[Json]) -> list[str]:
    """The arrays of `thinking_summary` only ever grow."""
    found = []
    before: dict[str, list[object]] = {"summary_title": [], "summary_thought": []}
    for delta in deltas:
        extra = delta.get("extra")
        if delta.get("phase") != "thinking_summary" or not is_json(extra):
            continue
        for key, earlier in before.items():
            part = extra.get(key)
            now = part.get("content") if is_json(part) else None
            if not isinstance(now, list) or now[: len(earlier)] != earlier:
                found.append(f"{key} is not cumulative: {now}")
            else:
                before[key] = now
    return found


def _argument_faults(deltas: list[Json]) -> list[str]:
    """Snapshots of a call's arguments grow, end as JSON, and the last one comes twice."""
    found = []
    calls: list[tuple[object, list[str]]] = []
    for delta in deltas:
        call = delta.get("function_call")
        if not is_json(call):
            continue
        key, text = (delta.get("function_id"), call.get("name")), str(call.get("arguments"))
        if text == "" or not calls or calls[-1][0] != key:
            calls.append((key, []))
        calls[-1][1].append(text)
    for called, texts in calls:
        if any(not later.startswith(earlier) for earlier, later in pairwise(texts)):
            found.append(f"arguments of {called} are not cumulative")
        if len(texts) < 2 or texts[-1] != texts[-2]:
            found.append(f"the last snapshot of {called} did not come twice")
        if not _is_json_text(texts[-1]):
            found.append(f"arguments of {called} do not end as JSON")
    return found


def _is_json_text(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _wire_faults(stream: str, lines: list[str], frames: list[Json]) -> list[str]:
    found = []
    if not CREATED.fullmatch(lines[0]):
        found.append(f"does not begin with response.created as the site spells it: {lines[0]}")
    if not stream.rstrip("\n").endswith("}") or not stream.endswith("\n\n"):
        found.append("does not end with an event and its blank line")
    if any(bool(line) == bool(number % 2) for number, line in enumerate(_body(lines))):
        found.append("events and blank lines do not alternate")
    for line, frame in zip(filter(None, lines[1:]), frames[1:], strict=False):
        if line != f"data: {json.dumps(frame, ensure_ascii=False)}":
            found.append(f"not spelled with blanks after colon and comma: {line[:80]}")
    return found + _frame_faults(frames) + _end_faults(frames) + _usage_faults(frames)


def _body(lines: list[str]) -> list[str]:
    """The lines without what a trimmed recording has around its comments."""
    kept = [line for number, line in enumerate(lines) if line or lines[number - 1]]
    return kept[:-1] if not kept[-1] and not kept[-2] else kept


def _frame_faults(frames: list[Json]) -> list[str]:
    created = frames[0].get("response.created") if frames else None
    response_id = created.get("response_id") if is_json(created) else None
    found = []
    for frame in frames[1:]:
        info = frame.get("response.info")
        if is_json(info):
            if list(info) != ["action", "chat_id", "response_id", "timestamp"]:
                found.append(f"not a keep-alive: {frame}")
        elif list(frame) not in (
            ["choices", "response_id"],
            ["choices", "response_id", "timestamp"],
            ["choices", "response_id", "usage", "timestamp"],
        ):
            found.append(f"keys are not in the site's order: {list(frame)}")
        elif frame["response_id"] != response_id:
            found.append("a frame of another response")
    return found


def _end_faults(frames: list[Json]) -> list[str]:
    """The closing frame: other key order, no usage, no timestamp; before it no frame looks like it."""
    closings = [frame for frame in frames if list(frame) == ["choices", "response_id"]]
    last = delta_of(frames[-1]) if frames else None
    if len(closings) != 1 or last is None or list(last) != CLOSING_KEYS or last.get("status") != "finished":
        return ["does not end with the one closing frame"]
    return []


def _usage_faults(frames: list[Json]) -> list[str]:
    """Complete wherever it stands; output grows within a round, input tells the rounds apart."""
    found = []
    before: Json = {}
    for frame in frames:
        usage = frame.get("usage")
        if not is_json(usage) or not usage:
            continue
        if set(usage) == PICTURE_USAGE_KEYS:
            continue
        if set(usage) != USAGE_KEYS or usage["total_tokens"] != _total(usage):
            found.append(f"usage is not complete: {usage}")
        elif before.get("input_tokens") == usage["input_tokens"] and _less(usage, before):
            found.append(f"output tokens shrink within a round: {usage}")
        before = usage
    return found


def _total(usage: Json) -> int:
    return int(str(usage["input_tokens"])) + int(str(usage["output_tokens"]))


def _less(usage: Json, before: Json) -> bool:
    return int(str(usage["output_tokens"])) < int(str(before["output_tokens"]))
