"""The same conversation, written in another way: what means the same to the model is the same."""

import unicodedata
from collections.abc import AsyncIterator

import pytest

from .conversations import CONVERSING, FIRST, LONG, NEXT, UNKNOWN, Client, fresh, tree
from .rig import Rig, running
from .wire import MODEL


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


async def test_reasoning_that_the_client_kept_is_no_part_of_the_answer(client: Client) -> None:
    """B8: in the text, or beside it."""
    await client.rig.program({"thinking": "hm, one", "text": "1"})
    await client.say("one")
    client.messages[-1]["content"] = "<think>\nhm, one\n</think>\n\n1"
    assert (await client.say("two", "2")).way == NEXT
    client.messages[1] |= {"content": "1", "reasoning_content": "hm, one"}
    reply = await client.say("three", "3")
    assert (reply.way, reply.asked) == (NEXT, "three")


async def test_line_ends_and_blanks_at_line_ends_mean_nothing(client: Client) -> None:
    """B9"""
    await client.say("a\nb", "- one\n- two\n")
    client.messages[0]["content"] = "a  \r\nb\r\n"
    client.messages[1]["content"] = "- one \r\n- two"
    assert (await client.say("and?", "2")).way == NEXT


async def test_blanks_within_a_line_do_mean_something(client: Client) -> None:
    """B9 the other way round: indentation is what a program is made of."""
    await client.say("run\n  this", "1")
    client.messages[0]["content"] = "run\nthis"
    assert (await client.say("and?", "2")).way == UNKNOWN


async def test_the_same_letters_composed_in_another_way_are_the_same(client: Client) -> None:
    """B9: some systems write é as two characters."""
    await client.say("caf\u00e9", "d\u00e9j\u00e0 vu")
    for message in client.messages:
        message["content"] = unicodedata.normalize("NFD", message["content"])
    assert (await client.say("and?", "2")).way == NEXT


async def test_texts_in_parts_and_marks_for_a_cache_mean_nothing(client: Client) -> None:
    """B10: plain strings become parts, and the cache mark moves."""
    client.instruct("Be kind.")
    await client.say("one", "1")
    for at, text in ((0, "Be kind."), (1, "one"), (2, "1")):
        client.messages[at]["content"] = [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]
    reply = await client.say("two", "2")
    assert (reply.way, reply.asked) == (NEXT, "two")
    del client.messages[1]["content"][0]["cache_control"]
    client.messages[0] = {"role": "developer", "content": "Be kind."}
    reply = await client.say("three", "3")
    assert (reply.way, reply.asked) == (NEXT, "three")


async def test_what_a_client_joins_or_splits_stays_the_same(client: Client) -> None:
    """B10, B46 within one dialect: two messages of the user in a row are one with two lines."""
    client.add("user", "first")
    await client.say("second", "1")
    client.messages[:2] = [{"role": "user", "content": "first\nsecond"}]
    assert (await client.say("two", "2")).way == NEXT


async def test_names_refusals_and_annotations_say_nothing(client: Client) -> None:
    """B10: keys that clients keep from earlier answers."""
    await client.say("one", "1")
    client.messages[0]["name"] = "ann"
    client.messages[1] |= {"refusal": None, "annotations": [], "audio": None, "id": "msg_1", "timestamp": 1}
    assert (await client.say("two", "2")).way == NEXT


async def test_other_names_of_a_model_and_its_switches_are_the_same_model(client: Client) -> None:
    """B7 the other way round: only what is asked of it changes."""
    await client.say("one", "1")
    for model, more in ((f"{MODEL}-thinking", {}), (f"{MODEL}-search", {}), (MODEL, {"enable_thinking": True})):
        client.body = {"model": model, **more}
        assert (await client.say("go on", "ok")).way == NEXT


async def test_sources_that_became_links_are_a_part_of_the_answer(client: Client) -> None:
    """B1: the client got links where the site has numbers, and sends back what it got."""
    docs = [{"url": "https://example.com/a", "title": "A"}]
    await client.rig.program(
        {"text": "So it is [[1]].", "search": {"queries": ["q"], "docs": docs, "lead": "Looking."}}
    )
    client.body = {"enable_search": True}
    reply = await client.say("one")
    assert "example.com" in reply.text
    assert (await client.say("two", "2")).way == NEXT


async def test_results_alone_travel_to_a_chat_that_knows_the_rest(client: Client) -> None:
    """B22 in part: here the model never made the call, so the result is that of an unknown one."""
    await client.say(LONG, "1")
    client.add("tool", "Content of the file.", tool_call_id="call_1")
    reply = await client.send("2")
    assert reply.way == NEXT
    assert reply.asked.startswith("[TOOL RESULTS ")
    assert "Content of the file." in reply.asked
    assert len(reply.asked) < 400
    assert tree(client.rig) == [[[LONG, "1", reply.asked, "2"]]]


async def test_ids_of_calls_and_the_spelling_of_arguments_mean_nothing(client: Client) -> None:
    """B24: a bridge rewrites ids, and parses arguments only to write them again."""
    client.add("user", "read it")
    client.call("call_1", "the file", arguments='{"file_path":"a.py","limit":10}')
    await client.send("a file")
    call, result = client.messages[1:3]
    call["tool_calls"][0]["id"] = result["tool_call_id"] = "toolu_Zx9"
    call["tool_calls"][0]["function"]["arguments"] = '{ "limit": 10.0, "file_path": "a.py" }'
    call["content"] = ""
    reply = await client.say("and?", "2")
    assert (reply.way, reply.asked) == (NEXT, "and?")


async def test_a_result_that_comes_as_a_message_of_the_user_is_one(client: Client) -> None:
    """B42: Cherry Studio's MCP by prompt."""
    client.instruct("To use a tool write <tool_use>.")
    call = "<tool_use>\n  <name>read</name>\n  <arguments>{}</arguments>\n</tool_use>"
    assert (await client.say("read it", call)).way == FIRST
    result = "<tool_use_result>\n  <name>read</name>\n  <result>Content.</result>\n</tool_use_result>"
    reply = await client.say(result, "a file")
    assert (reply.way, reply.asked) == (NEXT, result)


async def test_an_answer_that_the_client_has_begun_is_gone_on_with_and_not_remembered(client: Client) -> None:
    """B49: the last message is the assistant's."""
    await client.say("one", "1")
    client.add("user", "a poem")
    client.add("assistant", "Roses are")
    begun = client.fork()
    reply = await client.send(" red")
    assert reply.way == ("catchup", "prefill")
    assert "Roses are" in reply.asked
    assert "one" not in reply.asked, "the chat knows the beginning"
    # Clients join what they began and what came.
    begun.messages[-1]["content"] = "Roses are red"
    assert (await begun.say("and violets?", "2")).way != NEXT, "no chat holds the whole answer as one"


async def test_an_answer_begun_without_any_before_it_is_told_whole(client: Client) -> None:
    """B49: in the first turn."""
    client.add("user", "a poem")
    client.add("assistant", "Roses are")
    reply = await client.send(" red")
    assert reply.way[0] == "replay"
    assert "Roses are" in reply.asked


async def test_an_empty_message_is_a_message(client: Client) -> None:
    """B50: some programs send one to make the model go on."""
    await client.say("one", "1")
    reply = await client.say("", "2")
    assert (reply.way, reply.asked) == (NEXT, "(empty message)")
    assert (await client.say("three", "3")).way == NEXT
    client.messages[2]["content"] = "not empty"
    assert (await client.say("four", "4")).way != NEXT
