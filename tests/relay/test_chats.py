"""The chats that we make: written down before they exist, and gone again when the operator wants them gone."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from qwen_gateway.accounts.rest import LOGIN_REST
from qwen_gateway.relay import chats as chats_module
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.chats import LOST_AFTER, RETRY_FIRST, RETRY_LAST, Chats, DeletePolicy
from qwen_gateway.relay.ports import ChatRecord
from qwen_gateway.turn.faults import (
    Challenged,
    Drift,
    Fault,
    LoginExpired,
    RateLimited,
    SiteError,
    StorageUnavailable,
    TimedOut,
    Unreachable,
)

from .fakes import NOON, PROMPT, Clock, Journal, Net, Site, Timers, account, chats, settle, until


class Bench:
    """A process's chats over fakes, on a clock that only `timers.advance` moves."""

    def __init__(self, timers: Timers, clock: Clock, policy: DeletePolicy = "now", *records: ChatRecord) -> None:
        self.timers, self.clock = timers, clock
        self.site, self.log = Site(), list[str]()
        self.net, self.journal = Net(self.log), Journal(self.log, *records)
        self.chats: Chats = chats(self.site, self.net, self.journal, clock, policy)
        self.account: Account = account(clock)

    def started(self) -> "Bench":
        self.chats.start()
        self.chats.take_up(self.account)
        return self

    async def over(self, *, unfinished: bool = False) -> None:
        """A whole turn: its chat is made and released."""
        chat_id = await self.chats.open(self.account, PROMPT)
        self.chats.release(self.account, chat_id, answer_id="a", unfinished=unfinished)
        await settle()

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
        if getattr(task.get_coro(), "__qualname__", "").startswith("Chats."):
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


@pytest.mark.parametrize("hours", [0.5, 24.0, 24.0 * 30])
async def test_hours_count_from_when_the_chat_was_made(hours: float, timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, hours).started()
    chat_id = await bench.chats.open(bench.account, PROMPT)
    await timers.advance(60)
    bench.chats.release(bench.account, chat_id, answer_id="a", unfinished=False)
    await timers.advance(hours * 3600 - 61)
    assert bench.net.count("delete") == 0
    assert bench.chats.pending == 0, "it is not due"
    assert max(timers.waits) <= 86_400
    await timers.advance(2)
    assert bench.log[-2:] == ["delete chat-1", "remove API id-1"]


async def test_no_hours_means_at_once(timers: Timers, clock: Clock) -> None:
    bench = Bench(timers, clock, 0.0).started()
    await bench.over()
    assert bench.net.count("delete") == 1


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
    assert (bench.net.count("delete"), bench.chats.pending) == (chats_module.WORKERS, 9)
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
