"""What goes on beside the requests: changes are seen, sessions are kept alive, and trouble ends nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from qwen_gateway.relay import upkeep as module
from qwen_gateway.relay.accounts import Accounts as Registry
from qwen_gateway.relay.keys import Keys
from qwen_gateway.relay.ports import KeyRecord
from qwen_gateway.relay.upkeep import Upkeep
from qwen_gateway.turn.faults import LoginExpired, StorageUnavailable

from .fakes import NOON, Accounts, Clock, Net, Site, credential, keeper, renewal, until
from .test_accounts import MANNERS

DAY = 86_400


class KeyShelf:
    def __init__(self) -> None:
        self.loads = 0

    async def load(self) -> list[KeyRecord]:
        self.loads += 1
        return []

    async def add(self, key: KeyRecord) -> None:
        raise NotImplementedError

    async def replace(self, key: KeyRecord) -> bool:
        raise NotImplementedError


class Bench:
    def __init__(self) -> None:
        self.clock, self.net, self.site, self.store = Clock(), Net(), Site(), Accounts()
        self.numbers = {"accounts": 1, "pauses": 1, "keys": 1}
        self.trouble: Exception | None = None
        self.looks = 0
        self.pruned: list[float] = []
        self.prunes = {"usage": 3, "files": 0}
        self.shelf = KeyShelf()
        at = keeper(self.clock, self.store)
        ambient = self.clock.ambient()
        self.accounts = Registry(self.store, at, ambient, MANNERS)
        self.keys = Keys(self.shelf, ambient, static=[], stale_after=60)
        again = renewal(self.site, self.net, self.clock, at)
        self.upkeep = Upkeep(self, self.accounts, self.keys, again, ambient, self.prune)

    async def read(self) -> dict[str, int]:
        self.looks += 1
        if self.trouble is not None:
            raise self.trouble
        return dict(self.numbers)

    async def prune(self, now: float) -> dict[str, int]:
        self.pruned.append(now)
        if self.trouble is not None:
            raise self.trouble
        return self.prunes

    async def looked(self, times: int = 2) -> None:
        """Until it has looked again, from beginning to end."""
        seen = self.looks
        await until(lambda: self.looks >= seen + times)


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.001)
    found = Bench()
    yield found
    await found.upkeep.close()


async def test_at_the_start_everything_is_read_once(bench: Bench) -> None:
    await bench.accounts.adopt(credential(user="a"), "main")
    bench.accounts._own.clear()
    await bench.upkeep.start()
    assert [account.name for account in bench.accounts.all()] == ["main"]
    assert (bench.shelf.loads, bench.keys.loaded) == (1, True)


async def test_a_start_without_a_database_is_refused(bench: Bench) -> None:
    bench.trouble = StorageUnavailable("down")
    with pytest.raises(StorageUnavailable):
        await bench.upkeep.start()


async def test_only_what_changed_is_read_again(bench: Bench) -> None:
    await bench.upkeep.start()
    before = bench.store.log.count("load")
    await bench.looked()
    assert (bench.store.log.count("load"), bench.shelf.loads) == (before, 1)
    bench.numbers["keys"] += 1
    await until(lambda: bench.shelf.loads == 2)
    bench.numbers["pauses"] += 1
    await until(lambda: bench.store.log.count("load") == before + 1)
    bench.numbers["accounts"] += 1
    await until(lambda: bench.store.log.count("load") == before + 2)
    assert bench.shelf.loads == 2


@pytest.mark.parametrize("trouble", [StorageUnavailable("down"), RuntimeError("a table is missing")])
async def test_trouble_is_told_once_and_ends_by_itself(bench: Bench, trouble: Exception) -> None:
    await bench.upkeep.start()
    with capture_logs() as logs:
        bench.trouble = trouble
        await until(lambda: bench.upkeep.problem is not None)
        await bench.looked(5)
        bench.trouble = None
        await until(lambda: bench.upkeep.problem is None)
    events = [line["event"] for line in logs if line["event"].startswith("database")]
    assert events == ["database_unavailable", "database_available_again"]
    bench.numbers["keys"] += 1
    await until(lambda: bench.shelf.loads == 2)


async def test_what_was_not_taken_over_in_full_is_taken_over_the_next_time(bench: Bench) -> None:
    await bench.upkeep.start()
    bench.store.down = StorageUnavailable("down")
    bench.numbers["accounts"] += 1
    await until(lambda: bench.upkeep.problem is not None)
    loads = bench.store.log.count("load")
    bench.store.down = None
    await until(lambda: bench.upkeep.problem is None)
    assert bench.store.log.count("load") > loads


async def test_what_is_too_old_is_deleted_every_hour_also_after_trouble(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CARE_EVERY", 0.001)
    await bench.upkeep.start()
    bench.trouble = RuntimeError("no")
    await until(lambda: len(bench.pruned) > 3)
    bench.trouble = None
    with capture_logs() as logs:
        await until(lambda: any(line["event"] == "pruned" for line in logs))
    told = next(line for line in logs if line["event"] == "pruned")
    assert (told["usage"], told["files"]) == (3, 0)


async def test_of_what_is_too_old_nothing_is_said_where_there_is_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CARE_EVERY", 0.001)
    bench.prunes = {"usage": 0, "files": 0}
    with capture_logs() as logs:
        await bench.upkeep.start()
        await until(lambda: len(bench.pruned) > 3)
        assert [line for line in logs if line["event"] == "pruned"] == []
        bench.prunes = {"usage": 0, "files": 1}
        await until(lambda: any(line["event"] == "pruned" for line in logs))


@pytest.mark.parametrize(("idle", "asked"), [(DAY - 1, 0), (DAY + 1, 1)])
async def test_a_session_that_lies_idle_is_renewed_now_and_then(bench: Bench, idle: float, asked: int) -> None:
    await bench.accounts.adopt(credential(user="a", ends=NOON - idle, refreshable=True))
    await bench.upkeep.start()
    await until(lambda: bench.pruned != [])
    assert bench.net.count("refresh") == asked


async def test_an_idle_session_that_is_over_is_noticed_and_hurts_nobody(bench: Bench) -> None:
    here = await bench.accounts.adopt(credential(user="a", ends=NOON - 2 * DAY, refreshable=True))
    bench.site.says["refresh"].append(LoginExpired("over"))
    await bench.upkeep.start()
    await until(lambda: bench.pruned != [])
    assert isinstance(here.refusal("q"), LoginExpired)


async def test_the_end_of_a_session_is_logged_before_it_comes(bench: Bench) -> None:
    await bench.accounts.adopt(credential(user="a", ends=NOON + DAY), "main")
    with capture_logs() as logs:
        await bench.upkeep.start()
        await until(lambda: bench.pruned != [])
    assert [line["why"] for line in logs if line["event"] == "session_ends"] == [bench.accounts.warned]


async def test_it_ends_when_asked_to(bench: Bench) -> None:
    await bench.upkeep.start()
    async with asyncio.timeout(5):
        await bench.upkeep.close()
    looks = bench.looks
    await asyncio.sleep(0.01)
    assert bench.looks == looks
