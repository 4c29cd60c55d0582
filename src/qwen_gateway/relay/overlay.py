"""Answers that are known to this process and not yet to the database."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from qwen_gateway.relay.ports import NodeField, Remembered
from qwen_gateway.turn.places import Node

_FIELDS: tuple[NodeField, ...] = ("key", "likeness", "handle")


class Overlay:
    """Oldest first. `chat_id in overlay`: there is an answer of this chat."""

    def __init__(self) -> None:
        self._answers: dict[int, Remembered] = {}  # by identity
        self._nodes: dict[tuple[NodeField, bytes], list[Node]] = {}
        self._chats: dict[str, int] = {}  # how many answers of each

    def __len__(self) -> int:
        return len(self._answers)

    def __contains__(self, chat_id: object) -> bool:
        return chat_id in self._chats

    def first(self, most: int) -> list[Remembered]:
        return list(islice(self._answers.values(), most))

    def find(self, field: NodeField, values: Sequence[bytes]) -> list[Node]:
        """The newest first."""
        found = [node for value in values for node in self._nodes.get((field, value), ())]
        return sorted(found, key=lambda node: node.created, reverse=True)

    def add(self, answer: Remembered) -> None:
        self._answers[id(answer)] = answer
        self._chats[answer.chat.id] = self._chats.get(answer.chat.id, 0) + 1
        for place, node in _places(answer):
            self._nodes.setdefault(place, []).append(node)

    def remove(self, answers: Iterable[Remembered]) -> None:
        """Those of them that are there."""
        for answer in answers:
            if self._answers.pop(id(answer), None) is not None:
                self._remove(answer)

    def _remove(self, answer: Remembered) -> None:
        chat_id = answer.chat.id
        self._chats[chat_id] -= 1
        if not self._chats[chat_id]:
            del self._chats[chat_id]
        for place, node in _places(answer):
            self._nodes[place].remove(node)
            if not self._nodes[place]:
                del self._nodes[place]

    def chats_of(self, tenant: str) -> set[str]:
        return {answer.chat.id for answer in self._answers.values() if answer.chat.tenant == tenant}

    def forget(self, chat_id: str) -> bool:
        """All of this chat. Whether there was anything."""
        if chat_id not in self:
            return False
        self.remove([answer for answer in self._answers.values() if answer.chat.id == chat_id])
        return True


def _places(answer: Remembered) -> Iterator[tuple[tuple[NodeField, bytes], Node]]:
    for node in answer.nodes:
        for field in _FIELDS:
            if value := getattr(node, field):
                yield (field, value), node
