"""New access tokens for accounts: one refresh at a time, over all processes that share the account.

A refresh may use up the cookie that it was made with. So what comes back is stored before anyone goes on, and who
finds another process at it waits for what that one stores.
"""

import asyncio

from qwen_gateway.relay.account import Account
from qwen_gateway.relay.drive import drive
from qwen_gateway.relay.keeper import Keeper
from qwen_gateway.relay.ports import Ambient, Transport
from qwen_gateway.turn.contracts import Upstream
from qwen_gateway.turn.faults import Fault, LoginExpired, NoAccount, Overloaded

LOOK_EVERY = 0.2
"""Seconds between looks whether another process has renewed the session."""
SPARE = 15.0
"""Seconds that a claim lasts beyond the call to the site: looks into the database, and the storing of what came."""


class Renewal:
    """seconds: bounds the call to the site."""

    def __init__(self, site: Upstream, transport: Transport, ambient: Ambient, seconds: float, keeper: Keeper) -> None:
        self._site, self._transport, self._ambient, self._seconds = site, transport, ambient, seconds
        self._keeper = keeper
        self._running: dict[Account, asyncio.Task[None]] = {}

    async def ensure_fresh(self, account: Account) -> None:
        """Before any call with the account's session. Raises what the site says against it."""
        if account.session.needs_refresh(self._ambient.now()):
            await self.refresh(account)

    async def refresh(self, account: Account) -> None:
        """Renews the session. Whoever comes while it is under way waits for the same one. When the site says that the
        session is over, the account knows."""
        task = self._running.get(account)
        if task is None:
            task = self._running[account] = asyncio.create_task(self._renew(account))
            task.add_done_callback(lambda done: self._over(account, done))
        try:
            # Shielded: the turn that began it may be cancelled while others wait.
            await asyncio.shield(task)
        except Fault as fault:
            # One for each who waits: what becomes of it is not the same for all.
            raise type(fault)(fault.text, code=fault.code, retry_after=fault.retry_after) from fault

    async def close(self) -> None:
        """Waits for what is under way, which may have used up a cookie already. Each is bounded by its call's time."""
        if self._running:
            await asyncio.wait(self._running.values(), timeout=self._seconds + SPARE)

    def _over(self, account: Account, task: asyncio.Task[None]) -> None:
        del self._running[account]
        problem = None if task.cancelled() else task.exception()
        if isinstance(problem, LoginExpired):
            account.ended(problem)

    async def _renew(self, account: Account) -> None:
        if not self._keeper.keeps(account):
            await self._ask(account)
            return
        bearer = account.session.bearer
        if not await self._claim(account, bearer):
            return
        await self._keeper.look(account)
        if account.session.bearer != bearer:
            await self._keeper.release(account)
            return
        try:
            await self._ask(account)
        except BaseException:
            await self._keeper.release(account)
            raise
        # The claim ends once the new session is stored: another process would ask with a cookie that is used up.
        await self._keeper.save(account)

    async def _claim(self, account: Account, bearer: str | None) -> bool:
        """False when another process has renewed the session meanwhile."""
        clock = asyncio.get_running_loop().time
        patience = clock() + self._seconds + SPARE
        while not await self._keeper.claim(account, self._seconds + SPARE):
            if clock() > patience:
                raise Overloaded(
                    "Another gateway renews the session of this account and does not get done. Try again in a moment.",
                    retry_after=5,
                )
            await asyncio.sleep(LOOK_EVERY)
            await self._keeper.look(account)
            if account.session.bearer != bearer:
                return False
            if not self._keeper.keeps(account):
                raise NoAccount("The account was removed from this gateway meanwhile.", code="account_not_found")
        return True

    async def _ask(self, account: Account) -> None:
        flow = self._site.refresh(account.session, self._ambient.moment())
        tokens = await drive(flow, self._transport, account, self._seconds)
        account.session.renew(tokens, self._ambient.now())
        self._keeper.renewed(account)  # before anything is waited for: from here on ours is the newest
