"""One request and its response on the wire: head, body, heartbeats, and whether the client is still there."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from qwen_gateway.server.paths import Message, Receive, Send
from qwen_gateway.turn.faults import ClientLeft, Fault


class _Stream(NamedTuple):
    kind: bytes
    heartbeat: bytes
    farewell: Callable[[Fault], bytes]


class Exchange:
    """heartbeat: seconds of silence after which a stream gets a sign of life; before its first byte that also
    fixes the status at 200. write_timeout: seconds that a client may take to read what was written. hang_up: cuts
    the connection, whatever is still unread."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        headers: list[tuple[bytes, bytes]],
        *,
        heartbeat: float,
        write_timeout: float,
        hang_up: Callable[[], None],
    ) -> None:
        self.last_headers: Callable[[], list[tuple[bytes, bytes]]] = list
        """Headers that are known only when the first byte is sent."""
        self._receive, self._send, self._hang_up = receive, send, hang_up
        self.headers = headers
        self._heartbeat, self._write_timeout = heartbeat, write_timeout
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._writing_since: float | None = None
        self._stream: _Stream | None = None
        self._watcher: asyncio.Task[None] | None = None
        self.status = 0
        self.left = False
        """The client has closed the connection, or reads no more."""

    @property
    def begun(self) -> bool:
        return self.status != 0

    def watch(self) -> None:
        """From now on: cancels the running task when the client leaves. The request's body must have been read."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("watch needs a running task")
        self._watcher = asyncio.create_task(self._watch(task))

    def stream_as(self, kind: str, heartbeat: bytes, farewell: Callable[[Fault], bytes]) -> None:
        """The response is a stream: its content type, its sign of life, and its end when it breaks."""
        self._stream = _Stream(kind.encode(), heartbeat, farewell)

    def unwatch(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def whole(self, status: int, kind: bytes, body: bytes) -> None:
        self.status = status
        head = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *self._headers()]
        await self._last_words({"type": "http.response.start", "status": status, "headers": head})
        await self._last_words({"type": "http.response.body", "body": body})

    async def write(self, data: bytes) -> None:
        """Sends a piece of the stream. One piece, one write to the socket."""
        if not self.status:
            await self._begin()
        self._writing_since = self._last = self._loop.time()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._writing_since = None

    async def end(self, data: bytes = b"") -> None:
        """Sends the stream's last piece and its end. Raises ClientLeft."""
        if not self.status:
            await self._begin()
        await self._last_words({"type": "http.response.body", "body": data})

    async def _last_words(self, message: Message) -> None:
        """Sends what is sent when nobody watches any more. Raises ClientLeft when the client does not read."""
        try:
            async with asyncio.timeout(self._write_timeout):
                await self._send(message)
        except TimeoutError:
            self.left = True
            self._hang_up()
            raise ClientLeft("The client did not read its answer.") from None

    async def break_off(self, fault: Fault) -> None:
        """Ends a stream that has begun so that nobody takes it for a whole one."""
        await self.end(self._stream.farewell(fault) if self._stream else b"")

    def cut(self) -> None:
        """Closes the connection, for an answer of a length that was told and that it will not have."""
        self.unwatch()
        self._hang_up()

    async def _begin(self) -> None:
        if self._stream is None:
            raise RuntimeError("stream_as says what kind of stream this is")
        self.status = 200
        head = [
            (b"content-type", self._stream.kind),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),  # nginx before us would collect the events
            *self._headers(),
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": head})

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return [*self.headers, *self.last_headers()]

    async def _watch(self, task: asyncio.Task[object]) -> None:
        while True:
            try:
                async with asyncio.timeout(self._pause()):
                    message = await self._receive()
            except TimeoutError:
                if await self._is_well():
                    continue
                self._hang_up()
            else:
                if message["type"] != "http.disconnect":
                    continue
            self.left = True
            task.cancel()
            return

    def _pause(self) -> float:
        """Seconds until something may be due."""
        quiet = self._loop.time() - self._last
        return max(0.05, min(self._heartbeat - quiet, self._write_timeout))

    async def _is_well(self) -> bool:
        """Sends a sign of life if one is due. False when the client has not read for too long."""
        now = self._loop.time()
        if self._writing_since is not None:
            return now - self._writing_since < self._write_timeout
        if self._stream is not None and now - self._last >= self._heartbeat:
            try:
                async with asyncio.timeout(self._write_timeout):
                    await self.write(self._stream.heartbeat)
            except TimeoutError:
                return False
        elif self._stream is None:
            self._last = now
        return True
