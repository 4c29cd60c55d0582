"""The site's stream → events of the turn.

An answer has *rounds*: the model may say a sentence, call a tool, and go on (`usage` adds up what they cost). The
stream ends by closing; the frame that closes the answer carries neither usage nor timestamp, while one that closes a
round before a tool has a timestamp (all recordings of 2026).
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from qwen_gateway.turn.events import (
    Began,
    Event,
    Failed,
    Finished,
    NativeCall,
    NativeResult,
    Reasoning,
    SiteTool,
    Source,
    Sources,
    Text,
)
from qwen_gateway.turn.faults import Drift, Empty, Fault, Incomplete
from qwen_gateway.upstreams.qwen import faults
from qwen_gateway.upstreams.qwen.frames import MAX_FRAME, Delta, Frame, FrameReader, FunctionCall, Unreadable, decode
from qwen_gateway.upstreams.qwen.summary import SummaryReader
from qwen_gateway.upstreams.qwen.usage import Rounds

_T = TypeVar("_T")


class _Doc(Struct):
    url: str = ""
    title: str = ""
    snippet: str = ""


class _Search(Struct):
    web_search_info: list[_Doc] = []


class _Marks(Struct, frozen=True):
    function_id: Any = None


class _Entries(Struct, frozen=True):
    content: list[str] = []


class _Summary(Struct):
    summary_title: _Entries = _Entries()
    summary_thought: _Entries = _Entries()


_search = msgspec.json.Decoder(_Search).decode
_marks = msgspec.json.Decoder(_Marks).decode
_summary = msgspec.json.Decoder(_Summary).decode

SHORTEST_REPEAT = 10
"""Characters; below that, pieces that grow by chance (`1`, `12`, `123`) are too likely."""
HEAD = 32
"""Characters of an answer's beginning that are kept, to know it again."""


class Decoder:
    """Bytes → events, the same for any cut of the bytes. `chat_id`: the chat that was asked in."""

    def __init__(self, chat_id: str) -> None:
        self._chat_id = chat_id
        self._answer_id = ""
        self._frames = FrameReader()
        self._held_line = b""  # a `data:` value that may go on in the next line
        self._surrogate = ""  # first half of a character that the site cut in two
        self._summary = SummaryReader()
        self._rounds = Rounds()
        self._spoke = False  # text or reasoning came, or a call that may be the client's
        self._length = 0  # of the answer so far
        self._head = ""  # its first characters
        self._whole = ""  # the last piece, if it began with all of the answer before it
        self._again = 0  # how many did so in a row
        self._answered = False  # the answer's own end was seen and nothing came after it
        self._ended = False

    @property
    def settled(self) -> bool:
        """The answer is whole; only the end of the stream is missing."""
        return self._answered or self._ended

    @property
    def has_usage(self) -> bool:
        return self._rounds.total() is not None

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        if self._ended:
            return events
        try:
            for line in self._frames.lines(data):
                if line and not self._ended:
                    self._line(line, events)
                elif self._held_line:
                    raise Unreadable(self._held_line)
            if self._frames.overflow or len(self._held_line) > MAX_FRAME:
                self._fail(Drift("Qwen's site sent an event of more than 8 MB.", code="event_too_large"), events)
        except Unreadable as problem:
            self._fail(_unreadable(problem), events)
        return events

    def close(self) -> list[Event]:
        """The stream has ended: the last events, of which the last is `Finished` or `Failed`."""
        events: list[Event] = []
        if self._ended:
            return events
        rest = self._frames.rest()
        try:
            if rest:
                self._line(rest, events)
            if self._held_line:
                raise Unreadable(self._held_line)
        except Unreadable:
            self._fail(Incomplete("Qwen's answer broke off in the middle."), events)
        if not self._ended:
            self._end(events)
        return events

    def _line(self, line: bytes, events: list[Event]) -> None:
        if line[:5] == b"data:":
            payload, held = line[5:], self._held_line
            if held:
                payload, self._held_line = held + b"\n" + payload, b""
            try:
                frame = decode(payload)
            except Unreadable as problem:
                if held and _is_frame(line[5:]):
                    raise Unreadable(held) from problem  # it did not go on, and no blank line said so
                self._no_frame(problem, events)
                return
            self._frame(frame, payload, events)
        elif line[:1] == b"<":
            self._fail(faults.challenge_page(), events)
        elif line[:1] == b"{":
            # An error appended to the stream, or in its place, without the form of an event.
            self._frame(decode(line), line, events)

    def _no_frame(self, problem: Unreadable, events: list[Event]) -> None:
        value = problem.line.strip()
        if value == b"[DONE]":  # in no recording, but other clients ignore one (2026)
            self._answered = True
            self._end(events)
        elif value[:1] == b"<":
            self._fail(faults.challenge_page(), events)
        elif value[:1] == b"{" and not problem.whole:
            self._held_line = problem.line
        elif value:
            raise problem

    def _frame(self, frame: Frame, payload: bytes, events: list[Event]) -> None:
        if frame.choices:
            if frame.response_id and self._answer_id and frame.response_id != self._answer_id:
                self._fail(_crossed(), events)
                return
            if len(frame.usage) > 4:  # neither `{}` nor `null`
                self._rounds.newest = frame.usage
            delta = frame.choices[0].delta
            if delta is None:
                return
            if (
                delta.content
                and delta.phase == "answer"
                and delta.status == "typing"
                and delta.role != "function"
                and delta.function_call is None
                and type(frame) is Frame
                and not self._surrogate
            ):
                # The next piece of the answer: nearly every frame, so it comes first and without a further call.
                self._spoke, self._answered = True, False
                size = len(delta.content)
                if (size > self._length or self._whole) and self._repeats(delta.content):
                    self._fail(_repeating(), events)
                    return
                if self._length < HEAD:
                    self._head = (self._head + delta.content)[:HEAD]
                self._length += size
                events.append(Text(delta.content))
            else:
                self._delta(delta, frame.timestamp is None, events)
        elif frame.created is not None:
            self._began(frame, events)
        elif frame.refuses or len(frame.data):
            # Not msgspec: what it refuses (stray bytes, half characters) must not hide what the site says.
            fault = faults.of_body(json.loads(payload.decode("utf-8", "replace")))
            if fault is not None:
                self._fail(fault, events)

    def _began(self, frame: Frame, events: list[Event]) -> None:
        created = frame.created
        if created is None or (created.chat_id and created.chat_id != self._chat_id):
            self._fail(_crossed(), events)
            return
        self._answer_id = created.response_id
        events.append(Began(self._chat_id, created.response_id))

    def _delta(self, delta: Delta, closing: bool, events: list[Event]) -> None:
        phase, content = delta.phase, delta.content
        if delta.role == "function":
            self._tool_result(delta, events)
        elif delta.function_call is not None:
            self._call(delta, delta.function_call, events)
        elif phase == "answer" or phase is None:
            if content:
                self._spoke, self._answered = True, False
                if text := self._whole_characters(content):
                    events.append(Text(text))
            if delta.status == "finished":
                self._answered = closing
        elif phase == "thinking_summary":
            self._answered = False
            self._thinking(delta, events)
        elif phase == "think" and content:  # until early 2026, and with `thinking_format: detail`
            self._spoke, self._answered = True, False
            if text := self._whole_characters(content):
                events.append(Reasoning(text))

    def _repeats(self, content: str) -> bool:
        """Whether the pieces have begun to repeat the whole answer so far, as a form that is not incremental does: each
        begins with all of the answer before it, and is longer. Once may be chance, twice in a row is not; but where the
        text repeats itself (`ha`, `haha`, `hahaha`), pieces may be of any length, and that counts for nothing."""
        before = self._whole
        if not (before and len(content) > len(before) and content.startswith(before)):
            self._again = 0
            before = self._head if len(content) > self._length else ""
            if not before or not content.startswith(before):
                self._whole = ""
                return False
        self._whole = content
        self._again += content.find(before, 1) < 0
        return self._again > 1 and len(before) >= SHORTEST_REPEAT

    def _thinking(self, delta: Delta, events: list[Event]) -> None:
        text = ""
        if len(delta.extra):
            summary = _lenient(_summary, delta.extra, _Summary())
            text = self._summary.feed(summary.summary_title.content, summary.summary_thought.content)
        if delta.status == "finished":
            text += self._summary.close()
        if text:
            self._spoke = True
            events.append(Reasoning(text))

    def _call(self, delta: Delta, call: FunctionCall, events: list[Event]) -> None:
        self._answered = False  # another round follows
        if _may_be_clients(delta):
            self._spoke = True
            events.append(NativeCall(call.name or "", call.text))
        else:
            events.append(SiteTool(call.name or ""))

    def _tool_result(self, delta: Delta, events: list[Event]) -> None:
        self._answered = False
        self._rounds.end()
        if _may_be_clients(delta):
            events.append(NativeResult(delta.name or "", _readable(delta.content or "")))
            return
        events.append(SiteTool(delta.name or ""))
        if delta.phase == "web_search" and len(delta.extra):
            docs = _lenient(_search, delta.extra, _Search()).web_search_info
            sources = tuple(Source(doc.url, doc.title, doc.snippet) for doc in docs)
            if sources:
                events.append(Sources(sources))

    def _whole_characters(self, text: str) -> str:
        """`text` without a trailing half of a character, which waits for the other half in the next frame."""
        if not self._surrogate and text.isascii():
            return text
        text, self._surrogate = self._surrogate + text, ""
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._surrogate = text[:-1], text[-1]
        return _readable(text)

    def _end(self, events: list[Event]) -> None:
        if not self._spoke:
            self._fail(Empty("Qwen's site accepted the question and sent no answer."), events)
        elif not self._answered:
            self._fail(Incomplete("Qwen's answer broke off before its end."), events)
        else:
            if self._surrogate:
                events.append(Text("\ufffd"))
            self._account(events)
            events.append(Finished())
            self._ended = True

    def _fail(self, fault: Fault, events: list[Event]) -> None:
        if not self._ended:
            self._account(events)
            events.append(Failed(fault))
            self._ended = True

    def _account(self, events: list[Event]) -> None:
        if usage := self._rounds.total():
            events.append(usage)


def _may_be_clients(delta: Delta) -> bool:
    """A call, or what the site says to it, that stands in the answer and lacks the number of a site's tool.

    Nothing else tells them apart: a client may have a tool `web_search` of its own (recordings of 2026-09-01).
    """
    if delta.phase != "answer" or (len(delta.function_id) and bytes(delta.function_id) not in (b"null", b'""')):
        return False
    return not (len(delta.extra) and _lenient(_marks, delta.extra, _Marks()).function_id)


def _readable(text: str) -> str:
    """`text` without halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _is_frame(payload: bytes) -> bool:
    """Whether it is one of its own, and not a piece of JSON that is written over several lines."""
    try:
        frame = decode(payload)
    except Unreadable:
        return False
    return bool(frame.choices or frame.created or frame.refuses)


def _lenient(read: Callable[[Raw], _T], raw: Raw, otherwise: _T) -> _T:
    """Side information (sources, summaries) that cannot be read must not cost the answer."""
    try:
        return read(raw)
    except msgspec.DecodeError:
        return otherwise


def _crossed() -> Fault:
    return Drift(
        "Qwen's site sent an answer that belongs to another chat. It was thrown away.",
        code="upstream_crossed",
    )


def _repeating() -> Fault:
    return Drift("Qwen's site began to repeat its answer from the start with every piece. The site may have changed.")


def _unreadable(problem: Unreadable) -> Fault:
    kind = "empty" if not problem.line.strip() else f"{len(problem.line):,} bytes"
    return Drift(f"Qwen's site sent an event that cannot be read ({kind}). The site may have changed.")
