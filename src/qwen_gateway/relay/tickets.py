"""Leave to put a file into the site's storage, for callers that upload there by themselves."""

from qwen_gateway.relay.account import Account
from qwen_gateway.relay.drive import drive
from qwen_gateway.relay.health import Health
from qwen_gateway.relay.pool import Pool
from qwen_gateway.relay.ports import Ambient, Transport
from qwen_gateway.relay.renewal import Renewal
from qwen_gateway.relay.uploads import UPLOADING
from qwen_gateway.turn.contracts import Upstream
from qwen_gateway.turn.faults import Fault, LoginExpired
from qwen_gateway.turn.files import Facts, Ticket


class Tickets:
    """seconds: bounds each call to the site."""

    def __init__(
        self,
        site: Upstream,
        transport: Transport,
        renewal: Renewal,
        health: Health,
        ambient: Ambient,
        *,
        seconds: float,
    ) -> None:
        self._site, self._transport, self._renewal, self._health = site, transport, renewal, health
        self._ambient, self._seconds = ambient, seconds

    async def ask(self, accounts: Pool, file: Facts, *, caller: str) -> Ticket:
        """For the account that is free first. caller: id of the key, so that all have their turn. Raises faults."""
        self._health.check()
        lease = await accounts.lease(UPLOADING, caller=caller)
        account, began = lease.account, self._ambient.now()
        fault: Fault | None = None
        try:
            return await self._asked(account, file)
        except Fault as problem:
            fault = problem
            raise
        finally:
            if fault is not None:
                account.failed(UPLOADING, fault, began)
            else:
                account.abandoned(began)  # a ticket says nothing of whether questions are answered
            lease.close()

    async def _asked(self, account: Account, file: Facts) -> Ticket:
        await self._renewal.ensure_fresh(account)
        bearer = account.session.bearer
        try:
            return await self._once(account, file)
        except LoginExpired as fault:
            if not account.session.can_refresh:
                account.ended(fault)
                raise
        if account.session.bearer == bearer:
            await self._renewal.refresh(account)
        try:
            return await self._once(account, file)
        except LoginExpired as fault:
            account.ended(fault)
            raise

    async def _once(self, account: Account, file: Facts) -> Ticket:
        flow = self._site.ticket(account.session, self._ambient.moment(), file)
        return await drive(flow, self._transport, account, self._seconds)
