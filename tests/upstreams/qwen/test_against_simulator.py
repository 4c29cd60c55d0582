"""Checking and changing accounts over real sockets, at a site where each fares differently."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

import pytest
from msgspec import Struct, convert

from qwen_gateway.net.transport import HttpTransport
from qwen_gateway.simulator import Simulator
from qwen_gateway.simulator.turns import Turn
from qwen_gateway.turn.contracts import Moment, User
from qwen_gateway.turn.events import (
    Began,
    Event,
    Failed,
    Finished,
    NativeCall,
    NativeResult,
    Reasoning,
    SiteTool,
    Sources,
    Text,
    Usage,
)
from qwen_gateway.turn.faults import (
    Blocked,
    Challenged,
    ChatBusy,
    ChatLost,
    Drift,
    Fault,
    LoginExpired,
    SiteError,
    Unreachable,
)
from qwen_gateway.turn.flow import Flow
from qwen_gateway.turn.places import Place, StoredMessage
from qwen_gateway.turn.prompt import Prompt
from qwen_gateway.turn.request import Thinking
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

    async def ask(self, who: Who, place: Place, text: str, *, aided: bool = False) -> list[Event]:
        """The events of an answer, `aided` by thinking and search; a refusal in place of one is `Failed` too."""
        question = self.site.question(Prompt(text, "qwen3.7-plus", Thinking("on" if aided else "off"), aided))
        reply = await self.transport.send(self.site.ask(who, AT, place, question), 5)
        if not self.site.is_stream(reply.status, reply.headers):
            fault = self.site.refusal(reply.status, reply.headers, reply.body)
            assert fault is not None
            return [Failed(fault)]
        decoder = self.site.decoder(place.chat_id)
        return decoder.feed(reply.body) + decoder.close()

    async def chat(self, who: Who) -> str:
        return await self.run(self.site.open_chat(who, AT, Prompt("", "qwen3.7-plus", Thinking("off"), False), "t"))

    def program(self, turn: object) -> None:
        self.sim.site.queue.append(convert(turn, Turn))

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


def told(events: list[Event]) -> tuple[str, str]:
    """The id of the answer and its text; it must have ended well."""
    began = events[0]
    assert isinstance(began, Began)
    assert events[-1] == Finished()
    return began.answer_id, "".join(event.text for event in events if isinstance(event, Text))


def fault_of(events: list[Event]) -> type[Fault]:
    assert isinstance(events[-1], Failed)
    return type(events[-1].fault)


async def test_a_conversation_goes_on_in_its_chat_and_is_read_back(bench: Bench) -> None:
    anna = bench.who("anna")
    chat = await bench.chat(anna)
    first, said = told(await bench.ask(anna, Place(chat), "remember the word tulip"))
    second, recalled = told(await bench.ask(anna, Place(chat, first), "which word?"))
    assert "“tulip”: it stands in this chat, 2 messages above" in recalled
    sibling, _ = told(await bench.ask(anna, Place(chat, first), "say hello"))
    stored = await bench.run(bench.site.read_chat(anna, AT, chat))
    assert len(stored) == 6
    by_id = {name: (message.role, message.text, message.done) for name, message in stored.items()}
    assert by_id[first] == ("assistant", said, True)
    assert by_id[second] == ("assistant", recalled, True)
    assert by_id[sibling] == ("assistant", "hello", True)
    questions = [stored[stored[name].parent or ""] for name in (first, second, sibling)]
    assert [(question.parent, question.text) for question in questions] == [
        (None, "remember the word tulip"),
        (first, "which word?"),
        (first, "say hello"),
    ]


async def test_a_new_chat_is_read_as_empty_and_that_of_another_is_lost(bench: Bench) -> None:
    anna = bench.who("anna")
    chat = await bench.chat(anna)
    assert await bench.run(bench.site.read_chat(anna, AT, chat)) == {}
    with pytest.raises(ChatLost):
        await bench.run(bench.site.read_chat(bench.who("other"), AT, chat))


async def test_an_answer_with_thinking_and_search_is_read_as_its_text(bench: Bench) -> None:
    anna = bench.who("anna")
    chat = await bench.chat(anna)
    events = await bench.ask(anna, Place(chat), "search 搜 😀", aided=True)
    assert {Reasoning, Sources} <= {type(event) for event in events}
    answer, said = told(events)
    stored = await bench.run(bench.site.read_chat(anna, AT, chat))
    parent = stored[answer].parent
    assert stored[answer] == StoredMessage(answer, parent, "assistant", said, True)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ("chat_lost", ChatLost),
        ("chats_lost", ChatLost),
        ("parent_lost", ChatLost),
        ("chat_deleted", ChatLost),
        ("parent_unknown", ChatLost),
        ("in_progress", ChatBusy),
    ],
)
async def test_a_place_that_is_gone_or_busy_is_known_as_such(error: str, fault: type[Fault], bench: Bench) -> None:
    anna = bench.who("anna")
    chat = await bench.chat(anna)
    first, _ = told(await bench.ask(anna, Place(chat), "hello"))
    bench.sim.site.queue.append(Turn(error=error))
    assert fault_of(await bench.ask(anna, Place(chat, first), "on")) is fault
    if not error.endswith("lost"):
        bench.sim.site.queue.append(Turn(error=error, after_chunks=0))
        assert fault_of(await bench.ask(anna, Place(chat, first), "on")) is fault


async def test_a_deleted_chat_an_unknown_parent_and_a_running_answer_are_refused(bench: Bench) -> None:
    anna = bench.who("anna")
    chat = await bench.chat(anna)
    first, _ = told(await bench.ask(anna, Place(chat), "hello"))
    assert fault_of(await bench.ask(anna, Place(chat, "nowhere"), "on")) is ChatLost
    bench.sim.site.chats[chat].running = True
    assert fault_of(await bench.ask(anna, Place(chat, first), "on")) is ChatBusy
    bench.sim.site.chats[chat].running = False
    await bench.run(bench.site.discard(bench.who("anna"), AT, chat))
    assert fault_of(await bench.ask(anna, Place(chat, first), "on")) is ChatLost
    with pytest.raises(ChatLost):
        await bench.run(bench.site.read_chat(anna, AT, chat))


NATIVE = {"tool_calls": [{"name": "web_search", "arguments": {"q": "é 😀"}}, {"name": "Bash"}], "style": "native"}


async def test_calls_that_the_site_takes_for_its_own_are_the_clients(bench: Bench) -> None:
    who = bench.who("anna")
    bench.program(NATIVE | {"text": "I look.", "usage": {"input": 9000, "output": 40}})
    events = await bench.ask(who, Place(await bench.chat(who)), "hello")
    calls = [event for event in events if isinstance(event, NativeCall)]
    assert calls[0] == NativeCall("web_search", "")
    assert calls[-3:] == [NativeCall("Bash", "{"), *[NativeCall("Bash", "{}")] * 2]
    assert NativeCall("web_search", '{"q": "é 😀"}') in calls
    results = [event for event in events if isinstance(event, NativeResult)]
    assert [result.text for result in results] == ["Tool web_search does not exists.", "Tool Bash does not exists."]
    order = [type(event) for event in events if type(event) is not Text]
    assert order == [Began, *[NativeCall] * len(calls), NativeResult, NativeResult, Usage, Finished]
    assert "not available" in "".join(event.text for event in events if isinstance(event, Text))
    usage = next(event for event in events if isinstance(event, Usage))
    first = 1000 + len("hello") // 4
    assert usage == Usage(first + 9000, usage.output, context=9040)
    assert usage.output > 40


async def test_a_search_of_the_sites_beside_such_calls_stays_the_sites(bench: Bench) -> None:
    who = bench.who("anna")
    bench.program(NATIVE | {"search": {"queries": ["x"]}})
    events = await bench.ask(who, Place(await bench.chat(who)), "hello", aided=True)
    kinds = [type(event) for event in events if type(event) in (SiteTool, NativeCall)]
    assert kinds == sorted(kinds, key=lambda kind: kind is NativeCall)
    assert {event.name for event in events if isinstance(event, SiteTool)} == {"web_search"}
