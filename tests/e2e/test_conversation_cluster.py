"""Two gateways on one PostgreSQL: a conversation goes on at either of them, and in a chat only one asks at a time."""

import asyncio
import base64
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.services import Postgres

from qwen_gateway.simulator import Simulator
from qwen_gateway.simulator.turns import Turn

from . import process
from .conversations import FIRST, NEXT, UNKNOWN, branches
from .process import KEY, Gateway
from .rig import until
from .test_conversation_crashes import left_over, make_journal_due
from .test_crosstalk import Talk
from .wire import Json

pytestmark = pytest.mark.needs("postgresql")
BUSY = ("replay", "busy")
SLOW = Turn(text="slow", first_byte_ms=400, sticky=True)
"""Longer in coming than both gateways need to get to their question."""


class Cluster:
    """Gateways that share a database and an account. sim: their site."""

    def __init__(self, sim: Simulator, postgres: Postgres, url: str, directory: Path) -> None:
        self.sim, self._postgres, self._url, self._directory = sim, postgres, url, directory
        secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        self._settings: Json = {"site_url": sim.url, "database_url": url, "secret_key": secret, "api_keys": KEY}
        self._settings |= {"cookies": sim.cookies(), "delete_chats": 24}

    def serve(self, name: str) -> contextlib.AbstractContextManager[Gateway]:
        return process.serve(self._directory / name, **self._settings)

    def sql(self, statement: str) -> str:
        return self._postgres.sql(statement, self._url.rpartition("/")[2])

    def make_due(self) -> None:
        """Time passes for what is in the database: all is due, and nobody holds anything any more."""
        self.sql("UPDATE chats SET used = 0, created = 0, held_until = 0")

    async def written(self, answers: int, held: int = 0) -> None:
        """Waits until the database knows so many answers, and that in all chats but `held` nobody asks any more."""
        counts = "SELECT count(*) || ' ' || (SELECT count(owner) FROM chats) FROM nodes"
        await until(lambda: self.sql(counts) == f"{answers} {held}")

    @property
    def chats(self) -> list[list[list[str]]]:
        """The branches of those that are there."""
        return [branches(chat) for chat in self.sim.site.chats.values() if not chat.deleted]


@pytest.fixture
async def cluster(tmp_path: Path, postgres: Postgres) -> AsyncIterator[Cluster]:
    with postgres.fresh_database() as url:
        async with Simulator() as sim:
            sim.site.controlled = True
            yield Cluster(sim, postgres, url, tmp_path)


@pytest.fixture
def pair(cluster: Cluster) -> Iterator[tuple[Gateway, Gateway]]:
    with ExitStack() as stack:
        yield stack.enter_context(cluster.serve("a")), stack.enter_context(cluster.serve("b"))


async def test_what_began_at_one_goes_on_at_the_other(cluster: Cluster, pair: tuple[Gateway, Gateway]) -> None:
    """B34: another process takes the conversation up. B35: without the store it is told as a whole. B36: at the same
    moment one of the two goes on, and the other tells the whole."""
    a, b = pair
    talk = Talk(a.url)
    for number, gateway in enumerate((a, b, b, a), 1):
        talk.url = gateway.url
        await talk.say(f"question {number}")
        await cluster.written(number)
    assert talk.ways == [FIRST, NEXT, NEXT, NEXT]
    assert cluster.chats == [[talk.texts]]

    cluster.sim.site.queue.append(SLOW)
    for _ in range(3):
        both = [talk.fork(gateway.url) for gateway in pair]
        before = int(cluster.sql("SELECT count(*) FROM nodes"))
        await asyncio.gather(*(one.say(f"at once, to {one.url}") for one in both))
        assert sorted(one.ways[-1] for one in both) == [NEXT, BUSY]
        await cluster.written(before + 2)
        talk = next(one for one in both if one.ways[-1] == NEXT)
        assert talk.texts in cluster.chats[0]
    cluster.sim.site.queue.clear()
    assert len(cluster.chats) == 4

    cluster.sql("DELETE FROM nodes; DELETE FROM chats")
    for gateway in pair:
        talk.url = gateway.url
        await talk.say(f"to {gateway.url}")
        assert talk.ways[-1] == (UNKNOWN if gateway is a else NEXT)
        await cluster.written(1 if gateway is a else 2)


async def test_chats_of_a_gateway_that_was_killed_are_deleted_by_the_other(cluster: Cluster) -> None:
    """B36: whoever was killed holds its chats for a while."""
    sim = cluster.sim
    with cluster.serve("a") as a:
        talk, fresh = Talk(a.url), Talk(a.url)
        await talk.say("one")
        await cluster.written(1)
        sim.site.queue.append(Turn(text="word " * 400, delay_ms=10, sticky=True))
        running = [asyncio.create_task(one.say("two")) for one in (talk, fresh)]
        await until(lambda: len(sim.site.streams) == 2)
        a.process.kill()
        for one in await asyncio.gather(*running, return_exceptions=True):
            assert isinstance(one, ConnectionError | EOFError)
    sim.site.queue.clear()
    known, unknown = sim.site.chats
    with cluster.serve("b") as b:
        other = talk.fork(b.url)
        await other.send()
        assert other.ways == [BUSY], "for all that anybody knows, the first gateway still asks there"
        await cluster.written(2, held=1)
        cluster.sql("UPDATE chats SET held_until = 0")
        talk.url = b.url
        await talk.send()
        assert talk.ways[-1] == NEXT
        assert sim.site.seen[-1].chat_id == known
        await cluster.written(3)
    cluster.make_due()
    with cluster.serve("b"):
        await until(lambda: left_over(sim) == {unknown})
    make_journal_due(a.data_dir)
    with cluster.serve("a"):
        await until(lambda: not left_over(sim))
