"""Reading documents: `files/parse` and its status, as recorded on 14 Sep 2026.

Here: the two routes. Not here: how far a document is (`parses`), whether a question sees it (`attached`).
"""

import json

from aiohttp import web

from . import file_faults
from .auth import writer
from .envelope import Refusal, RefusedError, accept, refuse
from .files import FILE_INFO
from .frames import Json
from .parses import Parse
from .refusals import REFUSALS
from .site import SITE, Site

# Seen live on 9 Sep 2026, at 22 of 22 polls: on `parse` it says that all went well.
_DOWN = {"code": "Internal_Server_Error"}


async def parse(request: web.Request) -> web.StreamResponse:
    site = request.app[SITE]
    user = writer(request)
    mishap = site.mishaps.take("parse")
    what = "" if mishap is None else mishap.what
    if (whole := file_faults.whole(what, request)) is not None:
        return whole
    if what == "service_down":
        return accept(request, _DOWN)
    file_id = str((await _body(request)).get("file_id", ""))
    if not _uploaded(site, user, file_id):
        raise RefusedError(FILE_INFO)
    old = site.parses.get(file_id)
    if old is None or old.status() == "failed" or what:
        new = Parse(file_id, user, site.switches.parse_ms / 1000, what or "success", polls=old.polls if old else 0)
        new.calls = old.calls if old else 0
        site.parses[file_id] = new
    site.parses[file_id].calls += 1
    return accept(request, {"file_id": file_id})


async def status(request: web.Request) -> web.StreamResponse:
    """Files that are not there, or that nobody asked to read, are `pending` for good (our reading)."""
    site = request.app[SITE]
    user = writer(request)
    mishap = site.mishaps.take("status")
    what = "" if mishap is None else mishap.what
    if (whole := file_faults.whole(what, request)) is not None:
        return whole
    if what == "service_down":
        return refuse(request, Refusal(500, {"success": False, "data": _DOWN}))
    wanted = (await _body(request)).get("file_id_list")
    if not isinstance(wanted, list):
        raise RefusedError(FILE_INFO)
    told = [_status(site, user, str(file_id)) for file_id in wanted]
    # A test suite of Sep 2026 has them one level down.
    return accept(request, {"list": told} if site.switches.parse_list else told)


def _status(site: Site, user: str, file_id: str) -> Json:
    found = site.parses.get(file_id)
    state = "pending"
    if found is not None and found.user == user:
        found.polls += 1
        state = found.status()
    failed = state == "failed"
    # How a failure is told was not recorded: the words are ours.
    return {
        "file_id": file_id,
        "status": state,
        "error_msg": "The document could not be parsed." if failed else "",
        "error_code": "parse_failed" if failed else None,
        "retry": False,
    }


def _uploaded(site: Site, user: str, file_id: str) -> bool:
    found = site.bucket.of_file(file_id)
    return found is not None and found.user == user


async def _body(request: web.Request) -> Json:
    try:
        found = json.loads(await request.read())
    except ValueError as error:
        raise RefusedError(REFUSALS["malformed"]) from error
    if not isinstance(found, dict):
        raise RefusedError(REFUSALS["malformed"])
    return found


def routes() -> list[web.RouteDef]:
    return [
        web.post("/api/v2/files/parse", parse),
        web.post("/api/v2/files/parse/status", status),
    ]
