"""Every fault of the table, looked at from a bare socket: it does what it says, within a bounded time."""

import gzip
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from qwen_gateway.simulator import Simulator, faults
from qwen_gateway.simulator.refusals import REFUSALS

from .shapes import Json, Source, faults_of, is_json
from .visitor import Visitor, question, until

pytestmark = pytest.mark.anyio

CORPUS = Path(__file__).parents[1] / "corpus"
TEXT = "one two three four five"


class Caught:
    """What came over the socket: head, body without its chunks, and the manner of the end."""

    def __init__(self, data: bytes, end: str) -> None:
        self.data = data
        self.end = end
        self.head, _, rest = data.partition(b"\r\n\r\n")
        self.chunked = b"Transfer-Encoding: chunked" in self.head
        self.body, self.whole = _unchunked(rest) if self.chunked else (rest, True)

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    def header(self, name: str) -> str:
        found = re.search(rf"^{name}: (.*?)\r?$", self.head.decode(), re.MULTILINE | re.IGNORECASE)
        return found[1] if found else ""

    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Json:
        body = json.loads(self.body)
        assert is_json(body)
        return body

    def frames(self) -> list[Json]:
        lines = [line for line in self.text().split("\n") if line.startswith("data: {")]
        return [json.loads(line.removeprefix("data: ")) for line in lines]

    def says(self, text: str) -> bool:
        """A complete stream of the site's shape with this text."""
        return self.whole and faults_of(self.text()) == [] and _spoken(self) == text


_SIZE = re.compile(rb"([0-9a-fA-F]+)\r\n")


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    """The body of a chunked answer, and whether it came to its proper end."""
    parts: list[bytes] = []
    at = 0
    while (found := _SIZE.match(data, at)) is not None:
        size, at = int(found[1], 16), found.end()
        if size == 0:
            return b"".join(parts), True
        parts.append(data[at : at + size])
        at += size + 2
    return b"".join(parts), False


async def _catch(visitor: Visitor, turn: Json) -> Caught:
    """Plays a fault over a connection that is asked to close behind the answer."""
    programmed = await visitor.program({"text": TEXT, **turn})
    assert programmed.status == 200, programmed.text
    visitor.headers["Connection"] = "close"
    raw = await visitor.open_raw(question(await visitor.new_chat(), "hi [TOOL CALL n0n1]"))
    data, end = await raw.read_all()
    await raw.close()
    return Caught(data, end)


def _cut_off(caught: Caught) -> bool:
    return caught.end == "closed" and not caught.whole and b"response.created" in caught.body


def _still_fine(caught: Caught) -> bool:
    return caught.status == 200 and caught.says(TEXT)


def _refusal(name: str) -> Callable[[Caught], bool]:
    def check(caught: Caught) -> bool:
        refusal = REFUSALS[name]
        body = {key: value for key, value in caught.json().items() if key != "request_id"}
        status = int(caught.header("x-actual-status-code"))
        return caught.status == 200 and body == refusal.body and status == refusal.status

    return check


def _error_line(name: str) -> Callable[[Caught], bool]:
    def check(caught: Caught) -> bool:
        expected = REFUSALS[name].body
        last = caught.frames()[-1]
        return "response.created" in caught.frames()[0] and {key: last[key] for key in expected} == expected

    return check


def _status(status: int) -> Callable[[Caught], bool]:
    return lambda caught: caught.status == status


def _reset(caught: Caught) -> bool:
    return caught.data == b"" and caught.end == "reset"


def _unzipped(caught: Caught) -> bool:
    return caught.header("content-encoding") == "gzip" and faults_of(gzip.decompress(caught.body).decode()) == []


def _zip_cut(caught: Caught) -> bool:
    unzip = zlib.decompressobj(wbits=31)
    return b"response.created" in unzip.decompress(caught.body) and not unzip.eof


def _bomb(caught: Caught) -> bool:
    unzip = zlib.decompressobj(wbits=31)
    start = unzip.decompress(caught.body, max_length=1_000_000)
    return len(caught.body) < 200_000 and len(start) == 1_000_000 and bool(unzip.unconsumed_tail)


def _split_characters(caught: Caught) -> bool:
    pair = '"\\ud83d"' in caught.text() and '"\\ude00"' in caught.text()
    alone = [chunk for chunk in re.findall(rb"\r\n1\r\n(.)(?=\r\n)", caught.data, re.DOTALL) if chunk[0] >= 0x80]
    return pair and caught.whole and len(alone) > 20


def _salad(caught: Caught) -> bool:
    marks = (b"\xef\xbb\xbfdata", b"\r\n\r\n", b"\r\rdata", b"\n\ndata", b"\ndata:{", b'"choices":\ndata: [')
    return caught.whole and all(mark in caught.body for mark in marks)


def _usage(check: Callable[[list[object]], bool]) -> Callable[[Caught], bool]:
    return lambda caught: caught.whole and check([frame.get("usage") for frame in caught.frames()[1:]])


def _repeats(caught: Caught) -> bool:
    lines = [line for line in caught.text().split("\n\n") if line]
    return lines[1:3] == lines[3:5] and caught.whole


def _phases(caught: Caught) -> list[str]:
    return re.findall(r'"phase": "([^"]*)"', caught.text())


def _pieces(caught: Caught) -> list[str]:
    texts = re.findall(r'"content": "((?:[^"\\]|\\.)*)", "phase": "answer"', caught.text())
    return [json.loads(f'"{text}"') for text in texts]


def _spoken(caught: Caught) -> str:
    return "".join(_pieces(caught))


FAST_WAIT: Json = {"seconds": 0.05}
CHECKS: dict[str, tuple[Json, Callable[[Caught], bool]]] = {
    **{name: ({}, _error_line(name) if row.inline else _refusal(name)) for name, row in REFUSALS.items()},
    "http_429": ({}, lambda c: c.status == 429 and c.header("retry-after") == "2"),
    **{f"http_{status}": ({}, _status(status)) for status in (500, 502, 503, 504)},
    "challenge_html": ({}, lambda c: c.status == 200 and c.body.startswith(b"<") and b"aliyun_waf_aa" in c.body),
    "redirect": ({}, lambda c: c.status == 302 and ".invalid" in c.header("location")),
    "chat_lost": ({}, _refusal("chat_deleted")),  # what is lost: test_losses
    "chats_lost": ({}, _refusal("chat_deleted")),
    "parent_lost": ({}, _refusal("parent_unknown")),
    "disconnect": ({}, _reset),
    "eof": ({}, _cut_off),
    "empty": ({}, lambda c: c.status == 200 and c.whole and c.body == b""),
    "stall": (FAST_WAIT, _cut_off),
    "f01": ({}, _reset),
    "f05": ({}, _reset),
    "f06": ({}, _still_fine),  # the second half: test_a_stale_connection_is_reset
    "f07": (FAST_WAIT, _still_fine),
    "f08": (FAST_WAIT, _still_fine),
    "f10": (FAST_WAIT, lambda c: _cut_off(c) and c.body.count(b"\n: still here\n") >= 3),
    "f11": ({"seconds": 0, "text": "x"}, lambda c: c.says("x") and c.data.count(b"\r\n1\r\n") > 500),
    "f12": ({}, lambda c: _still_fine(c) and len(re.findall(rb"\r\n[0-9a-f]+\r\ndata", c.data)) == 1),
    "f13": ({"text": None}, _split_characters),
    "f14": ({}, lambda c: b"caf\xe9 \xff\xfe" in c.body and c.whole),
    "f15": ({}, _salad),
    "f16": ({}, lambda c: c.end == "reset" or c.body.endswith(b'"assis')),
    "f18": ({}, lambda c: _still_fine(c) and b"[DONE]" not in c.body),
    "f19": ({}, lambda c: c.body.count(b"data: [DONE]\n\n") == 2 and b"said after the end" in c.body),
    "f20": ({}, lambda c: c.whole and b'"finished"' not in c.body and b"five" in c.body),
    "f21": ({}, _repeats),
    "f22": ({}, lambda c: any("not cumulative" in fault for fault in faults_of(c.text()))),
    "f23": ({"after_chunks": 3}, lambda c: _pieces(c)[:5] == ["one", " two", " three", "one two three four", TEXT]),
    "f27": ({}, lambda c: c.whole and c.text().rpartition("\n\n")[2].startswith('{"success": false')),
    "f28": ({}, _error_line("internal_event")),
    "f29": ({}, lambda c: "octet-stream" in c.header("content-type") and c.says(TEXT)),
    "f30": ({}, _unzipped),
    "f30_cut": ({}, _zip_cut),
    "f30_garbage": ({}, lambda c: c.header("content-encoding") == "gzip" and c.body[:2] != b"\x1f\x8b"),
    "f31": ({}, _bomb),
    "f32": ({}, lambda c: c.end == "closed" and c.data.endswith(b"ffff\r\ndata: too short\r\n")),
    "f32_garbage": ({}, lambda c: c.data.endswith(b"not a size\r\n\r\n")),
    "f33": ({}, lambda c: len(c.body) + 1000 == int(c.header("content-length"))),
    "f33_long": ({}, lambda c: len(c.body) > int(c.header("content-length"))),
    "f34": ({}, lambda c: c.whole and max(map(len, c.body.split(b"\n"))) > 9 * 1024 * 1024),
    "f34_line": ({}, lambda c: len(c.body) > 100_000_000 and b"\n" not in c.body[-100_000_000:]),
    "f35": ({}, lambda c: c.whole and c.body.count(b"data: ") > 50_000),
    "f36": ({}, lambda c: c.whole and b'"content": "hal\n\n' in c.body),
    "f37": ({}, lambda c: b"response.weather" in c.body and b"telepathy" in c.body and c.whole),
    "f37_types": ({}, lambda c: b'"content": {"text": " three"}' in c.body and b'"status": 1' in c.body),
    "f39": ({}, _error_line("rate_limit")),
    "f52": ({}, lambda c: c.body.count(b"00000000dead") > 5),
    "f53": ({}, _usage(lambda usages: set(map(str, usages)) == {"None"})),
    "f53_negative": ({}, _usage(lambda usages: "-5" in str(usages))),
    "f53_absurd": ({}, _usage(lambda usages: "many" in str(usages))),
    "f53_last": ({}, _usage(lambda usages: usages[0] is None and usages[-2] is not None)),
    "f54": ({}, lambda c: "thinking_summary" in _phases(c) and set(_pieces(c)) == {""} and c.whole),
    "f54_endless": (FAST_WAIT, lambda c: set(_phases(c)) == {"thinking_summary"} and not c.whole),
    "f54_mixed": ({}, lambda c: _phases(c)[:4] == ["thinking_summary", "answer"] * 2 and c.whole),
    "f55": ({}, lambda c: "[TOOL CALL n0n1]" in _spoken(c) and "[END" not in _spoken(c)),
    "f55_split": ({}, lambda c: "[END TOOL CALL]" in _spoken(c) and max(map(len, _pieces(c))) == 1),
    "f55_json": ({}, lambda c: 'say "hi" now' in _spoken(c)),
    "f55_nested": ({}, lambda c: _spoken(c).count("[TOOL CALL n0n1]") == 2),
    "f55_two": ({}, lambda c: "And then:" in _spoken(c) and _spoken(c).endswith("That is all.")),
    "f55_thinking": ({}, lambda c: "[TOOL CALL n0n1]" in c.text() and "[TOOL" not in _spoken(c)),
    "f56": ({"seconds": 0.05}, lambda c: c.body.count(b"I already said that.") > 5),
    "f57": (FAST_WAIT, _cut_off),
}


def test_every_fault_is_looked_at() -> None:
    """An F-number that is another name of a fault needs no look of its own."""
    looked_at = [faults.FAULTS[name] for name in CHECKS]
    assert [name for name, row in faults.FAULTS.items() if row not in looked_at] == []


def test_every_stream_fault_of_the_list_has_a_name() -> None:
    numbers = [1, *range(5, 41), *range(45, 50), *range(52, 58)]
    assert [number for number in numbers if f"f{number:02}" not in faults.FAULTS] == []


@pytest.mark.parametrize("name", CHECKS)
async def test_a_fault_does_what_it_says(name: str, visitor: Visitor) -> None:
    turn, check = CHECKS[name]
    caught = await _catch(visitor, {"error": name.upper(), **turn})
    assert check(caught), (faults.FAULTS[name].says, caught.end, caught.data[-3000:])


@pytest.mark.parametrize("name", sorted(name for name, row in faults.FAULTS.items() if row.line))
async def test_a_sentence_can_come_after_chunks(name: str, visitor: Visitor) -> None:
    caught = await _catch(visitor, {"error": name, "after_chunks": 2})
    assert _pieces(caught) == ["one", " two"]
    assert not faults_of(caught.text(), Source.PARTS)
    assert "choices" not in caught.frames()[-1]
    assert caught.whole


@pytest.mark.parametrize("name", ["disconnect", "eof", "stall", "f16"])
async def test_a_break_can_come_after_chunks(name: str, visitor: Visitor) -> None:
    caught = await _catch(visitor, {"error": name, "after_chunks": 1, "seconds": 0.01})
    assert b'"content": " two"' not in caught.data
    assert not caught.whole


async def test_a_stale_connection_is_reset(visitor: Visitor) -> None:
    await visitor.program({"error": "f06"})
    body = question(await visitor.new_chat(), "hi")
    raw = await visitor.open_raw(body)
    await raw.reader.readuntil(b"\r\n0\r\n\r\n")
    await raw.send(visitor, body)
    assert await raw.read_all() == (b"", "reset")
    await raw.close()
    assert (await visitor.ask("hi")).said() == "ok"


@pytest.mark.parametrize("name", ["f07", "f08", "f09", "f10", "f11", "f34_line", "f54_endless", "f56", "f57"])
async def test_a_long_fault_ends_when_the_client_leaves(name: str, visitor: Visitor) -> None:
    await visitor.program({"error": name})
    raw = await visitor.open_raw(question(await visitor.new_chat(), "hi"))
    await until(lambda: bool(visitor.sim.site.streams))
    raw.writer.transport.abort()
    await until(lambda: not visitor.sim.site.streams)
    assert (await visitor.seen())[0]["status"] == "aborted"


async def test_stopping_the_simulator_drops_open_streams() -> None:
    async with Simulator() as sim, aiohttp.ClientSession() as session:
        visitor = Visitor(sim, session)
        await visitor.program({"error": "stall"}, {"error": "f56"}, {"first_byte_ms": 60_000})
        replies = [await visitor.open_raw(question(await visitor.new_chat(), "hi")) for _ in range(3)]
        await until(lambda: len(sim.site.streams) == 3)
    for reply in replies:
        await reply.read_all()
        await reply.close()


@pytest.mark.parametrize("value", ["3600", "Fri, 01 Jan 2027 00:00:00 GMT", "soon", ""])
async def test_retry_after_can_be_anything(value: str, visitor: Visitor) -> None:
    caught = await _catch(visitor, {"error": "f38", "retry_after": value})
    assert (caught.status, caught.header("retry-after")) == (429, value)


async def test_raw_bytes_are_sent_as_they_are(visitor: Visitor) -> None:
    assert (await _catch(visitor, {"raw": "data: {no json}\n\n"})).body == b"data: {no json}\n\n"
    assert (await _catch(visitor, {"raw": {"base64": "/wA="}})).body == b"\xff\x00"
    whole = "HTTP/1.1 418 Teapot\r\nContent-Length: 2\r\n\r\nhi"
    assert (await _catch(visitor, {"raw": whole})).data == whole.encode()


RECORDED = {
    "punish_captcha": "challenge",
    "captchaconnect_challenge": "challenge_connect",
    "busy_challenge_frame": "challenge_busy",
    "rate_limited_daily": "rate_limit",
    "rate_limited_without_num": "rate_limit_no_num",
    "content_inspection": "content_filter",
    "internal_error_string": "internal_string",
    "invalid_input": "invalid_input",
    "unauthorized": "unauthorized",
    "bad_request_mock": "bad_request",
    "token_limit": "token_limit",
    "missing_chat_id": "missing_chat_id",
    "too_many_messages": "too_many_messages",
    "in_progress": "in_progress",
    "chat_deleted": "chat_deleted",
    "guest_video": "internal_error",
}


@pytest.mark.parametrize("recorded", RECORDED)
def test_refusals_are_worded_as_recorded(recorded: str) -> None:
    lines = (CORPUS / "errors.jsonl").read_text(encoding="utf-8").splitlines()
    body = next(row["body"] for row in map(json.loads, lines) if row["name"] == recorded)
    for added_on_sending in ("request_id", "response_id", "response_index"):
        body.pop(added_on_sending, None)
    assert REFUSALS[RECORDED[recorded]].body == body
