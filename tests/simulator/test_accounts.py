"""Accounts that fare differently at the same site: what each of them is told, and what is counted of it."""

from collections.abc import Awaitable, Callable

import pytest

from .shapes import Json, is_json
from .visitor import MODEL, Reply, Visitor, question

pytestmark = pytest.mark.anyio

USER = "Anna B."
REFRESH = "/api/v2/auths/refresh"
SETTINGS = "/api/v2/users/user/settings"
FINE = "fine"


@pytest.fixture
def anna(visitor: Visitor) -> Visitor:
    """The visitor as another account than the demo's, with all headers that any endpoint wants."""
    _become(visitor, USER)
    visitor.headers["x-request-origin"] = "https://chat.qwen.ai"
    return visitor


def _become(visitor: Visitor, user: str) -> None:
    token = visitor.sim.access_token(user)
    visitor.headers |= {"Cookie": visitor.sim.cookies(user), "Authorization": f"Bearer {token}"}


async def _behave(visitor: Visitor, **behaviour: object) -> None:
    reply = await visitor.program(site={"accounts": {USER: behaviour}})
    assert reply.status == 200, reply.text


async def _counts(visitor: Visitor, user: str = USER) -> Json:
    accounts = (await visitor.get("/__sim/state")).json()["accounts"]
    assert is_json(accounts)
    found = accounts[user]
    assert is_json(found)
    return found


def _told(reply: Reply) -> str:
    """What came, in one word."""
    if reply.status != 200:
        slider = "aliyun_waf" in reply.text
        return f"{reply.status} {'slider' if slider else 'page' if '<html>' in reply.text else 'text'}"
    if reply.text.startswith("<"):
        return "slider" if "aliyun_waf" in reply.text else "page"
    if reply.text.startswith("data:"):
        return FINE
    body = reply.json()
    if "ret" in body:
        return "wall"
    data = body.get("data")
    return str(data["code"]) if is_json(data) and "code" in data else FINE


CALLS: dict[str, Callable[[Visitor, str], Awaitable[Reply]]] = {
    "settings": lambda visitor, _: visitor.get(SETTINGS),
    "models": lambda visitor, _: visitor.get("/api/v2/models/"),
    "settings/update": lambda visitor, _: visitor.post(SETTINGS + "/update", {"mcp_remind": True}),
    "chats/new": lambda visitor, _: visitor.post("/api/v2/chats/new", {"models": [MODEL]}),
    "completion": lambda visitor, chat: visitor.send(question(chat, "hi")),
    "delete": lambda visitor, chat: visitor.delete(f"/api/v2/chats/{chat}"),
    "whoami": lambda visitor, _: visitor.get("/api/v2/auths/"),
    "whoami v1": lambda visitor, _: visitor.get("/api/v1/auths/"),
    "refresh": lambda visitor, _: visitor.get(REFRESH),
}
"""One call of each kind, in the order of the answers below."""
TOLD: dict[str, tuple[str, ...]] = {
    "ok": (FINE,) * 9,
    # The list of models is there for guests too.
    "expired": ("Unauthorized", FINE, *("Unauthorized",) * 7),
    "challenged": (FINE, FINE, "wall", "wall", "wall", "wall", FINE, FINE, FINE),
    "walled": (*("slider",) * 8, FINE),
    "blocked": ("403 page",) * 9,
    "pending": ("Unauthorized", FINE, *("Unauthorized",) * 4, FINE, FINE, FINE),
    "rate_limited": (FINE, FINE, FINE, FINE, "RateLimited", FINE, FINE, FINE, FINE),
    "down": ("503 text",) * 9,
    "unreachable": ("reset",) * 9,
}


@pytest.mark.parametrize("state", TOLD)
async def test_each_state_is_told_to_each_call_and_to_no_other_account(state: str, anna: Visitor) -> None:
    chat = await anna.new_chat()
    await _behave(anna, state=state)
    told = []
    for call in CALLS.values():
        try:
            told.append(_told(await call(anna, chat)))
        except OSError:
            told.append("reset")
    assert dict(zip(CALLS, told, strict=True)) == dict(zip(CALLS, TOLD[state], strict=True))
    _become(anna, "somebody else")
    assert (await anna.ask("hi")).said() == "ok"


async def test_several_accounts_fare_differently_at_once(anna: Visitor) -> None:
    states = {"a": "expired", "b": "blocked", "c": "walled", "d": "ok"}
    await anna.program(site={"accounts": {user: {"state": state} for user, state in states.items()}})
    told = {}
    for user in states:
        _become(anna, user)
        told[user] = _told(await anna.get("/api/v2/auths/"))
    assert told == {"a": "Unauthorized", "b": "403 page", "c": "slider", "d": FINE}


@pytest.mark.parametrize(("state", "told"), [("blocked", "403 page"), ("expired", "Unauthorized"), ("ok", "wall")])
async def test_an_accounts_state_comes_before_the_faults_of_an_endpoint(state: str, told: str, anna: Visitor) -> None:
    await _behave(anna, state=state)
    await anna.program(site=dict.fromkeys(("whoami_fault", "refresh_fault", "chats_new_fault"), "challenge"))
    for call in ("whoami", "refresh", "chats/new"):
        assert _told(await CALLS[call](anna, "")) == told


async def test_a_firewall_does_not_ask_whether_a_token_is_over(anna: Visitor) -> None:
    await _behave(anna, state="blocked")
    anna.headers |= {"Cookie": "", "Authorization": f"Bearer {anna.sim.access_token(USER, expires_in=-1)}"}
    assert _told(await anna.get("/api/v2/auths/")) == "403 page"


async def test_accounts_that_are_not_mentioned_go_on_as_they_were(anna: Visitor) -> None:
    await _behave(anna, state="blocked")
    await anna.program(site={"accounts": {"other": {"state": "down"}}})
    await anna.program(site={"strict_jar": False})
    assert [(await _counts(anna, user))["state"] for user in (USER, "other")] == ["blocked", "down"]
    await _behave(anna, state="ok")
    assert (await anna.ask("hi")).said() == "ok"


async def test_a_reset_forgets_how_accounts_behave_and_what_they_did(anna: Visitor) -> None:
    await _behave(anna, state="blocked")
    await anna.get("/api/v2/auths/")
    await anna.program(site={"whoami_fault": "server"})
    await anna.post("/__sim/reset", {})
    state = (await anna.get("/__sim/state")).json()
    assert (state["accounts"], state["whoamis"]) == ({}, 0)
    assert _told(await anna.get("/api/v2/auths/")) == FINE


REFUSED: dict[str, tuple[Json, str]] = {
    "unknown state": ({"a": {"state": "sleepy"}}, "sleepy"),
    "unknown key": ({"a": {"mood": "x"}}, "mood"),
    "no object": ({"a": "expired"}, "object"),
    "a model without a limit": ({"a": {"state": "blocked", "model": "x"}}, "model"),
    "hours without a limit": ({"a": {"num": 3}}, "num"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_behaviour_that_means_nothing_is_refused(name: str, anna: Visitor) -> None:
    accounts, named = REFUSED[name]
    reply = await anna.program(site={"accounts": accounts})
    assert reply.status == 400
    assert named in str(reply.json()["error"])
    assert (await anna.get("/__sim/state")).json()["accounts"] == {}


# --- limits ---


async def test_a_limit_of_one_model_leaves_the_others(anna: Visitor) -> None:
    await _behave(anna, state="rate_limited", model=MODEL, num=3)
    data = (await anna.ask("hi")).data()
    assert (data["code"], data["num"]) == ("RateLimited", 3)
    chat = await anna.new_chat()
    assert (await anna.send({**question(chat, "hi"), "model": "qwen3.6-plus"})).said() == "ok"


async def test_a_limit_without_a_model_holds_for_all_and_tells_no_hours(anna: Visitor) -> None:
    await _behave(anna, state="rate_limited")
    assert "num" not in (await anna.ask("hi")).data()


# --- who they are ---


@pytest.mark.parametrize("user", [USER, "x", "漢字", "<f01 True None>"])
async def test_every_account_has_an_invented_name_and_address(user: str, anna: Visitor) -> None:
    _become(anna, user)
    data = (await anna.get("/api/v2/auths/")).data()
    mailbox, _, host = str(data["email"]).partition("@")
    assert (data["id"], data["name"], data["role"], host) == (user, user, "user", "example.invalid")
    assert mailbox.replace(".", "").isalnum()


async def test_a_pending_account_says_so_on_both_addresses(anna: Visitor) -> None:
    await _behave(anna, state="pending")
    assert (await anna.get("/api/v2/auths/")).data()["role"] == "pending"
    assert (await anna.get("/api/v1/auths/")).json()["role"] == "pending"


async def test_whoami_can_fail_on_the_newer_address_alone(anna: Visitor) -> None:
    await anna.program(site={"whoami_fault": "not_found"})
    assert (await anna.get("/api/v2/auths/")).data()["code"] == "Not_Found"
    assert (await anna.get("/api/v1/auths/")).json()["id"] == USER
    refused = await anna.program(site={"whoami_fault": "stall"})
    assert (refused.status, "whoami_fault" in refused.text) == (400, True)


# --- settings ---


async def test_each_account_has_its_own_settings(anna: Visitor) -> None:
    await anna.post(SETTINGS + "/update", {"memory": {"enable_memory": False}})
    mine = (await anna.get(SETTINGS)).data()
    _become(anna, "other")
    theirs = (await anna.get(SETTINGS)).data()
    assert [_memory(mine), _memory(theirs)] == [False, True]


def _memory(settings: Json) -> object:
    memory = settings["memory"]
    assert is_json(memory)
    return memory["enable_memory"]


# --- counting ---


async def test_what_an_account_does_is_counted(anna: Visitor) -> None:
    chat = await anna.new_chat()
    await anna.ask("hi", chat=chat)
    await anna.ask("hi")
    await anna.delete(f"/api/v2/chats/{chat}")
    await anna.get("/api/v2/auths/")
    await anna.get("/api/v1/auths/")
    await anna.get(REFRESH)
    assert await _counts(anna) == {
        "state": "ok",
        "requests": 8,
        "refreshes": 1,
        "whoamis": 2,
        "asked": 2,
        "open_chats": 1,
    }


async def test_what_is_refused_counts_too(anna: Visitor) -> None:
    chat = await anna.new_chat()
    await _behave(anna, state="blocked")
    await anna.send(question(chat, "hi"))
    await anna.get(REFRESH)
    counts = await _counts(anna)
    assert (counts["asked"], counts["refreshes"], counts["requests"]) == (1, 1, 3)


async def test_a_used_refresh_token_still_tells_whose_it_is(anna: Visitor) -> None:
    del anna.headers["Authorization"]
    anna.headers["Cookie"] = f"refresh_token={anna.sim.site.issue_refresh(USER)}"
    assert [_told(await anna.get(REFRESH)) for _ in range(2)] == [FINE, "Unauthorized"]
    counts = await _counts(anna)
    assert (counts["refreshes"], counts["requests"]) == (2, 2)


async def test_an_account_that_is_left_alone_counts_nothing(anna: Visitor) -> None:
    await _behave(anna, state="challenged")
    _become(anna, "other")
    await anna.ask("hi")
    counts = await _counts(anna)
    assert {name: counts[name] for name in ("requests", "asked")} == {"requests": 0, "asked": 0}


async def test_a_request_names_its_account_also_when_it_is_refused(anna: Visitor) -> None:
    chat = await anna.new_chat()
    await anna.send(question(chat, "hi"))
    await _behave(anna, state="walled")
    await anna.send(question(chat, "hi"))
    anna.headers |= {"Cookie": "", "Authorization": f"Bearer {anna.sim.access_token(USER, expires_in=-1)}"}
    await anna.send(question(chat, "hi"))
    anna.headers["Authorization"] = "Bearer of.bad.news"
    await anna.send(question(chat, "hi"))
    anna.headers |= {"Cookie": anna.sim.cookies("x"), "Authorization": f"Bearer {anna.sim.token('y')}"}
    await anna.send(question(chat, "hi"))
    seen = [(one["account"], one["status"]) for one in await anna.seen()]
    assert seen == [(USER, "complete"), *[(USER, "error")] * 2, *[(None, "error")] * 2]
