"""SEEN: what arrived at the completions endpoint and how it ended, for tests and outside test kits.

Here: the record and its JSON. Not here: who fills it in (`completions`).
"""

import time
from dataclasses import asdict, dataclass, field
from typing import Literal

from aiohttp import web

from .frames import Json

Status = Literal["complete", "aborted", "error"]


@dataclass
class Seen:
    """One request. Listed as soon as it arrives: `ended` is null while its answer runs. `size`: bytes of its body.

    files: as the message has them. attached: what the site makes of them.
    """

    raw: Json
    account: str | None = None
    prompt: str = ""
    model: str = ""
    chat_id: str = ""
    parent: str | None = None
    size: int = 0
    files: list[object] = field(default_factory=list)
    attached: list[Json] = field(default_factory=list)
    thinking: bool = False
    aborted: bool = False
    stopped: bool = False
    status: Status | None = None
    started: float = field(default_factory=time.time)
    first_byte: float | None = None
    ended: float | None = None

    def end(self, status: Status) -> None:
        self.status = status
        self.aborted = status == "aborted"
        self.ended = time.time()

    def as_json(self) -> Json:
        return asdict(self)


def raw_request(request: web.Request, body: object) -> Json:
    """The whole request, body parsed where it is JSON."""
    return {
        "method": request.method,
        "path": request.path,
        "query": dict(request.query),
        "headers": dict(request.headers),
        "body": body,
    }
