"""A client of the simulator that knows the site's protocol from the recorded requests, not from the gateway."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from qwen_gateway.simulator import Simulator

from .shapes import Json, delta_of, is_json

MODEL = "qwen3.7-plus"
FAST: Json = {
    "thinking_enabled": False,
    "output_schema": "phase",
    "research_mode": "normal",
    "auto_thinking": False,
    "thinking_mode": "Fast",
    "auto_search": True,
}
THINKING: Json = FAST | {"thinking_enabled": True, "thinking_mode": "Thinking", "thinking_format": "summary"}


def question(chat_id: str, prompt: str, parent: str | None = None, features: Json | None = None) -> Json:
    """A completion body with every key of the web app (captures of 14 Sep 2026)."""
    message = {
        "id": None,
        "fid": str(uuid.uuid4()),
        "parentId": parent,
        "childrenIds": [str(uuid.uuid4())],
        "role": "user",
        "content": prompt,
        "user_action": "chat",
        "files": [],
        "timestamp": 1789353469,
        "models": [MODEL],
        "model": "",
        "chat_type": "t2t",
        "feature_config": FAST if features is None else features,
        "extra": {"meta": {"subChatType": "t2t"}},
        "sub_chat_type": "t2t",
        "parent_id": parent,
    }
    return {
        "stream": True,
        "version": "2.1",
        "incremental_output": True,
        "chatId": chat_id,
        "parentId": parent or "",
        "chat_id": chat_id,
        "chat_mode": "normal",
        "model": MODEL,
        "parent_id": parent,
        "messages": [message],
        "timestamp": 1789353469,
    }


@dataclass(frozen=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: dict[str, str]
    text: str

    def json(self) -> Json:
        body = json.loads(self.text)
        assert is_json(body)
        return body

    def data(self) -> Json:
        data = self.json()["data"]
        assert is_json(data)
        return data

    def actual(self) -> int:
        return int(self.headers["x-actual-status-code"])

    def frames(self) -> list[Json]:
        lines = [line for line in self.text.split("\n") if line.startswith("data: {")]
        return [json.loads(line.removeprefix("data: ")) for line in lines]

    def deltas(self) -> list[Json]:
        return [delta for frame in self.frames() if (delta := delta_of(frame)) is not None]

    def said(self) -> str:
        spoken = [delta for delta in self.deltas() if delta.get("phase") == "answer"]
        return "".join(str(delta["content"]) for delta in spoken if delta["role"] == "assistant")

    def created(self) -> Json:
        created = self.frames()[0]["response.created"]
        assert is_json(created)
        return created

    def usages(self) -> list[Json]:
        return [usage for frame in self.frames() if is_json(usage := frame.get("usage")) and usage]


class Visitor:
    """A logged-in browser, more or less. `headers` may be changed before a call."""

    def __init__(self, sim: Simulator, session: aiohttp.ClientSession) -> None:
        self.sim = sim
        self.headers = {
            "Cookie": sim.cookies(),
            "Authorization": f"Bearer {sim.access_token()}",
            "source": "web",
            "Version": "0.3.12",
        }
        self._session = session

    async def get(self, path: str) -> Reply:
        return await self._call("GET", path, None)

    async def delete(self, path: str) -> Reply:
        return await self._call("DELETE", path, None)

    async def post(self, path: str, body: object) -> Reply:
        return await self._call("POST", path, json.dumps(body).encode())

    async def post_bytes(self, path: str, body: bytes) -> Reply:
        return await self._call("POST", path, body)

    async def _call(self, method: str, path: str, body: bytes | None) -> Reply:
        call = self._session.request(
            method, self.sim.url + path, data=body, headers=self.headers, allow_redirects=False
        )
        async with call as reply:
            return Reply(reply.status, {k.lower(): v for k, v in reply.headers.items()}, await reply.text())

    async def new_chat(self) -> str:
        body = {"chatId": "", "models": [MODEL], "project_id": "", "timestamp": 1, "chat_type": "t2t"}
        return str((await self.post("/api/v2/chats/new", {**body, "chat_mode": "normal"})).data()["id"])

    async def send(self, body: Json) -> Reply:
        return await self.post(f"/api/v2/chat/completions?chat_id={body['chat_id']}", body)

    async def ask(self, prompt: str, *, thinking: bool = False, chat: str | None = None) -> Reply:
        """One question in a chat of its own, or in a known one."""
        features = THINKING if thinking else FAST
        return await self.send(question(chat or await self.new_chat(), prompt, features=features))

    async def program(self, *turns: Json, site: Json | None = None) -> Reply:
        return await self.post("/__sim/program", {"turns": list(turns), "site": site or {}})

    async def seen(self) -> list[Json]:
        requests = (await self.get("/__sim/requests")).json()["requests"]
        assert isinstance(requests, list)
        return requests

    def open_raw(self, body: Json) -> Awaitable["RawReply"]:
        """Asks over a bare socket."""
        return RawReply.open(self, body)


class RawReply:
    """A completion on a bare socket: what really arrives, byte for byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, visitor: Visitor, body: Json) -> "RawReply":
        address = urlsplit(visitor.sim.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        reply = cls(reader, writer)
        await reply.send(visitor, body)
        return reply

    async def send(self, visitor: Visitor, body: Json) -> None:
        text = json.dumps(body).encode()
        head = f"POST /api/v2/chat/completions?chat_id={body['chat_id']} HTTP/1.1\r\nHost: sim\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in visitor.headers.items())
        self.writer.write(f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text)
        await self.writer.drain()

    async def read_all(self) -> tuple[bytes, str]:
        """Everything until the connection ends, and how it ends: `reset`, or `closed`."""
        data = bytearray()
        try:
            while piece := await self.reader.read(65536):
                data += piece
        except ConnectionResetError:
            return bytes(data), "reset"
        return bytes(data), "closed"

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that will become true; the test's own time-out is the limit."""
    while not condition():
        await asyncio.sleep(0.005)
