"""Today's models: asked for now and then, kept when the site does not answer."""

import asyncio
from collections.abc import Awaitable, Callable

from qwen_gateway.relay.ports import Ambient
from qwen_gateway.turn.catalog import Aliases, Catalog, Choice, resolve
from qwen_gateway.turn.faults import Fault, ModelNotFound, NoAccount

FIRST_WAIT = 5.0
"""Seconds that a request waits for the very first list, before it makes do with the built-in one."""
RETRY_EVERY = 30.0


class Models:
    """fetch: asks the site. ttl: seconds for which a list is today's."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Catalog]],
        fallback: Catalog,
        aliases: Aliases,
        ambient: Ambient,
        ttl: float,
    ) -> None:
        self._fetch = fetch
        self._aliases = aliases
        self._ambient = ambient
        self._ttl = ttl
        self._catalog = fallback
        self._built_in = True
        self._next = 0.0
        self._task: asyncio.Task[None] | None = None
        self.problem: Fault | None = None

    async def catalog(self) -> Catalog:
        """The list. Waits only while there is none but the built-in one; otherwise renews it beside the request."""
        if self._ambient.now() >= self._next and self._task is None:
            self._task = asyncio.create_task(self._renew())
        if self._task is not None and self._built_in:
            await asyncio.wait([self._task], timeout=FIRST_WAIT)
        return self._catalog

    async def resolve(self, name: str) -> Choice:
        """Raises ModelNotFound. A model that is new at the site is found once the list has been renewed."""
        return resolve(name, await self.catalog(), self._aliases)

    def gone(self, fault: ModelNotFound) -> None:
        """The site refused a model that the list has: ask again before the next request."""
        self.problem = fault
        self._next = 0.0

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _renew(self) -> None:
        try:
            self._catalog = await self._fetch()
            self._built_in = False
            self._next = self._ambient.now() + self._ttl
            self.problem = None
        except Fault as fault:
            self._catalog = Catalog(self._catalog.models, stale=True)
            # Without an account the site was not asked, and the next request may bring one.
            wait = 0.0 if isinstance(fault, NoAccount) else min(RETRY_EVERY, self._ttl)
            self._next = self._ambient.now() + wait
            self.problem = fault
        finally:
            self._task = None
