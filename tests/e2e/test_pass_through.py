"""Pass-through mode: each caller brings a Qwen token of its own as its key."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .rig import KEY, QUICK, Rig, running, until
from .wire import ask


@pytest.fixture
async def open_to_all(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path, own=False, pass_through=True, api_keys=(), **QUICK) as found:
        yield found


async def test_two_callers_never_share_an_account(open_to_all: Rig) -> None:
    rig = open_to_all
    tokens = {user: rig.sim.token(user) for user in ("ann", "bob", "cem")}
    answers = await asyncio.gather(
        *(
            rig.post(ask(f"<{user}> {n}", stream=n % 2 == 0), key=token)
            for n in range(20)
            for user, token in tokens.items()
        )
    )
    assert {answer.status for answer in answers} == {200}
    for seen in rig.sim.site.seen:
        user = seen.prompt[1:4]
        headers = seen.raw["headers"]
        assert isinstance(headers, dict)
        assert headers["Authorization"] == f"Bearer {tokens[user]}"
        assert headers["Cookie"] == f"token={tokens[user]}"
        assert rig.sim.site.chats[seen.chat_id].user == user
    await until(lambda: not rig.left_over)


async def test_the_rest_of_one_caller_is_not_that_of_another(open_to_all: Rig) -> None:
    rig = open_to_all
    await rig.program({"match": "<ann>", "error": "challenge"})
    ann, bob = rig.sim.token("ann"), rig.sim.token("bob")
    assert (await rig.post(ask("<ann>"), key=ann)).status == 503
    assert (await rig.post(ask("x"), key=ann)).status == 503
    assert (await rig.post(ask("x"), key=bob)).status == 200


async def test_a_renewed_token_of_the_same_caller_does_not_cut_a_running_answer(open_to_all: Rig) -> None:
    rig = open_to_all
    await rig.program({"match": "<long>", "text": "a b c d e f g h", "delay_ms": 60})
    old, new = rig.sim.token("ann", expires_in=1000), rig.sim.token("ann", expires_in=2000)
    running_answer = asyncio.create_task(rig.post(ask("<long>", stream=True), key=old))
    await until(lambda: bool(rig.sim.site.streams))
    assert (await rig.post(ask("short"), key=new)).status == 200
    await until(lambda: len(rig.sim.site.deleted) == 1)
    long = next(seen for seen in rig.sim.site.seen if seen.prompt == "<long>")
    assert rig.sim.site.streams, "the first answer still runs"
    assert long.chat_id not in rig.sim.site.deleted, "and so its chat must be there"
    assert (await running_answer).stream().text == "a b c d e f g h"
    await until(lambda: not rig.left_over)


@pytest.mark.parametrize("key", ["sk-123", "a.b", "a.b.c.d", "ü.b.c", "a.b.c d"])
async def test_what_is_no_token_is_refused_kindly(open_to_all: Rig, key: str) -> None:
    answer = await open_to_all.post(ask(), key=key)
    assert (answer.status, answer.error()["code"]) == (401, "invalid_api_key")
    assert "Qwen token" in answer.error()["message"]
    assert key not in answer.error()["message"]


async def test_no_key_at_all_is_refused(open_to_all: Rig) -> None:
    answer = await open_to_all.post(ask(), key=None)
    assert (answer.status, answer.error()["code"]) == (401, "missing_api_key")


async def test_a_token_that_the_site_does_not_know_is_told(open_to_all: Rig) -> None:
    answer = await open_to_all.post(ask(), key="aaaa.bbbb.cccc")
    assert (answer.status, answer.error()["code"]) == (401, "invalid_api_key")


async def test_the_list_of_models_comes_by_the_callers_token(open_to_all: Rig) -> None:
    rig = open_to_all
    answer = await rig.get("/v1/models", key=rig.sim.token("ann"))
    assert answer.status == 200
    assert not answer.json()["data"][0]["stale"]


async def test_an_operators_key_means_the_operators_account(tmp_path: Path) -> None:
    async with running(tmp_path, pass_through=True, **QUICK) as rig:
        ann = rig.sim.token("ann")
        assert (await rig.post(ask("own"), key=KEY)).status == 200
        assert (await rig.post(ask("hers"), key=ann)).status == 200
        users = {seen.prompt: rig.sim.site.chats[seen.chat_id].user for seen in rig.sim.site.seen}
        assert users["hers"] == "ann"
        assert users["own"] != "ann"


async def test_callers_without_number_do_not_grow_the_memory_without_bound(open_to_all: Rig) -> None:
    rig = open_to_all
    for start in range(0, 300, 50):
        answers = await asyncio.gather(*(rig.post(ask(), key=rig.sim.token(f"u{start + n}")) for n in range(50)))
        assert {answer.status for answer in answers} == {200}
        await until(lambda: not rig.left_over)
    assert len(rig.service.accounts._brought) == 256
