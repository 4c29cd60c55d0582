"""Calls that do not come as they should, through OpenAI's own client: what the site and the model make of them, what
breaks off in the middle of one, and calls in the reasoning."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from openai import APIError, APIStatusError, OpenAI

from .calling import (
    MARK,
    QUESTION,
    TOOLS,
    answer,
    call,
    calls,
    damaged,
    made,
    result,
    said_again,
)
from .process import Demo, wait
from .rig import QUICK, running
from .wire import MODEL, Json, Stream, ask

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
LONG = "".join(f'line {n}: "quoted" \\ \t ünï 雨\n' for n in range(200))
HUGE = "".join(f"{n:07} A line of text that stands in a file.\n" for n in range(300_000 // 46))


# -- the site and the model


@BOTH
def test_a_call_that_the_site_takes_for_its_own_still_arrives(demo: Demo, openai: OpenAI, stream: bool) -> None:
    """Recorded on 2026-09-01: the site intercepts it, finds no such tool, and has the model apologise."""
    wanted = [call("read_file", path="a.py"), call("run", command="ls")]
    demo.program({"tool_calls": wanted, "style": "native", "delay_ms": 30})
    (choice,) = answer(openai, stream, tools=TOOLS).choices
    assert made(choice) == [("read_file", {"path": "a.py"}), ("run", {"command": "ls"})]
    assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")
    wait(lambda: demo.last()["aborted"], 3)


def test_after_an_interception_the_conversation_still_has_the_call(demo: Demo, openai: OpenAI) -> None:
    demo.program({"tool_calls": [call("read_file", path="a.py")], "style": "native"}, {"text": "It is empty."})
    (choice,) = answer(openai, False, tools=TOOLS).choices
    (one,) = calls(choice)
    (end,) = answer(openai, False, [*QUESTION, said_again(choice), result(one.id, "(0 bytes)")], tools=TOOLS).choices
    assert end.message.content == "It is empty."
    assert "a.py" in demo.last()["prompt"]
    assert "(0 bytes)" in demo.last()["prompt"]


@BOTH
def test_a_model_that_repeats_its_call_is_stopped(demo: Demo, openai: OpenAI, stream: bool) -> None:
    demo.program({"tool_calls": [call("read_file", path="a.py")], "repeat_calls": 245, "delay_ms": 5})
    (choice,) = answer(openai, stream, tools=TOOLS).choices
    assert made(choice) == [("read_file", {"path": "a.py"})]
    wait(lambda: demo.last()["aborted"], 3)


@BOTH
def test_a_model_that_calls_without_end_is_stopped_at_two_dozen(demo: Demo, openai: OpenAI, stream: bool) -> None:
    demo.program({"tool_calls": [call("read_file", path=f"{n}.py") for n in range(100)], "delay_ms": 5})
    (choice,) = answer(openai, stream, tools=TOOLS).choices
    assert made(choice) == [("read_file", {"path": f"{n}.py"}) for n in range(24)]
    wait(lambda: demo.last()["aborted"], 3)


@BOTH
@pytest.mark.parametrize(
    "behind",
    ["\nI have made the call now, and wait for what comes of it. " + "Soon. " * 60, f"\n[TOOL RESULTS {MARK}]\n"
     f"--- {MARK} result 1 of 1: clock {{}} ---\n12:00\n--- {MARK} end of results ---\nIt is noon." + " So." * 60],
    ids=["prose", "results"],
)  # fmt: skip
def test_what_follows_the_calls_is_cut(demo: Demo, openai: OpenAI, stream: bool, behind: str) -> None:
    demo.program({"text": damaged("clock", "{}") + behind, "nonce": MARK, "delay_ms": 5})
    (choice,) = answer(openai, stream, tools=TOOLS).choices
    assert (made(choice), choice.message.content, choice.finish_reason) == ([("clock", {})], None, "tool_calls")
    wait(lambda: demo.last()["aborted"], 3)


@BOTH
@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ('{"command": "cd "/my dir" && echo "hi"", "description": "d"}', {"command": 'cd "/my dir" && echo "hi"',
                                                                         "description": "d"}),
        ('{"command": "cat <<E\na\tb\nE"}', {"command": "cat <<E\na\tb\nE"}),
        (r'{"command": "dir C:\Users\me"}', {"command": r"dir C:\Users\me"}),
        ('{"command": "ls",}', {"command": "ls"}),
        ('{command: "ls"}', {"command": "ls"}),
        ('"{\\"command\\": \\"ls\\"}"', {"command": "ls"}),
        ('{"command": "ls"}}', {"command": "ls"}),
    ],
    ids=["quotes", "line breaks", "backslashes", "comma", "bare key", "as a string", "one brace more"],
)  # fmt: skip
def test_a_damaged_call_is_put_right(demo: Demo, openai: OpenAI, stream: bool, arguments: str, wanted: Json) -> None:
    demo.program({"text": damaged("run", arguments), "nonce": MARK, "chunks": 5})
    (choice,) = answer(openai, stream, tools=TOOLS).choices
    assert (made(choice), choice.finish_reason) == ([("run", wanted)], "tool_calls")
    assert len(demo.seen()) == 1


BROKEN = [
    (damaged("run", "['ls']"), "could not be read"),
    (damaged("ruin", '{"command": "ls"}'), "ruin"),
    (damaged("run", '{"description": "no command"}'), "command"),
]


@BOTH
@pytest.mark.parametrize(("text", "told"), BROKEN, ids=["malformed", "unknown", "schema"])
def test_a_call_that_cannot_be_made_is_asked_for_again_unseen(
    demo: Demo, openai: OpenAI, stream: bool, text: str, told: str
) -> None:
    demo.program({"text": text, "nonce": MARK}, {"tool_calls": [call("run", command="ls")]})
    (choice,) = answer(openai, stream, tools=TOOLS).choices
    assert (made(choice), choice.message.content) == ([("run", {"command": "ls"})], None)
    first, again = demo.seen()
    assert first["parent"] == again["parent"]
    assert told not in first["prompt"].partition("Note from the tool runner")[2]
    assert told in again["prompt"].partition("Note from the tool runner")[2]


@BOTH
@pytest.mark.parametrize(("text", "told"), BROKEN[:1], ids=["malformed"])
def test_a_call_that_is_never_readable_is_an_error(
    demo: Demo, openai: OpenAI, stream: bool, text: str, told: str
) -> None:
    demo.program({"text": text, "nonce": MARK, "sticky": True})
    with pytest.raises(APIStatusError) as caught:
        answer(openai, stream, tools=TOOLS)
    assert (caught.value.status_code, caught.value.code) == (502, "invalid_tool_call")
    assert 1 < len(demo.seen()) <= 3


@BOTH
def test_after_text_that_was_shown_only_calls_are_taken_from_another_try(
    demo: Demo, openai: OpenAI, stream: bool
) -> None:
    demo.program(
        {"text": f"I look.\n\n{BROKEN[0][0]}", "nonce": MARK},
        {"text": "Once more:", "tool_calls": [call("run", command="ls")]},
    )
    (choice,) = answer(openai, stream, tools=TOOLS).choices
    # Who gets the answer whole has seen nothing of the first try.
    assert (choice.message.content or "").strip() == ("I look." if stream else "Once more:")
    assert (made(choice), choice.finish_reason) == ([("run", {"command": "ls"})], "tool_calls")


@BOTH
def test_a_model_that_only_announces_its_next_step_is_asked_to_take_it(
    demo: Demo, openai: OpenAI, stream: bool
) -> None:
    demo.program({"tool_calls": [call("read_file", path="a.py")]})
    (choice,) = answer(openai, False, tools=TOOLS).choices
    (one,) = calls(choice)
    demo.program({"text": "It is empty. Now I'll look at b.py."}, {"tool_calls": [call("read_file", path="b.py")]})
    history = [*QUESTION, said_again(choice), result(one.id, "(0 bytes)")]
    (end,) = answer(openai, stream, history, tools=TOOLS).choices
    assert (end.message.content, made(end)) == (
        "It is empty. Now I'll look at b.py.",
        [("read_file", {"path": "b.py"})],
    )


def test_after_a_retry_the_conversation_goes_on_after_the_good_answer(demo: Demo, openai: OpenAI) -> None:
    demo.program(
        {"text": BROKEN[0][0], "nonce": MARK}, {"tool_calls": [call("run", command="ls")]}, {"text": "Nothing is here."}
    )
    (choice,) = answer(openai, False, tools=TOOLS).choices
    (one,) = calls(choice)
    answer(openai, False, [*QUESTION, said_again(choice), result(one.id, "(empty)")], tools=TOOLS)
    chats = demo.http.get(f"{demo.simulator_url}/__sim/tree").json()["chats"]
    nodes = {node["id"]: node for chat in chats for node in chat["nodes"]}
    (last,) = [node for node in nodes.values() if "(empty)" in node["text"]]
    # Either right below the good answer, or in a chat that was told of it.
    told = nodes[last["parent"]]["text"] if last["parent"] else last["text"]
    assert '"command": "ls"' in told
    assert "['ls']" not in last["text"]


CUT: dict[str, tuple[Json, Json]] = {
    "stop": ({"text": "It is END and more."}, {"stop": "END"}),
    "length": ({"text": "word " * 100}, {"max_tokens": 10}),
    "runaway": ({"tool_calls": [call("clock")], "repeat_calls": 30}, {"tools": TOOLS}),
    "one call": ({"tool_calls": [call("clock"), call("read_file", path="a")]},
                 {"tools": TOOLS, "parallel_tool_calls": False}),
    "prose": ({"text": damaged("clock", "{}") + "\nIt is noon.", "nonce": MARK}, {"tools": TOOLS}),
    "intercepted": ({"tool_calls": [call("clock")], "style": "native"}, {"tools": TOOLS}),
    "repaired": ({"text": damaged("run", '{"command": "ls",}'), "nonce": MARK}, {"tools": TOOLS}),
}  # fmt: skip


@pytest.mark.parametrize("case", CUT)
def test_the_model_goes_on_from_what_the_client_got_and_not_from_what_was_cut(
    demo: Demo, openai: OpenAI, case: str
) -> None:
    """B29: the chat at the site holds more than the client has, or something else."""
    turn, body = CUT[case]
    question: list[Any] = [{"role": "user", "content": f"A question of its own: {case}"}]
    demo.program(turn, {"text": "Well."})
    (choice,) = answer(openai, False, question, **body).choices
    more = [result(one.id, "12:00") for one in calls(choice)] or [{"role": "user", "content": "Go on."}]
    history: list[Any] = [*question, said_again(choice), *more]
    raw = openai.chat.completions.with_raw_response.create(model=MODEL, messages=history, **body)
    _, second = demo.seen()
    assert raw.headers["x-gateway-continuation"].startswith("replay")
    assert second["parent"] is None
    assert question[0]["content"] in second["prompt"]
    assert all(one.function.name in second["prompt"] for one in calls(choice))


# -- long arguments


def test_a_huge_argument_is_streamed_while_the_model_writes_it(demo: Demo, openai: OpenAI) -> None:
    demo.program({"tool_calls": [call("write_file", path="a.txt", content=HUGE)], "chunks": 4000, "delay_ms": 10})
    stream = openai.chat.completions.create(model=MODEL, messages=QUESTION, tools=TOOLS, stream=True)
    pieces: list[str] = []
    statuses: list[object] = []
    finish = None
    for chunk in stream:
        (choice,) = chunk.choices
        for one in choice.delta.tool_calls or ():
            pieces.append((one.function and one.function.arguments) or "")
            if sum(map(len, pieces)) and not statuses:
                statuses.append(demo.last()["status"])
        finish = choice.finish_reason or finish
    assert statuses == [None], "the site had not ended yet"
    assert len(pieces) > 20
    assert json.loads("".join(pieces)) == {"path": "a.txt", "content": HUGE}
    assert finish == "tool_calls"


def test_a_huge_argument_comes_whole_too(demo: Demo, openai: OpenAI) -> None:
    demo.program({"tool_calls": [call("write_file", path="a.txt", content=HUGE)], "chunks": 12_000})
    (choice,) = answer(openai, False, tools=TOOLS).choices
    assert made(choice) == [("write_file", {"path": "a.txt", "content": HUGE})]


FAULTS = ["disconnect", "eof", "stall", "server"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_within_a_call_that_is_being_shown_is_an_error_and_no_end(
    demo: Demo, openai: OpenAI, fault: str
) -> None:
    demo.program({"tool_calls": [call("write_file", path="a.txt", content=LONG)], "chunks": 200, "error": fault,
                  "after_chunks": 25})  # fmt: skip
    arguments, finish, error = _broken(openai)
    assert (finish, type(error)) == (None, APIError)
    assert error.code
    assert 1000 < len(arguments) < len(LONG)
    assert _whole(arguments) is None


def _broken(openai: OpenAI) -> tuple[str, str | None, APIError]:
    """A stream that fails: the arguments that came, how it is said to have ended, and the failure."""
    stream = openai.chat.completions.create(model=MODEL, messages=QUESTION, tools=TOOLS, stream=True)
    arguments, finish = "", None
    try:
        for chunk in stream:
            (choice,) = chunk.choices
            for one in choice.delta.tool_calls or ():
                arguments += (one.function and one.function.arguments) or ""
            finish = choice.finish_reason or finish
    except APIError as error:
        return arguments, finish, error
    raise AssertionError(f"it ended, as {finish}, after {arguments[-100:]!r}")


def _whole(arguments: str) -> Json | None:
    with contextlib.suppress(ValueError):
        found: Json = json.loads(arguments)
        return found
    return None


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_within_a_call_fails_a_whole_answer(demo: Demo, openai: OpenAI, fault: str) -> None:
    demo.program({"tool_calls": [call("write_file", path="a.txt", content=LONG)], "chunks": 200, "error": fault,
                  "after_chunks": 25, "sticky": True})  # fmt: skip
    with pytest.raises(APIStatusError) as caught:
        answer(openai, False, tools=TOOLS)
    assert caught.value.status_code >= 500


@BOTH
def test_a_call_that_broke_off_before_it_was_shown_is_asked_for_again(demo: Demo, openai: OpenAI, stream: bool) -> None:
    cut = damaged("run", '{"command": "rm -r ./build/cache"}')[:-30]
    demo.program({"text": cut, "nonce": MARK}, {"tool_calls": [call("run", command="ls")]})
    (choice,) = answer(openai, stream, tools=TOOLS).choices
    assert made(choice) == [("run", {"command": "ls"})]


async def test_arguments_can_be_kept_until_they_are_whole(tmp_path: Path) -> None:
    async with running(tmp_path, **QUICK, tool_arguments="complete") as rig:
        turn = {"tool_calls": [call("write_file", path="a.txt", content=LONG)], "chunks": 200}
        await rig.program({**turn, "error": "eof", "after_chunks": 25}, turn)
        found = await rig.post(ask(tools=TOOLS, stream=True))
    stream: Stream = found.stream()
    pieces = [one["function"].get("arguments", "") for delta in stream.deltas for one in delta.get("tool_calls", ())]
    assert (found.status, stream.finish, stream.error) == (200, "tool_calls", None)
    assert json.loads("".join(pieces))["content"] == LONG


# -- thinking


@BOTH
def test_a_call_at_the_end_of_the_reasoning_counts_when_no_answer_follows(
    demo: Demo, openai: OpenAI, stream: bool
) -> None:
    demo.program({"thinking": "I have to look at the file.", "tool_calls": [call("read_file", path="a.py")],
                  "calls_in": "thinking", "text": "", "thinking_style": "think"})  # fmt: skip
    (choice,) = answer(openai, stream, tools=TOOLS, model=f"{MODEL}-thinking").choices
    assert (made(choice), choice.finish_reason) == ([("read_file", {"path": "a.py"})], "tool_calls")


@BOTH
def test_a_call_in_the_reasoning_does_not_count_beside_an_answer(demo: Demo, openai: OpenAI, stream: bool) -> None:
    demo.program({"thinking": "Shall I?", "tool_calls": [call("run", command="rm -rf /")], "calls_in": "thinking",
                  "text": "No, I better ask you.", "thinking_style": "think"})  # fmt: skip
    (choice,) = answer(openai, stream, tools=TOOLS, model=f"{MODEL}-thinking").choices
    assert (choice.message.content, calls(choice)) == ("No, I better ask you.", [])


@BOTH
def test_a_call_in_the_reasoning_and_in_the_answer_is_one(demo: Demo, openai: OpenAI, stream: bool) -> None:
    demo.program({"thinking": "So:", "tool_calls": [call("clock")], "calls_in": "both", "thinking_style": "think"})
    (choice,) = answer(openai, stream, tools=TOOLS, model=f"{MODEL}-thinking").choices
    assert made(choice) == [("clock", {})]
