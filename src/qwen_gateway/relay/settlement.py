"""What is still to be told to counters and budgets when a request is over: kept, and tried until it is done.

It runs beside the requests: a client that leaves cancels its turn, and neither that nor a database that is away for
a while may lose a seat or a token.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import structlog

from qwen_gateway.relay.ports import Budgets, Counters

RETRY_FIRST, RETRY_LAST, RETRY_IN_HASTE = 0.5, 60.0, 0.2
"""Seconds between tries, doubled each time; and while the process ends."""
SEAT_WAIT = 1.0
"""Most seconds that a request waits for a seat that is just being given back."""

_log = structlog.get_logger()
_Slot = tuple[str, int]


class Settlement:
    """seat_seconds: after so long a seat is free by itself."""

    def __init__(self, counters: Counters, budgets: Budgets, seat_seconds: float) -> None:
        self._counters, self._budgets, self._seat_seconds = counters, budgets, seat_seconds
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stuck: dict[tuple[str, str], float] = {}  # seats by key: when each is free by itself
        self._freeing = False
        self._leaving: dict[str, set[asyncio.Task[None]]] = {}  # by key
        self._owed: dict[_Slot, int] = {}  # tokens by key and day: as many entries as keys, however many requests
        self._paying: set[_Slot] = set()
        self._haste = asyncio.Event()
        self._closed = False

    @property
    def pending(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work that is waited for at the end."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its request may have been cancelled: asyncio is told that nobody will ask

    def leave(self, key: str, seat: str) -> None:
        """Gives the seat back. One that was not taken after all does no harm."""
        if self._closed:
            return  # it is free by itself, later
        task = self.spawn(self._leave(key, seat))
        leaving = self._leaving.setdefault(key, set())
        leaving.add(task)
        task.add_done_callback(lambda done: self._left(key, done))

    async def seats_freed(self, key: str) -> bool:
        """Waits for seats that are just being given back. Whether there were any."""
        leaving = self._leaving.get(key)
        if not leaving:
            return False
        await asyncio.wait(leaving, timeout=SEAT_WAIT)
        return True

    def owe(self, key: str, day: int, change: int) -> None:
        """Adds `change` to the tokens that the key used on this day."""
        slot = (key, day)
        self._owed[slot] = self._owed.get(slot, 0) + change
        if slot not in self._paying and not self._closed:
            self._paying.add(slot)
            self.spawn(self._pay(slot))

    async def close(self, seconds: float) -> None:
        """Finishes what is pending, for at most `seconds`. What is lost then is logged."""
        self._haste.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._tasks:
                    await asyncio.wait(self._tasks)
        self._closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for (key, day), change in self._owed.items():
            if change:
                _log.error("tokens_not_settled", key=key, day=day, change=change)

    async def _leave(self, key: str, seat: str) -> None:
        if not await self._try_to_leave(key, seat):
            self._stuck[key, seat] = asyncio.get_running_loop().time() + self._seat_seconds
            if not self._freeing:
                self._freeing = True
                self.spawn(self._free_stuck())

    async def _try_to_leave(self, key: str, seat: str) -> bool:
        try:
            await self._counters.leave(key, seat)
        except Exception as problem:  # noqa: BLE001 - whatever it was, the seat is still to be given back
            if not self._stuck:
                _log.warning("seats_not_freed", key=key, problem=str(problem))
            return False
        return True

    async def _free_stuck(self) -> None:
        """One task for all seats, however long the counters are away and however many requests they refuse."""
        clock, wait = asyncio.get_running_loop().time, RETRY_FIRST
        try:
            while self._stuck:
                await self._pause(wait)
                wait = min(wait * 2, RETRY_LAST)
                for (key, seat), free_at in list(self._stuck.items()):
                    if clock() < free_at and not await self._try_to_leave(key, seat):
                        break  # nor will the others be
                    del self._stuck[key, seat]
        finally:
            self._freeing = False

    def _left(self, key: str, task: asyncio.Task[None]) -> None:
        leaving = self._leaving.get(key, set())
        leaving.discard(task)
        if not leaving:
            self._leaving.pop(key, None)

    async def _pay(self, slot: _Slot) -> None:
        wait = RETRY_FIRST
        try:
            while change := self._owed.pop(slot, 0):
                try:
                    await self._budgets.settle(*slot, change)
                    wait = RETRY_FIRST
                except asyncio.CancelledError:
                    self._owed[slot] = self._owed.get(slot, 0) + change
                    raise
                except Exception as problem:  # noqa: BLE001 - whatever it was, the tokens are still owed
                    self._owed[slot] = self._owed.get(slot, 0) + change
                    _log.warning("settle_failed", key=slot[0], change=change, problem=str(problem), again_in=wait)
                    await self._pause(wait)
                    wait = min(wait * 2, RETRY_LAST)
        finally:
            self._paying.discard(slot)

    async def _pause(self, seconds: float) -> None:
        if self._haste.is_set():
            await asyncio.sleep(min(seconds, RETRY_IN_HASTE))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._haste.wait()
