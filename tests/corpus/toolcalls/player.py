"""The answers of this folder, played through the stage that reads the calls of a turn (`relay.calls`).

How an answer is cut is an argument; what comes out must not depend on it.
"""

import json
from collections.abc import Callable, Iterator
from functools import cache
from itertools import accumulate, count
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from qwen_gateway.relay.calls import Calls, Reading, Tries
from qwen_gateway.relay.tools import ToolManner, Toolset
from qwen_gateway.toolcall.pieces import Tool
from qwen_gateway.toolcall.sieve import Format
from qwen_gateway.turn.events import (
    Event,
    Failed,
    Finished,
    FinishReason,
    NativeCall,
    NativeResult,
    Text,
    ToolCallArguments,
    ToolCallBegan,
    ToolCallEnded,
)
from qwen_gateway.turn.faults import Unfit
from qwen_gateway.turn.request import Message, TextPart, ToolChoice, TurnRequest

FOLDER = Path(__file__).parent
Kind = Literal["clean", "damaged", "adversarial", "lookalike"]
KINDS: tuple[Kind, ...] = ("clean", "damaged", "adversarial", "lookalike")

Cut = Callable[[str], list[str]]
"""A text → the pieces in which it comes."""


class Frame(Struct, frozen=True, forbid_unknown_fields=True):
    """One of: text; a native call (name, arguments) that comes as growing snapshots; snapshots (name, texts) as they
    are; a result (name, text). With the site's number behind them, call and result are of a tool of its own."""

    text: str = ""
    call: tuple[str, ...] = ()
    snapshots: tuple[str, tuple[str, ...]] | None = None
    result: tuple[str, ...] = ()


class Expected(Struct, frozen=True, forbid_unknown_fields=True):
    """calls: (name, arguments) in their order. text: what is shown, also before another try. finish: where it is not
    the one that follows from `calls`. retry: the reason to ask again, and no call is delivered."""

    text: str
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    finish: FinishReason | None = None
    retry: str = ""


class Case(Struct, frozen=True, forbid_unknown_fields=True):
    """case: number in the design's table. request: texts of the client's in which echoes are looked for. choice: auto,
    required, or the name of a tool. strict: all tools are. ended: why the site ended it. The answer is a text, or
    `frames`."""

    id: str
    kind: Kind
    tools: str
    lang: Literal["en", "zh"]
    request: tuple[str, ...]
    expected: Expected
    answer: str = ""
    frames: tuple[Frame, ...] = ()
    case: str = ""
    nonce: str = "k7q2"
    format: Format = "bracket"
    choice: str = "auto"
    parallel: bool = True
    strict: bool = False
    ended: FinishReason = "stop"


class Outcome(Struct, frozen=True):
    """events: all that the client would get before the end, pieces of one kind joined. calls: (name, arguments as JSON
    text) of those that ended. retry, hint: the reason for which it is asked again, and the note to the model. repaired:
    repairs that were made."""

    events: tuple[Event, ...]
    calls: tuple[tuple[str, str], ...]
    text: str
    finish: FinishReason | None
    retry: str
    hint: str
    repaired: int


def cases(*kinds: str) -> list[Case]:
    """All, or those of some kinds. A line ends with `\\n` only: answers hold other line ends as they are."""
    lines = [line for kind in kinds or KINDS for line in (FOLDER / f"{kind}.jsonl").read_bytes().split(b"\n") if line]
    return [msgspec.json.decode(line, type=Case) for line in lines]


def uncut(text: str) -> list[str]:
    return [text]


def play(case: Case, cut: Cut = uncut) -> Outcome:
    tries, ids = Tries(), count()
    stage = Calls(_reading(case), tries, case.nonce, lambda: f"id{next(ids)}", lambda: 0.0)
    events: list[Event] = []
    for event in _steps(case, cut):
        events += stage.feed([event])
        if stage.enough:
            break
    events += stage.feed([Finished(case.ended if not stage.enough else "stop")])
    return _outcome(_joined(events), tries)


def complaints(case: Case, outcome: Outcome) -> list[str]:
    """What is not as the case expects."""
    expected = case.expected
    finish = expected.finish or ("tool_calls" if expected.calls else "stop")
    found: list[str] = []
    if outcome.retry != expected.retry:
        found.append(f"asked again for {outcome.retry or 'nothing'}, not for {expected.retry or 'nothing'}")
    elif not expected.retry and outcome.finish != finish:
        found.append(f"ended with {outcome.finish}, not with {finish}")
    calls = [(name, json.loads(arguments)) for name, arguments in outcome.calls]
    if json.dumps(calls, sort_keys=True) != json.dumps(expected.calls, sort_keys=True):  # as text: True == 1
        found.append(f"calls {calls}")
    if outcome.text != expected.text:
        found.append(f"text {outcome.text!r}")
    return found


def _outcome(events: tuple[Event, ...], tries: Tries) -> Outcome:
    names = {one.index: one.name for one in events if isinstance(one, ToolCallBegan)}
    sent = {one.index: one.text for one in events if isinstance(one, ToolCallArguments)}
    ended = [one.index for one in events if isinstance(one, ToolCallEnded)]
    *before, last = events
    again = last.fault.hint if isinstance(last, Failed) and isinstance(last.fault, Unfit) else None
    return Outcome(
        tuple(before),
        tuple((names[index], sent[index]) for index in ended),
        "".join(one.text for one in events if isinstance(one, Text)),
        last.reason if isinstance(last, Finished) else None,
        "" if again is None else tries.retried[-1],
        again or "",
        tries.counts.repaired,
    )


def _reading(case: Case) -> Reading:
    return _read_as(case.tools, case.strict, case.request, case.choice, case.parallel, case.format)


@cache
def _read_as(
    tools: str, strict: bool, request: tuple[str, ...], choice: str, parallel: bool, taught: Format
) -> Reading:
    named = () if choice in ("auto", "required") else (choice,)
    turn = TurnRequest(
        model="any",
        stream=True,
        messages=(Message("user", tuple(map(TextPart, request))),),
        tools=tuple(msgspec.structs.replace(tool, strict=strict or tool.strict) for tool in _tools()[tools]),
        tool_choice=ToolChoice("auto" if choice == "auto" else "required", named, parallel),
    )
    reading = Toolset(turn, ToolManner(format=taught)).reading()
    assert reading is not None
    return reading


@cache
def _tools() -> dict[str, tuple[Tool, ...]]:
    return msgspec.json.decode((FOLDER / "tools.json").read_bytes(), type=dict[str, tuple[Tool, ...]])


def _steps(case: Case, cut: Cut) -> Iterator[Event]:
    for frame in case.frames or (Frame(text=case.answer),):
        if frame.call or frame.result:
            yield from _native(frame, cut)
        elif frame.snapshots:
            name, texts = frame.snapshots
            yield from (NativeCall(name, text) for text in texts)
        else:
            yield from map(Text, cut(frame.text))


def _native(frame: Frame, cut: Cut) -> Iterator[Event]:
    """From nothing on, and the last one twice: as the site sends them (recorded 2026-09-01). What has a number never
    comes so far."""
    name, said, *number = frame.call or frame.result
    if number:
        return
    if frame.result:
        yield NativeResult(name, said)
        return
    yield NativeCall(name, "")
    yield from (NativeCall(name, seen) for seen in accumulate(cut(said)))
    yield NativeCall(name, said)


def _joined(events: list[Event]) -> tuple[Event, ...]:
    found: list[Event] = []
    for one in events:
        last = found[-1] if found else None
        if isinstance(one, Text) and isinstance(last, Text):
            found[-1] = Text(last.text + one.text)
        elif isinstance(one, ToolCallArguments) and isinstance(last, ToolCallArguments):
            found[-1] = ToolCallArguments(one.index, last.text + one.text)
        else:
            found.append(one)
    return tuple(found)
