"""Documents that are being read: how far each is.

Not here: HTTP (`parsing`), whether a question sees a document (`attached`).
"""

import time
from dataclasses import dataclass, field

from .frames import Json


@dataclass
class Parse:
    """A document being read. calls, polls: how often it was asked for, and asked about."""

    file_id: str
    user: str
    seconds: float
    end: str = "success"
    calls: int = 0
    polls: int = 0
    started: float = field(default_factory=time.time)

    def status(self) -> str:
        past = time.time() - self.started
        if self.end == "never" or past < self.seconds:
            return "pending" if past < self.seconds / 2 else "parsing"
        return self.end

    def as_json(self) -> Json:
        return {
            "file_id": self.file_id,
            "user": self.user,
            "status": self.status(),
            "calls": self.calls,
            "polls": self.polls,
            "started": self.started,
        }
