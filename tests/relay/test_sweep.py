"""Chats that are to go: marked, claimed, deleted at the site, forgotten; and what a crash leaves at each step."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from qwen_gateway.relay import sweep as module
from qwen_gateway.relay.chats import DeletePolicy
from qwen_gateway.relay.ports import KeptChat, Remembered
from qwen_gateway.relay.sweep import AT_ONCE, CLAIMED, OLDEST, UNUSED, Sweep
from qwen_gateway.turn.faults import Challenged, SiteError, StorageUnavailable

from .conversation_fakes import FakeConversationStore
from .fakes import NOON, Clock, Journal, Net, Site, account, chats, settle, until


class Bench:
    """Processes that share a store and a site."""

    def __init__(self) -> None:
        self.clock, self.store, self.site, self.net = Clock(), FakeConversationStore(), Site(), Net()
        self.account = account(self.clock)
        self.running: list[Sweep] = []

    def process(self, policy: DeletePolicy = 24.0, owner: str = "me", most: int = 200) -> Sweep:
        here = chats(self.site, self.net, Journal([]), self.clock, policy, self.store)
        here.start()
        here.take_up(self.account)
        made = Sweep(self.store, here, self.clock.ambient(), owner=owner, policy=policy, most=most)
        self.running.append(made)
        return made

    async def kept(self, *ids: str, used: float = NOON, created: float = NOON, account_key: str = "") -> None:
        key = account_key or self.account.key
        await self.store.remember([Remembered(KeptChat(one, key, "me", created, used), ()) for one in ids])

    @property
    def deleted(self) -> list[str]:
        return [entry.split()[1] for entry in self.net.log if entry.startswith("delete ")]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    for sweep in made.running:
        await sweep.close(1)
        await sweep._chats.close(0)


async def test_a_marked_chat_is_deleted_and_then_forgotten(bench: Bench) -> None:
    await bench.kept("going", "staying")
    await bench.store.mark(["going"])
    bench.process().start()
    await until(lambda: set(bench.store.chats) == {"staying"})
    assert bench.deleted == ["going"]


@pytest.mark.parametrize(("policy", "unused"), [(24.0, 24 * 3600.0), (0.5, 1800.0), ("now", 0.0), (0.0, 0.0)])
async def test_chats_go_that_were_not_used_for_so_long(bench: Bench, policy: DeletePolicy, unused: float) -> None:
    await bench.kept("old", used=NOON - unused - 1)
    await bench.kept("young", used=NOON - unused + 1)
    bench.process(policy).start()
    await until(lambda: set(bench.store.chats) == {"young"})
    assert bench.deleted == ["old"]


async def test_chats_go_that_were_made_long_ago_and_too_many_of_one_account(bench: Bench) -> None:
    await bench.kept("ancient", used=NOON - 4, created=NOON - OLDEST - 1)
    await bench.kept("a", used=NOON - 3)
    await bench.kept("b", "c", used=NOON - 2)
    bench.process(most=2).start()
    await until(lambda: set(bench.store.chats) == {"b", "c"})
    assert sorted(bench.deleted) == ["a", "ancient"]


async def test_chats_that_stay_at_the_site_are_only_forgotten(bench: Bench) -> None:
    await bench.kept("unused", used=NOON - UNUSED - 1)
    await bench.kept("used", used=NOON - UNUSED + 1)
    bench.process("keep").start()
    await until(lambda: set(bench.store.chats) == {"used"})
    assert bench.deleted == []


async def test_chats_of_accounts_that_are_not_here_are_left_to_others(bench: Bench) -> None:
    await bench.kept("theirs", account_key="another")
    await bench.store.mark(["theirs"])
    bench.process().start()
    await until(lambda: bool(bench.store.did("claim")))
    await settle()
    assert (bench.deleted, bench.store.owners) == ([], {})


async def test_without_accounts_nothing_is_claimed(bench: Bench) -> None:
    sweep = bench.process()
    sweep._chats.forget(bench.account)
    sweep.start()
    await until(lambda: bool(bench.store.did("mark_old")))
    await settle()
    assert bench.store.did("claim") == []


@pytest.mark.parametrize("way", ["paused", "challenged", "ended"])
async def test_an_account_that_cannot_be_used_does_not_stop_the_deletions_of_others(
    bench: Bench, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY", 0.001)
    resting = account(bench.clock, user="resting", ends=NOON - 1 if way == "ended" else None)
    resting.paused = way == "paused"
    if way == "challenged":
        resting.failed("", Challenged("a wall"))
    theirs = [f"c{number}" for number in range(AT_ONCE)]
    await bench.kept(*theirs, used=NOON - 9, account_key=resting.key)
    await bench.kept("ours")
    await bench.store.mark([*theirs, "ours"])
    sweep = bench.process()
    sweep._chats.take_up(resting)
    sweep.start()
    await until(lambda: "ours" not in bench.store.chats)
    assert (bench.deleted, bench.store.owners) == (["ours"], {})
    if way == "paused":
        resting.paused = False
        await until(lambda: not bench.store.chats)
        assert sorted(bench.deleted[1:]) == sorted(theirs)


async def test_chats_of_an_account_that_comes_to_rest_are_left_and_claimed_again_after_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY", 0.001)
    other = account(bench.clock, user="other")
    names = [f"c{number}" for number in range(AT_ONCE)]
    await bench.kept(*names, used=NOON - 9)
    await bench.kept("other", account_key=other.key)
    await bench.store.mark([*names, "other"])
    bench.site.says["delete"].append(Challenged("a wall"))
    sweep = bench.process()
    sweep._chats.take_up(other)
    sweep.start()
    await until(lambda: "other" not in bench.store.chats)
    assert len(bench.deleted) == 2
    bench.clock.now += CLAIMED
    await until(lambda: not bench.store.chats)


async def test_no_more_is_claimed_than_can_be_deleted_soon(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 0.001)
    bench.net.holds["delete"] = asyncio.Event()
    names = [f"c{number}" for number in range(AT_ONCE + 5)]
    await bench.kept(*names)
    await bench.store.mark(names)
    bench.process().start()
    await until(lambda: len(bench.store.did("mark_old")) > 5)
    assert len(bench.store.owners) == AT_ONCE
    bench.net.holds["delete"].set()
    await until(lambda: not bench.store.chats)
    assert sorted(bench.deleted) == sorted(names)


async def test_two_processes_delete_each_chat_once(bench: Bench) -> None:
    names = [f"c{number}" for number in range(20)]
    await bench.kept(*names)
    await bench.store.mark(names)
    bench.process().start()
    bench.process(owner="other").start()
    await until(lambda: not bench.store.chats)
    assert sorted(bench.deleted) == sorted(names)


async def test_what_a_process_claimed_before_it_crashed_is_taken_up_by_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY", 0.001)
    await bench.kept("going")
    await bench.store.mark(["going"])
    await bench.store.claim_marked([bench.account.key], "crashed", NOON, CLAIMED, 9)
    bench.process().start()
    await until(lambda: len(bench.store.did("claim")) > 5)
    assert bench.deleted == []
    bench.clock.now += CLAIMED
    await until(lambda: not bench.store.chats)
    assert bench.deleted == ["going"]


async def test_what_was_deleted_and_not_forgotten_before_a_crash_is_deleted_again(bench: Bench) -> None:
    await bench.kept("going")
    await bench.store.mark(["going"])
    bench.store.holds["gone"] = asyncio.Event()
    crashed = bench.process()
    crashed.start()
    await until(lambda: bool(bench.store.did("gone")))
    await crashed.close(0.001)
    assert set(bench.store.chats) == {"going"}
    bench.store.holds.clear()
    bench.clock.now += CLAIMED
    bench.process(owner="next").start()
    await until(lambda: not bench.store.chats)
    assert bench.deleted == ["going", "going"]


async def test_a_deletion_that_fails_is_not_forgotten(bench: Bench) -> None:
    await bench.kept("going")
    await bench.store.mark(["going"])
    bench.net.breaks["delete"].append(SiteError("down"))
    bench.process().start()
    await until(lambda: bench.deleted == ["going"])
    await settle()
    assert (set(bench.store.chats), bench.store.marked) == ({"going"}, {"going"})


async def test_an_outage_is_told_once_and_outlived(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 0.001)
    await bench.kept("going")
    await bench.store.mark(["going"])
    bench.store.away = StorageUnavailable("away")
    with capture_logs() as logs:
        bench.process().start()
        await until(lambda: len(bench.store.did("mark_old")) > 3)
        assert bench.deleted == []
        bench.store.away = None
        await until(lambda: not bench.store.chats)
    assert [log["event"] for log in logs] == ["sweep_failed"]


async def test_what_could_not_be_forgotten_is_forgotten_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 0.05)
    await bench.kept("going")
    await bench.store.mark(["going"])
    bench.net.holds["delete"] = asyncio.Event()
    bench.process().start()
    await until(lambda: bench.deleted == ["going"])
    bench.store.away = StorageUnavailable("away")
    bench.net.holds["delete"].set()
    await until(lambda: bool(bench.store.did("gone")))
    bench.store.away = None
    await until(lambda: not bench.store.chats)
    assert bench.deleted == ["going"]


async def test_closing_has_the_database_forget_what_is_deleted(bench: Bench) -> None:
    await bench.kept("going")
    sweep = bench.process()
    sweep.start()
    await settle()
    sweep._over("going")
    await sweep.close(1)
    assert bench.store.chats == {}


async def test_one_that_was_never_started_can_be_closed(bench: Bench) -> None:
    await bench.process().close(1)
    assert bench.store.log == []
