"""A request to a dialect's route, over fakes: its headers, its answers of one or several choices, and its errors."""

import json
from typing import Any

import httpx2
import pytest
from tests.relay.fakes import Reply
from tests.server.admin.bench import Bench

from qwen_gateway.turn.faults import Drift, Fault

CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "Hi"}]
AGE = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
ASKS_AGE: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": {"name": "age", "schema": AGE}}}


def says(*lines: str) -> Reply:
    return Reply(b"began\n", *(f"{line}\n".encode() for line in lines), b"usage:11,3\nend\n")


@pytest.fixture
async def bench() -> Bench:
    made = Bench()
    await made.open()
    return made


async def ask(
    bench: Bench, *replies: Reply | Fault, headers: dict[str, str] | None = None, **body: Any
) -> httpx2.Response:
    """replies: of the site, in turn."""
    bench.net.replies.extend(replies)
    asked = {"model": "q-switch", "messages": HI, **body}
    return await bench.call("POST", CHAT, asked, key=bench.text["client"], headers=headers)


def chunks(response: httpx2.Response) -> list[Any]:
    """Of a stream, without its last mark."""
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def code(response: httpx2.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def test_an_answer_says_who_gave_it_and_how_its_conversation_got_there(bench: Bench) -> None:
    response = await ask(bench, says("text:Hello"))
    assert response.json()["choices"][0]["message"]["content"] == "Hello"
    assert response.headers["x-gateway-model"] == "q-switch"
    assert response.headers["x-gateway-continuation"] == "replay; reason=off"
    absent = ("x-gateway-ignored", "x-gateway-structured", "x-gateway-emulated", "x-gateway-tools")
    assert not any(name in response.headers for name in absent)


async def test_what_cannot_be_honoured_is_named_in_a_header(bench: Bench) -> None:
    assert "temperature" in (await ask(bench, says("text:Hello"), temperature=0.5)).headers["x-gateway-ignored"]


async def test_where_parameters_are_strict_it_is_refused(bench: Bench) -> None:
    bench.service.strict_params = True
    response = await ask(bench, temperature=0.5)
    assert code(response) == (400, "unsupported_parameter")
    assert response.json()["error"]["param"] == "temperature"
    assert bench.net.log == []


async def test_headers_that_mean_nothing_are_refused_before_anything_is_asked(bench: Bench) -> None:
    response = await ask(bench, headers={"x-continuation": "perhaps"})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "X-Continuation"
    assert bench.net.log == []


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_misses_its_schema_is_marked(bench: Bench, stream: bool) -> None:
    response = await ask(bench, *(says('text:{"age": []}') for _ in range(3)), **ASKS_AGE, stream=stream)
    assert response.status_code == 200
    assert response.headers["x-gateway-structured"] == "invalid"


async def test_an_answer_that_the_client_began_is_marked(bench: Bench) -> None:
    begun = [*HI, {"role": "assistant", "content": "It is"}]
    response = await ask(bench, says("text: so."), messages=begun)
    assert response.headers["x-gateway-emulated"] == "prefill"
    assert response.json()["choices"][0]["message"]["content"] == " so."


async def test_an_answer_that_never_fits_is_an_error_of_the_sites(bench: Bench) -> None:
    asked: dict[str, Any] = {"response_format": {"type": "json_object"}}
    assert code(await ask(bench, *(says("text:No.") for _ in range(3)), **asked)) == (502, "structured_output_failed")
    assert bench.net.count("ask") == 3


async def test_a_stream_that_fails_after_its_first_words_does_not_look_whole(bench: Bench) -> None:
    response = await ask(bench, says('text:{"a": 1]'), response_format={"type": "json_object"}, stream=True)
    assert response.status_code == 200
    assert chunks(response)[-1]["error"]["code"] == "structured_output_failed"
    assert "[DONE]" not in response.text


async def test_a_stop_sequence_ends_the_answer_as_a_stop(bench: Bench) -> None:
    response = await ask(bench, says("text:one END two"), stop="END")
    choice = response.json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one ", "stop")


# --- several choices ---


async def test_several_choices_are_answers_of_their_own_and_their_figures_add_up(bench: Bench) -> None:
    response = await ask(bench, says("text:One"), says("text:Two"), n=2)
    told = response.json()
    assert [choice["index"] for choice in told["choices"]] == [0, 1]
    assert {choice["message"]["content"] for choice in told["choices"]} == {"One", "Two"}
    assert (told["usage"]["prompt_tokens"], told["usage"]["completion_tokens"]) == (22, 6)
    assert response.headers["x-gateway-continuation"] == "replay; reason=off"
    assert bench.net.count("new") == 2


async def test_several_choices_are_streamed_side_by_side(bench: Bench) -> None:
    response = await ask(
        bench, says("text:One"), says("text:Two"), n=2, stream=True, stream_options={"include_usage": True}
    )
    texts, ends = {0: "", 1: ""}, []
    for chunk in chunks(response):
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["delta"].get("content") or ""
            ends += [choice["index"]] if choice["finish_reason"] else []
    assert set(texts.values()) == {"One", "Two"}
    assert sorted(ends) == [0, 1]
    assert chunks(response)[-1]["usage"]["total_tokens"] == 28
    assert response.text.endswith("data: [DONE]\n\n")


async def test_one_choice_that_fails_fails_the_request(bench: Bench) -> None:
    assert code(await ask(bench, says("text:One"), Drift("odd"), n=2)) == (502, "upstream_changed")


async def test_one_choice_that_misses_its_schema_marks_the_request(bench: Bench) -> None:
    replies = [says('text:{"age": []}') for _ in range(6)]
    response = await ask(bench, *replies, n=2, **ASKS_AGE)
    assert response.headers["x-gateway-structured"] == "invalid"
