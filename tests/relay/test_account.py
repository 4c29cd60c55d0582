"""An account in use: what it says while it rests, and before its session ends."""

import re

import pytest

from qwen_gateway.relay.account import Account
from qwen_gateway.turn.faults import (
    Blocked,
    Challenged,
    Crowded,
    Fault,
    LoginExpired,
    RateLimited,
    SiteError,
)

from .fakes import NOON, Clock, account

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
    refusal = here.refusal("q")
    assert type(refusal) is type(fault)
    assert re.search(said, refusal.text)
    assert refusal is not fault
    assert refusal.code == fault.code
    assert refusal.retry_after is not None
    assert refusal.retry_after >= 1


def test_a_rest_ends() -> None:
    clock = Clock()
    here = account(clock)
    here.failed("q", Challenged("A wall."))
    assert here.resting() is not None
    clock.now += 60
    assert here.refusal("q") is None
    assert here.resting() is None


def test_a_limit_of_one_model_leaves_the_others() -> None:
    here = account(Clock())
    here.failed("q", RateLimited("Enough.", retry_after=90))
    assert here.refusal("another") is None
    assert here.resting() is None


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [(RateLimited("Enough."), 3600), (Blocked("No."), 1800), (RateLimited("Enough.", retry_after=90), 90)],
)
def test_every_rest_says_with_the_refusal_how_long_it_will_be(fault: Fault, seconds: float) -> None:
    account(Clock()).failed("q", fault)
    assert fault.retry_after == seconds


def test_what_is_left_is_rounded_up() -> None:
    clock = Clock()
    here = account(clock)
    here.failed("q", RateLimited("Enough.", retry_after=60))
    clock.now += 0.6
    refusal = here.refusal("q")
    assert refusal is not None
    assert refusal.retry_after == 60, "59.4 s are left: who comes back after 59 is refused again"


@pytest.mark.parametrize(("refreshable", "rests"), [(True, False), (False, True)])
def test_a_background_call_ends_only_a_session_that_cannot_be_renewed(refreshable: bool, rests: bool) -> None:
    here = account(Clock(), refreshable=refreshable)
    here.noticed(LoginExpired("over"))
    assert (here.refusal("q") is not None) == rests


def test_a_challenge_tells_how_long_the_rest_will_be() -> None:
    here, fault = account(Clock()), Challenged("A wall.")
    here.failed("q", fault)
    assert fault.retry_after == 60


def test_waking_ends_every_rest() -> None:
    here = account(Clock())
    here.failed("q", Challenged("A wall."))
    here.failed("q", RateLimited("Enough."))
    here.wake()
    assert here.refusal("q") is None


def test_a_session_that_is_over_is_said_before_anything_is_asked() -> None:
    clock = Clock()
    here = account(clock, ends=NOON + 5)
    assert here.refusal("q") is None
    clock.now += 5
    refusal = here.refusal("q")
    assert isinstance(refusal, LoginExpired)
    assert "Log in there" in refusal.text
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


def test_after_a_challenge_one_probe_goes_before_the_rest() -> None:
    clock = Clock()
    here = account(clock)
    here.failed("q", Challenged("A wall."))
    clock.now += 60
    assert here.begin("q") is None
    waits = here.begin("q")
    assert isinstance(waits, Challenged)
    assert waits.retry_after is not None
    here.succeeded(clock.now)
    assert here.begin("q") is None
    assert here.begin("q") is None


def test_a_probe_that_was_given_up_makes_room_for_another() -> None:
    clock = Clock()
    here = account(clock)
    here.failed("q", Challenged("A wall."))
    clock.now += 60
    assert here.begin("q") is None
    here.abandoned()
    assert here.begin("q") is None


def test_a_paused_account_is_not_used_and_says_how_to_go_on() -> None:
    here = account(Clock())
    here.name, here.paused = "main", True
    refusal = here.refusal("q")
    assert refusal is not None
    assert refusal.code == "account_paused"
    assert f"accounts resume {here.key}" in refusal.text
    assert "main" not in refusal.text, "names are the owner's, and clients read this"


@pytest.mark.parametrize(
    ("left", "says"), [(4 * 86_400, None), (2.5 * 86_400, "60 h|2 days|3 days"), (3600, "60 min"), (-1, "has ended")]
)
def test_the_end_of_a_session_is_announced_days_before(left: float, says: str | None) -> None:
    here = account(Clock(), ends=NOON + left)
    told = here.warning(3)
    assert (told is None) == (says is None)
    if says is not None and told is not None:
        assert re.search(says, told)
        assert "qwen-gateway login" in told


def test_what_is_worth_storing_is_told() -> None:
    clock = Clock()
    here = account(clock)
    told: list[Account] = []
    here.on_change = told.append
    here.absorb(("acw_tc=1; Path=/",))
    assert told == [], "the load balancer's cookie changes all the time"
    here.absorb(("token=a.b.c; Path=/",))
    here.failed("q", Challenged("A wall."))
    here.failed("q", SiteError("down"))
    here.succeeded(clock.now + 1)
    assert set(told) == {here}
    assert [entry.code for entry in here.rest.unsaved()] == [""], "the last word is that the rest has ended"
