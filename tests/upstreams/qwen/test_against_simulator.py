"""Checking and changing accounts over real sockets, at a site where each fares differently."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

import pytest
from msgspec import Struct

from qwen_gateway.net.transport import HttpTransport
from qwen_gateway.simulator import Simulator
from qwen_gateway.turn.contracts import Moment, User
from qwen_gateway.turn.faults import Blocked, Challenged, Drift, Fault, LoginExpired, SiteError, Unreachable
from qwen_gateway.turn.flow import Flow
from qwen_gateway.upstreams.qwen import QwenSite, SiteConfig

pytestmark = pytest.mark.anyio

Result = TypeVar("Result")
AT = Moment(1_790_356_348.9, "f83496b4-02c1-4655-90de-322baf7059fd")


class Who(Struct, frozen=True):
    cookie_header: str
    bearer: str | None
    user_agent: str | None = None


@dataclass
class Bench:
    sim: Simulator
    site: QwenSite
    transport: HttpTransport

    def who(self, user: str) -> Who:
        return Who(self.sim.cookies(user), self.sim.access_token(user))

    async def run(self, flow: Flow[Result]) -> Result:
        call = next(flow)
        while True:
            reply = await self.transport.send(call, 5)
            try:
                call = flow.send(reply)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return] # StopIteration carries the flow's Result

    def switch(self, **switches: object) -> None:
        self.sim.site.switches = self.sim.site.switches.changed(switches)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Simulator() as sim:
        transport = HttpTransport(connect_timeout=5, own_user_agent="tests")
        try:
            yield Bench(sim, QwenSite(SiteConfig(url=sim.url, auth_url=sim.url)), transport)
        finally:
            await transport.close()


STATES: dict[str, type[Fault] | None] = {
    "ok": None,
    "expired": LoginExpired,
    "challenged": None,  # the wall stands before writing: the session itself is good
    "walled": Challenged,
    "blocked": Blocked,
    "pending": Blocked,
    "rate_limited": None,
    "down": SiteError,
    "unreachable": Unreachable,
}


@pytest.mark.parametrize("state", STATES)
async def test_a_check_says_what_the_site_says(state: str, bench: Bench) -> None:
    bench.switch(accounts={"anna": {"state": state}})
    flow = bench.site.whoami(bench.who("anna"), AT)
    expected = STATES[state]
    if expected is None:
        assert await bench.run(flow) == User("anna", "anna", "anna@example.invalid")
    else:
        with pytest.raises(expected) as caught:
            await bench.run(flow)
        assert type(caught.value) is expected
    if state != "unreachable":  # there the HTTP client sends a GET once more by itself
        assert bench.sim.site.tallies["anna"].requests == 1


async def test_a_check_of_a_dead_session_or_none_is_an_expired_login(bench: Bench) -> None:
    for who in (Who("", None), Who("", bench.sim.access_token(expires_in=-1)), Who("token=of.bad.news", None)):
        with pytest.raises(LoginExpired):
            await bench.run(bench.site.whoami(who, AT))


async def test_a_check_goes_to_the_older_address_where_the_newer_is_gone(bench: Bench) -> None:
    bench.switch(whoami_fault="not_found")
    assert (await bench.run(bench.site.whoami(bench.who("anna"), AT))).id == "anna"
    assert bench.sim.site.whoamis == 2


async def test_a_check_with_too_old_a_version_says_so(bench: Bench) -> None:
    bench.switch(whoami_fault="invalid_header")
    with pytest.raises(Drift, match="QWEN_GATEWAY_SITE_VERSION"):
        await bench.run(bench.site.whoami(bench.who("anna"), AT))


async def test_settings_of_an_account_are_changed_and_those_of_others_not(bench: Bench) -> None:
    anna, other = bench.who("anna"), bench.who("other")
    before = await bench.run(bench.site.settings(anna, AT))
    after = await bench.run(bench.site.change_settings(anna, AT, {"memory": {"enable_memory": False}}))
    assert after == {**before, "memory": {**before["memory"], "enable_memory": False}}
    assert await bench.run(bench.site.settings(anna, AT)) == after
    assert await bench.run(bench.site.settings(other, AT)) == before


async def test_a_wall_before_a_change_leaves_the_settings(bench: Bench) -> None:
    anna = bench.who("anna")
    before = await bench.run(bench.site.settings(anna, AT))
    bench.switch(accounts={"anna": {"state": "challenged"}})
    with pytest.raises(Challenged):
        await bench.run(bench.site.change_settings(anna, AT, {"mcp_remind": True}))
    assert await bench.run(bench.site.settings(anna, AT)) == before
