"""Whole turns over fakes: what is tried again, what the client sees of it, and what is cleaned up after."""

import asyncio
from contextlib import aclosing

import pytest

from qwen_gateway.relay import machine
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.models import Models
from qwen_gateway.relay.ports import ChatRecord
from qwen_gateway.relay.run import Limits, Turns
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.turn.catalog import Catalog
from qwen_gateway.turn.events import Event, Failed, Finished, Reasoning, Text, Usage
from qwen_gateway.turn.faults import (
    Challenged,
    Drift,
    Fault,
    Incomplete,
    InvalidRequest,
    LoginExpired,
    ModelNotFound,
    RateLimited,
    StorageUnavailable,
    Unreachable,
)
from qwen_gateway.turn.request import Message, TextPart, Thinking, ThinkingMode, TurnRequest

from .fakes import CATALOG, NOON, SILENCE, Clock, Journal, Net, Reply, Site, account, chats, settle, until

LIMITS = Limits(call=9, first_event=5, first_event_thinking=7, idle=5, total=20)
GOOD = (b"began\n", b"text:Hello\n", b"usage:11,3\nend\n")
HI = (Message("user", (TextPart("Hi"),)),)


@pytest.fixture(autouse=True)
def _no_wait_between_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "RETRY_AFTER", 0.001)


class Bench:
    """Everything that turns share, faked, and one account."""

    def __init__(
        self, *replies: Reply | Fault, default_thinking: ThinkingMode = "auto", refreshable: bool = False
    ) -> None:
        self.clock, self.site = Clock(), Site()
        self.log: list[str] = []
        self.net, self.journal = Net(self.log), Journal(self.log)
        self.net.replies.extend(replies)
        self.chats = chats(self.site, self.net, self.journal, self.clock)
        ambient = self.clock.ambient()
        self.fetched = 0
        self.models = Models(self._fetch, CATALOG, {}, ambient, 600)
        self.turns = Turns(
            self.site,
            self.net,
            self.models,
            self.chats,
            ambient,
            limits=LIMITS,
            default_thinking=default_thinking,
        )
        self.account = account(self.clock, refreshable=refreshable)
        self.chats.take_up(self.account)
        self.record = TurnRecord("r", "/v1/chat/completions")

    async def _fetch(self) -> Catalog:
        self.fetched += 1
        return CATALOG

    async def turn(self, request: TurnRequest | None = None) -> list[list[Event]]:
        turn = await self.turns.begin(request or asks(), self.account, self.record)
        async with asyncio.timeout(10):
            return [events async for events in turn.events()]

    async def cleaned(self) -> list[str]:
        """What has been done, once what is due has been done."""
        self.chats.start()
        await self.chats.close(5)
        return self.log


def asks(
    model: str = "q-switch",
    *,
    text: str = "Hi",
    thinking: ThinkingMode | None = None,
    search: bool | None = None,
) -> TurnRequest:
    messages = (Message("user", (TextPart(text),)),)
    return TurnRequest(model=model, messages=messages, thinking=Thinking(thinking), search=search)


def said(chunks: list[list[Event]]) -> str:
    return "".join(event.text for events in chunks for event in events if isinstance(event, Text))


def fault_of(chunks: list[list[Event]]) -> Fault:
    """Of a turn that failed. That is told once, and last."""
    ends = [event for events in chunks for event in events if isinstance(event, Failed | Finished)]
    assert len(ends) == 1
    assert chunks[-1][-1] is ends[0]
    assert isinstance(ends[0], Failed)
    return ends[0].fault


async def test_a_turn_makes_a_chat_asks_in_it_and_deletes_it() -> None:
    bench = Bench(Reply(*GOOD))
    chunks = await bench.turn()
    assert (said(chunks), chunks[-1][-1]) == ("Hello", Finished())
    assert await bench.cleaned() == [
        "put API id-1 None",
        "new API id-1",
        "put API id-1 chat-1",
        "ask chat-1",
        "delete chat-1",
        "remove API id-1",
    ]


async def test_the_record_holds_what_the_log_line_needs() -> None:
    bench = Bench(Reply(*GOOD))
    await bench.turn()
    record = bench.record
    assert (record.model, record.account, record.tries) == ("q-switch", bench.account.key, 1)
    assert record.usage == Usage(11, 3)


async def test_usage_that_the_site_did_not_give_is_in_the_record_as_an_estimate() -> None:
    bench = Bench(Reply(b"began\ntext:Hello\nend\n"))
    await bench.turn()
    assert bench.record.usage is not None
    assert bench.record.usage.estimated
    assert bench.record.usage.output > 0


# --- trying again ---


def curable(name: str) -> Reply | Fault:
    """First replies after which another try is made. Replies belong to a loop, so each test makes its own."""
    if name == "no connection":
        return Unreachable("refused")
    if name == "nothing came":
        return Reply(b"began\n")
    return Reply(b"began\n", Incomplete("broke"))


@pytest.mark.parametrize("name", ["no connection", "nothing came", "broke before anything was shown"])
async def test_another_try_goes_to_a_new_chat(name: str) -> None:
    bench = Bench(curable(name), Reply(*GOOD))
    chunks = await bench.turn()
    assert (said(chunks), chunks[-1][-1]) == ("Hello", Finished())
    assert not any(isinstance(event, Failed) for events in chunks for event in events)
    assert sum(isinstance(event, Usage) for events in chunks for event in events) == 1, "of the try that is shown"
    assert [entry for entry in bench.log if entry.startswith("ask")] == ["ask chat-1", "ask chat-2"]
    assert bench.record.tries == 2
    log = await bench.cleaned()
    assert bench.journal.kept == {}
    assert {"delete chat-1", "delete chat-2"} <= set(log)


@pytest.mark.parametrize("shown", [b"text:Hel\n", b"think:Hm\n"], ids=["text", "reasoning"])
async def test_no_other_try_once_something_was_shown(shown: bytes) -> None:
    bench = Bench(Reply(b"began\n", shown, Incomplete("broke")), Reply(*GOOD))
    chunks = await bench.turn()
    assert isinstance(fault_of(chunks), Incomplete)
    assert any(isinstance(event, Text | Reasoning) for events in chunks for event in events)
    assert bench.net.count("ask") == 1


async def test_words_that_come_with_the_failure_are_shown_and_end_the_tries() -> None:
    bench = Bench(Reply(b"began\ntext:Hel", Incomplete("broke")), Reply(*GOOD))
    chunks = await bench.turn()
    assert said(chunks) == "Hel"
    assert isinstance(fault_of(chunks), Incomplete)
    assert bench.net.count("ask") == 1


async def test_the_second_failure_is_the_turns() -> None:
    bench = Bench(Unreachable("one"), Unreachable("two"), Reply(*GOOD))
    assert fault_of(await bench.turn()).text == "two"
    assert bench.record.tries == 2


async def test_a_chat_that_could_not_be_made_is_tried_once_more() -> None:
    bench = Bench(Reply(*GOOD))
    bench.net.breaks["new"].append(Unreachable("refused"))
    assert said(await bench.turn()) == "Hello"
    assert (bench.net.count("new"), bench.record.tries) == (2, 1)


@pytest.mark.parametrize("fault", [Drift("odd"), Challenged("a wall"), RateLimited("enough")], ids=lambda f: f.code)
async def test_a_fault_of_opening_that_nothing_cures_is_the_turns(fault: Fault) -> None:
    bench = Bench(Reply(*GOOD))
    bench.site.says["new"].append(fault)
    assert fault_of(await bench.turn()) is fault
    assert bench.net.count("ask") == 0


async def test_a_journal_that_is_full_makes_no_chat() -> None:
    bench = Bench(Reply(*GOOD))
    bench.journal.full = 0
    assert isinstance(fault_of(await bench.turn()), StorageUnavailable)
    assert bench.log == []


async def test_an_expired_session_is_renewed_once_and_the_turn_goes_on() -> None:
    bench = Bench(Reply(*GOOD), refreshable=True)
    bench.site.says["new"].append(LoginExpired("over"))
    assert said(await bench.turn()) == "Hello"
    assert (bench.net.count("refresh"), bench.net.count("new")) == (1, 2)
    assert bench.account.session.bearer == "fresh.access.token"


async def test_a_renewed_session_that_is_refused_too_ends_the_turn() -> None:
    bench = Bench(Reply(*GOOD), refreshable=True)
    bench.site.says["new"].extend([LoginExpired("over"), LoginExpired("still over")])
    assert fault_of(await bench.turn()).text == "still over"
    assert bench.net.count("refresh") == 1


async def test_a_session_that_another_turn_renewed_meanwhile_is_not_renewed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(Reply(*GOOD), refreshable=True)
    bench.site.says["new"].append(LoginExpired("over"))
    failed = Account.failed

    def fail(self: Account, model: str, fault: Fault) -> None:
        self.session.renew(bench.site.fresh)  # by the other turn, between our refusal and what we make of it
        failed(self, model, fault)

    monkeypatch.setattr(Account, "failed", fail)
    assert said(await bench.turn()) == "Hello"
    assert (bench.net.count("refresh"), bench.net.count("new")) == (0, 2)


async def test_a_session_that_cannot_be_renewed_ends_the_turn() -> None:
    bench = Bench(Reply(*GOOD))
    bench.site.says["new"].append(LoginExpired("over"))
    assert isinstance(fault_of(await bench.turn()), LoginExpired)
    assert bench.net.count("refresh") == 0


async def test_a_dying_token_is_renewed_before_the_chat_is_made() -> None:
    bench = Bench(Reply(*GOOD))
    bench.account = account(bench.clock, ends=NOON + 10, refreshable=True)
    await bench.turn()
    assert bench.log[0] == "refresh token"


async def test_an_account_rests_after_a_challenge_and_the_next_turn_is_refused_at_once() -> None:
    bench = Bench(Reply(*GOOD))
    bench.site.says["new"].append(Challenged("a wall"))
    assert fault_of(await bench.turn()).retry_after == 60
    with pytest.raises(Challenged, match="a wall"):
        await bench.turn()
    assert bench.net.count("new") == 1


async def test_a_success_ends_what_challenges_have_added_up() -> None:
    bench = Bench(Reply(*GOOD))
    bench.account.failed("q-switch", Challenged("a wall"))
    bench.clock.now += 61
    await bench.turn()
    bench.account.failed("q-switch", again := Challenged("a wall"))
    assert again.retry_after == 60, "and not twice that"


async def test_a_model_that_the_site_no_longer_knows_renews_the_list() -> None:
    bench = Bench(Reply(*GOOD))
    bench.site.says["new"].append(ModelNotFound("gone"))
    await bench.models.catalog()
    await settle()
    assert isinstance(fault_of(await bench.turn()), ModelNotFound)
    assert bench.fetched == 1
    assert isinstance(bench.models.problem, ModelNotFound)
    await bench.models.catalog()
    await settle()
    assert bench.fetched == 2
    assert bench.models.problem is None


# --- what is known without asking the site ---

Mode = ThinkingMode | None
THINKING: dict[str, tuple[str, Mode, ThinkingMode, ThinkingMode | None]] = {
    # model name, the request's own words, the setting → what is asked of the site; None: refused
    "setting auto": ("q-switch", None, "auto", "auto"),
    "setting on": ("q-switch", None, "on", "on"),
    "setting off": ("q-switch", None, "off", "off"),
    "suffix beats setting": ("q-switch-thinking", None, "off", "on"),
    "suffix beats setting, off": ("q-switch-nothinking", None, "on", "off"),
    "request beats suffix": ("q-switch-nothinking", "on", "off", "on"),
    "request beats suffix, off": ("q-switch-thinking", "off", "on", "off"),
    "request says auto": ("q-switch-thinking", "auto", "on", "auto"),
    "always, whatever the setting": ("q-always", None, "off", "on"),
    "always, asked for": ("q-always", "on", "off", "on"),
    "always, auto": ("q-always", "auto", "off", "on"),
    "always, not wanted": ("q-always", "off", "on", "on"),
    "always, not wanted by suffix": ("q-always-nothinking", None, "on", None),
    "never, whatever the setting": ("q-never", None, "on", "off"),
    "never, auto": ("q-never", "auto", "on", "off"),
    "never, switched off": ("q-never", "off", "on", "off"),
    "never, wanted": ("q-never", "on", "off", "off"),
    "never, wanted by suffix": ("q-never-thinking", None, "off", None),
}


@pytest.mark.parametrize("name", THINKING)
async def test_whether_the_model_thinks(name: str) -> None:
    model, asked, setting, expected = THINKING[name]
    bench = Bench(Reply(*GOOD), default_thinking=setting)
    if expected is None:
        with pytest.raises(InvalidRequest) as refused:
            await bench.turn(asks(model, thinking=asked))
        assert (refused.value.param, refused.value.code) == ("model", "unsupported_value")
        assert bench.log == []
    else:
        await bench.turn(asks(model, thinking=asked))
        assert bench.site.asked[0].prompt.thinking.mode == expected


@pytest.mark.parametrize(("thinking", "first"), [("on", 7), ("auto", 7), ("off", 5)])
async def test_a_model_that_may_think_has_more_time_to_begin(thinking: ThinkingMode, first: float) -> None:
    bench = Bench(Reply(*GOOD))
    await bench.turn(asks(thinking=thinking))
    assert bench.net.seconds["ask"] == first


SEARCH: dict[str, tuple[str, bool | None, bool | None]] = {
    "not asked for": ("q-switch", None, False),
    "suffix": ("q-switch-search", None, True),
    "request": ("q-switch", True, True),
    "request beats suffix": ("q-switch-search", False, False),
    "a model that cannot, by suffix": ("q-never-search", None, None),
    "a model that cannot, by request": ("q-never", True, None),
    "a model that cannot, and need not": ("q-never-search", False, False),
}


@pytest.mark.parametrize("name", SEARCH)
async def test_whether_the_site_searches(name: str) -> None:
    model, asked, expected = SEARCH[name]
    bench = Bench(Reply(*GOOD))
    if expected is None:
        with pytest.raises(InvalidRequest, match="cannot search") as refused:
            await bench.turn(asks(model, search=asked))
        assert refused.value.param == "model"
    else:
        await bench.turn(asks(model, search=asked))
        assert bench.site.asked[0].prompt.search is expected


@pytest.mark.parametrize("text", ["", "  \n\t "], ids=["empty", "blanks"])
async def test_a_prompt_without_words_is_refused(text: str) -> None:
    bench = Bench(Reply(*GOOD))
    with pytest.raises(InvalidRequest) as refused:
        await bench.turn(asks(text=text))
    assert refused.value.param == "messages"
    assert bench.log == []


async def test_an_unknown_model_is_refused_before_anything_is_asked() -> None:
    bench = Bench(Reply(*GOOD))
    with pytest.raises(ModelNotFound):
        await bench.turn(asks("nothing-like-it"))
    assert bench.log == []


# --- leaving early ---


async def begun(bench: Bench, account_: Account | None = None) -> None:
    """Reads a turn until its first words, and leaves."""
    turn = await bench.turns.begin(asks(), account_ or bench.account, bench.record)
    async with aclosing(turn.events()) as events:
        async for chunk in events:
            if any(isinstance(event, Text) for event in chunk):
                break


async def test_who_leaves_early_stops_the_site_and_the_chat_is_deleted_after() -> None:
    reply = Reply(b"began\n", b"text:Hel\n", SILENCE)
    bench = Bench(reply)
    await begun(bench)
    assert reply.closed
    assert bench.chats.pending == 1
    log = await bench.cleaned()
    assert log[-3:] == ["stop chat-1,answer-in-chat-1", "delete chat-1", "remove API id-1"]


async def test_a_turn_that_is_cancelled_while_the_site_is_silent_stops_it() -> None:
    reply = Reply(b"began\n", SILENCE)
    bench = Bench(reply)
    turn = asyncio.create_task(bench.turn())
    await until(lambda: reply.reads == 2)
    turn.cancel()
    await asyncio.wait([turn])
    assert turn.cancelled()
    assert reply.closed
    assert (await bench.cleaned())[-3:] == ["stop chat-1,answer-in-chat-1", "delete chat-1", "remove API id-1"]


async def test_a_turn_that_is_cancelled_while_its_chat_is_made_keeps_the_record() -> None:
    bench = Bench(Reply(*GOOD))
    bench.net.holds["new"] = asyncio.Event()
    turn = asyncio.create_task(bench.turn())
    await until(lambda: bench.net.count("new") == 1)
    turn.cancel()
    await asyncio.wait([turn])
    assert bench.journal.records() == [ChatRecord("API id-1", bench.account.key, None, NOON + 60)]


async def test_an_answer_that_ended_by_itself_needs_no_stop() -> None:
    bench = Bench(Reply(*GOOD))
    await bench.turn()
    await bench.cleaned()
    assert bench.net.count("stop") == 0
