"""What is lost at the site just before a question arrives, and what the site says to the question then.

Here: losses that a turn can be programmed with. Not here: losing something between two questions (`control`).
"""

from .envelope import Refusal
from .refusals import REFUSALS, parent_unknown
from .site import Site
from .tree import Chat


def chat(_: Site, asked: Chat, _parent: str | None) -> Refusal:
    asked.deleted = True
    return REFUSALS["chat_deleted"]


def chats(site: Site, asked: Chat, _parent: str | None) -> Refusal:
    site.delete_all(asked.user)
    return REFUSALS["chat_deleted"]


def parent(_: Site, asked: Chat, lost: str | None) -> Refusal:
    """The first question of a chat has none to lose, and is refused all the same."""
    if lost is None:
        return REFUSALS["parent_unknown"]
    asked.lose(lost)
    return parent_unknown(lost)
