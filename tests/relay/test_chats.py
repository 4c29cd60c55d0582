"""The chats that we make: written down before they exist, and gone again when the operator wants them gone."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from qwen_gateway.accounts.rest import LOGIN_REST
from qwen_gateway.relay import cleaning
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.chats import LOST_AFTER, Chats, DeletePolicy
from qwen_gateway.relay.cleaning import RETRY_FIRST, RETRY_LAST, STORE_RETRY, UNHURRIED_TRIES
from qwen_gateway.relay.memory import Memory
from qwen_gateway.relay.ports import ChatRecord
from qwen_gateway.relay.sweep import CLAIMED
from qwen_gateway.turn.faults import (
    Challenged,
    ChatLost,
    Drift,
    Fault,
    LoginExpired,
    RateLimited,
    SiteError,
    StorageUnavailable,
    TimedOut,
    Unreachable,
)

from .conversation_fakes import FakeConversationStore, answered
from .fakes import NOON, PROMPT, Clock, Journal, Net, Site, Timers, account, chats, settle, until


class Bench:
    """A process's chats over fakes, on a clock that only `timers.advance` moves."""

    def __init__(self, timers: Timers, clock: Clock, policy: DeletePolicy = "now", *records: ChatRecord) -> None:
        self.timers, self.clock = timers, clock
        self.site, self.log = Site(), list[str]()
        self.net, self.journal = Net(self.log), Journal(self.log, *records)
        self.store = FakeConversationStore()
        self.chats: Chats = chats(self.site, self.net, self.journal, clock, policy, self.store)
        self.account: Account = account(clock)

    def started(self) -> "Bench":
        self.chats.start()
        self.chats.take_up(self.account)
        return self

    async def over(self, *, unfinished: bool = False, kept: bool = False, keep: bool = True) -> str:
        """A whole turn: its chat is made and released."""
        chat_id = await self.chats.open(self.account, PROMPT, keep=keep)
        self.chats.release(self.account, chat_id, answer_id="a", unfinished=unfinished, kept=kept)
        await settle()
        return chat_id

    async def known(self, *chat_ids: str) -> None:
        """The database has these chats."""
        await self.store.remember([answered(chat_id) for chat_id in chat_ids])

    def has(self, *entries: str) -> bool:
        return [entry for entry in self.log if entry in entries] == list(entries)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def timers(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Timers]:
    timers = Timers(clock)
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", timers.call_later)
    yield timers
    # The workers of a test that does not close its chats.
    for task in asyncio.all_tasks():
        if getattr(task.get_coro(), "__qualname__", "").startswith(("Chats.", "Cleaning.")):
            task.cancel()


def record(account_: Account, chat_id: str | None = "old", due: float = NOON, title: str = "API old") -> ChatRecord:
    return ChatRecord(title, account_.key, chat_id, due)


# --- the journal ---


async def test_a_chat_is_written_down_before_it_is_made_and_struck_after_it_is_deleted(
    timers: Timers, clock: Clock
) -> None:
    bench = Bench(timers, clock).started()
    await bench.over()
    assert bench.log == [
        "put API id-1 None",
        "new API id-1",
        "put API id-1 chat-1",
        "delete chat-1",
        "remove API id-1",
    ]


async def test_a_chat_stays_while_its_turn_runs(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock).started()
    chat_id = await bench.chats.open(bench.account, PROMPT)
    bench.chats.take_up(bench.account)  # as another turn of a caller's account does
    await timers.advance(1_000_000)
    assert bench.net.count("delete") == 0
    assert bench.journal.records() == [ChatRecord("API id-1", bench.account.key, chat_id, NOON)]


async def test_nothing_is_made_that_could_not_be_written_down(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock).started()
    bench.journal.full = 0
    with pytest.raises(StorageUnavailable):
        await bench.chats.open(bench.account, PROMPT)
    assert bench.log == []


async def test_a_chat_whose_id_cannot_be_written_down_is_deleted_at_once(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 24.0).started()
    bench.journal.full = 1
    with pytest.raises(StorageUnavailable):
        await bench.chats.open(bench.account, PROMPT)
    await settle()
    assert bench.log[-2:] == ["delete chat-1", "remove API id-1"]


@pytest.mark.parametrize(
    "fault", [Challenged("a wall"), LoginExpired("over"), RateLimited("enough")], ids=lambda fault: fault.code
)
async def test_a_refused_chat_is_struck(fault: Fault, timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock).started()
    bench.site.says["new"].append(fault)
    with pytest.raises(type(fault)):
        await bench.chats.open(bench.account, PROMPT)
    assert bench.log[-1] == "remove API id-1"
    assert timers.waits == []


# --- the operator's wish ---


async def test_kept_chats_have_no_record_and_a_name_like_any_other(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, "keep").started()
    await bench.over()
    await timers.advance(1_000_000)
    assert bench.log == ["new New Chat"]


async def test_kept_chats_are_still_told_to_stop(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, "keep").started()
    await bench.over(unfinished=True)
    assert bench.log == ["new New Chat", "stop chat-1,a"]
    assert bench.chats.pending == 0


async def test_a_chat_that_its_client_wants_gone_goes_where_others_stay(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, "keep").started()
    await bench.over(keep=False)
    assert bench.log[0] == "put API id-1 None"
    assert bench.log[-2:] == ["delete chat-1", "remove API id-1"]


@pytest.mark.parametrize("policy", ["now", 0.0, 0.5, 24.0])
async def test_a_chat_that_nobody_remembers_goes_at_once(policy: DeletePolicy, timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, policy).started()
    await bench.over()
    assert bench.log[-2:] == ["delete chat-1", "remove API id-1"]


# --- chats that the database takes ---


async def test_a_kept_chat_stays_in_the_journal_until_the_database_has_it(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 24.0).started()
    chat_id = await bench.over(kept=True)
    await timers.advance(1_000_000)
    assert (list(bench.journal.kept), bench.chats.waiting) == (["API id-1"], 0)
    bench.chats.kept([chat_id])
    await timers.advance(1_000_000)
    assert bench.log[-1] == "remove API id-1"
    assert bench.net.count("delete") == 0


async def test_a_kept_chat_that_the_database_will_not_have_goes(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 24.0).started()
    chat_id = await bench.over(kept=True)
    bench.chats.drop([chat_id, "one that we did not make"])
    await settle()
    assert bench.log[-2:] == ["delete chat-1", "remove API id-1"]


@pytest.mark.parametrize("unfinished", [False, True])
async def test_a_chat_that_is_dropped_before_its_turn_is_over_goes_after_it(
    unfinished: bool, timers: Timers, clock: Clock
) -> None:
    bench = Bench(timers, clock, 24.0).started()
    chat_id = await bench.chats.open(bench.account, PROMPT)
    bench.chats.drop([chat_id])
    await settle()
    assert bench.net.count("delete") == 0, "the turn may still need it"
    bench.chats.release(bench.account, chat_id, answer_id="a", unfinished=unfinished, kept=True)
    await settle()
    assert bench.log[3:] == ["stop chat-1,a"] * unfinished + ["delete chat-1", "remove API id-1"]
    assert (bench.journal.kept, bench.chats.waiting) == ({}, 0)


@pytest.mark.parametrize("unfinished", [False, True])
async def test_one_that_the_database_has_after_all_is_left_to_it(
    unfinished: bool, timers: Timers, clock: Clock
) -> None:
    bench = Bench(timers, clock, 24.0).started()
    chat_id = await bench.chats.open(bench.account, PROMPT)
    bench.chats.drop([chat_id])
    await bench.known(chat_id)
    bench.chats.release(bench.account, chat_id, answer_id="a", unfinished=unfinished, kept=True)
    await settle()
    assert (bench.net.count("delete"), bench.journal.kept) == (0, {})


async def test_a_chat_that_is_dropped_while_it_is_being_written_is_struck_once_the_database_has_it(
    timers: Timers, clock: Clock
) -> None:
    bench = Bench(timers, clock, 24.0).started()
    chat_id = await bench.chats.open(bench.account, PROMPT)
    bench.chats.drop([chat_id])
    bench.chats.kept([chat_id])
    assert bench.journal.kept == {}
    bench.chats.release(bench.account, chat_id, answer_id="a", unfinished=False, kept=True)
    await settle()
    assert bench.net.count("delete") == 0


async def test_what_a_tenant_has_forgotten_while_its_last_words_were_sent_is_deleted(
    timers: Timers, clock: Clock
) -> None:
    bench = Bench(timers, clock, 24.0).started()
    memory = Memory(bench.store, clock.ambient(), owner="me", kept=bench.chats.kept, dropped=bench.chats.drop)
    chat_id = await bench.chats.open(bench.account, PROMPT)
    assert memory.remember(answered(chat_id))
    memory.mark([chat_id])  # as `forget` does, after the answer's end and before the turn's
    bench.chats.release(bench.account, chat_id, answer_id="a", unfinished=False, kept=True)
    await settle()
    assert bench.log[-2:] == ["delete chat-1", "remove API id-1"]


async def test_a_dropped_chat_that_the_database_has_after_all_is_left_to_it(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 24.0).started()
    chat_id = await bench.over(kept=True)
    await bench.known(chat_id)
    bench.chats.drop([chat_id])
    await settle()
    assert bench.log[-1] == "remove API id-1"
    assert bench.net.count("delete") == 0


async def test_a_database_that_is_faster_than_the_end_of_the_turn(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 24.0).started()
    chat_id = await bench.chats.open(bench.account, PROMPT)
    bench.chats.kept([chat_id])
    bench.chats.release(bench.account, chat_id, answer_id="a", unfinished=False, kept=True)
    await settle()
    assert bench.log[-1] == "remove API id-1"
    assert bench.journal.kept == {}


async def test_a_kept_chat_in_which_the_site_still_writes_is_stopped_and_stays(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 24.0).started()
    await bench.over(kept=True, unfinished=True)
    assert bench.log[-1] == "stop chat-1,a"
    assert list(bench.journal.kept) == ["API id-1"]


async def test_a_record_that_cannot_be_struck_does_no_harm(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 24.0).started()
    first, second = await bench.over(kept=True), await bench.over(kept=True)
    bench.journal.stuck = True
    bench.chats.kept([first])
    bench.journal.stuck = False
    bench.chats.kept([second])
    assert list(bench.journal.kept) == ["API id-1"]
    await bench.known(first)
    again = chats(bench.site, bench.net, bench.journal, clock, 24.0, bench.store)
    again.start()
    again.take_up(bench.account)
    await settle()
    assert bench.journal.kept == {}
    assert bench.net.count("delete") == 0


async def test_a_chat_in_which_a_turn_went_on_is_stopped_and_never_deleted(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 24.0).started()
    for unfinished in (False, True):
        bench.chats.release(bench.account, "theirs", answer_id="a", unfinished=unfinished)
        await settle()
    assert bench.log == ["stop theirs,a"]


# --- answers that broke off ---


@pytest.mark.parametrize("unfinished", [True, False])
async def test_an_answer_that_is_verified_keeps_its_chat(unfinished: bool, timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 24.0).started()

    async def verify() -> bool:
        bench.log.append("verify")
        return True

    chat_id = await bench.chats.open(bench.account, PROMPT)
    bench.chats.release(bench.account, chat_id, answer_id="a", unfinished=unfinished, verify=verify)
    assert bench.chats.pending == 1
    await settle()
    assert bench.log[3:] == ["stop chat-1,a"] * unfinished + ["verify"]
    assert (bench.chats.pending, list(bench.journal.kept)) == (0, ["API id-1"])
    bench.chats.kept([chat_id])
    assert bench.journal.kept == {}


@pytest.mark.parametrize("problem", [None, ValueError("a mistake of ours")])
async def test_an_answer_that_is_not_verified_loses_its_chat(
    problem: Exception | None, timers: Timers, clock: Clock
) -> None:
    bench = Bench(timers, clock, 24.0).started()

    async def verify() -> bool:
        if problem is not None:
            raise problem
        return False

    chat_id = await bench.chats.open(bench.account, PROMPT)
    bench.chats.release(bench.account, chat_id, answer_id="a", unfinished=True, verify=verify)
    await settle()
    assert bench.log[-3:] == ["stop chat-1,a", "delete chat-1", "remove API id-1"]


async def test_a_chat_that_is_known_before_its_verification_ends(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 24.0).started()

    async def verify() -> bool:
        bench.chats.kept([chat_id])
        return True

    chat_id = await bench.chats.open(bench.account, PROMPT)
    bench.chats.release(bench.account, chat_id, answer_id="a", unfinished=True, verify=verify)
    await settle()
    assert bench.log[-1] == "remove API id-1"
    assert bench.net.count("delete") == 0


async def test_an_answer_in_a_chat_that_is_known_is_verified_and_the_chat_stays(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 24.0).started()
    asked: list[str] = []

    async def verify() -> bool:
        asked.append("verify")
        return False

    bench.chats.release(bench.account, "theirs", answer_id="a", unfinished=True, verify=verify)
    await settle()
    assert (bench.log, asked) == (["stop theirs,a"], ["verify"])


async def test_closing_in_the_middle_of_a_verification_leaves_the_chat_in_the_journal(clock: Clock) -> None:
    bench = Bench(Timers(clock), clock, 24.0).started()
    begun = asyncio.Event()

    async def verify() -> bool:
        begun.set()
        return await asyncio.Event().wait()

    chat_id = await bench.chats.open(bench.account, PROMPT)
    bench.chats.release(bench.account, chat_id, answer_id="a", unfinished=True, verify=verify)
    await begun.wait()
    await bench.chats.close(0.01)
    assert list(bench.journal.kept) == ["API id-1"]
    assert bench.net.count("delete") == 0


# --- stopping ---


async def test_an_unfinished_answer_is_stopped_before_its_chat_is_deleted(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock).started()
    bench.net.holds["stop"] = asyncio.Event()
    await bench.over(unfinished=True)
    assert (bench.net.count("stop"), bench.net.count("delete"), bench.chats.pending) == (1, 0, 1)
    bench.net.holds["stop"].set()
    await settle()
    assert bench.has("stop chat-1,a", "delete chat-1", "remove API id-1")
    assert bench.chats.pending == 0


async def test_a_stop_that_fails_does_not_keep_the_chat(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock).started()
    bench.net.breaks["stop"].append(Unreachable("refused"))
    await bench.over(unfinished=True)
    assert bench.log[-1] == "remove API id-1"


@pytest.mark.parametrize("name", ["stop", "delete"])
async def test_a_wall_in_the_way_of_cleaning_up_lets_the_account_rest(name: str, timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock).started()
    bench.site.says[name].append(Challenged("a wall"))
    await bench.over(unfinished=True)
    assert isinstance(bench.account.resting(), Challenged)


# --- earlier runs ---


async def test_what_an_earlier_run_left_is_deleted_when_due(timers: Timers, clock: Clock) -> None:
    of = account(clock)
    left = [record(of, "one", NOON - 5, "API 1"), record(of, "two", NOON + 100, "API 2")]
    bench = Bench(timers, clock, "now", *left).started()
    await settle()
    assert bench.log == ["delete one", "remove API 1"]
    await timers.advance(101)
    assert bench.log[2:] == ["delete two", "remove API 2"]


async def test_a_chat_whose_id_was_lost_is_found_by_its_title(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, "now", record(account(clock), None))
    bench.site.titled["API old"] = "lost"
    bench.started()
    await settle()
    assert bench.log == ["find API old", "delete lost", "remove API old"]


async def test_a_lost_chat_that_is_not_there_is_struck_once_it_is_due(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, "now", record(account(clock), None)).started()
    await settle()
    assert bench.log == ["find API old", "remove API old"]


@pytest.mark.parametrize(
    "fault", [Unreachable("refused"), TimedOut("slow"), SiteError("down"), Drift("odd")], ids=lambda fault: fault.code
)
async def test_a_chat_that_may_have_been_made_is_looked_for_until_it_is_due(
    fault: Fault, timers: Timers, clock: Clock
) -> None:
    bench = Bench(timers, clock).started()
    bench.net.breaks["new"].append(fault)
    with pytest.raises(type(fault)):
        await bench.chats.open(bench.account, PROMPT)
    await timers.advance(LOST_AFTER - 1)
    assert bench.net.count("find") >= 3
    assert len(bench.journal.kept) == 1
    await timers.advance(2 * LOST_AFTER)
    assert bench.journal.kept == {}
    assert bench.net.count("delete") == 0


async def test_a_chat_that_turns_up_late_is_deleted(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock).started()
    bench.net.breaks["new"].append(TimedOut("slow"))
    with pytest.raises(TimedOut):
        await bench.chats.open(bench.account, PROMPT)
    await timers.advance(3)
    assert bench.log[-1] == "find API id-1"
    bench.site.titled["API id-1"] = "late"
    await timers.advance(10)
    assert bench.log[-2:] == ["delete late", "remove API id-1"]


async def test_a_client_who_leaves_while_the_chat_is_made(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock).started()
    bench.net.holds["new"] = asyncio.Event()
    opening = asyncio.create_task(bench.chats.open(bench.account, PROMPT))
    await until_logged(bench, "new API id-1")
    opening.cancel()
    await asyncio.wait([opening])
    assert opening.cancelled()
    bench.site.titled["API id-1"] = "made"
    await timers.advance(RETRY_FIRST)
    assert bench.log[-3:] == ["find API id-1", "delete made", "remove API id-1"]


async def until_logged(bench: Bench, entry: str) -> None:
    for _ in range(100):
        if entry in bench.log:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{entry} did not happen: {bench.log}")


# --- after a crash ---


async def test_what_the_database_has_taken_is_struck_and_stays(timers: Timers, clock: Clock) -> None:
    of = account(clock)
    bench = Bench(timers, clock, 24.0, record(of, "taken", title="API 1"), record(of, "not", title="API 2"))
    await bench.known("taken")
    bench.started()
    await settle()
    assert bench.journal.kept == {}
    assert bench.net.count("delete") == 1
    assert "delete not" in bench.log


@pytest.mark.parametrize("problem", [StorageUnavailable("away"), ValueError("no such table")])
async def test_while_the_database_does_not_say_nothing_is_deleted(
    problem: Exception, timers: Timers, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(timers, clock, 24.0, record(account(clock)))

    async def away(*_: object) -> None:
        raise problem

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "_asked", away)
        bench.started()
        await timers.advance(STORE_RETRY * 20)
        assert (bench.log, list(bench.journal.kept)) == ([], ["API old"])
    await timers.advance(STORE_RETRY)
    assert bench.log == ["delete old", "remove API old"]


async def test_what_this_process_made_in_vain_is_deleted_without_asking_the_database(
    timers: Timers, clock: Clock
) -> None:
    bench = Bench(timers, clock, 24.0).started()
    bench.store.away = StorageUnavailable("away")
    await bench.over()
    assert bench.net.count("delete") == 1


# --- chats that the database wants gone ---


async def test_a_chat_of_the_database_is_deleted_and_that_is_said(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 24.0).started()
    done: list[str] = []
    bench.chats.discard(bench.account.key, "theirs", lambda: done.append("theirs"))
    assert (bench.chats.discarding, bench.chats.pending, done) == (1, 0, [])
    await settle()
    assert (bench.log, done, bench.chats.discarding) == (["delete theirs"], ["theirs"], 0)


async def test_one_that_is_gone_already_counts_as_deleted(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 24.0).started()
    done: list[str] = []
    bench.site.says["delete"].append(ChatLost("by hand"))
    bench.chats.discard(bench.account.key, "theirs", lambda: done.append("theirs"))
    await settle()
    assert done == ["theirs"]


async def test_those_of_the_database_go_one_at_a_time_and_only_once(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 24.0).started()
    bench.net.holds["delete"] = asyncio.Event()
    done: list[str] = []
    for name in ("a", "b", "a", "b"):
        bench.chats.discard(bench.account.key, name, partial(done.append, name))
    await settle()
    assert bench.log == ["delete a"]
    bench.net.holds["delete"].set()
    await settle()
    assert (bench.log, done) == (["delete a", "delete b"], ["a", "b"])


async def test_they_do_not_hold_up_those_of_ended_turns_nor_the_end_of_the_process(clock: Clock) -> None:
    bench = Bench(Timers(clock), clock, 24.0).started()
    bench.net.holds["delete"] = asyncio.Event()
    bench.chats.discard(bench.account.key, "theirs", lambda: None)
    await settle()
    bench.net.holds.clear()  # that one stays where it is
    await bench.over()
    assert bench.log[-2:] == ["delete chat-1", "remove API id-2"]
    async with asyncio.timeout(10):
        await bench.chats.close(60)


async def test_a_deletion_for_the_database_is_tried_again_with_growing_waits(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 24.0).started()
    bench.net.breaks["delete"].extend(SiteError("down") for _ in range(3))
    done: list[str] = []
    bench.chats.discard(bench.account.key, "theirs", lambda: done.append("theirs"))
    waits = []
    for _ in range(3):
        await settle()
        (wait,) = timers.waits
        waits.append(wait)
        bench.chats.discard(bench.account.key, "theirs", lambda: done.append("a second time"))
        await timers.advance(wait)
    assert (waits, done) == ([2, 8, 32], ["theirs"])


@pytest.mark.parametrize("way", ["challenged", "paused", "ended"])
async def test_a_chat_of_an_account_that_cannot_be_used_is_left_and_can_be_given_again(
    way: str, timers: Timers, clock: Clock
) -> None:
    bench = Bench(timers, clock, 24.0)
    bench.account = account(clock, ends=NOON - 1 if way == "ended" else None)
    bench.started()
    if way == "challenged":
        bench.account.failed("", Challenged("a wall"))
    bench.account.paused = way == "paused"
    assert bench.chats.usable == []
    bench.chats.discard(bench.account.key, "theirs", lambda: None)
    await settle()
    assert (bench.log, bench.chats.discarding, timers.waits) == ([], 0, [])
    if way != "challenged":
        return
    clock.now += 61
    assert bench.chats.usable == [bench.account.key]
    bench.chats.discard(bench.account.key, "theirs", lambda: None)
    await settle()
    assert bench.log == ["delete theirs"]


async def test_a_chat_of_the_database_that_cannot_be_deleted_gives_its_place_to_others(
    timers: Timers, clock: Clock
) -> None:
    bench = Bench(timers, clock, 24.0).started()
    bench.net.breaks["delete"].extend(SiteError("down") for _ in range(UNHURRIED_TRIES))
    done: list[str] = []
    bench.chats.discard(bench.account.key, "theirs", lambda: done.append("theirs"))
    await timers.advance(CLAIMED)
    assert (bench.net.count("delete"), bench.chats.discarding, timers.waits) == (UNHURRIED_TRIES, 0, [])
    bench.chats.discard(bench.account.key, "theirs", lambda: done.append("theirs"))
    await settle()
    assert done == ["theirs"]


async def test_a_chat_of_an_account_out_of_use_is_left_and_can_be_given_again(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 24.0).started()
    assert bench.chats.usable == [bench.account.key]
    bench.chats.forget(bench.account)
    assert bench.chats.usable == []
    bench.chats.discard(bench.account.key, "theirs", lambda: None)
    await settle()
    assert (bench.log, bench.chats.discarding) == ([], 0)
    bench.chats.take_up(bench.account)
    bench.chats.discard(bench.account.key, "theirs", lambda: None)
    await settle()
    assert bench.log == ["delete theirs"]


# --- failures ---


async def test_deletions_that_fail_are_tried_again_with_growing_waits(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock).started()
    bench.net.breaks["delete"].extend(SiteError("down") for _ in range(8))
    await bench.over()
    waits = []
    for _ in range(8):
        (wait,) = timers.waits
        waits.append(wait)
        assert bench.chats.pending == 0, "what waits for another try does not hold up the end of the process"
        await timers.advance(wait)
    assert waits == [2, 8, 32, 128, 512, 900, 900, 900]
    assert bench.log[-1] == "remove API id-1"


async def test_a_site_that_is_down_for_weeks_does_not_end_the_tries(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock).started()
    bench.net.breaks["delete"].extend(SiteError("down") for _ in range(700))
    await bench.over()
    for _ in range(700):
        await timers.advance(RETRY_LAST)
    await timers.advance(RETRY_LAST)
    assert bench.log[-1] == "remove API id-1"
    assert bench.chats.pending == 0


async def test_a_mistake_with_one_chat_leaves_no_other_undeleted(
    timers: Timers, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(timers, clock).started()

    def mistaken() -> None:
        raise ValueError("a mistake of ours")

    with monkeypatch.context() as patch:
        patch.setattr(bench.site, "discard", lambda *_: mistaken())
        bench.chats.discard(bench.account.key, "first", lambda: None)
        await settle()
    assert bench.chats.discarding == 0, "it can be given again"
    for name, done in (("first", mistaken), ("second", lambda: None)):
        bench.chats.discard(bench.account.key, name, done)
    await settle()
    assert (bench.log, bench.chats.discarding) == (["delete first", "delete second"], 0)


async def test_a_caller_s_account_is_taken_up_once_the_site_has_accepted_it(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock)
    bench.chats.start()
    bench.site.says["new"].append(LoginExpired("over"))
    with pytest.raises(LoginExpired):
        await bench.chats.open(bench.account, PROMPT)
    assert bench.chats.usable == []
    await bench.over()
    assert bench.chats.usable == [bench.account.key]
    assert bench.log[-1] == "remove API id-2"


async def test_a_resting_account_is_left_alone_until_it_may_be_used(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock).started()
    chat_id = await bench.chats.open(bench.account, PROMPT)
    bench.account.failed("q-switch", Challenged("a wall"))
    bench.chats.release(bench.account, chat_id, answer_id="a", unfinished=False)
    await timers.advance(59)
    assert bench.net.count("delete") == 0
    await timers.advance(2)
    assert bench.net.count("delete") == 1


async def test_a_session_that_has_ended_is_left_alone(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock)
    bench.account = account(clock, ends=NOON - 1)
    bench.journal.kept["API old"] = record(bench.account)
    bench.started()
    await timers.advance(10_000)
    assert bench.log == []
    assert "API old" in bench.journal.kept


async def test_a_dying_token_is_renewed_before_a_deletion(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock)
    bench.account = account(clock, ends=NOON + 10, refreshable=True)
    bench.journal.kept["API old"] = record(bench.account)
    bench.started()
    await settle()
    assert bench.log == ["refresh token", "delete old", "remove API old"]


async def test_a_token_that_cannot_be_renewed_does_not_lose_the_chat(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock)
    bench.account = account(clock, ends=NOON + 10, refreshable=True)
    bench.site.says["refresh"].append(LoginExpired("over"))
    bench.journal.kept["API old"] = record(bench.account)
    bench.started()
    await settle()
    assert bench.log == ["refresh token"]
    await timers.advance(RETRY_FIRST)
    assert bench.log == ["refresh token"], "a session that is over is left alone"
    await timers.advance(LOGIN_REST)
    assert bench.log[-2:] == ["delete old", "remove API old"]


# --- whose chats ---


async def test_chats_of_unknown_accounts_stay_in_the_journal(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, "now", record(account(clock, user="other"))).started()
    await timers.advance(10_000)
    assert bench.log == []
    assert "API old" in bench.journal.kept


async def test_chats_of_an_account_that_was_forgotten_wait_until_it_is_back(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock).started()
    chat_id = await bench.chats.open(bench.account, PROMPT)
    bench.chats.forget(bench.account)
    bench.chats.release(bench.account, chat_id, answer_id="a", unfinished=False)
    await settle()
    assert (bench.net.count("delete"), bench.chats.pending, len(bench.journal.kept)) == (0, 0, 1)
    bench.chats.take_up(account(clock))
    await settle()
    assert bench.log[-2:] == ["delete chat-1", "remove API id-1"]


async def test_an_account_that_comes_twice_deletes_once(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, "now", record(account(clock), due=NOON + 5)).started()
    bench.chats.take_up(account(clock))
    await timers.advance(10)
    assert bench.net.count("delete") == 1


async def test_forgetting_an_older_account_of_the_same_user_does_not_forget_the_newer(
    timers: Timers, clock: Clock
) -> None:
    bench = Bench(timers, clock).started()
    newer = account(clock)
    bench.chats.take_up(newer)
    bench.chats.forget(bench.account)
    bench.account = newer
    await bench.over()
    assert bench.net.count("delete") == 1


# --- pace and end ---


async def test_few_deletions_are_under_way_at_once(timers: Timers, clock: Clock) -> None:
    of = account(clock)
    bench = Bench(timers, clock, "now", *(record(of, f"c{i}", title=f"API {i}") for i in range(9)))
    bench.net.holds["delete"] = asyncio.Event()
    bench.started()
    await settle()
    assert (bench.net.count("delete"), bench.chats.pending) == (cleaning.WORKERS, 9)
    bench.net.holds["delete"].set()
    await settle()
    assert (bench.net.count("delete"), bench.chats.pending) == (9, 0)
    await bench.chats.close(1)


async def test_closing_finishes_what_is_due_and_leaves_the_rest_in_the_journal(clock: Clock) -> None:
    of = account(clock)
    bench = Bench(Timers(clock), clock, "now", record(of, "due", NOON - 1, "API 1"), record(of, "later", NOON + 99))
    bench.started()
    await bench.over(unfinished=True)
    await bench.chats.close(5)
    assert bench.chats.pending == 0
    assert bench.has("stop chat-1,a", "delete chat-1")
    assert list(bench.journal.kept) == ["API old"]


async def test_closing_waits_for_a_stop_and_the_deletion_after_it(clock: Clock) -> None:
    bench = Bench(Timers(clock), clock).started()
    bench.net.holds["stop"] = asyncio.Event()
    await bench.over(unfinished=True)
    closing = asyncio.create_task(bench.chats.close(5))
    await settle()
    assert not closing.done()
    bench.net.holds["stop"].set()
    await closing
    assert bench.log[-1] == "remove API id-1"


async def test_closing_does_not_wait_longer_than_it_may(clock: Clock) -> None:
    bench = Bench(Timers(clock), clock).started()
    bench.net.holds["delete"] = asyncio.Event()
    await bench.over()
    begun = asyncio.get_running_loop().time()
    await bench.chats.close(0.05)
    assert asyncio.get_running_loop().time() - begun < 2
    assert list(bench.journal.kept) == ["API id-1"]
    await until(lambda: len(asyncio.all_tasks()) == 1 or not any("Chats" in str(task) for task in asyncio.all_tasks()))


async def test_what_is_released_after_closing_stays_in_the_journal(clock: Clock) -> None:
    bench = Bench(Timers(clock), clock).started()
    chat_id = await bench.chats.open(bench.account, PROMPT)
    await bench.chats.close(1)
    bench.chats.release(bench.account, chat_id, answer_id="a", unfinished=False)
    assert list(bench.journal.kept) == ["API id-1"]
    assert bench.chats.pending == 0
