"""Many who look for something at once are each told what they alone would have been told."""

import asyncio
import random

import pytest
from msgspec import structs
from tests.store.test_conversations import ME, NOW, OTHER, answered, kept, node

from qwen_gateway.relay.ports import KeptChat, NodeField, Remembered
from qwen_gateway.store.conversations import SqlConversations
from qwen_gateway.store.database import Database, Result, WorkInOne
from qwen_gateway.store.search import MOST_NODES, Search
from qwen_gateway.turn.places import Node


class Counting(Database):
    reads = 0

    async def read_in_one(self, work: WorkInOne[Result]) -> Result:
        self.reads += 1
        return await super().read_in_one(work)


@pytest.fixture
def store(database: Database) -> SqlConversations:
    return SqlConversations(database)


async def test_those_who_look_at_once_share_a_statement(url: str) -> None:
    database = Counting(url, seconds=20)
    store = SqlConversations(database)
    await store.remember([answered(kept(f"chat {each}"), b"%d" % each) for each in range(64)])
    before = database.reads
    found = await asyncio.gather(*(store.find("key", [b"%d" % each], ME, NOW) for each in range(64)))
    assert [[node.chat_id for node in nodes] for nodes in found] == [[f"chat {each}"] for each in range(64)]
    assert database.reads - before == 1
    await database.close()


@pytest.mark.parametrize("seed", range(4))
async def test_each_is_told_what_it_alone_would_be_told(seed: int, database: Database) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test's
    store = SqlConversations(database)
    chats = [kept(f"chat {each}", used=NOW + used) for each, used in enumerate(chance.sample(range(30), 30))]
    last_use = {chat.id: chat.used for chat in chats}
    for chat in chats:
        keys = chance.sample(range(20), 5)
        await store.remember([Remembered(chat, tuple(_node(chat, key, chance) for key in keys))])
    for chat in chance.sample(chats, 10):
        await store.take(chat.id, chance.choice((ME, OTHER)), NOW, chance.choice((10.0, 30.0)))
    fields: tuple[NodeField, ...] = ("key", "likeness", "handle")
    asked = [
        (
            field,
            [_value(field, chance.randrange(25)) for _ in range(chance.randrange(6))],
            chance.choice((ME, OTHER)),
            NOW + chance.randrange(20),
        )
        for field in fields
        for _ in range(20)
    ]
    together = await asyncio.gather(*(store.find(*each) for each in asked))
    assert any(together)
    for each, found in zip(asked, together, strict=True):
        assert await store.find(*each) == found
        uses = [last_use[node.chat_id] for node in found]
        assert uses == sorted(uses, reverse=True)


async def test_one_who_finds_very_many_leaves_none_out_for_the_others(store: SqlConversations) -> None:
    many = MOST_NODES * 3 + 10
    await store.remember([answered(kept(f"many {each}", used=NOW + 1 + each), b"many") for each in range(many)])
    await store.remember([answered(kept("old"), b"old")])
    found = await asyncio.gather(*(store.find("key", [key], ME, NOW) for key in (b"many", b"old", b"none")))
    assert [len(nodes) for nodes in found] == [MOST_NODES, 1, 0]
    assert [node.chat_id for node in found[0]] == [
        f"many {each}" for each in range(many - 1, many - 1 - MOST_NODES, -1)
    ]


async def test_more_values_than_one_statement_takes(store: SqlConversations) -> None:
    await store.remember([answered(kept(f"chat {each}"), b"%d" % each) for each in range(20)])
    many = [b"none %d" % each for each in range(499)]
    found = await asyncio.gather(*(store.find("key", [*many, b"%d" % each], ME, NOW) for each in range(20)))
    assert [[node.chat_id for node in nodes] for nodes in found] == [[f"chat {each}"] for each in range(20)]


async def test_who_looks_for_nothing_asks_nobody(url: str) -> None:
    database = Counting(url, seconds=20)
    assert await Search(database).find("key", [], ME, NOW) == []
    assert database.reads == 0
    await database.close()


def _node(chat: KeptChat, key: int, chance: random.Random) -> Node:
    made = node(chat, b"%d" % key, f"answer {key}", created=NOW + chance.randrange(3))
    return structs.replace(made, likeness=_value("likeness", key) if chance.random() < 0.7 else None)


def _value(field: NodeField, key: int) -> bytes:
    return {"key": b"%d", "likeness": b"like%d", "handle": b"handle%d"}[field] % key
