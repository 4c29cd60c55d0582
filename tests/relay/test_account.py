"""An account in use: one refresh for all who wait, and what it says while it rests."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from qwen_gateway.turn.contracts import Tokens
from qwen_gateway.turn.faults import Challenged, Crowded, Fault, LoginExpired, RateLimited, SiteError, Unreachable

from .fakes import NOON, Clock, account, jwt, settle


class Calls:
    """A refresh that gives its answer when told to."""

    def __init__(self) -> None:
        self.count = 0
        self.answer: asyncio.Future[Tokens] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> Tokens:
        self.count += 1
        return await asyncio.shield(self.answer)


def waiting(work: Callable[[], Awaitable[None]], count: int) -> list[asyncio.Task[None]]:
    async def one() -> None:
        await work()

    return [asyncio.create_task(one()) for _ in range(count)]


async def test_many_who_wait_make_one_refresh() -> None:
    here, calls = account(Clock(), refreshable=True), Calls()
    tasks = waiting(lambda: here.refresh(calls), 50)
    await settle()
    calls.answer.set_result(Tokens("new.to.ken", "new refresh"))
    await asyncio.gather(*tasks)
    assert calls.count == 1
    assert here.session.bearer == "new.to.ken"
    assert "refresh_token=new refresh" in here.session.cookie_header


async def test_who_comes_after_a_refresh_makes_another() -> None:
    here = account(Clock(), refreshable=True)
    for count in (1, 2):
        calls = Calls()
        calls.answer.set_result(Tokens(f"token.number.{count}"))
        await here.refresh(calls)
        assert here.session.bearer == f"token.number.{count}"


async def test_a_failure_reaches_all_who_wait_and_the_next_one_asks_again() -> None:
    here, calls = account(Clock(), refreshable=True), Calls()
    before = here.session.bearer
    tasks = waiting(lambda: here.refresh(calls), 20)
    await settle()
    calls.answer.set_exception(Unreachable("refused"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, Unreachable) for result in results)
    assert (calls.count, here.session.bearer) == (1, before)
    again = Calls()
    again.answer.set_result(Tokens("new.to.ken"))
    await here.refresh(again)
    assert again.count == 1


@pytest.mark.parametrize("who", [0, 1, 2])
async def test_one_who_leaves_does_not_take_the_refresh_from_the_others(who: int) -> None:
    here, calls = account(Clock(), refreshable=True), Calls()
    tasks = waiting(lambda: here.refresh(calls), 3)
    await settle()
    tasks[who].cancel()
    await settle()
    calls.answer.set_result(Tokens("new.to.ken"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [i == who for i in range(3)]
    assert here.session.bearer == "new.to.ken"
    assert calls.count == 1


async def test_a_refresh_that_everybody_left_still_counts() -> None:
    here, calls = account(Clock(), refreshable=True), Calls()
    (task,) = waiting(lambda: here.refresh(calls), 1)
    await settle()
    task.cancel()
    await settle()
    calls.answer.set_result(Tokens("new.to.ken"))
    await settle()
    assert here.session.bearer == "new.to.ken"


@pytest.mark.parametrize(
    ("left", "refreshable", "asked"), [(600, True, 0), (60, True, 1), (-5, True, 1), (60, False, 0)]
)
async def test_a_token_is_renewed_when_it_is_at_its_end(left: float, refreshable: bool, asked: int) -> None:
    here, calls = account(Clock(), ends=NOON + left, refreshable=refreshable), Calls()
    calls.answer.set_result(Tokens(jwt(id="u", exp=NOON + 900, type="access_token")))
    await here.ensure_fresh(calls)
    await here.ensure_fresh(calls)
    assert calls.count == asked


# --- rest ---

LEFT: dict[str, tuple[Fault, float, str]] = {
    # fault, seconds that have passed since, what is said
    "a challenge": (Challenged("A wall."), 0, r"A wall\. \(The gateway asks again in 60 s\.\)"),
    "half of it": (Challenged("A wall."), 30, r"in 30 s"),
    "nearly over": (Challenged("A wall."), 59.9, r"in 1 s"),
    "crowded": (Crowded("Full."), 10, r"Full\. .*in 20 s"),
    "a limit": (RateLimited("Enough.", retry_after=90), 0, r"in 90 s"),
    "a limit of minutes": (RateLimited("Enough.", retry_after=600), 0, r"in 10 min"),
    "a limit of hours": (RateLimited("Enough.", retry_after=7200 * 2), 0, r"in 4 h"),
}


@pytest.mark.parametrize("name", LEFT)
def test_a_rest_says_why_and_how_long_still(name: str) -> None:
    fault, passed, said = LEFT[name]
    clock = Clock()
    here = account(clock)
    here.failed("q", fault)
    clock.now += passed
    with pytest.raises(type(fault), match=said) as raised:
        here.check("q")
    assert raised.value is not fault
    assert raised.value.code == fault.code
    assert raised.value.retry_after is not None
    assert raised.value.retry_after >= 1


def test_a_rest_ends() -> None:
    clock = Clock()
    here = account(clock)
    here.failed("q", Challenged("A wall."))
    assert here.resting() is not None
    clock.now += 60
    here.check("q")
    assert here.resting() is None


def test_a_limit_of_one_model_leaves_the_others() -> None:
    here = account(Clock())
    here.failed("q", RateLimited("Enough.", retry_after=90))
    here.check("another")
    assert here.resting() is None


def test_a_challenge_tells_how_long_the_rest_will_be() -> None:
    here, fault = account(Clock()), Challenged("A wall.")
    here.failed("q", fault)
    assert fault.retry_after == 60


def test_waking_ends_every_rest() -> None:
    here = account(Clock())
    here.failed("q", Challenged("A wall."))
    here.failed("q", RateLimited("Enough."))
    here.wake()
    here.check("q")


def test_a_session_that_is_over_is_said_before_anything_is_asked() -> None:
    clock = Clock()
    here = account(clock, ends=NOON + 5)
    here.check("q")
    clock.now += 5
    with pytest.raises(LoginExpired, match="Log in there"):
        here.check("q")
    assert isinstance(here.resting(), LoginExpired)


@pytest.mark.parametrize(("fault", "rests"), [(Challenged("A wall."), True), (SiteError("down"), False)])
def test_of_calls_beside_the_turns_only_challenges_count(fault: Fault, rests: bool) -> None:
    here = account(Clock())
    here.noticed(fault)
    assert (here.resting() is not None) == rests


def test_cookies_of_replies_are_taken() -> None:
    here = account(Clock())
    here.absorb(("a=1; Path=/",))
    assert "a=1" in here.session.cookie_header
