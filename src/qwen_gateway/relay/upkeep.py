"""What goes on beside the requests: looking for changes in the database, warnings before sessions end, what is old."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from qwen_gateway.relay.accounts import Accounts
from qwen_gateway.relay.keys import Keys
from qwen_gateway.relay.ports import Ambient, Revisions
from qwen_gateway.relay.renewal import Renewal
from qwen_gateway.turn.faults import Fault, StorageUnavailable

LOOK_EVERY = 0.4
"""Seconds between looks into the database, so that processes agree within one."""
CARE_EVERY = 3600.0
DAY = 86_400.0

_log = structlog.get_logger()


class Upkeep:
    """prune: deletes what is too old now (seconds since 1970), and says of what how many."""

    def __init__(
        self,
        revisions: Revisions,
        accounts: Accounts,
        keys: Keys,
        renewal: Renewal,
        ambient: Ambient,
        prune: Callable[[float], Awaitable[Mapping[str, int]]],
    ) -> None:
        self._revisions, self._accounts, self._keys, self._renewal = revisions, accounts, keys, renewal
        self._ambient, self._prune = ambient, prune
        self._seen: dict[str, int] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.problem: Fault | None = None
        """Why the database could not be looked into the last time."""

    async def start(self) -> None:
        """Reads everything once. Raises StorageUnavailable."""
        await self._look()
        self._tasks = [asyncio.create_task(self._keep_looking()), asyncio.create_task(self._keep_caring())]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _look(self) -> None:
        numbers = await self._revisions.read()
        # Keys first: that one is revoked must not wait for an account that cannot be read.
        await self._keys.follow(numbers.get("keys", 0))
        if any(numbers.get(name) != self._seen.get(name) for name in ("accounts", "pauses")) or not self._seen:
            await self._accounts.sync()
        self._seen = {"accounts": 0, **numbers}

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self._look()
            except Exception as problem:  # noqa: BLE001 - whatever it was, changes must be seen again after it
                fault = problem if isinstance(problem, Fault) else _unforeseen(problem)
                if self.problem is None:
                    _log.error("database_unavailable", code=fault.code, why=fault.text)
                self.problem = fault
            else:
                if self.problem is not None:
                    _log.info("database_available_again")
                self.problem = None

    async def _keep_caring(self) -> None:
        while True:
            try:
                self._warn()
                await self._keep_alive()
                counts = await self._prune(self._ambient.now())
                if any(counts.values()):
                    _log.info("pruned", **counts)
            except Exception as problem:  # noqa: BLE001 - whatever it was, there is a next time
                _log.warning("upkeep_failed", problem=str(problem))
            await asyncio.sleep(CARE_EVERY)

    def _warn(self) -> None:
        if (told := self._accounts.warn()) is not None:
            _log.warning("session_ends", why=told)

    async def _keep_alive(self) -> None:
        """A session that nobody has used for a day is renewed, since the site ends those that lie idle (30 days)."""
        for account in self._accounts.all():
            end = account.session.token_ends_at
            idle = end is not None and self._ambient.now() - end > DAY
            if idle and account.session.can_refresh and account.resting() is None:
                try:
                    await self._renewal.ensure_fresh(account)
                except Fault as fault:
                    account.noticed(fault)
                    _log.info("keep_alive_failed", account=account.key, code=fault.code)


def _unforeseen(problem: Exception) -> Fault:
    """Such as a table that is not there, while a database is being restored."""
    return StorageUnavailable(f"The gateway's database cannot be used now ({type(problem).__name__}).", retry_after=2)
