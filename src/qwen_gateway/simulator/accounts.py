"""Single accounts: how one may be told to behave, and the count of its calls.

Here: data. Not here: what each state answers (`ways`), and whose call it is (`auth`).
"""

from dataclasses import asdict, dataclass
from typing import Literal

import msgspec

from .frames import Json

State = Literal["ok", "expired", "challenged", "walled", "blocked", "pending", "rate_limited", "down", "unreachable"]
Purpose = Literal["read", "write", "who", "renew"]
"""What a call is for: to look, to change or ask something, to learn whose session it is, to renew it."""


class Behaviour(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """How one account behaves. `model` (none: all) and `num` (hours; none: not told) belong to `rate_limited`."""

    state: State = "ok"
    model: str | None = None
    num: int | float | None = None

    def complaint(self) -> str | None:
        if self.state != "rate_limited" and (self.model, self.num) != (None, None):
            return f"`model` and `num` mean nothing with the state {self.state}"
        return None


@dataclass
class Tally:
    """Calls of one account, whatever came of them: all, and some of their kinds."""

    requests: int = 0
    refreshes: int = 0
    whoamis: int = 0
    asked: int = 0

    def as_json(self) -> Json:
        return asdict(self)
