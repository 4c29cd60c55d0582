"""Runs flows: sends each call that a flow yields, and gives it the reply."""

from qwen_gateway.relay.account import Account
from qwen_gateway.relay.ports import Transport
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
