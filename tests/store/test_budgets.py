"""A budget cannot be overspent, by however many at once."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.store.rows import Flaky, Result, until

from qwen_gateway.relay.ports import Budgets
from qwen_gateway.store import budgets as module
from qwen_gateway.store.budgets import SqlBudgets
from qwen_gateway.store.database import Database, StorageBroken, WorkInOne
from qwen_gateway.turn.faults import StorageUnavailable

DAY = 20_000


@pytest.fixture
async def flaky(url: str) -> AsyncIterator[Flaky]:
    database = Flaky(url, seconds=10)
    yield database
    await database.close()


async def test_of_200_at_once_exactly_50_are_let_in_twenty_times(database: Database) -> None:
    budgets: Budgets = SqlBudgets(database)
    for each in range(20):
        answers = await asyncio.gather(*(budgets.reserve(f"key {each}", DAY, 1, 50) for _ in range(200)))
        assert sorted(answer for answer in answers if answer is not None) == list(range(1, 51))
    assert set((await budgets.used(DAY)).values()) == {50}


async def test_two_processes_together_let_in_no_more(url: str) -> None:
    databases = [Database(url, seconds=20) for _ in range(2)]
    both = [SqlBudgets(database) for database in databases]
    for each in range(15):
        # Different keys in different order, which is how transactions come to wait for one another.
        keys = [f"{each} {number % 2}" for number in range(200)]
        answers = await asyncio.gather(
            *(both[number % 3 % 2].reserve(key, DAY, 1, 25) for number, key in enumerate(keys))
        )
        assert sum(answer is not None for answer in answers) == 50
    assert set((await both[0].used(DAY)).values()) == {25}
    for database in databases:
        await database.close()


@pytest.mark.parametrize("seed", range(5))
async def test_any_order_of_changes_adds_up(seed: int, database: Database) -> None:
    budgets, chance = SqlBudgets(database), random.Random(seed)  # noqa: S311 - a test's
    used: dict[str, int] = {}
    for _ in range(60):
        key, tokens, limit = chance.choice("ab"), chance.randrange(12), chance.choice([10, 30])
        before = used.get(key, 0)
        if chance.random() < 0.6:
            fits = before + tokens <= limit
            assert await budgets.reserve(key, DAY, tokens, limit) == (before + tokens if fits else None)
            used |= {key: before + tokens} if fits else {}
        else:
            change = tokens - 6
            await budgets.settle(key, DAY, change)
            used |= {key: max(0, before + change)} if change else {}
        assert await budgets.used(DAY) == used


async def test_the_first_request_must_fit_as_well(database: Database) -> None:
    budgets = SqlBudgets(database)
    assert await budgets.reserve("key", DAY, 51, 50) is None
    assert await budgets.used(DAY) == {}
    assert await budgets.reserve("key", DAY, 50, 50) == 50
    assert await budgets.reserve("key", DAY, 0, 50) == 50
    assert await budgets.reserve("key", DAY, 1, 50) is None


async def test_each_key_and_each_day_has_its_own(database: Database) -> None:
    budgets = SqlBudgets(database)
    assert await budgets.reserve("one", DAY, 5, 5) == 5
    assert await budgets.reserve("two", DAY, 4, 5) == 4
    assert await budgets.reserve("one", DAY + 1, 3, 5) == 3
    assert await budgets.used(DAY) == {"one": 5, "two": 4}
    assert await budgets.used(DAY + 1) == {"one": 3}


async def test_settling_makes_room_and_never_more_than_there_was(database: Database) -> None:
    budgets = SqlBudgets(database)
    await budgets.reserve("key", DAY, 50, 50)
    await budgets.settle("key", DAY, -20)
    assert await budgets.used(DAY) == {"key": 30}
    await budgets.settle("key", DAY, 100)
    assert await budgets.used(DAY) == {"key": 130}, "what has been used counts, also beyond the limit"
    await budgets.settle("key", DAY, -1000)
    assert await budgets.used(DAY) == {"key": 0}
    await budgets.settle("unheard of", DAY, -5)
    await budgets.settle("new", DAY, 5)
    assert await budgets.used(DAY) == {"key": 0, "new": 5, "unheard of": 0}


async def test_numbers_of_any_size(database: Database) -> None:
    budgets = SqlBudgets(database)
    assert await budgets.reserve("key", DAY, 2**40, 2**63 - 1) == 2**40
    await budgets.settle("key", DAY, 2**80)
    assert await budgets.reserve("key", DAY, 1, 2**63 - 1) is None
    await budgets.settle("key", DAY, -(2**80))


async def test_a_lower_limit_holds_at_once(database: Database) -> None:
    budgets = SqlBudgets(database)
    await budgets.reserve("key", DAY, 30, 50)
    assert await budgets.reserve("key", DAY, 1, 20) is None
    assert await budgets.reserve("key", DAY, 1, 31) == 31


async def test_those_who_come_at_once_share_a_transaction(flaky: Flaky) -> None:
    budgets = SqlBudgets(flaky)
    await asyncio.gather(*(budgets.reserve(f"key {number}", DAY, 1, 5) for number in range(200)))
    assert flaky.writes == 1
    assert len(await budgets.used(DAY)) == 200


# --- callers that leave ---


async def test_a_caller_that_leaves_before_the_answer_has_reserved_nothing(flaky: Flaky) -> None:
    budgets = SqlBudgets(flaky)
    await budgets.reserve("key", DAY, 7, 50)
    flaky.held = asyncio.Event()
    leaving = [asyncio.create_task(budgets.reserve("key", DAY, 10, 50)) for _ in range(6)]
    await until(lambda: flaky.writes == 2)
    for each in leaving:
        each.cancel()
    assert all(isinstance(each, asyncio.CancelledError) for each in await gathered(*leaving))
    flaky.held.set()
    await until(lambda: budgets._writing is None)
    assert await budgets.used(DAY) == {"key": 7}


async def test_a_caller_that_leaves_just_as_the_answer_comes_has_reserved_nothing(flaky: Flaky) -> None:
    budgets = SqlBudgets(flaky)
    leaving = asyncio.create_task(budgets.reserve("key", DAY, 10, 50))
    await asyncio.sleep(0)
    budgets._waiting[0].answer.add_done_callback(lambda _: leaving.cancel())
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await until(lambda: budgets._writing is None)
    assert await budgets.used(DAY) == {"key": 0}


async def test_what_could_not_be_given_back_is_logged(flaky: Flaky) -> None:
    budgets = SqlBudgets(flaky)
    leaving = asyncio.create_task(budgets.reserve("key", DAY, 10, 50))
    await asyncio.sleep(0)
    budgets._waiting[0].answer.add_done_callback(lambda _: leaving.cancel())
    budgets._waiting[0].answer.add_done_callback(lambda _: setattr(flaky, "down", True))
    with capture_logs() as logs:
        await gathered(leaving)
        await until(lambda: bool(logs))
    assert logs == [{"event": "reservation_not_given_back", "log_level": "warning", "problem": "down"}]


async def test_a_caller_that_leaves_while_settling_leaves_it_settled(flaky: Flaky) -> None:
    budgets = SqlBudgets(flaky)
    flaky.held = asyncio.Event()
    leaving = asyncio.create_task(budgets.settle("key", DAY, 10))
    await until(lambda: flaky.writes == 1)
    leaving.cancel()
    await gathered(leaving)
    flaky.held.set()
    await until(lambda: budgets._writing is None)
    assert await budgets.used(DAY) == {"key": 10}


# --- a database in trouble ---


async def test_all_who_wait_are_told_and_later_ones_are_served(flaky: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    budgets = SqlBudgets(flaky)
    flaky.down = True
    answers = await gathered(*(asyncio.create_task(budgets.reserve("key", DAY, 1, 50)) for _ in range(7)))
    assert all(isinstance(answer, StorageUnavailable) for answer in answers)
    assert len({id(answer) for answer in answers}) == 7
    assert flaky.writes == 1, "the others do not wait for it to fail again"
    flaky.down = False
    assert await budgets.reserve("key", DAY, 1, 50) == 1


async def test_that_waiting_does_not_help_is_told_too(tmp_path: Path) -> None:
    file = tmp_path / "gateway.sqlite3"
    file.write_bytes(b"something else" * 100)
    database = Database(f"sqlite+aiosqlite:///{file}", seconds=10)
    with pytest.raises(StorageBroken):
        await SqlBudgets(database).reserve("key", DAY, 1, 50)
    await database.close()


async def test_after_a_lost_answer_the_budget_is_rather_too_small(flaky: Flaky) -> None:
    budgets = SqlBudgets(flaky)
    flaky.losing = 1
    with pytest.raises(StorageUnavailable):
        await budgets.reserve("key", DAY, 30, 50)
    assert await budgets.reserve("key", DAY, 30, 50) is None


async def test_what_is_given_back_is_not_given_back_twice_when_its_answer_was_lost(flaky: Flaky) -> None:
    budgets = SqlBudgets(flaky)
    await budgets.reserve("key", DAY, 50, 50)
    flaky.losing = 1
    with capture_logs() as logs:
        await budgets.settle("key", DAY, -10)
    assert logs == [{"event": "settlement_unsure", "log_level": "warning", "key": "key", "day": DAY, "change": -10}]
    assert await budgets.used(DAY) == {"key": 40}


async def test_what_was_used_is_told_when_its_answer_was_lost_and_may_count_twice(flaky: Flaky) -> None:
    budgets = SqlBudgets(flaky)
    flaky.losing = 1
    with pytest.raises(StorageUnavailable):
        await budgets.settle("key", DAY, 10)
    await budgets.settle("key", DAY, 10)
    assert await budgets.used(DAY) == {"key": 20}


async def test_what_was_surely_not_given_back_is_told(flaky: Flaky) -> None:
    budgets = SqlBudgets(flaky)
    await budgets.reserve("key", DAY, 50, 50)
    flaky.down = True
    with pytest.raises(StorageUnavailable):
        await budgets.settle("key", DAY, -10)
    flaky.down = False
    await budgets.settle("key", DAY, -10)
    assert await budgets.used(DAY) == {"key": 40}


async def test_of_a_lost_answer_each_who_waits_is_told_what_is_true_for_it(flaky: Flaky) -> None:
    budgets = SqlBudgets(flaky)
    await budgets.reserve("key", DAY, 50, 50)
    flaky.losing, flaky.held = 1, asyncio.Event()
    lost = [asyncio.create_task(work) for work in (budgets.settle("key", DAY, -10), budgets.settle("key", DAY, 3))]
    await until(lambda: flaky.writes == 2)
    late = asyncio.create_task(budgets.settle("key", DAY, -5))
    await until(lambda: len(budgets._waiting) == 1)
    flaky.held.set()
    given, used, waited = await gathered(*lost, late)
    assert given is None
    assert isinstance(used, StorageUnavailable)
    assert isinstance(waited, StorageUnavailable), "it was never sent, so it is still to be made"
    assert await budgets.used(DAY) == {"key": 43}


async def test_what_comes_too_late_is_not_committed(url: str) -> None:
    """Whoever waited was told that nothing was made, and tries again."""
    database = Slow(url, seconds=10)
    budgets = SqlBudgets(database)
    with pytest.raises(StorageUnavailable):
        await budgets.settle("key", DAY, -10)
    database.go.set()
    assert isinstance((await gathered(*database.tasks))[0], StorageUnavailable)
    assert await budgets.used(DAY) == {}
    await database.close()


class Slow(Database):
    """Writes nothing before `go`, but says at once that it took too long."""

    def __init__(self, url: str, *, seconds: float) -> None:
        super().__init__(url, seconds=seconds)
        self.go = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def write_in_one(self, work: WorkInOne[Result]) -> Result:
        async def later() -> None:
            await self.go.wait()
            await Database.write_in_one(self, work)

        self.tasks.append(asyncio.create_task(later()))
        raise StorageUnavailable("silent", retry_after=2)


async def test_a_bug_below_is_told_to_those_who_wait(flaky: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = SqlBudgets(flaky)
    with monkeypatch.context() as patch:
        patch.setattr(budgets, "_make", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await budgets.reserve("key", DAY, 1, 50)
    assert await budgets.reserve("key", DAY, 1, 50) == 1


async def gathered(*tasks: asyncio.Task[int | None] | asyncio.Task[None]) -> list[object]:
    return list(await asyncio.gather(*tasks, return_exceptions=True))


async def test_in_a_crowd_a_smaller_one_may_fit_where_larger_ones_did_not(database: Database) -> None:
    budgets = SqlBudgets(database)
    first = asyncio.create_task(budgets.reserve("warm", DAY, 1, 10))  # the others share the next transaction
    await asyncio.sleep(0)
    crowd = await asyncio.gather(*(budgets.reserve("k", DAY, tokens, 100) for tokens in (60, 60, 70, 30, 30, 10, 10)))
    assert crowd == [60, None, None, 90, None, 100, None]
    assert (await first, await budgets.used(DAY)) == (1, {"warm": 1, "k": 100})


async def test_what_is_used_on_several_days_is_told_apart_when_asked_at_once(database: Database) -> None:
    budgets = SqlBudgets(database)
    await asyncio.gather(budgets.reserve("a", DAY, 1, 9), budgets.reserve("a", DAY + 1, 2, 9))
    days = [DAY, DAY + 1, DAY, DAY + 2]
    told = await asyncio.gather(*(budgets.used(day) for day in days))
    assert told == [{"a": 1}, {"a": 2}, {"a": 1}, {}]
