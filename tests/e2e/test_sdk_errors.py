"""Failures as programs meet them: the classes of errors of OpenAI's own clients."""

import time

import pytest
from openai import (
    APIError,
    AsyncOpenAI,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OpenAI,
    PermissionDeniedError,
    RateLimitError,
)
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from .process import Demo, wait
from .rig import Rig
from .wire import MODEL

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
LIMITED = "qwen3.5-plus"


def _create(client: OpenAI, stream: bool, model: str = MODEL) -> str:
    if not stream:
        return client.chat.completions.create(model=model, messages=HELLO).choices[0].message.content or ""
    chunks = client.chat.completions.create(model=model, messages=HELLO, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@pytest.mark.parametrize("stream", [True, False])
def test_a_wrong_key(demo: Demo, stream: bool) -> None:
    with (
        OpenAI(base_url=demo.base_url, api_key="wrong", max_retries=0) as client,
        pytest.raises(AuthenticationError) as caught,
    ):
        _create(client, stream)
    assert (caught.value.code, caught.value.status_code) == ("invalid_api_key", 401)
    assert demo.seen() == []


def test_a_foreign_page(demo: Demo, openai: OpenAI) -> None:
    with pytest.raises(PermissionDeniedError):
        openai.with_options(default_headers={"Origin": "https://evil.example"}).models.list()


@pytest.mark.parametrize("stream", [True, False])
def test_a_bad_parameter_is_named(openai: OpenAI, stream: bool) -> None:
    with pytest.raises(BadRequestError) as caught:
        openai.chat.completions.create(model=MODEL, messages=HELLO, n=200, stream=stream)
    assert (caught.value.param, caught.value.code) == ("n", "unsupported_value")
    assert caught.value.request_id is not None
    assert caught.value.request_id.startswith("req_")


def test_an_unknown_path(openai: OpenAI) -> None:
    with pytest.raises(NotFoundError):
        openai.embeddings.create(model=MODEL, input="x")


@pytest.mark.parametrize("stream", [True, False])
def test_a_limit_says_when_to_come_back(demo: Demo, openai: OpenAI, stream: bool) -> None:
    demo.program({"error": "http_429", "retry_after": "1"})
    with pytest.raises(RateLimitError) as caught:
        _create(openai, stream, LIMITED)
    assert caught.value.response.headers["retry-after"] == "1"
    assert caught.value.code == "upstream_rate_limited"
    time.sleep(1.1)  # the rest of this model, which other tests need
    assert _create(openai, stream, LIMITED) == "ok"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", ["server", "http_500", "disconnect", "empty", "in_progress", "too_many_messages"])
def test_whatever_breaks_at_the_site_is_a_server_error(demo: Demo, openai: OpenAI, name: str, stream: bool) -> None:
    demo.program({"error": name, "sticky": True})
    with pytest.raises(InternalServerError) as caught:
        _create(openai, stream)
    assert caught.value.status_code in (502, 503)
    assert caught.value.response.headers["x-gateway-fault"] == "site"
    assert caught.value.message


def test_a_client_with_its_own_retries_does_not_multiply_ours(demo: Demo, openai: OpenAI) -> None:
    demo.program({"error": "server", "sticky": True})
    with pytest.raises(InternalServerError):
        _create(openai.with_options(max_retries=4), stream=False)
    assert len(demo.seen()) == 2


@pytest.mark.parametrize("name", ["eof", "disconnect", "server", "content_filter", "f36", "f27", "stall", "f34"])
def test_a_stream_that_breaks_raises_in_the_client(demo: Demo, openai: OpenAI, name: str) -> None:
    demo.program({"text": "one two three four", "error": name, "after_chunks": 2})
    said: list[ChatCompletionChunk] = []
    stream = openai.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    with pytest.raises(APIError) as caught:
        said.extend(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in said) == "one two"
    assert {chunk.choices[0].finish_reason for chunk in said} == {None}
    assert caught.value.message
    assert len(demo.seen()) == 1
    wait(lambda: demo.state()["open_streams"] == 0)


async def test_the_async_client_raises_the_same(rig: Rig) -> None:
    await rig.program({"text": "one two three", "error": "f17"}, {"error": "challenge"})
    client: AsyncOpenAI = rig.client()
    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    with pytest.raises(APIError, match="broke off"):
        [chunk async for chunk in stream]
    with pytest.raises(InternalServerError) as caught:
        await client.chat.completions.create(model=MODEL, messages=HELLO)
    assert caught.value.code == "upstream_challenge"
    assert "chat.qwen.ai" in caught.value.message
