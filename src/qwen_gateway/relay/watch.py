"""What is remembered of one turn once it is over: for the log line and the metrics. No content, no secret."""

from typing import Literal

from msgspec import Struct

from qwen_gateway.turn.events import Usage

End = Literal["finished", "failed", "client_left", "refused"]


class TurnRecord(Struct):
    """One request. Times in seconds since its arrival, which was at `begun` of a clock that only counts up.

    end: `refused` before anything was asked of the site, `failed` after; `code` names the fault.
    tries: how often the site was asked. ignored: parameters that this model cannot follow.
    """

    request_id: str
    endpoint: str
    begun: float = 0.0
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
