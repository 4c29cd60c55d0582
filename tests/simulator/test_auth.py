"""Sessions: who is let in, who is not, and how a session is renewed."""

import asyncio
import json

import pytest

from qwen_gateway.simulator import Simulator

from .visitor import Reply, Visitor, question

pytestmark = pytest.mark.anyio

REFRESH = "/api/v2/auths/refresh"


def _unauthorized(reply: Reply) -> bool:
    return reply.status == 200 and reply.actual() == 401 and reply.data()["code"] == "Unauthorized"


async def test_cookies_alone_and_bearer_alone_are_let_in(visitor: Visitor) -> None:
    bearer = visitor.headers.pop("Authorization")
    assert (await visitor.ask("hi")).said()
    visitor.headers["Authorization"] = bearer
    del visitor.headers["Cookie"]
    assert (await visitor.ask("hi")).said()


async def test_nobody_is_refused(visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    del visitor.headers["Authorization"]
    del visitor.headers["Cookie"]
    for path in ("/api/v2/chats/", f"/api/v2/chats/{chat}", "/api/v2/auths/", "/api/v1/auths/"):
        assert _unauthorized(await visitor.get(path))
    assert _unauthorized(await visitor.post("/api/v2/chats/new", {"models": ["qwen3.7-plus"]}))
    assert _unauthorized(await visitor.send(question(chat, "hi")))


async def test_an_expired_token_is_refused_even_beside_good_cookies(sim: Simulator, visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    visitor.headers["Authorization"] = f"Bearer {sim.access_token(expires_in=-1)}"
    assert _unauthorized(await visitor.send(question(chat, "hi")))


async def test_a_jar_of_another_account_is_refused(sim: Simulator, visitor: Visitor) -> None:
    visitor.headers["Cookie"] = sim.cookies(user="somebody else")
    assert _unauthorized(await visitor.get("/api/v2/chats/"))


async def test_another_account_does_not_see_the_chat(sim: Simulator, visitor: Visitor) -> None:
    chat = await visitor.new_chat()
    visitor.headers |= {"Cookie": sim.cookies("other"), "Authorization": f"Bearer {sim.token('other')}"}
    assert (await visitor.get(f"/api/v2/chats/{chat}")).data()["code"] == "Not_Found"
    assert (await visitor.send(question(chat, "hi"))).data()["code"] == "CHAT_NOT_FOUND"
    assert (await visitor.get("/api/v2/chats/")).json()["data"] == []


@pytest.mark.parametrize("missing", ["source", "Version"])
async def test_writes_need_source_and_version(missing: str, visitor: Visitor) -> None:
    del visitor.headers[missing]
    reply = await visitor.post("/api/v2/chats/new", {"models": ["qwen3.7-plus"]})
    assert (reply.status, reply.actual(), reply.data()["code"]) == (200, 400, "Bad_Request")


async def test_strict_jar_challenges_a_bare_bearer(visitor: Visitor) -> None:
    await visitor.program(site={"strict_jar": True})
    chat = await visitor.new_chat()
    assert (await visitor.send(question(chat, "hi"))).said() == "ok"
    del visitor.headers["Cookie"]
    ret = (await visitor.send(question(chat, "hi"))).json()["ret"]
    assert isinstance(ret, list)
    assert ret[0] == "FAIL_SYS_USER_VALIDATE"


async def test_refresh_needs_its_headers(visitor: Visitor) -> None:
    assert (await visitor.get(REFRESH)).data()["details"] == "Invalid request header"


@pytest.fixture
def renewing(visitor: Visitor) -> Visitor:
    visitor.headers["x-request-origin"] = "https://chat.qwen.ai"
    return visitor


async def test_refresh_gives_a_token_that_works(renewing: Visitor) -> None:
    data = (await renewing.get(REFRESH)).data()
    assert set(data) == {"access_token", "refresh_token", "expires_at"}
    renewing.headers["Authorization"] = f"Bearer {data['access_token']}"
    assert (await renewing.get("/api/v2/auths/")).data()["role"] == "user"
    assert renewing.sim.site.refreshes == 1


async def test_a_refresh_token_is_good_once(renewing: Visitor) -> None:
    reply = await renewing.get(REFRESH)
    assert f"refresh_token={reply.data()['refresh_token']}" in reply.headers["set-cookie"]
    assert _unauthorized(await renewing.get(REFRESH))
    renewing.headers["Cookie"] = f"refresh_token={reply.data()['refresh_token']}"
    assert (await renewing.get(REFRESH)).json()["success"] is True


async def test_rotation_can_be_switched_off(renewing: Visitor) -> None:
    await renewing.program(site={"rotate_refresh": False})
    first = (await renewing.get(REFRESH)).data()["refresh_token"]
    assert (await renewing.get(REFRESH)).data()["refresh_token"] == first


async def test_the_session_cookie_alone_renews(renewing: Visitor) -> None:
    renewing.headers["Cookie"] = f"token={renewing.sim.token()}"
    assert "access_token" in (await renewing.get(REFRESH)).data()
    renewing.headers["Cookie"] = "cna=x"
    assert _unauthorized(await renewing.get(REFRESH))


async def test_refreshed_tokens_live_as_long_as_switched(renewing: Visitor) -> None:
    await renewing.program(site={"access_token_seconds": 0})
    token = (await renewing.get(REFRESH)).data()["access_token"]
    renewing.headers["Authorization"] = f"Bearer {token}"
    assert _unauthorized(await renewing.get("/api/v2/auths/"))


async def test_refresh_can_fail_and_be_slow(renewing: Visitor) -> None:
    await renewing.program(site={"refresh_fault": "server", "refresh_delay_ms": 50})
    start = asyncio.get_running_loop().time()
    assert (await renewing.get(REFRESH)).data()["code"] == "Internal_Server_Error"
    assert asyncio.get_running_loop().time() - start >= 0.04


async def test_who_am_i_of_old_has_no_envelope_and_a_token(visitor: Visitor) -> None:
    reply = await visitor.get("/api/v1/auths/")
    body = reply.json()
    assert f"token={body['token']}" in reply.headers["set-cookie"]
    assert {"id", "email", "name", "role", "token", "token_type", "expires_at", "permissions"} <= set(body)
    visitor.headers["Authorization"] = f"Bearer {body['token']}"
    assert (await visitor.get("/api/v2/auths/")).data()["id"] == body["id"]


async def test_the_request_id_comes_back(visitor: Visitor) -> None:
    visitor.headers["X-Request-Id"] = "1-2-3"
    reply = await visitor.get("/api/v2/chats/")
    assert (reply.headers["x-request-id"], reply.json()["request_id"]) == ("1-2-3", "1-2-3")
    assert json.loads(reply.text)["success"] is True
