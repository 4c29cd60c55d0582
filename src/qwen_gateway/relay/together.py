"""Several things at once, of which none goes on when one of them has failed."""

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from typing import Any, TypeVar

_T = TypeVar("_T")


async def all_of(work: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Their results, in order. When one fails, or whoever waits is cancelled, the others are cancelled and over before
    that is raised."""
    tasks = [asyncio.create_task(one) for one in work]
    if not tasks:
        return []
    # Not a TaskGroup: with Python 3.11 it leaves its parent marked as cancelled, which outer timeouts then misread.
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = [task for task in tasks if task.done() and (task.cancelled() or task.exception())]
        return [task.result() for task in failed or tasks]
    finally:
        await ended(tasks)


async def ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels them, once, and waits until they are over, however often the one who waits is cancelled meanwhile: what
    they read must not be closed before that."""
    for task in tasks:
        task.cancel()
    left: asyncio.CancelledError | None = None
    while running := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(running)
        except asyncio.CancelledError as cancelled:
            left = cancelled
    for task in tasks:
        if not task.cancelled():
            task.exception()  # asyncio is told that nobody will ask
    if left is not None:
        raise left
