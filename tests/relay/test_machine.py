"""What a turn does next: that it ends, asks three times at most, and never again once anything was shown."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_gateway.relay.machine import (
    BUSY_WAITS,
    MOST_QUESTIONS,
    RETRY_AFTER,
    Ask,
    Completed,
    Done,
    Effect,
    Enter,
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
    Replanned,
    Replay,
)
from qwen_gateway.turn import faults
from qwen_gateway.turn.faults import Fault, LoginExpired, Unreachable
from qwen_gateway.turn.places import Place


def kinds(of: type[Fault] = Fault) -> Iterator[type[Fault]]:
    """All faults that can be raised: the leaves and the nodes of the tree, without its roots."""
    for kind in of.__subclasses__():
        if kind not in (faults.ClientFault, faults.GatewayFault, faults.SiteFault):
            yield kind
        yield from kinds(kind)


FAULTS = sorted({kind for kind in kinds() if kind.__module__ == faults.__name__}, key=lambda kind: kind.__name__)
AGAIN = {"Unreachable", "Empty", "Incomplete", "ChatLost", "SiteError"}
"""Faults that another try may cure."""
C = Ask(Place("c"))
SOON, NOW = OpenChat(RETRY_AFTER), OpenChat()
OPENED, LOST, EXPIRED = Opened(Place("c")), Refused(Unreachable("gone")), Refused(LoginExpired("over"))
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
        return Refused(refused.fault, others=refused.others) if choice == 0 else OPENED
    if isinstance(effect, Enter):
        return OPENED if choice else Refused(faults.ChatBusy("held") if refused.others else refused.fault)
    if isinstance(effect, Replay):
        return Replanned() if choice else Refused(faults.ContextTooLong("long"))
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


@given(choices, st.lists(st.booleans(), min_size=30, max_size=30))
def test_a_turn_that_goes_on_ends_as_well(fates: list[tuple[int, Refused]], grants: list[bool]) -> None:
    left = iter(grants)
    machine = Machine(lambda: next(left), going_on=True)
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
    assert sum(isinstance(effect, Refresh) for effect in effects) <= 2, "one for each account at most"
    assert sum(effect.after for effect in effects if isinstance(effect, Enter)) <= sum(BUSY_WAITS)
    told = next((at for at, effect in enumerate(effects) if isinstance(effect, OpenChat)), len(effects))
    assert any(isinstance(effect, Replay) for effect in effects[:told]) or told == len(effects), "never without a word"
    assert not any(isinstance(effect, Enter) for effect in effects[told:]), "there is no way back"
    if shown_at is not None:
        assert not any(isinstance(effect, Lease | Enter | OpenChat | Ask) for effect in effects[shown_at:])


def going_on(*outcomes: Outcome, can_refresh: bool = False, granted: bool = True) -> list[Effect]:
    machine = Machine(lambda: granted, going_on=True)
    assert machine.first() == Lease(going_on=True)
    return [machine.next(outcome) for outcome in [Leased(can_refresh), *outcomes]]


BUSY, GONE = Refused(faults.ChatBusy("in progress")), Refused(faults.ChatLost("deleted"))
LONG = Refused(faults.ContextTooLong("long"))
WALL = Refused(faults.Challenged("wall"), others=True)
P = Ask(Place("c", "answer"))
IN = Opened(P.place)
GOING_ON: dict[str, tuple[bool, list[Outcome], list[Effect]]] = {
    "all is well": (False, [IN, Completed()], [Enter(), P, Done()]),
    "the chat was deleted": (
        False,
        [IN, GONE, Replanned(), OPENED, Completed()],
        [Enter(), P, Replay("lost"), NOW, C, Done()],
    ),
    "deleted, and too long to be told anew": (False, [IN, GONE, LONG], [Enter(), P, Replay("lost"), Fail(LONG.fault)]),
    "all its chats are held": (
        False,
        [BUSY, Replanned(), OPENED, Completed()],
        [Enter(), Replay("busy"), NOW, C, Done()],
    ),
    "the site is busy in it, and in the next": (
        False,
        [IN, BUSY, IN, BUSY, Replanned(), OPENED, Completed()],
        [Enter(), P, Enter(), P, Replay("busy"), NOW, C, Done()],
    ),
    "busy, and too long to be told anew": (
        False,
        [IN, BUSY, BUSY, LONG, IN, BUSY, LONG, IN, BUSY],
        [Enter(), P, Enter(), Replay("busy"), Enter(again=True, after=BUSY_WAITS[0]), P, Replay("busy"),
         Enter(again=True, after=BUSY_WAITS[1]), P, Fail(BUSY.fault)],
    ),
    "an empty answer": (
        False,
        [IN, Refused(faults.Empty("")), Replanned(), OPENED, Completed()],
        [Enter(), P, Replay("empty"), SOON, C, Done()],
    ),
    "a dead token": (True, [IN, EXPIRED, Refreshed(), IN, Completed()], [Enter(), P, Refresh(), Enter(), P, Done()]),
    "the account meets a wall": (
        True,
        [IN, WALL, Replanned(), Leased(True), OPENED, WALL],
        [Enter(), P, Replay("account"), Lease(), NOW, C, Fail(WALL.fault)],
    ),
    "a wall, too long for another account": (
        True, [IN, WALL, LONG], [Enter(), P, Replay("account"), Fail(WALL.fault)],
    ),
    "one further try is enough": (
        False, [IN, LOST, Replanned(), OPENED, LOST], [Enter(), P, Replay("failed"), SOON, C, Fail(LOST.fault)],
    ),
    "an answer that nobody understands": (
        False, [IN, Refused(faults.Drift("404")), Replanned(), OPENED, Completed()],
        [Enter(), P, Replay("failed"), SOON, C, Done()],
    ),
    "broken in the middle": (True, [IN, SHOWN], [Enter(), P, Fail(SHOWN.fault)]),
}  # fmt: skip


UNFIT = Refused(faults.Unfit("no call", hint="Write the block."))
SEEN = Refused(UNFIT.fault, shown=True)
USELESS = Refused(faults.Unfit("no call"))
GOING_ON |= {
    "an answer that does not fit": (
        False, [IN, UNFIT, IN, Completed()], [Enter(), P, Enter(again=True), P, Done()],
    ),
    "one that the client has seen some of": (
        False, [IN, SEEN, IN, Completed()], [Enter(), P, Enter(again=True), P, Done()],
    ),
    "three that do not fit": (
        False, [IN, UNFIT, IN, UNFIT, IN, UNFIT],
        [Enter(), P, Enter(again=True), P, Enter(again=True), P, Fail(UNFIT.fault)],
    ),
    "one without a note": (False, [IN, USELESS], [Enter(), P, Fail(USELESS.fault)]),
    "one that does not fit, and the chat is gone": (
        False, [IN, UNFIT, IN, GONE, Replanned(), OPENED, UNFIT],
        [Enter(), P, Enter(again=True), P, Replay("lost"), NOW, C, Fail(UNFIT.fault)],
    ),
    "one that was seen, and the chat is gone": (
        False, [IN, SEEN, IN, Refused(GONE.fault, shown=True)], [Enter(), P, Enter(again=True), P, Fail(GONE.fault)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOING_ON)
def test_runs_of_conversations_that_go_on(name: str) -> None:
    can_refresh, outcomes, effects = GOING_ON[name]
    assert going_on(*outcomes, can_refresh=can_refresh) == effects


@pytest.mark.parametrize("kind", ["NoAccount", "RateLimited", "Challenged", "Blocked", "LoginExpired"])
def test_where_its_account_rests_another_one_is_told_everything(kind: str) -> None:
    machine = Machine(lambda: False, going_on=True)
    assert machine.first() == Lease(going_on=True)
    assert machine.next(Refused(getattr(faults, kind)("rests"))) == Replay("account")
    assert machine.next(Replanned()) == Lease()
    assert machine.next(Leased(False)) == NOW


def test_a_crowd_before_its_account_is_left_for_another_one_only_where_there_is_one() -> None:
    full = faults.Overloaded("full")
    for others, effect in ((True, Replay("account")), (False, Fail(full))):
        machine = Machine(lambda: True, going_on=True)
        machine.first()
        assert machine.next(Refused(full, others=others)) == effect


def test_a_busy_or_lost_chat_needs_no_grant_and_a_failing_site_does() -> None:
    assert going_on(IN, GONE, granted=False)[-1] == Replay("lost")
    assert going_on(BUSY, granted=False)[-1] == Replay("busy")
    assert going_on(IN, LOST, granted=False)[-1] == Fail(LOST.fault)
    assert going_on(IN, WALL, granted=False)[-1] == Fail(WALL.fault)


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


RUNS |= {
    "an answer that does not fit": (False, [OPENED, UNFIT, OPENED, Completed()], [NOW, C, NOW, C, Done()]),
    "one that the client has seen some of": (False, [OPENED, SEEN, OPENED, Completed()], [NOW, C, NOW, C, Done()]),
    "three that do not fit": (
        False, [OPENED, UNFIT, OPENED, UNFIT, OPENED, UNFIT], [NOW, C, NOW, C, NOW, C, Fail(UNFIT.fault)],
    ),
    "one that does not fit after a lost one": (
        False, [OPENED, LOST, OPENED, UNFIT, OPENED, UNFIT], [NOW, C, SOON, C, NOW, C, Fail(UNFIT.fault)],
    ),
}  # fmt: skip


def test_an_answer_that_does_not_fit_needs_no_grant() -> None:
    assert played([OPENED, UNFIT], can_refresh=False, granted=False)[-1] == NOW
    assert going_on(IN, UNFIT, granted=False)[-1] == Enter(again=True)


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
