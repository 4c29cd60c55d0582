"""Whole turns over fakes: what is tried again, what the client sees of it, and what is cleaned up after."""

import asyncio
from contextlib import aclosing

import pytest

from qwen_gateway.relay import machine
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.chats import DeletePolicy
from qwen_gateway.relay.conversations import Asker, Conversations, Manner
from qwen_gateway.relay.memory import Memory
from qwen_gateway.relay.models import Models
from qwen_gateway.relay.ports import ChatRecord
from qwen_gateway.relay.tools import ToolManner
from qwen_gateway.relay.turns import Limits, Turns
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.turn.catalog import Catalog
from qwen_gateway.turn.events import Event, Failed, Finished, Reasoning, Text, Usage
from qwen_gateway.turn.faults import (
    Challenged,
    Down,
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

from .attachment_fakes import Files
from .conversation_fakes import FakeConversationStore
from .fakes import (
    CATALOG,
    NOON,
    SILENCE,
    Clock,
    Counter,
    Journal,
    Net,
    Reply,
    Site,
    account,
    chats,
    pool,
    renewal,
    settle,
    until,
)

LIMITS = Limits(first_event=5, first_event_thinking=7, idle=5, total=20)
GOOD = (b"began\n", b"text:Hello\n", b"usage:11,3\nend\n")
ASKER = Asker("tenant")
HI = (Message("user", (TextPart("Hi"),)),)


@pytest.fixture(autouse=True)
def _no_wait_between_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "RETRY_AFTER", 0.001)


class Bench:
    """Everything that turns share, faked, and one account."""

    def __init__(
        self,
        *replies: Reply | Fault,
        default_thinking: ThinkingMode = "auto",
        refreshable: bool = False,
        policy: DeletePolicy = "now",
    ) -> None:
        self.clock, self.site, self.store = Clock(), Site(), FakeConversationStore()
        self.log: list[str] = []
        self.net, self.journal = Net(self.log), Journal(self.log)
        self.net.replies.extend(replies)
        ambient, again = self.clock.ambient(), renewal(self.site, self.net, self.clock)
        self.chats = chats(self.site, self.net, self.journal, self.clock, policy, self.store)
        self.memory = Memory(self.store, ambient, owner="me", kept=self.chats.kept, dropped=self.chats.drop)
        conversations = Conversations(
            self.memory, self.site, self.net, again, ambient, secret=b"secret", seconds=9, manner=Manner(policy)
        )
        self.fetched = 0
        self.models = Models(self._fetch, CATALOG, {}, ambient, 600)
        self.turns = Turns(
            self.site,
            self.net,
            self.models,
            self.chats,
            conversations,
            ambient,
            renewal=again,
            limits=LIMITS,
            default_thinking=default_thinking,
            tool_manner=ToolManner(),
            tokens=Counter(),
            attachments=Files(self.site, self.net, self.clock).attachments,
        )
        self.use(account(self.clock, refreshable=refreshable))
        self.record = TurnRecord("r", "/v1/chat/completions")

    def use(self, *accounts: Account) -> None:
        self.account = accounts[0]
        self.pool = pool(self.clock, *accounts)
        for one in accounts:
            self.chats.take_up(one)

    async def _fetch(self) -> Catalog:
        self.fetched += 1
        return CATALOG

    async def turn(self, request: TurnRequest | None = None) -> list[list[Event]]:
        turn = await self.turns.begin(request or asks(), self.pool, self.record, ASKER)
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

    def fail(self: Account, model: str, fault: Fault, began: float | None = None) -> None:
        self.session.renew(bench.site.fresh)  # by the other turn, between our refusal and what we make of it
        failed(self, model, fault, began)

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
    bench.use(account(bench.clock, ends=NOON + 10, refreshable=True))
    await bench.turn()
    assert bench.log[0] == "refresh token"


async def test_an_account_rests_after_a_challenge_and_the_next_turn_is_refused_at_once() -> None:
    bench = Bench(Reply(*GOOD))
    bench.site.says["new"].append(Challenged("a wall"))
    assert fault_of(await bench.turn()).retry_after == 60
    again = fault_of(await bench.turn())
    assert isinstance(again, Challenged)
    assert "a wall" in again.text
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


async def begun(bench: Bench) -> None:
    """Reads a turn until its first words, and leaves."""
    turn = await bench.turns.begin(asks(), bench.pool, bench.record, ASKER)
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


# --- several accounts ---


async def test_another_account_takes_a_turn_that_the_first_one_is_refused() -> None:
    bench = Bench(Reply(*GOOD))
    a, b = account(bench.clock, user="a"), account(bench.clock, user="b")
    bench.use(a, b)
    bench.site.says["new"].append(RateLimited("enough", retry_after=600))
    assert said(await bench.turn()) == "Hello"
    assert bench.record.account in {a.key, b.key}
    rests = [one.refusal("q-switch") for one in (a, b)]
    assert sorted(type(fault).__name__ for fault in rests) == ["NoneType", "RateLimited"]
    assert (a.busy, b.busy) == (0, 0)


async def test_the_seat_is_free_however_a_turn_ends() -> None:
    for replies in ([Reply(*GOOD)], [Challenged("a wall")], [Unreachable("refused"), Unreachable("refused")]):
        bench = Bench(*replies)
        await bench.turn()
        assert bench.account.busy == 0
    bench = Bench(Reply(b"began\n", b"text:Hel\n", SILENCE))
    await begun(bench)
    assert bench.account.busy == 0


# --- the site is down ---


async def test_a_site_that_fails_again_and_again_is_left_alone_for_a_while() -> None:
    bench = Bench(*[Unreachable("refused")] * 20)
    faults = [fault_of(await bench.turn()) for _ in range(12)]
    assert {type(fault).__name__ for fault in faults[:3]} == {"Unreachable"}
    assert isinstance(faults[-1], Down)
    assert faults[-1].retry_after is not None
    asked = bench.net.count("ask")
    assert asked <= 8
    await bench.turn()
    assert bench.net.count("ask") == asked


async def test_one_turn_looks_whether_the_site_is_back_and_all_go_on_when_it_is() -> None:
    bench = Bench(*[Unreachable("refused")] * 20)
    while not isinstance(down := fault_of(await bench.turn()), Down):
        pass
    assert down.retry_after is not None
    bench.clock.now += down.retry_after + 1
    bench.net.replies.clear()
    bench.net.replies.extend(Reply(*GOOD) for _ in range(3))
    assert [said(await bench.turn()) for _ in range(3)] == ["Hello"] * 3


async def test_a_probe_whose_client_leaves_does_not_keep_the_site_closed() -> None:
    bench = Bench(*[Unreachable("refused")] * 20)
    while not isinstance(down := fault_of(await bench.turn()), Down):
        pass
    assert down.retry_after is not None
    bench.clock.now += down.retry_after + 1
    bench.net.replies.clear()
    bench.net.replies.extend([Reply(b"began\n", b"text:Hel\n", SILENCE), Reply(*GOOD)])
    await begun(bench)
    assert said(await bench.turn()) == "Hello"


async def test_tries_of_many_turns_together_are_bounded() -> None:
    bench = Bench(*[Reply(b"began\n") for _ in range(300)])  # nothing comes: worth another try, each time
    for _ in range(100):
        await bench.turn()
    assert bench.net.count("ask") <= 120


# --- what is remembered ---


async def test_usage_of_an_answer_that_the_client_left_is_remembered() -> None:
    bench = Bench(Reply(b"began\n", b"text:Hello there\n", SILENCE))
    await begun(bench)
    assert bench.record.usage is not None
    assert bench.record.usage.estimated
    assert bench.record.usage.output > 0


async def test_the_wait_for_the_site_and_in_the_line_is_not_called_ours() -> None:
    bench = Bench(Reply(b"began\n", 0.05, b"text:Hello\n", b"usage:11,3\nend\n"))
    bench.use(account(bench.clock, seats=1))
    lease = await bench.pool.lease("q-switch")
    asyncio.get_running_loop().call_later(0.05, lease.close)
    await bench.turn()
    assert bench.record.site >= 0.05
    assert bench.record.queued >= 0.04
    assert bench.record.site < 1


async def test_those_in_the_line_are_told_too_when_the_site_has_gone_down() -> None:
    bench = Bench(*[Unreachable("refused")] * 200)
    bench.use(account(bench.clock, seats=1))

    async def one() -> Fault:
        record = TurnRecord("r", "e")
        turn = await bench.turns.begin(asks(), bench.pool, record, ASKER)
        return fault_of([events async for events in turn.events()])

    faults = await asyncio.gather(*(one() for _ in range(40)))
    assert bench.net.count("ask") <= 12
    assert {type(fault).__name__ for fault in faults} == {"Unreachable", "Down"}
    assert bench.account.busy == 0


async def test_a_sign_in_host_that_fails_does_not_take_the_site_for_down() -> None:
    bench = Bench(Reply(*GOOD))
    bench.use(account(bench.clock, ends=NOON + 10, refreshable=True))
    bench.net.breaks["refresh"].extend([Unreachable("refused")] * 20)
    for _ in range(6):
        await bench.turn()
    assert bench.turns.health.state() == "closed"
    bench.net.breaks["refresh"].clear()
    assert said(await bench.turn()) == "Hello"


async def test_a_client_may_come_back_at_once_where_another_account_serves() -> None:
    bench = Bench()
    a, b, c = (account(bench.clock, user=user) for user in "abc")
    bench.use(a, b, c)
    bench.site.says["new"].extend([Challenged("a wall"), Challenged("a wall")])
    fault = fault_of(await bench.turn())
    assert (type(fault), fault.retry_after) == (Challenged, 1.0)
    assert sum(one.refusal("q-switch") is None for one in (a, b, c)) == 1


async def test_waking_forgets_what_the_site_did() -> None:
    bench = Bench(*[Unreachable("refused")] * 20)
    while not isinstance(fault_of(await bench.turn()), Down):
        pass
    bench.net.replies.clear()
    bench.net.replies.append(Reply(*GOOD))
    bench.turns.health.wake()
    assert said(await bench.turn()) == "Hello"
