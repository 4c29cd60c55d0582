"""What a turn does next: that it ends, asks three times at most, and never again once anything was shown."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_gateway.relay.machine import (
    MOST_QUESTIONS,
    RETRY_AFTER,
    Ask,
    Completed,
    Done,
    Effect,
    Fail,
    Lease,
    Leased,
    Machine,
    OpenChat,
    Opened,
    Outcome,
    Refresh,
    Refreshed,
    Refused,
)
from qwen_gateway.turn import faults
from qwen_gateway.turn.faults import Fault, LoginExpired, Unreachable


def kinds(of: type[Fault] = Fault) -> Iterator[type[Fault]]:
    """All faults that can be raised: the leaves and the nodes of the tree, without its roots."""
    for kind in of.__subclasses__():
        if kind not in (faults.ClientFault, faults.GatewayFault, faults.SiteFault):
            yield kind
        yield from kinds(kind)


FAULTS = sorted({kind for kind in kinds() if kind.__module__ == faults.__name__}, key=lambda kind: kind.__name__)
AGAIN = {"Unreachable", "Empty", "Incomplete", "ChatLost", "SiteError"}
"""Faults that another try may cure."""
OPENED, LOST, EXPIRED = Opened("c"), Refused(Unreachable("gone")), Refused(LoginExpired("over"))
SHOWN = Refused(Unreachable("gone"), shown=True)


def played(outcomes: list[Outcome], *, can_refresh: bool, granted: bool = True) -> list[Effect]:
    """What the machine does, once it has its account, as it is told one outcome after another."""
    machine = Machine(lambda: granted)
    assert machine.first() == Lease()
    return [machine.next(outcome) for outcome in [Leased(can_refresh), *outcomes]]


refusals = st.builds(Refused, st.sampled_from(FAULTS).map(lambda kind: kind("why")), st.booleans(), st.booleans())
choices = st.lists(st.tuples(st.integers(0, 3), refusals), min_size=30, max_size=30)


def possible(effect: Effect, choice: int, refused: Refused) -> Outcome:
    """An outcome that this effect can have."""
    if isinstance(effect, Lease):
        return Refused(refused.fault, others=refused.others) if choice == 0 else Leased(choice == 1)
    if isinstance(effect, Ask):
        return Completed() if choice == 0 else refused
    if isinstance(effect, OpenChat):
        return Refused(refused.fault, others=refused.others) if choice == 0 else Opened("c")
    assert isinstance(effect, Refresh)
    return Refused(refused.fault, others=refused.others) if choice == 0 else Refreshed()


@given(choices, st.lists(st.booleans(), min_size=30, max_size=30))
def test_any_turn_ends_and_keeps_its_promises(fates: list[tuple[int, Refused]], grants: list[bool]) -> None:
    left = iter(grants)
    granted = 0

    def grant() -> bool:
        nonlocal granted
        granted += (yes := next(left))
        return yes

    machine = Machine(grant)
    effects = [machine.first()]
    shown_at = None
    for choice, refused in fates:
        if isinstance(effects[-1], Done | Fail):
            break
        outcome = possible(effects[-1], choice, refused)
        if isinstance(outcome, Refused) and outcome.shown:
            shown_at = len(effects)
        effects.append(machine.next(outcome))
    assert isinstance(effects[-1], Done | Fail), "it ends"
    assert sum(isinstance(effect, Ask) for effect in effects) <= MOST_QUESTIONS
    assert sum(isinstance(effect, Refresh) for effect in effects) <= 1
    assert sum(isinstance(effect, Lease) for effect in effects) <= 2
    tries = sum(isinstance(effect, Lease) or effect == OpenChat(RETRY_AFTER) for effect in effects)
    assert tries == 1 + granted, "every further try was granted, and no grant is wasted"
    if shown_at is not None:
        assert not any(isinstance(effect, Lease | OpenChat | Ask | Refresh) for effect in effects[shown_at:])


@given(st.lists(st.one_of(refusals, st.just(OPENED), st.just(Refreshed())), max_size=30), st.booleans())
def test_even_impossible_outcomes_bring_no_second_refresh(outcomes: list[Outcome], can_refresh: bool) -> None:
    effects = played(outcomes, can_refresh=can_refresh)
    assert sum(isinstance(effect, Refresh) for effect in effects) <= can_refresh


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_which_faults_are_worth_another_try(kind: type[Fault]) -> None:
    fault = kind("why")
    after = played([OPENED, Refused(fault)], can_refresh=False)[-1]
    assert after == (OpenChat(RETRY_AFTER) if kind.__name__ in AGAIN else Fail(fault))


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_no_fault_is_worth_another_try_once_something_was_shown(kind: type[Fault]) -> None:
    fault = kind("why")
    assert played([OPENED, Refused(fault, shown=True)], can_refresh=True)[-1] == Fail(fault)


C = Ask("c")
SOON, NOW = OpenChat(RETRY_AFTER), OpenChat()
RUNS: dict[str, tuple[bool, list[Outcome], list[Effect]]] = {
    "all is well": (False, [OPENED, Completed()], [NOW, C, Done()]),
    "a second try works": (False, [OPENED, LOST, OPENED, Completed()], [NOW, C, SOON, C, Done()]),
    "no chat, then one": (False, [LOST, OPENED, Completed()], [NOW, SOON, C, Done()]),
    "two tries are enough": (False, [OPENED, LOST, OPENED, LOST], [NOW, C, SOON, C, Fail(LOST.fault)]),
    "a dead token": (True, [OPENED, EXPIRED, Refreshed(), OPENED, Completed()], [NOW, C, Refresh(), NOW, C, Done()]),
    "a dead token that stays": (False, [OPENED, EXPIRED], [NOW, C, Fail(EXPIRED.fault)]),
    "a new token is refused too": (
        True,
        [OPENED, EXPIRED, Refreshed(), EXPIRED],
        [NOW, C, Refresh(), NOW, Fail(EXPIRED.fault)],
    ),
    "no new token": (True, [EXPIRED, EXPIRED], [NOW, Refresh(), Fail(EXPIRED.fault)]),
    "a lost call for a new token": (True, [EXPIRED, LOST, OPENED, Completed()], [NOW, Refresh(), SOON, C, Done()]),
    "three questions": (
        True,
        [OPENED, LOST, OPENED, EXPIRED, Refreshed(), OPENED, LOST],
        [NOW, C, SOON, C, Refresh(), NOW, C, Fail(LOST.fault)],
    ),
    "broken in the middle": (True, [OPENED, SHOWN], [NOW, C, Fail(SHOWN.fault)]),
}


@pytest.mark.parametrize("name", RUNS)
def test_runs(name: str) -> None:
    can_refresh, outcomes, effects = RUNS[name]
    assert played(outcomes, can_refresh=can_refresh) == effects


OTHERS = {"LoginExpired", "Challenged", "Blocked", "RateLimited", "Throttled"}
"""Faults of an account, where another one may serve."""


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_which_faults_another_account_may_cure(kind: type[Fault]) -> None:
    fault = kind("why")
    after = played([OPENED, Refused(fault, others=True)], can_refresh=False)[-1]
    if kind.__name__ in OTHERS:
        assert after == Lease()
    else:
        assert after in (Fail(fault), SOON)


def test_another_account_is_tried_once_and_asked_once() -> None:
    wall = Refused(faults.Challenged("wall"), others=True)
    effects = played([OPENED, wall, Leased(True), OPENED, wall], can_refresh=True)
    assert effects == [NOW, C, Lease(), NOW, C, Fail(wall.fault)]
    effects = played([OPENED, wall, Leased(True), OPENED, EXPIRED], can_refresh=True)
    assert effects == [NOW, C, Lease(), NOW, C, Fail(EXPIRED.fault)]


def test_without_a_grant_nothing_is_tried_again() -> None:
    for refused in (LOST, Refused(faults.Challenged("wall"), others=True)):
        assert played([OPENED, refused], can_refresh=False, granted=False)[-1] == Fail(refused.fault)


def test_a_refresh_needs_no_grant() -> None:
    assert played([OPENED, EXPIRED], can_refresh=True, granted=False)[-1] == Refresh()


def test_without_an_account_the_turn_fails() -> None:
    machine = Machine(lambda: True)
    machine.first()
    assert machine.next(LOST) == Fail(LOST.fault)
