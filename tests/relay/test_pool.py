"""Who gets an account: seats and pace, the line of those who wait, and what is said when none can be used."""

import asyncio

import pytest

from qwen_gateway.accounts.pace import Pace
from qwen_gateway.relay.pool import Lease, Pool, Queue
from qwen_gateway.turn.faults import Challenged, Crowded, LoginExpired, NoAccount, Overloaded, RateLimited

from .fakes import NOON, Clock, account, pool, settle


def waiting(here: Pool, what: str = "q", caller: str = "") -> asyncio.Task[Lease]:
    return asyncio.create_task(here.lease(what, caller=caller))


async def test_without_accounts_it_is_said_what_to_do() -> None:
    with pytest.raises(NoAccount, match="There is no account"):
        await pool(Clock()).lease("q")


async def test_turns_go_to_the_account_with_the_fewest() -> None:
    clock = Clock()
    a, b = account(clock, user="a"), account(clock, user="b")
    here = pool(clock, a, b)
    leases = [await here.lease("q") for _ in range(4)]
    assert (a.busy, b.busy) == (2, 2)
    for lease in leases:
        lease.close()
        lease.close()
    assert (a.busy, b.busy) == (0, 0)


async def test_no_account_has_more_turns_than_seats() -> None:
    clock = Clock()
    only = account(clock, seats=2)
    here = pool(clock, only)
    first, _ = await here.lease("q"), await here.lease("q")
    third = waiting(here)
    await settle()
    assert (third.done(), here.waiting, only.busy) == (False, 1, 2)
    first.close()
    lease = await third
    assert (lease.account, only.busy, here.waiting) == (only, 2, 0)


async def test_an_account_that_rests_is_passed_over() -> None:
    clock = Clock()
    a, b = account(clock, user="a"), account(clock, user="b")
    a.failed("q", RateLimited("Enough.", retry_after=90))
    here = pool(clock, a, b)
    assert [(await here.lease("q")).account for _ in range(2)] == [b, b]
    assert (await here.lease("another")).account is a, "one model's limit never freezes the rest"


async def test_when_all_rest_the_refusal_says_when_the_first_is_back() -> None:
    clock = Clock()
    a, b = account(clock, user="a"), account(clock, user="b")
    a.failed("q", RateLimited("Enough.", retry_after=900))
    b.failed("q", Challenged("A wall."))
    with pytest.raises(Challenged) as raised:
        await pool(clock, a, b).lease("q")
    assert raised.value.retry_after == 60


async def test_those_who_wait_are_told_when_the_account_falls_ill() -> None:
    clock = Clock()
    only = account(clock, seats=1)
    here = pool(clock, only)
    lease = await here.lease("q")
    waits = waiting(here)
    await settle()
    only.failed("q", Challenged("A wall."))
    lease.close()
    with pytest.raises(Challenged):
        await waits


async def test_an_expired_account_alone_asks_for_a_login() -> None:
    clock = Clock()
    with pytest.raises(LoginExpired):
        await pool(clock, account(clock, ends=NOON - 1)).lease("q")


async def test_excluded_accounts_are_not_given() -> None:
    clock = Clock()
    a, b = account(clock, user="a"), account(clock, user="b")
    here = pool(clock, a, b)
    assert (await here.lease("q", excluded=frozenset({a.key}))).account is b
    assert here.could_serve("q", frozenset({a.key}))
    assert not here.could_serve("q", frozenset({a.key, b.key}))


async def test_which_accounts_rest_for_one_feature_only() -> None:
    clock = Clock()
    a, b = account(clock, user="a"), account(clock, user="b")
    here = pool(clock, a, b)
    assert here.resting("uploads") == frozenset()
    a.failed("uploads", RateLimited("Enough.", retry_after=75))
    assert (here.resting("uploads"), here.resting("q")) == (frozenset({a.key}), frozenset())


async def test_more_than_may_wait_are_sent_away_at_once() -> None:
    clock = Clock()
    here = pool(clock, account(clock, seats=1), size=2)
    await here.lease("q")
    line = [waiting(here) for _ in range(2)]
    await settle()
    with pytest.raises(Overloaded, match="queue_size"):
        await here.lease("q")
    for task in line:
        task.cancel()
    await asyncio.wait(line)
    assert here.waiting == 0


async def test_nobody_waits_for_longer_than_agreed() -> None:
    clock = Clock()
    here = pool(clock, account(clock, seats=1), seconds=0.01)
    await here.lease("q")
    with pytest.raises(Overloaded, match="account_concurrency"):
        await here.lease("q")
    assert here.waiting == 0


async def test_one_who_left_the_line_takes_no_seat() -> None:
    clock = Clock()
    only = account(clock, seats=1)
    here = pool(clock, only)
    lease = await here.lease("q")
    gone, stays = waiting(here), waiting(here)
    await settle()
    gone.cancel()
    await settle()
    lease.close()
    assert (await stays).account is only
    assert only.busy == 1


async def test_one_who_leaves_in_the_moment_of_being_served_gives_the_seat_back() -> None:
    clock = Clock()
    only = account(clock, seats=1)
    here = pool(clock, only)
    lease = await here.lease("q")
    gone = waiting(here)
    await settle()
    lease.close()  # serves `gone`, which has not run since
    gone.cancel()
    await asyncio.wait([gone])
    assert only.busy == 0
    assert (await here.lease("q")).account is only


async def test_callers_are_served_in_turn() -> None:
    clock = Clock()
    here = pool(clock, account(clock, seats=1))
    lease = await here.lease("q")
    order: list[str] = []

    async def one(caller: str) -> None:
        lease = await here.lease("q", caller=caller)
        order.append(caller)
        lease.close()

    tasks = [asyncio.create_task(one("many")) for _ in range(4)]
    await settle()
    tasks.append(asyncio.create_task(one("few")))
    await settle()
    lease.close()
    await asyncio.gather(*tasks)
    assert order.index("few") == 1


async def test_a_pace_is_kept_and_the_line_moves_by_itself() -> None:
    clock = Clock()
    only = account(clock, seats=100)
    only.pace = Pace(per_minute=60_000, burst=2)  # one in a millisecond
    here = pool(clock, only)
    await here.lease("q")
    await here.lease("q")
    third = waiting(here)
    await settle()
    assert not third.done()
    clock.now += 1
    assert (await asyncio.wait_for(third, 5)).account is only


async def test_after_a_challenge_one_turn_tries_and_the_others_wait_for_what_it_finds() -> None:
    clock = Clock()
    only = account(clock)
    here = pool(clock, only)
    only.on_report = here.look
    only.failed("q", Challenged("A wall."))
    clock.now += 60
    probe = await here.lease("q")
    began, others = clock.now, [waiting(here) for _ in range(3)]
    clock.now += 1
    await settle()
    assert not any(task.done() for task in others)
    probe.account.succeeded(began)
    assert [(await task).account for task in others] == [only] * 3


async def test_those_who_wait_for_a_probe_that_fails_are_refused_with_its_reason() -> None:
    clock = Clock()
    only = account(clock)
    here = pool(clock, only)
    only.on_report = here.look
    only.failed("q", Challenged("A wall."))
    clock.now += 60
    probe = await here.lease("q")
    other = waiting(here)
    await settle()
    probe.account.failed("q", Challenged("A wall again."))
    with pytest.raises(Challenged, match="again") as raised:
        await other
    assert raised.value.retry_after == 120


async def test_a_probe_that_is_given_up_lets_the_next_one_try() -> None:
    clock = Clock()
    only = account(clock)
    here = pool(clock, only)
    only.on_report = here.look
    only.failed("q", Challenged("A wall."))
    clock.now += 60
    probe = await here.lease("q")
    other = waiting(here)
    await settle()
    probe.account.abandoned(clock.now)
    assert (await other).account is only


async def test_one_who_leaves_as_it_is_served_as_the_probe_makes_room_for_another() -> None:
    clock = Clock()
    only = account(clock, seats=1)
    here = pool(clock, only)
    only.on_report = here.look
    lease = await here.lease("q")
    gone = waiting(here)
    await settle()
    only.rest.failed("q", Crowded("Full."), clock.now)
    clock.now += 31
    lease.close()  # serves `gone`, as the one who tries
    gone.cancel()
    await asyncio.wait([gone])
    assert (only.busy, only.rest.probing(clock.now)) == (0, False)
    assert (await here.lease("q")).account is only


async def test_a_caller_who_comes_late_is_not_served_before_all_who_came_early() -> None:
    clock = Clock()
    here = pool(clock, account(clock, seats=1), size=500)
    lease = await here.lease("q")
    order: list[str] = []

    async def one(caller: str) -> None:
        lease = await here.lease("q", caller=caller)
        order.append(caller)
        lease.close()

    early = [asyncio.create_task(one("early")) for _ in range(20)]
    await settle()
    here._served["early"] = 250
    late = [asyncio.create_task(one("late")) for _ in range(20)]
    await settle()
    lease.close()
    await asyncio.gather(*early, *late)
    assert 8 <= order[:20].count("early") <= 12


async def test_those_who_wait_are_served_when_another_account_has_rested() -> None:
    clock = Clock()
    busy, rests = account(clock, user="a", seats=1), account(clock, user="b")
    here = pool(clock, busy, rests)
    rests.failed("q", RateLimited("Enough.", retry_after=1))
    await here.lease("q")
    waits = waiting(here)
    await settle()
    clock.now += 1
    assert (await asyncio.wait_for(waits, 4)).account is rests


async def test_a_full_line_for_one_model_leaves_the_others_alone() -> None:
    clock = Clock()
    a, b = account(clock, user="a", seats=1), account(clock, user="b")
    here = pool(clock, a, b, size=1)
    b.failed("q", RateLimited("Enough.", retry_after=700))
    await here.lease("q")
    line = waiting(here)
    await settle()
    with pytest.raises(Overloaded):
        await here.lease("q")
    assert (await here.lease("other")).account is b
    b.failed("third", RateLimited("Enough.", retry_after=900))
    a.failed("third", RateLimited("Enough.", retry_after=800))
    with pytest.raises(RateLimited) as raised:
        await here.lease("third")
    assert raised.value.retry_after == 800
    line.cancel()


async def test_a_probe_does_not_hide_why_a_model_rests() -> None:
    clock = Clock()
    only = account(clock)
    here = pool(clock, only)
    only.failed("q", RateLimited("Enough.", retry_after=3000))
    only.failed("", Challenged("A wall."))
    clock.now += 60
    await here.lease("other")
    with pytest.raises(RateLimited):
        await here.lease("q")
    only.paused = True
    with pytest.raises(NoAccount):
        await here.lease("other")


async def test_a_long_line_is_looked_through_quickly() -> None:
    clock = Clock()
    accounts = [account(clock, user=str(number), seats=1) for number in range(10)]
    here = pool(clock, *accounts, size=2000)
    for _ in accounts:
        await here.lease("q")
    chosen = 0
    choose = here._choose

    def counted(*wanted: object) -> object:
        nonlocal chosen
        chosen += 1
        return choose(*wanted)  # type: ignore[arg-type]

    here._choose = counted  # type: ignore[assignment, method-assign]
    line = [waiting(here) for _ in range(1000)]
    await settle()
    assert chosen <= 2 * len(line)
    for task in line:
        task.cancel()
    await asyncio.wait(line)


# --- one account and no other ---


async def test_a_turn_can_ask_for_one_account_and_no_other() -> None:
    clock = Clock()
    a, b = account(clock, user="a"), account(clock, user="b")
    here = pool(clock, a, b)
    leases = [await here.lease("q", only=b.key) for _ in range(3)]
    assert {lease.account for lease in leases} == {b}
    assert (a.busy, b.busy) == (0, 3)


async def test_it_waits_for_its_seat_while_others_are_served_elsewhere() -> None:
    clock = Clock()
    a, b = account(clock, user="a", seats=1), account(clock, user="b", seats=1)
    here = pool(clock, a, b)
    held, also = await here.lease("q", only=b.key), await here.lease("q", only=a.key)
    waits, anyone = asyncio.create_task(here.lease("q", only=b.key)), waiting(here)
    await settle()
    assert here.waiting == 2
    also.close()
    assert (await anyone).account is a
    await settle()
    assert not waits.done()
    held.close()
    assert (await waits).account is b


async def test_it_keeps_the_account_s_pace() -> None:
    clock = Clock()
    a, b = account(clock, user="a"), account(clock, user="b")
    b.pace = Pace(60, 1)
    here = pool(clock, a, b, seconds=0.01)
    await here.lease("q", only=b.key)
    with pytest.raises(Overloaded):
        await here.lease("q", only=b.key)


async def test_the_refusal_is_that_of_the_account() -> None:
    clock = Clock()
    a, b = account(clock, user="a"), account(clock, user="b")
    b.failed("q", RateLimited("Enough.", retry_after=90))
    here = pool(clock, a, b)
    with pytest.raises(RateLimited) as raised:
        await here.lease("q", only=b.key)
    assert raised.value.retry_after == 90
    with pytest.raises(NoAccount, match="not connected any more"):
        await here.lease("q", only="gone")


async def test_which_account_is_able_now_or_soon() -> None:
    clock = Clock()
    a, b = account(clock, user="a", seats=1), account(clock, user="b")
    b.failed("q", RateLimited("Enough.", retry_after=90))
    here = pool(clock, a, b)
    await here.lease("q")
    assert here.able(a.key, "q") is a, "its seat gets free soon"
    assert here.able(b.key, "q") is None
    assert here.able(b.key, "another") is b
    assert here.able("gone", "q") is None
    assert here.keys() == (a.key, b.key)


# --- a seat that is left for a while ---


async def test_a_seat_that_is_left_is_another_s_and_there_is_one_again() -> None:
    clock = Clock()
    only = account(clock, seats=1)
    here = pool(clock, only)
    first = await here.lease("q")
    first.leave()
    first.leave()
    assert (only.busy, only.aside, first.seated) == (0, 1, False)
    second = await here.lease("q")
    back = asyncio.create_task(first.back())
    await settle()
    assert (back.done(), here.waiting) == (False, 1)
    second.close()
    await back
    await first.back()
    assert (only.busy, only.aside, first.seated) == (1, 0, True)
    first.close()
    first.close()
    assert (only.busy, only.aside) == (0, 0)


async def test_who_has_left_a_seat_and_never_comes_back_takes_none() -> None:
    clock = Clock()
    only = account(clock)
    lease = await pool(clock, only).lease("q")
    lease.leave()
    for _ in range(2):
        lease.close()
    assert (only.busy, only.aside) == (0, 0)


async def test_who_comes_back_is_served_first_and_never_sent_away() -> None:
    clock = Clock()
    only = account(clock, seats=1)
    here = pool(clock, only, size=2)
    away = await here.lease("q", caller="many")
    away.leave()
    holds, order = await here.lease("q"), list[str]()

    async def one(caller: str) -> None:
        lease = await here.lease("q", caller=caller)
        order.append(caller)
        lease.close()

    async def back() -> None:
        await away.back()
        order.append("back")
        away.close()

    tasks = [asyncio.create_task(one("few")) for _ in range(2)]
    await settle()
    tasks.append(asyncio.create_task(back()))
    await settle()
    assert here.waiting == 3
    holds.close()
    await asyncio.gather(*tasks)
    assert order == ["back", "few", "few"]


async def test_who_comes_back_does_not_change_whose_turn_it_is_among_the_others() -> None:
    clock = Clock()
    only = account(clock, seats=2)
    here = pool(clock, only)
    away = await here.lease("q")
    away.leave()
    for _ in range(2):
        await here.lease("q")
    early = waiting(here, caller="early")
    here._served["early"] = 250
    back = asyncio.create_task(away.back())
    await settle()
    late = waiting(here, caller="late")
    await settle()
    assert here._served["late"] == 250
    for task in (early, back, late):
        task.cancel()
    await asyncio.wait([early, back, late])


async def test_a_pace_is_for_beginning_and_not_for_coming_back() -> None:
    clock = Clock()
    only = account(clock)
    only.pace = Pace(per_minute=1, burst=2)
    here = pool(clock, only, seconds=0.05)
    lease = await here.lease("q")
    lease.leave()
    await lease.back()
    await here.lease("q")
    lease.leave()
    await lease.back()
    assert only.busy == 2
    with pytest.raises(Overloaded):
        await here.lease("q")


async def test_who_comes_back_waits_no_longer_than_agreed() -> None:
    clock = Clock()
    only = account(clock, seats=1)
    here = pool(clock, only, seconds=0.01)
    lease = await here.lease("q")
    lease.leave()
    other = await here.lease("q")
    with pytest.raises(Overloaded):
        await lease.back()
    lease.close()
    other.close()
    assert (only.busy, only.aside, here.waiting) == (0, 0, 0)


async def test_who_comes_back_learns_that_the_account_rests_or_is_gone_and_takes_no_other() -> None:
    clock = Clock()
    a, b = account(clock, user="a"), account(clock, user="b")
    accounts = [a, b]
    here = Pool(lambda: accounts, clock.ambient(), Queue(9, 5), "There is none.")
    lease = await here.lease("q", only=a.key)
    lease.leave()
    a.failed("q", RateLimited("Enough.", retry_after=90))
    with pytest.raises(RateLimited):
        await lease.back()
    accounts[0] = account(clock, user="a")
    with pytest.raises(NoAccount, match="not connected any more"):
        await lease.back()
    assert [one.busy for one in (a, *accounts)] == [0, 0, 0]
    accounts.pop(0)
    with pytest.raises(NoAccount, match="not connected any more"):
        await lease.back()
    lease.close()
    assert (a.busy, a.aside, b.busy) == (0, 0, 0)
