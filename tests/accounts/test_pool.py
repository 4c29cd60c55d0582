"""Which account a turn gets, and what is said when it gets none."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.accounts.pool import Candidate, Nobody, Take, Wait, choose, span
from qwen_gateway.turn.faults import (
    Blocked,
    Challenged,
    Crowded,
    Fault,
    LoginExpired,
    NoAccount,
    RateLimited,
    SiteError,
    Throttled,
)

NOW = 1000.0


def one(
    key: str, *, busy: int = 0, seats: int = 2, ready_at: float = 0, last_used: float = 0, fault: Fault | None = None
) -> Candidate:
    return Candidate(key, busy, seats, ready_at, last_used, fault)


def resting(*faults: Fault) -> list[Candidate]:
    return [one(f"a{number}", fault=fault) for number, fault in enumerate(faults)]


def told(candidates: list[Candidate], excluded: frozenset[str] = frozenset()) -> Fault:
    found = choose(candidates, NOW, excluded=excluded)
    assert isinstance(found, Nobody)
    return found.fault


# --- which ---

CHOICES: dict[str, tuple[list[Candidate], str]] = {
    "the only one": ([one("a")], "a"),
    "the least busy": ([one("a", busy=1), one("b")], "b"),
    "the one longest unused": ([one("a", last_used=2), one("b", last_used=1)], "b"),
    "of equals always the same": ([one("b"), one("a")], "a"),
    "less busy before longer unused": ([one("a", busy=1, last_used=1), one("b", last_used=2)], "b"),
    "one with a free seat": ([one("a", busy=1, seats=1), one("b", busy=3, seats=4)], "b"),
    "one whose pace allows it": ([one("a", ready_at=NOW + 1), one("b", busy=1, ready_at=NOW)], "b"),
    "one that can be used": ([one("a", fault=Challenged("x")), one("b", busy=1)], "b"),
}


@pytest.mark.parametrize(("candidates", "key"), CHOICES.values(), ids=CHOICES.keys())
def test_choices(candidates: list[Candidate], key: str) -> None:
    for order in itertools.permutations(candidates):
        assert choose(order, NOW) == Take(key)


@pytest.mark.parametrize(
    ("candidates", "until"),
    [
        ([one("a", busy=2)], None),
        ([one("a", ready_at=NOW + 5)], NOW + 5),
        ([one("a", ready_at=NOW + 5), one("b", ready_at=NOW + 3), one("c", busy=2, ready_at=NOW + 1)], NOW + 3),
        ([one("a", busy=2, ready_at=NOW + 5)], None),
        ([one("a", busy=2), one("b", fault=Challenged("x", retry_after=1))], None),
    ],
)
def test_when_a_usable_account_is_only_busy_one_waits(candidates: list[Candidate], until: float | None) -> None:
    assert choose(candidates, NOW) == Wait(until)


# --- nobody ---


def test_of_one_account_its_own_fault_is_told() -> None:
    fault = Challenged("solve it", retry_after=60)
    assert told(resting(fault)) is fault


def test_no_account_at_all() -> None:
    assert isinstance(told([]), NoAccount)
    assert "connected" in told([]).text


def test_when_all_have_been_tried() -> None:
    fault = told([one("a"), one("b")], frozenset("ab"))
    assert isinstance(fault, NoAccount)
    assert "tried" in fault.text


def test_what_is_the_matter_with_each_is_summed_up() -> None:
    fault = told(
        resting(Challenged("x", retry_after=600), RateLimited("x", retry_after=7200), Challenged("x", retry_after=240))
    )
    assert fault.text == (
        "All 3 accounts rest: 2 wait for a human check, 1 has used up today's limit of this model. "
        "The first is asked again in 4 min."
    )
    assert (type(fault), fault.retry_after) == (Challenged, 240)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Crowded("x"), "crowded"),
        (Challenged("x"), "human check"),
        (Throttled("x"), "slow down"),
        (RateLimited("x"), "today's limit"),
        (LoginExpired("x"), "new login"),
        (Blocked("x"), "blocked"),
        (NoAccount("x"), "paused"),
        (SiteError("x"), "cannot be used"),
    ],
)
def test_each_reason_has_its_words(fault: Fault, words: str) -> None:
    text = told(resting(fault, fault)).text
    assert words in text
    assert text.startswith("All 2 accounts rest: 2 ")
    assert "asked again" not in text


def test_accounts_that_were_just_tried_are_counted_as_well() -> None:
    fault = told([one("tried"), *resting(Challenged("x", retry_after=60))], frozenset({"tried"}))
    assert fault.text.startswith("All 2 accounts rest: 1 waits for a human check, 1 has just been tried.")


def test_what_passes_by_itself_is_told_before_what_a_person_must_do() -> None:
    expired, paused = LoginExpired("x", retry_after=1), NoAccount("x", code="account_paused")
    limit = RateLimited("x", retry_after=9000)
    for order in itertools.permutations([expired, paused, limit]):
        fault = told(resting(*order))
        assert (type(fault), fault.retry_after, fault.status) == (RateLimited, 9000, 429)
        assert fault.text.endswith("in 2 h.")


def test_where_only_a_person_can_help_no_time_is_promised() -> None:
    fault = told(resting(LoginExpired("x", retry_after=60), NoAccount("x", code="account_paused")))
    assert (type(fault), fault.code, fault.retry_after) == (LoginExpired, "upstream_auth_required", 60)
    assert "asked again" not in fault.text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (119.4, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (86_400, "24 h")],
)
def test_times_as_people_say_them(seconds: float, said: str) -> None:
    assert span(seconds) == said


FAULT = st.sampled_from([None, None, Challenged("x", retry_after=60), LoginExpired("x"), RateLimited("x")])
CANDIDATES = st.lists(
    st.builds(
        one,
        st.sampled_from("abcdef"),
        busy=st.integers(0, 3),
        seats=st.integers(1, 3),
        ready_at=st.sampled_from([0.0, NOW, NOW + 1]),
        last_used=st.sampled_from([0.0, 1.0]),
        fault=FAULT,
    ),
    unique_by=lambda candidate: candidate.key,
    max_size=6,
)


@settings(deadline=None, max_examples=150)
@given(CANDIDATES, st.frozensets(st.sampled_from("abc")))
def test_a_turn_gets_an_account_whenever_one_can_begin(candidates: list[Candidate], excluded: frozenset[str]) -> None:
    usable = {each.key: each for each in candidates if each.fault is None and each.key not in excluded}
    ready = [each for each in usable.values() if each.busy < each.seats and each.ready_at <= NOW]
    found = choose(candidates, NOW, excluded=excluded)
    if isinstance(found, Take):
        assert usable[found.key] in ready
    elif isinstance(found, Wait):
        assert usable
        assert not ready
        assert found.until is None or found.until > NOW
    else:
        assert not usable
        waits = [each.fault.retry_after for each in candidates if isinstance(each.fault, Challenged)]
        assert not waits or found.fault.retry_after == 60
