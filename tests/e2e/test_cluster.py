"""Two gateways on one PostgreSQL and one Redis: what one learns or is told, the other knows within a second."""

import asyncio
import base64
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack

import pytest
from tests.services import Postgres

from qwen_gateway.simulator import Simulator

from . import process, wire
from .process import Gateway, postgres_rows
from .rig import KEY, until_async
from .wire import MODEL, Answer, Json, ask, request_bytes

pytestmark = pytest.mark.needs("postgresql", "redis")
PATH = "/v1/chat/completions"
OTHER = "qwen3.6-plus"
HELD: Json = {"text": "word " * 2000, "delay_ms": 30, "sticky": True}
SOON = 3.0
"""Seconds within which the other must know. It is promised within one; a busy machine gets some more."""


class Pair:
    """a, b: the gateways. sim: their site."""

    def __init__(self, a: Gateway, b: Gateway, sim: Simulator, rows: Callable[[], list[Json]]) -> None:
        self.a, self.b, self.sim, self.rows = a, b, sim, rows

    async def program(self, *turns: Json, **site: object) -> None:
        body = {"turns": list(turns), "site": site}
        assert (await wire.exchange(self.sim.url, request_bytes("/__sim/program", body))).status == 200

    async def key(self, name: str, **terms: object) -> str:
        """Made by the first, known to the second."""
        key, _ = await process.key(self.a.url, self.a.data_dir, name, **terms)

        async def known() -> bool:
            return name in {one["name"] for one in (await self.b.manage("GET", "/keys"))["keys"]}

        await until_async(known, SOON)
        return key


async def _ask(gateway: Gateway, body: Json | None = None, key: str = KEY) -> Answer:
    return await wire.exchange(gateway.url, request_bytes(PATH, body or ask(), key=key))


async def _ids(gateway: Gateway) -> list[str]:
    return [account["id"] for account in (await gateway.manage("GET", "/accounts"))["accounts"]]


async def _account(gateway: Gateway) -> Json:
    """The only one; without any, an empty object."""
    accounts: list[Json] = (await gateway.manage("GET", "/accounts"))["accounts"]
    return accounts[0] if accounts else {}


@pytest.fixture(scope="module")
async def running_pair(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, redis_url: str
) -> AsyncIterator[Pair]:
    directory = tmp_path_factory.mktemp("cluster")
    settings: Json = {
        "redis_url": redis_url,
        "secret_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "api_keys": KEY,
    }
    async with Simulator() as sim:
        sim.site.controlled = True
        with ExitStack() as stack:
            url = stack.enter_context(postgres.fresh_database())
            a, b = (
                stack.enter_context(process.serve(directory / name, site_url=sim.url, database_url=url, **settings))
                for name in ("a", "b")
            )
            yield Pair(a, b, sim, lambda: postgres_rows(postgres, url))


@pytest.fixture
async def pair(running_pair: Pair) -> Pair:
    """With one account that both know, and a site as if nobody had used it."""
    await wire.exchange(running_pair.sim.url, request_bytes("/__sim/reset", method="POST"))
    if not await _account(running_pair.a):
        jar = running_pair.sim.cookies(secrets.token_hex(4))
        await running_pair.a.manage("POST", "/accounts", {"session": jar, "name": "ours"}, 201)

    async def known() -> bool:
        return await _ids(running_pair.a) == await _ids(running_pair.b)

    await until_async(known, SOON)
    return running_pair


async def agree(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits for the other gateway to know, and says how long that took (`pytest -s`)."""
    begun = time.monotonic()
    await until_async(condition, SOON)
    print(f"agreed after {time.monotonic() - begun:.3f} s")


# -- keys


async def test_a_new_key_is_known_to_the_other(pair: Pair) -> None:
    key, _ = await process.key(pair.a.url, pair.a.data_dir, "new")

    async def let_in() -> bool:
        return (await _ask(pair.b, key=key)).status == 200

    await agree(let_in)


async def test_a_key_that_is_disabled_at_one_is_refused_by_the_other(pair: Pair) -> None:
    key = await pair.key("soon disabled")
    assert (await _ask(pair.b, key=key)).status == 200
    await pair.a.manage("PATCH", "/keys/soon%20disabled", {"enabled": False})
    assert (await _ask(pair.a, key=key)).error()["code"] == "key_disabled", "where it was done it holds at once"

    async def refused() -> bool:
        answer = await _ask(pair.b, key=key)
        return answer.status == 401 and answer.error()["code"] == "key_disabled"

    await agree(refused)


async def test_a_key_that_was_rotated_at_one_is_another_at_the_other(pair: Pair) -> None:
    old = await pair.key("rotated")
    new = str((await pair.a.manage("POST", "/keys/rotated/rotate"))["text"])

    async def changed() -> bool:
        return (await _ask(pair.b, key=new)).status == 200

    await agree(changed)
    assert (await _ask(pair.b, key=old)).status in (401, 429)


# -- limits


async def test_requests_per_minute_are_counted_together(pair: Pair) -> None:
    key = await pair.key("per minute", requests_per_minute=50)
    answers = await asyncio.gather(*(_ask(one, key=key) for one in (pair.a, pair.b) for _ in range(30)))
    assert Counter(answer.status for answer in answers) == {200: 50, 429: 10}
    left = sorted(int(answer.headers["x-ratelimit-remaining-requests"]) for answer in answers if answer.status == 200)
    assert left == [*range(50)]


async def test_requests_at_the_same_time_are_counted_together(pair: Pair) -> None:
    key = await pair.key("at once", concurrency=5)
    await pair.program(HELD)
    async with asyncio.timeout(20):
        readers = []
        async with asyncio.TaskGroup():
            for one in (pair.a, pair.b) * 5:
                parts = one.url.removeprefix("http://").split(":")
                reader, writer = await asyncio.open_connection(parts[0], int(parts[1]))
                writer.write(request_bytes(PATH, ask(stream=True), key=key))
                readers.append((reader, writer))
        heads = await asyncio.gather(*(wire.read_head(reader) for reader, _ in readers))
        assert Counter(status for status, _ in heads) == {200: 5, 429: 5}
        for _, writer in readers:
            writer.transport.abort()
    pair.sim.site.queue.clear()

    async def let_in() -> bool:
        return (await _ask(pair.b, key=key)).status == 200

    await until_async(let_in)


async def test_tokens_per_day_are_counted_together(pair: Pair) -> None:
    key = await pair.key("tokens", tokens_per_day=1_000_000)
    await pair.program({"text": "a", "usage": {"input": 400_000, "output": 1, "reasoning": 0}, "sticky": True})
    assert [(await _ask(one, key=key)).status for one in (pair.a, pair.b)] == [200, 200]

    async def spent() -> bool:
        return bool((await pair.a.manage("GET", "/keys/tokens"))["tokens_today"] == 800_002)

    await until_async(spent)
    assert (await _ask(pair.b, key=key)).status == 200
    for one in (pair.b, pair.a):

        async def refused(one: Gateway = one) -> bool:
            return (await _ask(one, key=key)).status == 429

        await until_async(refused)


async def test_usage_of_both_is_in_one_place(pair: Pair) -> None:
    before = len(pair.rows())
    answers = await asyncio.gather(*(_ask(one) for one in (pair.a, pair.b) * 20))
    ids = {answer.headers["x-request-id"] for answer in answers}

    async def written() -> bool:
        return ids <= {row["id"] for row in pair.rows()}

    await until_async(written)
    assert len(ids) == 40
    assert len(pair.rows()) >= before + 40


# -- accounts


@pytest.mark.parametrize(
    ("fault", "status", "code", "what"),
    [("challenge", 503, "upstream_challenge", ""), ("rate_limit", 429, "upstream_rate_limited", MODEL)],
)
async def test_an_account_that_rests_at_one_is_not_asked_by_the_other(
    pair: Pair, fault: str, status: int, code: str, what: str
) -> None:
    await pair.program({"error": fault})
    assert (await _ask(pair.a)).error()["code"] == code

    async def resting() -> bool:
        return [rest["what"] for rest in (await _account(pair.b))["rests"]] == [what]

    await agree(resting)
    asked = len(pair.sim.site.seen)
    answer = await _ask(pair.b)
    assert (answer.status, answer.error()["code"]) == (status, code)
    assert int(answer.headers["retry-after"]) > 60
    other = await _ask(pair.b, ask() | {"model": OTHER})
    assert other.status == (503 if not what else 200)
    assert len(pair.sim.site.seen) == asked + (1 if what else 0), "the site is not asked what it has just refused"
    # A person has solved the check in the browser, and says so to the other one.
    await pair.b.manage("POST", "/accounts/ours/resume")

    async def awake() -> bool:
        return not (await _account(pair.a))["rests"]

    await agree(awake)
    assert [(await _ask(one)).status for one in (pair.b, pair.a)] == [200, 200]


async def test_an_account_that_is_paused_at_one_is_paused_at_the_other(pair: Pair) -> None:
    for giver, taker in ((pair.a, pair.b), (pair.b, pair.a)):
        await giver.manage("POST", "/accounts/ours/pause")

        async def paused(taker: Gateway = taker) -> bool:
            return bool((await _account(taker))["paused"])

        await agree(paused)
        assert (await _ask(taker)).error()["code"] == "account_paused"
        await giver.manage("POST", "/accounts/ours/resume")

        async def served(taker: Gateway = taker) -> bool:
            return (await _ask(taker)).status == 200

        await agree(served)


async def test_an_account_that_is_removed_at_one_is_gone_at_the_other(pair: Pair) -> None:
    await pair.b.manage("DELETE", "/accounts/ours")

    async def gone() -> bool:
        return not await _account(pair.a)

    await agree(gone)
    asked = len(pair.sim.site.seen)
    assert (await _ask(pair.a)).error()["code"] == "no_account"
    assert len(pair.sim.site.seen) == asked


async def test_a_hundred_requests_at_both_renew_a_token_once(pair: Pair) -> None:
    user = "expiring"
    await pair.a.manage("DELETE", "/accounts/ours")
    await pair.program(access_token_seconds=60)  # so that it is at its end as soon as it is there
    jar = pair.sim.cookies(user).split("; ", 1)[1]
    token = pair.sim.access_token(user, expires_in=60)
    await pair.a.manage("POST", "/accounts", {"session": f"token={token}; {jar}", "name": "ours"}, 201)
    (name,) = await _ids(pair.a)

    async def known() -> bool:
        return await _ids(pair.b) == [name]

    await until_async(known, SOON)
    before = pair.sim.site.refreshes
    await pair.program(access_token_seconds=900, refresh_delay_ms=300)
    answers = await asyncio.gather(*(_ask(one, ask(stream=n % 2 == 0)) for n in range(50) for one in (pair.a, pair.b)))
    assert Counter(answer.status for answer in answers) == {200: 100}
    assert pair.sim.site.refreshes - before == 1
    headers = [seen.raw["headers"] for seen in pair.sim.site.seen[-100:]]
    assert len({one["Authorization"] for one in headers if isinstance(one, dict)}) == 1
