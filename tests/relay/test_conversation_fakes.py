"""The store that the other tests here use says the same as the real one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import structs
from tests.services import place_sqlite

from qwen_gateway.relay.ports import ConversationStore, NodeField
from qwen_gateway.store.conversations import SqlConversations
from qwen_gateway.store.database import Database, sqlite_url

from .conversation_fakes import FakeConversationStore, answered

ME, OTHER = "me", "other"


@pytest.fixture(params=["fake", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ConversationStore]:
    if request.param == "fake":
        yield FakeConversationStore()
        return
    place_sqlite(tmp_path / "store.db")
    database = Database(sqlite_url(tmp_path / "store.db"), seconds=20)
    yield SqlConversations(database)
    await database.close()


async def found(store: ConversationStore, *keys: bytes, field: NodeField = "key", owner: str = ME) -> list[str]:
    return [node.chat_id for node in await store.find(field, keys, owner, 0.0)]


async def test_answers_are_found_by_each_field_those_of_the_chats_used_last_first(store: ConversationStore) -> None:
    await store.remember([answered("old", at=1.0), answered("new", at=2.0, likeness=b"alike")])
    await store.remember([answered("old", at=1.0)])
    assert await found(store, b"key", b"another") == ["new", "old"]
    assert await found(store, b"hkey", field="handle") == ["new", "old"]
    assert await found(store, b"alike", field="likeness") == ["new"]
    assert await found(store, b"another") == []


async def test_only_the_last_use_of_a_chat_changes(store: ConversationStore) -> None:
    await store.remember([answered("a", at=5.0), answered("b", at=6.0)])
    await store.remember([answered("a", b"second", at=7.0)])
    await store.remember([answered("b", b"third", at=1.0)])
    assert await found(store, b"key") == ["a", "b"]


async def test_one_process_holds_a_chat(store: ConversationStore) -> None:
    await store.remember([answered()])
    assert await store.take("chat", ME, 0.0, 30)
    assert await store.take("chat", ME, 0.0, 30)
    assert not await store.take("chat", OTHER, 29.0, 30)
    assert [node.busy for node in await store.find("key", [b"key"], OTHER, 0.0)] == [True]
    assert [node.busy for node in await store.find("key", [b"key"], ME, 0.0)] == [False]
    await store.hold(["chat"], OTHER, 20.0, 30)
    await store.hold(["chat"], ME, 20.0, 30)
    assert not await store.take("chat", OTHER, 49.0, 30)
    await store.release(["chat"], OTHER)
    assert not await store.take("chat", OTHER, 49.0, 30)
    await store.release(["chat"], ME)
    assert await store.take("chat", OTHER, 49.0, 30)
    assert await store.take("chat", ME, 79.0, 30), "its time was over"
    assert not await store.take("nowhere", ME, 0.0, 30)


async def test_a_marked_chat_never_comes_back_and_is_known_until_it_is_gone(store: ConversationStore) -> None:
    await store.remember([answered()])
    await store.mark(["chat", "nowhere"])
    await store.remember([answered(key=b"late")])
    assert await found(store, b"key", b"late") == []
    assert not await store.take("chat", ME, 0.0, 30)
    assert await store.knows(["chat", "nowhere"]) == {"chat"}
    assert await store.count() == {"": 1}
    await store.gone(["chat"])
    assert await store.knows(["chat"]) == set()
    assert await store.count() == {}


async def test_marked_chats_are_claimed_once_for_a_while(store: ConversationStore) -> None:
    await store.remember([answered("a", at=1.0), answered("b", at=2.0), answered("c", at=3.0)])
    await store.take("b", OTHER, 0.0, 30)
    assert await store.mark_tenant("me") == 3
    claimed = await store.claim_marked(["u"], ME, 1.0, 300, 1)
    assert [chat.id for chat in claimed] == ["a"]
    assert [chat.id for chat in await store.claim_marked(["u"], OTHER, 1.0, 300, 9)] == ["c"]
    assert await store.claim_marked(["another"], OTHER, 999.0, 300, 9) == []
    assert [chat.id for chat in await store.claim_marked(["u"], OTHER, 999.0, 300, 9)] == ["a", "b", "c"]


async def test_old_chats_and_too_many_of_one_account_are_marked_unless_they_are_held(store: ConversationStore) -> None:
    for at in range(1, 7):
        await store.remember([answered(f"c{at}", at=float(at))])
    young = answered("young", at=90.0)
    await store.remember([structs.replace(young, chat=structs.replace(young.chat, created=50.0))])
    await store.take("c2", ME, 0.0, 30)
    assert await store.mark_old(used_before=3.0, created_before=0.0, most=9, now=1.0) == 1
    assert await store.mark_old(used_before=0.0, created_before=0.0, most=4, now=1.0) == 1
    assert await found(store, b"key") == ["young", "c6", "c5", "c4", "c2"]
    assert await store.mark_old(used_before=0.0, created_before=5.5, most=9, now=100.0) == 3
    assert await found(store, b"key") == ["young", "c6"]
