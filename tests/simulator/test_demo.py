"""The demo responder: honest, deterministic, and able to show each part of the pipeline."""

import asyncio

import aiohttp
import pytest

from qwen_gateway.simulator import Simulator, run

from .shapes import Json
from .visitor import FAST, Visitor, question

pytestmark = pytest.mark.anyio

PACKED = """## Instructions
Be brief.

### Tool list
Read(path: string)
Reads a file.
Bash(command: string, timeout?: number)
Runs a command.

## Conversation so far
--- k7q2 1 user ---
count to 3
--- k7q2 2 assistant ---
1 2 3
--- k7q2 3 user (answer this) ---
{last}
--- k7q2 end ---
[Reminder: …]"""


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("count to 3", "1 2 3"),
        ("Count to 99999", " 100"),
        ("repeat: a\n b", "a\n b"),
        ("say hello", "hello"),
        ("what was I sent?", "- Files: none\n- Tools: none\n- History entries: 1"),
        ("bonjour", "You wrote: bonjour"),
        ("", "This is the simulator of Qwen Gateway, not a Qwen model."),
    ],
)
async def test_it_understands_a_few_phrases(prompt: str, answer: str, visitor: Visitor) -> None:
    said = [(await visitor.ask(prompt)).said() for _ in range(2)]
    assert answer in said[0]
    assert said[0] == said[1]


@pytest.mark.parametrize("prompt", ["hello", "count to 3", "list", "search for x"])
async def test_it_says_that_it_is_the_simulator(prompt: str, visitor: Visitor) -> None:
    assert "This is the simulator of Qwen Gateway, not a Qwen model." in (await visitor.ask(prompt)).said()


async def test_it_answers_the_last_entry_of_a_packed_history(visitor: Visitor) -> None:
    assert (await visitor.ask(PACKED.format(last="repeat: fine"))).said() == "fine"


async def test_it_lists_files_tools_and_history(visitor: Visitor) -> None:
    body = question(await visitor.new_chat(), PACKED.format(last="list what I was sent"))
    messages = body["messages"]
    assert isinstance(messages, list)
    messages[0]["files"] = [{"name": "a.txt"}, {"name": "b.png"}]
    said = (await visitor.send(body)).said()
    for line in ("Files: a.txt, b.png", "Tools: Read, Bash", "History entries: 3", "thinking off"):
        assert line in said


async def test_it_reasons_only_when_asked_to(visitor: Visitor) -> None:
    for thinking in (False, True):
        phases = {delta["phase"] for delta in (await visitor.ask("think", thinking=thinking)).deltas()}
        assert ("thinking_summary" in phases) is thinking


async def test_it_searches_only_when_allowed_to(visitor: Visitor) -> None:
    for allowed in (False, True):
        features: Json = FAST | {"auto_search": allowed}
        reply = await visitor.send(question(await visitor.new_chat(), "search cats", features=features))
        assert ("web_search" in {delta["phase"] for delta in reply.deltas()}) is allowed


async def test_it_can_speak_at_a_human_pace() -> None:
    async with Simulator(delay_ms=10) as slow, aiohttp.ClientSession() as session:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await Visitor(slow, session).ask("repeat: a b c d")
        assert loop.time() - start >= 0.07


async def test_run_serves_until_cancelled(unused_port: int) -> None:
    task = asyncio.create_task(run("127.0.0.1", unused_port))
    await _answering(unused_port)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", unused_port)


async def _answering(port: int) -> None:
    """Waits until somebody listens."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.005)
        else:
            writer.close()
            return
