"""The control interface under `/__sim`, for tests and outside test kits.

`POST /__sim/reset`                       forgets chats, requests, turns and switches; tokens stay valid
`POST /__sim/program {"turns": [TURN…]}`  appends answers to the queue; `{"site": {…}}` sets switches; `{"files": […]}`
                                          tells what goes wrong with uploads
`GET  /__sim/requests`                    `{"requests": [SEEN…]}` since the last reset
`GET  /__sim/state`                       chats with their trees, counters, and what each account has done
`GET  /__sim/tree`                        every chat with all its messages, in plain words
`GET  /__sim/files`                       tickets, objects, uploads, calls of the object storage, documents being read
`POST /__sim/forget {"chats": […]}`       deletes chats (ids, or "all") or `nodes` (ids), as a person would by hand; and
                                          `files` (ids, or "all")

Once reset or program was called, a request with no fitting turn is answered `ok`; before that the demo
responder answers. The keys of TURN and SEEN, the switches and the faults are explained in docs/simulator.md.
What is unknown or cannot be played is refused with a 400 that names it.

Not here: what the keys mean (`turns`, `site`, `seen`).
"""

from collections import Counter
from typing import Literal

import msgspec
from aiohttp import web

from . import faults, file_faults
from .accounts import Tally
from .frames import Json, dumps
from .mishaps import Mishap
from .site import SITE, Site, Switches
from .tree import Chat
from .turns import Turn


class _Program(msgspec.Struct, forbid_unknown_fields=True):
    turns: list[Turn] = msgspec.field(default_factory=list)
    site: dict[str, object] = msgspec.field(default_factory=dict)
    files: list[Mishap] = msgspec.field(default_factory=list)


async def reset(request: web.Request) -> web.Response:
    site = request.app[SITE]
    for stream in list(site.streams):
        stream.stop()
    site.reset()
    site.controlled = True
    return _json({"ok": True})


async def program(request: web.Request) -> web.Response:
    site = request.app[SITE]
    try:
        wanted = msgspec.json.decode(await request.read(), type=_Program)
        switches = site.switches.changed(wanted.site)
    except msgspec.DecodeError as error:
        return _json({"error": str(error)}, status=400)
    complaints = [turn.complaint() or faults.complaint(turn) for turn in wanted.turns]
    complaints += [file_faults.complaint(mishap) for mishap in wanted.files]
    complaints.append(_switch_complaint(switches))
    for complaint in filter(None, complaints):
        return _json({"error": complaint}, status=400)
    site.queue += wanted.turns
    site.switches = switches
    site.mishaps.add(wanted.files)
    site.controlled = True
    return _json({"ok": True, "queued": len(site.queue)})


def _switch_complaint(switches: Switches) -> str | None:
    for key in ("refresh_fault", "whoami_fault", "models_fault", "chats_new_fault", "delete_fault"):
        name = getattr(switches, key)
        if name is not None and not faults.whole(name):
            return f"`{key}` names no fault that can be a whole answer: {name}"
    complaints = (behaviour.complaint() for behaviour in switches.accounts.values())
    return next(filter(None, complaints), None)


class _Forget(msgspec.Struct, forbid_unknown_fields=True):
    chats: list[str] | Literal["all"] = msgspec.field(default_factory=list)
    nodes: list[str] = msgspec.field(default_factory=list)
    files: list[str] | Literal["all"] = msgspec.field(default_factory=list)
    account: str | None = None


async def forget(request: web.Request) -> web.Response:
    site = request.app[SITE]
    try:
        wanted = msgspec.json.decode(await request.read(), type=_Forget)
    except msgspec.DecodeError as error:
        return _json({"error": str(error)}, status=400)
    if (complaint := _forget_complaint(site, wanted)) is not None:
        return _json({"error": complaint}, status=400)
    for node, chat in _holders(site).items():
        if node in wanted.nodes and node in chat.nodes:  # it may be gone with one above it
            chat.lose(node)
    files = site.bucket.forget(None if wanted.files == "all" else wanted.files)
    counts: Json = {"nodes": len(wanted.nodes), **({"files": files} if wanted.files else {})}
    if wanted.chats == "all":
        return _json({"ok": True, "chats": site.delete_all(wanted.account), **counts})
    for chat_id in wanted.chats:
        site.chats[chat_id].deleted = True
    return _json({"ok": True, "chats": len(wanted.chats), **counts})


def _forget_complaint(site: Site, wanted: _Forget) -> str | None:
    if wanted.account is not None and wanted.chats != "all":
        return '`account` belongs to `"chats": "all"`'
    chats = [] if wanted.chats == "all" else wanted.chats
    holders = _holders(site)
    unknown = [name for name in chats if name not in site.chats or site.chats[name].deleted]
    unknown += [name for name in wanted.nodes if name not in holders]
    unknown += [name for name in wanted.files if wanted.files != "all" and site.bucket.of_file(name) is None]
    return f"not there: {', '.join(unknown)}" if unknown else None


def _holders(site: Site) -> dict[str, Chat]:
    """The chat of each message, of those chats that are there."""
    return {node: chat for chat in site.chats.values() if not chat.deleted for node in chat.nodes}


async def tree(request: web.Request) -> web.Response:
    return _json({"chats": [chat.told() for chat in request.app[SITE].chats.values()]})


async def files(request: web.Request) -> web.Response:
    site = request.app[SITE]
    return _json(
        {
            "tickets": [ticket.as_json() for ticket in site.tickets.by_file.values()],
            **site.bucket.as_json(),
            "parses": [parse.as_json() for parse in site.parses.values()],
            "mishaps": site.mishaps.as_json(),
        }
    )


async def requests(request: web.Request) -> web.Response:
    return _json({"requests": [seen.as_json() for seen in request.app[SITE].seen]})


async def state(request: web.Request) -> web.Response:
    site = request.app[SITE]
    chats = [{**chat.as_json(), "deleted": chat.deleted} for chat in site.chats.values()]
    return _json(
        {
            "chats": chats,
            "open_streams": len(site.streams),
            "queued": len(site.queue),
            "refreshes": site.refreshes,
            "whoamis": site.whoamis,
            "deleted": site.deleted,
            "stops": site.stops,
            "requests_total": site.requests_total,
            "accounts": _accounts(site),
        }
    )


def _accounts(site: Site) -> Json:
    """What each account has done, and how it behaves: those that were seen and those that were told to behave."""
    open_chats = Counter(chat.user for chat in site.chats.values() if not chat.deleted)
    names = sorted({*site.tallies, *site.switches.accounts, *open_chats})
    return {
        name: {
            "state": site.behaviour(name).state,
            **site.tallies.get(name, Tally()).as_json(),
            "open_chats": open_chats[name],
        }
        for name in names
    }


def _json(body: Json, status: int = 200) -> web.Response:
    return web.json_response(body, status=status, dumps=dumps)


def routes() -> list[web.RouteDef]:
    return [
        web.post("/__sim/reset", reset),
        web.post("/__sim/program", program),
        web.post("/__sim/forget", forget),
        web.get("/__sim/requests", requests),
        web.get("/__sim/files", files),
        web.get("/__sim/tree", tree),
        web.get("/__sim/state", state),
    ]
