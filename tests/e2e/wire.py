"""HTTP as bytes on a socket, and event streams as the lines that they are: what an SDK would hide."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

Json = dict[str, Any]
MODEL = "qwen3.7-plus"


def ask(text: str = "hello", **more: Any) -> Json:
    """The body of a chat completion."""
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


def request_bytes(
    path: str, body: Json | bytes | None = None, *, key: str | None = None, method: str = "", **headers: str
) -> bytes:
    """A whole HTTP/1.1 request. Underscores in the names of headers stand for dashes."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    fields = {"Host": "127.0.0.1", "Content-Length": str(len(data)), "Connection": "close"}
    if key is not None:
        fields["Authorization"] = f"Bearer {key}"
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    head = [f"{method or ('GET' if body is None else 'POST')} {path} HTTP/1.1"]
    head += [f"{name}: {value}" for name, value in fields.items() if value]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + data


@dataclass
class Answer:
    """A response as it stood on the wire. `body`: without the chunks' framing."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool
    """The body came to its own end, and not to that of the connection."""

    def json(self) -> Json:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    def error(self) -> Json:
        found = self.json()["error"]
        assert isinstance(found, dict)
        assert set(found) == {"message", "type", "param", "code"}
        return found

    def stream(self) -> "Stream":
        return Stream.read(self.body)


@dataclass
class Stream:
    """An event stream, taken apart."""

    chunks: list[Json] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    error: Json | None = None
    done: bool = False
    records: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, body: bytes) -> Self:
        stream = cls()
        text = body.decode()  # strict: clients decode so
        assert not text or text.endswith("\n\n"), "the last event is cut"
        for record in text.split("\n\n")[:-1]:
            assert not stream.done, "something follows [DONE]"
            stream.records.append(record)
            if record.startswith(":"):
                stream.comments.append(record)
                continue
            assert record.startswith("data: "), record[:80]
            assert "\n" not in record
            stream._data(record[len("data: ") :])
        return stream

    def _data(self, data: str) -> None:
        if data == "[DONE]":
            self.done = True
            return
        value = json.loads(data)
        assert self.error is None, "something follows the error"
        if "error" in value:
            self.error = value["error"]
        else:
            self.chunks.append(value)

    @property
    def deltas(self) -> list[Json]:
        return [choice["delta"] for chunk in self.chunks for choice in chunk["choices"]]

    @property
    def text(self) -> str:
        return "".join(delta.get("content") or "" for delta in self.deltas)

    @property
    def reasoning(self) -> str:
        return "".join(delta.get("reasoning_content") or "" for delta in self.deltas)

    @property
    def finish(self) -> str | None:
        found = [c["finish_reason"] for chunk in self.chunks for c in chunk["choices"] if c["finish_reason"]]
        assert len(found) <= 1
        return str(found[0]) if found else None


async def exchange(url: str, request: bytes, seconds: float = 15) -> Answer:
    """Sends the bytes and reads all of one response."""
    async with asyncio.timeout(seconds), connection(url) as (reader, writer):
        writer.write(request)
        # The server may refuse before it has read everything, and close.
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        return await read_answer(reader)


@contextlib.asynccontextmanager
async def connection(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.rstrip("\r\n").split("\r\n")
    headers: dict[str, str] = {}
    for one in fields:
        name, _, value = one.partition(":")
        assert name.lower() not in headers, f"{name} stands twice"
        headers[name.lower()] = value.strip()
    return int(line.split()[1]), headers


async def read_answer(reader: asyncio.StreamReader, *, method: str = "POST") -> Answer:
    status, headers = await read_head(reader)
    if method == "HEAD" or status in (204, 304):
        return Answer(status, headers, b"", True)
    if headers.get("transfer-encoding") == "chunked":
        body, whole = await _chunked(reader)
    else:
        length = int(headers["content-length"])
        body = await reader.readexactly(length)
        whole = True
    return Answer(status, headers, body, whole)


async def _chunked(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    body = b""
    while True:
        try:
            size = int(await reader.readuntil(b"\r\n"), 16)
            body += (await reader.readexactly(size + 2))[:-2]
        except (asyncio.IncompleteReadError, ConnectionError):
            return body, False
        if size == 0:
            return body, True
