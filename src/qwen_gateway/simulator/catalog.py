"""The model lists.

Here: `/api/v2/models/` and `/api/models` from the list captured on 13 Sep 2026 (`models.json`, whole). Not
here: whether a model may be asked (`ask`).
"""

import json
from importlib import resources

from aiohttp import web

from .auth import visitor
from .envelope import accept
from .faults import reply_of
from .frames import Json
from .site import SITE, Site

GUEST_MODELS = 3  # guests were given three models on 29 Sep 2026, at another hour seven


def _captured() -> list[Json]:
    text = resources.files(__package__).joinpath("models.json").read_text(encoding="utf-8")
    found: list[Json] = json.loads(text)["data"]["data"]
    return found


CAPTURED = _captured()


def listed(site: Site) -> list[Json]:
    """The models on offer. An id that was not captured borrows the first model's abilities."""
    wanted = site.switches.models
    if wanted is None:
        return CAPTURED
    known = {str(model["id"]): model for model in CAPTURED}
    return [known.get(name, {**CAPTURED[0], "id": name, "name": name}) for name in wanted]


def ids(site: Site) -> list[str]:
    return [str(model["id"]) for model in listed(site)]


def _for(request: web.Request) -> list[Json]:
    models = listed(request.app[SITE])
    return models if visitor(request) else models[:GUEST_MODELS]


async def v2(request: web.Request) -> web.Response:
    fault = request.app[SITE].switches.models_fault
    return reply_of(fault, request) if fault else accept(request, {"data": _for(request)})


async def v1(request: web.Request) -> web.Response:
    """The older list, still served in Sep 2026."""
    fault = request.app[SITE].switches.models_fault
    return reply_of(fault, request) if fault else web.json_response({"data": _for(request)})


def routes() -> list[web.RouteDef]:
    return [web.get("/api/v2/models/", v2), web.get("/api/models", v1)]
