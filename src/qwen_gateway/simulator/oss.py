"""The object storage: requests to single objects, and what concerns every request to it.

Here: path style, `/qwen-webui-prod/<key>`; who asks for what, mishaps, putting and getting at once. Not here: uploads
in parts (`oss_parts`), signatures (`oss_signatures`), what is kept (`objects`).
"""

import base64
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from urllib.parse import unquote

from aiohttp import web

from . import oss_parts
from .digests import Digest, etag
from .objects import Call, Place, stored
from .oss_refusals import CODES, OssError
from .oss_signatures import Asked, checked
from .oss_visits import DroppedError, Visit, headers
from .site import SITE
from .tickets import BUCKET
from .wire import drop

ROOT = f"/{BUCKET}/"


async def serve(request: web.Request) -> web.StreamResponse:
    site = request.app[SITE]
    bucket = site.bucket
    asked = _asked(request)
    call = _call(request, asked)
    bucket.begin(call, request.transport)
    try:
        return await _answered(request, asked, call)
    except DroppedError:
        call.outcome = "dropped"
        return drop(request)
    finally:
        bucket.end(call)


async def _answered(request: web.Request, asked: Asked, call: Call) -> web.StreamResponse:
    visit = Visit(request, asked, call)
    try:
        answer = await _done(visit)
        call.outcome = "done"
    except OssError as refused:
        await visit.drain()
        answer = refused.answer(request.host)
        call.code = refused.code
        call.outcome = "refused"
    call.status = answer.status
    return answer


async def _done(visit: Visit) -> web.Response:
    site, call = visit.site, visit.call
    mishap = site.mishaps.take(call.operation, call.number)
    what = "" if mishap is None else mishap.what
    if what == "drop" or site.switches.oss_drop:
        raise DroppedError
    if what in CODES:
        raise OssError(what)
    if mishap is not None and what == "cut":
        visit.cut = mishap.received
    visit.ticket, call.signature = checked(visit.asked, site.tickets, time.time())
    if call.operation not in _OPERATIONS:
        raise OssError("MethodNotAllowed")
    answer = await _OPERATIONS[call.operation](visit)
    if what == "lost":
        raise DroppedError
    return answer


def _asked(request: web.Request) -> Asked:
    """From the address as it was sent: what a library makes of it may be another key."""
    path, _, query = request.raw_path.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    found: dict[str, str] = {}
    for name, text in request.headers.items():
        lower = name.lower()
        found[lower] = f"{found[lower]},{text}" if lower in found else text
    return Asked(
        method=request.method,
        key=unquote(path[path.index(ROOT) + len(ROOT) :]),
        query=[(unquote(name), unquote(text)) for name, _, text in pairs],
        headers=found,
    )


def _call(request: web.Request, asked: Asked) -> Call:
    number = asked.parameter("partNumber")
    return Call(
        operation=_operation(asked),
        key=asked.key,
        number=int(number) if number.isdecimal() else None,
        upload=asked.parameter("uploadId") or None,
        length=request.content_length,
        cookie="cookie" in asked.headers,
    )


def _operation(asked: Asked) -> str:
    match asked.method:
        case "PUT":
            return "part" if asked.has("uploadId") else "put"
        case "POST" if asked.has("uploads"):
            return "init"
        case "POST" if asked.has("uploadId"):
            return "complete"
        case "DELETE" if asked.has("uploadId"):
            return "abort"
        case "GET" | "HEAD":
            # Of parts; or of uploads, which no ticket allows, since that concerns the bucket.
            return "list" if asked.has("uploadId") or asked.has("uploads") else "get"
    return "other"


async def _put(visit: Visit) -> web.Response:
    if visit.asked.header("x-oss-copy-source"):
        raise OssError("NotImplemented")
    digest = Digest()
    await visit.read(digest.take)
    wanted = visit.asked.header("content-md5")
    if wanted and wanted != base64.b64encode(digest.md5).decode():
        raise OssError("BadDigest")
    ticket = visit.ticketed()
    place = Place(ticket.key, ticket.user, ticket.file_id, visit.content_type(), ticket.size)
    one = stored(place, digest, etag(digest.md5))
    visit.site.bucket.objects[one.key] = one
    return web.Response(headers=headers(one.etag, one.crc64))


async def _get(visit: Visit) -> web.Response:
    """Objects of which only the head was kept cannot be sent; a HEAD tells their size."""
    one = visit.site.bucket.objects.get(visit.asked.key)
    if one is None:
        raise OssError("NoSuchKey", Key=visit.asked.key)
    told = headers(one.etag, one.crc64) | {
        "Content-Type": one.content_type,
        "Last-Modified": formatdate(one.at, usegmt=True),
    }
    if visit.asked.method == "HEAD":
        return web.Response(headers=told | {"Content-Length": str(one.size)})
    if one.data is None:
        raise OssError("NotImplemented", "The simulator keeps only the head of so large an object.")
    return web.Response(headers=told, body=one.data)


_OPERATIONS: dict[str, Callable[[Visit], Awaitable[web.Response]]] = {
    "put": _put,
    "get": _get,
    "init": oss_parts.init,
    "part": oss_parts.part,
    "complete": oss_parts.complete,
    "abort": oss_parts.abort,
    "list": oss_parts.listing,
}


def routes() -> list[web.RouteDef]:
    return [web.route("*", ROOT + "{key:.*}", serve)]
