"""What people call their accounts is theirs: clients of the gateway, who may be others, are never told."""

import pytest
from tests.relay.fakes import SWITCH, credential

from qwen_gateway.relay.account import DAY
from qwen_gateway.turn.faults import Challenged

from .admin.bench import Bench

NAME = "Jane's mail"
ASKED = {"model": SWITCH.id, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
async def bench() -> Bench:
    """An account whose session ends soon."""
    bench = Bench()
    await bench.open()
    found = credential(user="u", ends=bench.clock.now + 2 * DAY)
    bench.account = (await bench.accounts.adopt(found, NAME)).key
    return bench


async def told_to_clients(bench: Bench) -> str:
    """All that a client's key is told of accounts; the warning must be there."""
    health = await bench.call("GET", "/health", key=bench.text["client"])
    answer = await bench.call("POST", "/v1/chat/completions", ASKED, key=bench.text["client"])
    assert health.status_code == 200
    assert health.json()["accounts"][0]["key"] == bench.account
    assert answer.status_code == 503
    return health.text + answer.text + repr(answer.headers.multi_items())


async def test_a_session_that_ends_is_told_by_its_id(bench: Bench) -> None:
    await bench.management.pause(NAME)
    await bench.management.resume(NAME)
    account = bench.accounts.find(NAME)
    account.rest.failed("", Challenged("A wall."), bench.clock.now)
    told = await told_to_clients(bench)
    assert "x-gateway-warning" in told
    assert bench.account in told
    assert "Jane" not in told


async def test_a_paused_account_is_told_by_its_id(bench: Bench) -> None:
    await bench.management.pause(NAME)
    told = await told_to_clients(bench)
    assert f"accounts resume {bench.account}" in told
    assert "Jane" not in told


async def test_why_there_are_no_models_is_told_without_a_name(bench: Bench) -> None:
    await bench.management.pause(NAME)
    bench.service.models.problem = bench.accounts.find(NAME).resting()
    told = await told_to_clients(bench)
    assert "Jane" not in told
