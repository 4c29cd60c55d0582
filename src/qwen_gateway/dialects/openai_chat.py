"""The OpenAI API's `POST /v1/chat/completions`: what it means as a turn, and a turn's events in its words.

What a stream must look like so that all known clients are content stands in `docs/compatibility.md`.
"""

from collections.abc import Sequence

import msgspec

from qwen_gateway.dialects import openai_chat_request
from qwen_gateway.dialects.openai_errors import error
from qwen_gateway.turn.contracts import Incoming, ReplyHead, Writer
from qwen_gateway.turn.events import Citation, Event, Finished, Reasoning, Text, Usage
from qwen_gateway.turn.faults import Fault
from qwen_gateway.turn.reply import Reply
from qwen_gateway.turn.request import TurnRequest

name = "openai_chat"
routes = ("/v1/chat/completions",)
stream_type = "text/event-stream; charset=utf-8"
heartbeat = b": ping\n\n"

refusal = error

_encode = msgspec.json.Encoder().encode
_ID = "chatcmpl-"


def read(incoming: Incoming) -> TurnRequest:
    return openai_chat_request.read(incoming.body)


def writer(request: TurnRequest, head: ReplyHead) -> Writer:
    return _ChunkWriter(head, usage_apart=request.stream_usage)


class _ChunkWriter:
    """Events → chunks. Everything but the text itself is prepared once, before the first event."""

    def __init__(self, head: ReplyHead, *, usage_apart: bool) -> None:
        self._start = (
            b'data: {"id":'
            + _encode(_ID + head.id)
            + b',"object":"chat.completion.chunk","created":%d,"model":' % head.created
            + _encode(head.model)
        )
        choice = self._start + b',"choices":[{"index":0,"delta":{'
        self._choice = choice
        # The first chunk says who speaks, together with its text: an empty delta would close the block of
        # reasoning that some clients (Dify, 2026) have just opened.
        self._role = b'"role":"assistant",'
        self._text = choice + self._role + b'"content":'
        self._reasoning = choice + self._role + b'"reasoning_content":'
        self._usage_apart = usage_apart
        self._usage: Usage | None = None
        self._citations: list[Citation] = []

    def feed(self, events: Sequence[Event]) -> bytes:
        out: list[bytes] = []
        add = out.append
        for event in events:
            kind = type(event)
            if kind is Text:
                add(self._text)
                add(_encode(event.text))  # type: ignore[union-attr] # `kind` says so, faster than isinstance
                add(_TAIL)
            elif kind is Reasoning:
                add(self._reasoning)
                add(_encode(event.text))  # type: ignore[union-attr]
                add(_TAIL)
            else:
                self._other(event, out)
                continue
            if self._role:
                self._role = b""
                self._text = self._choice + b'"content":'
                self._reasoning = self._choice + b'"reasoning_content":'
        return b"".join(out)

    def fail(self, fault: Fault) -> bytes:
        # No `[DONE]` behind it: a client that does not know error chunks must not take this for the end.
        return b"data: " + error(fault) + b"\n\n"

    def _other(self, event: Event, out: list[bytes]) -> None:
        if isinstance(event, Usage):
            self._usage = event
        elif isinstance(event, Citation):
            self._citations.append(event)
        elif isinstance(event, Finished):
            out.append(self._finish(event))

    def _finish(self, event: Finished) -> bytes:
        delta = {"role": "assistant", "content": ""} if self._role else {}
        choice = {
            "index": 0,
            "delta": {**delta, **_annotations(self._citations)},
            "logprobs": None,
            "finish_reason": event.reason,
        }
        usage = b',"usage":' + _encode(_usage(self._usage)) if self._usage else b""
        end = self._start + b',"choices":[' + _encode(choice) + b"]"
        if self._usage_apart:
            end += b"}\n\n" + self._start + b',"choices":[]'
        return end + usage + b"}\n\ndata: [DONE]\n\n"


_TAIL = b'},"logprobs":null,"finish_reason":null}]}\n\n'


def whole(request: TurnRequest, head: ReplyHead, reply: Reply) -> bytes:
    """The answer in one piece. `request` has nothing that changes it, and is there for other dialects."""
    del request
    message: dict[str, object] = {"role": "assistant", "content": reply.text, "refusal": None}
    if reply.reasoning:
        message["reasoning_content"] = reply.reasoning
    message.update(_annotations(reply.citations))
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish}
    return _encode(
        {
            "id": _ID + head.id,
            "object": "chat.completion",
            "created": head.created,
            "model": head.model,
            "choices": [choice],
            "usage": _usage(reply.usage),
        }
    )


def _annotations(citations: Sequence[Citation]) -> dict[str, object]:
    if not citations:
        return {}
    rows = [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": citation.start,
                "end_index": citation.end,
                "url": citation.source.url,
                "title": citation.source.title,
            },
        }
        for citation in citations
    ]
    return {"annotations": rows}


def _usage(usage: Usage) -> dict[str, object]:
    figures: dict[str, object] = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
    # Not a key of OpenAI's: says that the site gave no figures and these are ours.
    return {**figures, "estimated": True} if usage.estimated else figures
