"""What every engine must do with the chats that are kept, and the places in them."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import Connection, func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from qwen_gateway.relay.ports import ConversationStore, KeptChat, NodeField, Remembered
from qwen_gateway.store import conversations as module
from qwen_gateway.store.conversations import SqlConversations
from qwen_gateway.store.database import Database
from qwen_gateway.store.schema import chats, nodes
from qwen_gateway.store.search import FOUND
from qwen_gateway.turn.faults import StorageUnavailable
from qwen_gateway.turn.places import Node

NOW = 1_800_000_000.0
LEASE = 30.0
ME, OTHER = "one process", "another process"


def kept(name: str = "chat", **changes: Any) -> KeptChat:
    return structs.replace(KeptChat(name, "account", "tenant", created=NOW, used=NOW), **changes)


def node(chat: KeptChat, key: bytes = b"key", answer: str = "answer", **changes: Any) -> Node:
    plain = Node(key, chat.id, answer, chat.account, bones=b"bones" + key, handle=b"handle" + key, created=NOW)
    return structs.replace(plain, **changes)


def answered(chat: KeptChat, *keys: bytes) -> Remembered:
    """One answer for each key."""
    return Remembered(chat, tuple(node(chat, key, f"answer {key.hex()}") for key in keys or (b"key",)))


async def known(store: SqlConversations, *keys: bytes, owner: str = ME, now: float = NOW) -> list[str]:
    """The chats in which these keys are found."""
    return [found.chat_id for found in await store.find("key", keys or (b"key",), owner, now)]


async def rows(database: Database, table: Any) -> int:
    async def work(connection: AsyncConnection) -> int:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()

    return await database.read(work)


async def used(database: Database) -> dict[str, float]:
    async def work(connection: AsyncConnection) -> dict[str, float]:
        return {row.id: row.used for row in await connection.execute(select(chats.c.id, chats.c.used))}

    return await database.read(work)


@pytest.fixture
def store(database: Database) -> SqlConversations:
    return SqlConversations(database)


@pytest.fixture
async def other(url: str) -> AsyncIterator[SqlConversations]:
    """Of a second process: it does not stand in our line."""
    database = Database(url, seconds=20)
    yield SqlConversations(database)
    await database.close()


# --- remembering and finding ---


async def test_all_of_a_node_comes_back(database: Database) -> None:
    store: ConversationStore = SqlConversations(database)
    chat = kept()
    full = node(
        chat,
        likeness=b"\x00like\xff",
        instructions=b"",
        tools=b"tools",
        tokens=2**40,
        created=NOW + 0.25,
    )
    plain = node(chat, b"\x00" * 16, "another", handle=b"")
    await store.remember([Remembered(chat, (full, plain))])
    assert await store.find("key", [b"key"], ME, NOW) == [full]
    assert await store.find("key", [b"\x00" * 16], ME, NOW) == [plain]


@pytest.mark.parametrize(
    ("field", "values", "found"),
    [
        ("key", [b"a"], ["1"]),
        ("key", [b"a", b"b", b"c"], ["1", "2"]),
        ("handle", [b"handlea"], ["1"]),
        ("likeness", [b"like"], ["1", "2"]),
        ("likeness", [b"handlea", b"a", b""], []),
        ("key", [], []),
    ],
)
async def test_nodes_are_found_by_each_field(
    store: SqlConversations, field: NodeField, values: Sequence[bytes], found: list[str]
) -> None:
    chat = kept()
    ours = (node(chat, b"a", "1", likeness=b"like"), node(chat, b"b", "2", likeness=b"like"), node(chat, b"d", "3"))
    await store.remember([Remembered(chat, ours)])
    assert sorted(each.answer_id for each in await store.find(field, values, ME, NOW)) == found


async def test_those_of_the_chats_used_last_come_first_and_newer_answers_before_older(store: SqlConversations) -> None:
    chats_ = [kept(f"chat {number}", used=NOW + number % 3) for number in range(3)]
    await store.remember([answered(chat) for chat in chats_])
    await store.remember([Remembered(chats_[1], (node(chats_[1], answer="newer", created=NOW + 5),))])
    found = await store.find("key", [b"key"], ME, NOW)
    assert [each.chat_id for each in found] == ["chat 2", "chat 1", "chat 1", "chat 0"]
    assert found[1].answer_id == "newer"


async def test_no_more_is_looked_for_and_found_than_is_useful(store: SqlConversations) -> None:
    await store.remember([answered(kept(f"chat {number}", used=NOW + number)) for number in range(250)])
    found = await known(store)
    assert found == [f"chat {number}" for number in range(249, 49, -1)]
    many = [number.to_bytes(4, "big") for number in range(600)]
    await store.remember([answered(kept("last", used=NOW + 1000), many[499], many[500])])
    assert await known(store, *many) == ["last"]


async def test_the_same_once_more_changes_nothing(store: SqlConversations, database: Database) -> None:
    answers = [answered(kept("a"), b"1", b"2"), answered(kept("b"), b"1")]
    await store.remember(answers)
    before = await store.find("key", [b"1", b"2"], ME, NOW)
    await store.remember(answers)
    await store.remember([*answers, *answers])
    assert await store.find("key", [b"1", b"2"], ME, NOW) == before
    assert (await rows(database, chats), await rows(database, nodes)) == (2, 3)


async def test_a_node_that_is_there_stays_as_it_was_first(store: SqlConversations) -> None:
    chat = kept()
    await store.remember([Remembered(chat, (node(chat, tokens=5),))])
    await store.remember([Remembered(chat, (node(chat, tokens=6, bones=b"others"),))])
    (found,) = await store.find("key", [b"key"], ME, NOW)
    assert (found.tokens, found.bones) == (5, b"boneskey")


async def test_of_a_chat_that_is_there_only_the_last_use_changes_and_it_only_grows(
    store: SqlConversations, database: Database
) -> None:
    await store.remember([answered(kept())])
    await store.remember([answered(kept(used=NOW + 9, account="other", tenant="other", created=NOW - 9), b"2")])
    await store.remember([answered(kept(used=NOW + 5), b"3"), answered(kept(used=NOW + 2), b"4")])
    new = [kept("new", used=NOW + each, account=account) for each, account in ((5, "account"), (7, "b"), (2, "c"))]
    await store.remember([answered(chat) for chat in new])
    assert await used(database) == {"chat": NOW + 9, "new": NOW + 7}
    assert await store.count() == {"account": 2}
    assert await store.mark_tenant("other") == 0


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 63, 64, 65, 200, 700])
async def test_any_number_of_answers_at_once(store: SqlConversations, database: Database, count: int) -> None:
    each = [answered(kept(f"chat {number % 150}", used=NOW + number), b"%d" % number) for number in range(count)]
    await store.remember(each)
    assert await rows(database, nodes) == count
    assert await rows(database, chats) == min(count, 150)
    assert set((await used(database)).values()) == {NOW + number for number in range(max(0, count - 150), count)}


async def test_a_chat_can_be_kept_before_an_answer_in_it_is_known(store: SqlConversations) -> None:
    await store.remember([Remembered(kept(), ())])
    assert await store.knows(["chat"]) == {"chat"}


async def test_all_or_nothing_is_remembered(
    store: SqlConversations, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Node) -> tuple[Any, ...]:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(module, "_node_columns", broken)
        with pytest.raises(ZeroDivisionError):
            await store.remember([answered(kept())])
    assert (await rows(database, chats), await rows(database, nodes)) == (0, 0)


@pytest.mark.parametrize("odd", ["a\0b", "\ud800", "x" * 101])
async def test_an_id_that_no_column_takes_costs_no_other_answer(store: SqlConversations, odd: str) -> None:
    chat = kept()
    with capture_logs() as logs:
        await store.remember([
            answered(kept(odd)),
            Remembered(kept("odd"), (node(kept("odd"), answer=odd),)),
            Remembered(chat, (node(chat, tokens=2**200),)),
            answered(kept("whose", tenant=odd * 3)),
        ])  # fmt: skip
    assert await store.knows(["chat", "odd", "whose"]) == {"chat", "whose"}
    assert [line["event"] for line in logs] == ["answer_not_remembered"] * 2
    assert await store.mark_tenant(odd * 3) == 1


async def test_which_chats_are_known(store: SqlConversations) -> None:
    many = [kept(f"chat {number}") for number in range(1200)]
    await store.remember([answered(chat) for chat in many])
    await store.mark(["chat 7"])
    ids = [chat.id for chat in many]
    assert await store.knows([*ids, "another"]) == set(ids)
    assert await store.knows([]) == set()


# --- holding ---


async def test_a_chat_is_held_by_one_process_and_busy_for_the_others(store: SqlConversations) -> None:
    await store.remember([answered(kept())])
    assert await store.take("chat", ME, NOW, LEASE)
    assert await store.take("chat", ME, NOW + 1, LEASE), "a process may take what it holds"
    assert not await store.take("chat", OTHER, NOW + 1, LEASE)
    (mine,) = await store.find("key", [b"key"], ME, NOW)
    (theirs,) = await store.find("key", [b"key"], OTHER, NOW)
    assert (mine.busy, theirs.busy) == (False, True)


async def test_what_is_given_back_is_free_at_once(store: SqlConversations) -> None:
    await store.remember([answered(kept())])
    await store.take("chat", ME, NOW, LEASE)
    await store.release(["chat"], OTHER)
    assert not await store.take("chat", OTHER, NOW, LEASE), "nobody gives back what another one holds"
    await store.release(["chat", "unheard of"], ME)
    assert not (await store.find("key", [b"key"], OTHER, NOW))[0].busy
    assert await store.take("chat", OTHER, NOW, LEASE)


async def test_a_process_that_says_nothing_any_more_holds_nothing(store: SqlConversations) -> None:
    await store.remember([answered(kept())])
    await store.take("chat", ME, NOW, LEASE)
    assert not await store.take("chat", OTHER, NOW + LEASE - 1, LEASE)
    assert not (await store.find("key", [b"key"], OTHER, NOW + LEASE))[0].busy
    assert await store.take("chat", OTHER, NOW + LEASE, LEASE)
    await store.hold(["chat"], ME, NOW + LEASE, LEASE)
    assert await store.take("chat", OTHER, NOW + LEASE + 1, LEASE), "it is not taken back"
    assert not await store.take("chat", ME, NOW + LEASE + 2, LEASE)


async def test_holding_on_takes_effect_for_own_chats_alone(store: SqlConversations) -> None:
    await store.remember([answered(kept(name)) for name in "abc"])
    await store.take("a", ME, NOW, LEASE)
    await store.take("b", OTHER, NOW, LEASE)
    await store.hold(["a", "b", "c", "unheard of"], ME, NOW + 10, LEASE)
    await store.hold([], ME, NOW, LEASE)
    at = NOW + LEASE + 5
    assert [await store.take(name, "third", at, LEASE) for name in "abc"] == [False, True, True]


async def test_a_chat_that_is_not_there_cannot_be_taken(store: SqlConversations) -> None:
    assert not await store.take("chat", ME, NOW, LEASE)


async def test_of_two_processes_one_gets_the_chat_each_time(store: SqlConversations, other: SqlConversations) -> None:
    await store.remember([answered(kept(f"chat {number}")) for number in range(100)])
    for number in range(100):
        chat = f"chat {number}"
        got = await asyncio.gather(store.take(chat, ME, NOW, LEASE), other.take(chat, OTHER, NOW, LEASE))
        assert sorted(got) == [False, True]
        (found,) = [each for each in await store.find("key", [b"key"], ME, NOW) if each.chat_id == chat]
        assert found.busy is got[1]


# --- going ---


async def test_a_marked_chat_is_not_found_not_taken_and_still_known(
    store: SqlConversations, database: Database
) -> None:
    await store.remember([answered(kept("a"), b"1"), answered(kept("b"), b"1")])
    await store.mark(["a", "unheard of"])
    await store.mark([])
    assert await known(store, b"1") == ["b"]
    assert not await store.take("a", ME, NOW, LEASE)
    assert await store.knows(["a", "unheard of"]) == {"a"}
    assert await rows(database, nodes) == 1
    assert await store.count() == {"account": 1, "": 1}


async def test_a_marked_chat_never_comes_back(store: SqlConversations, database: Database) -> None:
    await store.remember([answered(kept("a"))])
    await store.take("a", ME, NOW, LEASE)
    await store.mark(["a"])
    await store.remember([answered(kept("a", used=NOW + 9), b"late"), answered(kept("b"), b"late")])
    assert await known(store, b"key", b"late") == ["b"]
    assert await used(database) == {"a": NOW, "b": NOW}
    await store.hold(["a"], ME, NOW, LEASE)
    await store.release(["a"], ME)
    assert not await store.take("a", ME, NOW, LEASE)
    assert await known(store, b"key", b"late") == ["b"]


async def test_marking_and_remembering_at_once_leaves_no_node_of_a_marked_chat(
    store: SqlConversations, other: SqlConversations, database: Database
) -> None:
    for number in range(50):
        names = [f"{number} {each}" for each in range(6)]
        await store.remember([answered(kept(name)) for name in names])
        late = [answered(kept(name, used=NOW + 1), b"late") for name in reversed(names)]
        await asyncio.gather(
            other.remember(late),
            store.mark(names[:4]),
            other.hold(names[::-1], OTHER, NOW, 1),
            store.release(names, ME),
        )
    assert await rows(database, nodes) == 50 * 2 * 2
    assert await store.count() == {"account": 100, "": 200}


async def test_all_chats_of_a_tenant_go(store: SqlConversations) -> None:
    for number in range(3):
        await store.remember([answered(kept(f"{tenant} {number}", tenant=tenant)) for tenant in "ab"])
    await store.take("a 1", ME, NOW, LEASE)
    await store.mark(["a 2"])
    assert await store.mark_tenant("a") == 2
    assert await store.mark_tenant("a") == 0
    assert sorted(await known(store)) == ["b 0", "b 1", "b 2"]
    assert await store.count() == {"account": 3, "": 3}


async def test_more_chats_than_one_statement_takes_go_together(store: SqlConversations) -> None:
    names = [f"chat {number}" for number in range(1203)]
    await store.remember([answered(kept(name)) for name in names])
    await store.mark(names[:601])
    assert await store.count() == {"account": 602, "": 601}
    assert await store.mark_tenant("tenant") == 602
    await store.gone(names)
    assert await store.count() == {}


async def old(store: SqlConversations, **changes: Any) -> int:
    limits: dict[str, Any] = {"used_before": 0.0, "created_before": 0.0, "most": 100, "now": NOW}
    return await store.mark_old(**{**limits, **changes})


async def test_chats_that_were_not_used_or_were_made_long_ago_go(store: SqlConversations) -> None:
    await store.remember([
        answered(kept("unused", used=NOW - 100.5)),
        answered(kept("used", used=NOW - 99.5)),
        answered(kept("ancient", created=NOW - 1000.5)),
    ])  # fmt: skip
    assert await old(store) == 0
    assert await old(store, used_before=NOW - 100, created_before=NOW - 1000) == 2
    assert await known(store) == ["used"]
    assert await old(store, used_before=NOW - 100, created_before=NOW - 1000) == 0


async def test_of_each_account_the_chats_used_last_stay(store: SqlConversations) -> None:
    for account in ("a", "b"):
        answers = [answered(kept(f"{account} {each}", account=account, used=NOW + each)) for each in range(5)]
        await store.remember(answers)
    await store.remember([answered(kept("c 0", account="c"))])
    await store.mark(["b 4"])
    assert await old(store, most=2) == 3 + 2
    assert sorted(await known(store)) == ["a 3", "a 4", "b 2", "b 3", "c 0"]


async def test_a_chat_that_is_held_is_never_old(store: SqlConversations, other: SqlConversations) -> None:
    await store.remember([answered(kept(f"chat {each}", used=NOW - each)) for each in range(4)])
    await store.take("chat 3", OTHER, NOW, LEASE)
    await other.take("chat 2", ME, NOW, LEASE)
    assert await old(store, used_before=NOW + 1, created_before=NOW + 1, most=0) == 2
    assert await old(store, used_before=NOW + 1, most=1, now=NOW + LEASE - 1) == 0
    assert sorted(await known(store)) == ["chat 2", "chat 3"]
    assert await old(store, most=1, now=NOW + LEASE) == 1
    assert await known(store) == ["chat 2"]


async def test_a_chat_is_either_taken_or_marked_as_old(store: SqlConversations, other: SqlConversations) -> None:
    for number in range(60):
        chat = f"chat {number}"
        await store.remember([answered(kept(chat))])
        racing: list[Any] = [other.take(chat, OTHER, NOW, LEASE), old(store, created_before=NOW + 1)]
        first = number % 2
        ended = await asyncio.gather(racing[first], racing[1 - first])
        taken, marked = ended[first], ended[1 - first]
        assert taken is not bool(marked)
        assert await known(store) == [chat] * taken
        await store.gone([chat])


async def test_no_more_than_500_are_marked_at_once(store: SqlConversations) -> None:
    await store.remember([answered(kept(f"chat {each}", used=NOW + each)) for each in range(620)])
    assert await old(store, created_before=NOW + 1) == 500
    assert (await store.find("key", [b"key"], ME, NOW))[-1].chat_id == "chat 500", "the oldest go first"
    assert await old(store, created_before=NOW + 1) == 120


async def test_marked_chats_are_claimed_once_for_a_while(store: SqlConversations) -> None:
    mine = [kept(f"chat {each}", used=NOW + each, tenant="whose") for each in range(3)]
    await store.remember([answered(chat) for chat in (*mine, kept("theirs", account="b"), kept("stays"))])
    await store.mark([chat.id for chat in mine] + ["theirs"])
    assert await store.claim_marked(["account", "c"], ME, NOW, LEASE, 2) == mine[:2]
    assert await store.claim_marked(["account"], OTHER, NOW, LEASE, 2) == mine[2:]
    assert await store.claim_marked(["account"], ME, NOW + LEASE - 1, LEASE, 5) == []
    assert await store.claim_marked([], ME, NOW, LEASE, 5) == []
    assert await store.claim_marked(["b"], ME, NOW, LEASE, 0) == []
    assert await store.claim_marked(["account"], OTHER, NOW + LEASE, LEASE, 5) == mine


async def test_a_marked_chat_that_somebody_asks_in_is_claimed_only_after_that(store: SqlConversations) -> None:
    await store.remember([answered(kept())])
    await store.take("chat", ME, NOW, LEASE)
    await store.mark(["chat"])
    assert await store.claim_marked(["account"], ME, NOW, LEASE, 5) == []
    await store.hold(["chat"], ME, NOW + LEASE, LEASE)
    assert await store.claim_marked(["account"], OTHER, NOW + LEASE + 1, LEASE, 5) == []
    await store.release(["chat"], ME)
    assert await store.claim_marked(["account"], OTHER, NOW + LEASE + 1, LEASE, 5) == [kept()]


async def test_of_two_processes_one_claims_each_marked_chat(store: SqlConversations, other: SqlConversations) -> None:
    names = [f"chat {number}" for number in range(300)]
    await store.remember([answered(kept(name)) for name in names])
    await store.mark(names)
    claimed: list[str] = []
    for _ in range(100):
        both = await asyncio.gather(
            store.claim_marked(["account"], ME, NOW, LEASE, 2), other.claim_marked(["account"], OTHER, NOW, LEASE, 2)
        )
        claimed += [chat.id for each in both for chat in each]
        assert all(len(each) <= 2 for each in both)
    assert len(claimed) == len(set(claimed)) >= 200


async def test_what_is_gone_leaves_nothing(store: SqlConversations, database: Database) -> None:
    await store.remember([answered(kept("a"), b"1", b"2"), answered(kept("b"), b"1")])
    await store.mark(["a"])
    await store.gone(["a", "unheard of"])
    await store.gone([])
    assert await store.knows(["a", "b"]) == {"b"}
    await store.gone(["b"])
    assert (await rows(database, chats), await rows(database, nodes)) == (0, 0)
    await store.remember([answered(kept("a"))])
    assert await known(store) == ["a"], "one that is gone leaves no mark"


async def test_chats_are_counted_by_account(store: SqlConversations) -> None:
    assert await store.count() == {}
    each = [
        answered(kept(f"{account} {n}", account=account)) for account, most in (("a", 3), ("b", 1)) for n in range(most)
    ]
    await store.remember(each)
    assert await store.count() == {"a": 3, "b": 1}
    await store.mark(["a 0", "b 0"])
    assert await store.count() == {"a": 2, "": 2}


# --- a database in trouble ---


async def everything(store: SqlConversations) -> list[object]:
    """What each method raises."""
    calls = (
        store.find("key", [b"key"], ME, NOW),
        store.take("chat", ME, NOW, LEASE),
        store.hold(["chat"], ME, NOW, LEASE),
        store.release(["chat"], ME),
        store.remember([answered(kept())]),
        store.knows(["chat"]),
        store.mark(["chat"]),
        store.mark_tenant("tenant"),
        old(store),
        store.claim_marked(["account"], ME, NOW, LEASE, 5),
        store.gone(["chat"]),
        store.count(),
    )
    return list(await asyncio.gather(*calls, return_exceptions=True))


async def test_a_database_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/file/gateway.sqlite3", seconds=1)
    ended = await everything(SqlConversations(database))
    assert [type(each) for each in ended] == [StorageUnavailable] * 12
    await database.close()


@pytest.mark.needs("postgresql")
async def test_a_server_that_is_away_is_said_to_be() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none", seconds=1)
    ended = await everything(SqlConversations(database))
    assert [type(each) for each in ended] == [StorageUnavailable] * 12
    await database.close()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # PostgreSQL locks no files
async def test_looking_up_does_not_wait_for_another_process_that_writes(url: str) -> None:
    database = Database(url, seconds=0.5)
    store = SqlConversations(database)
    await store.remember([answered(kept())])
    holder = sqlite3.connect(database.url.database or "", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert await known(store) == ["chat"]
    with pytest.raises(StorageUnavailable, match="locked"):
        await store.take("chat", ME, NOW, LEASE)
    holder.execute("ROLLBACK")
    holder.close()
    assert await store.take("chat", ME, NOW, LEASE)
    await database.close()


# --- the work that it makes ---


def statements(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Filled with what SQLite is sent from now on."""
    sent: list[str] = []
    real = Database.write_in_one

    async def watched(self: Database, work: Any) -> Any:
        def traced(connection: Connection) -> Any:
            raw: Any = connection.connection.driver_connection
            raw.set_trace_callback(sent.append)
            try:
                return work(connection)
            finally:
                raw.set_trace_callback(None)

        return await real(self, traced)

    monkeypatch.setattr(Database, "write_in_one", watched)
    return sent


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_batch_is_written_in_few_statements(
    store: SqlConversations, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = statements(database, monkeypatch)
    await store.remember([answered(kept(f"chat {each}"), b"%d" % each) for each in range(200)])
    assert len(sent) == 1 + 3 + 1
    sent.clear()
    await store.take("chat 1", ME, NOW, LEASE)
    assert len(sent) == 1


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # PostgreSQL plans by what is in the tables
async def test_finding_uses_the_indexes(database: Database) -> None:
    async def plan(query: Any, values: dict[str, Any], connection: AsyncConnection) -> str:
        sent = query.compile(dialect=connection.dialect).construct_expanded_state(values)
        explained = f"EXPLAIN QUERY PLAN {sent.statement}"
        return str((await connection.exec_driver_sql(explained, sent.positional_parameters)).all())

    indexes: tuple[tuple[NodeField, str], ...] = (("key", "sqlite_autoindex_nodes_1"), ("handle", "ix_nodes_handle"))
    for field, index in indexes:
        values = {"values": [bytes([number]) for number in range(50)], "most": 200}
        said = await database.read(partial(plan, FOUND[field], values))
        assert f"SEARCH nodes USING INDEX {index}" in said
        assert "SEARCH chats USING INDEX sqlite_autoindex_chats_1 (id=?)" in said
    marked = select(chats.c.id).where(chats.c.marked.is_(True), chats.c.account.in_(["a"]))
    assert "ix_chats_" in await database.read(partial(plan, marked, {}))
