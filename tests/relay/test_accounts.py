"""The accounts: the owner's, in step with the store, and those that callers bring."""

import pytest

from qwen_gateway.accounts.credential import Credential
from qwen_gateway.accounts.rest import Resting
from qwen_gateway.accounts.session import Session
from qwen_gateway.relay import accounts as accounts_module
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.accounts import Accounts, Manners
from qwen_gateway.relay.pool import Pool, Queue
from qwen_gateway.relay.ports import ChatRecord, Secret
from qwen_gateway.turn.faults import BadKey, Challenged, NameTaken, NoAccount, NotFound, RateLimited

from .fakes import NOON, PROMPT, Clock, Journal, Net, Site, account, chats, credential, jwt, keeper
from .fakes import Accounts as Store

MANNERS = Manners(seats=4, per_minute=1e6, burst=1000, rest=Resting(60), queue=Queue(8, 5), warn_days=3)


class Bench:
    """One process. store: shared with others, if need be."""

    def __init__(self, *records: ChatRecord, store: Store | None = None, clock: Clock | None = None) -> None:
        self.clock, self.net, self.store = clock or Clock(), Net(), store or Store()
        self.journal = Journal(self.net.log, *records)
        self.chats = chats(Site(), self.net, self.journal, self.clock)
        self.keeper = keeper(self.clock, self.store)
        self.accounts = Accounts(self.store, self.keeper, self.clock.ambient(), MANNERS)
        self.accounts.on_use, self.accounts.on_forget = self.chats.take_up, self.chats.forget

    async def cleaned(self) -> list[str]:
        self.chats.start()
        await self.chats.close(5)
        return self.net.log


def left_by(user: str) -> ChatRecord:
    return ChatRecord(f"API {user}", account(Clock(), user=user).key, f"chat-of-{user}", NOON)


async def of(pool: Pool) -> Account:
    lease = await pool.lease("q")
    lease.close()
    return lease.account


async def test_without_an_account_one_is_asked_for() -> None:
    accounts = Bench().accounts
    await accounts.sync()
    accounts.wake()
    assert accounts.all() == []
    with pytest.raises(NoAccount, match="qwen-gateway login"):
        accounts.any()
    with pytest.raises(NoAccount, match="qwen-gateway login"):
        await accounts.pool.lease("q")


async def test_an_imported_account_is_stored_and_used_and_its_left_chats_are_deleted() -> None:
    bench = Bench(left_by("own"), left_by("stranger"))
    here = await bench.accounts.adopt(credential(user="own"), "main")
    assert (here.name, here.revision) == ("main", 1)
    assert bench.accounts.any() is bench.accounts.find("main") is bench.accounts.find(here.key) is here
    assert await of(bench.accounts.pool) is here
    assert Session.load(bench.store.rows[here.key].session.value, here.key).bearer == here.session.bearer
    assert await bench.cleaned() == ["delete chat-of-own", "remove API own"]


async def test_accounts_without_a_name_are_numbered() -> None:
    accounts = Bench().accounts
    names = [(await accounts.adopt(credential(user=user))).name for user in "abc"]
    assert names == ["account-1", "account-2", "account-3"]
    await accounts.remove(accounts.find("account-1"))
    assert (await accounts.adopt(credential(user="d"))).name == "account-1"


async def test_two_accounts_cannot_have_one_name() -> None:
    accounts = Bench().accounts
    await accounts.adopt(credential(user="a"), "main")
    with pytest.raises(NameTaken):
        await accounts.adopt(credential(user="b"), "main")


async def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    accounts = Bench().accounts
    await accounts.adopt(credential(user="a"), "main")
    with pytest.raises(NotFound, match="main"):
        accounts.find("other")


async def test_a_fresh_session_of_a_known_account_takes_the_place_of_the_old_one_and_ends_its_rest() -> None:
    bench = Bench()
    here = await bench.accounts.adopt(credential(user="a"), "main")
    here.failed("q", Challenged("A wall."))
    again = await bench.accounts.adopt(credential(user="a", ends=NOON + 9000))
    assert again is here
    assert (here.name, here.session.expires_at) == ("main", NOON + 9000)
    assert here.refusal("q") is None


async def test_pausing_takes_an_account_out_of_use_and_resuming_also_ends_its_rests() -> None:
    accounts = Bench().accounts
    here = await accounts.adopt(credential(user="a"), "main")
    here.failed("q", Challenged("A wall."))
    await accounts.pause(here, paused=True)
    with pytest.raises(NoAccount, match="paused"):
        await accounts.pool.lease("q")
    await accounts.pause(here, paused=False)
    assert await of(accounts.pool) is here


async def test_a_removed_account_is_gone_and_its_chats_wait() -> None:
    bench = Bench()
    here = await bench.accounts.adopt(credential(user="a"), "main")
    await bench.accounts.remove(here)
    assert bench.accounts.all() == []
    assert bench.store.rows == {}


# --- several processes ---


async def test_processes_agree_on_accounts_pauses_and_rests() -> None:
    store, clock = Store(), Clock()
    a, b = Bench(store=store, clock=clock), Bench(store=store, clock=clock)
    here = await a.accounts.adopt(credential(user="a"), "main")
    await b.accounts.sync()
    there = b.accounts.find("main")
    assert there.session.bearer == here.session.bearer

    here.failed("q", RateLimited("Enough.", retry_after=600))
    await a.keeper.close(5)
    await b.accounts.sync()
    refusal = there.refusal("q")
    assert isinstance(refusal, RateLimited)
    assert refusal.retry_after == 600
    assert there.refusal("another") is None

    clock.now += 1
    await a.accounts.pause(here, paused=True)
    await b.accounts.sync()
    assert there.paused
    clock.now += 1
    await b.accounts.pause(there, paused=False)
    await a.accounts.sync()
    assert not here.paused
    assert (here.refusal("q"), there.refusal("q")) == (None, None)

    await b.accounts.remove(there)
    await a.accounts.sync()
    assert a.accounts.all() == []


async def test_a_success_ends_a_rest_everywhere() -> None:
    store, clock = Store(), Clock()
    a, b = Bench(store=store, clock=clock), Bench(store=store, clock=clock)
    here = await a.accounts.adopt(credential(user="a"))
    here.failed("q", Challenged("A wall."))
    await a.keeper.close(5)
    await b.accounts.sync()
    there = b.accounts.find(here.name)
    assert there.refusal("q") is not None
    clock.now += 60
    assert there.begin("q") is None
    there.succeeded(clock.now)
    await b.keeper.close(5)
    await a.accounts.sync()
    here.failed("q", again := Challenged("A wall."))
    assert again.retry_after == 60, "and not twice that"


async def test_a_rest_that_was_not_yet_stored_outlives_a_look_into_the_store() -> None:
    bench = Bench()
    here = await bench.accounts.adopt(credential(user="a"))
    bench.clock.now += 1
    here.failed("q", Challenged("A wall."))
    await bench.accounts.sync()
    assert here.refusal("q") is not None


async def test_rests_outlive_a_restart() -> None:
    store, clock = Store(), Clock()
    before = Bench(store=store, clock=clock)
    (await before.accounts.adopt(credential(user="a"), "main")).failed("q", Challenged("A wall."))
    await before.keeper.close(5)
    after = Bench(store=store, clock=clock)
    await after.accounts.sync()
    refusal = after.accounts.find("main").refusal("q")
    assert isinstance(refusal, Challenged)
    assert refusal.retry_after == 60


async def test_a_session_that_another_process_renewed_is_taken_over() -> None:
    store = Store()
    a, b = Bench(store=store), Bench(store=store)
    here = await a.accounts.adopt(credential(user="a"))
    await b.accounts.sync()
    there = b.accounts.find(here.key)
    there.absorb(("token=" + jwt(id="a", exp=NOON + 5) + "; Path=/",))
    await b.keeper.close(5)
    await a.accounts.sync()
    assert here.session.bearer == there.session.bearer == jwt(id="a", exp=NOON + 5)


# --- the account of the environment ---


async def test_the_account_of_the_environment_keeps_what_the_site_made_of_it() -> None:
    store = Store()
    first = Bench(store=store)
    here = await first.accounts.adopt(credential(user="a"), source="environment")
    here.absorb(("extra=1; Path=/",))
    await first.keeper.close(5)
    second = Bench(store=store)
    there = await second.accounts.adopt(credential(user="a"), source="environment")
    assert "extra=1" in there.session.cookie_header


async def test_a_fresh_paste_in_the_environment_takes_the_place_of_the_stored_session() -> None:
    store = Store()
    await Bench(store=store).accounts.adopt(credential(user="a"), source="environment")
    there = await Bench(store=store).accounts.adopt(credential(user="a", ends=NOON + 9), source="environment")
    assert there.session.expires_at == NOON + 9


async def test_an_imported_session_is_not_replaced_by_an_older_one_of_the_environment() -> None:
    store = Store()
    await Bench(store=store).accounts.adopt(credential(user="a", ends=NOON + 900), "main")
    for ends, used in ((NOON + 800, NOON + 900), (NOON + 1000, NOON + 1000)):
        there = await Bench(store=store).accounts.adopt(credential(user="a", ends=ends), source="environment")
        assert there.session.expires_at == used


async def test_another_process_does_not_use_the_account_of_ones_environment() -> None:
    store = Store()
    await Bench(store=store).accounts.adopt(credential(user="a"), source="environment")
    there = Bench(store=store).accounts
    await there.sync()
    assert there.all() == []


# --- warnings ---


async def test_the_session_that_ends_first_is_warned_of() -> None:
    bench = Bench()
    await bench.accounts.adopt(credential(user="a", ends=NOON + 2 * 86_400), "later")
    later = bench.accounts.find("later")
    assert later.key in (bench.accounts.warned or "")
    sooner = await bench.accounts.adopt(credential(user="b", ends=NOON + 86_400), "sooner")
    assert sooner.key in (bench.accounts.warned or "")
    await bench.accounts.pause(sooner, paused=True)
    assert later.key in (bench.accounts.warned or "")


async def test_sessions_that_last_are_not_warned_of() -> None:
    bench = Bench()
    await bench.accounts.adopt(credential(user="a", ends=NOON + 4 * 86_400))
    assert bench.accounts.warned is None
    bench.clock.now += 86_400 + 1
    assert bench.accounts.warn() is not None


# --- those that callers bring ---


async def test_a_brought_account_is_remembered_with_all_that_happened_to_it() -> None:
    bench = Bench()
    first = await of(bench.accounts.brought(jwt(id="a")))
    first.failed("q", Challenged("A wall."))
    with pytest.raises(Challenged):
        await bench.accounts.brought(jwt(id="a")).lease("q")
    assert (await of(bench.accounts.brought(jwt(id="b")))) is not first
    assert bench.store.rows == {}, "a caller's token is stored nowhere"


async def test_left_chats_of_a_brought_account_are_deleted_when_it_comes() -> None:
    bench = Bench(left_by("a"), left_by("b"))
    # Anyone can write a token that says so: it counts once the site has made a chat for it.
    brought = await of(bench.accounts.brought(jwt(id="a")))
    assert bench.journal.kept.keys() == {"API a", "API b"}
    await bench.chats.open(brought, PROMPT)
    assert (await bench.cleaned())[-2:] == ["delete chat-of-a", "remove API a"]


async def test_the_list_of_models_is_asked_for_with_the_account_that_was_used_last() -> None:
    accounts = Bench().accounts
    a, b = await of(accounts.brought(jwt(id="a"))), await of(accounts.brought(jwt(id="b")))
    assert accounts.any() is b
    accounts.brought(jwt(id="a"))
    assert accounts.any() is a


async def test_the_owners_accounts_go_before_brought_ones_unless_they_rest() -> None:
    accounts = Bench().accounts
    own = await accounts.adopt(credential(user="own"))
    brought = await of(accounts.brought(jwt(id="a")))
    assert accounts.any() is own
    own.failed("q", Challenged("A wall."))
    assert accounts.any() is brought
    brought.failed("q", Challenged("Another wall."))
    with pytest.raises(Challenged, match="A wall"):
        accounts.any()


async def test_the_account_longest_unused_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "MAX_BROUGHT", 3)
    accounts = Bench().accounts
    made = {user: await of(accounts.brought(jwt(id=user))) for user in "abc"}
    accounts.brought(jwt(id="a"))  # now b is the one
    accounts.brought(jwt(id="d"))
    assert await of(accounts.brought(jwt(id="a"))) is made["a"]
    assert await of(accounts.brought(jwt(id="c"))) is made["c"]
    assert await of(accounts.brought(jwt(id="b"))) is not made["b"]


async def test_an_account_to_which_files_are_being_brought_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "MAX_BROUGHT", 2)
    accounts = Bench().accounts
    lease = await accounts.brought(jwt(id="a")).lease("q")
    lease.leave()
    for user in "bc":
        accounts.brought(jwt(id=user))
    assert await of(accounts.brought(jwt(id="a"))) is lease.account


async def test_a_caller_is_served_though_all_others_are_being_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "MAX_BROUGHT", 1)
    accounts = Bench().accounts
    leases = [await accounts.brought(jwt(id=user)).lease("q") for user in "abc"]
    assert [lease.account for lease in leases] == [await of(accounts.brought(jwt(id=user))) for user in "abc"]


async def test_chats_of_a_forgotten_account_wait_for_its_return(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "MAX_BROUGHT", 1)
    bench = Bench(left_by("a"))
    bench.accounts.brought(jwt(id="a"))
    bench.accounts.brought(jwt(id="b"))
    assert await bench.cleaned() == []
    assert list(bench.journal.kept) == ["API a"]


@pytest.mark.parametrize("token", ["", "   ", "sk-123", "a.b", "a b c"])
async def test_what_cannot_be_a_token_is_a_bad_key(token: str) -> None:
    with pytest.raises(BadKey) as raised:
        Bench().accounts.brought(token)
    assert not token.strip() or token not in raised.value.text


async def test_waking_ends_the_rest_of_all() -> None:
    accounts = Bench().accounts
    own = await accounts.adopt(credential(user="own"))
    all_of_them = [own, await of(accounts.brought(jwt(id="a"))), await of(accounts.brought(jwt(id="b")))]
    for each in all_of_them:
        each.failed("q", Challenged("A wall."))
    accounts.wake()
    assert [each.resting() for each in all_of_them] == [None] * 3


async def test_an_opaque_session_keeps_its_id_when_it_is_renewed() -> None:
    bench = Bench()
    here = await bench.accounts.adopt(Credential({"token": "opaque", "refresh_token": "r"}, None))
    key = here.key
    here.absorb(("token=another; Path=/",))
    await bench.keeper.close(5)
    after = Bench(store=bench.store)
    await after.accounts.sync()
    assert after.accounts.all()[0].key == after.accounts.all()[0].session.key == key


def test_a_stored_secret_shows_nothing() -> None:
    assert "canary" not in repr(Secret(b"canary"))
