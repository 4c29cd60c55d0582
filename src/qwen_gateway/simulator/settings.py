"""The account's settings.

Here: `users/user/settings` and its merging update (late Sep 2026), with the keys that matter to an API client:
the site's own tools, memory, personalisation. Not here: switches of the simulator (`site`, `control`).
"""

import copy
import json

from aiohttp import web

from .auth import account, writer
from .envelope import RefusedError, accept
from .frames import Json
from .refusals import REFUSALS
from .site import SITE

_TOOLS = (
    "web_search",
    "web_extractor",
    "web_search_image",
    "image_gen_tool",
    "image_edit_tool",
    "code_interpreter",
    "bio",
    "history_retriever",
    "image_zoom_in_tool",
)
_MCP = ("code-interpreter", "fire-crawl", "amap", "image-generation")
_FRESH: Json = {
    "ui": {
        "theme": "light",
        "language": "en-US",
        "title": {"auto": True},
        "autoTags": True,
        "largeTextAsFile": False,
        "splitLargeChunks": False,
    },
    "memory": {"enable_memory": True, "enable_history_memory": True, "memory_version_reminder": False},
    "tools_enabled": dict.fromkeys(_TOOLS, True),
    "mcp": dict.fromkeys(_MCP, False),
    "mcp_remind": False,
    "personalization": {
        "name": "",
        "description": "",
        "style": "",
        "instruction": "",
        "enable_for_new_chat": False,
    },
}


async def read(request: web.Request) -> web.Response:
    return accept(request, _current(request, account(request)))


async def update(request: web.Request) -> web.Response:
    user = writer(request)
    try:
        patch = json.loads(await request.read())
    except ValueError as error:
        raise RefusedError(REFUSALS["malformed"]) from error
    if not isinstance(patch, dict):
        raise RefusedError(REFUSALS["malformed"])
    settings = _current(request, user)
    _merge(settings, patch)
    return accept(request, settings)


def _current(request: web.Request, user: str) -> Json:
    site = request.app[SITE]
    if user not in site.settings:
        site.settings[user] = copy.deepcopy(_FRESH)
    return site.settings[user]


def _merge(settings: Json, patch: Json) -> None:
    for key, value in patch.items():
        here = settings.get(key)
        if isinstance(here, dict) and isinstance(value, dict):
            _merge(here, value)
        else:
            settings[key] = value


def routes() -> list[web.RouteDef]:
    return [
        web.get("/api/v2/users/user/settings", read),
        web.post("/api/v2/users/user/settings/update", update),
    ]
