"""Bounds on what comes before a request's body, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn

from qwen_gateway.server import body, protocol
from qwen_gateway.server.body import read_body
from qwen_gateway.server.paths import Message, Receive, Scope, Send
from qwen_gateway.server.protocol import MAX_HEAD, BoundedProtocol
from qwen_gateway.turn.faults import ClientLeft

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
HEAD = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 900\r\n\r\n"


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    told = b"read"
    try:
        await read_body(receive, scope["headers"], 1000)
    except ClientLeft:
        told = b"left"
    start: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]}
    await send(start)
    await send({"type": "http.response.body", "body": told})


@asynccontextmanager
async def connected() -> AsyncIterator[Streams]:
    config = uvicorn.Config(_app, port=0, http=BoundedProtocol, lifespan="off", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.servers[0].sockets[0].getsockname()[1])
    try:
        async with asyncio.timeout(10):
            yield reader, writer
    finally:
        writer.close()
        await server.shutdown()


async def test_headers_without_end_are_refused() -> None:
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * (MAX_HEAD + 1))
        assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")


async def test_large_headers_below_the_bound_pass_each_time() -> None:
    async with connected() as (reader, writer):
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * (MAX_HEAD - 100) + b"\r\n\r\n")
            assert (await reader.readuntil(b"read")).startswith(b"HTTP/1.1 200 ")


async def test_a_body_is_no_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_HEAD", 100)
    async with connected() as (reader, writer):
        writer.write(HEAD)
        await writer.drain()
        writer.write(b"b" * 900)
        assert (await reader.readuntil(b"read")).startswith(b"HTTP/1.1 200 ")


async def test_a_head_that_does_not_come_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    async with connected() as (reader, writer):
        writer.write(b"GET / HT")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)


async def test_a_body_that_stops_coming_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "STALL", 0.1)
    async with connected() as (reader, writer):
        writer.write(HEAD + b"b")
        assert (await reader.readuntil(b"left")).startswith(b"HTTP/1.1 200 ")
