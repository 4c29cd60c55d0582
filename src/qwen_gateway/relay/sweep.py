"""Clears away chats of which the database says that they are to go: the old ones, and those that were marked.

Each is claimed by one process, deleted at the site, and only then forgotten. If that process ends in between, or leaves
it alone because its account has come to rest, the claim ends by its time, and whoever can goes on.
"""

import asyncio
import contextlib
from functools import partial

import structlog

from qwen_gateway.relay.chats import Chats, DeletePolicy
from qwen_gateway.relay.ports import Ambient, ConversationStore
from qwen_gateway.turn.faults import StorageUnavailable

EVERY = 30.0
AT_ONCE = 50
"""Chats that wait here for their deletion."""
CLAIMED = 300.0
"""Seconds that a claim lasts: so many deletions take less, unless the site is in need."""
UNUSED = 24 * 3600.0
"""Seconds after which the memory of a chat goes that stays at the site for ever."""
OLDEST = 7 * 24 * 3600.0
"""Seconds after which a chat goes, however much it is used."""

_log = structlog.get_logger()


class Sweep:
    """owner: names this process. policy: when chats go. most: kept chats of one account."""

    def __init__(
        self,
        store: ConversationStore,
        chats: Chats,
        ambient: Ambient,
        *,
        owner: str,
        policy: DeletePolicy,
        most: int,
    ) -> None:
        self._store, self._chats, self._ambient, self._owner = store, chats, ambient, owner
        self._policy, self._most = policy, most
        self._gone: list[str] = []  # deleted at the site, and still in the database
        self._deleted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self, seconds: float) -> None:
        """Has the database forget what is deleted, for at most `seconds`. What it does not hear is deleted again, which
        does no harm."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        with contextlib.suppress(TimeoutError, Exception):
            async with asyncio.timeout(seconds):
                await self._forget()

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await self._look()
            again = clock() + EVERY
            while (left := again - clock()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._deleted.wait()
                self._deleted.clear()
                await self._try_to_forget()

    async def _look(self) -> None:
        try:
            await self._forget()
            await self._mark()
            await self._claim()
        except Exception as problem:  # noqa: BLE001 - upkeep: whatever it was, there is a next time
            if not self._away or not isinstance(problem, StorageUnavailable):
                _log.warning("sweep_failed", problem=str(problem))
            self._away = True
        else:
            self._away = False

    @property
    def _unused(self) -> float:
        """Seconds without use after which a chat goes."""
        if self._policy == "keep":
            return UNUSED
        return 0.0 if self._policy == "now" else self._policy * 3600

    async def _mark(self) -> None:
        now = self._ambient.now()
        marked = await self._store.mark_old(
            used_before=now - self._unused, created_before=now - OLDEST, most=self._most, now=now
        )
        if marked:
            _log.info("old_chats_marked", chats=marked)

    async def _claim(self) -> None:
        room = AT_ONCE - self._chats.discarding
        # Chats of one that cannot be used would only wait here, in the places of others.
        if room <= 0 or not (accounts := self._chats.usable):
            return
        claimed = await self._store.claim_marked(accounts, self._owner, self._ambient.now(), CLAIMED, room)
        if self._policy == "keep":
            # They stay at the site: it is only forgotten that they could be gone on with.
            self._gone += [chat.id for chat in claimed]
            await self._forget()
            return
        for chat in claimed:
            self._chats.discard(chat.account, chat.id, partial(self._over, chat.id))

    def _over(self, chat_id: str) -> None:
        self._gone.append(chat_id)
        self._deleted.set()

    async def _try_to_forget(self) -> None:
        with contextlib.suppress(Exception):  # the next look says why
            await self._forget()

    async def _forget(self) -> None:
        if gone := list(self._gone):
            await self._store.gone(gone)
            self._gone = [chat_id for chat_id in self._gone if chat_id not in gone]
