"""Callers that share a question: each gets its own answer, and none pays for another that leaves."""

import asyncio

import pytest

from qwen_gateway.store.batches import Batches
from qwen_gateway.turn.faults import StorageUnavailable


class Oracle:
    """Answers each with the double, once it may. batches: what it was asked."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may = asyncio.Event()
        self.may.set()
        self.problem: Exception | None = None

    async def work(self, batch: list[int]) -> list[int]:
        self.batches.append(batch)
        await self.may.wait()
        if self.problem is not None:
            raise self.problem
        return [2 * each for each in batch]


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


async def test_those_who_come_at_once_share_a_batch_and_each_gets_its_own(oracle: Oracle) -> None:
    batches = Batches(oracle.work, most=100)
    assert await asyncio.gather(*map(batches.ask, range(50))) == [2 * each for each in range(50)]
    assert oracle.batches == [list(range(50))]
    assert await batches.ask(7) == 14


async def test_what_comes_while_a_batch_runs_is_the_next(oracle: Oracle) -> None:
    batches = Batches(oracle.work, most=100)
    oracle.may.clear()
    first = asyncio.create_task(batches.ask(1))
    await begun(oracle, 1)
    late = [asyncio.create_task(batches.ask(each)) for each in (2, 3)]
    await asyncio.sleep(0)
    oracle.may.set()
    assert await asyncio.gather(first, *late) == [2, 4, 6]
    assert oracle.batches == [[1], [2, 3]]


@pytest.mark.parametrize(
    ("weights", "parts"),
    [
        ([1, 1, 1, 1, 1], [[1, 1, 1, 1], [1]]),
        ([3, 1, 1, 3], [[3, 1], [1, 3]]),
        ([9, 9, 1], [[9], [9], [1]]),  # one that is too much for any batch has its own
    ],
)
async def test_a_batch_weighs_no_more_than_it_may(oracle: Oracle, weights: list[int], parts: list[list[int]]) -> None:
    batches = Batches(oracle.work, most=4, weight=lambda asked: asked)
    assert await asyncio.gather(*map(batches.ask, weights)) == [2 * each for each in weights]
    assert oracle.batches == parts


async def test_a_failure_reaches_all_who_wait_and_nobody_after_them(oracle: Oracle) -> None:
    batches = Batches(oracle.work, most=2)
    oracle.problem = StorageUnavailable("down", retry_after=2)
    ended = await asyncio.gather(*map(batches.ask, range(5)), return_exceptions=True)
    assert [str(each) for each in ended] == [str(oracle.problem)] * 5
    assert len({id(each) for each in ended}) == 5, "each is raised in a task of its own"
    assert len(oracle.batches) == 1, "the others do not wait for it to fail again"
    oracle.problem = None
    assert await batches.ask(1) == 2


@pytest.mark.parametrize("problem", [ZeroDivisionError("a bug"), ValueError("too few")])
async def test_a_bug_is_told_to_those_who_wait(oracle: Oracle, problem: Exception) -> None:
    batches = Batches(oracle.work, most=5)
    oracle.problem = problem
    with pytest.raises(type(problem)):
        await batches.ask(1)
    oracle.problem = None
    assert await batches.ask(1) == 2


async def test_who_leaves_before_its_batch_begins_is_not_in_it(oracle: Oracle) -> None:
    batches = Batches(oracle.work, most=5)
    oracle.may.clear()
    first = asyncio.create_task(batches.ask(1))
    await begun(oracle, 1)
    late = [asyncio.create_task(batches.ask(each)) for each in (2, 3, 4)]
    await asyncio.sleep(0)
    late[1].cancel()
    await asyncio.sleep(0)
    oracle.may.set()
    assert list(await asyncio.gather(first, late[0], late[2])) == [2, 4, 8]
    assert oracle.batches == [[1], [2, 4]]


@pytest.mark.parametrize("failing", [False, True])
async def test_who_leaves_while_its_batch_runs_disturbs_no_other(oracle: Oracle, failing: bool) -> None:
    batches = Batches(oracle.work, most=5)
    oracle.may.clear()
    asked = [asyncio.create_task(batches.ask(each)) for each in (1, 2, 3)]
    await begun(oracle, 1)
    asked[1].cancel()
    if failing:
        oracle.problem = StorageUnavailable("down", retry_after=2)
    oracle.may.set()
    first, left, last = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(left, asyncio.CancelledError)
    for other in (first, last):
        assert isinstance(other, StorageUnavailable if failing else int)
    oracle.problem = None
    assert await batches.ask(4) == 8


async def test_when_all_leave_nothing_is_asked(oracle: Oracle) -> None:
    batches = Batches(oracle.work, most=5)
    asked = [asyncio.create_task(batches.ask(each)) for each in (1, 2)]
    await asyncio.sleep(0)
    for each in asked:
        each.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    assert await batches.ask(3) == 6
    assert oracle.batches == [[3]]


async def begun(oracle: Oracle, batches: int) -> None:
    async with asyncio.timeout(20):
        while len(oracle.batches) < batches:
            await asyncio.sleep(0)
