"""A server that does with its sockets what a test tells it, without an HTTP library that would know better."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

from qwen_gateway.net.transport import HttpTransport
from qwen_gateway.turn.flow import HttpCall

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Visit:
    """One request on one connection. number: of all requests that came to the server, from 1."""

    def __init__(self, server: "Raw", head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.requests.append(head)
        self.number, self.head, self.reader, self._writer = len(server.requests), head, reader, writer
        self.open = True

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def until_it_leaves(self) -> None:
        """Returns when the other side has closed."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        self.open = False

    def end(self) -> None:
        self._writer.close()
        self.open = False

    def reset(self) -> None:
        """Closes with RST instead of FIN."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        self.open = False


Act = Callable[[Visit], Awaitable[None]]


class Raw:
    """url: its address. opened: connections ever. alive: connections that are open now."""

    def __init__(self, act: Act) -> None:
        self._act = act
        self.url = ""
        self.opened = self.alive = 0
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self.alive += 1
        try:
            while head := await _request(reader):
                visit = Visit(self, head, reader, writer)
                await self._act(visit)
                if not visit.open:
                    break
        except ConnectionError:
            pass
        finally:
            self.alive -= 1
            writer.close()

    def call(self, path: str = "/", body: bytes = b"", headers: dict[str, str] | None = None) -> HttpCall:
        return HttpCall("POST" if body else "GET", self.url + path, headers or {}, body)


async def _request(reader: asyncio.StreamReader) -> bytes:
    """A request's head and body; empty when the connection has ended."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                head += await reader.readexactly(int(line.partition(b":")[2]))
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
    return head


@contextlib.asynccontextmanager
async def serving(act: Act, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    raw = Raw(act)
    tasks: set[asyncio.Task[None]] = set()

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(raw.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=tls, backlog=512)
    raw.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield raw
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def transport(connect_timeout: float = 5.0) -> AsyncIterator[HttpTransport]:
    made = HttpTransport(connect_timeout=connect_timeout, own_user_agent="tests/1")
    try:
        yield made
    finally:
        await made.close()


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
