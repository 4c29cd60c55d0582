"""Callers who wait for the same kind of answer at the same time, and share one question."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from qwen_gateway.turn.faults import StorageUnavailable

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Batches(Generic[Asked, Answer]):
    """What comes while one batch is worked on shares the next.

    work: answers each, in the same order. most: that a batch weighs, unless it is a single one.
    """

    def __init__(
        self,
        work: Callable[[list[Asked]], Awaitable[Sequence[Answer]]],
        *,
        most: int,
        weight: Callable[[Asked], int] = lambda _: 1,
    ) -> None:
        self._work, self._most, self._weight = work, most, weight
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, asked: Asked) -> Answer:
        """Raises what `work` raises. A caller that is cancelled before its batch begins is not in it."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        while batch := self._next():
            try:
                answers = await self._work([asked for asked, _ in batch])
            except Exception as problem:  # noqa: BLE001 - raised by all who wait
                # Those who came meanwhile have waited as well, and would wait as long again.
                late, self._waiting = self._waiting, []
                for _, future in (*batch, *late):
                    if not future.done():
                        future.set_exception(again(problem))
            else:
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
        self._task = None

    def _next(self) -> list[tuple[Asked, asyncio.Future[Answer]]]:
        waiting = [each for each in self._waiting if not each[1].done()]
        size = weight = 0
        for asked, _ in waiting:
            weight += self._weight(asked)
            if size and weight > self._most:
                break
            size += 1
        self._waiting = waiting[size:]
        return waiting[:size]


def again(problem: Exception) -> Exception:
    """For each who waits one of its own: they are raised in several tasks, and each adds to its traceback."""
    if isinstance(problem, StorageUnavailable):
        return type(problem)(problem.text, code=problem.code, retry_after=problem.retry_after)
    return problem
