"""What keys may use: limits that hold however many ask at once, and what is told of them as OpenAI tells it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from openai import AuthenticationError, PermissionDeniedError, RateLimitError

from . import process, wire
from .process import postgres_rows, usage_rows
from .rig import KEY, PATIENT, Rig, running, until, until_async
from .wire import MODEL, Answer, Json, ask, request_bytes

if TYPE_CHECKING:
    from tests.services import Postgres

PATH = "/v1/chat/completions"
OTHER = "qwen3.6-plus"
LIMIT, CALLERS = 50, 200
HELD: Json = {"text": "word " * 2000, "delay_ms": 30, "sticky": True}
"""An answer that goes on for as long as its client stays."""


class Desk:
    """A rig, and the person who gives out its keys. postgres, url: of its database, if that is not SQLite."""

    def __init__(self, rig: Rig, data_dir: Path, postgres: "Postgres | None" = None, url: str = "") -> None:
        self.rig, self._data_dir, self._postgres, self._url = rig, data_dir, postgres, url

    def rows(self) -> list[Json]:
        """All usage."""
        if self._postgres is None:
            return usage_rows(self._data_dir / "gateway.db")
        return postgres_rows(self._postgres, self._url)

    async def key(self, name: str, **terms: object) -> str:
        return (await process.key(self.rig.url, self._data_dir, name, **terms))[0]

    async def manage(self, method: str, path: str, body: Json | None = None) -> Json:
        return await process.manage(self.rig.url, self._data_dir, method, path, body)

    async def used(self, name: str) -> int:
        """Tokens that this key has used today."""
        return int((await self.manage("GET", f"/keys/{name}"))["tokens_today"])


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("", id="memory and SQLite"),
        pytest.param("postgres", id="Redis and PostgreSQL", marks=pytest.mark.needs("postgresql", "redis")),
    ],
)
async def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """By where counts and budgets are kept."""
    directory = tmp_path_factory.mktemp("limits")
    async with AsyncExitStack() as stack:
        stores: Json = {}
        postgres: Postgres | None = None
        if request.param:
            postgres = request.getfixturevalue("postgres")
            assert postgres is not None
            stores["database_url"] = stack.enter_context(postgres.fresh_database())
            stores["redis_url"] = request.getfixturevalue("redis_url")
        rig = await stack.enter_async_context(running(directory, **PATIENT, **stores))
        yield Desk(rig, directory / "data", postgres, stores.get("database_url", ""))


@pytest.fixture
async def desk(kept: Desk) -> Desk:
    """With a site as if nobody had used it."""
    await kept.rig.settle()
    await kept.rig.http.post(f"{kept.rig.sim.url}/__sim/reset")
    return kept


# -- nobody gets more than the limit, however many ask at once


async def test_of_two_hundred_at_once_as_many_pass_as_may_per_minute(desk: Desk) -> None:
    key = await desk.key("per minute", requests_per_minute=LIMIT)
    answers = await asyncio.gather(*(desk.rig.post(ask(stream=n % 2 == 0), key=key) for n in range(CALLERS)))
    assert Counter(answer.status for answer in answers) == {200: LIMIT, 429: CALLERS - LIMIT}
    assert len(desk.rig.sim.site.seen) == LIMIT, "the site is asked for those who pass, and for nobody else"
    passed = sorted(int(one.headers["x-ratelimit-remaining-requests"]) for one in answers if one.status == 200)
    assert passed == [*range(LIMIT)], "each of them was told another place"
    for answer in answers:
        assert answer.headers["x-ratelimit-limit-requests"] == str(LIMIT)
        if answer.status == 429:
            _is_refusal(answer, "rate_limit_exceeded", again=True)
            assert answer.headers["x-ratelimit-remaining-requests"] == "0"
            assert 50 <= int(answer.headers["retry-after"]) <= 60
            assert answer.headers["x-ratelimit-reset-requests"].removeprefix("1m").endswith("s")


async def test_of_two_hundred_at_once_as_many_pass_as_may_at_the_same_time(desk: Desk) -> None:
    key = await desk.key("at once", concurrency=LIMIT)
    await desk.rig.program(HELD)
    async with Crowd(desk.rig, key) as crowd:
        refused = await crowd.settle()
        assert crowd.asked == LIMIT
        for answer in refused:
            _is_refusal(answer, "rate_limit_exceeded", again=True)
            assert answer.headers["retry-after"] == "1"
    desk.rig.sim.site.queue.clear()
    again = await asyncio.gather(*(_until_let_in(desk.rig, key) for _ in range(LIMIT)))
    assert {answer.status for answer in again} == {200}, "those that left have given their seats back"


async def test_of_two_hundred_at_once_no_more_pass_than_the_days_tokens_suffice_for(desk: Desk) -> None:
    probe = await desk.key("tokens, probe", tokens_per_day=1_000_000)
    headers = (await desk.rig.post(ask(), key=probe)).headers
    each = 1_000_000 - int(headers["x-ratelimit-remaining-tokens"])
    key = await desk.key("tokens", tokens_per_day=each * LIMIT + each - 1)
    await desk.rig.program(HELD)
    async with Crowd(desk.rig, key) as crowd:
        refused = await crowd.settle()
        assert await desk.used("tokens") == each * LIMIT
        for answer in refused:
            _is_refusal(answer, "insufficient_quota", again=False)
            assert int(answer.headers["x-ratelimit-remaining-tokens"]) < each
            assert 1 <= int(answer.headers["retry-after"]) <= 86_400

    key_id = (await desk.manage("GET", "/keys/tokens"))["id"]

    async def settled() -> bool:
        rows = [row for row in desk.rows() if row["key"] == key_id]
        counted = sum(row["input"] + row["output"] for row in rows)
        return len(rows) == CALLERS and await desk.used("tokens") == counted

    await until_async(settled)  # those that left count for what they had had
    assert await desk.used("tokens") < each * LIMIT, "what was set aside for them is free again"
    desk.rig.sim.site.queue.clear()
    assert (await desk.rig.post(ask(), key=key)).status == 200


class Crowd:
    """Two hundred clients with one key, who all stay until everybody knows whether they were let in."""

    def __init__(self, rig: Rig, key: str) -> None:
        self._rig, self._request = rig, request_bytes(PATH, ask(stream=True), key=key)
        self._stack, self._before = AsyncExitStack(), len(rig.sim.site.seen)

    async def __aenter__(self) -> Self:
        return self

    async def settle(self) -> list[Answer]:
        """The answers of those who were refused, after as many as may have been let in."""
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*(self._come() for _ in range(CALLERS)))
        refused = [answer for answer in answers if answer is not None]
        assert len(refused) == CALLERS - LIMIT
        await until(lambda: self.asked == LIMIT)
        return refused

    @property
    def asked(self) -> int:
        """How often the site was asked."""
        return len(self._rig.sim.site.seen) - self._before

    async def _come(self) -> Answer | None:
        reader, writer = await self._stack.enter_async_context(wire.connection(self._rig.url))
        writer.write(self._request)
        status, headers = await wire.read_head(reader)
        if status == 200:
            return None
        return Answer(status, headers, await reader.readexactly(int(headers["content-length"])), whole=True)

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


async def _until_let_in(rig: Rig, key: str) -> Answer:
    async with asyncio.timeout(10):
        while (answer := await rig.post(ask(), key=key)).status == 429:
            await asyncio.sleep(0.05)
    return answer


def _is_refusal(answer: Answer, code: str, *, again: bool) -> None:
    error = answer.error()
    assert (answer.status, error["type"], error["code"]) == (429, "rate_limit_error", code)
    assert (answer.headers["x-gateway-fault"], answer.headers["x-should-retry"]) == ("client", str(again).lower())


# -- what clients are told


async def test_the_headers_count_down(desk: Desk) -> None:
    key = await desk.key("counting", requests_per_minute=LIMIT, tokens_per_day=100_000)
    left = []
    for _ in range(3):
        headers = (await desk.rig.post(ask(), key=key)).headers
        assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-limit-tokens"]) == (str(LIMIT), "100000")
        assert headers["x-ratelimit-reset-tokens"].endswith("s")
        left.append((int(headers["x-ratelimit-remaining-requests"]), int(headers["x-ratelimit-remaining-tokens"])))
    assert [requests for requests, _ in left] == [LIMIT - 1, LIMIT - 2, LIMIT - 3]
    assert left[0][1] > left[1][1] > left[2][1]


async def test_budgets_are_settled_to_what_the_site_has_counted(desk: Desk) -> None:
    key = await desk.key("settled", tokens_per_day=100_000)
    await desk.rig.program({"text": "a b c", "usage": {"input": 300, "output": 21, "reasoning": 0}, "sticky": True})
    answers = await asyncio.gather(*(desk.rig.post(ask(stream=n % 2 == 0), key=key) for n in range(10)))
    assert {answer.status for answer in answers} == {200}

    async def settled() -> bool:
        return await desk.used("settled") == 10 * 321

    await until_async(settled)


async def test_the_sdk_raises_what_it_raises_at_openais(desk: Desk) -> None:
    key = await desk.key("sdk", requests_per_minute=1)
    asked: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
    for stream in (False, True):
        client = desk.rig.client(key)
        with pytest.raises(RateLimitError) as caught:  # noqa: PT012 - the first one passes
            await client.chat.completions.create(**asked)
            await client.chat.completions.create(**asked, stream=stream)
        assert caught.value.code == "rate_limit_exceeded"
        assert int(caught.value.response.headers["retry-after"]) <= 60
    client = desk.rig.client(await desk.key("sdk, tokens", tokens_per_day=10))
    with pytest.raises(RateLimitError) as caught:
        await client.chat.completions.create(**asked)
    assert caught.value.code == "insufficient_quota"
    client = desk.rig.client(await desk.key("sdk, model", models=[OTHER]))
    with pytest.raises(PermissionDeniedError):
        await client.chat.completions.create(**asked)
    with pytest.raises(AuthenticationError):
        await desk.rig.client("sk-qg-wrong").chat.completions.create(**asked)


async def test_what_the_budget_holds_is_what_the_rows_say(desk: Desk) -> None:
    """Also of answers that break off and of clients that leave."""
    rig = desk.rig
    key = await desk.key("both", tokens_per_day=1_000_000)
    key_id = (await desk.manage("GET", "/keys/both"))["id"]
    broken: Json = {"match": "breaks", "text": "a b c d", "error": "eof", "after_chunks": 3, "sticky": True}
    await rig.program(broken, HELD | {"match": "leaves"})
    await asyncio.gather(*(rig.post(ask(text, stream=True), key=key) for text in ("whole", "breaks", "whole")))
    async with wire.connection(rig.url) as (reader, writer):
        writer.write(request_bytes(PATH, ask("leaves", stream=True), key=key))
        await wire.read_head(reader)
    await rig.post(ask() | {"model": "qwen3.7-plus-"}, key=key)
    await rig.settle()
    found: list[Json] = []

    def written() -> bool:
        found[:] = [row for row in desk.rows() if row["key"] == key_id]
        return len(found) == 5

    await until(written)
    spent: int = sum(row["input"] + row["output"] for row in found)

    async def settled() -> bool:
        return await desk.used("both") == spent

    await until_async(settled)


# -- who may do what


PLACES = ("Authorization", "x_api_key", "x_goog_api_key")


async def _from_all_places(rig: Rig, key: str, body: Json | None = None, path: str = "") -> tuple[int, str]:
    """Status and code; the same wherever the key stands."""
    found = set()
    for place in PLACES:
        headers = {place: f"Bearer {key}" if place == "Authorization" else key}
        if path:
            answer = await rig.get(path, key=None, **headers)
        else:
            answer = await rig.post(body or ask(), key=None, **headers)
        found.add((answer.status, answer.error()["code"] if answer.status != 200 else ""))
    (verdict,) = found
    return verdict


ALIASED: Json = {**PATIENT, "aliases": {"gpt-4o": [MODEL], "cheap": [OTHER]}}


@pytest.fixture(scope="module")
async def named(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """With names of its own for models."""
    directory = tmp_path_factory.mktemp("named")
    async with running(directory, **ALIASED) as rig:
        await until_async(lambda: _listed(rig))
        yield Desk(rig, directory / "data")


async def _listed(rig: Rig) -> bool:
    rows = (await rig.get("/v1/models")).json()["data"]
    return not any(row.get("stale") for row in rows)


async def test_no_spelling_of_a_model_gets_around_a_key(named: Desk) -> None:
    key = await named.key("one model", models=[OTHER])
    tricks = [MODEL, MODEL.upper(), f"{MODEL}-thinking", f"{MODEL}-search", f"{MODEL}-Thinking-Search", "gpt-4o"]
    tricks += ["GPT-4o", "gpt-4o-thinking", "qwen3.7-max", f"{OTHER},{MODEL}", f"{OTHER}/{MODEL}", f"models/{MODEL}"]
    tricks += [f" {MODEL}", f"{MODEL} ", f"{OTHER}\n{MODEL}"]
    asked = len(named.rig.sim.site.seen)
    for name in tricks:
        status, code = await _from_all_places(named.rig, key, ask() | {"model": name})
        assert (status, code) in {(403, "model_not_allowed"), (404, "model_not_found")}, name
    assert len(named.rig.sim.site.seen) == asked
    for name in (OTHER, f"{OTHER}-search", "cheap", "cheap-search"):
        assert await _from_all_places(named.rig, key, ask() | {"model": name}) == (200, ""), name
    assert {seen.model for seen in named.rig.sim.site.seen[asked:]} == {OTHER}
    listed = {row.get("root", row["id"]) for row in (await named.rig.get("/v1/models", key=key)).json()["data"]}
    assert listed == {OTHER}
    assert await _from_all_places(named.rig, key, path=f"/v1/models/{MODEL}") == (403, "model_not_allowed")
    assert await _from_all_places(named.rig, key, path=f"/v1/models/{OTHER}") == (200, "")


async def test_a_pattern_of_models_means_the_sites_own_names(named: Desk) -> None:
    key = await named.key("pattern", models=["qwen3.6*"])
    assert await _from_all_places(named.rig, key, ask() | {"model": "cheap"}) == (200, "")
    assert await _from_all_places(named.rig, key, ask() | {"model": "gpt-4o"}) == (403, "model_not_allowed")


async def test_a_key_can_be_kept_from_endpoints(named: Desk) -> None:
    lists = await named.key("lists only", endpoints=["models"])
    asks = await named.key("asks only", endpoints=["openai_chat"])
    assert await _from_all_places(named.rig, lists) == (403, "endpoint_not_allowed")
    assert await _from_all_places(named.rig, lists, path="/v1/models") == (200, "")
    assert await _from_all_places(named.rig, asks) == (200, "")
    assert await _from_all_places(named.rig, asks, path="/v1/models") == (403, "endpoint_not_allowed")


async def test_a_key_that_is_over_or_disabled_is_told_so_wherever_it_stands(named: Desk) -> None:
    key = await named.key("disabled", requests_per_minute=1000)
    over = await named.key("over", expires_at=time.time() + 0.2)
    await named.manage("PATCH", "/keys/disabled", {"enabled": False})
    assert await _from_all_places(named.rig, key) == (401, "key_disabled")
    assert await _from_all_places(named.rig, key, path="/v1/models") == (401, "key_disabled")
    await named.manage("PATCH", "/keys/disabled", {"enabled": True})
    assert await _from_all_places(named.rig, key) == (200, "")

    async def ended() -> bool:
        return (await named.rig.get("/v1/models", key=over)).status != 200

    await until_async(ended)
    assert await _from_all_places(named.rig, over) == (401, "key_expired")
    assert await _from_all_places(named.rig, over, path="/v1/models") == (401, "key_expired")


async def test_a_changed_limit_holds_from_the_next_request_on(named: Desk) -> None:
    key = await named.key("changed", requests_per_minute=2)
    assert [(await named.rig.post(ask(), key=key)).status for _ in range(3)] == [200, 200, 429]
    await named.manage("PATCH", "/keys/changed", {"requests_per_minute": 3})
    assert [(await named.rig.post(ask(), key=key)).status for _ in range(2)] == [200, 429]
    await named.manage("PATCH", "/keys/changed", {"requests_per_minute": None})
    answer = await named.rig.post(ask(), key=key)
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


async def test_keys_of_the_settings_have_no_limits(named: Desk) -> None:
    answers = await asyncio.gather(*(named.rig.post(ask(), key=KEY) for _ in range(CALLERS)))
    assert {answer.status for answer in answers} == {200}
    assert not [name for name in answers[0].headers if name.startswith("x-ratelimit")]


async def test_the_old_variable_for_keys_still_works(tmp_path: Path) -> None:
    settings: Json = {"site_url": "http://127.0.0.1:9"}
    with process.serve(tmp_path, legacy={"VALID_TOKENS": '["old-one", "old-two"]'}, **settings) as gateway:
        for key, status in (("old-one", 200), ("old-two", 200), ("other", 401), (None, 401)):
            answer = await wire.exchange(gateway.url, request_bytes("/v1/models", key=key))
            assert answer.status == status, key
            assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
