"""The accounts: the operator's own, and those that callers bring."""

import pytest

from qwen_gateway.accounts.credential import Credential
from qwen_gateway.accounts.rest import Resting
from qwen_gateway.relay import accounts as accounts_module
from qwen_gateway.relay.accounts import Accounts
from qwen_gateway.relay.ports import ChatRecord
from qwen_gateway.turn.faults import BadKey, Challenged, NoAccount

from .fakes import NOON, PROMPT, Clock, Journal, Net, Site, account, chats, jwt

OWN = jwt(id="own")


class Bench:
    def __init__(self, *records: ChatRecord, own: bool = False) -> None:
        self.clock, self.net = Clock(), Net()
        self.journal = Journal(self.net.log, *records)
        self.chats = chats(Site(), self.net, self.journal, self.clock)
        credential = Credential({"token": OWN}, OWN) if own else None
        self.accounts = Accounts(credential, self.chats, self.clock.ambient(), user_agent="browser", rest=Resting(60))

    async def cleaned(self) -> list[str]:
        self.chats.start()
        await self.chats.close(5)
        return self.net.log


def left_by(user: str) -> ChatRecord:
    return ChatRecord(f"API {user}", account(Clock(), user=user).key, f"chat-of-{user}", NOON)


async def test_without_an_account_one_is_asked_for() -> None:
    accounts = Bench().accounts
    accounts.start()
    accounts.wake()
    assert accounts.own is None
    for need in (accounts.need_own, accounts.any):
        with pytest.raises(NoAccount, match="QWEN_GATEWAY_COOKIES"):
            need()


async def test_the_operators_own_account_is_used_and_its_left_chats_are_deleted() -> None:
    bench = Bench(left_by("own"), left_by("stranger"), own=True)
    bench.accounts.start()
    assert bench.accounts.need_own() is bench.accounts.any() is bench.accounts.own
    assert bench.accounts.need_own().session.user_agent == "browser"
    assert await bench.cleaned() == ["delete chat-of-own", "remove API own"]


async def test_a_brought_account_is_remembered_with_all_that_happened_to_it() -> None:
    bench = Bench()
    first = bench.accounts.brought(jwt(id="a"))
    first.failed("q", Challenged("A wall."))
    assert bench.accounts.brought(jwt(id="a")) is first
    assert bench.accounts.brought(jwt(id="b")) is not first
    assert bench.accounts.brought(jwt(id="b")).resting() is None


async def test_left_chats_of_a_brought_account_are_deleted_when_it_comes() -> None:
    bench = Bench(left_by("a"), left_by("b"))
    # Anyone can write a token that says so: it counts once the site has made a chat for it.
    brought = bench.accounts.brought(jwt(id="a"))
    assert bench.journal.kept.keys() == {"API a", "API b"}
    await bench.chats.open(brought, PROMPT)
    assert (await bench.cleaned())[-2:] == ["delete chat-of-a", "remove API a"]


async def test_the_list_of_models_is_asked_for_with_the_account_that_was_used_last() -> None:
    accounts = Bench().accounts
    a, b = accounts.brought(jwt(id="a")), accounts.brought(jwt(id="b"))
    assert accounts.any() is b
    accounts.brought(jwt(id="a"))
    assert accounts.any() is a


async def test_the_operators_own_account_goes_before_brought_ones() -> None:
    accounts = Bench(own=True).accounts
    accounts.brought(jwt(id="a"))
    assert accounts.any() is accounts.own


async def test_the_account_longest_unused_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "MAX_BROUGHT", 3)
    bench = Bench()
    made = {user: bench.accounts.brought(jwt(id=user)) for user in "abc"}
    bench.accounts.brought(jwt(id="a"))  # now b is the one
    bench.accounts.brought(jwt(id="d"))
    assert bench.accounts.brought(jwt(id="a")) is made["a"]
    assert bench.accounts.brought(jwt(id="c")) is made["c"]
    assert bench.accounts.brought(jwt(id="b")) is not made["b"]


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
    accounts = Bench(own=True).accounts
    all_of_them = [accounts.need_own(), accounts.brought(jwt(id="a")), accounts.brought(jwt(id="b"))]
    for each in all_of_them:
        each.failed("q", Challenged("A wall."))
    accounts.wake()
    assert [each.resting() for each in all_of_them] == [None] * 3
