"""What a person does with accounts, keys and usage, and what is stored of it when the site says no, or nothing."""

import asyncio
import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from qwen_gateway.accounts.rest import Resting
from qwen_gateway.accounts.session import Session
from qwen_gateway.relay.account import DAY
from qwen_gateway.relay.accounts import Accounts, Manners
from qwen_gateway.relay.keys import Keys
from qwen_gateway.relay.management import LONGEST_NAME, Management
from qwen_gateway.relay.pool import Queue
from qwen_gateway.relay.ports import KeptChat, Remembered, UsageBy, UsageRow, UsageSum
from qwen_gateway.relay.views import ConversationsView, KeptView
from qwen_gateway.turn.contracts import Tokens, User
from qwen_gateway.turn.faults import (
    Blocked,
    Challenged,
    Drift,
    Fault,
    InvalidRequest,
    LimitReached,
    LoginExpired,
    ModelNotFound,
    NameTaken,
    NotFound,
    RateLimited,
    SiteError,
    StorageUnavailable,
    TimedOut,
    Unreachable,
)

from .conversation_fakes import FakeConversationStore
from .fakes import NOON, Net, Site, jwt, keeper, renewal
from .fakes import Accounts as Store
from .key_fakes import KeyBench, Tally

CANARY = "canary-0123456789"
LONG = jwt(id="u", exp=NOON + 20 * DAY)
MANNERS = Manners(seats=4, per_minute=1e6, burst=1000, rest=Resting(60), queue=Queue(8, 5), warn_days=3)
REFUSED: list[Fault] = [LoginExpired("The session is over."), Blocked("The account is locked.")]
UNSURE: list[tuple[Fault, str]] = [
    (Challenged("A wall."), "challenged"),
    (Unreachable("No way there."), "unreachable"),
    (TimedOut("Too slow."), "unreachable"),
    (Drift("What is this?"), "unclear"),
    (SiteError("Failed."), "unreachable"),
    (RateLimited("Enough."), "unclear"),
    (ModelNotFound("Gone."), "unclear"),
]


def cookies(user: str = "u", **more: str) -> str:
    """A Cookie header of a long session."""
    return "; ".join(f"{name}={value}" for name, value in {"token": jwt(id=user, exp=NOON + 20 * DAY), **more}.items())


def renewable(user: str = "u") -> str:
    """A Cookie header of a session whose access token has ended."""
    return f"token={jwt(id=user, exp=NOON - 5, type='access_token')}; refresh_token=again"


class Ledger:
    """Satisfies `UsageQueries`."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    async def sums(self, by: UsageBy, since: float, until: float) -> list[UsageSum]:
        self.asked.append((by, since, until))
        return []

    async def rows(self, since: float, until: float, limit: int) -> list[UsageRow]:
        self.asked.append((since, until, limit))
        return []


class Bench:
    """One process. store: shared with others, if need be."""

    def __init__(self, store: Store | None = None, owner: str = "me") -> None:
        self.book, self.kept = KeyBench("static"), FakeConversationStore()
        self.clock, self.site, self.net = self.book.clock, Site(), Net()
        self.store, self.ledger, self.tally = store or Store(), Ledger(), Tally(self.clock)
        ambient = self.clock.ambient()
        keeps = keeper(self.clock, self.store, owner)
        self.accounts = Accounts(self.store, keeps, ambient, MANNERS)
        self.management = Management(
            accounts=self.accounts,
            keys=self.book.keys,
            key_changes=self.book.changes,
            budgets=self.tally,
            usage=self.ledger,
            conversations=self.kept,
            forget=self.kept.mark_tenant,
            site=self.site,
            transport=self.net,
            renewal=renewal(self.site, self.net, self.clock, keeps),
            store=self.store,
            ambient=ambient,
            seconds=9,
            warn_days=3,
            site_host="127.0.0.1",
        )

    async def given(self, text: str = "", name: str = "main") -> str:
        """The id of an account that was imported; what was done for it is forgotten."""
        key = (await self.management.import_account(text or cookies(), name)).account.id
        self.net.log.clear()
        self.store.log.clear()
        return key

    def stored(self, key: str) -> Session:
        return Session.load(self.store.rows[key].session.value, key)


# -- giving a session


async def test_a_session_that_the_site_knows_is_stored_and_used() -> None:
    bench = Bench()
    imported = await bench.management.import_account(cookies(ssxmod_itna="1"), " main ")
    account = imported.account
    assert (account.name, account.state, account.checked_at, account.source) == ("main", "valid", NOON, "imported")
    assert (imported.renewed, imported.user, imported.kept) == (
        False,
        "Some One <someone@example.invalid>",
        ("2 cookies", "token"),
    )
    assert bench.stored(account.id).bearer == LONG
    assert bench.accounts.find("main").key == account.id
    assert bench.store.rows[account.id].check.state == "valid"
    assert account.expires_at == NOON + 20 * DAY


@pytest.mark.parametrize("fault", REFUSED, ids=lambda fault: fault.code)
async def test_a_session_that_the_site_refuses_is_not_stored(fault: Fault) -> None:
    bench = Bench()
    bench.site.says["whoami"].append(fault)
    with pytest.raises(type(fault)):
        await bench.management.import_account(cookies())
    assert bench.store.rows == {}
    assert bench.management.accounts() == []


@pytest.mark.parametrize("fault", REFUSED, ids=lambda fault: fault.code)
async def test_a_refused_session_leaves_the_known_one_as_it_was(fault: Fault) -> None:
    bench = Bench()
    key = await bench.given()
    before = bench.store.rows[key]
    bench.site.says["whoami"].append(fault)
    with pytest.raises(type(fault)):
        await bench.management.import_account(cookies(extra="1"), "other")
    assert bench.store.rows == {key: before}


@pytest.mark.parametrize(("fault", "state"), UNSURE, ids=lambda one: getattr(one, "code", one))
async def test_a_session_about_which_nothing_is_sure_is_stored_and_says_so(fault: Fault, state: str) -> None:
    bench = Bench()
    bench.site.says["whoami"].append(fault)
    imported = await bench.management.import_account(cookies())
    assert imported.account.state == state
    assert imported.account.check_text.endswith(fault.text)
    assert imported.user == ""
    assert bench.store.rows[imported.account.id].check.state == state


async def test_a_challenged_session_rests_at_once() -> None:
    bench = Bench()
    bench.site.says["whoami"].append(Challenged("A wall."))
    (rest,) = (await bench.management.import_account(cookies())).account.rests
    assert (rest.what, rest.code, rest.until) == ("", "upstream_challenge", NOON + 60)


async def test_an_ended_access_token_is_renewed_first_and_what_came_back_is_stored() -> None:
    bench = Bench()
    bench.site.fresh = Tokens(jwt(id="u", exp=NOON + 900, type="access_token"), "next")
    key = (await bench.management.import_account(renewable())).account.id
    assert bench.net.log == ["refresh token", "whoami me"]
    assert bench.stored(key).bearer == bench.accounts.find(key).session.bearer == bench.site.fresh.access_token
    assert "refresh_token=next" in bench.stored(key).cookie_header
    assert bench.accounts.find(key).revision == bench.store.rows[key].revision


@pytest.mark.parametrize("fault", [Unreachable("No way there."), Challenged("A wall."), Drift("What is this?")])
async def test_a_renewal_is_not_lost_when_the_site_then_falls_silent(fault: Fault) -> None:
    bench = Bench()
    bench.site.fresh = Tokens(jwt(id="u", exp=NOON + 900, type="access_token"), "next")
    bench.site.says["whoami"].append(fault)
    key = (await bench.management.import_account(renewable())).account.id
    assert "refresh_token=next" in bench.stored(key).cookie_header
    assert bench.accounts.find(key).session.bearer == bench.site.fresh.access_token


async def test_a_session_that_cannot_be_renewed_is_not_stored() -> None:
    bench = Bench()
    bench.site.says["refresh"].append(LoginExpired("Over."))
    with pytest.raises(LoginExpired):
        await bench.management.import_account(renewable())
    assert bench.store.rows == {}


async def test_a_fresh_session_of_a_known_account_takes_the_place_of_the_old_one() -> None:
    bench = Bench()
    key = await bench.given()
    bench.accounts.find(key).rest.failed("", Challenged("A wall."), NOON)
    imported = await bench.management.import_account(cookies(extra="1"))
    assert (imported.renewed, imported.account.id, imported.account.name) == (True, key, "main")
    assert "extra=1" in bench.stored(key).cookie_header
    assert bench.accounts.find(key).session.cookie_header == bench.stored(key).cookie_header
    assert len(bench.management.accounts()) == 1


async def test_a_fresh_session_of_a_known_account_is_judged_by_itself() -> None:
    """The stored session must not be taken for the one that is to be judged."""
    bench = Bench()
    key = await bench.given()
    bench.site.fresh = Tokens(jwt(id="u", exp=NOON + 900, type="access_token"), "next")
    await bench.management.import_account(renewable())
    assert bench.net.log == ["refresh token", "whoami me"]
    assert bench.stored(key).bearer == bench.site.fresh.access_token


@pytest.mark.parametrize("text", [cookies("somebody-else"), renewable("somebody-else")])
async def test_cookies_of_two_accounts_are_refused(text: str) -> None:
    bench = Bench()
    bench.site.fresh = Tokens(jwt(id="u", exp=NOON + 900, type="access_token"))
    with pytest.raises(InvalidRequest, match="two accounts were mixed"):
        await bench.management.import_account(text)
    assert bench.store.rows == {}


async def test_what_cannot_be_read_is_refused_without_asking_the_site() -> None:
    bench = Bench()
    with pytest.raises(InvalidRequest):
        await bench.management.import_account("Hello")
    assert bench.net.log == []


@pytest.mark.parametrize("name", ["main", "ID"])
async def test_a_name_that_is_taken_is_refused_before_a_renewal_is_spent(name: str) -> None:
    bench = Bench()
    key = await bench.given()
    with pytest.raises(NameTaken):
        await bench.management.import_account(renewable("v"), key if name == "ID" else name)
    assert bench.net.log == []


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m", "a\u202eb", "a/b", "x" * (LONGEST_NAME + 1)])
async def test_names_are_short_and_printable(name: str) -> None:
    bench = Bench()
    with pytest.raises(InvalidRequest) as raised:
        await bench.management.import_account(cookies(), name)
    assert raised.value.param == "name"
    assert bench.net.log == []


async def test_nothing_is_renewed_while_the_database_is_away() -> None:
    bench = Bench()
    bench.store.down = StorageUnavailable("Away.")
    with pytest.raises(StorageUnavailable):
        await bench.management.import_account(renewable())
    assert bench.net.log == []


async def test_the_users_name_is_told_without_what_a_terminal_would_obey() -> None:
    bench = Bench()
    bench.site.user = User("u", "A\x1b]0;B\n", "")
    assert (await bench.management.import_account(cookies())).user == "A]0;B"


# -- looking, checking


async def test_views_tell_what_rests_and_when_to_log_in() -> None:
    bench = Bench()
    key = await bench.given(f"token={jwt(id='u', exp=NOON + 2 * DAY)}")
    account = bench.accounts.find(key)
    account.busy = 2
    account.rest.failed("q-max", RateLimited("Enough.", retry_after=600), NOON)
    view = bench.management.account("main")
    assert bench.management.accounts() == [view] == [bench.management.account(key)]
    assert (view.in_use, view.renews_itself, view.expires_at) == (2, False, NOON + 2 * DAY)
    assert [(rest.what, rest.text, rest.until) for rest in view.rests] == [("q-max", "Enough.", NOON + 600)]
    assert view.warning is not None
    assert "main" in view.warning
    bench.clock.now += 601
    assert bench.management.account(key).rests == ()


async def test_a_valid_check_is_stored_and_ends_no_rest() -> None:
    bench = Bench()
    key = await bench.given()
    bench.accounts.find(key).rest.failed("", Challenged("A wall."), NOON)
    bench.clock.now += 5
    view = await bench.management.check("main")
    assert (view.state, view.checked_at) == ("valid", NOON + 5)
    assert len(view.rests) == 1
    assert bench.store.rows[key].check.at == NOON + 5


@pytest.mark.parametrize(
    ("fault", "state"),
    [*UNSURE, (REFUSED[0], "expired"), (REFUSED[1], "blocked")],
    ids=lambda one: getattr(one, "code", one),
)
async def test_what_the_site_says_is_the_checks_result(fault: Fault, state: str) -> None:
    bench = Bench()
    key = await bench.given()
    bench.site.says["whoami"].append(fault)
    view = await bench.management.check(key)
    assert view.state == state
    assert view.check_text.endswith(fault.text)
    assert bench.store.rows[key].check.state == state


async def test_trouble_of_the_site_says_nothing_of_the_session() -> None:
    bench = Bench()
    key = await bench.given()
    bench.site.says["whoami"].append(SiteError("Qwen's site answered with HTTP 502."))
    view = await bench.management.check(key)
    assert view.check_text == (
        "Qwen's site has trouble, so it did not say whether the session is valid. Qwen's site answered with HTTP 502."
    )


LOOKS: list[Callable[[Management, str], Any]] = [Management.check, Management.leaks]


@pytest.mark.parametrize("second", LOOKS)
@pytest.mark.parametrize("first", LOOKS)
async def test_the_site_is_asked_of_an_account_every_five_seconds_at_most(
    first: Callable[[Management, str], Any], second: Callable[[Management, str], Any]
) -> None:
    bench = Bench()
    key = await bench.given()
    await first(bench.management, key)
    asked = list(bench.net.log)
    bench.clock.now += 2
    for name in ("main", key):
        with pytest.raises(LimitReached) as caught:
            await second(bench.management, name)
        assert caught.value.retry_after == 3
    assert bench.net.log == asked
    bench.clock.now += 3
    await second(bench.management, "main")
    assert len(bench.net.log) == len(asked) + 1


async def test_other_accounts_do_not_wait_for_one_that_was_looked_at() -> None:
    bench = Bench()
    await bench.given()
    bench.site.user = User("v", "", "")
    await bench.given(cookies("v"), "other")
    await bench.management.check("main")
    await bench.management.check("other")
    assert len(bench.net.log) == 2


async def test_one_look_at_an_account_at_a_time_however_long_it_takes() -> None:
    bench = Bench()
    await bench.given()
    go, original = asyncio.Event(), bench.net.send

    async def send(call: Any, seconds: float) -> Any:
        await go.wait()
        return await original(call, seconds)

    bench.net.send = send  # type: ignore[method-assign] # a site that takes its time
    looking = asyncio.create_task(bench.management.check("main"))
    await asyncio.sleep(0)
    bench.clock.now += 100
    with pytest.raises(LimitReached) as caught:
        await bench.management.leaks("main")
    assert caught.value.retry_after == 5
    go.set()
    assert (await looking).state == "valid"
    await bench.management.leaks("main")


async def test_a_look_that_failed_and_a_clock_that_was_set_back_do_not_forbid_the_next() -> None:
    bench = Bench()
    await bench.given()
    bench.site.says["settings"].append(Unreachable("No way there."))
    with pytest.raises(Unreachable):
        await bench.management.leaks("main")
    bench.clock.now -= 3600
    await bench.management.leaks("main")


async def test_a_check_that_finds_the_session_over_takes_the_account_out_of_use() -> None:
    bench = Bench()
    key = await bench.given()
    bench.site.says["whoami"].append(LoginExpired("Over."))
    await bench.management.check(key)
    assert isinstance(bench.accounts.find(key).refusal("q"), LoginExpired)


async def test_a_check_of_somebody_elses_session_is_unclear() -> None:
    bench = Bench()
    key = await bench.given()
    bench.site.user = User("v", "", "")
    assert (await bench.management.check(key)).state == "unclear"


async def test_a_check_renews_the_session_and_keeps_it() -> None:
    bench = Bench()
    bench.site.fresh = Tokens(jwt(id="u", exp=NOON + 900, type="access_token"))
    key = await bench.given(renewable())
    bench.clock.now += 900
    bench.site.fresh = Tokens(jwt(id="u", exp=NOON + 1800, type="access_token"), "later")
    assert (await bench.management.check(key)).state == "valid"
    assert bench.net.log == ["refresh token", "whoami me"]
    assert "refresh_token=later" in bench.stored(key).cookie_header


async def test_a_check_says_when_the_database_is_away() -> None:
    bench = Bench()
    key = await bench.given()
    bench.store.down = StorageUnavailable("Away.")
    with pytest.raises(StorageUnavailable):
        await bench.management.check(key)


# -- pausing, removing


async def test_pausing_and_resuming() -> None:
    bench = Bench()
    key = await bench.given()
    assert (await bench.management.pause("main")).paused
    assert bench.store.rows[key].paused
    bench.accounts.find(key).rest.failed("", Challenged("A wall."), NOON)
    view = await bench.management.resume(key)
    assert (view.paused, view.rests) == (False, ())
    assert bench.accounts.find(key).refusal("q") is None


async def test_a_removed_account_is_gone_and_told_as_it_was() -> None:
    bench = Bench()
    key = await bench.given()
    view = await bench.management.remove("main")
    assert (view.id, view.name) == (key, "main")
    assert bench.store.rows == {}
    assert bench.management.accounts() == []


async def test_an_account_with_settings_to_put_back_is_removed_by_force_only() -> None:
    bench, key = await silenceable()
    await bench.management.silence(key, ["memory"])
    with pytest.raises(InvalidRequest, match="qwen-gateway accounts settings main --undo") as caught:
        await bench.management.remove("main")
    assert caught.value.code == "settings_changed"
    assert bench.store.rows[key].undo is not None
    assert (await bench.management.remove("main", force=True)).id == key
    assert bench.store.rows == {}


async def test_an_account_whose_settings_were_put_back_is_simply_removed() -> None:
    bench, key = await silenceable()
    await bench.management.silence(key, ["memory"])
    await bench.management.unsilence(key)
    await bench.management.remove("main")
    assert bench.store.rows == {}


async def test_the_way_back_is_told_as_a_shell_takes_it() -> None:
    bench = Bench()
    key = await bench.given(name="it's; mine")
    await bench.store.set_undo(key, b'{"memory": {"enable_memory": true}}')
    with pytest.raises(InvalidRequest) as caught:
        await bench.management.remove(key)
    assert f"settings {shlex.quote(bench.accounts.find(key).name)} --undo" in caught.value.text


async def test_an_account_is_not_removed_while_its_settings_are_being_changed() -> None:
    bench, key = await silenceable()
    removing: list[asyncio.Task[Any]] = []
    original = bench.net.send

    async def send(call: Any, seconds: float) -> Any:
        if not removing:
            removing.append(asyncio.create_task(bench.management.remove(key)))
            await asyncio.sleep(0)
        return await original(call, seconds)

    bench.net.send = send  # type: ignore[method-assign] # somebody removes it just then
    await bench.management.silence(key, ["memory"])
    with pytest.raises(InvalidRequest):
        await removing[0]
    assert bench.store.rows[key].undo is not None


async def test_unknown_names_are_not_found() -> None:
    management = Bench().management
    with pytest.raises(NotFound):
        management.account("x")
    calls: list[Callable[[str], Any]] = [
        management.check,
        management.pause,
        management.resume,
        management.remove,
        management.leaks,
        lambda name: management.silence(name, ["memory"]),
        management.unsilence,
        management.key,
        management.change_key,
        management.rotate_key,
        lambda name: management.set_key_enabled(name, enabled=False),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            await call("x")


# -- the account's settings at the site


TALKATIVE = {
    "memory": {"enable_memory": True, "enable_history_memory": False},
    "personalization": {"name": CANARY, "enable_for_new_chat": True},
    "tools_enabled": {"web_search": True, "code": False},
}


async def silenceable() -> tuple[Bench, str]:
    bench = Bench()
    key = await bench.given()
    bench.site.set = dict(TALKATIVE)
    return bench, key


async def test_settings_that_show_in_answers_are_listed_without_what_the_owner_wrote() -> None:
    bench, key = await silenceable()
    found = await bench.management.leaks(key)
    assert [(leak.group, leak.path) for leak in found] == [
        ("memory", "memory.enable_memory"),
        ("personalization", "personalization.enable_for_new_chat"),
        ("tools", "tools_enabled.web_search"),
    ]
    assert CANARY not in repr(found)


async def test_only_the_named_groups_are_switched_off_and_all_can_be_put_back() -> None:
    bench, key = await silenceable()
    changed = await bench.management.silence(key, ["memory", "tools"])
    assert [leak.path for leak in changed] == ["memory.enable_memory", "tools_enabled.web_search"]
    assert bench.site.set["memory"]["enable_memory"] is False
    assert bench.site.set["personalization"] == TALKATIVE["personalization"]
    assert await bench.management.unsilence(key) == ["memory.enable_memory", "tools_enabled.web_search"]
    assert bench.site.set == TALKATIVE
    with pytest.raises(NotFound, match="none can be put back"):
        await bench.management.unsilence(key)


async def test_the_way_back_is_stored_before_anything_is_changed() -> None:
    bench, key = await silenceable()
    original = bench.net.send

    async def send(call: Any, seconds: float) -> Any:
        if call.url.endswith("/change"):
            undo = bench.store.rows[key].undo
            assert undo is not None
            assert json.loads(undo) == {"memory": {"enable_memory": True}}
            raise Unreachable("No way there.")
        return await original(call, seconds)

    bench.net.send = send  # type: ignore[method-assign] # looks into the store at that moment
    with pytest.raises(Unreachable):
        await bench.management.silence(key, ["memory"])
    assert bench.store.rows[key].undo is not None
    assert bench.site.set == TALKATIVE


async def test_nothing_is_changed_when_the_way_back_cannot_be_stored() -> None:
    bench, key = await silenceable()
    bench.store.down = StorageUnavailable("Away.")
    with pytest.raises(StorageUnavailable):
        await bench.management.silence(key, ["memory"])
    assert bench.site.set == TALKATIVE


async def test_the_oldest_values_win_when_settings_are_switched_off_again_and_again() -> None:
    bench, key = await silenceable()
    await bench.management.silence(key, ["memory"])
    # The owner switches another one on at the site, and the one that was off again.
    bench.site.set["memory"] = {"enable_memory": True, "enable_history_memory": True}
    await bench.management.silence(key, ["memory"])
    await bench.management.silence(key, ["tools"])
    undo = bench.store.rows[key].undo
    assert undo is not None
    assert json.loads(undo) == {
        "memory": {"enable_memory": True, "enable_history_memory": True},
        "tools_enabled": {"web_search": True},
    }


async def test_what_was_stored_first_wins_over_what_stands_there_now() -> None:
    bench, key = await silenceable()
    bench.site.set = {"memory": {"enable_memory": True}, "mcp": {"maps": True}}
    await bench.store.set_undo(key, b'{"memory": {"enable_memory": "sometimes"}, "mcp": null}')
    await bench.management.silence(key, ["memory", "tools"])
    assert json.loads(bench.store.rows[key].undo or b"") == {"memory": {"enable_memory": "sometimes"}, "mcp": None}


async def test_where_nothing_shows_nothing_is_changed_or_stored() -> None:
    bench, key = await silenceable()
    bench.site.set = {"memory": {"enable_memory": False}}
    assert await bench.management.silence(key, ["memory"]) == []
    assert bench.net.log == ["settings read"]
    assert bench.store.rows[key].undo is None


@pytest.mark.parametrize("groups", [[], ["memory", "everything"]])
async def test_unknown_groups_are_refused_without_asking_the_site(groups: list[str]) -> None:
    bench, key = await silenceable()
    with pytest.raises(InvalidRequest) as raised:
        await bench.management.silence(key, groups)
    assert raised.value.param == ("groups[1]" if groups else "groups")
    assert bench.net.log == []


async def test_a_challenge_while_reading_settings_counts_for_the_account() -> None:
    bench, key = await silenceable()
    bench.site.says["settings"].append(Challenged("A wall."))
    with pytest.raises(Challenged):
        await bench.management.leaks(key)
    assert len(bench.management.account(key).rests) == 1


# -- keys


async def test_a_keys_text_is_given_once_and_views_have_what_it_used_today() -> None:
    bench = Bench()
    text, key = await bench.management.create_key("laptop", role="viewer", tokens_per_day=1000)
    assert (key.name, key.role, key.tokens_per_day, key.tokens_today, key.enabled) == (
        "laptop",
        "viewer",
        1000,
        0,
        True,
    )
    assert bench.book.keys.find(text.encode()).id == key.id
    await bench.tally.settle(key.id, int(NOON // DAY), 42)
    await bench.tally.settle(key.id, int(NOON // DAY) - 1, 7)
    (listed,) = await bench.management.keys()
    assert listed == await bench.management.key("laptop")
    assert listed.tokens_today == 42
    assert text.rpartition("-")[2] not in repr(listed)


async def test_only_what_is_named_changes() -> None:
    bench = Bench()
    _, key = await bench.management.create_key("laptop", concurrency=3, models=("q*",), continuation="replay")
    changed = await bench.management.change_key(key.id, concurrency=None, name="desktop")
    assert (changed.name, changed.concurrency, changed.models) == ("desktop", None, ("q*",))
    assert changed.continuation == "replay"
    assert (await bench.management.change_key(key.id, continuation=None)).continuation is None


async def test_disabled_keys_and_rotated_texts_stop_to_work() -> None:
    bench = Bench()
    text, key = await bench.management.create_key("laptop")
    assert not (await bench.management.set_key_enabled("laptop", enabled=False)).enabled
    assert works(bench.book.keys, text) == "key_disabled"
    assert (await bench.management.set_key_enabled(key.id, enabled=True)).enabled
    other, rotated = await bench.management.rotate_key("laptop")
    assert (works(bench.book.keys, text), works(bench.book.keys, other)) == ("invalid_api_key", "")
    assert rotated == key


def works(keys: Keys, text: str) -> str:
    try:
        keys.find(text.encode())
    except Fault as fault:
        return fault.code
    return ""


async def test_usage_is_asked_for_as_it_was_wanted() -> None:
    bench = Bench()
    assert await bench.management.usage("model", 1, 2) == []
    assert await bench.management.usage_rows(1, 2, 3) == []
    assert bench.ledger.asked == [("model", 1, 2), (1, 2, 3)]


# -- chats that are kept


async def test_kept_chats_are_shown_by_account_and_with_its_name() -> None:
    bench = Bench()
    assert await bench.management.conversations() == ConversationsView((), 0)
    key = await bench.given()
    for number, account in enumerate((key, key, key, "0-brought", "gone")):
        await bench.kept.remember([kept(str(number), account, "someone")])
    await bench.kept.mark(["2", "4"])
    found = await bench.management.conversations()
    brought, ours = KeptView("0-brought", "", 1), KeptView(key, "main", 2)
    assert found == ConversationsView((brought, ours), marked=2)


async def test_the_chats_of_a_key_go_and_no_others() -> None:
    bench = Bench()
    _, key = await bench.management.create_key("laptop")
    static = bench.book.keys.find(b"static").id
    await bench.kept.remember([kept("1", "x", key.id), kept("2", "y", key.id), kept("3", "x", "laptop")])
    await bench.kept.remember([kept("4", "x", static)])
    with capture_logs() as logged:
        assert await bench.management.forget_conversations("laptop") == 2
        assert await bench.management.forget_conversations(key.id) == 0
    assert logged[0] == {"event": "conversations_forgotten", "log_level": "info", "key": key.id, "chats": 2}
    assert bench.kept.marked == {"1", "2"}
    assert await bench.management.forget_conversations(static) == 1
    with pytest.raises(NotFound):
        await bench.management.forget_conversations("phone")
    assert bench.kept.marked == {"1", "2", "4"}


def kept(chat: str, account: str, tenant: str) -> Remembered:
    return Remembered(KeptChat(chat, account, tenant, created=NOON, used=NOON), ())


# -- secrets


async def test_no_view_no_log_and_no_fault_holds_a_secret() -> None:
    bench = Bench()
    secret = jwt(id="u", exp=NOON + DAY, hidden=CANARY)
    seen: list[object] = []
    with capture_logs() as logged:
        imported = await bench.management.import_account(f"token={secret}; cna={CANARY}", "main")
        bench.site.set = dict(TALKATIVE)
        seen += [imported, bench.management.accounts(), await bench.management.check("main")]
        bench.clock.now += 5
        seen += [await bench.management.leaks("main"), await bench.management.silence("main", ["memory"])]
        text, key = await bench.management.create_key("laptop")
        seen += [key, await bench.management.keys(), (await bench.management.rotate_key("laptop"))[1]]
        bench.site.says["whoami"].append(LoginExpired("Over."))
        for broken in (f"token={secret}; cna={CANARY}", f'{{"log": "{CANARY}"}}', f"curl {CANARY}"):
            with pytest.raises(Fault) as raised:
                await bench.management.import_account(broken, "main")
            seen += [raised.value.text, raised.value.param]
        seen.append(await bench.management.remove("main", force=True))
    told = repr((seen, logged))
    for hidden in (CANARY, secret, secret.split(".")[1], text, text.rpartition("-")[2]):
        assert hidden not in told
    assert {line["event"] for line in logged} >= {"account_imported", "account_silenced", "key_created"}
    # Who the user is goes to the screen of the person who gave the session, and nowhere else.
    assert "someone@example.invalid" not in repr(logged) + repr(imported) + repr(bench.store.rows)
