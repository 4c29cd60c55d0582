"""A program that works on somebody's code through OpenAI's client, as agents do: forty turns in one chat."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from qwen_gateway.simulator import Simulator
from qwen_gateway.simulator.seen import Seen
from qwen_gateway.simulator.turns import Turn

from . import process
from .conversations import FIRST, NEXT, Way, branches
from .process import KEY, Gateway
from .rig import until
from .wire import MODEL, Json

TURNS = 40
REGENERATED = (7, RESTARTED := 20, 33)
"""Turns whose answer is wanted a second time; of one of them after a restart."""
EDITED = {12: 2, 30: 1}
"""After which turns an earlier question is put in another way: so many turns before the last one."""
INSTRUCTIONS = "You work on the code of this person. Ask for files, then say what to change in them. " * 40


class Agent:
    """messages: its history. paths: for each answer all texts that led to it, the oldest first, and the answer."""

    def __init__(self, sim: Simulator) -> None:
        self._sim = sim
        self.messages: list[Any] = [{"role": "system", "content": INSTRUCTIONS}]
        self.requests: list[list[Json]] = []
        self.ways: list[Way] = []
        self.paths: list[list[str]] = []

    @contextlib.asynccontextmanager
    async def at(self, gateway: Gateway) -> AsyncIterator[None]:
        url, key = gateway.base_url, gateway.key
        async with AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=20) as self._client:
            yield

    async def say(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})
        await self._send()

    async def regenerate(self) -> None:
        del self.messages[-1]
        await self._send()

    async def edit(self, before: int, text: str) -> None:
        """Puts the question of so many turns before the last one in another way; what followed it is gone."""
        del self.messages[-2 * (before + 1) :]
        await self.say(text)

    async def _send(self) -> None:
        number = len(self.requests)
        # Some answers are all the same: that must not matter.
        answer = "Done. What is next?" if number % 9 == 8 else f"Change {number}: " + "this line becomes better. " * 12
        self._sim.site.queue.append(Turn(text=answer, chunks=40))
        self.requests.append(list(self.messages))
        way, said = await self.ask(self.messages, stream=number % 2 == 0)
        assert said == answer
        self.ways.append(way)
        self.messages.append({"role": "assistant", "content": said})
        self.paths.append([message["content"] for message in self.messages[1:]])

    async def ask(self, messages: list[Any], *, stream: bool = False, way: str = "auto") -> tuple[Way, str]:
        async with self._client.chat.completions.with_streaming_response.create(
            model=MODEL, messages=messages, stream=stream, extra_headers={"X-Continuation": way}
        ) as response:
            went, _, reason = response.headers["x-gateway-continuation"].partition("; reason=")
            found: Any = await response.parse()
            if not stream:
                return (went, reason), found.choices[0].message.content
            return (went, reason), "".join([chunk.choices[0].delta.content or "" async for chunk in found])


def _ends(paths: list[list[str]]) -> list[list[str]]:
    """Those that no other goes on from."""
    return [path for path in paths if not any(len(one) > len(path) and one[: len(path)] == path for one in paths)]


def _result(turn: int) -> str:
    """What such a program tells the model of a file."""
    lines = (f"{line:3} def part_{turn}_{line}(x): return x + {line}  # as before" for line in range(20))
    return f"[read_file src/part_{turn}.py]\n" + "\n".join(lines)


def _wrapping(seen: Seen) -> int:
    """Bytes of the request to the site that are no question."""
    return seen.size - len(json.dumps(seen.prompt).encode())


async def _work(agent: Agent, turns: range) -> None:
    for turn in turns:
        await agent.say(_result(turn))
        if turn in REGENERATED and turn != RESTARTED:
            await agent.regenerate()
        if turn in EDITED:
            await agent.edit(EDITED[turn], f"{_result(turn)}\nLook at the last line only.")


async def _ended(gateway: Gateway) -> None:
    gateway.signal()
    assert await asyncio.to_thread(gateway.exit_code) == 0  # the site of this loop must answer meanwhile


async def test_forty_turns_stand_in_one_chat_each_below_the_answer_that_it_follows(tmp_path: Path) -> None:
    async with Simulator() as sim:
        sim.site.controlled = True
        settings: Json = {"site_url": sim.url, "cookies": sim.cookies(), "api_keys": KEY, "delete_chats": 24}
        agent = Agent(sim)
        with process.serve(tmp_path, **settings) as gateway:
            async with agent.at(gateway):
                await _work(agent, range(1, RESTARTED + 1))
            await _ended(gateway)
        with process.serve(tmp_path, **settings) as gateway:
            async with agent.at(gateway):
                await agent.regenerate()
                await _work(agent, range(RESTARTED + 1, TURNS + 1))
                assert agent.ways == [FIRST] + [NEXT] * (TURNS + len(REGENERATED) + len(EDITED) - 1)

                (chat,) = sim.site.chats.values()
                found = [[agent.messages[1]["content"], *branch[1:]] for branch in branches(chat)]
                assert INSTRUCTIONS.strip() in branches(chat)[0][0]
                assert sorted(found) == sorted(_ends(agent.paths))
                assert len(found) == 1 + len(REGENERATED) + len(EDITED)

                await _nothing_was_sent_twice(sim, agent)


async def _nothing_was_sent_twice(sim: Simulator, agent: Agent) -> None:
    """Each question went alone. All requests, told again as a whole, show what that has saved."""
    _, *others = asked = list(sim.site.seen)
    assert [seen.prompt for seen in others] == [path[-2] for path in agent.paths[1:]]
    assert {seen.parent is None for seen in others} == {False}
    assert max(map(_wrapping, others)) < 1500
    ways = await asyncio.gather(*(agent.ask(messages, way="replay") for messages in agent.requests))
    assert {way[0] for way, _ in ways} == {"replay"}
    sent, whole = (sum(seen.size for seen in some) for some in (asked, sim.site.seen[len(asked) :]))
    print(f"{len(asked)} requests: {sent} bytes sent, {whole} when each tells the whole conversation")
    assert sent < whole / 10
    await until(lambda: len(sim.site.deleted) == len(agent.requests))
