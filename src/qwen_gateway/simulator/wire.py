"""One HTTP answer on its socket, from the head to whatever end it takes.

Here: bytes, pauses, and the ways to break off. Ordinary answers go through aiohttp's own writer; what an HTTP
library would not send (half a chunk, a lie about the length, a reset) goes to the transport directly. Not
here: what is sent (`play`, `breaks`, `oddities`).
"""

import asyncio
import os
import socket
import struct
import time

from aiohttp import web

from .envelope import marks
from .site import SITE, Stream

SSE = "text/event-stream; charset=utf-8"


class StoppedError(Exception):
    """The client has asked the site to stop this answer."""


class Wire:
    """The answer to one request. `tcp_bytes` cuts what is written into pieces of that size."""

    def __init__(self, request: web.Request, stream: Stream, tcp_bytes: int | None = None) -> None:
        self._request = request
        self._stream = stream
        self._tcp_bytes = tcp_bytes
        self._open: web.StreamResponse | None = None
        self._broken = False

    @property
    def response(self) -> web.StreamResponse:
        """What the route must return to aiohttp in the end; on a closed connection it goes nowhere."""
        return web.Response() if self._broken or self._open is None else self._open

    async def open(self, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        """Sends the head; chunked, unless a length is claimed."""
        answer = web.StreamResponse(headers={**marks(self._request), "Content-Type": SSE, **(headers or {})})
        if length is None:
            answer.enable_chunked_encoding()
        else:
            answer.content_length = length
        await answer.prepare(self._request)
        self._open = answer

    async def write(self, data: bytes) -> None:
        if self._open is None:
            await self.open()
        size = self._tcp_bytes or len(data)
        for start in range(0, len(data), max(size, 1)):
            await self._write_piece(data[start : start + size])

    async def _write_piece(self, data: bytes) -> None:
        if self._stream.stopped():
            raise StoppedError
        if self._open is None or self._gone():
            raise ConnectionResetError
        await self._open.write(data)
        self._note_byte()
        if self._tcp_bytes:
            await asyncio.sleep(0)  # lets the loop send this piece before the next one is there

    async def pause(self, seconds: float) -> None:
        """Waits; a stop or a vanished client ends the wait."""
        if seconds > 0:
            await self._stream.pause(seconds)
        if self._stream.stopped():
            raise StoppedError

    async def end(self) -> None:
        """Ends the answer as HTTP wants it."""
        if self._open is None:
            await self.open()
        if self._open is not None:
            await self._open.write_eof()

    def raw(self, data: bytes) -> None:
        """Puts bytes on the connection outside of any framing."""
        if (transport := self._request.transport) is not None:
            transport.write(data)
            self._note_byte()
        self._broken = True

    def hang_up(self) -> None:
        """FIN, whatever was promised before."""
        if (transport := self._request.transport) is not None:
            transport.close()
        self._broken = True

    def spoil(self) -> None:
        """Marks the connection: it looks alive, but the next request on it is reset."""
        if (transport := self._request.transport) is not None:
            self._request.app[SITE].spoiled.add(transport)

    def close_half(self) -> None:
        """FIN from our side only: we go on reading."""
        if (transport := self._request.transport) is not None:
            transport.write_eof()
        self._broken = True

    def reset(self) -> None:
        reset(self._request)
        self._broken = True

    def _gone(self) -> bool:
        return self._request.transport is None or self._request.transport.is_closing()

    def _note_byte(self) -> None:
        if self._stream.seen.first_byte is None:
            self._stream.seen.first_byte = time.time()


def reset(request: web.Request) -> None:
    """RST. Without the linger option an abort is a FIN as long as nothing unread is left."""
    transport = request.transport
    if transport is None:
        return
    ours = transport.get_extra_info("socket")
    if ours is not None:
        # A duplicate, because event loops hand out sockets on which options cannot be set.
        with socket.socket(fileno=os.dup(ours.fileno())) as twin:
            twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def drop(request: web.Request) -> web.StreamResponse:
    """Resets a connection and tells aiohttp that there is nothing to answer."""
    reset(request)
    return web.Response()
