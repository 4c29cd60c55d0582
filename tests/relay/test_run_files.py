"""Whole turns with files: they are at the site before anything is asked there, and what goes wrong with them is neither
the site's nor the model's fault."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest
from msgspec import structs

from qwen_gateway.accounts.pace import Pace
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.choices import together
from qwen_gateway.relay.conversations import Asker
from qwen_gateway.relay.turn_files import HISTORY
from qwen_gateway.relay.uploads import UPLOADING
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.turn.events import Event, Failed, Finished
from qwen_gateway.turn.faults import (
    Blocked,
    Busy,
    Challenged,
    ChatLost,
    ContextTooLong,
    Down,
    Fault,
    InvalidRequest,
    LoginExpired,
    Overloaded,
    RateLimited,
    SiteError,
    StorageUnavailable,
    Throttled,
    TimedOut,
    Unreachable,
    UploadFailed,
)
from qwen_gateway.turn.files import FilePart
from qwen_gateway.turn.request import Part, TurnRequest

from .attachment_fakes import There, document, given, kept, picture, remote
from .fakes import SILENCE, pool, until
from .turn_bench import ME, TOOLS, Bench, MakeBench, after, answer, asks, end_of, message, part, say, talk, writes

CAT = "https://a.test/cat.png"
HELLO = say("Hello")
ONWARD = "chat-1,answer-in-chat-1"


def shows(*parts: str | Part, model: str = "q-eyes") -> TurnRequest:
    return TurnRequest(model=model, messages=(message("user", *(parts or ("What is this?", given()))),))


def new(number: int) -> FilePart:
    """A picture like no other."""
    return given(picture(number), param=f"picture-{number}")


def did(bench: Bench, word: str) -> int:
    return sum(entry.split()[0] == word for entry in bench.log)


def stored(bench: Bench) -> list[bytes]:
    """The bytes at the site, as they came there."""
    return list(bench.files.storage.objects.values())


def ids(bench: Bench, question: int = -1) -> list[str]:
    """Of the files of a question."""
    return [file.id for file in bench.site.attached[question]]


def other(bench: Bench) -> Account:
    """Of two accounts the one that did not answer last."""
    (found,) = (one for one in bench.accounts.values() if one.key != bench.record.account)
    return found


def is_free(bench: Bench) -> bool:
    """Nothing is left of any turn."""
    files = bench.files
    return (
        not any(one.busy or one.aside for one in bench.accounts.values())
        and (files.open, files.storage.running, files.site_files.unfinished) == (0, 0, [])
        and files.uploads.counts.running == files.uploads.counts.waiting == 0
    )


def is_asked(bench: Bench) -> bool:
    return bool(did(bench, "new") or did(bench, "ask"))


# --- before the question ---


async def test_files_are_at_the_site_before_a_chat_is_made_for_the_question(make: MakeBench) -> None:
    bench = make(answer(HELLO))
    reply = await bench.answered(shows("What are these?", new(1), given(document(), name="a.pdf")))
    words = [entry.split()[0] for entry in bench.log]
    assert max(words.index("parsed"), *(at for at, word in enumerate(words) if word == "store")) < words.index("put")
    assert (reply.text, bench.asked) == ("Hello", ["chat-1"])
    assert sorted(stored(bench)) == sorted([picture(1), document()])
    names = [file.entry for file in bench.site.attached[0]]
    assert (b"image.png" in names[0], b"a.pdf" in names[1]) == (True, True)
    assert bench.record.files == 2
    assert is_free(bench)


async def test_a_turn_without_files_uploads_nothing(make: MakeBench) -> None:
    bench = make(answer(HELLO))
    await bench.answered(asks("Hi", model="q-eyes"))
    assert (bench.site.attached, did(bench, "ticket"), bench.record.files) == ([()], 0, 0)


async def test_files_of_all_three_sources_and_nothing_stays_open(make: MakeBench) -> None:
    bench = make(answer(HELLO))
    bench.files.keep("file-a", picture(1))
    bench.files.fetcher.web[CAT] = There(picture(2))
    await bench.answered(shows(kept("file-a"), remote(CAT), new(3)))
    assert sorted(stored(bench)) == [picture(1), picture(2), picture(3)]
    assert len(bench.files.fetcher.given) == len(bench.files.shelf.given) == 1
    assert is_free(bench)


async def test_what_a_look_at_the_request_shows_asks_nothing_of_anybody(make: MakeBench) -> None:
    bench = make()
    for request in (shows(kept("file-a")), shows(given(), model="q-switch")):
        with pytest.raises(InvalidRequest):
            await bench.begin(request)
    assert bench.log == []
    assert is_free(bench)


async def test_a_turn_that_is_never_begun_leaves_nothing_open(make: MakeBench) -> None:
    bench = make(offload=True, files={"inline": 1000})
    bench.files.keep("file-a", b"some text", kind="document", media_type="text/plain", name="a.txt")
    turn = await bench.begin(shows(kept("file-a"), remote(CAT), new(1)))
    async with aclosing(turn.events()):
        pass
    bench.site.longest = 10
    with pytest.raises(ContextTooLong):
        await bench.begin(shows(kept("file-a"), "word " * 10))
    assert bench.log == []
    assert is_free(bench)


async def test_whoever_watches_is_told_how_far_each_file_is(make: MakeBench) -> None:
    bench, told = make(answer(HELLO)), list[tuple[str, int, int]]()
    turn = await bench.turns.begin(
        shows(new(1)), bench.pool, bench.record, ME, lambda part, arrived, of: told.append((part.param, arrived, of))
    )
    async with aclosing(turn.events()) as batches:
        assert [event async for events in batches for event in events][-1] == Finished()
    size = len(picture(1))
    assert told == [("picture-1", size // 2, size), ("picture-1", size, size)]


async def test_files_count_in_the_budget(make: MakeBench) -> None:
    bench = make()
    bare = await bench.begin(shows("What is this?"))
    full = await bench.begin(shows("What is this?", new(1)))
    assert full.prompt_tokens() > bare.prompt_tokens() + 500


# --- what goes wrong with them ---


def _storage(bench: Bench) -> None:
    bench.files.storage.says.append(Unreachable("The storage is away."))


def _reader(bench: Bench) -> None:
    bench.site.says["parsed"].append(InvalidRequest("The site cannot read it.", code="file_unreadable"))


def _records(bench: Bench) -> None:
    bench.files.site_files.downs["begin"] = StorageUnavailable("The database is away.")


def _slow(bench: Bench) -> None:
    bench.net.breaks["ticket"].append(TimedOut("The site is silent."))


def _address(bench: Bench) -> None:
    bench.files.fetcher.web.clear()


@pytest.mark.parametrize(
    ("breaks", "kind"),
    [
        (_storage, UploadFailed),
        (_reader, InvalidRequest),
        (_records, StorageUnavailable),
        (_slow, TimedOut),
        (_address, InvalidRequest),
    ],
)
async def test_where_a_file_cannot_be_brought_no_chat_is_made_and_nothing_asked(
    make: MakeBench, breaks: Callable[[Bench], None], kind: type[Fault]
) -> None:
    bench = make(users="ab")
    bench.files.fetcher.web[CAT] = There(document(1))
    breaks(bench)
    fault = end_of(await bench.turn(shows("Read:", given(document(2), param="p"), remote(CAT, param="p"))))
    assert isinstance(fault, kind)
    assert fault.param == "p"
    assert (is_asked(bench), bench.record.tries) == (False, 0)
    assert is_free(bench)


async def test_a_file_that_cannot_be_brought_is_not_tried_again_and_says_nothing_of_the_site(make: MakeBench) -> None:
    bench = make(*[answer(HELLO)] * 1, users="ab")
    for number in range(8):
        _storage(bench)
        assert isinstance(end_of(await bench.turn(shows(new(number)))), UploadFailed)
    assert (did(bench, "ticket"), is_asked(bench)) == (8, False)
    assert bench.turns.health.state() == "closed"
    assert all(one.resting() is None and one.refusal(UPLOADING) is None for one in bench.accounts.values())
    assert (await bench.answered(asks("Hi"))).text == "Hello"


@pytest.mark.parametrize("kind", [Unreachable, TimedOut, SiteError])
async def test_what_gives_no_leave_says_nothing_of_what_answers(make: MakeBench, kind: type[Fault]) -> None:
    bench = make(answer(HELLO))
    bench.site.says["ticket"].extend(kind("away") for _ in range(50))
    for number in range(8):
        fault = end_of(await bench.turn(shows(new(number))))
        assert type(fault) is kind
    assert bench.turns.health.state() == "closed"
    assert (await bench.answered(asks("Hi"))).text == "Hello"


async def test_leave_that_was_lost_on_the_way_is_asked_for_once_more(make: MakeBench) -> None:
    bench = make(answer(HELLO))
    bench.net.breaks["ticket"].append(Unreachable("reset"))
    assert (await bench.answered(shows(new(1)))).text == "Hello"
    assert (did(bench, "ticket"), did(bench, "new"), ids(bench)) == (2, 1, ["file-1"])


async def test_a_site_that_takes_files_may_still_be_down(make: MakeBench) -> None:
    bench = make(*[Unreachable("down") for _ in range(10)])
    for number in range(5):
        await bench.turn(shows(new(number)))
    assert bench.turns.health.state() == "open"


# --- others meanwhile ---


async def bringing(bench: Bench, number: int = 1) -> "asyncio.Task[list[Event]]":
    """A turn in the middle of its upload, which goes on once `storage.hold` is set."""
    bench.files.storage.hold = asyncio.Event()
    turn = asyncio.create_task(bench.turn(shows(new(number))))
    await until(lambda: bench.files.storage.running == 1)
    return turn


def goes_on(bench: Bench) -> None:
    assert bench.files.storage.hold is not None
    bench.files.storage.hold.set()


async def test_while_files_are_brought_another_has_the_seat(make: MakeBench) -> None:
    bench = make(answer(HELLO), answer(HELLO))
    bench.on("a").seats = 1
    turn = await bringing(bench)
    assert (bench.on("a").busy, bench.on("a").aside) == (0, 1)
    assert (await bench.answered(asks("Hi"))).text == "Hello"
    goes_on(bench)
    assert end_of(await turn) == "stop"
    assert is_free(bench)


async def test_a_turn_whose_files_are_there_goes_before_those_who_have_only_come(make: MakeBench) -> None:
    bench = make(part(say("Hello"), SILENCE), answer(HELLO), answer(HELLO))
    bench.on("a").seats = 1
    turn = await bringing(bench)
    talks = asyncio.create_task(bench.turn(asks("Hi")))
    await until(lambda: bench.on("a").busy == 1)
    waits = asyncio.create_task(bench.turn(asks("And me?", model="q-eyes")))
    await until(lambda: bench.pool.waiting == 1)
    goes_on(bench)
    await until(lambda: bench.pool.waiting == 2)
    assert not any(bench.site.attached)
    talks.cancel()
    assert (end_of(await turn), end_of(await waits)) == ("stop", "stop")
    assert [len(files) for files in bench.site.attached] == [0, 1, 0]
    assert is_free(bench)


async def test_a_turn_that_gets_no_seat_again_says_so_and_asks_nothing(make: MakeBench) -> None:
    bench = make(part(say("Hello"), SILENCE), answer(HELLO))
    bench.on("a").seats = 1
    bench.pool = pool(bench.clock, bench.on("a"), seconds=0.05)
    turn = await bringing(bench)
    talks = asyncio.create_task(bench.turn(asks("Hi")))
    await until(lambda: bench.on("a").busy == 1)
    goes_on(bench)
    assert isinstance(end_of(await turn), Overloaded)
    assert (did(bench, "new"), bench.on("a").aside) == (1, 0)
    talks.cancel()
    await asyncio.wait([talks])
    assert is_free(bench)


async def test_a_turn_with_files_is_one_turn_to_the_account_s_pace(make: MakeBench) -> None:
    bench = make(answer(HELLO), answer(HELLO))
    bench.on("a").pace = Pace(per_minute=1, burst=2)
    await bench.answered(shows(new(1)))
    assert (await bench.answered(asks("Hi"))).text == "Hello"


async def test_an_account_that_rests_by_then_leaves_the_turn_to_another(make: MakeBench) -> None:
    bench = make(*[answer(HELLO)] * 1, users="ab")
    turn = await bringing(bench)
    (first,) = (one for one in bench.accounts.values() if one.aside)
    first.failed("q-eyes", Challenged("A person has to look."))
    goes_on(bench)
    assert end_of(await turn) == "stop"
    assert bench.record.account != first.key
    assert (len(ids(bench)), did(bench, "ticket")) == (1, 2)
    assert is_free(bench)


async def test_while_files_are_brought_another_looks_whether_the_site_is_back(make: MakeBench) -> None:
    bench = make(*[Unreachable("down") for _ in range(10)])
    for _ in range(5):
        await bench.turn(asks("Hi"))
    assert bench.turns.health.state() == "open"
    bench.net.replies.clear()
    for _ in range(2):
        bench.next(answer(HELLO))
    bench.clock.now += 11
    turn = await bringing(bench)
    assert bench.turns.health.state() == "half_open", "that it takes files does not say that it answers"
    assert (await bench.answered(asks("Hi"))).text == "Hello"
    assert bench.turns.health.state() == "closed"
    goes_on(bench)
    assert end_of(await turn) == "stop"


async def test_a_site_that_is_down_by_then_is_not_asked(make: MakeBench) -> None:
    bench = make(*[Unreachable("down") for _ in range(10)])
    turn = await bringing(bench)
    for _ in range(5):
        await bench.turn(asks("Hi"))
    assert bench.turns.health.state() == "open"
    chats = did(bench, "new")
    goes_on(bench)
    assert isinstance(end_of(await turn), Down)
    assert did(bench, "new") == chats
    assert is_free(bench)


async def test_while_files_are_brought_another_tries_whether_the_account_s_rest_is_over(make: MakeBench) -> None:
    bench = make(answer(HELLO), answer(HELLO))
    here = bench.on("a")
    here.on_report = bench.pool.look
    here.failed("q-eyes", Challenged("A person has to look."))
    bench.clock.now += 10_000
    turn = await bringing(bench)
    assert not here.rest.probing(bench.clock.now)
    assert (await bench.answered(asks("Hi"))).text == "Hello"
    goes_on(bench)
    assert end_of(await turn) == "stop"
    assert is_free(bench)


async def test_who_comes_back_as_the_first_after_a_rest_is_the_one_who_tries(make: MakeBench) -> None:
    bench = make(answer(HELLO))
    here = bench.on("a")
    here.failed("q-eyes", Challenged("A person has to look."))
    bench.clock.now += 10_000
    turn = await bringing(bench)
    bench.clock.now += 1_000
    bench.net.holds["ask"] = asking = asyncio.Event()
    goes_on(bench)
    await until(lambda: did(bench, "ask") == 1)
    assert here.rest.probing(bench.clock.now)
    asking.set()
    assert end_of(await turn) == "stop"
    assert not here.rest.probing(bench.clock.now)


async def test_who_leaves_after_coming_back_lets_others_look(make: MakeBench) -> None:
    bench = make(*[Unreachable("down") for _ in range(10)])
    for _ in range(5):
        await bench.turn(asks("Hi"))
    here = bench.on("a")
    here.failed("q-eyes", Challenged("A person has to look."))
    bench.clock.now += 10_000
    turn = await bringing(bench)
    bench.net.holds["ask"] = asyncio.Event()
    asked = did(bench, "ask")
    goes_on(bench)
    await until(lambda: did(bench, "ask") == asked + 1)
    with pytest.raises(Down):
        bench.turns.health.ask()
    turn.cancel()
    await asyncio.wait([turn])
    bench.turns.health.ask()
    assert not here.rest.probing(bench.clock.now)
    assert is_free(bench)


# --- sessions and accounts ---


async def test_a_session_that_ends_while_a_file_is_brought_is_renewed_and_the_turn_goes_on(make: MakeBench) -> None:
    bench = make(answer(HELLO), refreshable=True)
    bench.site.says["ticket"].append(LoginExpired("The session is over."))
    assert (await bench.answered(shows(new(1), new(2)))).text == "Hello"
    assert (did(bench, "refresh"), did(bench, "new"), len(ids(bench))) == (1, 1, 2)
    assert sorted(stored(bench)) == [picture(1), picture(2)]
    assert is_free(bench)


async def test_a_session_that_cannot_be_renewed_ends_the_turn_and_the_account_knows(make: MakeBench) -> None:
    bench = make()
    bench.site.says["ticket"].append(LoginExpired("The session is over."))
    assert isinstance(end_of(await bench.turn(shows())), LoginExpired)
    assert isinstance(bench.on("a").resting(), LoginExpired)
    assert not is_asked(bench)


async def test_where_too_much_was_uploaded_only_uploads_rest(make: MakeBench) -> None:
    bench = make(answer(HELLO), answer(HELLO))
    bench.site.says["ticket"].append(Throttled("Too many tickets.", retry_after=75))
    fault = end_of(await bench.turn(shows(new(1))))
    assert isinstance(fault, Throttled)
    assert (fault.param, fault.retry_after) == ("picture-1", 75)
    assert (await bench.answered(asks("Hi", model="q-eyes"))).text == "Hello"
    again = end_of(await bench.turn(shows(new(1))))
    assert isinstance(again, Throttled)
    assert again.retry_after is not None
    assert 60 < again.retry_after <= 75
    assert did(bench, "ticket") == 1, "nobody asks before the time is over"
    bench.clock.now += 75
    assert (await bench.answered(shows(new(1)))).text == "Hello"


async def test_another_account_takes_a_turn_whose_files_the_first_may_not_upload(make: MakeBench) -> None:
    bench = make(*[answer(HELLO)] * 1, users="ab")
    bench.site.says["ticket"].append(Throttled("Too many tickets.", retry_after=75))
    assert (await bench.answered(shows(new(1)))).text == "Hello"
    assert (did(bench, "ticket"), did(bench, "new")) == (2, 1)
    first = other(bench)
    assert isinstance(first.refusal(UPLOADING), Throttled)
    assert first.refusal("q-eyes") is None
    assert bench.on(bench.user(bench.record.account)).refusal(UPLOADING) is None


async def test_while_uploads_rest_files_go_where_they_may_and_that_costs_no_second_try(make: MakeBench) -> None:
    bench = make(*[answer(HELLO) for _ in range(20)], users="ab")
    bench.on("a").failed(UPLOADING, RateLimited("Enough for today.", retry_after=900))
    users = list[str]()
    for number in range(9):
        await bench.answered(shows(new(number)))
        users.append(bench.user(bench.record.account))
        await bench.answered(asks(f"Hi {number}"))
        users.append(bench.user(bench.record.account))
    assert users[::2] == ["b"] * 9
    assert set(users[1::2]) == {"a"}


async def test_where_no_account_may_upload_the_wait_is_that_of_the_uploads(make: MakeBench) -> None:
    bench = make(users="ab")
    for user, seconds in (("a", 900), ("b", 500)):
        bench.on(user).failed(UPLOADING, RateLimited("Enough for today.", retry_after=seconds))
    fault = end_of(await bench.turn(shows(new(1))))
    assert isinstance(fault, RateLimited)
    assert fault.retry_after is not None
    assert fault.retry_after > 400
    assert (did(bench, "ticket"), is_asked(bench)) == (0, False)


async def test_a_file_that_is_there_serves_while_uploads_rest(make: MakeBench) -> None:
    bench = make(answer(HELLO), answer(HELLO))
    await bench.answered(shows(new(1)))
    bench.on("a").failed(UPLOADING, RateLimited("Enough for today.", retry_after=900))
    assert (await bench.answered(shows("Once more:", new(1)))).text == "Hello"
    assert ids(bench, 0) == ids(bench, 1)


@pytest.mark.parametrize("kind", [Challenged, Blocked])
async def test_a_wall_before_uploads_is_one_before_everything(make: MakeBench, kind: type[Fault]) -> None:
    bench = make(answer(HELLO), users="ab")
    bench.site.says["ticket"].append(kind("A person has to look."))
    assert (await bench.answered(shows(new(1)))).text == "Hello"
    assert isinstance(other(bench).refusal("q-switch"), kind)


# --- conversations ---


async def test_where_a_conversation_goes_on_only_new_files_are_brought(make: MakeBench) -> None:
    bench = make(answer(HELLO), answer(HELLO), answer(HELLO))
    first = shows("Look:", new(1))
    second = after(first, await bench.answered(first), "And this?", new(2))
    reply = await bench.answered(second)
    await bench.answered(after(second, reply, "Which is larger?"))
    assert bench.way == ("continue", "next")
    assert [ids(bench, at) for at in range(3)] == [["file-1"], ["file-2"], []]
    assert stored(bench) == [picture(1), picture(2)]
    assert bench.asked == ["chat-1", ONWARD, ONWARD]


async def test_a_file_from_an_address_is_fetched_only_when_it_is_new(make: MakeBench) -> None:
    bench = make(answer(HELLO), answer(HELLO))
    bench.files.fetcher.web[CAT] = There(picture(1))
    first = shows("Look:", remote(CAT))
    await bench.answered(after(first, await bench.answered(first), "And now?"))
    assert (bench.way[0], bench.files.fetcher.log) == ("continue", [CAT])


async def test_a_file_that_the_chat_has_may_be_gone_here(make: MakeBench) -> None:
    bench = make(answer(HELLO), answer(HELLO))
    bench.files.keep("file-a")
    first = shows("Look:", kept("file-a"))
    second = after(first, await bench.answered(first), "And now?")
    bench.files.shelf.data.clear()
    assert (await bench.answered(second)).text == "Hello"


async def test_where_the_chat_is_gone_all_files_go_with_all_that_was_said(make: MakeBench) -> None:
    bench = make(answer(HELLO), ChatLost("deleted"), answer(HELLO))
    first = shows("Look:", new(1))
    await bench.answered(after(first, await bench.answered(first), "And this?", new(2)))
    assert bench.way == ("replay", "lost")
    assert [ids(bench, at) for at in range(3)] == [["file-1"], ["file-2"], ["file-1", "file-2"]]
    assert stored(bench) == [picture(1), picture(2)], "each was brought once"
    assert bench.record.files == 2


async def test_on_another_account_all_files_are_brought_there(make: MakeBench) -> None:
    bench = make(answer(HELLO), Challenged("A person has to look."), answer(HELLO), users="ab")
    bench.files.fetcher.web[CAT] = There(picture(2))
    bench.files.keep("file-a", picture(3))
    first = shows("Look:", new(1))
    reply, before = await bench.answered(first), bench.record.account
    await bench.answered(after(first, reply, "And these?", remote(CAT), kept("file-a")))
    assert bench.way == ("replay", "account")
    assert bench.record.account != before
    assert [len(ids(bench, at)) for at in range(3)] == [1, 2, 3]
    assert not set(ids(bench, 2)) & {*ids(bench, 0), *ids(bench, 1)}
    assert sorted(stored(bench)) == sorted([picture(1), picture(2), picture(3)] * 2)
    assert bench.files.fetcher.log == [CAT]
    assert is_free(bench)


async def test_a_conversation_whose_account_may_not_upload_goes_on_elsewhere_with_all_its_files(
    make: MakeBench,
) -> None:
    bench = make(answer(HELLO), answer(HELLO), users="ab")
    first = shows("Look:", new(1))
    second = after(first, await bench.answered(first), "And this?", new(2))
    before = bench.record.account
    bench.site.says["ticket"].append(Throttled("Too many tickets.", retry_after=75))
    await bench.answered(second)
    assert bench.way == ("replay", "account")
    assert bench.record.account != before
    assert len(ids(bench)) == 2
    assert bench.asked == ["chat-1", "chat-2"], "the first chat was not even entered"


async def test_what_fails_before_the_chat_is_entered_leaves_it_free(make: MakeBench) -> None:
    bench = make(answer(HELLO), answer(HELLO))
    first = shows("Look:", new(1))
    second = after(first, await bench.answered(first), "And this?", new(2))
    _storage(bench)
    assert isinstance(end_of(await bench.turn(second)), UploadFailed)
    await bench.answered(second)
    assert (bench.way, bench.asked) == (("continue", "next"), ["chat-1", ONWARD])


async def test_too_many_files_are_refused_before_anything_is_asked(make: MakeBench) -> None:
    bench = make()
    with pytest.raises(InvalidRequest) as raised:
        await bench.begin(shows(*map(new, range(4))))
    assert (raised.value.code, raised.value.param) == ("too_many_files", "picture-3")
    assert (bench.log, is_free(bench)) == ([], True)


async def test_a_conversation_may_have_more_files_than_one_question_holds_as_long_as_it_goes_on(
    make: MakeBench,
) -> None:
    bench = make(answer(HELLO), answer(HELLO), ChatLost("deleted"))
    first = shows("Look:", new(1), new(2))
    second = after(first, await bench.answered(first), "And these?", new(3), new(4))
    third = after(second, await bench.answered(second), "And?")
    assert [len(ids(bench, at)) for at in range(2)] == [2, 2]
    fault = end_of(await bench.turn(third))
    assert isinstance(fault, InvalidRequest)
    assert (fault.code, fault.param) == ("too_many_files", "picture-4")
    assert (bench.asked, is_free(bench)) == (["chat-1", ONWARD, ONWARD], True)


async def test_a_conversation_whose_news_are_too_long_is_told_anew_with_all_its_files(make: MakeBench) -> None:
    bench = make(answer(HELLO), answer(HELLO), offload=True)
    first = shows("Look:", new(1))
    longer = after(first, await bench.answered(first), "word " * 1000, new(2))
    longer = structs.replace(longer, messages=(*longer.messages, message("user", "word " * 1000)))
    bench.site.longest = 10_500
    await bench.answered(longer)
    assert bench.way == ("replay", "context")
    assert (bench.record.offloaded, len(ids(bench))) == (True, 3)
    assert stored(bench)[:2] == [picture(1), picture(2)]


async def test_the_oldest_part_of_a_long_conversation_is_a_document_that_stays_the_same(make: MakeBench) -> None:
    bench = make(answer(HELLO), answer(HELLO), offload=True)
    bench.site.longest = 9000
    request = TurnRequest(model="q-eyes", messages=talk(*["word " * 200] * 20, "And now?"))
    reply = await bench.answered(request, Asker("tenant", mode="replay"))
    assert (bench.record.offloaded, bench.record.files, did(bench, "parse")) == (True, 1, 1)
    assert bench.log.index("parse file-1") < next(at for at, entry in enumerate(bench.log) if entry.startswith("new "))
    await bench.answered(after(request, reply, "And then?"), Asker("tenant", mode="replay"))
    assert ids(bench, 0) == ids(bench, 1) == ["file-1"]
    assert did(bench, "ticket") == 1


HISTORY_MISHAPS: dict[str, Callable[[Bench], None]] = {
    "storage": _storage,
    "reader": _reader,
    "reader is down": lambda bench: bench.site.says["parse"].append(SiteError("Down.", retry_after=60)),
    "slow": _slow,
}


@pytest.mark.parametrize("breaks", HISTORY_MISHAPS.values(), ids=HISTORY_MISHAPS.keys())
async def test_a_conversation_whose_document_cannot_be_brought_may_be_asked_again_later(
    make: MakeBench, breaks: Callable[[Bench], None]
) -> None:
    bench = make(answer(HELLO), users="ab", offload=True)
    bench.site.longest = 9000
    breaks(bench)
    request = TurnRequest(model="q-eyes", messages=talk(*["word " * 200] * 20, "And now?"))
    fault = end_of(await bench.turn(request))
    assert isinstance(fault, Busy)
    assert (fault.status, fault.code, fault.param, fault.retryable) == (503, "upload_failed", HISTORY, True)
    assert fault.retry_after == (60 if breaks is HISTORY_MISHAPS["reader is down"] else None)
    assert (did(bench, "ticket"), is_asked(bench), is_free(bench)) == (1, False, True)
    assert bench.turns.health.state() == "closed"
    assert (await bench.answered(request)).text == "Hello"


async def test_files_of_a_client_keep_their_own_faults_beside_the_document(make: MakeBench) -> None:
    bench = make(offload=True)
    bench.site.longest = 12_000
    bench.site.says["ticket"].append(InvalidRequest("No such file.", code="unsupported_file"))
    messages = (message("user", new(1)), message("assistant", "a"), *talk(*["word " * 200] * 20, "And now?"))
    fault = end_of(await bench.turn(TurnRequest(model="q-eyes", messages=messages)))
    assert (fault.code, fault.param) == ("unsupported_file", "picture-1")  # type: ignore[union-attr]


# --- once more ---


async def test_a_second_try_brings_nothing_again(make: MakeBench) -> None:
    bench = make(Unreachable("reset"), answer(HELLO), files={"cache_seconds": 0})
    assert (await bench.answered(shows(new(1)))).text == "Hello"
    assert (did(bench, "ticket"), bench.asked) == (1, ["chat-1", "chat-2"])
    assert ids(bench, 0) == ids(bench, 1) == ["file-1"]


async def test_a_question_that_is_put_again_with_a_note_has_the_same_files(make: MakeBench) -> None:
    mistaken, right = say(writes("Nonsense", file_path="a")), say(writes("Read", file_path="a"))
    bench = make(answer(mistaken), answer(right), files={"cache_seconds": 0})
    request = TurnRequest(model="q-eyes", messages=(message("user", "Look:", new(1)),), tools=TOOLS)
    await bench.turn(request)
    assert bench.record.tries == 2
    assert ids(bench, 0) == ids(bench, 1) == ["file-1"]
    assert did(bench, "ticket") == 1
    assert is_free(bench)


async def test_where_a_conversation_goes_on_a_note_stands_beside_the_new_files_alone(make: MakeBench) -> None:
    mistaken, right = say(writes("Nonsense", file_path="a")), say(writes("Read", file_path="a"))
    bench = make(answer(HELLO), answer(mistaken), answer(right))
    first = TurnRequest(model="q-eyes", messages=(message("user", "Look:", new(1)),), tools=TOOLS)
    await bench.answered(after(first, await bench.answered(first), "And this?", new(2)))
    assert bench.asked == ["chat-1", ONWARD, ONWARD]
    assert [ids(bench, at) for at in range(3)] == [["file-1"], ["file-2"], ["file-2"]]
    assert is_free(bench)


async def test_a_file_that_the_site_could_not_use_is_named_and_brought_again_next_time(make: MakeBench) -> None:
    bench = make(InvalidRequest("The site refused it.", code="unsupported_file"), answer(HELLO))
    fault = end_of(await bench.turn(shows(new(1))))
    assert isinstance(fault, InvalidRequest)
    assert (fault.code, fault.param) == ("unsupported_file", "picture-1")
    await bench.answered(shows(new(1)))
    assert (ids(bench, 0), ids(bench, 1)) == (["file-1"], ["file-2"])


async def test_a_file_that_the_site_could_not_use_leaves_those_of_others_as_they_are(make: MakeBench) -> None:
    refusal = InvalidRequest("The site refused it.", code="unsupported_file")
    bench = make(answer(HELLO), refusal, answer(HELLO))
    await bench.answered(shows(new(1)))
    await bench.turn(shows(new(2)))
    await bench.answered(shows(new(1)))
    assert [ids(bench, at) for at in range(3)] == [["file-1"], ["file-2"], ["file-1"]]


async def test_of_several_files_the_site_does_not_say_which(make: MakeBench) -> None:
    bench = make(InvalidRequest("The site refused it.", code="unsupported_file"))
    fault = end_of(await bench.turn(shows(new(1), new(2))))
    assert isinstance(fault, InvalidRequest)
    assert fault.param == "messages"


# --- who leaves, and several at once ---


@pytest.mark.parametrize("where", ["ticket", "fetch", "store"])
async def test_who_leaves_while_files_are_brought_leaves_nothing(make: MakeBench, where: str) -> None:
    bench = make(answer(HELLO))
    bench.files.keep("file-a", picture(1))
    bench.files.fetcher.web[CAT] = There(picture(2))
    hold = asyncio.Event()
    if where == "ticket":
        bench.net.holds["ticket"] = hold
    elif where == "fetch":
        bench.files.fetcher.holds[CAT] = hold
    else:
        bench.files.storage.hold = hold
    request = shows(kept("file-a"), remote(CAT), new(3))
    leaving = asyncio.create_task(bench.turn(request))
    await until(lambda: bool(bench.files.fetcher.log) if where == "fetch" else did(bench, where) == 3)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert not is_asked(bench)
    assert is_free(bench)
    assert stored(bench) == []
    hold.set()
    assert (await bench.answered(request)).text == "Hello"
    assert bench.turns.health.state() == "closed"


async def test_who_leaves_early_has_what_was_fetched_given_back(make: MakeBench) -> None:
    bench = make(answer(HELLO, say("there")))
    bench.files.fetcher.web[CAT] = There(picture(1))
    await bench.left(shows(remote(CAT)))
    assert bench.files.fetcher.given[0].closed
    assert is_free(bench)


async def test_answers_to_one_request_bring_its_file_once(make: MakeBench) -> None:
    bench = make(*[answer(HELLO) for _ in range(3)])
    bench.files.storage.hold = hold = asyncio.Event()
    turns = await bench.turns.begin_all(
        shows(new(1)), bench.pool, [TurnRecord(f"r{number}", "e") for number in range(3)], ME
    )
    ends = list[Event]()

    async def all_of_them() -> None:
        async with aclosing(together(turns)) as batches:
            ends.extend([events[-1] async for _, events in batches if isinstance(events[-1], Finished | Failed)])

    running = asyncio.create_task(all_of_them())
    await until(lambda: did(bench, "store") == 1)
    hold.set()
    await running
    assert ends == [Finished()] * 3
    assert (did(bench, "ticket"), [ids(bench, at) for at in range(3)]) == (1, [["file-1"]] * 3)
    assert is_free(bench)


async def test_answers_to_one_request_fetch_and_open_its_files_once(make: MakeBench) -> None:
    bench = make(answer(HELLO), part(SILENCE), answer(HELLO), users="ab", files={"inline": 1000})
    bench.files.keep("file-a", b"some text", kind="document", media_type="text/plain", name="a.txt")
    bench.files.fetcher.web[CAT] = There(picture(2))
    records = [TurnRecord(f"r{number}", "e") for number in range(3)]
    turns = await bench.turns.begin_all(shows(kept("file-a"), remote(CAT)), bench.pool, records, ME)
    assert len(bench.files.shelf.given) == 1

    async def ended() -> None:
        over = 0
        async with aclosing(together(turns)) as batches:
            async for _, events in batches:
                over += isinstance(events[-1], Finished)
                if over == 2:
                    assert [content.closed for content in bench.files.fetcher.given] == [False], "one turn has it still"
                    return

    async with asyncio.timeout(10):
        await ended()
    assert bench.files.fetcher.log == [CAT]
    assert len({record.account for record in records}) == 2
    assert is_free(bench)


async def test_when_the_one_that_brings_it_leaves_another_does(make: MakeBench) -> None:
    bench = make(answer(HELLO))
    bench.files.storage.hold = hold = asyncio.Event()
    first = asyncio.create_task(bench.turn(shows(new(1))))
    await until(lambda: did(bench, "store") == 1)
    second = asyncio.create_task(bench.answered(shows(new(1))))
    await until(lambda: bench.on("a").aside == 2)
    first.cancel()
    await until(lambda: did(bench, "store") == 2)
    hold.set()
    assert (await second).text == "Hello"
    assert stored(bench) == [picture(1)]
    assert first.cancelled()
    assert is_free(bench)


async def test_a_fault_of_one_upload_is_told_to_each_turn_by_its_own_name(make: MakeBench) -> None:
    bench = make()
    bench.files.storage.hold = hold = asyncio.Event()
    bench.files.storage.says.append(Unreachable("The storage is away."))
    running = [asyncio.create_task(bench.turn(shows(given(param=param)))) for param in "pq"]
    await until(lambda: bench.on("a").aside == 2 and did(bench, "store") == 1)
    hold.set()
    faults = [end_of(events) for events in await asyncio.gather(*running)]
    assert [type(fault) for fault in faults] == [UploadFailed, UploadFailed]
    assert [fault.param for fault in faults if isinstance(fault, Fault)] == ["p", "q"]
