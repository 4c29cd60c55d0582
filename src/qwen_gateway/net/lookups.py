"""Host names looked up in threads of their own. The loop's own threads are few, and everybody's: names that are slow to
be found would keep those from writing files.

A lookup cannot be stopped. So a thread ends when its lookup does, whoever still waits, and none of them keeps the
process from ending.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

AT_ONCE = 16
"""Lookups under way; more wait. Each has a thread, which does nothing but wait for a name server."""

GetAddrInfo = Callable[..., Sequence[tuple[Any, ...]]]
"""`socket.getaddrinfo`, or what stands for it."""


class Lookups:
    """Satisfies `fetch.Resolve`, as this machine looks names up. For one event loop."""

    def __init__(self, at_once: int = AT_ONCE, find: GetAddrInfo | None = None) -> None:
        self._room, self._find = asyncio.Semaphore(at_once), find or socket.getaddrinfo

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Raises OSError, and ValueError for what cannot be a name."""
        await self._room.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[str]] = loop.create_future()
        try:
            threading.Thread(target=self._work, args=(loop, answer, host, port), name="lookup", daemon=True).start()
        except RuntimeError as problem:
            self._room.release()
            raise OSError("no thread can be started") from problem
        return await answer

    def _work(
        self, loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[Sequence[str]]", host: str, port: int
    ) -> None:
        found: Sequence[str] | Exception
        try:
            found = [str(entry[4][0]) for entry in self._find(host, port, type=socket.SOCK_STREAM)]
        except Exception as problem:  # noqa: BLE001 - raised where it is waited for
            found = problem
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(self._told, answer, found)

    def _told(self, answer: "asyncio.Future[Sequence[str]]", found: Sequence[str] | Exception) -> None:
        self._room.release()
        if answer.cancelled():
            return
        if isinstance(found, Exception):
            answer.set_exception(found)
        else:
            answer.set_result(found)
