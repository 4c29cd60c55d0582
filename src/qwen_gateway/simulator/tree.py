"""A chat and its tree of messages, as the site stores them.

Here: nodes, branches, what is lost of them, and the shape of `GET /api/v2/chats/{id}`. That body was never
published whole; the shape is put together from three public parsers of Sep and Oct 2026. Not here: the routes
(`chats`).
"""

import math
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from .frames import Ids, Json

NEW_TITLE = "New Chat"


@dataclass
class Node:
    """One message. An assistant's text stands in `content_list` under the phase `answer`.

    shown_at: from when on reading the chat shows it (Unix seconds). unsaid: what an answer that nobody reads any
    more will still say.
    """

    id: str
    parent: str | None
    role: str
    content: str
    model: str
    chat_type: str
    fid: str | None = None
    files: list[object] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    done: bool = True
    error: str | None = None
    timestamp: int = field(default_factory=lambda: int(time.time()))
    shown_at: float = 0
    unsaid: str = ""

    def as_json(self, shown: set[str]) -> Json:
        answers = self.role == "assistant"
        status = "finished" if self.done else "typing"
        listed = [{"phase": "answer", "content": self.content, "status": status, "role": "assistant"}]
        return {
            "id": self.id,
            "fid": self.fid,
            "parentId": self.parent,
            "childrenIds": [child for child in self.children if child in shown],
            "role": self.role,
            "content": "" if answers else self.content,
            "content_list": listed if answers else [],
            "models": [self.model],
            "model": self.model,
            "modelName": self.model,
            "modelIdx": 0,
            "timestamp": self.timestamp,
            "chat_type": self.chat_type,
            "sub_chat_type": self.chat_type,
            "feature_config": {},
            "files": self.files,
            "extra": None,
            "done": self.done,
            "error": self.error,
        }

    def told(self) -> Json:
        """For tests: the message without the site's way of keeping it."""
        return {
            "id": self.id,
            "parent": self.parent,
            "role": self.role,
            "text": self.content,
            "children": self.children,
            "done": self.done,
            "error": self.error,
        }


@dataclass
class Chat:
    """One conversation of one account."""

    user: str
    model: str
    title: str = NEW_TITLE
    chat_type: str = "t2t"
    project_id: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: int = field(default_factory=lambda: int(time.time()))
    updated: int = field(default_factory=lambda: int(time.time()))
    nodes: dict[str, Node] = field(default_factory=dict)
    current: str | None = None
    deleted: bool = False
    running: bool = False
    busy_until: float = 0
    _left: Node | None = field(default=None, init=False)

    def busy(self) -> bool:
        """One running answer per chat; an answer that nobody reads any more runs on for a while."""
        return self.running or time.time() < self.busy_until

    def begin(self, question: Node, ids: Ids, *, hidden: bool = False) -> Node:
        """Stores a question and the empty answer below it, as the site does with `response.created`."""
        question.id = ids.question
        answer = Node(ids.response, ids.question, "assistant", "", question.model, question.chat_type, done=False)
        question.shown_at = answer.shown_at = math.inf if hidden else 0
        if question.parent in self.nodes:
            self.nodes[question.parent].children.append(question.id)
        question.children.append(answer.id)
        self.nodes |= {question.id: question, answer.id: answer}
        self.current = answer.id
        self.updated = int(time.time())
        if self.title == NEW_TITLE:
            # The site names a chat by itself after the first answer, with a model; here by its first words.
            self.title = question.content[:30] or NEW_TITLE
        return answer

    def show(self, answer: Node, at: float) -> None:
        """From `at` on (Unix seconds), reading the chat shows this answer and its question."""
        answer.shown_at = at
        if answer.parent in self.nodes:
            self.nodes[answer.parent].shown_at = at

    def leave(self, answer: Node | None, unsaid: str, seconds: float) -> None:
        """The client went away: the model says the rest by itself, which keeps the chat busy that long."""
        self.busy_until = time.time() + seconds
        self._left = answer
        if answer is not None:
            answer.unsaid, answer.done = unsaid, False
        self.settle()

    def stop(self) -> None:
        """Ends an answer that runs on unread: what it has not said yet stays unsaid."""
        self.settle()
        if self._left is not None:
            self._left.unsaid = ""
        self.busy_until = 0
        self.settle()

    def settle(self) -> None:
        """Once its time is over, an answer that was left alone is whole."""
        if (answer := self._left) is not None and time.time() >= self.busy_until:
            answer.content += answer.unsaid
            answer.unsaid, answer.done, self._left = "", True, None

    def branch(self, last: str | None) -> list[Node]:
        """The messages that the model sees above a question: from the first one down to this one."""
        return list(self._upwards(last))[::-1]

    def _upwards(self, at: str | None) -> Iterator[Node]:
        while at is not None and (node := self.nodes.get(at)) is not None:
            yield node
            at = node.parent

    def lose(self, lost: str) -> None:
        """Removes a message and all below it."""
        parent, gone = self.nodes[lost].parent, [lost]
        for node in gone:
            gone += self.nodes.pop(node).children
        if parent in self.nodes:
            self.nodes[parent].children.remove(lost)
        if self.current in gone:
            self.current = parent

    def listed(self) -> Json:
        """An item of the chat list (14 and 25 Sep 2026); the last three are for search hits."""
        return {
            "id": self.id,
            "title": self.title,
            "updated_at": self.updated,
            "created_at": self.created,
            "chat_type": self.chat_type,
            "project_id": self.project_id,
            "pinned": False,
            "content": None,
            "highlight_indexes": None,
            "message_id": None,
        }

    def told(self) -> Json:
        """For tests: the whole tree, also what the site does not show (yet)."""
        self.settle()
        return {
            "id": self.id,
            "account": self.user,
            "title": self.title,
            "model": self.model,
            "deleted": self.deleted,
            "busy": self.busy(),
            "current": self.current,
            "nodes": [node.told() for node in self.nodes.values()],
        }

    def as_json(self) -> Json:
        self.settle()
        now = time.time()
        shown = {node.id: node for node in self.nodes.values() if node.shown_at <= now}
        messages = {node.id: node.as_json(set(shown)) for node in shown.values()}
        newest = next((node.id for node in self._upwards(self.current) if node.id in shown), None)
        current = {"currentId": newest, "currentResponseIds": [newest] if newest else []}
        history: Json = {"messages": messages, **current, "pagination": {}}
        return {
            "id": self.id,
            "user_id": self.user,
            "title": self.title,
            "share_id": None,
            "archived": False,
            "pinned": False,
            "chat_type": self.chat_type,
            "created_at": self.created,
            "updated_at": self.updated,
            **current,
            "chat": {"models": [self.model], "messages": list(messages.values()), "history": history},
        }
