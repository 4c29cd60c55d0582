"""An answer, piece by piece → the text that is shown, and the calls in it.

However the answer is cut, what comes out is the same. Text comes first and calls last: what is written behind a call is
not read, because models go on with results that they make up, or with the same calls again (one answer held 531).

A call is kept until it is whole and checked, so that it can still be dropped or asked for again. A long one is shown as
it comes (`Commit`). Then nothing is taken back, and if it breaks off it is never closed: a command that was cut is not
a shorter command.
"""

import json
import re
from collections.abc import Sequence
from typing import Literal

from msgspec import structs

from qwen_gateway.toolcall.ahead import More
from qwen_gateway.toolcall.draft import Draft, Quoted, squeezed
from qwen_gateway.toolcall.formats.choice import behind_marker, reader_at
from qwen_gateway.toolcall.formats.others import Bare
from qwen_gateway.toolcall.markers import CANDIDATES, LONGEST, Marker, Markers
from qwen_gateway.toolcall.names import Names
from qwen_gateway.toolcall.outlet import Outlet
from qwen_gateway.toolcall.pieces import Bad, Check, Commit, Out, Reader, Tool
from qwen_gateway.toolcall.references import inlined

Format = Literal["bracket", "raw", "hermes"]


_CANDIDATE = re.compile(f"[{re.escape(CANDIDATES)}]")
_LEAD = re.compile(r"\s*(?:(?:`{3,8}|~{3,8})[\w-]{0,32}[ \t]*\r?\n\s*)?")
_LEAD_GROWING = re.compile(r"\s*(?:`{1,8}|~{1,8})[\w-]{0,32}[ \t]*\r?\Z")
_LONGEST_LEAD = 256
_BLANKS = re.compile(r"\s*")
_FENCE = re.compile(r"[`~]{1,8}[\w-]{0,32}[ \t]{0,16}\r?(?:\n|\Z)")
_FENCE_GROWING = re.compile(r"[`~]{1,8}[\w-]{0,32}[ \t]{0,16}\r?\Z")
_SURPLUS = 8


class Sieve:
    """The calls of one answer. `done`: nothing that follows is of use, the upstream may be stopped.

    tools: in which `names.refuse` and `schema.Checks` found nothing wrong. check: whether a call may be delivered.
    nonce: of this conversation, empty for none. format: as it was taught; all formats are read. commit: see `Commit`;
    `complete` where a call must be able to be refused (a required or named choice). most: calls that are delivered.
    quoted: whether this text, `squeezed`, stands in a text of the client's (`draft.quoted_in`): then the model repeats
    what it has read.
    """

    def __init__(  # noqa: PLR0913 - settings of one request, all by name
        self,
        tools: Sequence[Tool],
        *,
        nonce: str,
        check: Check,
        format: Format = "bracket",  # noqa: A002 - the word of the setting
        commit: Commit = "hybrid",
        most: int = 24,
        quoted: Quoted = lambda _: False,
    ) -> None:
        self.repairs: dict[str, int] = {}
        """How many calls needed which repair; `echo` counts calls that were text of the client's."""
        self._names = Names(tool.name for tool in tools)
        self._parameters = {tool.name: tool.parameters for tool in tools}
        self._schemas: dict[str, object] = {}  # of the tools that were called
        self._strict = frozenset(tool.name for tool in tools if tool.strict)
        self._markers = Markers(nonce)
        self._inline = format == "hermes"
        self._check = check
        self._commit = commit
        self._quoted = quoted
        self._steps = {
            "lead": self._lead,
            "bare": self._bare,
            "text": self._text,
            "seek": self._seek,
            "payload": self._payload,
            "after": self._after,
        }
        self._state = "lead"
        self._buffer, self._at, self._final, self._cut = "", 0, False, False
        self._elapsed = 0.0
        self._outlet = Outlet(most=most)
        self._whole_answer = Bare(self._schema_of)
        self._marker: Marker | None = None
        self._marker_length = 0
        self._draft: Draft | None = None
        self._surplus = 0
        self._is_closed = False  # a closing marker stood behind the last call
        self._goes_on = False  # the call at hand has no opening marker of its own

    @property
    def done(self) -> bool:
        return self._outlet.done

    def feed(self, text: str, elapsed: float = 0.0) -> list[Out]:
        """elapsed: seconds since the answer began, or since any other moment that stays the same."""
        self._elapsed = elapsed
        self._buffer += text
        return self._run()

    def close(self, *, cut: bool = False) -> list[Out]:
        """The answer has ended. cut: not because the model was done; a marker that had only begun is then no text."""
        self._final, self._cut = True, cut
        out = self._run()
        self._outlet.finish()
        return out + self._outlet.take()

    def _run(self) -> list[Out]:
        while not self.done and self._steps[self._state]():
            pass
        self._buffer, self._at = "" if self.done else self._buffer[self._at :], 0
        return self._outlet.take()

    def _schema_of(self, name: str) -> object:
        known = self._names.resolve(name)
        if known is not None and known not in self._schemas:
            self._schemas[known] = inlined(self._parameters[known])
        return None if known is None else self._schemas[known]

    # Each step tells whether another one can follow at once.

    def _lead(self) -> bool:
        """The beginning of the answer: if it is a brace, the whole answer may be calls."""
        lead = _LEAD.match(self._buffer)
        end = lead.end() if lead else 0
        waits = end == len(self._buffer) or bool(_LEAD_GROWING.match(self._buffer))
        if waits and end <= _LONGEST_LEAD and not self._final:
            return False
        self._state = "bare" if self._buffer.startswith("{", end) and end <= _LONGEST_LEAD else "text"
        return True

    def _bare(self) -> bool:
        text, self._buffer, self._at = self._buffer[self._at :], "", 0
        if self._whole_answer.feed(text) and not self._final:
            return False
        if self._final and self._deliver_bare():
            return False
        self._buffer = self._whole_answer.text
        self._state = "text"
        return True

    def _deliver_bare(self) -> bool:
        calls = [(self._names.resolve(name), arguments) for name, arguments in self._whole_answer.calls()]
        checked = [(name, self._check(name, arguments, 1)) for name, arguments in calls if name]
        if not calls or len(checked) < len(calls) or not all(verdict.ok for _, verdict in checked):
            return False
        if self._is_echo(self._whole_answer.text):
            return False
        for name, verdict in checked:
            if not self.done:
                self._outlet.call(name, verdict.arguments)
        return True

    def _text(self) -> bool:
        while self._at < len(self._buffer):
            found = _CANDIDATE.search(self._buffer, self._at)
            end = found.start() if found else len(self._buffer)
            if end > self._at:
                self._outlet.visible.add(self._buffer[self._at : end])
                self._at = end
            if found:
                try:
                    marker = self._marker_here()
                except More:
                    return False
                if marker is not None:
                    return self._begin(marker)
                if self._final and self._ends_within_marker():
                    return False
                self._outlet.visible.add(found[0])
                self._at += 1
        return False

    def _marker_here(self) -> Marker | None:
        """The opening marker, or the one of results with our nonce, at this place. Raises More."""
        marker = self._markers.at(self._buffer, self._at, final=self._final, line_start=self._counts_as_line_start())
        if marker is None or marker.kind == "close" or (marker.kind == "result" and marker.level == 2):
            return None
        return marker

    def _counts_as_line_start(self) -> bool:
        visible = self._outlet.visible
        return visible.line_start or (self._inline and self._buffer[self._at] == "<" and not visible.in_code)

    def _ends_within_marker(self) -> bool:
        """Whether the answer's last words are the beginning of a marker. Then they are not shown. In an answer that was
        cut it is enough that they could be: nobody misses them."""
        if len(self._buffer) - self._at > LONGEST:
            return False
        rest, line_start = self._buffer[self._at :], self._counts_as_line_start()
        if self._markers.is_half_opening(rest, line_start=line_start, inline=self._inline):
            self._broken(Bad("truncated", "the answer ended within a marker"))
        elif not (self._cut and self._markers.may_begin(rest, line_start=line_start)):
            return False
        self._drop()
        return True

    def _drop(self) -> None:
        """What is left of the answer is not shown, nor the white space and the fence in front of it."""
        self._outlet.visible.cut()
        self._at = len(self._buffer)

    def _begin(self, marker: Marker) -> bool:
        if marker.kind == "open":
            self._marker, self._marker_length = marker, marker.end - self._at
            self._goes_on = False
            self._state = "seek"
            return True
        self._outlet.note(Bad("forged_result", "results that no tool gave"))
        return self._stop("forged_result")

    def _seek(self) -> bool:
        marker, start = self._marker, self._at + self._marker_length
        if marker is None:
            return False
        try:
            found = reader_at(self._buffer, start, marker, self._markers, self._schema_of, final=self._final)
        except More:
            return False
        if found is None:
            return self._mention(marker, start)
        reader, begin = found
        opening, self._at = self._buffer[self._at : begin], begin
        self._draft = Draft(marker, self._marker_length, opening, reader, self._elapsed)
        self._state = "payload"
        return True

    def _mention(self, marker: Marker, end: int) -> bool:
        """A marker that no call follows. One of ours that stands by itself was meant as the beginning of one."""
        behind = behind_marker(self._buffer, end)
        ends_line = behind == len(self._buffer) or "\n" in self._buffer[end:behind]
        self._state = "after" if self._outlet.tries else "text"
        if marker.level == 3:
            bad = Bad("no_payload", "an opening marker that no call follows")
            if ends_line or self._outlet.visible.line_start or self._outlet.tries:
                return self._broken(bad)
            self._outlet.note(bad)
        elif self._outlet.tries:
            return self._stop("prose_after_call")
        elif self._cut and behind == len(self._buffer):
            self._drop()
            return False
        else:
            self._outlet.visible.add(self._buffer[self._at : end])
        self._at = end
        return True

    def _payload(self) -> bool:
        draft = self._draft
        if draft is None:
            return False
        draft.feed(self._buffer[self._at :], final=self._final)
        self._buffer, self._at = draft.rest, 0
        name = self._tool_of(draft.reader)
        if not draft.shown and name and self._may_be_shown(draft, name):
            draft.shown = True
            self._outlet.begin(name)
        if draft.shown:
            self._outlet.send(draft.reader.take())
        match draft.state:
            case "open":
                return False
            case "whole":
                return self._whole(draft, name)
            case state if draft.is_mention and (state == "broken" or not name):
                return self._unread(draft)
            case _ if self._goes_on and not name:
                return self._stop("prose_after_call")
            case state:
                return self._broken(Bad("truncated" if state == "cut" else "malformed", draft.why, name))

    def _unread(self, draft: Draft) -> bool:
        """What seemed to be a call is text that speaks of one: it is read again, as text."""
        if self._outlet.tries:
            return self._stop("prose_after_call")
        if self._cut and draft.state == "cut":
            self._drop()
            return False
        self._buffer, self._at, self._state = draft.unread, 1, "text"
        self._outlet.visible.add(self._buffer[0])
        return True

    def _may_be_shown(self, draft: Draft, name: str) -> bool:
        """Not of a strict tool, whose calls are checked first, nor where it may be a call that has come before."""
        if name in self._strict or self._outlet.has_ended(name):
            return False
        return draft.may_be_shown(self._commit, self._elapsed, self._quoted)

    def _whole(self, draft: Draft, name: str) -> bool:
        if self._goes_on and not name:
            return self._stop("prose_after_call")
        self._state = "after"
        self._surplus = 0
        self._is_closed = False
        for repair in draft.reader.repairs:
            self._count(repair)
        if draft.shown:
            return self._end_shown(draft, name)
        if self._is_echo(draft.comparable):
            return self._as_text(draft.text)
        verdict = self._check(name, draft.reader.arguments, draft.level) if name else None
        if verdict is None:
            self._outlet.refuse(Bad("unknown", draft.reader.name or ""))
        elif not verdict.ok:
            self._outlet.refuse(Bad(verdict.kind or "schema", verdict.why, name))
        else:
            self._outlet.call(name, verdict.arguments)
        return True

    def _end_shown(self, draft: Draft, name: str) -> bool:
        """What was shown is not judged again, but for a repair that may have been a guess."""
        arguments = draft.reader.arguments
        if draft.reader.doubtful and not (verdict := self._check(name, arguments, 1)).ok:
            return self._broken(Bad(verdict.kind or "schema", verdict.why, name))
        if not _is_object(arguments):
            return self._broken(Bad("malformed", "arguments that are no JSON object", name))
        self._outlet.send(draft.reader.take(doubtful=True))
        self._outlet.end(name, arguments)
        return True

    def _broken(self, bad: Bad) -> bool:
        self._outlet.note(bad)
        return False if self._final else self._stop("malformed")

    def _as_text(self, raw: str) -> bool:
        """A call that the model only repeats."""
        if self._outlet.tries:
            return self._stop("prose_after_call")
        self._outlet.visible.add(raw)
        self._state = "text"
        return True

    def _after(self) -> bool:
        """Behind a call: closing markers, surplus brackets, fences, and the next call. Nothing else is read."""
        blanks = _BLANKS.match(self._buffer, self._at)
        self._at = blanks.end() if blanks else self._at
        if self._at == len(self._buffer):
            return False
        char = self._buffer[self._at]
        if char in "}]*" and self._surplus < _SURPLUS:
            self._surplus += 1
            self._at += 1
            return True
        if char in "`~":
            return self._skip_fence()
        if char == "{" and not self._is_closed and self._marker and self._marker.family in ("bracket", "native"):
            # Between the same markers as the call before it, but with none of its own.
            self._marker = structs.replace(self._marker, level=2)
            self._marker_length, self._goes_on, self._state = 0, True, "seek"
            return True
        return self._marker_behind() if char in CANDIDATES else self._stop("prose_after_call")

    def _marker_behind(self) -> bool:
        try:
            marker = self._markers.at(self._buffer, self._at, final=self._final, line_start=True)
        except More:
            return False
        return self._go_on(marker)

    def _go_on(self, marker: Marker | None) -> bool:
        if marker is None:
            if self._final and self._markers.is_half_closing(self._buffer[self._at :]):
                return False
            return self._stop("prose_after_call")
        if marker.kind == "close":
            self._is_closed = True
            self._at = marker.end
            return True
        if marker.kind == "result":
            return self._stop("forged_result")
        return self._begin(marker)

    def _skip_fence(self) -> bool:
        fence = _FENCE.match(self._buffer, self._at)
        if not self._final and _FENCE_GROWING.match(self._buffer, self._at):
            return False
        if not fence:
            return self._stop("prose_after_call")
        self._at = fence.end()
        return True

    def _stop(self, reason: str) -> bool:
        self._outlet.stop(reason)
        return False

    def _is_echo(self, raw: str) -> bool:
        if not self._quoted(squeezed(raw)):
            return False
        self._count("echo")
        return True

    def _count(self, what: str) -> None:
        self.repairs[what] = self.repairs.get(what, 0) + 1

    def _tool_of(self, reader: Reader) -> str:
        """The tool that a call means; empty: none."""
        return (self._names.resolve(reader.name) if reader.name else None) or ""


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        return False
