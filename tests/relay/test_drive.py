"""Running a flow: each call is sent, each reply's cookies are kept, and faults come out from wherever they arise."""

import pytest

from qwen_gateway.relay.drive import drive
from qwen_gateway.turn.faults import Challenged, Unreachable
from qwen_gateway.turn.flow import Flow, HttpCall

from .fakes import Clock, Net, Site, account


def two_calls(seen: list[str]) -> Flow[str]:
    """The second call's address is made from the first one's reply."""
    for name in ("one", "two"):
        reply = yield HttpCall("GET", f"https://site.test/{name}/{len(seen)}", {})
        seen.append(f"{reply.status}")
    return "+".join(seen)


async def test_a_flow_is_run_to_its_result() -> None:
    net = Net()
    assert await drive(two_calls([]), net, account(Clock()), 3) == "200+200"
    assert net.log == ["one 0", "two 1"]
    assert net.seconds == {"one": 3, "two": 3}


async def test_cookies_are_kept_before_the_flow_goes_on() -> None:
    net, here = Net(), account(Clock())
    net.cookies = ("seen=1; Path=/", "also=2")

    def flow() -> Flow[str]:
        yield HttpCall("GET", "https://site.test/one/x", {})
        return here.session.cookie_header

    header = await drive(flow(), net, here, 3)
    assert header.endswith("seen=1; also=2")


async def test_cookies_of_a_reply_that_the_flow_refuses_are_kept_too() -> None:
    net, here, site = Net(), account(Clock()), Site()
    net.cookies = ("wall=1",)
    site.says["models"].append(Challenged("A wall."))
    with pytest.raises(Challenged):
        await drive(site.models(here.session, Clock().ambient().moment()), net, here, 3)
    assert "wall=1" in here.session.cookie_header


async def test_a_fault_of_the_transport_ends_the_flow() -> None:
    net = Net()
    net.breaks["two"].append(Unreachable("refused"))
    with pytest.raises(Unreachable):
        await drive(two_calls([]), net, account(Clock()), 3)
