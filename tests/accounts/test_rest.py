"""When an account or a model rests, and for how long."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from qwen_gateway.accounts.rest import (
    BLOCKED_REST,
    CROWDED_REST,
    LIMIT_REST,
    LOGIN_REST,
    LONGEST_REST,
    PROBE_LONGEST,
    PROBE_WAIT,
    Rest,
    RestEntry,
    Resting,
)
from qwen_gateway.turn.faults import (
    Blocked,
    Busy,
    Challenged,
    Crowded,
    Empty,
    Fault,
    LoginExpired,
    RateLimited,
    SiteError,
    Throttled,
)

CHALLENGE, CROWD, BLOCK = Challenged("solve"), Crowded("crowded", retry_after=30), Blocked("not from here")


def left(rest: Rest, model: str, now: float) -> float:
    """Seconds that the model still rests."""
    pause = rest.pause(model, now)
    return 0 if pause is None else pause.until - now


def test_nothing_rests_at_first() -> None:
    assert Rest(Resting(120)).pause("m", 0) is None


def test_a_challenge_rests_the_whole_account_and_says_why() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", CHALLENGE, 1000)
    for model in ("m", "other"):
        pause = rest.pause(model, 1000)
        assert pause is not None
        assert (pause.until, pause.fault) == (1120, CHALLENGE)
    assert rest.pause("m", 1119.9) is not None
    assert rest.pause("m", 1120) is None


def test_each_further_challenge_doubles_the_rest_up_to_half_an_hour() -> None:
    rest, now, rests = Rest(Resting(120)), 0.0, []
    for _ in range(7):
        rest.failed("m", CHALLENGE, now)
        rests.append(left(rest, "m", now))
        now += rests[-1]
    assert rests == [120, 240, 480, 960, 1800, 1800, 1800]


def test_a_success_ends_the_rest_and_the_doubling() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", CHALLENGE, 0)
    rest.failed("m", CHALLENGE, 0)
    rest.succeeded(1)
    assert rest.pause("m", 0) is None
    rest.failed("m", CHALLENGE, 0)
    assert left(rest, "m", 0) == 120


def test_challenges_of_requests_that_were_under_way_count_as_one() -> None:
    rest = Rest(Resting(120))
    for _ in range(5):
        rest.failed("m", CHALLENGE, 1)
    assert left(rest, "m", 1) == 120


def test_no_rest_is_longer_than_the_operator_wants() -> None:
    rest = Rest(Resting(120, longest=2))
    rest.failed("m", CHALLENGE, 0)
    rest.failed("limited", RateLimited("today", retry_after=36_000), 0)
    assert (left(rest, "m", 0), left(rest, "limited", 0)) == (2, 2)
    assert (left(rest, "m", 2), left(rest, "limited", 2)) == (0, 0)


def test_a_success_of_a_turn_that_began_before_the_challenge_ends_nothing() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", CHALLENGE, 10)
    rest.succeeded(9)
    assert left(rest, "m", 10) == 120
    rest.succeeded(10)
    assert left(rest, "m", 10) == 120
    rest.succeeded(11)
    assert left(rest, "m", 11) == 0


def test_a_passing_limit_rests_the_model_shortly() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", Throttled("slow down"), 0)
    assert (left(rest, "m", 0), left(rest, "other", 0)) == (CROWDED_REST, 0)
    rest.failed("m", Throttled("slow down", retry_after=7), 0)
    assert left(rest, "m", 0) == 7


def test_a_session_that_is_over_rests_the_account_between_looks() -> None:
    rest = Rest(Resting(120))
    rest.ended(LoginExpired("log in"), 0)
    assert left(rest, "any", 0) == LOGIN_REST


def test_all_rest_can_be_ended_at_once() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", CHALLENGE, 0)
    rest.failed("limited", RateLimited("today", retry_after=36_000), 0)
    rest.clear()
    assert (left(rest, "m", 0), left(rest, "limited", 0)) == (0, 0)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.001, 5000), st.integers(1, 3000))
def test_no_number_of_challenges_breaks_anything(first: float, times: int) -> None:
    rest = Rest(Resting(first))
    for _ in range(times):
        rest.failed("m", CHALLENGE, 0)
    assert 0 < left(rest, "m", 0) <= LONGEST_REST


def test_a_crowd_rests_the_account_shortly_and_never_longer() -> None:
    rest = Rest(Resting(120))
    for now in range(5):
        rest.failed("m", CROWD, now)
        assert left(rest, "other", now) == CROWDED_REST


def test_a_crowd_does_not_shorten_the_rest_after_a_challenge() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", CHALLENGE, 0)
    rest.failed("m", CROWD, 1)
    assert left(rest, "m", 1) == 119
    rest.failed("m", CROWD, 100)
    assert left(rest, "m", 100) == CROWDED_REST


@pytest.mark.parametrize(("told", "seconds"), [(36_000.0, 36_000), (2.0, 2), (None, LIMIT_REST)])
def test_a_limit_rests_its_model_and_no_other(told: float | None, seconds: float) -> None:
    rest = Rest(Resting(120))
    rest.failed("m", RateLimited("limit", retry_after=told), 0)
    assert left(rest, "m", 0) == seconds
    assert rest.pause("other", 0) is None
    assert rest.pause("m", seconds) is None


def test_a_success_of_one_model_does_not_end_the_limit_of_another() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", RateLimited("limit"), 0)
    rest.succeeded(1)
    assert left(rest, "m", 0) == LIMIT_REST


def test_the_accounts_own_rest_is_told_first() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", RateLimited("limit"), 0)
    rest.failed("m", CHALLENGE, 0)
    pause = rest.pause("m", 0)
    assert pause is not None
    assert pause.fault is CHALLENGE
    assert left(rest, "m", 120) == LIMIT_REST - 120


@pytest.mark.parametrize("fault", [Busy("x", retry_after=9), Empty("x"), LoginExpired("x"), SiteError("x")])
def test_other_faults_mean_no_rest(fault: Fault) -> None:
    rest = Rest(Resting(120))
    rest.failed("m", fault, 0)
    assert rest.pause("m", 0) is None


def test_a_block_rests_the_account_for_half_an_hour() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", BLOCK, 0)
    assert left(rest, "other", 0) == BLOCKED_REST


def test_challenges_and_crowds_do_not_shorten_a_block() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", BLOCK, 0)
    rest.failed("m", CHALLENGE, 1)
    rest.failed("m", CROWD, 1)
    assert left(rest, "m", 1) == BLOCKED_REST - 1


# --- one tries whether a rest is over ---


def rested(fault: Fault = CHALLENGE) -> tuple[Rest, float]:
    """A rest whose time is over, and the time."""
    rest = Rest(Resting(120))
    rest.failed("m", fault, 0)
    return rest, left(rest, "m", 0)


def test_while_nothing_rests_all_may_begin() -> None:
    rest = Rest(Resting(120))
    assert [rest.begin("m", 0) for _ in range(3)] == [None, None, None]


def test_while_it_rests_nobody_may_begin() -> None:
    rest, end = rested()
    pause = rest.begin("m", end - 1)
    assert pause is not None
    assert (pause.until, pause.fault) == (end, CHALLENGE)
    assert rest.begin("m", end) is None


@pytest.mark.parametrize("fault", [CHALLENGE, CROWD, BLOCK], ids=lambda fault: type(fault).__name__)
def test_after_a_rest_one_may_begin_and_the_others_wait(fault: Fault) -> None:
    rest, end = rested(fault)
    assert rest.pause("m", end) is None
    assert rest.begin("m", end) is None
    for refused in (rest.begin("m", end), rest.begin("other", end + 1), rest.pause("other", end + 1)):
        assert refused is not None
        assert refused.fault is fault
    assert left(rest, "m", end + 60) == PROBE_WAIT


def test_after_a_session_that_was_over_one_may_look_as_well() -> None:
    rest = Rest(Resting(120))
    rest.ended(LoginExpired("log in"), 0)
    assert rest.begin("", LOGIN_REST) is None
    assert rest.begin("", LOGIN_REST) is not None


def test_a_success_lets_all_begin() -> None:
    rest, end = rested()
    rest.begin("m", end)
    rest.succeeded(end)
    assert [rest.begin("m", end), rest.begin("m", end)] == [None, None]


def test_another_challenge_begins_a_longer_rest_for_all() -> None:
    rest, end = rested()
    rest.begin("m", end)
    rest.failed("m", CHALLENGE, end + 1, began=end)
    assert left(rest, "m", end + 1) == 240
    assert rest.begin("m", end + 241) is None


@pytest.mark.parametrize("began", [None, 120.0])
@pytest.mark.parametrize("fault", [None, SiteError("x"), RateLimited("x")])
def test_a_try_that_says_nothing_lets_the_next_one_try(fault: Fault | None, began: float | None) -> None:
    rest, end = rested()
    rest.begin("m", end)
    if fault is None:
        rest.abandoned(began)
    else:
        rest.failed("m", fault, end, began)
    assert [rest.begin("other", end) is None, rest.begin("other", end) is None] == [True, False]


def test_turns_that_began_before_do_not_end_a_try() -> None:
    rest, end = rested()
    rest.begin("m", end)
    rest.abandoned(began=end - 1)
    rest.failed("m", SiteError("x"), end, began=end - 1)
    assert rest.begin("m", end) is not None


def test_a_late_challenge_of_a_turn_that_began_before_leaves_no_try_behind() -> None:
    rest, end = rested()
    rest.begin("m", end)
    rest.failed("m", CHALLENGE, end + 1, began=end - 1)
    assert rest.begin("m", end + 1 + 240) is None


def test_it_shows_that_one_tries() -> None:
    rest, end = rested()
    assert not rest.probing(end)
    rest.begin("m", end)
    assert rest.probing(end)
    assert not rest.probing(end + PROBE_LONGEST)
    rest.succeeded(end)
    assert not rest.probing(end)


def test_a_try_that_never_reports_is_lost_after_a_while() -> None:
    rest, end = rested()
    rest.begin("m", end)
    assert rest.begin("m", end + PROBE_LONGEST - 1) is not None
    assert rest.begin("m", end + PROBE_LONGEST) is None


def test_a_limit_that_is_over_lets_all_begin() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", RateLimited("x", retry_after=10), 0)
    assert [rest.begin("m", 10), rest.begin("m", 10)] == [None, None]


# --- what is stored ---

LIMIT = RateLimited("limit", retry_after=10_000)


def share(*rests: Rest, store: dict[str, RestEntry], now: float) -> None:
    """Each reads the store and writes to it."""
    for rest in rests:
        rest.restore(list(store.values()), now)
        entries = rest.unsaved()
        store.update({entry.what: entry for entry in entries})
        rest.saved(entries, now)


FAULTS: list[Fault] = [CHALLENGE, CROWD, BLOCK, LIMIT, Throttled("slow", retry_after=9), LoginExpired("log in")]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_rest_outlives_the_process(fault: Fault) -> None:
    before, after = Rest(Resting(120)), Rest(Resting(120))
    if isinstance(fault, LoginExpired):
        before.ended(fault, 5)
    else:
        before.failed("m", fault, 5)
    after.restore(before.entries(), 6)
    pause, again = before.pause("m", 6), after.pause("m", 6)
    assert pause is not None
    assert again is not None
    assert (again.since, again.until) == (pause.since, pause.until)
    assert (type(again.fault), again.fault.text, again.fault.code) == (type(fault), fault.text, fault.code)
    assert after.entries() == before.entries()
    assert after.unsaved() == []


def test_the_count_of_challenges_outlives_the_process() -> None:
    before, after = Rest(Resting(120)), Rest(Resting(120))
    before.failed("m", CHALLENGE, 0)
    after.restore(before.entries(), 200)
    assert after.begin("m", 200) is None
    assert after.begin("m", 200) is not None
    after.failed("m", CHALLENGE, 201)
    assert left(after, "m", 201) == 240


def test_an_entry_of_a_newer_version_is_a_rest_as_well() -> None:
    rest = Rest(Resting(120))
    rest.restore([RestEntry("", 0, 50, "upstream_new", "something new")], 0)
    pause = rest.pause("m", 10)
    assert pause is not None
    assert (pause.fault.code, pause.fault.text, pause.fault.status) == ("upstream_new", "something new", 502)


def test_a_rest_of_one_process_rests_the_other_and_its_success_ends_both() -> None:
    one, other, store = Rest(Resting(120)), Rest(Resting(120)), dict[str, RestEntry]()
    one.failed("m", CHALLENGE, 0)
    share(one, other, store=store, now=1)
    assert left(other, "x", 1) == 119
    other.succeeded(2)
    share(other, one, store=store, now=3)
    assert (left(one, "x", 3), left(other, "x", 3)) == (0, 0)
    assert store[""].code == ""
    one.failed("m", CHALLENGE, 4)
    assert left(one, "m", 4) == 120


def test_a_success_of_a_turn_that_began_before_does_not_end_the_others_rest() -> None:
    one, other, store = Rest(Resting(120)), Rest(Resting(120)), dict[str, RestEntry]()
    one.failed("m", CHALLENGE, 0)
    other.failed("m", CHALLENGE, 10)
    one.succeeded(5)
    share(one, other, one, store=store, now=11)
    assert left(one, "m", 11) == left(other, "m", 11) == 119


def test_what_a_person_clears_is_over_in_all_processes() -> None:
    one, other, store = Rest(Resting(120)), Rest(Resting(120)), dict[str, RestEntry]()
    one.failed("m", CHALLENGE, 0)
    one.failed("limited", LIMIT, 0)
    share(one, other, store=store, now=1)
    store.clear()
    share(one, other, store=store, now=2)
    assert one.entries() == other.entries() == []
    assert store == {}


def test_a_rest_that_was_not_yet_written_when_the_store_was_asked_is_kept() -> None:
    rest = Rest(Resting(120))
    asked = 0.0
    rest.failed("m", CHALLENGE, 1)
    entries = rest.unsaved()
    rest.restore([], asked)
    assert rest.unsaved() == entries
    rest.restore([], 2)  # asked before it was written, although after it began
    rest.saved(entries, 3)
    rest.restore([], 3)
    assert left(rest, "m", 3) == 118
    rest.restore([], 4)
    assert left(rest, "m", 4) == 0


def test_an_older_answer_of_the_store_counts_no_more() -> None:
    rest = Rest(Resting(120))
    entry = RestEntry("", 0, 50, "upstream_challenge", "x")
    rest.restore([], 5)
    rest.restore([entry], 4)
    assert rest.entries() == []
    rest.clear(6)
    rest.restore([entry], 5.5)
    assert rest.entries() == []
    rest.restore([entry], 6)
    assert rest.entries() == [entry]


def test_a_newer_rest_that_another_process_overwrote_is_written_again() -> None:
    one, older = Rest(Resting(120)), RestEntry("", 0, 50, "upstream_challenge", "x", 1)
    one.failed("m", CHALLENGE, 10)
    newer = one.entries()
    one.saved(newer, 11)
    one.restore([older], 11)
    assert one.unsaved() == []  # what was asked for as it was written says nothing
    one.restore([older], 12)
    assert one.unsaved() == newer


def test_a_rest_that_has_changed_since_is_not_taken_for_saved() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", LIMIT, 0)
    entries = rest.unsaved()
    rest.failed("m", LIMIT, 1)
    rest.saved([*entries, RestEntry("other", 0, 1, "", "")], 2)
    assert rest.unsaved() == rest.entries() != entries


def test_hearing_of_our_own_rest_changes_nothing() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", CHALLENGE, 0)
    rest.restore(rest.entries(), 1)
    pause = rest.pause("m", 1)
    assert pause is not None
    assert pause.fault is CHALLENGE
    assert rest.unsaved() == []


def test_limits_that_are_over_are_forgotten_and_the_count_of_challenges_is_not() -> None:
    rest = Rest(Resting(120))
    rest.failed("m", LIMIT, 0)
    rest.failed("m", CHALLENGE, 0)
    rest.restore(rest.entries(), 50_000)
    assert [entry.what for entry in rest.entries()] == [""]


def test_a_clock_behind_that_of_another_process_loses_no_rest() -> None:
    one, store = Rest(Resting(120)), {"": RestEntry("", 100, 110, "upstream_challenge", "x", 1)}
    one.restore(store.values(), 0)
    one.failed("m", BLOCK, 1)
    share(one, store=store, now=2)
    assert left(one, "m", 2) == BLOCKED_REST - 1


def test_news_of_another_rest_end_a_try() -> None:
    rest, end = rested()
    rest.begin("m", end)
    rest.restore([RestEntry("", end + 1, end + 2, "upstream_challenge", "x", 2)], end + 1)
    assert rest.begin("m", end + 3) is None


class Sharing(RuleBasedStateMachine):
    """Two processes and a store whose answers and writes take time. No rest that began is ever lost."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.rests = [Rest(Resting(1e6, longest=1e12)) for _ in range(2)]
        self.store: dict[str, RestEntry] = {}
        self.newest: dict[str, RestEntry] = {}
        self.asked: list[float | None] = [None, None]
        self.answers: list[list[RestEntry]] = [[], []]
        self.writes: list[list[RestEntry]] = [[], []]

    def tick(self) -> float:
        self.now += 1
        return self.now

    def changed(self, rest: Rest) -> None:
        for entry in rest.entries():
            if entry.since == self.now:
                self.newest[entry.what] = entry

    @rule(who=st.integers(0, 1), what=st.sampled_from(["m", "n"]), fault=st.sampled_from([CHALLENGE, BLOCK, LIMIT]))
    def fail(self, who: int, what: str, fault: Fault) -> None:
        told = RateLimited("limit", retry_after=1e9) if fault is LIMIT else fault
        self.rests[who].failed(what, told, self.tick())
        self.changed(self.rests[who])

    @rule(who=st.integers(0, 1))
    def succeed(self, who: int) -> None:
        self.rests[who].succeeded(self.tick())
        self.changed(self.rests[who])

    @rule(who=st.integers(0, 1))
    def ask(self, who: int) -> None:
        self.asked[who] = self.tick()

    @rule(who=st.integers(0, 1))
    def look(self, who: int) -> None:
        if self.asked[who] is not None:
            self.answers[who] = list(self.store.values())

    @rule(who=st.integers(0, 1))
    def hear(self, who: int) -> None:
        asked, self.asked[who] = self.asked[who], None
        if asked is not None:
            self.look_if_new(who)
            self.rests[who].restore(self.answers[who], asked)
            self.answers[who] = []

    def look_if_new(self, who: int) -> None:
        self.answers[who] = self.answers[who] or list(self.store.values())

    @rule(who=st.integers(0, 1))
    def begin_to_write(self, who: int) -> None:
        self.writes[who] = self.rests[who].unsaved()

    @rule(who=st.integers(0, 1))
    def write(self, who: int) -> None:
        for entry in self.writes[who]:
            self.store[entry.what] = entry
        self.rests[who].saved(self.writes[who], self.tick())
        self.writes[who] = []

    def settle(self) -> None:
        self.asked = [None, None]
        for who in (0, 1):
            self.write(who)
        for _ in range(3):
            share(*self.rests, store=self.store, now=self.tick())

    @rule()
    def all_agree_in_the_end(self) -> None:
        self.settle()
        for rest in self.rests:
            assert {entry.what: entry for entry in rest.entries()} == self.store == self.newest
            assert rest.unsaved() == []


class Clearing(Sharing):
    """The same, and a person clears the store now and then: all still agree in the end."""

    @rule()
    def clear(self) -> None:
        self.store.clear()

    @rule()
    def all_agree_in_the_end(self) -> None:
        self.settle()
        for rest in self.rests:
            assert {entry.what: entry for entry in rest.entries()} == self.store
            assert rest.unsaved() == []

    @rule()
    def what_all_know_is_over_when_it_is_cleared(self) -> None:
        self.settle()
        self.store.clear()
        share(*self.rests, store=self.store, now=self.tick())
        assert [rest.entries() for rest in self.rests] == [[], []]
        assert self.store == {}


TestSharing = Sharing.TestCase
TestSharing.settings = settings(deadline=None, max_examples=150, stateful_step_count=30)
TestClearing = Clearing.TestCase
TestClearing.settings = settings(deadline=None, max_examples=100, stateful_step_count=30)
