"""Calls that block, in threads: who waits for them, and how long when nobody does any more."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from qwen_gateway.net.oss_section import Halt

_T = TypeVar("_T")


class Work:
    """Calls that end together: when one who waits for one is cancelled, all are halted. patience: seconds that a call
    still has then, since what comes of it matters."""

    def __init__(self, executor: ThreadPoolExecutor, patience: float = 0.0) -> None:
        self.halt = Halt()
        self._executor, self._patience = executor, patience

    async def run(self, call: Callable[[], _T]) -> _T:
        """Raises Halted."""
        self.halt.check()
        future = asyncio.get_running_loop().run_in_executor(self._executor, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await over(future, self._patience)
            self.halt.now()
            await over(future)
            raise


async def over(future: asyncio.Future[_T], seconds: float | None = None) -> None:
    """Waits for it, for at most `seconds`, whatever comes of it, and however often the one who waits is cancelled.
    Without `seconds` it has to be bounded by itself."""
    loop = asyncio.get_running_loop()
    end = None if seconds is None else loop.time() + seconds
    while not future.done():
        left = None if end is None else end - loop.time()
        if left is not None and left <= 0:
            return
        try:
            await asyncio.wait([future], timeout=left)
        except asyncio.CancelledError:
            continue
    if not future.cancelled():
        future.exception()  # asyncio is told that nobody will ask
