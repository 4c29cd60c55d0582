"""Runs flows: sends each call that a flow yields, and gives it the reply."""

from qwen_gateway.relay.account import Account
from qwen_gateway.relay.ports import Ambient, Transport
from qwen_gateway.turn.contracts import Tokens, Upstream
from qwen_gateway.turn.flow import Flow, Result


async def drive(flow: Flow[Result], transport: Transport, account: Account, seconds: float) -> Result:
    """The flow's result. `seconds` bounds each call. Raises the flow's faults and the transport's."""
    call = next(flow)
    while True:
        reply = await transport.send(call, seconds)
        account.absorb(reply.set_cookies)
        try:
            call = flow.send(reply)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return] # StopIteration carries the flow's Result


class Renewal:
    """How accounts get new access tokens from the site. `seconds` bounds the call."""

    def __init__(self, site: Upstream, transport: Transport, ambient: Ambient, seconds: float) -> None:
        self._site, self._transport, self._ambient, self._seconds = site, transport, ambient, seconds

    async def ensure_fresh(self, account: Account) -> None:
        """Before any call with the account's session. Raises what the site says against it."""
        await account.ensure_fresh(lambda: self._tokens(account))

    async def refresh(self, account: Account) -> None:
        await account.refresh(lambda: self._tokens(account))

    async def _tokens(self, account: Account) -> Tokens:
        flow = self._site.refresh(account.session, self._ambient.moment())
        return await drive(flow, self._transport, account, self._seconds)
