"""The site's JSON envelope: HTTP 200 for almost everything, the true status in a header.

Here: how an answer is wrapped. Not here: what the site refuses and in which words (`refusals`).
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from .frames import Json, dumps

_MADE_ID = web.RequestKey("made_id", str)


@dataclass(frozen=True)
class Refusal:
    """One refusal. `inline` ones are sentences of a running stream: the site sends them as a data line."""

    status: int
    body: Json
    inline: bool = False


class RefusedError(Exception):
    """The site says no: raised by whoever finds the reason, answered by the server's middleware."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(dumps(refusal.body))
        self.refusal = refusal


class ShutOutError(Exception):
    """As `RefusedError`, where what comes is no sentence: a page, a true status, a reset."""

    def __init__(self, answer: Callable[[web.Request], web.StreamResponse]) -> None:
        super().__init__()
        self.answer = answer


def marks(request: web.Request, status: int = 200) -> dict[str, str]:
    """The headers of every API answer (captures of 14 and 25 Sep 2026)."""
    return {
        "x-request-id": request_id(request),
        "x-actual-status-code": str(status),
        "cache-control": "no-cache",
        "GA-AP": "ap-southeast-1",
        "X-Robots-Tag": "noindex",
    }


def request_id(request: web.Request) -> str:
    """The client's own id comes back, in header and body."""
    return request.headers.get("X-Request-Id") or request.get(_MADE_ID) or _made_id(request)


def _made_id(request: web.Request) -> str:
    made = str(uuid.uuid4())
    request[_MADE_ID] = made
    return made


def accept(request: web.Request, data: object) -> web.Response:
    body = {"success": True, "request_id": request_id(request), "data": data}
    return web.json_response(body, headers=marks(request), dumps=dumps)


def refuse(request: web.Request, refusal: Refusal) -> web.Response:
    """A refusal as the whole body. Challenges and error lines carry no envelope and get no request id."""
    body = refusal.body
    if "success" in body:
        body = {"success": body["success"], "request_id": request_id(request), "data": body["data"]}
    return web.json_response(body, headers=marks(request, refusal.status), dumps=dumps)
