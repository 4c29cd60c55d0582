"""Where a conversation goes on: what is found, what is in doubt, and what is remembered at the end of a turn."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from qwen_gateway.relay import memory as memory_module
from qwen_gateway.relay import path as path_module
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.conversations import Asker, Conversations, Manner, Path
from qwen_gateway.relay.memory import Memory
from qwen_gateway.turn.catalog import Model
from qwen_gateway.turn.faults import Challenged, ChatLost, StorageUnavailable, TimedOut
from qwen_gateway.turn.places import Place, StoredMessage
from qwen_gateway.turn.request import Message, Part, Role, TextPart, ToolCallPart, ToolResultPart, TurnRequest

from .conversation_fakes import FakeConversationStore
from .fakes import NEVER, SWITCH, Clock, Net, Site, account, no_words, renewal, settle, until

ME = Asker("me")
LONG = "A long answer that nobody gives twice by chance, since it has more than sixty-four letters."
CALL = ToolCallPart("c1", "Read", '{"path": "a"}')
RESULT = ToolResultPart("c1", "the file")


def said(*texts: str) -> tuple[Message, ...]:
    """A conversation that the user begins, in turns. A text that begins with `!` is an instruction."""
    messages, by = list[Message](), 0
    for text in texts:
        if text.startswith("!"):
            messages.append(one("system", text[1:]))
        else:
            messages.append(one("assistant" if by % 2 else "user", text))
            by += 1
    return tuple(messages)


def one(role: Role, *parts: str | Part) -> Message:
    return Message(role, tuple(TextPart(part) if isinstance(part, str) else part for part in parts))


class Bench:
    """Processes that share a store. Accounts are named by their users."""

    def __init__(self, **manner: Any) -> None:
        self.clock, self.store, self.site, self.net = Clock(), FakeConversationStore(), Site(), Net()
        self.accounts: dict[str, Account] = {}
        for user in ("a", "b"):
            made = account(self.clock, user=user)
            self.accounts[made.key] = made
        self.a, self.b = self.accounts
        self.manner = Manner(**{"policy": 24.0, **manner})
        self.memories: list[Memory] = []
        self.memory, self.conversations = self.process()

    def process(self, owner: str = "me") -> tuple[Memory, Conversations]:
        ambient = self.clock.ambient()
        memory = Memory(self.store, ambient, owner=owner, kept=lambda _: None, dropped=lambda _: None)
        memory.start()
        self.memories.append(memory)
        again = renewal(self.site, self.net, self.clock)
        return memory, Conversations(
            memory, self.site, self.net, again, ambient, secret=b"s", seconds=9, manner=self.manner
        )

    async def path(
        self,
        messages: tuple[Message, ...],
        *,
        asker: Asker = ME,
        model: Model = SWITCH,
        end_user: str = "",
        by: Conversations | None = None,
        tools: bytes = b"",
    ) -> Path:
        request = TurnRequest(model=model.id, messages=messages, end_user=end_user)
        return await (by or self.conversations).path(request, asker, model, self.able, tools=tools, words=no_words)

    def able(self, key: str) -> Account | None:
        found = self.accounts.get(key)
        return found if found is not None and found.refusal("") is None else None

    async def turn(  # a whole one
        self,
        messages: tuple[Message, ...],
        answer: str,
        *calls: ToolCallPart,
        chat: str = "chat",
        on: str = "",
        handle: str = "",
        tokens: int = 10,
        **about: Any,
    ) -> Path:
        """The next second, a turn is answered. chat: a new one, if none is gone on with."""
        self.clock.now += 1
        path = await self.path(messages, **about)
        place = Place(chat) if path.way == "replay" else await path.enter()
        assert place is not None
        key = path.account or on or self.a
        answer_id = f"{place.chat_id}-{self.clock.now:.0f}"
        assert path.finished(key, place, answer_id, answer, calls, tokens=tokens, handle=handle)
        path.leave()
        return path


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DELAY", "RETRY", "RETRY_IN_HASTE"):
        monkeypatch.setattr(memory_module, name, 0.001)
    monkeypatch.setattr(path_module, "VERIFY_AGAIN", 0.001)


@pytest.fixture
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    made = Bench(**getattr(request, "param", {}))
    yield made
    for memory in made.memories:
        await memory.close(0)


def way(path: Path) -> tuple[str, str]:
    return path.way, path.reason


# --- going on ---


async def test_the_next_turn_goes_on_where_the_last_one_ended(bench: Bench) -> None:
    await bench.turn(said("Hi"), "Hello.", tokens=77)
    path = await bench.path(said("Hi", "Hello.", "And now?"))
    assert (way(path), path.account, path.packed().text) == (("continue", "next"), bench.a, "And now?")
    assert (path.entered, path.tokens) == (None, 77)
    place = await path.enter()
    assert place == path.entered
    assert place is not None
    assert (place.chat_id, place.parent) == ("chat", "chat-1000001")
    assert path.tokens == 77


async def test_ten_turns_stay_in_one_chat(bench: Bench) -> None:
    texts = ["Question 0"]
    for number in range(10):
        path = await bench.turn(said(*texts), f"Answer {number}", chat=f"chat-{number}")
        assert path.way == ("continue" if number else "replay")
        texts += [f"Answer {number}", f"Question {number + 1}"]
    await until(lambda: not bench.memory.waiting)
    assert set(bench.store.chats) == {"chat-0"}


async def test_another_process_goes_on_as_well(bench: Bench) -> None:
    await bench.turn(said("Hi"), "Hello.")
    await until(lambda: not bench.memory.waiting)
    _, other = bench.process("other")
    path = await bench.path(said("Hi", "Hello.", "And now?"), by=other)
    assert path.way == "continue"
    assert await path.enter() is not None


@pytest.mark.parametrize(
    "about",
    [{"asker": Asker("you")}, {"end_user": "somebody"}, {"model": NEVER}],
    ids=["another tenant", "another user", "another model"],
)
async def test_nobody_goes_on_with_another_s_conversation(bench: Bench, about: dict[str, Any]) -> None:
    await bench.turn(said("Hi"), "Hello.")
    path = await bench.path(said("Hi", "Hello.", "And now?"), **about)
    assert way(path) == ("replay", "unknown")


async def test_calls_are_gone_on_with_also_by_clients_that_drop_the_text_beside_them(bench: Bench) -> None:
    question = said("Read a.")
    await bench.turn(question, "I will.", CALL)
    for sent in (one("assistant", "I will.", CALL), one("assistant", CALL)):
        path = await bench.path((*question, sent, one("user", RESULT)))
        assert way(path) == ("continue", "next")
    path = await bench.path((*question, one("assistant", "I will."), one("user", RESULT)))
    assert way(path) == ("replay", "unknown")


async def test_an_answer_without_calls_has_no_second_name(bench: Bench) -> None:
    await bench.turn(said("Hi"), "Hello.")
    await bench.turn(said("Read"), "", CALL, chat="second")
    await until(lambda: not bench.memory.waiting)
    assert len(bench.store.nodes) == 2


async def test_a_changed_instruction_is_told_again_and_then_known(bench: Bench) -> None:
    await bench.turn(said("!Be brief.", "Hi"), "Hello.")
    path = await bench.turn(said("!Be kind.", "Hi", "Hello.", "So?"), "Fine.")
    assert path.way == "continue"
    assert "Be kind." in path.packed().text
    path = await bench.path(said("!Be kind.", "Hi", "Hello.", "So?", "Fine.", "Good."))
    assert path.packed().text == "Good."


@pytest.mark.parametrize("bench", [{"changed_instructions": "replay"}], indirect=True)
async def test_a_changed_instruction_can_have_all_told_anew(bench: Bench) -> None:
    await bench.turn(said("!Be brief.", "Hi"), "Hello.")
    path = await bench.path(said("!Be kind.", "Hi", "Hello.", "So?"))
    assert way(path) == ("replay", "instructions")


@pytest.mark.parametrize("bench", [{"volatile": (re.compile("^x-line:.*$", re.MULTILINE),)}], indirect=True)
async def test_lines_that_do_not_count_are_not_told_again(bench: Bench) -> None:
    await bench.turn(said("!x-line: 1\nBe brief.", "Hi"), "Hello.")
    path = await bench.path(said("!x-line: 2\nBe brief.", "Hi", "Hello.", "So?"))
    assert path.packed().text == "So?"


async def test_an_answer_that_is_not_known_is_told_as_what_happened_meanwhile(bench: Bench) -> None:
    await bench.turn(said("Tell me a story. " * 20), "Once upon a time there was. " * 20)
    history = said("Tell me a story. " * 20, "Once upon a time there was. " * 20, "Go on.", "Half an ans", "Once more.")
    path = await bench.path(history)
    assert way(path) == ("catchup", "changed")
    assert "Half an ans" in path.packed().text
    assert "Once upon" not in path.packed().text
    assert "Once upon" in path.whole().text


# --- telling it anew ---


@pytest.mark.parametrize(("asker", "reason"), [(Asker("me", mode="replay"), "mode"), (Asker("me", keep=False), "off")])
async def test_who_wants_no_continuation_costs_no_question(bench: Bench, asker: Asker, reason: str) -> None:
    path = await bench.path(said("Hi", "Hello.", "So?"), asker=asker)
    assert (way(path), path.account, bench.store.log) == (("replay", reason), None, [])
    assert not path.finished(bench.a, Place("chat"), "answer", "Fine.")
    assert bench.memory.waiting == 0


@pytest.mark.parametrize("bench", [{"policy": "now"}, {"policy": 0.0}], indirect=True)
async def test_where_no_chat_stays_nothing_is_remembered(bench: Bench) -> None:
    path = await bench.path(said("Hi", "Hello.", "So?"))
    assert (way(path), bench.store.log) == (("replay", "off"), [])
    assert not path.finished(bench.a, Place("chat"), "answer", "Fine.")


@pytest.mark.parametrize("messages", [said("Hi"), said("!Be brief."), said("Hi", "Begun")])
async def test_a_first_question_costs_no_question_to_the_database(bench: Bench, messages: tuple[Message, ...]) -> None:
    path = await bench.path(messages)
    assert (way(path), bench.store.log) == (("replay", "first"), [])
    assert path.packed() is path.whole()


async def test_a_conversation_of_instructions_alone_can_go_on(bench: Bench) -> None:
    await bench.turn(said("!Greet."), "Hello.")
    path = await bench.path((one("system", "Greet."), one("assistant", "Hello."), one("user", "So?")))
    assert way(path) == ("continue", "next")


async def test_the_second_half_of_an_answer_is_not_remembered(bench: Bench) -> None:
    path = await bench.path(said("Hi", "Once upon"))
    assert not path.finished(bench.a, Place("chat"), "answer", " a time.")
    assert path.verification(bench.accounts[bench.a], Place("chat"), "answer", " a time.") is None


async def test_an_answer_without_an_id_is_not_remembered(bench: Bench) -> None:
    path = await bench.path(said("Hi"))
    assert not path.finished(bench.a, Place("chat"), "", "Hello.")


async def test_an_account_that_rests_has_all_told_anew(bench: Bench) -> None:
    await bench.turn(said("Hi"), "Hello.")
    bench.accounts[bench.a].failed("", Challenged("a wall"))
    path = await bench.path(said("Hi", "Hello.", "So?"))
    assert (way(path), path.account) == (("replay", "account"), None)
    assert await path.enter() is None


async def test_a_chat_in_which_somebody_asks_has_all_told_anew(bench: Bench) -> None:
    await bench.turn(said("Hi"), "Hello.")
    first = await bench.path(said("Hi", "Hello.", "So?"))
    assert await first.enter() is not None
    assert way(await bench.path(said("Hi", "Hello.", "Else?"))) == ("replay", "busy")
    _, other = bench.process("other")
    assert way(await bench.path(said("Hi", "Hello.", "Else?"), by=other)) == ("replay", "busy")
    first.leave()
    first.leave()
    assert (await bench.path(said("Hi", "Hello.", "Else?"))).way == "continue"


async def test_an_outage_has_all_told_anew_and_is_told_once(bench: Bench) -> None:
    await bench.turn(said("Hi"), "Hello.")
    await until(lambda: not bench.memory.waiting)
    history = said("Hi", "Hello.", "So?")
    for _ in range(2):
        bench.store.away = StorageUnavailable("away")
        with capture_logs() as logs:
            assert way(await bench.path(history)) == ("replay", "store")
            assert way(await bench.path(history)) == ("replay", "store")
        assert [log["event"] for log in logs if log["event"] == "conversations_unknown"] == ["conversations_unknown"]
        bench.store.away = None
        assert (await bench.path(history)).way == "continue"


# --- the chat ---


async def test_of_several_chats_the_next_free_one_is_taken(bench: Bench) -> None:
    for name in ("old", "new"):
        await bench.turn(said("Hi"), "Hello.", chat=name)
    path = await bench.path(said("Hi", "Hello.", "So?"))
    places = [await path.enter(), await path.enter()]
    assert [place and place.chat_id for place in places] == ["new", "old"]
    assert await path.enter() is None
    assert path.entered == places[1], "where it was busy it can wait"
    assert await path.enter(again=True) == places[1]
    assert bench.memory._held == {"old"}
    path.leave()
    assert path.entered is None
    assert await path.enter() == places[0], "from the beginning"


async def test_a_chat_that_is_taken_meanwhile_is_passed_over_and_can_be_waited_for(bench: Bench) -> None:
    for name in ("old", "new"):
        await bench.turn(said("Hi"), "Hello.", chat=name)
    path, other = [await bench.path(said("Hi", "Hello.", "So?")) for _ in range(2)]
    assert await other.enter() == Place("new", "new-1000002")
    assert await path.enter() == Place("old", "old-1000001")
    path.leave()
    await other.enter()
    assert await path.enter() == Place("new", "new-1000002")
    third = await bench.path(said("Hi", "Hello.", "So?"))
    assert way(third) == ("replay", "busy")


async def test_when_all_are_taken_one_can_be_waited_for(bench: Bench) -> None:
    await bench.turn(said("Hi"), "Hello.")
    path, other = [await bench.path(said("Hi", "Hello.", "So?")) for _ in range(2)]
    await other.enter()
    assert await path.enter() is None
    assert await path.enter(again=True) is None
    other.leave()
    assert await path.enter(again=True) is not None


async def test_chats_of_other_accounts_are_not_entered_with_this_one(bench: Bench) -> None:
    for name, on in (("old", bench.b), ("new", bench.a)):
        await bench.turn(said("Hi"), "Hello.", chat=name, on=on)
    path = await bench.path(said("Hi", "Hello.", "So?"))
    assert path.account == bench.a
    assert [await path.enter(), await path.enter()] == [Place("new", "new-1000002"), None]


async def test_a_chat_is_not_entered_while_the_database_is_away(bench: Bench) -> None:
    await bench.turn(said("Hi"), "Hello.")
    await until(lambda: not bench.memory.waiting)
    path = await bench.path(said("Hi", "Hello.", "So?"))
    bench.store.away = StorageUnavailable("away")
    with pytest.raises(StorageUnavailable):
        await path.enter()


async def test_a_lost_chat_is_forgotten_with_all_that_was_said_there(bench: Bench) -> None:
    await bench.turn(said("Hi"), "Hello.")
    await bench.turn(said("Hi", "Hello.", "So?"), "Fine.")
    path = await bench.path(said("Hi", "Hello.", "So?", "Fine.", "Good."))
    await path.enter()
    path.lost()
    assert (path.entered, path.account, await path.enter()) == (None, None, None)
    path.replay("lost")
    assert (way(path), path.account) == (("replay", "lost"), None)
    assert way(await bench.path(said("Hi", "Hello.", "Else?"))) == ("replay", "unknown")
    await until(lambda: bench.store.marked == {"chat"})
    await until(lambda: not bench.store.owners)


async def test_nothing_is_lost_before_a_chat_is_entered(bench: Bench) -> None:
    path = await bench.path(said("Hi"))
    path.lost()
    assert not bench.memory._marked


async def test_telling_anew_gives_the_chat_back(bench: Bench) -> None:
    await bench.turn(said("Hi"), "Hello.")
    path = await bench.path(said("Hi", "Hello.", "So?"))
    onward = path.packed()
    assert path.packed() is onward
    await path.enter()
    path.replay("busy")
    assert (path.packed(), bench.memory._held) == (path.whole(), set())
    assert path.packed() != onward
    assert path.finished(bench.b, Place("second"), "answer", "Fine.")
    later = await bench.path(said("Hi", "Hello.", "So?", "Fine.", "Good."))
    assert (later.account, await later.enter()) == (bench.b, Place("second", "answer"))


# --- long results ---


def long_history() -> tuple[Message, ...]:
    begun = (one("user", "Read a."), one("assistant", CALL), one("user", ToolResultPart("c1", "x" * 9000)))
    return (*begun, *(one("assistant" if number % 2 == 0 else "user", f"{number}") for number in range(8)))


async def test_old_results_are_shortened_once(bench: Bench) -> None:
    path = await bench.path(long_history())
    assert path.whole().compacted == 0
    shorter = path.shortened()
    assert shorter is not None
    assert (shorter.compacted, path.whole()) == (1, shorter)
    assert path.shortened() is None


async def test_what_has_no_old_results_is_not_shortened(bench: Bench) -> None:
    path = await bench.path(said("Hi"))
    assert path.shortened() is None


@pytest.mark.parametrize("bench", [{"shorten": False}], indirect=True)
async def test_nothing_is_shortened_against_the_settings(bench: Bench) -> None:
    path = await bench.path(long_history())
    assert path.shortened() is None


# --- by a handle ---


def stored(*texts: str, done: bool = True) -> list[StoredMessage]:
    """A chat of this conversation, whose last answer has the id `chat-1000001`."""
    names = [f"m{number}" for number in range(len(texts) - 1)] + ["chat-1000001"]
    parents: list[str | None] = [None, *names[:-1]]
    return [
        StoredMessage(name, parent, "assistant" if number % 2 else "user", text, done)
        for number, (name, parent, text) in enumerate(zip(names, parents, texts, strict=True))
    ]


async def test_a_handle_finds_a_conversation_of_which_the_client_has_left_something_out(bench: Bench) -> None:
    await bench.turn(said("Hi"), "Hello, my friend.", handle="h1")
    bench.site.stored["chat"] = stored("Hi", "Hello, my friend.")
    asker = Asker("me", handle="h1")
    path = await bench.path(said("Hi", "my friend.", "So?"), asker=asker)
    assert (way(path), path.account) == (("continue", "handle"), bench.a)
    assert bench.net.log == ["read chat"]


@pytest.mark.parametrize(
    ("messages", "handle", "tenant", "reads"),
    [
        (said("Hi", "My enemy.", "So?"), "h1", "me", 1),
        (said("Ho", "my friend.", "So?"), "h1", "me", 0),
        (said("Hi", "my friend.", "So?"), "h2", "me", 0),
        (said("Hi", "my friend.", "So?"), "h1", "you", 0),
    ],
    ids=["another answer", "another question", "another handle", "another tenant"],
)
async def test_a_handle_is_a_hint_and_no_key(
    bench: Bench, messages: tuple[Message, ...], handle: str, tenant: str, reads: int
) -> None:
    await bench.turn(said("Hi"), "Hello, my friend.", handle="h1")
    bench.site.stored["chat"] = stored("Hi", "Hello, my friend.")
    path = await bench.path(messages, asker=Asker(tenant, handle=handle))
    assert (way(path), bench.net.count("read")) == (("replay", "unknown"), reads)


async def test_a_chat_that_cannot_be_read_is_not_gone_on_with(bench: Bench) -> None:
    await bench.turn(said("Hi"), "Hello, my friend.", handle="h1")
    asker = Asker("me", handle="h1")
    bench.site.says["read"].extend((TimedOut("slow"), ChatLost("by hand")))
    assert (await bench.path(said("Hi", "my friend.", "So?"), asker=asker)).reason == "unknown"
    assert not bench.memory._marked
    assert (await bench.path(said("Hi", "my friend.", "So?"), asker=asker)).reason == "unknown"
    assert list(bench.memory._marked) == ["chat"]


async def test_a_handle_of_a_resting_account_reads_nothing(bench: Bench) -> None:
    await bench.turn(said("Hi"), "Hello, my friend.", handle="h1")
    bench.accounts[bench.a].failed("", Challenged("a wall"))
    path = await bench.path(said("Hi", "my friend.", "So?"), asker=Asker("me", handle="h1"))
    assert (path.reason, bench.net.log) == ("unknown", [])


# --- by likeness ---

SUFFIX = Asker("me", mode="suffix")


async def test_the_last_answer_finds_its_chat_where_that_is_wished_for(bench: Bench) -> None:
    await bench.turn(said("Hi", "Hello.", "Tell me."), LONG)
    trimmed = said("Tell me.", LONG, "So?")
    assert way(await bench.path(trimmed)) == ("replay", "unknown")
    path = await bench.path(trimmed, asker=SUFFIX)
    assert (way(path), path.packed().text) == (("continue", "suffix"), "So?")


async def test_a_chat_that_was_found_by_likeness_is_never_taken_for_one_that_holds_just_this(bench: Bench) -> None:
    await bench.turn(said("Secret beginning.", "Hello.", "Tell me."), LONG)
    trimmed = said("Tell me.", LONG, "So?")
    await bench.turn(trimmed, LONG + "!", asker=SUFFIX)
    longer = (*trimmed, *said("", LONG + "!", "And?")[1:])
    assert way(await bench.path(longer)) == ("replay", "unknown")
    assert way(await bench.path(longer, asker=SUFFIX)) == ("continue", "suffix")


@pytest.mark.parametrize(
    "messages",
    [
        said("Tell me!", LONG, "So?"),
        said("Tell me.", LONG + "!", "So?"),
        (one("assistant", LONG), one("user", "So?")),
    ],
    ids=["another question", "another answer", "no question"],
)
async def test_what_is_unlike_finds_nothing(bench: Bench, messages: tuple[Message, ...]) -> None:
    await bench.turn(said("Hi", "Hello.", "Tell me."), LONG)
    assert way(await bench.path(messages, asker=SUFFIX)) == ("replay", "unknown")


async def test_a_short_answer_is_like_too_many(bench: Bench) -> None:
    await bench.turn(said("Hi", "Hello.", "Tell me."), "Two.")
    assert way(await bench.path(said("Tell me.", "Two.", "So?"), asker=SUFFIX)) == ("replay", "unknown")
    assert bench.store.did("find")[-1].startswith("key")


async def test_of_two_that_are_alike_none_is_taken_also_when_one_cannot_serve(bench: Bench) -> None:
    await bench.turn(said("Hi", "Hello.", "Tell me."), LONG, chat="one", on=bench.a)
    await bench.turn(said("Ho", "Hello.", "Tell me."), LONG, chat="two", on=bench.b)
    trimmed = said("Tell me.", LONG, "So?")
    assert way(await bench.path(trimmed, asker=SUFFIX)) == ("replay", "unknown")
    bench.accounts[bench.b].failed("", Challenged("a wall"))
    assert way(await bench.path(trimmed, asker=SUFFIX)) == ("replay", "unknown")


# --- answers that broke off ---


async def broken(bench: Bench, text: str, *, answer_id: str = "chat-1000001") -> bool | None:
    """Whether the answer `text` was remembered after a look into the chat; `None`: nobody looks."""
    path = await bench.path(said("Hi"))
    verify = path.verification(bench.accounts[bench.a], Place("chat"), answer_id, text, handle="h1")
    path.leave()
    return None if verify is None else await verify()


@pytest.mark.parametrize("bench", [{"verify": True}], indirect=True)
async def test_an_answer_that_stands_in_the_chat_as_it_was_given_is_remembered(bench: Bench) -> None:
    bench.site.stored["chat"] = stored("Hi", "Hello, my fr")
    assert await broken(bench, "Hello, my fr")
    path = await bench.path(said("Hi", "Hello, my fr", "So?"))
    assert way(path) == ("continue", "next")
    await path.enter()
    assert path.tokens > 0


@pytest.mark.parametrize("bench", [{"verify": True}], indirect=True)
async def test_one_that_does_not_is_not(bench: Bench) -> None:
    bench.site.stored["chat"] = stored("Hi", "Hello, my friend.")
    assert await broken(bench, "Hello, my fr") is False
    assert await broken(bench, "Hi", answer_id="m0") is False, "that is the question"
    assert bench.memory.waiting == 0


@pytest.mark.parametrize("bench", [{"verify": True}], indirect=True)
async def test_one_that_is_not_stored_yet_is_looked_for_once_more(bench: Bench) -> None:
    bench.net.holds["read"] = asyncio.Event()
    looking = asyncio.create_task(broken(bench, "Hello"))
    bench.site.stored["chat"] = stored("Hi", "Hello", done=False)
    await settle()
    bench.net.holds["read"].set()
    assert await looking is False
    assert bench.net.count("read") == 2


@pytest.mark.parametrize("bench", [{"verify": True}], indirect=True)
async def test_a_chat_that_the_site_does_not_show_proves_nothing(bench: Bench) -> None:
    bench.site.says["read"].append(TimedOut("slow"))
    assert await broken(bench, "Hello") is False
    assert bench.net.count("read") == 1


async def test_nobody_looks_against_the_settings(bench: Bench) -> None:
    assert await broken(bench, "Hello") is None
