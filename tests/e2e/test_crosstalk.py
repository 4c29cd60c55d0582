"""Many who say the same and hear the same, at the same time: what one of them has told is never in another's chat.

QWEN_GATEWAY_SOAK_SECONDS: how long they talk.
"""

import asyncio
import os
import random
import re
import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiohttp import web

from qwen_gateway.simulator import Simulator, completions
from qwen_gateway.simulator.seen import Seen
from qwen_gateway.simulator.turns import Turn

from . import process, wire
from .conversations import NEXT, PATH, Way, branches, way
from .process import KEY
from .wire import Json, ask, request_bytes

SECONDS = float(os.environ.get("QWEN_GATEWAY_SOAK_SECONDS", "2.5"))
CLIENTS = 20
GREETING = "Hello! Please wait for what I have to say."
ANSWER = "I have understood that. Tell me what I should do next, and I will do it as well as I can."
"""Long enough to be recognised by itself, if anything did that."""
WORD = re.compile(r"word-[0-9a-f]{16}")
MARK = re.compile(r"#\d+#")


class Talk:
    """One conversation of one client. word: what nobody else may ever hear.

    messages: as the client holds them. ways: how each request was answered that it waited for.
    """

    def __init__(self, url: str) -> None:
        self.url, self.word = url, f"word-{secrets.token_hex(8)}"
        self.messages: list[Json] = []
        self.ways: list[Way] = []

    @property
    def texts(self) -> list[str]:
        return [str(message["content"]) for message in self.messages]

    def fork(self, url: str) -> "Talk":
        """Another one with the same history."""
        other = Talk(url)
        other.word, other.messages = self.word, list(self.messages)
        return other

    async def say(self, text: str, *, stream: bool = False) -> None:
        self.messages.append({"role": "user", "content": text})
        await self.send(stream=stream)

    async def send(self, *, stream: bool = False) -> None:
        """Asks for the answer to the last message."""
        found = await wire.exchange(self.url, self._request(stream=stream), 30)
        if not found.whole:
            raise ConnectionResetError("the answer has no end")
        assert found.status == 200, found.body
        self.ways.append(way(found))
        if stream:
            events = found.stream()
            assert events.error is None, events.error
            text = events.text
        else:
            text = found.json()["choices"][0]["message"]["content"]
        self.messages.append({"role": "assistant", "content": text})

    async def regenerate(self) -> None:
        del self.messages[-1]
        await self.send()

    async def leave(self) -> None:
        """Asks, and is gone before the answer is complete."""
        async with wire.connection(self.url) as (reader, writer):
            writer.write(self._request(stream=True))
            await reader.readuntil(b"data: ")

    def _request(self, *, stream: bool) -> bytes:
        return request_bytes(PATH, ask(stream=stream) | {"messages": self.messages}, key=KEY)


class Crowd:
    """told: of each mark the whole conversation that ended with it when it was sent."""

    def __init__(self, url: str, rnd: random.Random) -> None:
        self._url, self._rnd = url, rnd
        self.told: dict[str, list[str]] = {}
        self.ways: Counter[Way] = Counter()
        self._until = asyncio.get_running_loop().time() + SECONDS

    async def client(self) -> None:
        while asyncio.get_running_loop().time() < self._until:
            talk = Talk(self._url)
            await talk.say(GREETING)
            await self._tell(talk)
            for _ in range(self._rnd.randrange(1, 4)):
                await talk.say("Go on.", stream=self._rnd.random() < 0.5)
                await self._anything(talk)
                await self._tell(talk)
            assert set(talk.texts[1::2]) == {ANSWER}
            self.ways.update(talk.ways)

    async def _tell(self, talk: Talk) -> None:
        """Says the word, under a mark that no other message has."""
        mark = f"#{len(self.told)}#"
        text = f"Do not forget {talk.word}. {mark}"
        self.told[mark] = [*talk.texts, text]
        await talk.say(text, stream=self._rnd.random() < 0.5)

    async def _anything(self, talk: Talk) -> None:
        """What people do beside asking."""
        luck = self._rnd.random()
        if luck < 0.2:
            await talk.regenerate()
        elif luck < 0.4:
            del talk.messages[-1]
            await talk.leave()
            await talk.send(stream=True)
        elif luck < 0.5 and len(talk.messages) > 4:
            del talk.messages[-4:]
            await self._tell(talk)


@pytest.mark.timeout(SECONDS + 60)
async def test_twenty_who_say_the_same_never_hear_of_one_another(tmp_path: Path) -> None:
    rnd = random.Random(20)  # noqa: S311 - choices, not secrets
    async with Simulator() as sim:
        sim.site.controlled = True
        sim.site.queue.append(Turn(text=ANSWER, chunks=30, delay_ms=3, sticky=True))
        settings: Json = {"site_url": sim.url, "cookies": sim.cookies(), "api_keys": KEY, "delete_chats": 24}
        with process.serve(tmp_path, max_chats=60, **settings) as gateway:
            crowd = Crowd(gateway.url, rnd)
            async with asyncio.TaskGroup() as group:
                for _ in range(CLIENTS):
                    group.create_task(crowd.client())
    print(f"{len(crowd.told)} messages with a word of their own, {len(sim.site.chats)} chats; {dict(crowd.ways)}")
    for chat in sim.site.chats.values():
        for branch in branches(chat):
            assert len(words(branch)) <= 1, branch
    views = [_view(sim, seen) for seen in sim.site.seen]
    assert all(len(words(view)) <= 1 for view in views)
    checked = [_check(view, crowd.told) for view in views]
    assert sum(checked) >= len(crowd.told)
    assert crowd.ways[NEXT] > sum(crowd.ways.values()) / 2


async def test_the_end_of_an_answer_that_was_left_is_not_that_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client asks again at once, and the site hears later that the first answer is not wanted any more."""
    stop = completions.stop

    async def late(request: web.Request) -> web.Response:
        await asyncio.sleep(0.1)
        return await stop(request)

    monkeypatch.setattr(completions, "stop", late)
    async with Simulator() as sim:
        sim.site.controlled = True
        sim.site.queue.append(Turn(text=ANSWER, chunks=3, delay_ms=5, sticky=True))
        settings: Json = {"site_url": sim.url, "cookies": sim.cookies(), "api_keys": KEY, "delete_chats": 24}
        with process.serve(tmp_path, **settings) as gateway:
            talk = Talk(gateway.url)
            await talk.say(GREETING)
            for number in range(4):
                talk.messages.append({"role": "user", "content": f"question {number}"})
                await talk.leave()
                await talk.send()
    assert talk.texts[1::2] == [ANSWER] * 5


def _view(sim: Simulator, seen: Seen) -> list[str]:
    """All that the model knew when it was asked this."""
    return [*(node.content for node in sim.site.chats[seen.chat_id].branch(seen.parent)), seen.prompt]


def words(texts: Sequence[str]) -> set[str]:
    return {word for text in texts for word in WORD.findall(text)}


def _check(view: list[str], told: dict[str, list[str]]) -> bool:
    """Whether the newest message has a mark. Then the model knows what that client has said, in that order, and nothing
    else."""
    marks = MARK.findall(view[-1])
    if not marks or "Go on." in view[-1].rpartition(marks[-1])[2]:
        return False
    known, at = "\n".join(view), 0
    for text in told[marks[-1]]:
        at = known.index(text, at) + len(text)
    for text in (GREETING, ANSWER, "Go on.", "Do not forget"):
        assert known.count(text) == sum(text in one for one in told[marks[-1]]), view
    return True
