"""What every engine must do with the keys of clients."""

import asyncio

import msgspec
import pytest

from qwen_gateway.relay.ports import KeyRecord, KeyStore, Secret
from qwen_gateway.store.database import Database
from qwen_gateway.store.keys import SqlKeys
from qwen_gateway.store.revisions import SqlRevisions
from qwen_gateway.turn.faults import NameTaken

PLAIN = KeyRecord("k1", Secret(b"\x01" * 32), "Laptop", created_at=2.0)
FULL = KeyRecord(
    id="k2",
    digest=Secret(b"\x02" * 32),
    name="Server ’; DROP TABLE keys; --",
    role="admin",
    created_at=1.5,
    expires_at=9.25,
    enabled=False,
    models=("qwen3*", 'a "quoted", one'),
    endpoints=("openai_chat", "models"),
    requests_per_minute=0,
    concurrency=3,
    tokens_per_day=2**40,
    continuation="replay",
)


@pytest.fixture
def store(database: Database) -> SqlKeys:
    return SqlKeys(database)


async def number(database: Database) -> int:
    return (await SqlRevisions(database).read())["keys"]


async def test_all_of_a_key_comes_back_by_the_time_of_creation(database: Database) -> None:
    store: KeyStore = SqlKeys(database)
    assert await store.load() == []
    await store.add(PLAIN)
    await store.add(FULL)
    assert await store.load() == [FULL, PLAIN]


async def test_a_taken_name_is_named_and_nothing_is_changed(store: SqlKeys, database: Database) -> None:
    await store.add(PLAIN)
    await store.add(FULL)
    before = await number(database)
    with pytest.raises(NameTaken, match="another key named 'Laptop'"):
        await store.add(msgspec.structs.replace(FULL, id="k3", digest=Secret(b"3"), name="Laptop"))
    with pytest.raises(NameTaken, match="another key named 'Laptop'"):
        await store.replace(msgspec.structs.replace(FULL, name="Laptop"))
    assert await store.load() == [FULL, PLAIN]
    assert await number(database) == before


async def test_one_name_is_given_once_however_many_want_it(store: SqlKeys) -> None:
    wanted = [KeyRecord(f"k{n}", Secret(bytes([n]) * 32), "Wanted") for n in range(20)]
    ended = await asyncio.gather(*(store.add(key) for key in wanted), return_exceptions=True)
    assert sum(end is None for end in ended) == 1
    assert sum(isinstance(end, NameTaken) for end in ended) == 19


async def test_a_key_is_replaced_as_a_whole(store: SqlKeys, database: Database) -> None:
    await store.add(FULL)
    before = await number(database)
    plain = msgspec.structs.replace(PLAIN, id="k2", digest=FULL.digest)
    assert await store.replace(plain)
    assert await store.load() == [plain]
    assert await number(database) == before + 1


async def test_a_key_that_is_not_there_is_not_replaced(store: SqlKeys, database: Database) -> None:
    assert not await store.replace(PLAIN)
    assert await store.load() == []
    assert await number(database) == 0


async def test_adding_raises_the_number_of_keys_alone(store: SqlKeys, database: Database) -> None:
    await store.add(PLAIN)
    assert await SqlRevisions(database).read() == {"accounts": 0, "pauses": 0, "keys": 1}


async def test_a_digest_is_not_in_what_is_shown(store: SqlKeys, database: Database) -> None:
    canary = b"canary-digest"
    await store.add(msgspec.structs.replace(PLAIN, digest=Secret(canary)))
    assert "canary" not in repr(await store.load())
    with pytest.raises(NameTaken) as caught:
        await store.add(msgspec.structs.replace(PLAIN, id="k9", digest=Secret(canary)))
    assert caught.value.__cause__ is None
    assert "canary" not in f"{caught.value!r}"
