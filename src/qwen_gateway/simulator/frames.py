"""The stream's frames and their spelling.

Here: what one event of `/api/v2/chat/completions` looks like on the wire, byte for byte as recorded on
14 Sep 2026: separators `": "` and `", "`, characters not escaped, a blank line after each event, a trailing
blank after `response.created`. Not here: which frames make an answer (`scenes`).
"""

import json
import time
from dataclasses import dataclass
from typing import assert_never

Json = dict[str, object]


@dataclass(frozen=True)
class Ids:
    """The three ids of an answer: the chat, the node of the question, the node of the answer."""

    chat: str
    question: str
    response: str


@dataclass(frozen=True)
class Event:
    """A frame that is not a piece of an answer: created, keep-alive, an error line."""

    body: Json


@dataclass(frozen=True)
class Created:
    """The first frame of every stream."""

    ids: Ids


@dataclass(frozen=True)
class Delta:
    """A piece of an answer. `text` is what it adds to the stored message; a `tail` carries nothing new."""

    delta: Json
    response_id: str
    usage: Json | None = None
    stamp: int | None = None
    text: str = ""
    tail: bool = False


Frame = Event | Created | Delta


def spell(frame: Frame) -> bytes:
    """The bytes of one event."""
    match frame:
        case Created(ids):
            # Its own hand on the site: no blank after some colons, one before the line end (14 Sep 2026).
            line = (
                f'{{"response.created":{{"chat_id": "{ids.chat}", "parent_id": "{ids.question}", '
                f'"response_id":"{ids.response}", "response_index": "0"}}}} '
            )
        case Event(body):
            line = dumps(body)
        case Delta():
            line = dumps(_content(frame))
        case _:
            assert_never(frame)
    return f"data: {line}\n\n".encode()


def _content(frame: Delta) -> Json:
    body: Json = {"choices": [{"delta": frame.delta}], "response_id": frame.response_id}
    if frame.usage is not None:
        body["usage"] = frame.usage
    if frame.stamp is not None:
        body["timestamp"] = frame.stamp
    return body


def dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def now() -> int:
    return int(time.time())


def keep_alive(ids: Ids) -> Event:
    """Sent about every ten seconds of a slow job (seen 4 Mar 2026)."""
    info = {"action": "keep_alive", "chat_id": ids.chat, "response_id": ids.response, "timestamp": now()}
    return Event({"response.info": info})


def closing(ids: Ids, phase: str) -> Delta:
    """The last frame: another key order, no usage, no timestamp (in all captures of Mar and Sep 2026)."""
    delta: Json = {"content": "", "role": "assistant", "status": "finished", "phase": phase}
    return Delta(delta, ids.response, tail=True)


def piece(phase: str, content: str, status: str = "typing") -> Json:
    """The delta of plain text."""
    return {"role": "assistant", "content": content, "phase": phase, "status": status}
