"""A gateway that is killed while conversations go on: what is to go goes all the same, and never anything else.

QWEN_GATEWAY_SOAK_KILLS: how often it is killed.
"""

import asyncio
import contextlib
import json
import os
import random
import sqlite3
import sys
from collections import Counter
from pathlib import Path

import pytest

from qwen_gateway.simulator import Simulator
from qwen_gateway.simulator.turns import Turn

from . import process, wire
from .conversations import NEXT, Way, branches
from .process import KEY
from .rig import until
from .test_crosstalk import Talk, words
from .wire import Json, request_bytes

KILLS = int(os.environ.get("QWEN_GATEWAY_SOAK_KILLS", "3"))
TALKS = 8
AT_ONCE = 50
"""Chats that a gateway deletes after its start, before it looks again."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes in another way")


async def _by_hand(sim: Simulator, title: str, cookies: str) -> str:
    """A chat that a person made in the browser."""
    headers = {"Cookie": cookies, "source": "web", "Version": "0.3.12"}
    body = {"title": title, "models": [wire.MODEL]}
    answer = await wire.exchange(sim.url, request_bytes("/api/v2/chats/new", body, **headers))
    return str(answer.json()["data"]["id"])


def make_journal_due(data: Path) -> None:
    """Time passes until all in the journal is to be deleted."""
    journal = data / "chats.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        if "put" in line:
            line["put"]["due"] = 0.0
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _make_due(data: Path) -> None:
    """Days pass: all is to be deleted, and nobody holds anything any more."""
    make_journal_due(data)
    _change(data, "UPDATE chats SET used = 0, created = 0, held_until = 0")


def _let_go(data: Path) -> None:
    """Half a minute passes: what the killed process held is free."""
    _change(data, "UPDATE chats SET held_until = 0")


def _change(data: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(data / "gateway.db")) as database, database:
        database.execute(statement)


def left_over(sim: Simulator) -> set[str]:
    """Chats that are there."""
    return {chat.id for chat in sim.site.chats.values() if not chat.deleted}


async def _talk(talk: Talk, rnd: random.Random, killed: asyncio.Event) -> None:
    """Until the gateway is gone. A message that got no answer is dropped."""
    try:
        while True:
            luck = rnd.random()
            if luck < 0.15 and talk.messages:
                await talk.regenerate()
                continue
            if luck < 0.3:
                del talk.messages[-4:]  # an earlier question is put in another way
            talk.messages.append({"role": "user", "content": f"{talk.word} {rnd.randrange(10**9)}"})
            if luck > 0.8:
                await talk.leave()
            await talk.send(stream=luck > 0.5)
    except (ConnectionError, EOFError):
        if not killed.is_set():
            raise
        if talk.messages[-1]["role"] == "user":
            del talk.messages[-1]


@pytest.mark.timeout(60 + 5 * KILLS)
async def test_whenever_it_is_killed_the_chats_go_when_they_are_due(tmp_path: Path) -> None:
    rnd = random.Random(6)  # noqa: S311 - moments, not secrets
    ways: Counter[Way] = Counter()
    data = tmp_path / "data"
    async with Simulator() as sim:
        sim.site.controlled = True
        sim.site.queue.append(Turn(text="an answer of some words " * 4, delay_ms=2, sticky=True))
        cookies = sim.cookies()
        settings: Json = {"site_url": sim.url, "cookies": cookies, "api_keys": KEY, "delete_chats": 24}
        theirs = {await _by_hand(sim, title, cookies) for title in ("API plans", "New Chat", "", "API 123")}
        talks: list[Talk] = []
        for number in range(KILLS):
            with process.serve(tmp_path, **settings) as gateway:
                talks = [*talks[: TALKS // 2], *(Talk("") for _ in range(TALKS))][:TALKS]
                rnd.shuffle(talks)
                for talk in talks:
                    talk.url, talk.ways = gateway.url, []
                killed = asyncio.Event()
                clients = [asyncio.create_task(_talk(talk, rnd, killed)) for talk in talks]
                await asyncio.sleep(0.1 + rnd.random() * 0.7)
                killed.set()
                gateway.process.kill()
                await asyncio.gather(*clients)
                ways.update(way for talk in talks for way in talk.ways)
            (_let_go, _make_due)[number % 2](data)
        made = len(sim.site.chats) - len(theirs)
        assert left_over(sim) > theirs
        while left_over(sim) != theirs:
            _make_due(data)
            goal = max(len(left_over(sim)) - AT_ONCE, len(theirs))
            with process.serve(tmp_path, **settings):
                await until(lambda goal=goal: len(left_over(sim)) <= goal, 20)  # type: ignore[misc]
    print(f"{KILLS} kills, {made} chats, {dict(ways)}")
    assert not set(sim.site.deleted) & theirs
    assert ways[NEXT] > KILLS
    for chat in sim.site.chats.values():
        assert all(len(words(branch)) <= 1 for branch in branches(chat)), "each has gone on with its own conversation"
