"""The database's side of conversations, in memory."""

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec import structs

from qwen_gateway.relay.ports import ConversationStore, KeptChat, NodeField, Remembered
from qwen_gateway.turn.faults import StorageUnavailable
from qwen_gateway.turn.places import Node


class FakeConversationStore:
    """Satisfies `ConversationStore`, for any number of processes.

    away: what every method raises; `None` while all is well. refuses: ids of chats that `remember` raises for, as a
    database does that is well. log: what was done, oldest first. holds: methods of a name wait for the event before
    they act. lost: the answer to the next call of a name is lost, after what it did.
    """

    def __init__(self) -> None:
        self.chats: dict[str, KeptChat] = {}
        self.nodes: dict[tuple[bytes, str, str], Node] = {}
        self.marked: set[str] = set()
        self.owners: dict[str, tuple[str, float]] = {}
        self.away: StorageUnavailable | None = None
        self.refuses: set[str] = set()
        self.holds: dict[str, asyncio.Event] = {}
        self.lost: set[str] = set()
        self.log: list[str] = []

    async def find(self, field: NodeField, values: Sequence[bytes], owner: str, now: float) -> list[Node]:
        await self._asked("find", f"{field} {len(values)}")
        found = [
            structs.replace(node, busy=self._is_held(node.chat_id, now, but_by=owner))
            for node in self.nodes.values()
            if getattr(node, field) in values
        ]
        return sorted(found, key=lambda node: (-self.chats[node.chat_id].used, -node.created, node.answer_id))[:200]

    async def take(self, chat_id: str, owner: str, now: float, seconds: float) -> bool:
        await self._asked("take", chat_id)
        if chat_id not in self.chats or chat_id in self.marked or self._is_held(chat_id, now, but_by=owner):
            return False
        self.owners[chat_id] = (owner, now + seconds)
        self._answered("take")
        return True

    async def hold(self, chat_ids: Sequence[str], owner: str, now: float, seconds: float) -> None:
        await self._asked("hold", *chat_ids)
        for chat_id in chat_ids:
            if self._owner(chat_id) == owner:
                self.owners[chat_id] = (owner, now + seconds)

    async def release(self, chat_ids: Sequence[str], owner: str) -> None:
        await self._asked("release", *chat_ids)
        for chat_id in chat_ids:
            if self._owner(chat_id) == owner:
                del self.owners[chat_id]

    async def remember(self, answers: Sequence[Remembered]) -> None:
        await self._asked("remember", *(answer.chat.id for answer in answers))
        if any(answer.chat.id in self.refuses for answer in answers):
            raise ValueError("a value that no column takes")
        for answer in answers:
            chat = answer.chat
            if chat.id in self.marked:
                continue
            known = self.chats.setdefault(chat.id, chat)
            self.chats[chat.id] = structs.replace(known, used=max(known.used, chat.used))
            for node in answer.nodes:
                self.nodes.setdefault((node.key, node.chat_id, node.answer_id), node)
        self._answered("remember")

    async def knows(self, chat_ids: Sequence[str]) -> set[str]:
        await self._asked("knows", *chat_ids)
        return {chat_id for chat_id in chat_ids if chat_id in self.chats}

    async def mark(self, chat_ids: Sequence[str]) -> None:
        await self._asked("mark", *chat_ids)
        self._mark(chat_ids)

    async def mark_tenant(self, tenant: str) -> int:
        await self._asked("mark_tenant", tenant)
        return self._mark([chat.id for chat in self.chats.values() if chat.tenant == tenant])

    async def mark_old(self, *, used_before: float, created_before: float, most: int, now: float) -> int:
        await self._asked("mark_old", f"{used_before:.0f} {created_before:.0f} {most}")
        ranks: dict[str, int] = {}
        old: list[KeptChat] = []
        for chat in sorted(self.chats.values(), key=lambda chat: (-chat.used, -chat.created, chat.id)):
            if chat.id in self.marked:
                continue
            ranks[chat.account] = ranks.get(chat.account, 0) + 1
            too_many = ranks[chat.account] > most
            if (too_many or chat.used < used_before or chat.created < created_before) and not self._is_held(
                chat.id, now
            ):
                old.append(chat)
        return self._mark([chat.id for chat in sorted(old, key=lambda chat: chat.used)][:500])

    async def claim_marked(
        self, accounts: Sequence[str], owner: str, now: float, seconds: float, most: int
    ) -> list[KeptChat]:
        await self._asked("claim", *accounts)
        found = [
            chat
            for chat in sorted(self.chats.values(), key=lambda chat: (chat.used, chat.id))
            if chat.id in self.marked and chat.account in accounts and not self._is_held(chat.id, now)
        ][:most]
        for chat in found:
            self.owners[chat.id] = (owner, now + seconds)
        return found

    async def gone(self, chat_ids: Sequence[str]) -> None:
        await self._asked("gone", *chat_ids)
        for chat_id in chat_ids:
            self._forget_nodes(chat_id)
            self.chats.pop(chat_id, None)
            self.marked.discard(chat_id)
            self.owners.pop(chat_id, None)

    async def count(self) -> dict[str, int]:
        await self._asked("count")
        counts: dict[str, int] = {}
        for chat in self.chats.values():
            name = "" if chat.id in self.marked else chat.account
            counts[name] = counts.get(name, 0) + 1
        return counts

    def did(self, name: str) -> list[str]:
        """What was done under this name, without the name."""
        return [entry.partition(" ")[2] for entry in self.log if entry.split()[0] == name]

    async def _asked(self, name: str, *about: str) -> None:
        self.log.append(" ".join((name, *about)))
        await asyncio.sleep(0)
        if name in self.holds:
            await self.holds[name].wait()
        if self.away is not None:
            raise StorageUnavailable(self.away.text)

    def _answered(self, name: str) -> None:
        if name in self.lost:
            self.lost.discard(name)
            raise StorageUnavailable("The answer was lost.")

    def _owner(self, chat_id: str) -> str | None:
        return self.owners[chat_id][0] if chat_id in self.owners else None

    def _is_held(self, chat_id: str, now: float, but_by: str | None = None) -> bool:
        owner, until = self.owners.get(chat_id, (None, 0.0))
        return owner is not None and owner != but_by and until > now

    def _mark(self, chat_ids: Sequence[str]) -> int:
        fresh = {chat_id for chat_id in chat_ids if chat_id in self.chats} - self.marked
        self.marked |= fresh
        for chat_id in fresh:
            self._forget_nodes(chat_id)
        return len(fresh)

    def _forget_nodes(self, chat_id: str) -> None:
        self.nodes = {place: node for place, node in self.nodes.items() if node.chat_id != chat_id}


def _satisfied(store: FakeConversationStore) -> ConversationStore:
    """Only for mypy: the fake is what the port asks for."""
    return store


def answered(chat_id: str = "chat", key: bytes = b"key", *, at: float = 0.0, **changes: Any) -> Remembered:
    """An answer in a chat of the account `u` and of the tenant `me`."""
    chat = KeptChat(chat_id, "u", "me", created=at, used=at)
    plain = Node(key, chat_id, f"answer-{key.decode()}", "u", bones=b"b" + key, handle=b"h" + key, created=at)
    return Remembered(chat, (structs.replace(plain, **changes),))
