"""Of many who want a chat at once, one process gets it, and each is told the truth."""

import asyncio

from tests.store.test_conversations import LEASE, ME, NOW, OTHER, answered, kept

from qwen_gateway.store.conversations import SqlConversations
from qwen_gateway.store.database import Database, Result, WorkInOne


class Counting(Database):
    writes = 0

    async def write_in_one(self, work: WorkInOne[Result]) -> Result:
        self.writes += 1
        return await super().write_in_one(work)


async def test_those_who_take_at_once_share_a_transaction_and_each_gets_its_own(url: str) -> None:
    database = Counting(url, seconds=20)
    store = SqlConversations(database)
    await store.remember([answered(kept(f"chat {each}")) for each in range(60)])
    for each in range(0, 60, 3):
        await store.take(f"chat {each}", OTHER, NOW, LEASE)
    await store.mark([f"chat {each}" for each in range(1, 60, 3)])
    before = database.writes
    taken = await asyncio.gather(*(store.take(f"chat {each}", ME, NOW, LEASE) for each in range(66)))
    assert taken == [each % 3 == 2 and each < 60 for each in range(66)]
    assert database.writes - before == 1
    await database.close()


async def test_of_two_processes_in_one_line_one_gets_each(database: Database) -> None:
    store = SqlConversations(database)
    await store.remember([answered(kept(f"chat {each}")) for each in range(40)])
    asked = [(f"chat {each}", owner) for each in range(40) for owner in (ME, OTHER, ME)]
    taken = await asyncio.gather(*(store.take(chat, owner, NOW, LEASE) for chat, owner in asked))
    holders = {chat: {owner for one, owner, got in zip_(asked, taken) if one == chat and got} for chat, _ in asked}
    assert all(len(each) == 1 for each in holders.values())
    refused = {(chat, owner) for chat, owner, got in zip_(asked, taken) if not got}
    assert all(owner not in holders[chat] for chat, owner in refused), "who has it may take it again"


async def test_processes_that_take_the_same_chats_in_any_order_do_not_wait_for_each_other(url: str) -> None:
    databases = [Database(url, seconds=20) for _ in range(3)]
    stores = [SqlConversations(database) for database in databases]
    await stores[0].remember([answered(kept(f"chat {each:02}")) for each in range(60)])

    async def take(process: int) -> list[str]:
        order = list(range(60)) if process % 2 else list(range(59, -1, -1))
        names = [f"chat {each:02}" for each in order]
        got = await asyncio.gather(*(stores[process].take(name, f"process {process}", NOW, LEASE) for name in names))
        return [name for name, taken in zip(names, got, strict=True) if taken]

    taken = [name for names in await asyncio.gather(*map(take, range(3))) for name in names]
    assert sorted(taken) == [f"chat {each:02}" for each in range(60)]
    for database in databases:
        await database.close()


async def test_who_leaves_before_its_turn_has_taken_nothing(database: Database) -> None:
    store = SqlConversations(database)
    await store.remember([answered(kept(name)) for name in ("a", "b")])
    asked = [asyncio.create_task(store.take(name, ME, NOW, LEASE)) for name in ("a", "b")]
    await asyncio.sleep(0)
    asked[0].cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    assert await store.take("a", OTHER, NOW, LEASE)
    assert not await store.take("b", OTHER, NOW, LEASE)


def zip_(asked: list[tuple[str, str]], taken: list[bool]) -> list[tuple[str, str, bool]]:
    return [(chat, owner, got) for (chat, owner), got in zip(asked, taken, strict=True)]
