"""Pictures that the simulator made: kept in memory, served at `/output/…` like the site's own host.

Here: storing and serving. Not here: the frames that name them (`rounds`).
"""

import base64
import struct
import time

from aiohttp import web

from .frames import Ids
from .rounds import Picture
from .site import OWNER, SITE
from .turns import Turn

_PNG = b"\x89PNG\r\n\x1a\n"


def shown(request: web.Request, turn: Turn, ids: Ids) -> list[Picture]:
    """Puts a turn's pictures where their addresses say."""
    site = request.app[SITE]
    found = []
    for number, text in enumerate(turn.images):
        data = base64.b64decode(text)
        path = f"/output/{OWNER}/t2i/{ids.response}/{int(time.time())}{number:04x}.png"
        site.outputs[path] = data
        width, height = size(data)
        found.append(Picture(f"http://{request.host}{path}?key=simulator", height, width))
    return found


def size(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG; of anything else the site's usual 1024 by 1024."""
    if data.startswith(_PNG) and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    return 1024, 1024


async def output(request: web.Request) -> web.Response:
    """No cookies needed; the type is often given as octet-stream (Sep 2026)."""
    data = request.app[SITE].outputs.get(request.path)
    if data is None:
        raise web.HTTPNotFound
    return web.Response(body=data, content_type="application/octet-stream")


def routes() -> list[web.RouteDef]:
    return [web.get("/output/{path:.+}", output)]
