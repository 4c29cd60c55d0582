"""A dialect's route: from a request on the wire to a response on the wire, for one turn.

A plain ASGI endpoint, without the framework's machinery per request: validation and error bodies are the
dialect's own. Streaming and not streaming take the same way; they differ in what is done with the events.
"""

import asyncio
import re
import time
from contextlib import ExitStack, aclosing
from typing import NamedTuple

from qwen_gateway.relay import keys
from qwen_gateway.relay.allowance import Permit
from qwen_gateway.relay.choices import own_record, summed, together
from qwen_gateway.relay.run import Turn
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.server import asking
from qwen_gateway.server.answering import JSON, answer
from qwen_gateway.server.body import read_body
from qwen_gateway.server.callers import Caller, Headers
from qwen_gateway.server.exchange import Exchange
from qwen_gateway.server.forms import close_form, read_form
from qwen_gateway.server.paths import Receive, Scope, Send
from qwen_gateway.server.service import Service
from qwen_gateway.turn.contracts import Dialect, Incoming, ReplyHead, Several, TakesForms
from qwen_gateway.turn.events import SHOWN, Failed, total
from qwen_gateway.turn.faults import BadKey, InvalidRequest, LoginExpired
from qwen_gateway.turn.reply import Fold
from qwen_gateway.turn.request import TurnRequest

_UNSAFE_IN_HEADER = re.compile(r"[^A-Za-z0-9_.\[\]-]")
LARGE = 1024 * 1024
"""Bytes of a body from which on it is read beside the loop, where others are being answered: files stand in it."""

_Turns = list[tuple[Turn, TurnRecord]]


class Granted(NamedTuple):
    """Who asks, and what of the key's limits this request was granted."""

    caller: Caller
    permit: Permit
    headers: Headers


class TurnEndpoint:
    def __init__(self, service: Service, dialect: Dialect) -> None:
        self._service, self._dialect = service, dialect
        self._forms = dialect.forms if isinstance(dialect, TakesForms) else {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service, pace = self._service, self._service.pace
        record = TurnRecord(service.new_request_id(), self._dialect.name)
        headers = [(b"x-request-id", record.request_id.encode())]
        exchange = Exchange(
            receive,
            send,
            headers,
            heartbeat=pace.heartbeat,
            write_timeout=pace.write_timeout,
            hang_up=lambda: service.hang_up(scope["client"]),
        )
        with service.watch(record):
            await answer(exchange, record, lambda: self._serve(scope, receive, exchange, record), self._dialect.refusal)

    async def _serve(self, scope: Scope, receive: Receive, exchange: Exchange, record: TurnRecord) -> None:
        service = self._service
        caller = service.caller(scope)
        service.admit()
        record.accepted, record.key = True, caller.key.id if caller.key is not None else ""
        if service.warning and caller.token is None:
            exchange.headers.append((b"x-gateway-warning", service.warning))
        keys.check_endpoint(caller.key, self._dialect.name)
        permit = service.allowances.permit(caller.key)
        try:
            await self._permitted(scope, receive, exchange, record, Granted(caller, permit, scope["headers"]))
        except LoginExpired as fault:
            if caller.token is None:
                raise
            raise BadKey("Your Qwen token is no longer valid. Log in at chat.qwen.ai and take the new one.") from fault
        finally:
            permit.close(_used(record))

    async def _permitted(
        self, scope: Scope, receive: Receive, exchange: Exchange, record: TurnRecord, granted: Granted
    ) -> None:
        permit = granted.permit
        with ExitStack() as stack:
            try:
                await permit.enter()
                request = await self._request(scope, receive, stack)
                record.asked_model, record.stream = request.model[:100], request.stream
                exchange.watch()
                turns = await self._begun(exchange, record, request, granted)
                if permit.counts_tokens:
                    await permit.reserve(sum(turn.prompt_tokens() for turn, _ in turns))
            finally:
                exchange.headers += permit.headers()
            await self._deliver(exchange, record, request, turns)
        record.end, record.status = "finished", 200

    async def _request(self, scope: Scope, receive: Receive, stack: ExitStack) -> TurnRequest:
        """stack: gives back, when the turn is over, what was taken in for it."""
        path, headers, read = scope["path"], scope["headers"], self._dialect.read
        if (route := self._forms.get(path)) is not None:
            desk = self._service.desk
            form = await read_form(receive, headers, desk.spool, desk.form_limits(route.field, route.largest))
            stack.callback(close_form, form)
            return read(Incoming(path, headers, form=form))
        body = await read_body(receive, headers, self._service.pace.max_body)
        if len(body) > LARGE:
            return await asyncio.to_thread(read, Incoming(path, headers, body))
        return read(Incoming(path, headers, body))

    async def _deliver(self, exchange: Exchange, record: TurnRecord, request: TurnRequest, turns: _Turns) -> None:
        exchange.headers.append((b"x-gateway-model", _UNSAFE_IN_HEADER.sub("_", record.model).encode()))
        # A chat that should know the conversation may turn out not to: until the first byte, this can change.
        exchange.last_headers = lambda: _way(record)
        head = ReplyHead(record.answer, int(time.time()), record.model)
        if len(turns) > 1:
            await self._several(exchange, record, request, turns, head)
        else:
            deliver = self._stream if request.stream else self._whole
            await deliver(exchange, record, request, turns[0][0], head)

    async def _begun(self, exchange: Exchange, record: TurnRecord, request: TurnRequest, granted: Granted) -> _Turns:
        """The turn, or the turns, with the record of each."""
        service, caller = self._service, granted.caller
        try:
            if service.strict_params and request.ignored:
                raise _unsupported(request.ignored)
            accounts = service.accounts_of(caller)
            asker = asking.asker(caller, accounts, granted.headers, request, service.continuation)
            records = (
                [record] if request.choices == 1 else [own_record(record, choice) for choice in range(request.choices)]
            )
            begun = await service.turns.begin_all(request, accounts, records, asker)
            turns = list(zip(begun, records, strict=True))
            if len(turns) > 1:
                summed(record, records)
        finally:
            if ignored := request.ignored + record.ignored:
                exchange.headers.append((b"x-gateway-ignored", _header_list(ignored)))
        keys.check_model(caller.key, record.model)
        return turns

    async def _several(
        self, exchange: Exchange, record: TurnRecord, request: TurnRequest, turns: _Turns, head: ReplyHead
    ) -> None:
        dialect = self._dialect
        if not isinstance(dialect, Several):
            raise TypeError(f"{dialect.name} wants several choices and has no words for them")
        writer = dialect.choices_writer(request, head) if request.stream else None
        if writer is not None:
            exchange.stream_as(self._dialect.stream_type, self._dialect.heartbeat, writer.fail)
        folds, records = [Fold() for _ in turns], [one for _, one in turns]

        def ways() -> list[tuple[bytes, bytes]]:
            summed(record, records)
            return _way(record)

        exchange.last_headers = ways
        try:
            async with aclosing(together([turn for turn, _ in turns])) as batches:
                async for choice, events in batches:
                    folds[choice].feed(events)
                    if record.first_event is None and any(isinstance(event, SHOWN) for event in events):
                        record.first_event = time.monotonic() - record.begun
                    if writer is not None and (data := writer.feed(choice, events)):
                        await exchange.write(data)
                    if isinstance(events[-1], Failed):
                        raise events[-1].fault
        finally:
            summed(record, records)
        replies = [fold.reply() for fold in folds]
        exchange.unwatch()
        if writer is not None:
            await exchange.end(writer.finish(total([reply.usage for reply in replies])))
        else:
            await exchange.whole(200, JSON, dialect.choices_whole(request, head, replies))

    async def _stream(
        self, exchange: Exchange, record: TurnRecord, request: TurnRequest, turn: Turn, head: ReplyHead
    ) -> None:
        writer = self._dialect.writer(request, head)
        exchange.stream_as(self._dialect.stream_type, self._dialect.heartbeat, writer.fail)
        async with aclosing(turn.events()) as batches:
            async for events in batches:
                last = events[-1]
                failed = last if type(last) is Failed else None
                data = writer.feed(events)
                if data:
                    if record.first_event is None:
                        record.first_event = time.monotonic() - record.begun
                    await exchange.write(data)
                if failed is not None:
                    raise failed.fault
        exchange.unwatch()
        await exchange.end()

    async def _whole(
        self, exchange: Exchange, record: TurnRecord, request: TurnRequest, turn: Turn, head: ReplyHead
    ) -> None:
        async with aclosing(turn.events()) as batches:
            async for events in batches:
                if record.first_event is None and any(isinstance(event, SHOWN) for event in events):
                    record.first_event = time.monotonic() - record.begun
                last = events[-1]
                if type(last) is Failed:
                    raise last.fault
        body = self._dialect.whole(request, head, turn.reply())
        exchange.unwatch()
        await exchange.whole(200, JSON, body)


def _used(record: TurnRecord) -> int | None:
    """Tokens to settle, as the row of the usage has them. `None`: none, since the site refused or was not asked."""
    return None if record.usage is None else record.usage.input + record.usage.output


def _unsupported(ignored: tuple[str, ...]) -> InvalidRequest:
    names = ", ".join(f"`{name[:60]}`" for name in ignored)
    return InvalidRequest(
        f"The site has nothing that {names} could set, and this gateway is set to refuse what it cannot honour "
        "(`strict_params`).",
        param=ignored[0][:60],
        code="unsupported_parameter",
    )


def _way(record: TurnRecord) -> list[tuple[bytes, bytes]]:
    """How the conversation reached the model."""
    headers = [(b"x-gateway-continuation", f"{record.way}; reason={record.why}".encode())]
    if record.invalid_json:
        headers.append((b"x-gateway-structured", b"invalid"))
    if record.prefilled:
        headers.append((b"x-gateway-emulated", b"prefill"))
    if record.listed_short:
        headers.append((b"x-gateway-tools", b"compacted"))
    if record.shortened:
        headers.append((b"x-gateway-shortened", b"tool results: %d" % record.shortened))
    if record.offloaded:
        headers.append((b"x-gateway-history", b"document"))
    return headers


def _header_list(names: tuple[str, ...]) -> bytes:
    """Names that a client sent may hold anything; a header may not."""
    return ", ".join(_UNSAFE_IN_HEADER.sub("_", name[:60]) for name in names).encode()
