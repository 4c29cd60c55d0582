"""Who decides whether a conversation goes on: the request, its key, the settings; and what is told of it."""

import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from qwen_gateway.relay import memory, sweep

from .conversations import CONVERSING, FIRST, LONG, NEXT, PATH, UNKNOWN, Client, fresh, tree
from .rig import Rig, running, until, until_async
from .wire import Json, exchange, request_bytes

OFF = ("replay", "off")
MODE = ("replay", "mode")
SUFFIX = ("continue", "suffix")
HANDLE = ("continue", "handle")
ANSWER = "An answer that has more than sixty-four characters is rarely given twice."


@pytest.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with running(tmp_path_factory.mktemp("home"), **CONVERSING) as found:
        yield found


@pytest.fixture
async def rig(home: Rig) -> Rig:
    return await fresh(home)


@pytest.fixture
async def client(rig: Rig) -> Client:
    return Client(rig)


async def _key(rig: Rig, name: str = "", **terms: object) -> str:
    made = await rig.manage("POST", "/keys", {"name": name or secrets.token_hex(4), **terms})
    assert made.status == 201, made.body
    return str(made.json()["text"])


# -- the request


async def test_a_request_can_have_all_of_it_told_anew(client: Client) -> None:
    """`X-Continuation: replay`, as a benchmark wants it. That chat is no place to go on from, and goes."""
    await client.say("one", "1")
    reply = await client.say("two", "2", X_Continuation="replay")
    assert reply.way == MODE
    assert "one" in reply.asked
    assert (await client.say("three", "3", X_Continuation="Replay")).way == MODE
    await until(lambda: tree(client.rig) == [[["one", "1"]]])
    assert (await client.say("four", "4")).way != NEXT


@pytest.mark.parametrize(
    ("headers", "body"),
    [({"X_Continuation": "off"}, {}), ({}, {"store": False}), ({"X_Continuation": "auto"}, {"store": False})],
    ids=["header", "store", "both"],
)
async def test_a_request_can_have_nothing_kept(client: Client, headers: dict[str, str], body: Json) -> None:
    """`X-Continuation: off` or `store: false`: the chat is gone after the answer."""
    rig = client.rig
    client.body = body
    assert (await client.say("one", "1", **headers)).way == OFF
    await until(lambda: not rig.left_over)
    assert (await client.say("two", "2", **headers)).way == OFF
    await until(lambda: not rig.left_over)
    client.body = {}
    assert (await client.say("three", "3")).way == UNKNOWN


async def test_nothing_kept_of_one_turn_leaves_the_others_as_they_are(client: Client) -> None:
    """A question aside, which the conversation's chat never hears of."""
    await client.say("one", "1")
    aside = client.fork()
    await aside.say("aside", "secret", X_Continuation="off")
    assert (await client.say("two", "2")).way == NEXT
    await until(lambda: len(client.rig.left_over) == 1)
    assert tree(client.rig) == [[["one", "1", "two", "2"]]]


async def test_auto_in_the_header_is_what_it_would_be_anyway(client: Client) -> None:
    """By header: the word for what is so by itself."""
    await client.say("one", "1", X_Continuation="auto")
    assert (await client.say("two", "2", X_Continuation="auto")).way == NEXT


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X_Continuation", "always"),
        ("X_Continue_From", "../../etc/passwd"),
        ("X_Continue_From", "short"),
        ("X_Continue_From", "x" * 65),
    ],
)
async def test_headers_that_nobody_understands_are_refused(client: Client, header: str, value: str) -> None:
    """A wish that is misspelled is not taken for another one."""
    client.add("user", "one")
    answer = await client.refused(**{header: value})
    assert (answer.status, answer.error()["param"]) == (400, header.replace("_", "-"))
    assert not client.rig.sim.site.chats


async def test_an_answers_id_finds_the_chat_though_the_client_has_shortened_its_answers(client: Client) -> None:
    """B45 by `X-Continue-From`: all questions are the same, and the answers only lack something."""
    await client.say("one", "alpha beta gamma")
    reply = await client.say("two", "delta epsilon")
    client.messages[1]["content"] = "beta"
    client.messages[3]["content"] = ""
    again = client.fork()
    found = await client.say("three", "3", X_Continue_From=reply.id)
    assert (found.way, found.asked) == (HANDLE, "three")
    assert (await client.say("four", "4")).way == NEXT, "what the client says now is known now"
    bare = reply.id.removeprefix("chatcmpl-")
    assert (await again.say("drei", "3b", X_Continue_From=bare)).way == HANDLE
    assert [path[-2:] for path in tree(client.rig)[0]] == [["four", "4"], ["drei", "3b"]]


async def test_an_answers_id_is_a_hint_and_no_key(client: Client) -> None:
    """B45: other questions, other words in an answer, or another caller: all is told anew."""
    await client.say("one", "alpha beta")
    reply = await client.say("two", "gamma delta")
    other = await _key(client.rig)
    for at, content, key in ((0, "eins", client.key), (1, "alpha omega", client.key), (1, "alpha", other)):
        changed = client.fork(key=key)
        changed.messages[at]["content"] = content
        assert (await changed.say("three", "3", X_Continue_From=reply.id)).way == UNKNOWN


async def test_an_unknown_answers_id_does_no_harm(client: Client) -> None:
    """B45"""
    await client.say("one", "1")
    assert (await client.say("two", "2", X_Continue_From="chatcmpl-0123456789abcdef")).way == NEXT
    client.messages[1]["content"] = "changed"
    assert (await client.say("three", "3", X_Continue_From="chatcmpl-0123456789abcdef")).way == UNKNOWN


@pytest.mark.parametrize("parameter", ["user", "safety_identifier"])
async def test_people_behind_one_key_have_conversations_of_their_own(client: Client, parameter: str) -> None:
    """B6 within a key: the client says who is asking."""
    ann, bob = client.fork(body={parameter: "ann"}), client.fork(body={parameter: "bob"})
    await ann.say("one", "1")
    bob.messages = [*ann.messages]
    assert (await bob.say("two", "2b")).way == UNKNOWN
    assert (await ann.say("two", "2")).way == NEXT
    nobody = ann.fork(body={})
    assert (await nobody.say("three", "3")).way == UNKNOWN


# -- the key and the settings


async def test_a_key_can_have_everything_told_anew(rig: Rig) -> None:
    """`continuation` of a key, until it is changed."""
    client = Client(rig, key=await _key(rig, "bench", continuation="replay"))
    assert (await client.say("one", "1")).way == MODE
    assert (await client.say("two", "2", X_Continuation="auto")).way == MODE
    assert (await rig.manage("PATCH", "/keys/bench", {"continuation": "auto"})).status == 200
    assert (await client.say("three", "3")).way == UNKNOWN
    assert (await client.say("four", "4")).way == NEXT


async def test_the_setting_holds_for_keys_that_do_not_say(tmp_path: Path) -> None:
    """`continuation = replay`, and a key with its own."""
    async with running(tmp_path, **CONVERSING, continuation="replay") as rig:
        plain = Client(rig, key=await _key(rig))
        own = Client(rig, key=await _key(rig, continuation="auto"))
        for client, way in ((plain, MODE), (own, NEXT)):
            await client.say("one", "1")
            assert (await client.say("two", "2")).way == way


async def test_chats_that_are_not_kept_cannot_be_gone_on_with(tmp_path: Path) -> None:
    """`delete_chats = now`."""
    async with running(tmp_path, **{**CONVERSING, "delete_chats": "now"}) as rig:
        client = Client(rig)
        assert (await client.say("one", "1")).way == OFF
        reply = await client.say("two", "2")
        assert reply.way == OFF
        assert "one" in reply.asked
        await until(lambda: not rig.left_over)


@pytest.fixture
async def by_suffix(rig: Rig) -> Client:
    """Of a key that asks for it."""
    return Client(rig, key=await _key(rig, continuation="suffix"))


async def test_by_its_last_answer_a_trimmed_conversation_finds_its_chat(by_suffix: Client) -> None:
    """B41 in `suffix` mode: a window that slides, and answers long enough to be known by."""
    client = by_suffix
    replies = []
    for number in range(1, 7):
        del client.messages[:-4]
        replies.append(await client.say(f"question {number}", f"{number}. {ANSWER}"))
    assert [reply.way for reply in replies] == [FIRST, NEXT, NEXT, SUFFIX, SUFFIX, SUFFIX]
    assert replies[-1].asked == "question 6"
    assert [len(path) for (path,) in tree(client.rig)] == [12]


async def test_a_short_answer_is_nothing_to_be_known_by(by_suffix: Client) -> None:
    """B19 in `suffix` mode: "OK" is said in many conversations."""
    for text in ("one", "two", "three"):
        await by_suffix.say(text, "OK")
    del by_suffix.messages[:2]
    assert (await by_suffix.say("four", "OK")).way == UNKNOWN


async def test_where_two_chats_end_alike_none_is_guessed(by_suffix: Client) -> None:
    """B21 in `suffix` mode: other beginnings, then the same question and the same long answer."""
    clients = [by_suffix, by_suffix.fork()]
    for number, client in enumerate(clients):
        await client.say(f"beginning {number}", "1")
        await client.say("the same", ANSWER)
    del clients[0].messages[:2]
    assert (await clients[0].say("go on", "3")).way == UNKNOWN
    assert (await clients[1].say("go on", "3")).way == NEXT


async def test_another_question_before_the_same_answer_is_not_alike(by_suffix: Client) -> None:
    """The question counts too."""
    await by_suffix.say("one", "1")
    await by_suffix.say("two", ANSWER)
    del by_suffix.messages[:2]
    by_suffix.messages[0]["content"] = "zwei"
    assert (await by_suffix.say("three", "3")).way == UNKNOWN


async def test_only_keys_that_ask_for_it_are_known_by_their_last_answer(client: Client) -> None:
    """`suffix` can be wrong, so nobody gets it unasked."""
    await client.say("one", "1")
    await client.say("two", ANSWER)
    del client.messages[:2]
    assert (await client.say("three", "3")).way == UNKNOWN


# -- what is told of it


async def test_the_log_and_the_figures_say_how_a_conversation_reached_the_model(tmp_path: Path) -> None:
    """And how much of it was sent."""
    with capture_logs() as logs:
        async with running(tmp_path, **CONVERSING) as rig:
            client = Client(rig)
            await client.say(LONG, "1")
            await client.say("two", "2")
            await rig.settle()
            sizes = [seen.size for seen in rig.sim.site.seen]
            page = (await rig.get("/metrics", key=None)).body.decode()
    lines = [line for line in logs if line["event"] == "request"]
    assert [(line["way"], line["why"]) for line in lines] == [FIRST, NEXT]
    assert [line["sent_bytes"] for line in lines] == sizes
    for way, reason in (FIRST, NEXT):
        assert _sample(page, "qwen_gateway_continuations_total", way=way, reason=reason) == 1
    assert _sample(page, "qwen_gateway_question_bytes_total") == sum(sizes)


def _sample(page: str, name: str, **labels: str) -> float:
    rows = [row for row in page.splitlines() if re.match(rf"{name}[{{ ]", row)]
    rows = [row for row in rows if all(f'{key}="{value}"' in row for key, value in labels.items())]
    assert len(rows) == 1, rows
    return float(rows[0].rsplit(" ", 1)[1])


async def test_a_refusal_says_nothing_of_a_way_that_it_did_not_take(client: Client) -> None:
    """An answer's header is about an answer."""
    answer = await client.rig.post({"model": "qwen3.7-plus", "messages": []})
    assert answer.status == 400
    assert "x-gateway-continuation" not in answer.headers


async def test_a_page_of_another_origin_may_read_the_header(tmp_path: Path) -> None:
    """Clients in a browser are told too."""
    async with running(tmp_path, **CONVERSING, allowed_origins=("https://app.example",)) as rig:
        client = Client(rig)
        reply = await client.say("one", "1", Origin="https://app.example")
        exposed = reply.answer.headers["access-control-expose-headers"].lower()
        assert "x-gateway-continuation" in exposed
        preflight = request_bytes(
            PATH,
            method="OPTIONS",
            Origin="https://app.example",
            Access_Control_Request_Method="POST",
            Access_Control_Request_Headers="x-continuation",
        )
        allowed = (await exchange(rig.url, preflight)).headers["access-control-allow-headers"].lower()
        assert "x-continuation" in allowed


async def test_the_owner_can_have_a_keys_conversations_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once here, and at the site soon; other keys' stay."""
    monkeypatch.setattr(sweep, "EVERY", 0.1)
    async with running(tmp_path, **CONVERSING) as rig:
        ann, bob = [Client(rig, key=await _key(rig, name)) for name in ("ann", "bob")]
        for client in (ann, bob):
            await client.say("one", "1")

        async def written() -> bool:
            kept = (await rig.manage("GET", "/conversations")).json()["kept"]
            return [account["chats"] for account in kept] == [2]

        await until_async(written)
        assert (await rig.manage("DELETE", "/conversations?of=ann")).json() == {"marked": 1}
        ours, theirs = rig.sim.site.chats.values()
        await until(lambda: ours.deleted)
        assert not theirs.deleted
        assert (await ann.say("two", "2")).way == UNKNOWN
        assert (await bob.say("two", "2")).way == NEXT


async def test_what_was_answered_just_now_is_forgotten_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once means: also what no database has yet."""
    monkeypatch.setattr(memory, "DELAY", 60.0)
    async with running(tmp_path, **CONVERSING) as rig:
        client = Client(rig, key=await _key(rig, "ann"))
        await client.say("one", "1")
        assert (await rig.manage("DELETE", "/conversations?of=ann")).json() == {"marked": 1}
        assert (await client.say("two", "2")).way[0] == "replay"
