"""Rows of usage to test with, and a database that breaks down when told to."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from qwen_gateway.relay.ports import UsageRow
from qwen_gateway.store.database import Database, WorkInOne
from qwen_gateway.turn.faults import StorageUnavailable

Result = TypeVar("Result")

_USUAL = {
    "at": 1_700_000_000.0, "key": "key", "account": "account", "model": "qwen3-max", "asked_model": "gpt-4o",
    "endpoint": "openai_chat", "stream": True, "status": 200, "end": "finished", "code": "", "tries": 1, "input": 10,
    "output": 5, "reasoning": 2, "cached": 1, "estimated": False, "first_event": 0.5, "duration": 2.0, "queued": 0.1,
    "added": 0.002,
}  # fmt: skip


def row(number: int | str, **changes: object) -> UsageRow:
    return UsageRow(**{"id": f"id {number}", **_USUAL, **changes})  # type: ignore[arg-type] # odd values are meant


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


class Flaky(Database):
    """Of what is written in one. down: does nothing but raise. losing: how many times it commits and then says that it
    did not. held: writes wait until it is set. writes: how many have been tried."""

    down = False
    losing = 0
    held: asyncio.Event | None = None
    writes = 0

    async def write_in_one(self, work: WorkInOne[Result]) -> Result:
        self.writes += 1
        if self.held is not None:
            await self.held.wait()
        if self.down:
            raise StorageUnavailable("down", retry_after=2)
        result = await super().write_in_one(work)
        if self.losing:
            self.losing -= 1
            raise StorageUnavailable("its answer was lost", retry_after=2)
        return result
