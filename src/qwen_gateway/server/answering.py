"""How a request ends that is served without the framework: by an answer, or by a refusal in its API's own form."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.server.exchange import Exchange
from qwen_gateway.server.refusals import fault_headers
from qwen_gateway.turn.faults import Bug, ClientLeft, Draining, Fault

JSON = b"application/json"

_log = structlog.get_logger()


async def answer(
    exchange: Exchange, record: TurnRecord, serve: Callable[[], Awaitable[None]], refusal: Callable[[Fault], bytes]
) -> None:
    """Serves, and tells the client of whatever goes wrong. The record says afterwards how it ended."""
    try:
        await serve()
    except Fault as fault:
        await _refuse(exchange, record, fault, refusal)
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None:
            task.uncancel()
        await _refuse(exchange, record, _why_cancelled(exchange), refusal)
    except Exception:  # noqa: BLE001 - see below
        # The one place where a mistake of ours ends: the client gets an error, the log the trace.
        _log.exception("bug", request_id=record.request_id)
        await _refuse(exchange, record, Bug("The gateway made a mistake. Its log says more."), refusal)
    finally:
        exchange.unwatch()


async def _refuse(exchange: Exchange, record: TurnRecord, fault: Fault, refusal: Callable[[Fault], bytes]) -> None:
    """Tells the client of the fault: by a status as long as none was sent, else inside the stream."""
    exchange.unwatch()
    record.code, record.origin, record.status = fault.code, fault.origin, fault.status
    if isinstance(fault, ClientLeft):
        record.end = "client_left"
        return
    record.end = "failed" if record.tries else "refused"
    with suppress(ClientLeft):
        if exchange.begun:
            await exchange.break_off(fault)
        else:
            exchange.headers += fault_headers(fault)
            await exchange.whole(fault.status, JSON, refusal(fault))


def _why_cancelled(exchange: Exchange) -> Fault:
    if exchange.left:
        return ClientLeft("The client left before the answer was complete.")
    return Draining("The gateway is shutting down; the answer was cut off.", retry_after=5)
