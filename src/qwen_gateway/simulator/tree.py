"""A chat and its tree of messages, as the site stores them.

Here: nodes, branches, and the shape of `GET /api/v2/chats/{id}`. That body was never published whole; the
shape is put together from three public parsers of Sep and Oct 2026. Not here: the routes (`chats`).
"""

import time
import uuid
from dataclasses import dataclass, field

from .frames import Ids, Json

NEW_TITLE = "New Chat"


@dataclass
class Node:
    """One message. An assistant's text stands in `content_list` under the phase `answer`."""

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

    def as_json(self) -> Json:
        answers = self.role == "assistant"
        listed = [{"phase": "answer", "content": self.content, "status": "finished", "role": "assistant"}]
        return {
            "id": self.id,
            "fid": self.fid,
            "parentId": self.parent,
            "childrenIds": self.children,
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

    def busy(self) -> bool:
        """One running answer per chat; an answer that nobody reads any more runs on for a while."""
        return self.running or time.time() < self.busy_until

    def begin(self, question: Node, ids: Ids) -> Node:
        """Stores a question and the empty answer below it, as the site does with `response.created`."""
        question.id = ids.question
        answer = Node(ids.response, ids.question, "assistant", "", question.model, question.chat_type, done=False)
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

    def as_json(self) -> Json:
        messages = {node.id: node.as_json() for node in self.nodes.values()}
        current = {"currentId": self.current, "currentResponseIds": [self.current] if self.current else []}
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
