"""`ask`: an answer without a server, on standard output alone; its chat goes, whatever becomes of the command."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.cli.ask_rig import Rig, stopped, until
from tests.cli.conftest import PATIENCE, Commands

from qwen_gateway.simulator import Simulator

DOCS = [
    {"url": "https://example.com/a", "title": "All about tulips"},
    {"url": "https://example.com/b", "title": ""},
    {"url": "https://example.com/a", "title": "All about tulips"},
]
ENDLESS = {"text": "first " + "word " * 2000, "delay_ms": 20}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as sim:
        yield sim


@pytest.fixture
def rig(quick_commands: Commands, sim: Simulator) -> Rig:
    return Rig(sim, quick_commands)


async def test_the_answer_and_nothing_else_is_on_standard_output(commands: Commands, sim: Simulator) -> None:
    rig = Rig(sim, commands)
    rig.program(text="A tulip.\n\n\tIt is red.", thinking="Hm.")
    done = await rig.ask("What", "is this?")
    assert (done.returncode, done.stdout, done.stderr) == (0, "A tulip.\n\n\tIt is red.\n", "")
    assert rig.prompts == ["What is this?"]
    assert rig.left_over == []
    assert rig.sim.site.deleted


async def test_what_is_piped_in_stands_below_the_question(rig: Rig) -> None:
    assert (await rig.ask("Review this.", given="+ new line\n- old line\n")).returncode == 0
    assert (await rig.ask("-", given="Who are you?\n")).returncode == 0
    assert rig.prompts == ["Review this.\n\n+ new line\n- old line", "Who are you?"]


@pytest.mark.parametrize(("flags", "thinks"), [(("--thinking",), True), (("--no-thinking",), False)])
async def test_thinking_can_be_chosen(flags: tuple[str, ...], thinks: bool, rig: Rig) -> None:
    assert (await rig.ask("Hello", *flags)).stderr == ""
    assert [seen.thinking for seen in rig.sim.site.seen] == [thinks]


async def test_a_model_that_leaves_no_choice_answers_all_the_same_and_that_is_said(rig: Rig) -> None:
    done = await rig.ask("Hello", "--no-thinking", "--model", "qwen3.7-max")
    assert (done.returncode, done.stderr) == (0, "--no-thinking was ignored: qwen3.7-max leaves no choice there.\n")
    assert [seen.model for seen in rig.sim.site.seen] == ["qwen3.7-max"]


async def test_a_search_ends_with_its_sources(rig: Rig) -> None:
    rig.program(text=" Tulips are red.[[1]]", search={"queries": ["tulips"], "docs": DOCS, "lead": "I look."})
    done = await rig.ask("Tulips?", "--search")
    assert (done.returncode, done.stdout) == (0, "I look. Tulips are red.[1](https://example.com/a)\n")
    assert done.stderr == (
        "Sources:\n  All about tulips\n    https://example.com/a\n  https://example.com/b\n    https://example.com/b\n"
    )


async def test_json_has_all_of_the_answer(rig: Rig) -> None:
    rig.program(text="Red\x1b[2J.", thinking="Hm.", usage={"input": 7, "output": 5, "reasoning": 2})
    done = await rig.ask("Hello", "--json", "--thinking", "-m", "qwen3.7-plus")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    told = json.loads(done.stdout)
    usage = told.pop("usage")
    assert (usage["input"], usage["output"], usage["reasoning"]) == (7, 5, 2)
    assert told.pop("reasoning").endswith("Hm.")
    assert told == {"model": "qwen3.7-plus", "text": "Red\x1b[2J.", "finish": "stop", "sources": []}


async def test_raw_adds_no_line_break(rig: Rig) -> None:
    rig.program(text="Red.")
    assert (await rig.ask("Hello", "--raw")).stdout == "Red."


# -- when it does not go well


async def test_an_answer_that_breaks_off_is_no_success(rig: Rig) -> None:
    rig.program(text="one two three four", error="disconnect", after_chunks=2)
    done = await rig.ask("Count")
    assert (done.returncode, done.stdout) == (1, "one two\n")
    assert done.stderr.startswith("qwen-gateway: ")
    assert "Traceback" not in done.stderr
    assert rig.left_over == []


async def test_of_an_answer_that_breaks_off_there_is_no_json(rig: Rig) -> None:
    rig.program(text="one two three four", error="disconnect", after_chunks=2)
    done = await rig.ask("Count", "--json")
    assert (done.returncode, done.stdout) == (1, "")


async def test_what_the_site_refuses_is_said_plainly(rig: Rig) -> None:
    rig.program(error="challenge")
    done = await rig.ask("Hello")
    assert (done.returncode, done.stdout) == (1, "")
    why, left = done.stderr.splitlines()
    assert why.startswith("qwen-gateway: Qwen asks for a human check.")
    assert "still at Qwen's site" in left  # the account is left alone now


async def test_an_unknown_model_is_said_with_near_names(rig: Rig) -> None:
    done = await rig.ask("Hello", "-m", "qwen3.7-pulse")
    assert (done.returncode, done.stdout) == (1, "")
    assert "There is no model 'qwen3.7-pulse'. Near names: qwen3.7-plus" in done.stderr


async def test_without_an_account_it_says_how_to_connect_one(rig: Rig) -> None:
    del rig.environ["QWEN_GATEWAY_COOKIES"]
    done = await rig.ask("Hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("qwen-gateway: No Qwen account is connected")
    assert rig.sim.site.requests_total == 0


async def test_an_account_that_cannot_be_one_is_a_setting_that_cannot_be_used(rig: Rig) -> None:
    rig.environ["QWEN_GATEWAY_COOKIES"] = "canary-5f1c"
    done = await rig.ask("Hello")
    assert done.returncode == 2
    assert done.stderr.startswith("qwen-gateway: cookies: The cookies cannot be read.")
    assert "canary-5f1c" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_stops_the_answer_at_the_site(number: signal.Signals, code: int, rig: Rig) -> None:
    rig.program(**ENDLESS)
    process = await rig.started("Count", until="word word")
    ended, rest, said = await stopped(process, number)
    assert (ended, said) == (code, "")
    assert rest.endswith("\n")
    assert rig.sim.site.stops == 1
    assert rig.left_over == []


async def test_a_reader_that_leaves_stops_the_answer_at_the_site(rig: Rig) -> None:
    rig.program(**ENDLESS)
    process = await rig.started("Count", until="word")
    assert process.popen.stdout is not None
    process.popen.stdout.close()
    assert await asyncio.to_thread(process.popen.wait, PATIENCE) == 141
    assert process.popen.stderr is not None
    assert process.popen.stderr.read() == b""
    assert rig.sim.site.stops == 1
    assert rig.left_over == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that takes nothing")
@pytest.mark.parametrize("flags", [(), ("--json",)])
async def test_an_answer_that_cannot_be_written_is_no_success(flags: tuple[str, ...], rig: Rig) -> None:
    done = await rig.ask_into(Path("/dev/full"), "Hello", *flags)
    assert done.returncode == 1
    assert done.stderr == "qwen-gateway: the answer cannot be written: No space left on device.\n"
    assert rig.left_over == []


# -- chats that must not stay


async def test_a_chat_that_cannot_be_deleted_is_said_and_goes_with_the_next_question(rig: Rig) -> None:
    rig.program(text="ok")
    rig.sim.site.switches.delete_fault = "server"
    done = await rig.ask("Hello")
    assert (done.returncode, done.stdout) == (0, "ok\n")
    assert "still at Qwen's site" in done.stderr
    assert len(rig.left_over) == 1
    rig.sim.site.switches.delete_fault = None
    assert (await rig.ask("Hello")).stderr == ""
    assert rig.left_over == []


async def test_what_a_killed_one_has_left_goes_with_the_next_question(rig: Rig) -> None:
    await _killed(rig)
    assert len(rig.left_over) == 1
    assert (await rig.ask("Hello")).returncode == 0
    assert rig.left_over == []


async def test_what_a_killed_one_has_left_goes_at_the_next_start_of_the_gateway(rig: Rig) -> None:
    await _killed(rig)
    process = await rig.serving()
    await until(lambda: not rig.left_over)
    assert (await stopped(process, signal.SIGTERM))[0] == 0
    assert [json.loads(line) for line in rig.journal().read_text().splitlines()][-1].keys() == {"gone"}


async def test_it_runs_beside_a_gateway_and_beside_another_one(rig: Rig) -> None:
    process = await rig.serving()
    rig.program(**ENDLESS)
    first = await rig.started("Count", until="word")
    rig.sim.site.queue.clear()
    rig.program(text="Second.")
    done = await rig.ask("Hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Second.\n", "")
    assert rig.journal("asks-2.jsonl").exists()
    assert len(rig.left_over) == 1  # that of the first
    assert (await stopped(first, signal.SIGINT))[0] == 130
    assert rig.left_over == []
    assert (await stopped(process, signal.SIGTERM))[0] == 0


async def test_while_it_runs_a_gateway_can_be_started(rig: Rig) -> None:
    rig.program(**ENDLESS)
    first = await rig.started("Count", until="word")
    process = await rig.serving()
    assert len(rig.left_over) == 1
    assert (await stopped(first, signal.SIGINT))[0] == 130
    assert (await stopped(process, signal.SIGTERM))[0] == 0


async def _killed(rig: Rig) -> None:
    rig.program(**ENDLESS)
    process = await rig.started("Count", until="word")
    await stopped(process, signal.SIGKILL)
    rig.sim.site.queue.clear()
    await until(lambda: all(seen.ended for seen in rig.sim.site.seen))


# -- on a terminal


async def test_on_a_terminal_the_reasoning_is_dimmed_and_the_answer_harmless(rig: Rig) -> None:
    rig.program(text="Red\x1b[2J\x07:\n\tyes\u202e.", thinking="One\x1b[A.\n\nTwo.")
    shown = await rig.on_terminal("--thinking", "Hello").shown()
    reasoning, _, answer = shown.rpartition("\n\n")
    assert answer == "Red[2J:\n\tyes.\n"
    assert reasoning.startswith("\x1b[2m")
    plain = reasoning.replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert "One[A." in plain
    assert plain.endswith("Two.")
    assert "\x1b" not in plain


async def test_raw_is_raw_on_a_terminal_too(rig: Rig) -> None:
    rig.program(text="\x1b[1mRed\x1b[0m.")
    assert await rig.on_terminal("--no-thinking", "--raw", "Hello").shown() == "\x1b[1mRed\x1b[0m."
