"""What changes here is written to the store, soon, and again until it succeeds."""

import pytest

from qwen_gateway.accounts.session import Session
from qwen_gateway.relay import keeper as keeper_module
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.keeper import Keeper
from qwen_gateway.relay.ports import Secret, StoredAccount
from qwen_gateway.turn.faults import Challenged, StorageUnavailable

from .fakes import Accounts, Clock, account, jwt, keeper, until


@pytest.fixture(autouse=True)
def _tries_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "RETRY_EVERY", 0.001)


async def kept(store: Accounts, clock: Clock) -> tuple[Keeper, Account]:
    here, at = account(clock), keeper(clock, store)
    await store.put(StoredAccount(here.key, "main", Secret(here.session.dump())))
    at.keep(here, store.rows[here.key])
    return at, here


def stored(store: Accounts, of: Account) -> Session:
    return Session.load(store.rows[of.key].session.value, of.key)


async def test_changes_are_written_without_being_asked_for() -> None:
    store = Accounts()
    at, here = await kept(store, Clock())
    at.start()
    here.absorb((f"token={jwt(id='u', exp=1)}; Path=/",))
    here.failed("q", Challenged("A wall."))
    await until(lambda: store.rests != {} and stored(store, here).bearer == jwt(id="u", exp=1))
    await at.close(1)


async def test_a_database_that_is_away_is_tried_until_it_is_back() -> None:
    store = Accounts()
    at, here = await kept(store, Clock())
    at.start()
    store.down = StorageUnavailable("down")
    here.failed("q", Challenged("A wall."))
    await until(lambda: store.log.count("pause") > 3)
    assert store.rests == {}
    store.down = None
    await until(lambda: store.rests != {})
    await at.close(1)


async def test_what_is_unwritten_at_the_end_is_written_then() -> None:
    store = Accounts()
    at, here = await kept(store, Clock())
    here.failed("q", Challenged("A wall."))
    await at.close(1)
    assert store.rests != {}


async def test_an_end_without_a_database_does_not_hang() -> None:
    store = Accounts()
    at, here = await kept(store, Clock())
    store.down = StorageUnavailable("down")
    here.failed("q", Challenged("A wall."))
    await at.close(1)
    assert store.rests == {}


async def test_unchanged_accounts_cause_no_writes() -> None:
    store = Accounts()
    at, here = await kept(store, Clock())
    before = list(store.log)
    here.absorb(("acw_tc=1; Path=/",))
    here.succeeded(1e9)
    await at.close(1)
    assert store.log == before


async def test_an_account_that_was_forgotten_is_no_longer_written() -> None:
    store = Accounts()
    at, here = await kept(store, Clock())
    at.forget(here)
    here.failed("q", Challenged("A wall."))
    await at.close(1)
    assert store.rests == {}
    assert not at.keeps(here)


async def test_a_cleared_rest_is_cleared_in_the_store() -> None:
    store = Accounts()
    at, here = await kept(store, Clock())
    here.failed("q", Challenged("A wall."))
    at.start()
    await until(lambda: store.rests != {})
    here.wake()
    at.clear(here)
    assert at.clearing == {here.key}
    await until(lambda: store.rests == {})
    assert at.clearing == set()
    await at.close(1)


async def test_the_newer_session_of_another_process_is_kept_where_only_cookies_changed_here() -> None:
    store = Accounts()
    at, here = await kept(store, Clock())
    theirs = account(Clock())
    theirs.absorb((f"token={jwt(id='u', exp=7)}; Path=/",))
    await store.save_session(here.key, Secret(theirs.session.dump()), 1)
    here.absorb((f"token={jwt(id='u', exp=5)}; Path=/",))
    await at.close(1)
    assert here.session.bearer == stored(store, here).bearer == jwt(id="u", exp=7)
