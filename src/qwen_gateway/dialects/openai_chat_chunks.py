"""A turn's events as the chunks of a streamed chat completion: of one choice, or of several side by side.

What such a stream must look like so that all known clients are content stands in `docs/compatibility.md`.
"""

from collections.abc import Sequence

import msgspec

from qwen_gateway.dialects.openai_chat_answer import CALL_ID, ID, annotations, finish_reason, usage
from qwen_gateway.dialects.openai_errors import error
from qwen_gateway.turn.contracts import ReplyHead
from qwen_gateway.turn.events import (
    Citation,
    Declined,
    Event,
    Finished,
    Reasoning,
    Text,
    ToolCallArguments,
    ToolCallBegan,
    Usage,
)
from qwen_gateway.turn.faults import Fault
from qwen_gateway.turn.request import TurnRequest

_encode = msgspec.json.Encoder().encode
_TAIL = b'},"logprobs":null,"finish_reason":null}]}\n\n'
_CALL_TAIL = b"}}]" + _TAIL
_OLDER_CALL_TAIL = b"}" + _TAIL


class ChunkWriter:
    """Of one choice, up to the end of the stream."""

    def __init__(self, request: TurnRequest, head: ReplyHead) -> None:
        self._start = _start(head)
        self._choice = _Choice(self._start, 0, legacy=request.legacy_calls)
        self._usage_apart = request.stream_usage

    def feed(self, events: Sequence[Event]) -> bytes:
        choice = self._choice
        data = choice.feed(events)
        if choice.end is None:
            return data
        end, choice.end = choice.end, None
        return data + _close(self._start, end, choice.usage, apart=self._usage_apart)

    def fail(self, fault: Fault) -> bytes:
        # No `[DONE]` behind it: a client that does not know error chunks must not take this for the end.
        return b"data: " + error(fault) + b"\n\n"


class ChoicesChunkWriter:
    """Of as many choices as were asked for, in any order between them. `finish` is for when all have finished."""

    def __init__(self, request: TurnRequest, head: ReplyHead) -> None:
        self._start = _start(head)
        self._choices = [_Choice(self._start, index, legacy=request.legacy_calls) for index in range(request.choices)]
        self._usage_apart = request.stream_usage
        self._unfinished = request.choices
        self._end = b""
        # The official SDK (openai 3.52) puts choices together in the order in which it first hears of each.
        self._opening = b"".join(one.open() for one in self._choices)

    def feed(self, choice: int, events: Sequence[Event]) -> bytes:
        one = self._choices[choice]
        data = one.feed(events)
        if self._opening and (data or one.end is not None):
            data, self._opening = self._opening + data, b""
        if one.end is None:
            return data
        end, one.end = one.end, None
        self._unfinished -= 1
        if self._unfinished:
            return data + end + b"}\n\n"
        self._end = end  # waits for the figures, which belong on the last chunk that has a choice
        return data

    def finish(self, usage: Usage) -> bytes:
        """usage: of all choices together. Raises ValueError while one has not finished."""
        if self._unfinished:
            raise ValueError(f"{self._unfinished} choices have not finished")
        return _close(self._start, self._end, usage, apart=self._usage_apart)

    def fail(self, fault: Fault) -> bytes:
        return b"data: " + error(fault) + b"\n\n"


def _start(head: ReplyHead) -> bytes:
    return (
        b'data: {"id":'
        + _encode(ID + head.id)
        + b',"object":"chat.completion.chunk","created":%d,"model":' % head.created
        + _encode(head.model)
    )


def _close(start: bytes, end: bytes, figures: Usage | None, *, apart: bool) -> bytes:
    """The end of a stream, from its last finish chunk on. apart: the figures get a chunk without choices."""
    if apart:
        end += b"}\n\n" + start + b',"choices":[]'
    said = b',"usage":' + _encode(usage(figures)) if figures else b""
    return end + said + b"}\n\ndata: [DONE]\n\n"


class _Choice:
    """Events → chunks of one choice. Everything but the text itself is prepared once, before the first event."""

    def __init__(self, start: bytes, index: int, *, legacy: bool) -> None:
        self._start, self._index, self._legacy = start, index, legacy
        choice = start + b',"choices":[{"index":%d,"delta":{' % index
        self._choice = choice
        # The first chunk says who speaks, together with its text: an empty delta would close the block of
        # reasoning that some clients (Dify, 2026) have just opened.
        self._role = b'"role":"assistant",'
        self._text = choice + self._role + b'"content":'
        self._reasoning = choice + self._role + b'"reasoning_content":'
        self._citations: list[Citation] = []
        self.end: bytes | None = None
        """Once the answer has finished: the finish chunk without its closing brace, for whoever sends it to take."""
        self.usage: Usage | None = None

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
                self._has_spoken()
        return b"".join(out)

    def open(self) -> bytes:
        """A chunk that says only that there is this choice, and who speaks in it."""
        self._has_spoken()
        return self._choice + b'"role":"assistant","content":""' + _TAIL

    def _has_spoken(self) -> None:
        self._role = b""
        self._text = self._choice + b'"content":'
        self._reasoning = self._choice + b'"reasoning_content":'

    def _other(self, event: Event, out: list[bytes]) -> None:
        if isinstance(event, ToolCallArguments):
            out.append(self._arguments(event))
        elif isinstance(event, ToolCallBegan):
            out.append(self._call(event))
        elif isinstance(event, Usage):
            self.usage = event
        elif isinstance(event, Citation):
            self._citations.append(event)
        elif isinstance(event, Declined):
            out.append(self._textless(b'"refusal":' + _encode(event.text)))
        elif isinstance(event, Finished):
            self.end = self._finish(event)

    # One call in each chunk: NextChat (2026) looks at the first only, and takes each id for a new call.

    def _call(self, event: ToolCallBegan) -> bytes:
        function = {"name": event.name, "arguments": ""}
        if self._legacy:
            return b"" if event.index else self._textless(b'"function_call":' + _encode(function))
        call = {"index": event.index, "id": CALL_ID + event.id, "type": "function", "function": function}
        return self._textless(b'"tool_calls":[' + _encode(call) + b"]")

    def _textless(self, said: bytes) -> bytes:
        role = self._role + b'"content":null,' if self._role else b""
        self._has_spoken()
        return self._choice + role + said + _TAIL

    def _arguments(self, event: ToolCallArguments) -> bytes:
        text = _encode(event.text)
        if self._legacy:  # has room for one call
            return b"" if event.index else self._choice + b'"function_call":{"arguments":' + text + _OLDER_CALL_TAIL
        call = b'"tool_calls":[{"index":%d,"function":{"arguments":' % event.index
        return self._choice + call + text + _CALL_TAIL

    def _finish(self, event: Finished) -> bytes:
        delta = {"role": "assistant", "content": ""} if self._role else {}
        choice = {
            "index": self._index,
            "delta": {**delta, **annotations(self._citations)},
            "logprobs": None,
            "finish_reason": finish_reason(event.reason, self._legacy),
        }
        return self._start + b',"choices":[' + _encode(choice) + b"]"
