"""One question to the site, and the reading of its answer within the time that it may take."""

import asyncio
import math
from typing import Literal, Self

from msgspec import Struct

from qwen_gateway.relay.account import Account
from qwen_gateway.relay.pipeline import Pipeline
from qwen_gateway.relay.ports import StreamedReply, Transport
from qwen_gateway.turn.contracts import Upstream
from qwen_gateway.turn.events import SHOWN, Began, Event, Failed, Finished
from qwen_gateway.turn.faults import Drift, Fault, Incomplete, TimedOut, Unfit
from qwen_gateway.turn.flow import HttpCall

MAX_REFUSAL = 1024 * 1024
"""Bytes read of a reply that is not a stream. The site's are below 20 KB."""
GRACE = 2.0
"""Seconds for the stream to close once the answer is whole."""


class Patience(Struct, frozen=True):
    """Seconds. first: from the question to the first event; idle: between events; total: for all of it."""

    first: float
    idle: float
    total: float


class Answer:
    """Use as `async with`; `next` until it gives an empty list. Leaving closes the connection if need be.

    fault: why the answer failed; `None` while it has not. unfinished: the site may still be writing, or was when there
    was enough of it.
    """

    def __init__(
        self, site: Upstream, transport: Transport, account: Account, pipeline: Pipeline, patience: Patience
    ) -> None:
        self._site, self._transport, self._account = site, transport, account
        self._pipeline, self._patience = pipeline, patience
        self._state: Literal["new", "asked", "refused", "whole"] = "new"
        self._reply: StreamedReply | None = None
        self._over = False
        self.answer_id: str | None = None
        self.fault: Fault | None = None
        self._loop = asyncio.get_running_loop()
        self._spoke = False
        self._first = math.inf
        self._deadline = math.inf
        self._end = math.inf
        self._timer: asyncio.TimerHandle | None = None

    @property
    def unfinished(self) -> bool:
        return self._state == "asked"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._reply is not None:
            self._reply.close()

    async def ask(self, call: HttpCall) -> list[Event]:
        """Sends the question and waits for the first events."""
        now, patience = self._loop.time(), self._patience
        self._deadline, self._end = now + patience.first, now + patience.total
        self._first = self._deadline
        self._state = "asked"
        try:
            reply = await self._transport.open(call, patience.first)
        except Fault as fault:
            return self._failed([], fault)
        self._account.absorb(reply.set_cookies)
        self._reply = reply
        # Also looks once the answer may have begun and fallen silent: `idle` can be shorter than `first`.
        self._timer = self._loop.call_at(min(self._deadline, self._end, now + patience.idle), self._check)
        if self._site.is_stream(reply.status, reply.headers):
            events = await self._read(reply)
        else:
            events = await self._refusal(reply)
        if events and type(events[0]) is Began:
            self.answer_id = events[0].answer_id or None
        return events

    async def next(self) -> list[Event]:
        """The events of the next network chunk that had any. Empty once the answer is over."""
        if self._over or self._reply is None:
            return []
        self._deadline = self._loop.time() + self._patience.idle if self._spoke else self._first
        return await self._read(self._reply)

    def cut_off(self) -> list[Event]:
        """Nobody wants the rest: the events that sum up what has come so far, among them the usage."""
        self._over = True
        return self._pipeline.close()

    async def _read(self, reply: StreamedReply) -> list[Event]:
        pipeline = self._pipeline
        try:
            while True:
                if pipeline.settled:
                    self._hurry()
                data = await reply.read()
                events = pipeline.feed(data) if data else pipeline.close()
                if pipeline.enough and not (events and isinstance(events[-1], Finished | Failed)):
                    return self._enough(events + pipeline.cut())
                if events:
                    break
                if pipeline.holds:
                    self._spoke, self._deadline = True, self._loop.time() + self._patience.idle
        except Fault as fault:
            return self._broken(fault)
        if not self._spoke:
            self._spoke = any(isinstance(event, SHOWN) for event in events)
        self._deadline = math.inf  # what the client takes to read is not the site's time
        last = events[-1]
        if type(last) is Finished:
            self._over, self._state = True, "whole"
        elif type(last) is Failed:
            if isinstance(last.fault, Unfit) and pipeline.settled:
                self._state = "whole"  # the site has ended, and it is only that we cannot use what it said
            return self._failed(events, last.fault)
        return events

    def _enough(self, events: list[Event]) -> list[Event]:
        """The site writes on, and nothing of it is wanted: it stays unfinished."""
        self._over = self._spoke = True
        last = events[-1]
        return self._failed(events, last.fault) if isinstance(last, Failed) else events

    def _broken(self, fault: Fault) -> list[Event]:
        """The body broke off or took too long. That is no harm when the answer was whole already."""
        settled = self._pipeline.settled
        events = self._pipeline.close()
        last = events[-1] if events else None
        if settled and isinstance(last, Finished):
            self._over, self._state = True, "whole"
            return events
        if isinstance(fault, Incomplete) and isinstance(last, Failed):
            fault = last.fault  # what the site said with its last bytes tells more
        return self._failed([*events[:-1], Failed(fault)], fault)

    def _failed(self, events: list[Event], fault: Fault) -> list[Event]:
        self._over, self.fault = True, fault
        return events or [Failed(fault)]

    async def _refusal(self, reply: StreamedReply) -> list[Event]:
        """The reply is no stream: its body says why. Or it is one after all, under a wrong content type."""
        body = b""
        try:
            while len(body) < MAX_REFUSAL and (data := await reply.read()):
                body += data
        except Fault as fault:
            if not body:
                return self._failed([], fault)
        if body.lstrip().startswith(b"data:") and reply.status == 200:
            events = self._pipeline.feed(body) + self._pipeline.close()
            last = events[-1]
            self._over = True
            if isinstance(last, Failed):
                return self._failed(events, last.fault)
            self._state = "whole"
            return events
        self._state = "refused"
        found = self._site.refusal(reply.status, reply.headers, body)
        return self._failed([], found or Drift("Qwen's site answered the question with something that is no stream."))

    def _hurry(self) -> None:
        deadline = self._loop.time() + GRACE
        if deadline < self._deadline:
            self._deadline = deadline
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._check)

    def _check(self) -> None:
        """One timer per answer that looks when it fires, instead of one that every event moves."""
        now, due = self._loop.time(), min(self._deadline, self._end)
        if now < due:
            later = due if due < math.inf else now + self._patience.idle
            self._timer = self._loop.call_at(min(later, now + self._patience.idle), self._check)
        elif self._reply is not None:
            self._reply.abort(_timed_out(self._patience, total=now >= self._end, begun=self._spoke))


def _timed_out(patience: Patience, *, total: bool, begun: bool) -> Fault:
    if total:
        return TimedOut(f"Qwen's answer took longer than {patience.total:g} s and was cut off.")
    if begun:
        return TimedOut(f"Qwen's site kept silent for {patience.idle:g} s in the middle.", code="upstream_idle_timeout")
    return TimedOut(f"Qwen's site did not begin to answer within {patience.first:g} s.")
