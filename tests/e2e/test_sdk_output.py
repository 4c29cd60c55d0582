"""The form of an answer, where it ends and how many there are, through OpenAI's own client."""

import json
from pathlib import Path
from typing import Any, Literal

import openai as sdk
import pytest
from openai import APIStatusError, BadRequestError, OpenAI
from pydantic import BaseModel

from .calling import QUESTION, READ, TOOLS, answer, call, calls, damaged, folded, made
from .process import Demo, wait
from .rig import QUICK, running
from .wire import MODEL, Json, ask

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


class Bird(BaseModel):
    name: str
    colors: list[str]
    legs: int
    diet: Literal["seeds", "insects"]


BIRD = Bird(name='the "tit" \n', colors=["黄", "blue"], legs=2, diet="seeds")
WRONG = {"name": "tit", "colors": "blue", "legs": "two", "diet": "seeds"}


def _parse(openai: OpenAI, stream: bool, **more: Any) -> Any:
    """The first choice, with what the SDK made of its text."""
    if not stream:
        return openai.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=Bird, **more).choices[0]
    with openai.chat.completions.stream(model=MODEL, messages=QUESTION, response_format=Bird, **more) as events:
        return events.get_final_completion().choices[0]


# -- JSON


@BOTH
@pytest.mark.parametrize(
    "shape", ["{}", "```json\n{}\n```", "Here it is:\n\n{}", "{}\n\nI hope this helps!"],
    ids=["bare", "fence", "before", "behind"],
)  # fmt: skip
def test_a_model_of_pydantic_is_filled(demo: Demo, openai: OpenAI, stream: bool, shape: str) -> None:
    text = json.dumps(BIRD.model_dump(), indent=2)
    demo.program({"text": shape.replace("{}", text), "chunks": 6})
    choice = _parse(openai, stream)
    assert (choice.message.parsed, choice.finish_reason, choice.message.refusal) == (BIRD, "stop", None)
    assert json.loads(choice.message.content) == BIRD.model_dump()
    prompt = demo.last()["prompt"]
    assert QUESTION[0]["content"] in prompt
    assert '"seeds"' in prompt, "the model is told of the schema"


@BOTH
def test_json_that_misses_the_schema_is_asked_for_again_unseen(demo: Demo, openai: OpenAI, stream: bool) -> None:
    demo.program({"text": json.dumps(WRONG)}, {"text": BIRD.model_dump_json()})
    assert _parse(openai, stream).message.parsed == BIRD
    first, again = demo.seen()
    assert first["parent"] == again["parent"]
    assert "colors" in again["prompt"].partition("Note from the program")[2]


@BOTH
def test_json_that_never_fits_a_strict_schema_is_an_error(demo: Demo, openai: OpenAI, stream: bool) -> None:
    demo.program({"text": json.dumps(WRONG), "sticky": True})
    with pytest.raises(APIStatusError) as caught:
        _parse(openai, stream)
    assert (caught.value.status_code, caught.value.code) == (502, "structured_output_failed")
    assert len(demo.seen()) == 3


@BOTH
def test_a_model_that_declines_in_words_fills_the_refusal(demo: Demo, openai: OpenAI, stream: bool) -> None:
    demo.program({"text": "I am sorry, but I cannot help with that.", "sticky": True})
    message = _parse(openai, stream).message
    assert (message.refusal, message.parsed) == ("I am sorry, but I cannot help with that.", None)


@BOTH
def test_json_that_never_fits_a_loose_schema_comes_with_a_header(demo: Demo, openai: OpenAI, stream: bool) -> None:
    schema = {"type": "object", "properties": {"legs": {"type": "integer"}}, "required": ["legs"]}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "bird", "schema": schema}}
    demo.program({"text": '{"legs": "two"}', "sticky": True})
    raw = openai.chat.completions.with_raw_response.create(
        model=MODEL, messages=QUESTION, response_format=wanted, stream=stream
    )
    assert raw.headers["x-gateway-structured"] == "invalid"
    assert json.loads(folded(raw.parse()).choices[0].message.content or "") == {"legs": "two"}


@BOTH
@pytest.mark.parametrize("shape", ["{}", "```json\n{}\n```", "Here it is:\n\n{}", "{}\n\nI hope this helps!"])
def test_any_json_object_comes_alone(demo: Demo, openai: OpenAI, stream: bool, shape: str) -> None:
    text = '{"a": [1, {"b": "}"}], "c": null}'
    demo.program({"text": shape.replace("{}", text), "chunks": 3})
    (choice,) = answer(openai, stream, response_format={"type": "json_object"}).choices
    assert (json.loads(choice.message.content or ""), choice.finish_reason) == (json.loads(text), "stop")


@BOTH
def test_prose_in_place_of_an_object_is_asked_for_again_unseen(demo: Demo, openai: OpenAI, stream: bool) -> None:
    demo.program({"text": "A tit is a bird."}, {"text": '{"bird": "tit"}'})
    (choice,) = answer(openai, stream, response_format={"type": "json_object"}).choices
    assert choice.message.content == '{"bird": "tit"}'
    assert len(demo.seen()) == 2


def test_an_object_is_streamed_while_the_model_writes_it(demo: Demo, openai: OpenAI) -> None:
    text = json.dumps({"lines": [f"line {n}" for n in range(200)]})
    demo.program({"text": text, "chunks": 100, "delay_ms": 10})
    stream = openai.chat.completions.create(
        model=MODEL, messages=QUESTION, response_format={"type": "json_object"}, stream=True
    )
    pieces: list[str] = []
    for chunk in stream:
        if not pieces:
            assert demo.last()["status"] is None, "the site has not ended yet"
        pieces.append(chunk.choices[0].delta.content or "")
    assert "".join(pieces) == text
    assert len(pieces) > 10


@BOTH
def test_a_call_comes_before_the_form_of_the_answer(demo: Demo, openai: OpenAI, stream: bool) -> None:
    tool: Any = sdk.pydantic_function_tool(Bird, name="keep")
    demo.program({"tool_calls": [call("keep", **BIRD.model_dump())]})
    choice = _parse(openai, stream, tools=[tool])
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (one,) = choice.message.tool_calls
    assert one.function.parsed_arguments == BIRD


@BOTH
def test_a_strict_tool_never_gets_arguments_that_miss_its_schema(demo: Demo, openai: OpenAI, stream: bool) -> None:
    tool: Any = sdk.pydantic_function_tool(Bird, name="keep")
    demo.program({"tool_calls": [call("keep", **WRONG)]}, {"tool_calls": [call("keep", **BIRD.model_dump())]})
    (choice,) = answer(openai, stream, tools=[tool]).choices
    assert made(choice) == [("keep", BIRD.model_dump())]
    assert len(demo.seen()) == 2


def test_a_schema_that_cannot_be_is_refused_by_name(demo: Demo, openai: OpenAI) -> None:
    schema = {"$ref": "https://example.com/schema.json"}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "bird", "schema": schema, "strict": True}}
    with pytest.raises(BadRequestError) as caught:
        answer(openai, False, response_format=wanted)
    assert (caught.value.param or "").startswith("response_format")
    assert demo.seen() == []


# -- the end


@BOTH
@pytest.mark.parametrize("stop", ["END", ["nothing", "END"], ["END of", "END"]], ids=["one", "several", "both fit"])
def test_the_text_ends_before_a_stop_sequence(demo: Demo, openai: OpenAI, stream: bool, stop: Any) -> None:
    demo.program({"text": "It is EN route. END of it." + " More." * 80, "chunks": 2, "delay_ms": 5})
    (choice,) = answer(openai, stream, stop=stop).choices
    assert (choice.message.content, choice.finish_reason) == ("It is EN route. ", "stop")
    wait(lambda: demo.last()["aborted"], 3)


@BOTH
def test_the_beginning_of_a_stop_sequence_at_the_end_is_text(demo: Demo, openai: OpenAI, stream: bool) -> None:
    demo.program({"text": "The EN", "chunks": 1})
    assert answer(openai, stream, stop="END").choices[0].message.content == "The EN"


@BOTH
def test_a_stop_sequence_does_not_cut_arguments(demo: Demo, openai: OpenAI, stream: bool) -> None:
    demo.program({"tool_calls": [call("read_file", path="END.md")]})
    (choice,) = answer(openai, stream, tools=TOOLS, stop="END").choices
    assert made(choice) == [("read_file", {"path": "END.md"})]


@BOTH
@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_an_answer_has_no_more_tokens_than_wanted(demo: Demo, openai: OpenAI, stream: bool, limit: str) -> None:
    text = "one two three four five six seven eight nine ten " * 40
    demo.program({"text": text, "delay_ms": 5})
    wanted: Json = {limit: 10}
    (choice,) = answer(openai, stream, **wanted).choices
    said = choice.message.content or ""
    assert text.startswith(said)
    assert 10 <= len(said) <= 60
    assert choice.finish_reason == "length"
    wait(lambda: demo.last()["aborted"], 3)


@BOTH
def test_an_answer_within_its_limit_is_whole(demo: Demo, openai: OpenAI, stream: bool) -> None:
    demo.program({"text": "Short."})
    (choice,) = answer(openai, stream, max_tokens=100).choices
    assert (choice.message.content, choice.finish_reason) == ("Short.", "stop")


@BOTH
def test_reasoning_counts_for_one_limit_and_not_for_the_other(demo: Demo, openai: OpenAI, stream: bool) -> None:
    demo.program({"text": "So it is.", "thinking": "I have to think about it. " * 40, "thinking_style": "think",
                  "sticky": True})  # fmt: skip
    limits: list[Json] = [{"max_tokens": 20}, {"max_completion_tokens": 20}]
    seen, everything = (answer(openai, stream, model=f"{MODEL}-thinking", **limit).choices[0] for limit in limits)
    assert (seen.message.content, seen.finish_reason) == ("So it is.", "stop")
    assert (everything.message.content or "", everything.finish_reason) == ("", "length")


@BOTH
def test_a_limit_within_a_call_makes_no_call(demo: Demo, openai: OpenAI, stream: bool) -> None:
    cut = damaged("write_file", json.dumps({"path": "a", "content": "word " * 200}))
    demo.program({"text": cut, "nonce": "@@"})
    (choice,) = answer(openai, stream, tools=TOOLS, max_tokens=30).choices
    assert (calls(choice), choice.finish_reason) == ([], "length")


@BOTH
def test_an_answer_that_the_client_has_begun_is_gone_on_with(demo: Demo, openai: OpenAI, stream: bool) -> None:
    begun: list[Any] = [*QUESTION, {"role": "assistant", "content": "The birds are"}]
    demo.program({"text": "The birds are blue and yellow.", "chunks": 2})
    raw = openai.chat.completions.with_raw_response.create(model=MODEL, messages=begun, stream=stream)
    assert raw.headers["x-gateway-emulated"] == "prefill"
    assert folded(raw.parse()).choices[0].message.content == " blue and yellow."


# -- several answers


@BOTH
def test_several_answers_are_asked_for_at_once(demo: Demo, openai: OpenAI, stream: bool) -> None:
    texts = {f"This is answer {n}." for n in range(3)}
    usage = {"input": 20, "output": 5}
    demo.program(*({"text": text, "delay_ms": 10, "usage": usage} for text in sorted(texts)))
    options: Json = {"stream_options": {"include_usage": True}} if stream else {}
    found = answer(openai, stream, n=3, **options)
    assert [choice.index for choice in found.choices] == [0, 1, 2]
    assert {choice.message.content for choice in found.choices} == texts
    assert {choice.finish_reason for choice in found.choices} == {"stop"}
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (60, 15)


def test_choices_of_a_stream_begin_in_their_order(demo: Demo, openai: OpenAI) -> None:
    """Whichever answer is there first: the SDK puts a choice that it does not know yet behind the others, and breaks
    on a stream that begins with another choice than the first (openai 3.52, 2026-11-21)."""
    for _ in range(2):
        demo.program(*({"text": f"After {wait_ms} ms.", "first_byte_ms": wait_ms} for wait_ms in (300, 150, 0)))
        chunks = list(openai.chat.completions.create(model=MODEL, messages=QUESTION, n=3, stream=True))
        indices = [choice.index for chunk in chunks for choice in chunk.choices]
        assert list(dict.fromkeys(indices)) == [0, 1, 2]


@BOTH
def test_each_of_several_answers_has_its_calls(demo: Demo, openai: OpenAI, stream: bool) -> None:
    demo.program(*({"tool_calls": [call("read_file", path=name)]} for name in "ab"))
    found = answer(openai, stream, n=2, tools=[READ])
    assert sorted(made(choice)[0][1]["path"] for choice in found.choices) == ["a", "b"]
    assert len({one.id for choice in found.choices for one in calls(choice)}) == 2


@BOTH
def test_one_failure_among_several_answers_is_an_error(demo: Demo, openai: OpenAI, stream: bool) -> None:
    demo.program({"text": "Fine. " * 20, "delay_ms": 5}, {"error": "rate_limit", "sticky": True})
    with pytest.raises(sdk.APIError):
        answer(openai, stream, n=2)


# -- what the site has nothing for


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 3}, "logprobs"),
        ({"logit_bias": {"5": 10}}, "logit_bias"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, "audio"),
    ],
    ids=["logprobs", "top_logprobs", "logit_bias", "audio"],
)
def test_what_a_program_would_miss_in_the_answer_is_refused(demo: Demo, openai: OpenAI, body: Json, param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        openai.chat.completions.create(model=MODEL, messages=QUESTION, **body)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", param)
    assert demo.seen() == []


@pytest.mark.parametrize(
    "body",
    [{"n": 5}, {"temperature": 3}, {"stop": ["a", "b", "c", "d", "e"]}, {"stop": [""]}, {"max_tokens": 0}],
    ids=lambda body: next(iter(body)),
)
def test_values_out_of_range_are_refused_by_name(demo: Demo, openai: OpenAI, body: Json) -> None:
    (param,) = body
    with pytest.raises(BadRequestError) as caught:
        openai.chat.completions.create(model=MODEL, messages=QUESTION, **body)
    assert (caught.value.param or "").startswith(param)
    assert demo.seen() == []


def test_only_what_has_no_effect_is_named(demo: Demo, openai: OpenAI) -> None:
    honoured: Json = {
        "tools": TOOLS,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "stop": "END",
        "max_tokens": 100,
        "n": 1,
        "logprobs": False,
        "response_format": {"type": "text"},
    }
    raw = openai.chat.completions.with_raw_response.create(
        model=MODEL, messages=QUESTION, temperature=0.2, top_p=1, seed=7, service_tier="auto", **honoured
    )
    named = [name.strip() for name in raw.headers["x-gateway-ignored"].split(",")]
    assert sorted(named) == ["seed", "service_tier", "temperature", "top_p"]


def test_nothing_is_named_when_everything_has_its_effect(openai: OpenAI) -> None:
    raw = openai.chat.completions.with_raw_response.create(
        model=MODEL, messages=QUESTION, tools=TOOLS, stop="END", max_completion_tokens=100
    )
    assert "x-gateway-ignored" not in raw.headers


async def test_who_wants_it_strictly_is_refused_what_has_no_effect(tmp_path: Path) -> None:
    async with running(tmp_path, **QUICK, strict_params=True) as rig:
        async with rig.client() as client:
            with pytest.raises(BadRequestError) as caught:
                await client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0.2)
            kept = await client.chat.completions.create(model=MODEL, messages=QUESTION, tools=TOOLS, stop="END")
        assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "temperature")
        assert kept.choices[0].message.content == "ok"
        assert (await rig.post(ask(seed=1))).status == 400
        assert len(rig.sim.site.seen) == 1
