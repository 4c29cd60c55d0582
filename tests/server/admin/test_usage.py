"""Usage over HTTP."""

import msgspec
import pytest
from tests.relay.fakes import NOON

from qwen_gateway.relay.ports import UsageRow, UsageSum
from qwen_gateway.server.admin.mistakes import Shown
from qwen_gateway.server.admin.usage import DAYS, MOST_DAYS, Row, Sum

from .bench import Bench

DAY = 86_400.0
ROW = UsageRow(
    id="req_1",
    at=NOON,
    key="abc",
    account="def",
    model="q",
    asked_model="<b>gpt</b>",
    endpoint="openai_chat",
    stream=True,
    status=200,
    end="finished",
    code="",
    tries=1,
    input=10,
    output=2,
    reasoning=1,
    cached=0,
    estimated=False,
    first_event=0.5,
    duration=1.5,
    queued=0.0,
    added=0.01,
)


async def test_without_a_time_the_last_thirty_days_are_summed_by_day(bench: Bench) -> None:
    bench.clock.now = NOON + 100 * DAY
    told = (await bench.call("GET", "usage")).json()
    ((by, since, until),) = bench.ledger.asked
    assert (by, told["by"]) == ("day", "day")
    assert (told["since"], told["until"]) == (since, until)
    assert isinstance(since, float)
    assert isinstance(until, float)
    assert until - since == DAYS * DAY
    assert until > bench.clock.now
    (day,) = told["usage"]
    assert (day["name"], day["requests"], day["failed"], day["input"], day["mean_first_event"]) == (
        "2026-11-21",
        3,
        1,
        100,
        0.25,
    )


@pytest.mark.parametrize(
    ("query", "since", "until"),
    [
        ("since=2026-11-01&until=2026-11-21", 1_793_491_200.0, 1_795_219_200.0),
        ("since=2026-11-01T12:00:00&until=2026-11-01T13:00Z", 1_793_534_400.0, 1_793_538_000.0),
        ("since=2026-11-01T12:00:00%2B02:00&until=1793538000", 1_793_527_200.0, 1_793_538_000.0),
        ("since=1793534400.5&until=1793538000", 1_793_534_400.5, 1_793_538_000.0),
    ],
)
async def test_times_are_dates_or_seconds(bench: Bench, query: str, since: float, until: float) -> None:
    assert (await bench.call("GET", f"usage?by=model&{query}")).status_code == 200
    assert bench.ledger.asked == [("model", since, until)]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("since=yesterday", "since"),
        ("until=2026-13-01", "until"),
        ("since=-5", "since"),
        ("since=nan", "since"),
        ("until=inf", "until"),
        ("until=1e99", "until"),
        (f"since={'9' * 100}", "since"),
        ("since=2026-11-02&until=2026-11-01", "since"),
        (f"since=0&until={(MOST_DAYS + 1) * DAY}", "since"),
        ("by=secret", "by"),
        ("by=day;drop table", "by"),
    ],
)
async def test_other_times_and_sums_are_refused(bench: Bench, query: str, param: str) -> None:
    reply = await bench.call("GET", f"usage?{query}")
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert bench.ledger.asked == []


async def test_single_requests_are_bounded_in_number(bench: Bench) -> None:
    bench.ledger.single = [ROW] * 200
    reply = await bench.call("GET", "usage/rows")
    assert len(reply.json()["rows"]) == 100
    assert reply.json()["rows"][0] == msgspec.to_builtins(ROW)
    assert len((await bench.call("GET", "usage/rows?limit=7")).json()["rows"]) == 7
    for limit in ("0", "1001", "-1", "all", "1e3"):
        reply = await bench.call("GET", f"usage/rows?limit={limit}")
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "limit")


@pytest.mark.parametrize(("view", "model"), [(UsageSum, Sum), (UsageRow, Row)])
def test_answers_have_every_field_of_the_rows(view: type[msgspec.Struct], model: type[Shown]) -> None:
    assert list(model.model_fields) == list(view.__struct_fields__)
