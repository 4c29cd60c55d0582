"""Several answers to one request: turns side by side, each in a chat of its own."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from msgspec import structs

from qwen_gateway.relay.run import Turn
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.turn.events import Event, Failed, total

AHEAD = 16
"""Lists of events that may wait for the client."""


def own_record(record: TurnRecord, choice: int) -> TurnRecord:
    """For one of several turns of a request, until `summed`. Only the first answer has the id that the client gets:
    it names one place."""
    request_id = f"{record.request_id}:{choice}" if choice else record.request_id
    return structs.replace(record, request_id=request_id, calls=None, usage=None)


def summed(record: TurnRecord, each: Sequence[TurnRecord]) -> None:
    """Puts into the request's record what its turns came to."""
    first = each[0]
    record.model, record.account, record.way, record.why = first.model, first.account, first.way, first.why
    record.ignored, record.prefilled, record.listed_short = first.ignored, first.prefilled, first.listed_short
    record.shortened = max(one.shortened for one in each)
    record.invalid_json = any(one.invalid_json for one in each)
    record.files, record.offloaded = first.files, any(one.offloaded for one in each)
    record.tries, record.sent = sum(one.tries for one in each), sum(one.sent for one in each)
    record.site, record.queued = max(one.site for one in each), max(one.queued for one in each)
    if usages := [one.usage for one in each if one.usage is not None]:
        record.usage = total(usages)
    if counts := [one.calls for one in each if one.calls is not None]:
        record.calls, record.call_format = counts[0].plus(counts[1:]), first.call_format


async def together(turns: Sequence[Turn]) -> AsyncGenerator[tuple[int, list[Event]], None]:
    """Which turn, and its next events. Ends when all have ended, or with the first that fails: the others are stopped.

    Iterate inside `aclosing`."""
    queue: asyncio.Queue[tuple[int, list[Event]] | BaseException | None] = asyncio.Queue(AHEAD)

    async def pump(index: int, turn: Turn) -> None:
        try:
            async with aclosing(turn.events()) as batches:
                async for events in batches:
                    await queue.put((index, events))
            await queue.put(None)
        except Exception as problem:  # noqa: BLE001 - raised by whoever reads
            await queue.put(problem)

    tasks = [asyncio.create_task(pump(index, turn)) for index, turn in enumerate(turns)]
    try:
        running = len(tasks)
        while running:
            item = await queue.get()
            if item is None:
                running -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item
                if isinstance(item[1][-1], Failed):
                    return
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
