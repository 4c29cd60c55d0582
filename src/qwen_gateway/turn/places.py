"""Where in a chat at the site something stands, and what is remembered of an answer there.

The site keeps a chat as a tree: a question hangs below the answer before it, and an answer below its question. A
second question below the same answer is a branch of its own.
"""

from typing import Literal

from msgspec import Struct


class Place(Struct, frozen=True):
    """Where a question goes: a chat, and the id of the answer that it follows (`None`: it is the first)."""

    chat_id: str
    parent: str | None = None


class Node(Struct, frozen=True):
    """An answer in a chat of ours after which a conversation can go on. No text, only digests (`history.chain`).

    key: names the conversation up to and with this answer. bones: the same without what the assistant said beside its
    calls. likeness: of the last question and answer alone; `None` for a short answer. handle: of the id that the client
    got for the answer. instructions, tools: digests of those that the model knows here; empty for none.
    tokens: of the conversation so far, as the site counted them. created: seconds since 1970.
    account: key of the one the chat belongs to. busy: another process is asking in that chat.
    """

    key: bytes
    chat_id: str
    answer_id: str
    account: str
    bones: bytes
    handle: bytes
    likeness: bytes | None = None
    instructions: bytes = b""
    tools: bytes = b""
    tokens: int = 0
    created: float = 0.0
    busy: bool = False

    @property
    def place(self) -> Place:
        """Where the next question goes."""
        return Place(self.chat_id, self.answer_id)


class StoredMessage(Struct, frozen=True):
    """A message as the site keeps it. done: the model has finished it."""

    id: str
    parent: str | None
    role: Literal["user", "assistant"]
    text: str
    done: bool
