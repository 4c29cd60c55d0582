"""Upload tickets over HTTP: `getstsToken`, as recorded on 14 Sep 2026, and its older form without the envelope.

Not here: what a ticket is (`tickets`), where the bytes go (`oss`), reading documents (`parsing`).
"""

import json
import re
import time
import uuid
from collections.abc import Callable
from functools import partial

from aiohttp import web

from . import file_faults
from .auth import account, writer
from .envelope import RefusedError, accept, marks
from .frames import Json, dumps
from .oss_signatures import presigned
from .refusals import envelope
from .site import SITE
from .tickets import BUCKET, REGION, Ticket, Wish

FILE_INFO = envelope(400, "Bad_Request", "Invalid file information!")
# A window of tickets was told of without its words (Sep 2026): there is no `num` of hours in it.
USED_UP = envelope(429, "RateLimited", "Too many upload requests. Please try again later.")

_TYPES = {"image", "video", "audio", "file"}
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_MAX_NAME = 900  # bytes: with the rest of the key below what the object storage allows


async def ticket(request: web.Request) -> web.StreamResponse:
    user = writer(request)
    return await _answer(request, user, "ticket", lambda told: accept(request, told))


async def ticket_v1(request: web.Request) -> web.StreamResponse:
    """The same without the envelope (code of Jul 2026, still there in Sep 2026); `document` was a type of its own."""
    user = account(request, "write")
    plain = partial(web.json_response, headers=marks(request), dumps=dumps)
    return await _answer(request, user, "ticket_v1", plain)


async def _answer(
    request: web.Request, user: str, place: str, wrap: Callable[[Json], web.Response]
) -> web.StreamResponse:
    site = request.app[SITE]
    mishap = site.mishaps.take(place)
    what = "" if mishap is None else mishap.what
    if (whole := file_faults.whole(what, request)) is not None:
        return whole
    wish = _wish(await request.read(), _TYPES | ({"document"} if place == "ticket_v1" else set()))
    now, switches = time.time(), site.switches
    if what == "used_up" or site.tickets.used_up(user, switches.ticket_limit, now - switches.ticket_window_seconds):
        raise RefusedError(USED_UP)
    given = site.tickets.issue(user, wish, now, -1 if what == "expired" else switches.ticket_seconds)
    told = _told(f"{request.scheme}://{request.host}", given, switches.file_url_seconds, now)
    if what == "wrong_id":
        told["file_id"] = str(uuid.uuid4())
    if what == "incomplete":
        del told["security_token"], told["file_path"]
    return wrap(told)


def _told(origin: str, given: Ticket, seconds: int, now: float) -> Json:
    """In the order of the recording. The site's `endpoint` has no scheme; this one is no host of Alibaba's."""
    return {
        "access_key_id": given.access_key_id,
        "access_key_secret": given.access_key_secret,
        "security_token": given.security_token,
        "file_url": presigned(origin, given, seconds, now),
        "file_path": given.key,
        "file_id": given.file_id,
        "bucketname": BUCKET,
        "region": f"oss-{REGION}",
        "endpoint": origin,
    }


def _wish(body: bytes, types: set[str]) -> Wish:
    try:
        found = json.loads(body)
        name, size, kind = found["filename"], found["filesize"], found["filetype"]
    except (ValueError, LookupError, TypeError) as error:
        raise RefusedError(FILE_INFO) from error
    number = int(size) if isinstance(size, str) and size.isdecimal() else size
    sized = isinstance(number, int) and not isinstance(number, bool) and number > 0
    named = isinstance(name, str) and 0 < len(name.encode()) <= _MAX_NAME
    if not sized or not named or not isinstance(kind, str) or not (kind in types or _MEDIA_TYPE.fullmatch(kind)):
        raise RefusedError(FILE_INFO)
    return Wish(name, number, kind)


def routes() -> list[web.RouteDef]:
    return [
        web.post("/api/v2/files/getstsToken", ticket),
        web.post("/api/v1/files/getstsToken", ticket_v1),
    ]
