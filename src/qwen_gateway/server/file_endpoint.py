"""A request for files: who may make it, and its answer: JSON, or the bytes of a file as they are read."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from starlette.requests import Request

from qwen_gateway.dialects import openai_errors
from qwen_gateway.relay import keys
from qwen_gateway.relay.file_ports import StoredFile
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.server import asking
from qwen_gateway.server.answering import JSON, answer
from qwen_gateway.server.callers import Caller
from qwen_gateway.server.exchange import Exchange
from qwen_gateway.server.paths import Receive, Scope, Send
from qwen_gateway.server.service import Service
from qwen_gateway.turn.faults import ClientLeft, Fault
from qwen_gateway.turn.files import Content

ENDPOINT = "files"
"""What a key is limited to, if it may use these routes and not all others."""
CHUNK = 256 * 1024

_ACTIVE = {"text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml", "text/javascript"}
"""Types that a browser would run programs in."""
_T = TypeVar("_T")


class Asked(NamedTuple):
    """tenant: whose files the request is about."""

    request: Request
    caller: Caller
    tenant: str

    @property
    def id(self) -> str:
        return str(self.request.path_params["id"])


class Download(NamedTuple):
    file: StoredFile
    content: Content


Serve = Callable[[Asked], Awaitable[bytes | Download]]


class FileEndpoint:
    """serve: gives the answer, as JSON or as the bytes of a file. Raises faults."""

    def __init__(self, service: Service, serve: Serve) -> None:
        self._service, self._serve = service, serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service, pace = self._service, self._service.pace
        record = TurnRecord(scope["request_id"], ENDPOINT)
        exchange = Exchange(
            receive,
            send,
            [],
            heartbeat=pace.heartbeat,
            write_timeout=pace.write_timeout,
            hang_up=lambda: service.hang_up(scope["client"]),
        )
        with service.watch(record):
            await answer(
                exchange, record, lambda: self._answered(scope, receive, exchange, record), openai_errors.error
            )

    async def _answered(self, scope: Scope, receive: Receive, exchange: Exchange, record: TurnRecord) -> None:
        service = self._service
        caller = service.caller(scope)
        service.admit()
        record.key = caller.key.id if caller.key is not None else ""
        keys.check_endpoint(caller.key, ENDPOINT)
        permit = service.allowances.permit(caller.key)
        try:
            try:
                await permit.enter()
                tenant = asking.tenant_of(caller, service.accounts_of(caller))
                given = await self._serve(Asked(Request(scope, receive), caller, tenant))
            finally:
                exchange.headers += permit.headers()
            if isinstance(given, Download):
                await self._send(exchange, record, given)
            else:
                exchange.headers.append((b"cache-control", b"no-store"))  # a ticket is a credential
                await exchange.whole(200, JSON, given)
                record.end, record.status = "finished", 200
        finally:
            permit.close(None)

    async def _send(self, exchange: Exchange, record: TurnRecord, given: Download) -> None:
        file, content = given
        exchange.watch()
        try:
            reader = await _in_thread(content.reader)
            try:
                piece = await _in_thread(lambda: reader.read(CHUNK))  # before any header, since it may fail
                exchange.headers += _about(file)
                exchange.stream_as(_served_type(file), b"", lambda _: b"")
                while piece:
                    await exchange.write(piece)
                    piece = await _in_thread(lambda: reader.read(CHUNK))
            finally:
                reader.close()
            exchange.unwatch()
            await exchange.end()
            record.end, record.status = "finished", 200
        except Fault as fault:
            if not exchange.begun or isinstance(fault, ClientLeft):
                raise
            exchange.cut()  # so that nobody takes it for whole
            record.end, record.status, record.code, record.origin = "failed", 200, fault.code, fault.origin
        finally:
            content.close()


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Its result. Cancelled, it still waits for the thread, which may be in the middle of the file."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _about(file: StoredFile) -> list[tuple[bytes, bytes]]:
    plain = "".join(char if char.isascii() and char.isprintable() and char not in '"\\' else "_" for char in file.name)
    name = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file.name, safe='')}"
    return [
        (b"content-length", b"%d" % file.size),
        (b"content-disposition", name.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"sandbox"),
    ]


def _served_type(file: StoredFile) -> str:
    return "application/octet-stream" if file.media_type in _ACTIVE else file.media_type
