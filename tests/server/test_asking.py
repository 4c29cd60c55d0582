"""Who goes on with which conversation: the key's word, the request's headers, and the setting."""

import pytest
from tests.relay.fakes import credential

from qwen_gateway.accounts.pace import Pace
from qwen_gateway.accounts.rest import Rest, Resting
from qwen_gateway.accounts.session import Session
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.conversations import Asker
from qwen_gateway.relay.keys import Key
from qwen_gateway.relay.pool import Pool, Queue
from qwen_gateway.relay.ports import Ambient, Continuation
from qwen_gateway.server.asking import asker
from qwen_gateway.server.callers import Caller, Headers
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.request import TurnRequest

OPEN = Caller("open")
PLAIN = TurnRequest(model="q", messages=())
AMBIENT = Ambient(lambda: 0.0, lambda: "id")


def pool(*users: str) -> Pool:
    accounts = [
        Account(Session(credential(user=user)), Rest(Resting(60)), AMBIENT, seats=1, pace=Pace(9, 9)) for user in users
    ]
    return Pool(lambda: accounts, AMBIENT, Queue(1, 1), "There is no account.")


def asks(
    *headers: tuple[bytes, bytes],
    caller: Caller = OPEN,
    accounts: Pool | None = None,
    request: TurnRequest = PLAIN,
    default: Continuation = "auto",
) -> Asker:
    carried: Headers = headers
    return asker(caller, accounts or pool("a"), carried, request, default)


def by_key(name: str, continuation: Continuation | None = None) -> Caller:
    return Caller("key", Key(name, name, continuation=continuation))


def test_without_words_of_its_own_a_request_goes_on_as_the_setting_says() -> None:
    assert asks() == Asker("", "auto", keep=True, handle="")
    assert asks(default="suffix").mode == "suffix"


def test_a_keys_word_goes_before_the_setting() -> None:
    assert asks(caller=by_key("k", "suffix")).mode == "suffix"
    assert asks(caller=by_key("k", "replay"), default="suffix").mode == "replay"
    assert asks(caller=by_key("k"), default="suffix").mode == "suffix"


WISHES: dict[bytes, tuple[str, bool]] = {
    # X-Continuation → mode for a key with `suffix`, whether anything is kept
    b"": ("suffix", True),
    b"auto": ("suffix", True),
    b"replay": ("replay", True),
    b" REPLAY ": ("replay", True),
    b"off": ("replay", False),
}


@pytest.mark.parametrize("wish", WISHES)
def test_a_request_can_ask_for_less_than_the_key_and_not_for_more(wish: bytes) -> None:
    found = asks((b"x-continuation", wish), caller=by_key("k", "suffix"))
    assert (found.mode, found.keep) == WISHES[wish]


def test_an_unknown_wish_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest) as refused:
        asks((b"x-continuation", b"suffix"))
    assert refused.value.param == "X-Continuation"


def test_a_client_that_wants_nothing_kept_has_its_will() -> None:
    assert not asks(request=TurnRequest(model="q", messages=(), store=False)).keep


HANDLES: dict[bytes, str | None] = {
    b"": "",
    b"chatcmpl-0123456789abcdef": "0123456789abcdef",
    b"msg_0123456789abcdefGHIJ": "0123456789abcdefGHIJ",
    b"0123456789abcdef": "0123456789abcdef",
    b" chatcmpl-01234567 ": "01234567",
    b"chatcmpl-0123456": None,
    b"chatcmpl-" + b"a" * 65: None,
    b"chatcmpl-0123/../67": None,
    b"chatcmpl-01234567\xff": None,
}


@pytest.mark.parametrize("header", HANDLES)
def test_the_answer_to_go_on_from_is_known_by_its_id_in_any_dialect(header: bytes) -> None:
    expected = HANDLES[header]
    if expected is None:
        with pytest.raises(InvalidRequest) as refused:
            asks((b"x-continue-from", header))
        assert refused.value.param == "X-Continue-From"
    else:
        assert asks((b"accept", b"*/*"), (b"x-continue-from", header)).handle == expected


def test_nobody_has_the_conversations_of_another() -> None:
    mine = Caller("token", token="t")
    tenants = [
        asks().tenant,
        asks(caller=by_key("k")).tenant,
        asks(caller=by_key("l")).tenant,
        asks(caller=mine, accounts=pool("a")).tenant,
        asks(caller=mine, accounts=pool("b")).tenant,
    ]
    assert len(set(tenants)) == len(tenants)
    assert asks(caller=mine, accounts=pool("a")).tenant == tenants[3], "also with the next token of the same account"


def test_a_key_cannot_be_named_like_a_tokens_account() -> None:
    (account,) = pool("a").keys()
    assert asks(caller=Caller("token", token="t")).tenant == f"@{account}"
