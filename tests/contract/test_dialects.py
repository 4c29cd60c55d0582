"""Every listed dialect × every recording × {stream, whole}: a client reads what the decoder decoded.

A dialect's bytes are read here as its clients do, by the entry of its name in `CLIENTS`. A listed dialect without
one fails.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from qwen_gateway.dialects import DIALECTS
from qwen_gateway.turn.contracts import Dialect, Incoming, ReplyHead
from qwen_gateway.turn.events import (
    Declined,
    Event,
    Failed,
    Finished,
    Reasoning,
    Text,
    ToolCallArguments,
    ToolCallBegan,
    ToolCallEnded,
    Usage,
)
from qwen_gateway.turn.faults import Challenged, Fault, Incomplete, InvalidRequest, RateLimited
from qwen_gateway.turn.reply import Fold
from qwen_gateway.turn.request import TurnRequest
from qwen_gateway.upstreams.qwen.decoder import Decoder

CORPUS = Path(__file__).parents[1] / "corpus"
RECORDINGS = sorted(CORPUS.glob("*sse_*.txt"))
HEAD = ReplyHead("id-1", 1_789_353_470, "qwen3.7-plus")
ASKED = TurnRequest(model="m", messages=(), stream=True, stream_usage=True)


class Read(Struct):
    """What a client has at the end. `ended`: it saw the dialect's own end of a whole answer. calls: names and
    arguments, by their ids; in a dialect without ids, by anything that tells them apart. to_call: the end says that
    they are to be run. refusal: in a dialect with a field for it."""

    text: str = ""
    refusal: str = ""
    reasoning: str = ""
    calls: dict[str, list[str]] = {}
    to_call: bool = False
    input: int | None = None
    output: int | None = None
    ended: bool = False
    error: str | None = None


class Client(Struct, frozen=True):
    """request_with_tool: declares one, called `Read`, that takes any object, and asks for it to be called."""

    least_request: bytes
    request_with_tool: bytes
    stream: Callable[[bytes], Read]
    whole: Callable[[bytes], Read]
    error: Callable[[bytes], str]
    """The message for the person."""


def _chat_usage(read: Read, usage: dict[str, Any]) -> None:
    read.input, read.output = usage["prompt_tokens"], usage["completion_tokens"]


def _chat_stream(raw: bytes) -> Read:
    read, finished = Read(), False
    ids: dict[int, str] = {}
    for record in raw.decode().split("\n\n"):
        if not record or record.startswith(":"):
            continue
        value = record.removeprefix("data: ")
        if value == "[DONE]":
            read.ended = finished
            break
        chunk = json.loads(value)
        if "error" in chunk:
            read.error = chunk["error"]["message"]
            break
        for choice in chunk["choices"]:
            read.text += choice["delta"].get("content") or ""
            read.refusal += choice["delta"].get("refusal") or ""
            read.reasoning += choice["delta"].get("reasoning_content", "")
            for call in choice["delta"].get("tool_calls", ()):
                _add_call(read, ids, call)
            finished = finished or choice["finish_reason"] is not None
            read.to_call = choice["finish_reason"] == "tool_calls"
        if "usage" in chunk:
            _chat_usage(read, chunk["usage"])
    return read


def _add_call(read: Read, ids: dict[int, str], call: dict[str, Any]) -> None:
    function = call["function"]
    if "id" in call:
        ids[call["index"]] = call["id"]
        read.calls[call["id"]] = [function["name"], ""]
    read.calls[ids[call["index"]]][1] += function["arguments"]


def _chat_whole(raw: bytes) -> Read:
    answer = json.loads(raw)
    (choice,) = answer["choices"]
    message, finish = choice["message"], choice["finish_reason"]
    read = Read(message["content"] or "", message["refusal"] or "", message.get("reasoning_content", ""))
    read.to_call = finish == "tool_calls"
    for call in message.get("tool_calls", ()):
        read.calls[call["id"]] = [call["function"]["name"], call["function"]["arguments"]]
    read.ended = finish in ("stop", "length", "tool_calls")
    _chat_usage(read, answer["usage"])
    return read


def _openai_error(raw: bytes) -> str:
    error = json.loads(raw)["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return str(error["message"])


CHAT = Client(
    b'{"model": "m", "messages": [{"role": "user", "content": "hello"}]}',
    b'{"model": "m", "messages": [{"role": "user", "content": "hello"}], "tool_choice": "required",'
    b' "tools": [{"type": "function", "function": {"name": "Read", "parameters": {"type": "object"}}}]}',
    _chat_stream,
    _chat_whole,
    _openai_error,
)
CLIENTS: dict[str, Client] = {
    "openai_chat": CHAT,
    "qwen_compat": CHAT,
}


OF_ALL_DIALECTS = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
OF_ALL_RECORDINGS = pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)


def client_of(dialect: Dialect) -> Client:
    assert dialect.name in CLIENTS, f"no client reads {dialect.name} here yet"
    return CLIENTS[dialect.name]


def events_of(path: Path) -> list[Event]:
    raw = path.read_bytes()
    chat = json.loads(raw.split(b"\n")[0][5:]).get("response.created", {}).get("chat_id", "")
    decoder = Decoder(chat)
    return decoder.feed(raw) + decoder.close()


def folded(events: Sequence[Event]) -> Fold:
    fold = Fold()
    fold.feed(events)
    return fold


def streamed(dialect: Dialect, batches: Sequence[Sequence[Event]]) -> bytes:
    writer = dialect.writer(ASKED, HEAD)
    out = b""
    for batch in batches:
        out += writer.feed(batch) + dialect.heartbeat
        out += b"".join(writer.fail(event.fault) for event in batch if isinstance(event, Failed))
    return out


@OF_ALL_DIALECTS
@OF_ALL_RECORDINGS
@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_a_stream_says_what_was_decoded(dialect: Dialect, path: Path, size: int) -> None:
    events = events_of(path)
    read = client_of(dialect).stream(streamed(dialect, [events[i : i + size] for i in range(0, len(events), size)]))
    last, fold = events[-1], folded(events)
    text, reasoning = "".join(fold._text), "".join(fold._reasoning)
    assert (read.text, read.reasoning) == (text, reasoning)
    assert read.ended == isinstance(last, Finished)
    assert read.error == (last.fault.text if isinstance(last, Failed) else None)
    usage = next((event for event in events if isinstance(event, Usage)), None)
    if usage is not None and read.ended:
        assert (read.input, read.output) == (usage.input, usage.output)


@OF_ALL_DIALECTS
@OF_ALL_RECORDINGS
def test_a_whole_answer_says_what_the_stream_says(dialect: Dialect, path: Path) -> None:
    events, client = events_of(path), client_of(dialect)
    fold = folded(events)
    if fold.failed is not None:
        assert client.error(dialect.refusal(fold.failed.fault)) == fold.failed.fault.text
        return
    reply = fold.reply()
    whole = client.whole(dialect.whole(ASKED, HEAD, reply))
    usage = reply.usage
    assert whole == Read(reply.text, reasoning=reply.reasoning, input=usage.input, output=usage.output, ended=True)
    stream = client.stream(streamed(dialect, [events]))
    assert (stream.text, stream.reasoning, stream.ended) == (whole.text, whole.reasoning, whole.ended)


@OF_ALL_DIALECTS
@OF_ALL_RECORDINGS
def test_no_beginning_of_a_stream_looks_like_a_whole_answer(dialect: Dialect, path: Path) -> None:
    events, client = events_of(path), client_of(dialect)
    for count in range(len(events)):
        cut = [event for event in events[:count] if not isinstance(event, Finished | Failed)]
        assert not client.stream(streamed(dialect, [cut])).ended
        broken = client.stream(streamed(dialect, [*[[one] for one in cut], [Failed(Incomplete("It broke."))]]))
        assert (broken.ended, broken.error) == (False, "It broke.")


# --- calls, of which there are no recordings: the site does not know the client's tools ---


def call(index: int, name: str, *pieces: str) -> list[Event]:
    arguments = [ToolCallArguments(index, piece) for piece in pieces]
    return [ToolCallBegan(index, f"{index:024x}", name), *arguments, ToolCallEnded(index)]


CALLS: dict[str, list[Event]] = {
    "one": call(0, "Read", '{"path":', ' "/“a”"}'),
    "one without arguments": call(0, "list", "{}"),
    "two behind text": [Reasoning("r"), Text("Look:"), *call(0, "Read", "{", "}"), *call(1, "Bash", '{"a": "\\n"}')],
}
OF_ALL_CALLS = pytest.mark.parametrize("said", CALLS.values(), ids=CALLS.keys())
END: list[Event] = [Usage(7, 3), Finished("tool_calls")]


@OF_ALL_DIALECTS
@OF_ALL_CALLS
@pytest.mark.parametrize("size", [1, 3, 100])
def test_calls_arrive_streamed_and_whole(dialect: Dialect, said: list[Event], size: int) -> None:
    events, client = [*said, *END], client_of(dialect)
    reply = folded(events).reply()
    read = client.stream(streamed(dialect, [events[i : i + size] for i in range(0, len(events), size)]))
    assert (read.text, read.reasoning) == (reply.text, reply.reasoning)
    assert list(read.calls.values()) == [[one.name, one.arguments] for one in reply.calls]
    assert (read.ended, read.to_call) == (True, True)
    assert client.whole(dialect.whole(ASKED, HEAD, reply)) == read


@OF_ALL_DIALECTS
@OF_ALL_CALLS
def test_no_beginning_of_calls_is_to_be_run(dialect: Dialect, said: list[Event]) -> None:
    client = client_of(dialect)
    for count in range(len(said) + 1):
        broken = client.stream(streamed(dialect, [said[:count], [Failed(Incomplete("It broke."))]]))
        assert (broken.ended, broken.to_call, broken.error) == (False, False, "It broke.")


@OF_ALL_DIALECTS
def test_a_refusal_arrives_streamed_and_whole(dialect: Dialect) -> None:
    events: list[Event] = [Reasoning("No."), Declined("I will not."), Usage(7, 3), Finished()]
    client = client_of(dialect)
    read = client.stream(streamed(dialect, [[event] for event in events]))
    assert (read.text + read.refusal, read.reasoning, read.ended) == ("I will not.", "No.", True)
    assert client.whole(dialect.whole(ASKED, HEAD, folded(events).reply())) == read


@OF_ALL_DIALECTS
def test_a_tool_is_read_with_the_wish_to_call_it(dialect: Dialect) -> None:
    request = dialect.read(Incoming("/", [], client_of(dialect).request_with_tool))
    assert [tool.name for tool in request.tools] == ["Read"]
    assert request.tools[0].parameters["type"] == "object"
    assert request.tool_choice.mode == "required"


@OF_ALL_DIALECTS
@pytest.mark.parametrize(
    "fault", [InvalidRequest("No.", param="x"), RateLimited("Later.", retry_after=5), Challenged("Human?")]
)
def test_refusals_say_the_faults_text(dialect: Dialect, fault: Fault) -> None:
    assert client_of(dialect).error(dialect.refusal(fault)) == fault.text


@OF_ALL_DIALECTS
def test_the_least_request_is_read_and_the_rest_is_refused(dialect: Dialect) -> None:
    request = dialect.read(Incoming("/", [], client_of(dialect).least_request))
    assert request.messages
    for raw in (b"", b"[]", b"{}", b"\xff", b"{" * 100_000):
        with pytest.raises(InvalidRequest):
            dialect.read(Incoming("/", [], raw))


def test_names_and_routes_are_each_dialects_own() -> None:
    names = [dialect.name for dialect in DIALECTS]
    routes = [route for dialect in DIALECTS for route in dialect.routes]
    assert sorted(set(names)) == sorted(names)
    assert sorted(set(routes)) == sorted(routes)
    assert all(route.startswith("/") for route in routes)
