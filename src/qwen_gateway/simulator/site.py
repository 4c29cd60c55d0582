"""The state of the fake site: accounts, chats, what was asked, what is programmed.

Here: data and the few rules over it. Not here: HTTP (every other module with routes).
"""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from weakref import WeakSet

import msgspec
from aiohttp import web

from .accounts import Behaviour, Tally
from .frames import Json
from .mishaps import Mishaps
from .objects import Bucket
from .parses import Parse
from .seen import Seen
from .tickets import Tickets
from .tokens import Mint
from .tree import Chat
from .turns import Turn

OWNER = "5b51329c-3691-4101-8f2c-4e5c2edeb21f"  # the account of the demo; the id of the 25 Sep 2026 capture


_FINE = Behaviour()


class Switches(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How the site and its accounts behave until the next reset; explained in docs/simulator.md."""

    access_token_seconds: float = 900
    rotate_refresh: bool = True
    refresh_fault: str | None = None
    refresh_delay_ms: float = 0
    whoami_fault: str | None = None
    strict_jar: bool = False
    models: list[str] | None = None
    models_fault: str | None = None
    chats_new_fault: str | None = None
    delete_fault: str | None = None
    busy_after_abort_ms: float = 0
    stored_after_ms: float = 0
    refuse_connections: bool = False
    ticket_limit: int = 20
    ticket_window_seconds: float = 75
    ticket_seconds: float = 3600
    file_url_seconds: int = 300
    file_seconds: float | None = None
    oss_delay_ms: float = 0
    oss_drop: bool = False
    parse_ms: float = 30
    parse_list: bool = False
    accounts: dict[str, Behaviour] = msgspec.field(default_factory=dict)

    def changed(self, patch: dict[str, object]) -> "Switches":
        """These switches with some set anew; an unknown name is a ValidationError that names it.

        Accounts that are not mentioned go on behaving as they do.
        """
        now = msgspec.to_builtins(self)
        if isinstance(accounts := patch.get("accounts"), dict):
            patch = {**patch, "accounts": now["accounts"] | accounts}
        return msgspec.convert(now | patch, Switches)


class Stream:
    """A running answer, as others see it: they may ask it to end."""

    def __init__(self, chat: str, seen: Seen) -> None:
        self.chat = chat
        self.seen = seen
        self._stop = asyncio.Event()

    def stop(self) -> None:
        self.seen.stopped = True
        self._stop.set()

    def stopped(self) -> bool:
        return self._stop.is_set()

    async def pause(self, seconds: float) -> None:
        """Waits, but not beyond a stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()


class Site:
    """Everything the simulator remembers. Tokens outlive a reset, all else does not."""

    def __init__(self, models: Sequence[str] | None = None, delay_ms: float = 0) -> None:
        self.mint = Mint()
        self.delay_ms = delay_ms
        self.refresh_tokens: dict[str, str] = {}
        self.used_refresh_tokens: dict[str, str] = {}
        self.streams: set[Stream] = set()
        self.spoiled: WeakSet[asyncio.Transport] = WeakSet()
        self._models = None if models is None else list(models)
        self.on_reset: Callable[[], None] = lambda: None
        self.bucket = Bucket()
        self.reset()

    def reset(self) -> None:
        """Back to the beginning. `on_reset` tells whoever remembers what this site did."""
        self.on_reset()
        self.switches = Switches(models=self._models)
        self.controlled = False
        self.chats: dict[str, Chat] = {}
        self.seen: list[Seen] = []
        self.queue: list[Turn] = []
        self.settings: dict[str, Json] = {}
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self.outputs: dict[str, bytes] = {}
        self.bucket.close()
        self.bucket = Bucket()
        self.tickets = Tickets()
        self.parses: dict[str, Parse] = {}
        self.mishaps = Mishaps()
        self.deleted: list[str] = []
        self.refreshes = self.whoamis = self.stops = self.requests_total = 0

    def take(self, prompt: str) -> Turn | None:
        """The first programmed turn that fits; it leaves the queue unless it is sticky."""
        for turn in self.queue:
            if turn.fits(prompt):
                if not turn.sticky:
                    self.queue.remove(turn)
                return turn
        return None

    def chat_of(self, user: str, chat_id: str) -> Chat | None:
        """A chat that this account may see."""
        chat = self.chats.get(chat_id)
        return chat if chat is not None and chat.user == user and not chat.deleted else None

    def delete_all(self, user: str | None = None) -> int:
        """What somebody does by hand in a browser: the chats of an account (all of them) are gone. How many were."""
        there = [chat for chat in self.chats.values() if user in {None, chat.user} and not chat.deleted]
        for chat in there:
            chat.deleted = True
        return len(there)

    def behaviour(self, user: str) -> Behaviour:
        return self.switches.accounts.get(user, _FINE)

    def issue_refresh(self, user: str) -> str:
        token = uuid.uuid4().hex
        self.refresh_tokens[token] = user
        return token


SITE = web.AppKey("site", Site)
