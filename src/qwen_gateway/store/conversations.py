"""Chats that are kept at the site, and the places in them where conversations can go on.

What changes several chats locks them in the order of their ids, and before it touches their nodes. So no two
transactions wait for each other; and of a chat that is marked while an answer in it is being remembered, no node stays.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any

import structlog
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Executable,
    Select,
    and_,
    case,
    delete,
    func,
    or_,
    select,
    update,
)

from qwen_gateway.relay.ports import KeptChat, NodeField, Remembered
from qwen_gateway.store.database import Database
from qwen_gateway.store.schema import chats, nodes
from qwen_gateway.store.search import Search
from qwen_gateway.store.takes import Takes, free, in_order
from qwen_gateway.store.texts import LONGEST, cleaner
from qwen_gateway.turn.places import Node

MOST_OLD = 500
"""Chats that `mark_old` marks at once."""
BATCH = 500
"""Chats in one statement."""
TOGETHER = (64, 8, 1)
"""Nodes in one statement of SQLite; why is said in `store/usage`."""
MOST_TOKENS = 2**60

_ROW = f"({', '.join('?' * len(nodes.columns))})"
_values = attrgetter(*(column.name for column in nodes.columns))
_CHAT = select(*(chats.c[name] for name in KeptChat.__struct_fields__))
_COUNT = select(chats.c.account, chats.c.marked, func.count()).group_by(chats.c.account, chats.c.marked)

_log = structlog.get_logger()


def _cleaner(column: Column[Any]) -> Callable[[object], str]:
    return cleaner(getattr(column.type, "length", None) or LONGEST)


_as_id, _as_account, _as_tenant = (_cleaner(chats.c[name]) for name in ("id", "account", "tenant"))
_as_answer = _cleaner(nodes.c.answer_id)


class SqlConversations:
    """Satisfies `relay.ports.ConversationStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keep = _keep(database)
        self._insert = database.insert(nodes).on_conflict_do_nothing()
        self._statement = ""
        self._search = Search(database)
        self._takes = Takes(database)

    async def find(self, field: NodeField, values: Sequence[bytes], owner: str, now: float) -> list[Node]:
        return await self._search.find(field, values, owner, now)

    async def take(self, chat_id: str, owner: str, now: float, seconds: float) -> bool:
        return await self._takes.take(chat_id, owner, now, seconds)

    async def hold(self, chat_ids: Sequence[str], owner: str, now: float, seconds: float) -> None:
        await self._change(chat_ids, chats.c.owner == owner, {"held_until": now + seconds})

    async def release(self, chat_ids: Sequence[str], owner: str) -> None:
        await self._change(chat_ids, chats.c.owner == owner, {"owner": None, "held_until": 0.0})

    async def remember(self, answers: Sequence[Remembered]) -> None:
        """What has an id that no column takes is left out, and logged: it must not keep others from being stored."""
        kept: dict[str, dict[str, Any]] = {}
        found: list[Node] = []
        for answer in filter(_fits, answers):
            first = kept.setdefault(answer.chat.id, _chat_columns(answer.chat))
            first["used"] = max(first["used"], answer.chat.used)
            found += answer.nodes
        if kept:
            await self._database.write_in_one(partial(self._remember, [kept[each] for each in sorted(kept)], found))

    async def knows(self, chat_ids: Sequence[str]) -> set[str]:
        def work(connection: Connection) -> set[str]:
            found: set[str] = set()
            for some in _batches(chat_ids):
                found.update(connection.scalars(select(chats.c.id).where(chats.c.id.in_(some))))
            return found

        return await self._database.read_in_one(work) if chat_ids else set()

    async def mark(self, chat_ids: Sequence[str]) -> None:
        def work(connection: Connection) -> None:
            for some in _batches(chat_ids):
                _mark(in_order(chats.c.id.in_(some)), connection)

        if chat_ids:
            await self._database.write_in_one(work)

    async def mark_tenant(self, tenant: str) -> int:
        whose = in_order(chats.c.tenant == _as_tenant(tenant))
        return await self._database.write_in_one(partial(_mark, whose))

    async def mark_old(self, *, used_before: float, created_before: float, most: int, now: float) -> int:
        rank = func.row_number().over(
            partition_by=chats.c.account, order_by=(chats.c.used.desc(), chats.c.created.desc(), chats.c.id)
        )
        ranked = select(chats.c.id, rank.label("rank")).where(chats.c.marked.is_(False)).subquery()
        too_many = select(ranked.c.id).where(ranked.c.rank > most)
        old = or_(chats.c.used < used_before, chats.c.created < created_before, chats.c.id.in_(too_many))
        # Of two processes that do this at once, neither waits for the other.
        oldest = select(chats.c.id).where(free(now), old).order_by(chats.c.used, chats.c.id)
        return await self._database.write_in_one(
            partial(_mark, oldest.limit(MOST_OLD).with_for_update(skip_locked=True))
        )

    async def claim_marked(
        self, accounts: Sequence[str], owner: str, now: float, seconds: float, most: int
    ) -> list[KeptChat]:
        wanted = and_(chats.c.marked.is_(True), chats.c.account.in_(accounts), free(now))
        query = _CHAT.where(wanted).order_by(chats.c.used, chats.c.id).limit(most).with_for_update(skip_locked=True)

        def work(connection: Connection) -> list[KeptChat]:
            found = [KeptChat(*row) for row in connection.execute(query)]
            claim = update(chats).values(owner=owner, held_until=now + seconds)
            for some in _batches([chat.id for chat in found]):
                connection.execute(claim.where(chats.c.id.in_(some)))
            return found

        return await self._database.write_in_one(work) if accounts and most > 0 else []

    async def gone(self, chat_ids: Sequence[str]) -> None:
        def work(connection: Connection) -> None:
            for some in _batches(chat_ids):
                connection.execute(delete(chats).where(chats.c.id.in_(in_order(chats.c.id.in_(some)))))
                connection.execute(delete(nodes).where(nodes.c.chat_id.in_(some)))

        if chat_ids:
            await self._database.write_in_one(work)

    async def count(self) -> dict[str, int]:
        def work(connection: Connection) -> dict[str, int]:
            counts: dict[str, int] = {}
            for account, marked, count in connection.execute(_COUNT):
                name = "" if marked else account
                counts[name] = counts.get(name, 0) + count
            return counts

        return await self._database.read_in_one(work)

    async def _change(self, chat_ids: Sequence[str], where: ColumnElement[bool], values: Mapping[str, Any]) -> None:
        def work(connection: Connection) -> None:
            for some in _batches(chat_ids):
                wanted = in_order(and_(chats.c.id.in_(some), where))
                connection.execute(update(chats).where(chats.c.id.in_(wanted)).values(values))

        if chat_ids:
            await self._database.write_in_one(work)

    def _remember(self, kept: list[dict[str, Any]], found: list[Node], connection: Connection) -> None:
        alive = set(connection.scalars(self._keep, kept))
        rows = [_node_columns(node) for node in found if node.chat_id in alive]
        if not self._statement:
            self._statement = str(self._insert.compile(dialect=connection.dialect))
        if not self._database.is_sqlite:
            if rows:
                connection.exec_driver_sql(self._statement, rows)
            return
        at = 0
        for size in TOGETHER:
            statement = self._statement.replace(_ROW, ", ".join([_ROW] * size))
            while len(rows) - at >= size:
                connection.exec_driver_sql(statement, tuple(chain.from_iterable(rows[at : at + size])))
                at += size


def _keep(database: Database) -> Executable:
    """Adds chats; gives the ids of those that are not marked. A marked one is left as it is."""
    statement = database.insert(chats)
    used = statement.excluded.used
    return statement.on_conflict_do_update(
        index_elements=[chats.c.id],
        set_={"used": case((used > chats.c.used, used), else_=chats.c.used)},
        where=chats.c.marked.is_(False),
    ).returning(chats.c.id)


def _mark(query: Select[str], connection: Connection) -> int:
    """Marks what the query finds and locks, and only then removes the nodes: those that were remembered meanwhile
    too."""
    found = list(connection.scalars(query.where(chats.c.marked.is_(False))))
    for some in _batches(found):
        connection.execute(update(chats).where(chats.c.id.in_(some)).values(marked=True))
        connection.execute(delete(nodes).where(nodes.c.chat_id.in_(some)))
    return len(found)


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    ordered = sorted(set(ids))
    return (ordered[at : at + BATCH] for at in range(0, len(ordered), BATCH))


def _fits(answer: Remembered) -> bool:
    chat = answer.chat
    fits = (
        _as_id(chat.id) == chat.id
        and _as_account(chat.account) == chat.account
        and all(_as_answer(node.answer_id) == node.answer_id for node in answer.nodes)
    )
    if not fits:
        _log.error("answer_not_remembered", chat=chat.id[:100], account=chat.account[:100])
    return fits


def _chat_columns(chat: KeptChat) -> dict[str, Any]:
    values = {name: getattr(chat, name) for name in KeptChat.__struct_fields__}
    return {**values, "tenant": _as_tenant(chat.tenant), "marked": False, "owner": None, "held_until": 0.0}


def _node_columns(node: Node) -> tuple[Any, ...]:
    """Values in the order of the table's columns."""
    *digests, tokens, created = _values(node)
    return *digests, max(0, min(tokens, MOST_TOKENS)), created
