"""New access tokens: one refresh however many wait, in this process and in others, and nothing of it lost."""

import asyncio

import pytest

from qwen_gateway.accounts.session import Session
from qwen_gateway.relay import renewal as renewal_module
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.ports import Secret, StoredAccount
from qwen_gateway.relay.renewal import Renewal
from qwen_gateway.turn.contracts import Tokens
from qwen_gateway.turn.faults import LoginExpired, NoAccount, Overloaded, StorageUnavailable

from .fakes import NOON, Accounts, Clock, Net, Site, account, jwt, keeper, renewal, settle


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal_module, "LOOK_EVERY", 0.001)


class Process:
    """One gateway that shares the store and the site with others."""

    def __init__(self, clock: Clock, store: Accounts, site: Site, net: Net, owner: str, seconds: float = 9) -> None:
        self.account = account(clock, refreshable=True)
        self.keeper = keeper(clock, store, owner)
        self.renewal = Renewal(site, net, clock.ambient(), seconds, self.keeper)


async def shared(count: int, seconds: float = 9) -> tuple[Accounts, Net, Site, list[Process]]:
    clock, store, site, net = Clock(), Accounts(), Site(), Net()
    processes = [Process(clock, store, site, net, f"process-{number}", seconds) for number in range(count)]
    first = processes[0].account
    await store.put(StoredAccount(first.key, "main", Secret(first.session.dump())))
    for process in processes:
        process.keeper.keep(process.account, store.rows[first.key])
    return store, net, site, processes


@pytest.mark.parametrize(
    ("left", "refreshable", "asked"), [(600, True, 0), (60, True, 1), (-5, True, 1), (60, False, 0)]
)
async def test_a_token_is_renewed_when_it_is_at_its_end(left: float, refreshable: bool, asked: int) -> None:
    clock, net, site = Clock(), Net(), Site()
    site.fresh = Tokens(jwt(id="u", exp=NOON + 900, type="access_token"))
    here, again = account(clock, ends=NOON + left, refreshable=refreshable), renewal(site, net, clock)
    await again.ensure_fresh(here)
    await again.ensure_fresh(here)
    assert net.count("refresh") == asked


async def test_renewal_raises_what_the_site_says() -> None:
    clock, net, site = Clock(), Net(), Site()
    site.says["refresh"].append(LoginExpired("over"))
    with pytest.raises(LoginExpired):
        await renewal(site, net, clock).refresh(account(clock, refreshable=True))


async def test_a_renewed_session_is_stored_before_anyone_goes_on() -> None:
    store, net, _, (here,) = await shared(1)
    await here.renewal.refresh(here.account)
    stored = Session.load(store.rows[here.account.key].session.value, here.account.key)
    assert stored.bearer == here.account.session.bearer == "fresh.access.token"
    assert net.count("refresh") == 1
    assert store.claims == {}


async def test_processes_that_share_an_account_make_one_refresh_together() -> None:
    store, net, _, processes = await shared(5)
    net.holds["refresh"] = asyncio.Event()
    waiting = [
        asyncio.create_task(process.renewal.refresh(process.account)) for process in processes for _ in range(20)
    ]
    await settle()
    assert net.count("refresh") == 1
    net.holds["refresh"].set()
    await asyncio.gather(*waiting)
    assert net.count("refresh") == 1
    assert {process.account.session.bearer for process in processes} == {"fresh.access.token"}
    assert store.claims == {}


async def test_a_refresh_that_failed_is_made_by_the_next_process() -> None:
    _, net, site, (a, b) = await shared(2)
    site.says["refresh"].append(LoginExpired("over"))
    results = await asyncio.gather(a.renewal.refresh(a.account), b.renewal.refresh(b.account), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["LoginExpired", "NoneType"]
    assert net.count("refresh") == 2


async def test_a_process_that_never_gets_done_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal_module, "SPARE", 0.01)
    store, _, _, (here,) = await shared(1, seconds=0)
    await store.claim_refresh(here.account.key, "another", NOON, 1000)
    with pytest.raises(Overloaded):
        await here.renewal.refresh(here.account)


async def test_an_account_that_is_removed_meanwhile_is_not_waited_for() -> None:
    store, _, _, (here,) = await shared(1)
    await store.claim_refresh(here.account.key, "another", NOON, 1000)
    task = asyncio.create_task(here.renewal.refresh(here.account))
    await settle()
    here.keeper.forget(here.account)
    with pytest.raises(NoAccount):
        await task


async def test_a_renewed_session_is_not_lost_to_an_older_one_that_was_stored_while_the_database_was_away() -> None:
    store, net, _, (a, b) = await shared(2)
    net.holds["refresh"] = asyncio.Event()
    task = asyncio.create_task(a.renewal.refresh(a.account))
    await settle()
    store.down = StorageUnavailable("down")
    net.holds["refresh"].set()
    await task
    store.down = None
    b.account.absorb(("harmless=1; Path=/",))
    await b.keeper.close(5)  # an older session, with a higher revision
    await a.keeper.look(a.account)
    assert a.account.session.bearer == "fresh.access.token", "a look into the store does not bring the old one back"
    await a.keeper.close(5)
    assert _stored(store, a.account).bearer == "fresh.access.token"


async def test_a_claim_ends_only_when_the_new_session_is_stored() -> None:
    store, net, _, (a, b) = await shared(2)
    net.holds["refresh"] = asyncio.Event()
    task = asyncio.create_task(a.renewal.refresh(a.account))
    await settle()
    store.down = StorageUnavailable("down")
    net.holds["refresh"].set()
    await task
    store.down = None
    other = asyncio.create_task(b.renewal.refresh(b.account))
    await settle()
    assert net.count("refresh") == 1, "the cookie that it would ask with is used up"
    await a.keeper.close(5)
    await other
    assert (net.count("refresh"), b.account.session.bearer) == (1, "fresh.access.token")


async def test_the_end_waits_for_a_refresh_that_is_under_way() -> None:
    store, net, _, (here,) = await shared(1)
    net.holds["refresh"] = asyncio.Event()
    task = asyncio.create_task(here.renewal.refresh(here.account))
    await settle()
    task.cancel()
    closing = asyncio.create_task(here.renewal.close())
    await settle()
    assert not closing.done()
    net.holds["refresh"].set()
    await closing
    assert _stored(store, here.account).bearer == "fresh.access.token"


async def test_each_who_waits_gets_a_fault_of_its_own_and_the_account_knows_that_it_is_over() -> None:
    clock, net, site = Clock(), Net(), Site()
    site.says["refresh"].append(LoginExpired("over"))
    here, again = account(clock, refreshable=True), renewal(site, net, clock)
    results = await asyncio.gather(*(again.refresh(here) for _ in range(5)), return_exceptions=True)
    assert {type(result) for result in results} == {LoginExpired}
    assert len({id(result) for result in results}) == 5
    assert (net.count("refresh"), isinstance(here.refusal("q"), LoginExpired)) == (1, True)


async def test_many_who_wait_make_one_refresh_whoever_of_them_leaves() -> None:
    clock, net, site = Clock(), Net(), Site()
    here, again = account(clock, refreshable=True), renewal(site, net, clock)
    net.holds["refresh"] = asyncio.Event()
    tasks = [asyncio.create_task(again.refresh(here)) for _ in range(50)]
    await settle()
    for task in tasks[:10]:
        task.cancel()
    await settle()
    net.holds["refresh"].set()
    await asyncio.gather(*tasks[10:])
    assert (net.count("refresh"), here.session.bearer) == (1, "fresh.access.token")
    net.holds.clear()
    await again.refresh(here)
    assert net.count("refresh") == 2, "who comes later makes another"


async def test_without_a_database_nothing_is_renewed_since_it_could_be_lost() -> None:
    store, net, _, (here,) = await shared(1)
    store.down = StorageUnavailable("down")
    with pytest.raises(StorageUnavailable):
        await here.renewal.refresh(here.account)
    assert net.count("refresh") == 0


async def test_what_could_not_be_stored_is_stored_later() -> None:
    store, net, _, (here,) = await shared(1)
    net.holds["refresh"] = asyncio.Event()
    task = asyncio.create_task(here.renewal.refresh(here.account))
    await settle()
    store.down = StorageUnavailable("down")
    net.holds["refresh"].set()
    await task
    assert here.account.session.bearer == "fresh.access.token"
    store.down = None
    await here.keeper.close(5)
    assert _stored(store, here.account).bearer == "fresh.access.token"


async def test_a_renewed_session_wins_over_cookies_that_another_process_stored_meanwhile() -> None:
    store, net, _, (here,) = await shared(1)
    net.holds["refresh"] = asyncio.Event()
    task = asyncio.create_task(here.renewal.refresh(here.account))
    await settle()
    row = store.rows[here.account.key]
    await store.save_session(row.id, row.session, row.revision)
    net.holds["refresh"].set()
    await task
    assert _stored(store, here.account).bearer == "fresh.access.token"


def _stored(store: Accounts, of: Account) -> Session:
    return Session.load(store.rows[of.key].session.value, of.key)
