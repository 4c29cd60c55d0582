"""Files in conversations that go on: what a chat or an account has already is not brought there again, and what nobody
has is. And conversations so long that their oldest part is a file."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qwen_gateway.simulator import Simulator
from qwen_gateway.simulator.seen import Seen

from . import file_samples as samples
from .attaching import (
    FETCHING,
    Web,
    answers,
    asked,
    check,
    file,
    image,
    keep,
    kept,
    quick_reading,
    refused,
    sound,
    text,
    uploads,
    user,
    web_server,
)
from .conversations import CONVERSING, NEXT, OTHER, UNKNOWN, Client, Reply, fresh, tree
from .file_samples import Sample
from .rig import PATIENT, Rig, running, until
from .wire import Json

GOING_ON = {**CONVERSING, **PATIENT, "delete_chats": 24}
HISTORY = re.compile(r"history-(\d+)\.txt")
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    with quick_reading():
        async with running(tmp_path_factory.mktemp("home"), **GOING_ON, **FETCHING) as found:
            yield found


@pytest.fixture
async def rig(home: Rig) -> Rig:
    return await fresh(home)


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Web]:
    async with web_server() as found:
        yield found


@pytest.fixture
async def site() -> AsyncIterator[Simulator]:
    async with Simulator() as found:
        yield found


def _picture() -> Sample:
    return samples.png().named("image.png")


async def _say(client: Client, *parts: Json | str, answer: str | None = None, **headers: str) -> Reply:
    client.messages.append(user(*parts))
    return await client.send(answer, **headers)


def _last(rig: Rig) -> Seen:
    return rig.sim.site.seen[-1]


def _long(rig: Rig, entries: int, size: int = 2000, **more: object) -> Client:
    """Who has said a lot. Each entry can be told from all others."""
    client = Client(rig, **more)  # type: ignore[arg-type]
    for number in range(entries):
        role = "assistant" if number % 2 else "user"
        client.add(role, f"<<{number}>> " + f"entry {number} goes on. " * (size // 20))
    return client


def _document(rig: Rig, seen: Seen) -> tuple[str, str]:
    """Name and text of what came last of a question's files: the text counts the others from 1."""
    told = seen.files[-1]
    assert isinstance(told, dict)
    found = rig.sim.site.bucket.of_file(told["id"])
    assert found is not None
    assert found.data is not None
    assert (told["file_type"], told["file_class"]) == ("text/plain", "document")
    assert HISTORY.fullmatch(told["name"])
    return told["name"], found.data.decode()


def _entries(said: str) -> list[int]:
    return [int(one) for one in re.findall(r"<<(\d+)>>", said)]


# -- in one chat


@BOTH
async def test_what_the_chat_has_is_not_brought_there_again(rig: Rig, stream: bool) -> None:
    """B27: several files in several turns, each of them told in every request."""
    first, second, paper, voice = _picture(), samples.jpeg().named("image.jpg"), samples.pdf(), samples.wav()
    client = Client(rig, stream=stream)
    await _say(client, "What is it?", image(first), answer="A cat.")
    check(rig, _last(rig), first)
    reply = await client.say("Sure?", "Yes.")
    assert (reply.way, reply.asked, _last(rig).files) == (NEXT, "Sure?", [])
    reply = await _say(client, "And these?", image(second), "Mind the paper.", file(paper), answer="A dog.")
    assert reply.way == NEXT
    check(rig, _last(rig), second, paper)
    reply = await client.say("And the first?", "Still a cat.")
    assert (reply.way, reply.asked, _last(rig).files) == (NEXT, "And the first?", [])
    reply = await _say(client, "Listen.", sound(voice), answer="Meow.")
    assert reply.way == NEXT
    check(rig, _last(rig), voice.named("audio.wav"))
    assert uploads(rig) == 4
    assert [len(path) for (path,) in tree(rig)] == [10]


async def test_a_regenerated_answer_gets_its_files_again(rig: Rig) -> None:
    """B2, B4: the question is told anew, in the same chat or in another, and its file is there already."""
    picture = _picture()
    client = Client(rig)
    await _say(client, "one", image(picture), answer="1")
    client.forget()
    await client.send("1b")
    check(rig, _last(rig), picture)
    other = _picture()
    await _say(client, "two", image(other), answer="2")
    client.forget()
    assert (await client.send("2b")).way[0] == "continue"
    check(rig, _last(rig), other)
    assert uploads(rig) == 2


async def test_another_picture_with_the_same_words_is_another_conversation(rig: Rig) -> None:
    """B28"""
    old, new = _picture(), _picture()
    client = Client(rig)
    await _say(client, "What is it?", image(old), answer="A cat.")
    other = client.fork()
    other.messages[0] = user("What is it?", image(new))
    reply = await other.say("Sure?", "No.")
    assert reply.way == UNKNOWN
    check(rig, _last(rig), new)
    assert (await client.say("Sure?", "Yes.")).way == NEXT
    assert _last(rig).files == []
    assert uploads(rig) == 2


async def test_a_picture_that_is_left_out_or_comes_in_is_another_conversation(rig: Rig) -> None:
    """B28"""
    picture = _picture()
    client = Client(rig)
    await _say(client, "one", image(picture), answer="1")
    without = client.fork()
    without.messages[0] = user("one")
    assert (await without.say("two", "2")).way == UNKNOWN
    assert _last(rig).files == []
    more = client.fork()
    more.messages[0] = user("one", image(picture), image(_picture()))
    assert (await more.say("two", "2")).way == UNKNOWN
    assert len(_last(rig).files) == 2
    swapped = client.fork()
    swapped.messages[0] = user(image(picture), "one")
    assert (await swapped.say("two", "2")).way == UNKNOWN


async def test_the_same_bytes_are_the_same_file_however_they_come(rig: Rig) -> None:
    """B10, B27: a client keeps what it sent in another form."""
    picture, paper = samples.png(), samples.pdf()
    client = Client(rig)
    await _say(client, "one", image(picture), file(paper), answer="1")
    as_file, kept_here = file(picture), kept(await keep(rig, picture))
    for one, other in (
        (as_file, kept(await keep(rig, paper))),
        (kept_here, file(paper.named("another name.pdf"))),
        (image(picture, detail="high"), file(paper)),
        (image(picture.data_url.replace("image/png", "IMAGE/PNG;charset=x").rstrip("=")), file(paper)),
    ):
        again = client.fork()
        again.messages[0] = user("one", one, other)
        assert (await again.say("two", "2")).way == NEXT
        assert _last(rig).files == []
    assert uploads(rig) == 2


@BOTH
async def test_an_address_of_an_older_message_is_not_fetched_again(rig: Rig, server: Web, stream: bool) -> None:
    """B27: it may be gone by now."""
    picture, other = samples.png(), samples.jpeg()
    url = server.put(picture, "/first.png")
    server.asked.clear()
    client = Client(rig, stream=stream)
    await _say(client, "What is it?", image(url), answer="A cat.")
    check(rig, _last(rig), picture.named("first.png"))
    assert (await client.say("Sure?", "Yes.")).way == NEXT
    assert (await _say(client, "And this?", image(server.put(other, "/second.jpg")), answer="A dog.")).way == NEXT
    check(rig, _last(rig), other.named("second.jpg"))
    assert (await client.say("Sure?", "Yes.")).way == NEXT
    assert server.asked == {"/first.png": 1, "/second.jpg": 1}
    # Told anew, it is asked for: what is there now is what counts.
    reply = await client.say("And now?", "Well.", X_Continuation="replay")
    assert server.asked == {"/first.png": 2, "/second.jpg": 2}
    check(rig, _last(rig), picture.named("first.png"), other.named("second.jpg"))
    assert reply.asked.count("attached image") >= 2
    assert uploads(rig) == 2


async def test_another_address_is_another_file(rig: Rig, server: Web) -> None:
    """B28: what is there is not known before it is fetched."""
    picture = samples.png()
    client = Client(rig)
    await _say(client, "one", image(server.put(picture, "/a.png")), answer="1")
    client.messages[0] = user("one", image(server.put(picture, "/b.png")))
    assert (await client.say("two", "2")).way == UNKNOWN


@BOTH
async def test_messages_of_nothing_but_files_go_on(rig: Rig, stream: bool) -> None:
    """B50"""
    first, second = _picture(), _picture()
    client = Client(rig, stream=stream)
    assert (await _say(client, image(first), answer="A cat.")).asked == "(see attachment)"
    reply = await _say(client, image(second), answer="A dog.")
    assert (reply.way, reply.asked) == (NEXT, "(see attachment)")
    check(rig, _last(rig), second)
    again = client.fork()
    again.forget(2)
    assert (await _say(again, image(_picture()), answer="A fox.")).way[0] == "continue"


async def test_a_short_text_is_part_of_the_conversation(rig: Rig) -> None:
    """B27, B28 for what is said in the message."""
    note = samples.txt()
    client = Client(rig)
    await _say(client, "Sum it up.", file(note), answer="Words.")
    reply = await client.say("Shorter.", "Word.")
    assert (reply.way, reply.asked) == (NEXT, "Shorter.")
    other = client.fork()
    other.messages[0] = user("Sum it up.", file(samples.txt()))
    assert (await other.say("And now?", "3")).way == UNKNOWN
    assert uploads(rig) == 0


@BOTH
async def test_pictures_of_tools_go_on_as_well(rig: Rig, stream: bool) -> None:
    """B22, B27: a result with a picture is told alone; what came before is in the chat."""
    first, second = _picture(), _picture()
    client = Client(rig, stream=stream)
    await _say(client, "Look at my screen.", answer="I do.")
    for number, shot in enumerate((first, second)):
        client.call(f"call_{number}", "")
        client.messages[-1]["content"] = [text("Here."), image(shot)]
        await client.send("Seen.")
        assert _last(rig).attached[-1]["sha256"] == shot.sha256
    check(rig, _last(rig), first, second)  # told anew: these calls are the client's own, no answer has made them
    reply = await client.say("And?", "Nothing.")
    assert (reply.way, _last(rig).files) == (NEXT, [])
    assert uploads(rig) == 2


async def test_a_call_of_ours_is_answered_with_a_picture(rig: Rig) -> None:
    """B22: only the result goes to the chat, and its picture with it."""
    shot = _picture()
    tool = {"type": "function", "function": {"name": "screenshot", "parameters": {"type": "object", "properties": {}}}}
    client = Client(rig, tools=[tool])
    await rig.program({"tool_calls": [{"name": "screenshot", "arguments": {}}]})
    await client.say("Look at my screen.")
    client.results("")
    client.messages[-1]["content"] = [image(shot), text("1 screen")]
    reply = await client.send("A terminal.")
    assert reply.way == NEXT
    check(rig, _last(rig), shot)
    assert "(see attached image 1: image.png)" in reply.asked
    assert (await client.say("Sure?", "Yes.")).way == NEXT
    assert _last(rig).files == []


async def test_files_that_have_ended_at_the_site_stay_in_their_chat(rig: Rig) -> None:
    """B47: the chat keeps what was read of them."""
    client = Client(rig)
    await _say(client, "Read it.", file(samples.pdf()), answer="Done.")
    assert (await rig.http.post(f"{rig.sim.url}/__sim/forget", json={"files": "all"})).status_code == 200
    for number in range(8):
        reply = await client.say(f"{number}?", f"{number}!")
        assert (reply.way, _last(rig).files) == (NEXT, [])
    assert uploads(rig) == 1


async def test_a_chat_that_is_gone_gets_a_new_one_with_its_files(rig: Rig) -> None:
    """B18: they are still there."""
    picture, paper = _picture(), samples.pdf()
    client = Client(rig)
    await _say(client, "one", image(picture), answer="1")
    await _say(client, "two", file(paper), answer="2")
    assert (await rig.http.post(f"{rig.sim.url}/__sim/forget", json={"chats": "all"})).status_code == 200
    assert (await client.say("three", "3")).way == ("replay", "lost")
    check(rig, _last(rig), picture, paper)
    assert (await client.say("four", "4")).way == NEXT
    assert _last(rig).files == []
    assert uploads(rig) == 2


async def test_another_model_is_told_of_the_files_too(rig: Rig) -> None:
    """B7"""
    picture = _picture()
    client = Client(rig)
    await _say(client, "one", image(picture), answer="1")
    client.body = {"model": OTHER}
    assert (await client.say("two", "2")).way == UNKNOWN
    check(rig, _last(rig), picture)
    assert uploads(rig) == 1


async def test_the_model_knows_of_a_picture_of_before(rig: Rig) -> None:
    """B27 with a model that looks at what its chat holds."""
    rig.sim.site.controlled = False
    client = Client(rig)
    await _say(client, "Here is a picture.", image(samples.png(width=7, height=5)))
    reply = await client.say("What is in the picture?")
    assert reply.way == NEXT
    assert "7 × 5 pixels" in reply.text


# -- what an account has


async def test_a_file_is_brought_to_an_account_once(rig: Rig, server: Web) -> None:
    """Whoever asks, whatever is asked, however it comes."""
    picture = samples.png()
    parts = [file(picture), kept(await keep(rig, picture)), image(server.put(picture))]
    for number, part in enumerate(parts):
        check(rig, await asked(rig, False, user(f"{number}", part)), picture)
    made = await rig.manage("POST", "/keys", {"name": picture.sha256[:8]})
    rig.key = str(made.json()["text"])
    check(rig, await asked(rig, True, user("mine", parts[0])), picture)
    assert uploads(rig) == 1


async def test_the_same_bytes_under_another_name_are_told_by_that_name(rig: Rig) -> None:
    """The site goes by names, so it has the file twice."""
    picture = samples.png()
    for name in ("before.png", "after.png", "before.png"):
        check(rig, await asked(rig, False, user(name, file(picture.named(name)))), picture.named(name))
    assert uploads(rig) == 2


async def test_many_at_once_bring_a_file_once(rig: Rig) -> None:
    picture, paper = _picture(), samples.pdf()
    await asyncio.gather(*(answers(rig, bool(n % 2), user(f"{n}", image(picture), file(paper))) for n in range(12)))
    assert len(rig.sim.site.seen) == 12
    for seen in rig.sim.site.seen:
        check(rig, seen, picture, paper, at_once=True)
    assert uploads(rig) == 2


async def test_after_a_while_it_is_brought_again(tmp_path: Path) -> None:
    """A file that the site no longer has is left out of the answer without a word, so it is not trusted for long."""
    async with running(tmp_path, reuse_uploads=0.4) as rig:
        picture = _picture()
        await asked(rig, False, user("one", image(picture)))
        done = time.time()
        await until(lambda: time.time() > done + 0.4)
        seen = await asked(rig, False, user("two", image(picture)))
        check(rig, seen, picture)
        assert uploads(rig) == 2
    async with running(tmp_path / "never", reuse_uploads=0) as rig:
        for number in range(2):
            check(rig, await asked(rig, False, user(f"{number}", image(picture))), picture)
        assert uploads(rig) == 2


async def test_what_was_brought_is_known_after_a_restart(tmp_path: Path, site: Simulator) -> None:
    """B34: the conversation goes on, and another one needs no upload."""
    picture = _picture()
    async with running(tmp_path, site=site, **GOING_ON) as rig:
        client = Client(rig)
        await _say(client, "one", image(picture), answer="1")
        await rig.settle()
    async with running(tmp_path, site=site, **GOING_ON) as rig:
        client.rig = rig
        assert (await client.say("two", "2")).way == NEXT
        assert _last(rig).files == []
        check(rig, await asked(rig, False, user("another", image(picture))), picture)
        assert uploads(rig) == 1


# -- several accounts


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Rig]:
    """A gateway with the accounts `ann` and `bob`."""
    with quick_reading():
        async with running(tmp_path, own=False, **GOING_ON, **FETCHING) as found:
            await found.join("ann", "bob")
            yield found


def _whose(rig: Rig) -> list[tuple[str | None, str]]:
    """Of each file of each question: who asked, and whose file it is."""
    objects = rig.sim.site.bucket.objects.values()
    owners = {one.file_id: one.user for one in objects}
    return [(seen.account, owners[str(one["id"])]) for seen in rig.sim.site.seen for one in seen.attached]


@BOTH
async def test_no_account_is_told_of_a_file_of_another(pair: Rig, stream: bool) -> None:
    """Both have it, each its own."""
    picture, paper = _picture(), samples.pdf()
    await asyncio.gather(*(answers(pair, stream, user(f"{n}", image(picture), file(paper))) for n in range(12)))
    for seen in pair.sim.site.seen:
        check(pair, seen, picture, paper, at_once=True)
    assert {seen.account for seen in pair.sim.site.seen} == {"ann", "bob"}
    assert {asker == owner for asker, owner in _whose(pair)} == {True}
    assert uploads(pair) == 4


async def test_a_conversation_that_moves_takes_its_files_along(
    pair: Rig,
) -> None:
    """B17: told anew to another account, which gets them too; and which goes on with them."""
    first, second = _picture(), _picture()
    client = Client(pair)
    await _say(client, "one", image(first), answer="1")
    old = _last(pair).account
    assert old is not None
    await pair.behave(**{old: {"state": "rate_limited", "num": 1}})
    reply = await _say(client, "two", image(second), answer="2")
    new = _last(pair).account
    assert (reply.way[0], {old, new}) == ("replay", {"ann", "bob"})
    check(pair, _last(pair), first, second)
    assert (await client.say("three", "3")).way == NEXT
    assert _last(pair).account == new
    assert all(asker == owner for asker, owner in _whose(pair) if asker == new)
    assert uploads(pair) == 4  # the second picture had been brought to the first account before it said no


async def test_callers_with_tokens_of_their_own_have_files_of_their_own(tmp_path: Path) -> None:
    """Kept here, and at the site."""
    picture = samples.png()
    async with running(tmp_path, own=False, pass_through=True, api_keys=(), **GOING_ON) as rig:
        for name in ("ann", "bob"):
            rig.key = rig.sim.token(name)
            file_id = await keep(rig, picture)
            for part in (file(picture), kept(file_id)):
                seen = await asked(rig, False, user(part))
                check(rig, seen, picture)
                assert seen.account == name
            rig.key = rig.sim.token("eve")
            assert (await refused(rig, False, user(kept(file_id))))[0] == "file_not_found"
        assert uploads(rig) == 2


async def test_a_long_conversation_that_moves_takes_its_document_along(pair: Rig) -> None:
    client = _long(pair, 100)
    await client.say("<<100>> one", "<<101>> 1")
    old, first = _last(pair).account, _document(pair, _last(pair))
    assert old is not None
    await pair.behave(**{old: {"state": "rate_limited", "num": 1}})
    reply = await client.say("<<102>> two", "2")
    assert reply.answer.headers["x-gateway-history"] == "document"
    assert _last(pair).account not in (None, old)
    assert _document(pair, _last(pair)) == first
    assert {asker == owner for asker, owner in _whose(pair)} == {True}
    assert uploads(pair) == 2


# -- long conversations


@BOTH
async def test_the_oldest_part_of_a_long_conversation_is_a_document(rig: Rig, stream: bool) -> None:
    client = _long(rig, 100, stream=stream, instructions="Be brief.")
    reply = await client.say("<<100>> What was entry 3?", "That.")
    assert reply.way == UNKNOWN
    assert reply.answer.headers["x-gateway-history"] == "document"
    seen = _last(rig)
    name, document = _document(rig, seen)
    assert [one["status"] for one in seen.attached] == ["seen"]
    assert seen.size <= 117_000
    # Everything stands in one of them, once and in order.
    assert _entries(document) + _entries(seen.prompt) == list(range(101))
    for number in (0, 50, 99):
        assert f"entry {number} goes on. " * 100 in document + seen.prompt
    found = HISTORY.fullmatch(name)
    assert found is not None
    assert int(found[1]) == len(_entries(document))
    assert name in seen.prompt
    assert "Be brief." in seen.prompt
    assert "Be brief." not in document
    # It goes on in that chat.
    reply = await client.say("And entry 4?", "This.")
    assert (reply.way, reply.asked, _last(rig).files) == (NEXT, "And entry 4?", [])
    assert "x-gateway-history" not in reply.answer.headers
    assert uploads(rig) == 1


async def test_the_document_is_used_again_when_the_conversation_is_told_anew(rig: Rig) -> None:
    client = _long(rig, 100)
    names = set()
    for number in range(5):
        reply = await client.say(f"<<{100 + 2 * number}>> next", f"<<{101 + 2 * number}>> yes", X_Continuation="replay")
        assert reply.answer.headers["x-gateway-history"] == "document"
        name, document = _document(rig, _last(rig))
        names.add(name)
        assert _entries(document) + _entries(_last(rig).prompt) == list(range(101 + 2 * number))
    assert len(names) == 1
    assert uploads(rig) == 1


async def test_files_of_long_conversations_come_before_the_document(rig: Rig) -> None:
    """Also those of entries that stand in it."""
    old, new = _picture(), _picture()
    client = _long(rig, 100)
    client.messages[4]["content"] = [text("<<4>> look"), image(old)]
    reply = await _say(client, "<<100>> and now", image(new), answer="Well.")
    seen = _last(rig)
    _, document = _document(rig, seen)
    assert [one["sha256"] for one in seen.attached[:-1]] == [old.sha256, new.sha256]
    assert _entries(document) + _entries(reply.asked) == list(range(101))
    assert "(attached image 1: image.png)" in document
    assert "(attached image 2: image.png)" in reply.asked
    assert uploads(rig) == 3


async def test_several_answers_to_a_long_conversation_share_the_document(rig: Rig) -> None:
    client = _long(rig, 100, n=2)
    client.add("user", "<<100>> go")
    reply = await client.send()
    assert reply.answer.headers["x-gateway-history"] == "document"
    assert [len(seen.files) for seen in rig.sim.site.seen] == [1, 1]
    assert uploads(rig) == 1


@BOTH
async def test_a_long_conversation_can_be_refused(tmp_path: Path, stream: bool) -> None:
    async with running(tmp_path, long_conversations="refuse", **GOING_ON) as rig:
        client = _long(rig, 100, stream=stream)
        client.add("user", "go")
        found = await client.refused()
        error = found.error()
        assert (found.status, error["code"], error["param"]) == (400, "context_length_exceeded", "messages")
        assert not rig.sim.site.seen
        assert uploads(rig) == 0


async def test_texts_that_do_not_fit_together_are_attached_and_it_goes_on(rig: Rig) -> None:
    """Each of them is short enough to be said; also where nothing but what is new has to fit."""
    client = Client(rig)
    for question in ("Compare them.", "And these?"):
        texts = [samples.txt(size=size).named(f"part{size}.py") for size in (30_000, 32_000, 31_000, 29_000)]
        reply = await _say(client, question, *map(file, texts), answer="Fine.")
        assert reply.way == (NEXT if question == "And these?" else ("replay", "first"))
        assert "x-gateway-history" not in reply.answer.headers
        (attached,) = _last(rig).attached
        assert (attached["sha256"], attached["status"]) == (texts[1].sha256, "seen")
        told = [one.data.decode().strip() in reply.asked for one in texts]
        assert told == [True, False, True, True]
    reply = await client.say("And now?", "Still.")
    assert (reply.way, reply.asked) == (NEXT, "And now?")
    assert uploads(rig) == 2


async def test_a_last_message_of_texts_goes_with_the_document_of_what_came_before(rig: Rig) -> None:
    client = _long(rig, 100)
    texts = [samples.txt(size=32_000).named(f"{number}.py") for number in range(4)]
    reply = await _say(client, "<<100>> Compare them.", *map(file, texts), answer="Fine.")
    assert reply.answer.headers["x-gateway-history"] == "document"
    seen = _last(rig)
    _, document = _document(rig, seen)
    assert _entries(document) + _entries(seen.prompt) == list(range(101))
    brought = [one["sha256"] for one in seen.attached[:-1]]
    for one in texts:
        assert (one.sha256 in brought) != (one.data.decode().strip() in seen.prompt)


async def test_a_document_that_cannot_be_brought_may_be_asked_for_again(rig: Rig) -> None:
    client = _long(rig, 100)
    client.add("user", "go")
    for mishap in ({"at": "oss", "what": "ServiceUnavailable"}, {"at": "parse", "what": "failed"}):
        files = {"files": [{**mishap, "times": None}], "site": {}}
        assert (await rig.http.post(f"{rig.sim.url}/__sim/program", json=files)).status_code == 200
        found = await client.fork().refused()
        error = found.error()
        assert (found.status, error["code"], error["param"]) == (503, "upload_failed", "messages")
        assert found.headers["x-should-retry"] == "true"
        assert not rig.sim.site.seen
        assert (await rig.http.post(f"{rig.sim.url}/__sim/program", json={"files": [], "site": {}})).status_code == 200
    assert rig.service.turns.health.state() == "closed"


async def test_one_message_that_is_too_long_is_refused(rig: Rig) -> None:
    """What is to be answered stands in the message itself, whether it goes on or not."""
    client = Client(rig)
    for _ in range(2):
        long = client.fork()
        long.add("user", "word " * 30_000)
        error = (await long.refused()).error()
        assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
        await client.say("shorter", "yes")
    assert uploads(rig) == 0


async def test_what_is_new_may_be_too_long_for_one_message(rig: Rig) -> None:
    """Results of tools and a question: all of it is told anew, with the results in the document."""
    parameters = {"type": "object", "properties": {"n": {"type": "integer"}}}
    tool = {"type": "function", "function": {"name": "read", "parameters": parameters}}
    client = Client(rig, tools=[tool])
    await rig.program({"tool_calls": [{"name": "read", "arguments": {"n": number}} for number in range(4)]})
    await client.say("<<0>> Read all.")
    client.results(*(f"<<{number}>> " + f"line {number}\n" * 6000 for number in range(1, 5)))
    reply = await client.say("<<5>> So?", "Fine.")
    assert reply.way == ("replay", "context")
    assert reply.answer.headers["x-gateway-history"] == "document"
    _, document = _document(rig, _last(rig))
    assert _entries(document) + _entries(reply.asked) == list(range(6))
    reply = await client.say("And now?", "Still.")
    assert (reply.way, reply.asked.split("\n")[0], _last(rig).files) == (NEXT, "And now?", [])


async def test_a_conversation_grows_beyond_one_message_without_losing_anything(rig: Rig) -> None:
    """Each turn told anew, with answers that become ever more."""
    client = Client(rig)
    for number in range(0, 40, 2):
        reply = await client.say(
            f"<<{number}>> " + "question " * 800, f"<<{number + 1}>> " + "answer " * 800, X_Continuation="replay"
        )
        seen = _last(rig)
        document = _document(rig, seen)[1] if seen.files else ""
        assert _entries(document) + _entries(seen.prompt) == list(range(number + 1))
        assert ("x-gateway-history" in reply.answer.headers) == bool(seen.files)
    assert 0 < uploads(rig) <= 5
