"""What is remembered of one turn once it is over: for the log line and the metrics. No content, no secret."""

from typing import Literal

from msgspec import Struct

from qwen_gateway.relay.counts import CallCounts
from qwen_gateway.relay.ports import UsageRow
from qwen_gateway.turn.events import Usage

End = Literal["finished", "failed", "client_left", "refused"]


class TurnRecord(Struct):
    """One request. Times in seconds since its arrival, which was at `begun` of a clock that only counts up.

    end: `refused` before anything was asked of the site, `failed` after; `code` names the fault.
    tries: how often the site was asked. ignored: parameters that this model cannot follow. at: its arrival, in seconds
    since 1970. key: id of the caller's key. accepted: it got past the door, so it is a row of the usage.
    way, why: how the conversation reached the model (`relay.conversations`), empty before that was decided. sent: bytes
    of the questions. shortened: results of tools of which the model saw a part only. listed_short: the model was told
    of the tools without all their descriptions. prefilled: the client began the answer. calls: what became of those
    that the model tried; `None` without tools. call_format: in which they were taught. invalid_json: what was delivered
    does not satisfy the schema. files: attached to what was asked last. offloaded: the oldest part of the conversation
    was one of them.
    queued, site: seconds spent waiting for an account, and for the site before anything was shown.
    """

    request_id: str
    endpoint: str
    begun: float = 0.0
    at: float = 0.0
    key: str = ""
    accepted: bool = False
    stream: bool = False
    asked_model: str = ""
    model: str = ""
    account: str = ""
    status: int = 0
    end: End = "refused"
    code: str = ""
    origin: str = ""
    tries: int = 0
    ignored: tuple[str, ...] = ()
    first_event: float | None = None
    duration: float = 0.0
    usage: Usage | None = None
    queued: float = 0.0
    site: float = 0.0
    way: str = ""
    why: str = ""
    sent: int = 0
    shortened: int = 0
    listed_short: bool = False
    prefilled: bool = False
    calls: CallCounts | None = None
    call_format: str = ""
    invalid_json: bool = False
    files: int = 0
    offloaded: bool = False

    @property
    def answer(self) -> str:
        """The answer's id, which clients get with a mark of their dialect before it."""
        return self.request_id.removeprefix("req_")

    @property
    def added(self) -> float:
        """Seconds that the gateway itself took until the first piece of the answer, or until it gave up."""
        until = self.duration if self.first_event is None else self.first_event
        return max(0.0, until - self.queued - self.site)

    def row(self) -> UsageRow:
        """As it is stored."""
        usage = self.usage or Usage(0, 0)
        return UsageRow(
            self.request_id,
            self.at,
            self.key,
            self.account,
            self.model,
            self.asked_model,
            self.endpoint,
            self.stream,
            self.status,
            self.end,
            self.code,
            self.tries,
            usage.input,
            usage.output,
            usage.reasoning,
            usage.cached,
            usage.estimated,
            self.first_event,
            self.duration,
            self.queued,
            self.added,
            self._calls(),
        )

    def _calls(self) -> str:
        told = self.calls.told() if self.calls is not None else ""
        return f"{self.call_format}: {told}" if told else ""
