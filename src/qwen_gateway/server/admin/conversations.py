"""Chats that are kept at the site: how many there are, and an end to those of a key."""

from typing import Annotated

from fastapi import Query
from pydantic import Field

from qwen_gateway.relay.management import Management
from qwen_gateway.server.admin.mistakes import Shown
from qwen_gateway.server.admin.routes import Routes


class Kept(Shown):
    account: str = Field(description="Its id.")
    name: str = Field(description="Empty for an account that a caller brought, or that was removed.")
    chats: int


class Conversations(Shown):
    kept: list[Kept]
    marked: int = Field(description="Chats of all accounts that are still to be deleted at the site.")


class Forgotten(Shown):
    marked: int = Field(description="Chats that are to be deleted at the site now.")


class ConversationPages:
    def __init__(self, management: Management) -> None:
        self._management = management

    def add_to(self, routes: Routes) -> None:
        routes.add("viewer", "GET", "/conversations", self.all, shows=Conversations)
        routes.add("admin", "DELETE", "/conversations", self.forget, shows=Forgotten)

    async def all(self) -> Conversations:
        """Chats that are kept at the site so that conversations go on in them, by account."""
        return Conversations.model_validate(await self._management.conversations())

    # Not `key`: whatever an address has under that name is refused, since it may be one.
    async def forget(self, of: Annotated[str, Query(description="A key's id or name.")]) -> Forgotten:
        """Forget all conversations of a key.

        What is known of them is gone at once: its next requests begin new chats. The old ones are deleted at the site
        soon. A key of the settings is named by its id, as in the usage.
        """
        return Forgotten(marked=await self._management.forget_conversations(of))
