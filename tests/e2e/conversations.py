"""Conversations as a client has them, and as the site keeps them: a client that holds its history in OpenAI's shape,
and the simulator's chats as lists of texts.

The tests `test_conversation_*` say in their docstrings which cases of the design they are, B1 to B52. These wait, or
stand elsewhere:

| case | what it needs | shown meanwhile |
|---|---|---|
| B27, B28, B47 | files: `test_files_and_conversations` | |
| A46 | no conversation: `tests.relay.test_run_calls` | |
| B36 | two gateways: `test_conversation_cluster` | |
| B39, B44, B45, B46 | the dialects of Anthropic and of Responses | B45 by `X-Continue-From` |
| B40 | Claude Code | its shape in OpenAI's dialect |

Histories with calls and results need no tools in the request: B24 to B26 stand on calls that the client wrote into its
history, and on answers after them. B15, B22, B23, B29 and B37 are in `test_conversation_tools`.
"""

import copy
import json
import re
import secrets
from dataclasses import dataclass
from typing import Any, Self

from qwen_gateway.simulator.tree import Chat

from . import wire
from .rig import QUICK, Rig
from .wire import MODEL, Answer, Json

CONVERSING: dict[str, Any] = {**QUICK, "delete_chats": 24}
"""Settings of a gateway whose conversations go on."""
OTHER = "qwen3.6-plus"
PATH = "/v1/chat/completions"

Way = tuple[str, str]
FIRST: Way = ("replay", "first")
UNKNOWN: Way = ("replay", "unknown")
NEXT: Way = ("continue", "next")
CHANGED: Way = ("catchup", "changed")
LONG = "A long text makes what is told again small beside it. " * 40


@dataclass
class Reply:
    """What came of a request. way: of the response's header, with its reason. asked: the text that the site was asked,
    empty for none. messages: the answers as the client puts one of them into its history, one for each choice."""

    answer: Answer
    way: Way
    text: str
    id: str
    messages: list[Json]
    asked: str = ""


class Client:
    """Somebody who talks. messages: the history, as the client has it and sends it.

    body: further parameters. answers are programmed at the site: `None` takes what is programmed there already.
    """

    def __init__(self, rig: Rig, *, key: str = "", instructions: str = "", stream: bool = False, **body: Any) -> None:
        """key: the rig's own, when empty."""
        self.rig, self.key, self.stream, self.body = rig, key or rig.key, stream, body
        self.messages: list[Json] = []
        if instructions:
            self.instruct(instructions)

    def instruct(self, text: str) -> None:
        """Other instructions than before."""
        told = [{"role": "system", "content": text}] if text else []
        self.messages = told + [one for one in self.messages if one["role"] != "system"]

    def add(self, role: str, content: object, **more: object) -> None:
        self.messages.append({"role": role, "content": content, **more})

    def call(
        self, call_id: str, result: str, *, said: str | None = None, arguments: str = '{"file_path":"a.py"}'
    ) -> None:
        """A call and its result that stand in the history, though no answer here has made the call."""
        function = {"name": "Read", "arguments": arguments}
        self.add("assistant", said, tool_calls=[{"id": call_id, "type": "function", "function": function}])
        self.add("tool", result, tool_call_id=call_id)

    def results(self, *texts: str) -> None:
        """What the calls of the newest answer have returned."""
        for one, text in zip(self.messages[-1]["tool_calls"], texts, strict=True):
            self.add("tool", text, tool_call_id=one["id"])

    def forget(self, count: int = 1) -> None:
        """The newest messages are gone from the history."""
        del self.messages[-count:]

    def fork(self, **changed: Any) -> Self:
        """Another one with the same history."""
        other = copy.copy(self)
        other.messages = copy.deepcopy(self.messages)
        for name, value in changed.items():
            assert hasattr(other, name)
            setattr(other, name, value)
        return other

    async def say(self, text: str, answer: str | None = None, **headers: str) -> Reply:
        self.add("user", text)
        return await self.send(answer, **headers)

    async def send(self, answer: str | None = None, **headers: str) -> Reply:
        """The history as it stands; the answer, the first of several, is added to it."""
        if answer is not None:
            await self.rig.program({"text": answer})
        before = len(self.rig.sim.site.seen)
        found = await self.rig.post(self.request(), key=self.key, **headers)
        assert found.status == 200, found.body
        reply = _read(found, stream=self.stream)
        reply.asked = "".join(seen.prompt for seen in self.rig.sim.site.seen[before:][-1:])
        self.messages.append(reply.messages[0])
        return reply

    async def refused(self, **headers: str) -> Answer:
        """What the history as it stands is refused with."""
        found = await self.rig.post(self.request(), key=self.key, **headers)
        assert found.status >= 400
        return found

    async def leave(self, text: str, answer: str, *, words: int = 3, settle: bool = True) -> str:
        """Asks, and leaves in the middle of the answer: what came until then stays in the history. settle: until the
        gateway is done with it."""
        self.add("user", text)
        await self.rig.program({"text": answer, "delay_ms": 20})
        request = wire.request_bytes(PATH, self.request() | {"stream": True}, key=self.key)
        got, raw = "", b""
        async with wire.connection(self.rig.url) as (reader, writer):
            writer.write(request)
            while len(got.split()) < words:
                raw += await reader.read(65_536)
                got = "".join(_deltas(raw))
        self.add("assistant", got)
        if settle:
            await self.rig.settle()
        return got

    async def broken(self, text: str, answer: str, *, words: int = 3) -> str:
        """Asks, and the answer breaks off at the site after so many words: they stay in the history."""
        self.add("user", text)
        await self.rig.program({"text": answer, "error": "eof", "after_chunks": words})
        found = await self.rig.post(self.request() | {"stream": True}, key=self.key)
        stream = found.stream()
        assert stream.error is not None
        self.add("assistant", stream.text)
        await self.rig.settle()
        return stream.text

    def request(self) -> Json:
        more = {"stream": True} if self.stream else {}
        return {"model": MODEL, "messages": self.messages, **more, **self.body}


async def fresh(home: Rig) -> Rig:
    """The same gateway, as a new caller finds it: with a key of its own, and a site that nobody has used."""
    await home.settle()
    assert (await home.http.post(f"{home.sim.url}/__sim/reset")).status_code == 200
    made = await home.manage("POST", "/keys", {"name": secrets.token_hex(4)})
    home.key = str(made.json()["text"])
    return home


def tree(rig: Rig) -> list[list[list[str]]]:
    """The chats that are there, in the order in which they were made; of each its branches, from the first question to
    the last answer, in the order in which they ended."""
    return [branches(chat) for chat in rig.sim.site.chats.values() if not chat.deleted]


def branches(chat: Chat) -> list[list[str]]:
    leaves = [node.id for node in chat.nodes.values() if not node.children]
    return [[node.content for node in chat.branch(leaf)] for leaf in leaves]


def owner(rig: Rig, number: int) -> str:
    """The user of the site whose chat this is."""
    return list(rig.sim.site.chats.values())[number].user


def way(answer: Answer) -> Way:
    found, _, reason = answer.headers["x-gateway-continuation"].partition("; reason=")
    return found, reason


def _read(found: Answer, *, stream: bool) -> Reply:
    if stream:
        events = found.stream()
        assert events.error is None, events.error
        messages, first = _folded(events), events.chunks[0]
    else:
        first = found.json()
        messages = [choice["message"] for choice in first["choices"]]
    told = [_said_again(message) for message in messages]
    return Reply(found, way(found), told[0]["content"] or "", str(first["id"]), told)


def _folded(events: wire.Stream) -> list[Json]:
    """The message of each choice of a stream."""
    found: dict[int, Json] = {}
    for choice in (choice for chunk in events.chunks for choice in chunk["choices"]):
        message = found.setdefault(choice["index"], {"content": None, "tool_calls": []})
        delta = choice["delta"]
        if text := delta.get("content"):
            message["content"] = (message["content"] or "") + text
        for one in delta.get("tool_calls") or ():
            if one["index"] == len(message["tool_calls"]):
                message["tool_calls"].append({"id": one["id"], "type": "function", "function": dict(one["function"])})
            else:
                message["tool_calls"][one["index"]]["function"]["arguments"] += one["function"]["arguments"]
    return [found[index] for index in sorted(found)]


def _said_again(message: Json) -> Json:
    """As a client does that knows what it needs."""
    calls = message.get("tool_calls")
    return {"role": "assistant", "content": message["content"], **({"tool_calls": calls} if calls else {})}


def _deltas(raw: bytes) -> list[str]:
    """The texts in the beginning of a stream, framed as it is on the wire."""
    records = re.findall(rb"^data: (\{.*\})$", raw, re.MULTILINE)
    choices = [choice for record in records for choice in json.loads(record)["choices"]]
    return [choice["delta"].get("content") or "" for choice in choices]
