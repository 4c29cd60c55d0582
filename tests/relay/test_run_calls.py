"""Turns with tools and forms: what is asked again and where, what the client sees of it, and what is remembered."""

import asyncio
import json

import pytest
from msgspec import structs

from qwen_gateway.relay.counts import CallCounts
from qwen_gateway.relay.machine import MOST_QUESTIONS
from qwen_gateway.turn.events import SHOWN, Finished, Reasoning, Text, ToolCallBegan, Usage
from qwen_gateway.turn.faults import ContextTooLong, Incomplete, InvalidRequest, Unfit
from qwen_gateway.turn.reply import Reply
from qwen_gateway.turn.request import MaxOutput, OutputFormat, Tool, ToolChoice, TurnRequest

from .fakes import SILENCE, until
from .reading import calls_of, text_of
from .turn_bench import LIMITS, TOOLS, Bench, MakeBench, after, answer, asks, end_of, part, result, say, talk, writes

LS = asks("List the files.", tools=TOOLS)
CALL = say(writes("Bash", command="ls"))
BAD = "[TOOL CALL {N}]\n{\"name\": \"Nash\", \"arguments\": {}}\n[END TOOL CALL]"  # fmt: skip
UNREADABLE = '[TOOL CALL {N}]\n{"name": "Bash", "arguments": []}\n[END TOOL CALL]'
ONWARD = "chat-1,answer-in-chat-1"
NOTE = "Note from the tool runner: "


def notes(bench: Bench) -> list[int]:
    """How many notes each question has."""
    return [text.count(NOTE) for text in bench.site.texts]


async def called(bench: Bench, *lines: str, request: TurnRequest = LS) -> Reply:
    """A first turn that is answered so, with one call in the end."""
    bench.next(answer(*lines))
    reply = await bench.answered(request)
    assert [(call.name, call.arguments) for call in reply.calls] == [("Bash", '{"command": "ls"}')]
    return reply


# --- what is remembered ---


async def test_results_are_told_in_the_chat_that_made_the_call(make: MakeBench) -> None:
    """A1: a clean turn gets a node."""
    bench = make()
    reply = await called(bench, say("I look.\n"), CALL)
    bench.next(answer(say("There is a.txt.")))
    await bench.answered(after(LS, reply, result(reply, "a.txt")))
    assert (bench.way, bench.asked) == (("continue", "next"), ["chat-1", ONWARD])
    assert "a.txt" in bench.site.texts[1]
    assert "Tools you can use" not in bench.site.texts[1], "the chat has the list"
    assert "[Reminder: tools" in bench.site.texts[1]


async def test_a_client_that_drops_the_words_beside_a_call_goes_on_as_well(make: MakeBench) -> None:
    """A2: the node has an alias without them."""
    bench = make()
    reply = await called(bench, say("I look.\n"), CALL)
    bench.next(answer(say("There is a.txt.")))
    await bench.answered(after(LS, reply, result(reply, "a.txt"), drop_text=True))
    assert bench.way == ("continue", "next")
    assert len(await bench.remembered()) == 3


async def test_one_call_where_one_is_wanted_is_gone_on_with(make: MakeBench) -> None:
    """A49: the model wrote one."""
    bench = make()
    request = structs.replace(LS, tool_choice=ToolChoice(parallel=False))
    reply = await called(bench, CALL, request=request)
    bench.next(answer(say("There is a.txt.")))
    await bench.answered(after(request, reply, result(reply, "a.txt")))
    assert bench.way == ("continue", "next")
    assert bench.net.count("stop") == 0


DIRTY = {
    "A34: an explanation after the call": [CALL, say("\nThis lists them.")],
    "A33: the same call again": [CALL, say("\n" + writes("Bash", command="ls"))],
    "A37: frames of the site": ['call:Bash {"command": "ls"}', "result:Bash Tool Bash does not exists.", say("Gone.")],
    "A10: a call that was repaired": [
        say('[TOOL CALL {N}]{"name": "Bash", "arguments": {"command": "ls"}[END TOOL CALL]')
    ],
}


@pytest.mark.parametrize("name", DIRTY)
async def test_a_turn_whose_chat_holds_more_than_the_client_got_is_not_gone_on_with(make: MakeBench, name: str) -> None:
    bench = make()
    reply = await called(bench, *DIRTY[name])
    bench.next(answer(say("There is a.txt.")))
    await bench.answered(after(LS, reply, result(reply, "a.txt")))
    assert bench.way == ("replay", "unknown")
    assert bench.asked == ["chat-1", "chat-2"]
    log = bench.log
    async with bench.cleaning():
        pass
    assert "delete chat-1" in log


@pytest.mark.parametrize("name", [name for name in DIRTY if name.startswith(("A33", "A34", "A37"))])
async def test_a_model_that_does_not_stop_is_stopped(make: MakeBench, name: str) -> None:
    bench = make(part(*DIRTY[name], SILENCE))
    async with bench.cleaning():
        assert len((await bench.answered(LS)).calls) == 1
    assert bench.log[-3:-1] == ["stop chat-1,answer-in-chat-1", "delete chat-1"]


async def test_of_two_calls_where_one_is_wanted_the_first_is_delivered_and_the_site_stopped(make: MakeBench) -> None:
    """A49: the model wrote two."""
    bench = make(part(CALL, say("\n" + writes("Read", file_path="a")), SILENCE))
    async with bench.cleaning():
        reply = await bench.answered(structs.replace(LS, tool_choice=ToolChoice(parallel=False)))
    assert [call.name for call in reply.calls] == ["Bash"]
    assert bench.net.count("stop") == 1
    assert "Make at most one tool call in this reply." in bench.site.texts[0]


async def test_a_client_that_leaves_during_a_held_call_stops_the_site_and_nothing_is_remembered(
    make: MakeBench,
) -> None:
    """A61: with verification on, too."""
    reply = part(say("I look.\n[TOOL CALL {N}]\n{\"name\": \"Bash\", \"argum"), SILENCE)  # fmt: skip
    bench = make(reply, verify=True)
    async with bench.cleaning():
        turn = asyncio.create_task(bench.turn(LS))
        await until(lambda: reply.reads == 3)
        turn.cancel()
        await asyncio.wait([turn])
    assert "stop chat-1,answer-in-chat-1" in bench.log
    assert "delete chat-1" in bench.log
    assert await bench.remembered() == []


# --- asked again ---


async def test_in_a_new_chat_the_next_try_has_a_chat_of_its_own_and_a_note(make: MakeBench) -> None:
    """A25: beside the first try, and not after it."""
    bench = make(answer(say(BAD)), answer(CALL))
    events = await bench.turn(LS)
    assert calls_of(events) == [("Bash", '{"command": "ls"}')]
    assert events[-1] == Finished("tool_calls")
    assert (bench.asked, notes(bench)) == (["chat-1", "chat-2"], [0, 1])
    assert bench.site.texts[1].startswith(bench.site.texts[0])
    async with bench.cleaning():
        pass
    assert "delete chat-1" in bench.log
    assert "delete chat-2" not in bench.log
    assert {node.chat_id for node in await bench.remembered()} == {"chat-2"}


async def test_where_a_conversation_goes_on_the_next_try_stands_in_the_same_place(make: MakeBench) -> None:
    """A25: a sibling of the first try."""
    bench = make()
    reply = await called(bench, CALL)
    bench.next(answer(say(BAD)))
    bench.next(answer(say(writes("Read", file_path="a.txt"))))
    again = await bench.answered(after(LS, reply, result(reply, "a.txt")))
    assert [call.name for call in again.calls] == ["Read"]
    assert (bench.asked, notes(bench)) == (["chat-1", ONWARD, ONWARD], [0, 0, 1])
    assert (bench.way, bench.record.tries) == (("continue", "next"), 2)
    assert bench.net.count("stop") == 0, "it had ended"
    assert await bench.memory.take("chat-1"), "it was given back"


async def test_a_try_that_was_cut_off_is_stopped_before_the_next_one_is_put_beside_it(make: MakeBench) -> None:
    bench = make()
    reply = await called(bench, CALL)
    bench.next(part(say("[TOOL CALL {N}]\n{\"name\": \"Bash\", \"arguments\": nothing}"), SILENCE))  # fmt: skip
    bench.next(answer(say("There is a.txt.")))
    await bench.answered(after(LS, reply, result(reply, "a.txt")))
    asks_and_stops = [entry for entry in bench.log if entry.startswith(("ask", "stop"))]
    assert asks_and_stops == ["ask chat-1", f"ask {ONWARD}", "stop chat-1,None", f"ask {ONWARD}"]


async def test_words_that_were_shown_stay_and_the_next_try_adds_the_call(make: MakeBench) -> None:
    bench = make(answer(say("I look.\n"), say(BAD)), answer(say("Again I look.\n"), CALL))
    events = await bench.turn(structs.replace(LS, stream=True))
    assert text_of(events) == "I look."
    assert calls_of(events) == [("Bash", '{"command": "ls"}')]
    assert events[-1] == Finished("tool_calls")
    assert await bench.remembered() == [], "the chat has other words than the client"


async def test_where_calls_were_to_follow_and_none_do_the_words_of_the_next_try_are_not_lost(make: MakeBench) -> None:
    bench = make(answer(say("I look.\n"), say(BAD)), answer(say("Sorry, the disk is gone.")))
    events = await bench.turn(structs.replace(LS, stream=True))
    assert text_of(events) == "I look.\n\nSorry, the disk is gone."
    assert events[-1] == Finished("stop")


async def test_of_an_answer_that_is_sent_whole_the_words_of_the_last_try_alone_count(make: MakeBench) -> None:
    bench = make(answer(say("I look.\n"), say(BAD)), answer(say("Again I look.\n"), CALL))
    events = await bench.turn(LS)
    assert text_of(events).strip() == "Again I look."
    assert calls_of(events) == [("Bash", '{"command": "ls"}')]


async def test_blanks_before_the_next_try_do_not_make_its_words_unwelcome(make: MakeBench) -> None:
    bench = make(answer(say(" \n")), answer(say("There are none.")))
    assert text_of(await bench.turn(LS)) == "There are none."


async def test_two_notes_never_stand_in_one_question(make: MakeBench) -> None:
    bench = make(answer(say(BAD)), answer(say('[TOOL CALL {N}]\n{"name": "Bash", "arguments": []}')), answer(CALL))
    assert len(calls_of(await bench.turn(LS))) == 1
    assert notes(bench) == [0, 1, 1]
    assert bench.asked == ["chat-1", "chat-2", "chat-3"]


async def test_what_the_model_wrote_cannot_end_the_message_in_the_note(make: MakeBench) -> None:
    bench = make(answer(say(BAD.replace("Nash", "<|im_end|>"))), answer(CALL))
    assert len(calls_of(await bench.turn(LS))) == 1
    assert notes(bench) == [0, 1]
    assert "im_end" in bench.site.texts[1]
    assert "<|im_end|>" not in bench.site.texts[1]


async def test_more_than_three_questions_are_never_put(make: MakeBench) -> None:
    """A47: a call is demanded."""
    request = structs.replace(LS, tool_choice=ToolChoice("required"))
    bench = make(*[answer(say("No.")) for _ in range(5)])
    events = await bench.turn(request)
    fault = end_of(events)
    assert isinstance(fault, Unfit)
    assert fault.code == "tool_choice_unsatisfied"
    assert not any(isinstance(event, SHOWN) for event in events)
    assert len(bench.asked) == MOST_QUESTIONS
    assert "at least one tool call" in bench.site.texts[0]


async def test_the_last_question_of_a_turn_is_answered_with_what_there_is(make: MakeBench) -> None:
    """A25: another fault has used up a question."""
    bench = make(Incomplete("broke"), answer(say(BAD)), answer(say("I look.\n" + UNREADABLE)), answer(CALL))
    events = await bench.turn(LS)
    assert text_of(events) == "I look."
    assert (end_of(events), len(bench.asked)) == ("stop", MOST_QUESTIONS)


async def test_another_tool_than_the_named_one_is_not_delivered(make: MakeBench) -> None:
    """A48: the model hears of the named one only."""
    request = structs.replace(LS, tool_choice=ToolChoice("required", ("Read",)))
    bench = make(answer(CALL), answer(say(writes("Read", file_path="a"))))
    assert calls_of(await bench.turn(request)) == [("Read", '{"file_path": "a"}')]
    assert 'must call "Read"' in bench.site.texts[0]
    assert "Bash" not in bench.site.texts[0]


async def test_an_empty_answer_is_simply_asked_for_again(make: MakeBench) -> None:
    bench = make(answer("think:Hm."), answer(say("There are none.")))
    events = await bench.turn(LS)
    assert text_of(events) == "There are none."
    assert notes(bench) == [0, 0]


async def test_a_call_in_the_reasoning_is_delivered_where_the_model_stopped_there(make: MakeBench) -> None:
    """A35: and the chat is not gone on with."""
    bench = make()
    first = await called(bench, CALL)
    nonce = bench.site.nonce
    thought = "think:" + writes("Read", file_path="a").replace("{N}", nonce).replace("\n", " ")
    bench.next(answer(thought))
    events = await bench.turn(after(LS, first, result(first, "a")))
    assert calls_of(events) == [("Read", '{"file_path": "a"}')]
    assert any(isinstance(event, Reasoning) for event in events)
    assert len(await bench.remembered()) == 1, "of the first turn"


async def test_a_note_for_which_there_is_no_room_is_not_given(make: MakeBench) -> None:
    bench = make(answer(say("x")))
    request = asks("w " * 30, model="q-small", format=OutputFormat("json_object"))
    with pytest.raises(ContextTooLong):
        await bench.begin(structs.replace(request, messages=talk("w " * 60)))
    fault = end_of(await bench.turn(request))
    assert isinstance(fault, Unfit)
    assert len(bench.asked) == 1


# --- no tools ---


async def test_without_tools_earlier_calls_are_told_and_new_ones_are_text(make: MakeBench) -> None:
    """A51: a summary of a conversation that had tools."""
    bench = make()
    reply = await called(bench, CALL)
    block = "[TOOL CALL]\n{\"name\": \"Bash\", \"arguments\": {}}\n[END TOOL CALL]"  # fmt: skip
    bench.next(answer(say(block)))
    request = structs.replace(after(LS, reply, result(reply, "a.txt"), "Sum it up."), tools=())
    events = await bench.turn(request)
    assert (text_of(events), calls_of(events)) == (block, [])
    assert bench.record.calls is None
    assert "There are no tools any more" in bench.site.texts[1]


async def test_with_tools_that_must_not_be_called_a_block_is_text(make: MakeBench) -> None:
    """A46: `tool_choice` is none."""
    bench = make(answer(say("[TOOL CALL]\n{\"name\": \"Bash\"}")))  # fmt: skip
    events = await bench.turn(structs.replace(LS, tool_choice=ToolChoice("none")))
    assert calls_of(events) == []
    assert bench.site.texts == ["List the files."]


async def test_tools_that_changed_are_told_anew(make: MakeBench) -> None:
    """A52: in the same chat."""
    bench = make()
    reply = await called(bench, CALL)
    bench.next(answer(say("Done.")))
    other = Tool("Fetch", "Gets a page.", {"type": "object"})
    await bench.answered(structs.replace(after(LS, reply, result(reply, "a")), tools=(*TOOLS, other)))
    assert bench.way == ("continue", "next")
    assert "this list replaces all earlier lists" in bench.site.texts[1]
    assert "Fetch" in bench.site.texts[1]


async def test_tools_that_cannot_be_used_are_refused_before_anything_is_asked(make: MakeBench) -> None:
    bench = make()
    broken = Tool("Broken", "", {"type": "object", "properties": {"a": {"$ref": "https://elsewhere.test/schema"}}})
    with pytest.raises(InvalidRequest) as refused:
        await bench.begin(structs.replace(LS, tools=(broken,)))
    assert (refused.value.param or "").startswith("tools[0]")
    assert bench.log == []


# --- forms, lengths, beginnings ---


async def test_an_answer_that_is_no_json_is_asked_for_again_beside_the_first(make: MakeBench) -> None:
    bench = make(answer(say("I am three.")), answer(say('{"age": 3}')))
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    request = asks("How old?", format=OutputFormat("json_schema", schema, strict=True))
    events = await bench.turn(request)
    assert text_of(events) == '{"age": 3}'
    assert bench.asked == ["chat-1", "chat-2"]
    assert "Note from the program" in bench.site.texts[1]
    assert json.dumps(schema, separators=(",", ":")) in bench.site.texts[0]
    assert len(await bench.remembered()) == 1


async def test_what_does_not_satisfy_the_schema_in_the_end_is_marked(make: MakeBench) -> None:
    bench = make(*[answer(say('{"age": []}')) for _ in range(3)])
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    events = await bench.turn(asks("How old?", format=OutputFormat("json_schema", schema)))
    assert text_of(events) == '{"age":[]}'
    assert bench.record.invalid_json
    assert len(bench.asked) == MOST_QUESTIONS


async def test_calls_are_delivered_whatever_the_form_of_the_last_answer(make: MakeBench) -> None:
    bench = make(answer(say("I look.\n"), CALL))
    request = structs.replace(LS, format=OutputFormat("json_object"))
    events = await bench.turn(request)
    assert [type(event) for event in events if isinstance(event, Text | ToolCallBegan)] == [Text, ToolCallBegan]
    assert len(await bench.remembered()) == 2


async def test_words_that_were_kept_for_their_form_are_not_missed_in_the_next_try(make: MakeBench) -> None:
    bench = make(answer(say("I look.\n"), say(BAD)), answer(say('{"files": []}')))
    request = structs.replace(LS, format=OutputFormat("json_object"))
    assert text_of(await bench.turn(request)) == '{"files": []}'
    assert len(bench.asked) == 2


async def test_an_object_that_is_whole_is_gone_on_with(make: MakeBench) -> None:
    bench = make(answer(say('{"a": '), say("1}")), answer(say('{"a": 2}')))
    request = asks("One?", format=OutputFormat("json_object"))
    await bench.answered(after(request, await bench.answered(request), "Two?"))
    assert bench.way == ("continue", "next")


async def test_an_answer_is_cut_at_the_clients_limit_and_the_site_is_stopped(make: MakeBench) -> None:
    bench = make(part(say("one two"), say(" three four"), SILENCE))
    async with bench.cleaning():
        events = await bench.turn(asks("Count.", max_output=MaxOutput(2, reasoning=False)))
    assert (text_of(events).strip(), end_of(events)) == ("one two", "length")
    assert bench.counter.asked == ["q-switch"], "the vocabulary was made ready"
    assert bench.log[-3:-1] == ["stop chat-1,answer-in-chat-1", "delete chat-1"]
    assert bench.record.usage is not None
    assert bench.record.usage.output == 2


async def test_a_limit_within_a_call_that_is_held_leaves_no_call(make: MakeBench) -> None:
    """A63: and the question is not put again."""
    bench = make(answer(CALL))
    events = await bench.turn(structs.replace(LS, max_output=MaxOutput(4, reasoning=False)))
    assert (calls_of(events), end_of(events), len(bench.asked)) == ([], "length", 1)


async def test_an_answer_that_the_client_began_is_gone_on_with_where_it_ends(make: MakeBench) -> None:
    bench = make(answer(say("The answer is"), say(" 42.")))
    events = await bench.turn(asks("What is it?", "The answer is"))
    assert text_of(events) == " 42."
    assert bench.record.prefilled
    assert "Go on exactly where it ends" in bench.site.texts[0]
    assert await bench.remembered() == []


async def test_what_is_not_said_again_does_not_count(make: MakeBench) -> None:
    bench = make(answer(say("The answer is 42, I say.")))
    events = await bench.turn(asks("What is it?", "The answer is", max_output=MaxOutput(1, reasoning=True)))
    assert (text_of(events).strip(), end_of(events)) == ("42,", "length")


async def test_the_second_half_of_a_value_is_not_taken_for_broken_json(make: MakeBench) -> None:
    bench = make(answer(say('"a": 1}')))
    request = asks("One?", "{", format=OutputFormat("json_object"))
    events = await bench.turn(request)
    assert (text_of(events), end_of(events), len(bench.asked)) == ('"a": 1}', "stop", 1)


# --- patience ---


async def test_a_long_answer_that_is_kept_until_it_is_whole_is_waited_for(make: MakeBench) -> None:
    limits = structs.replace(LIMITS, first_event=0.15, first_event_thinking=0.15, idle=0.15)
    pieces = [piece for number in range(6) for piece in (say(f" {number},"), 0.05)]
    bench = make(part(say('{"a": ['), *pieces, say(" 6]}"), "end"), limits=limits)
    schema = OutputFormat("json_schema", {"type": "object"})
    events = await bench.turn(asks("Count.", format=schema))
    assert text_of(events) == '{"a": [ 0, 1, 2, 3, 4, 5, 6]}'


# --- the record ---


async def test_the_record_says_what_became_of_the_calls_of_all_tries(make: MakeBench) -> None:
    bench = make(answer(say(BAD)), answer(CALL))
    await bench.turn(LS)
    assert bench.record.calls == CallCounts(ok=1, unknown=1, retried=1)
    assert bench.record.call_format == "bracket"


async def test_ids_of_calls_are_letters_and_digits(make: MakeBench) -> None:
    bench = make(answer(CALL))
    (call,) = (await bench.answered(LS)).calls
    assert call.id.isalnum()


async def test_the_tokens_of_an_answer_that_could_not_be_used_are_counted_too(make: MakeBench) -> None:
    bench = make(answer(say(BAD), usage="100,30"), answer(CALL, usage="120,5"))
    reply = await bench.answered(LS)
    assert reply.usage == Usage(120, 5), "what the client is told is of its answer"
    assert bench.record.usage == Usage(220, 35), "and what is settled, of all that the site was asked"
    assert [node.tokens for node in await bench.remembered()] == [125]


async def test_a_form_is_asked_for_in_one_reply_and_not_for_ever(make: MakeBench) -> None:
    bench = make(answer(say("{}")))
    await bench.answered(asks("An object, please.", format=OutputFormat("json_object")))
    assert bench.site.texts[0].endswith("(This format is for this reply only.)")
