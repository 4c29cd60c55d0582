"""The simulator as a running server: routes joined, started, stopped.

Here: sockets and what concerns every request. Not here: what any endpoint does.
"""

import asyncio
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler

from . import auth, catalog, chats, completions, control, files, oss, parsing, pictures, settings
from .ask import BODY_LIMIT
from .envelope import RefusedError, ShutOutError, refuse
from .site import OWNER, SITE, Site
from .wire import drop

HUMAN_PACE_MS = 15  # between the words of a demo answer: fast, but seen to stream


class Simulator:
    """The fake site on a socket: `async with Simulator() as sim: … sim.url …`."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        models: Sequence[str] | None = None,
        delay_ms: float = 0,
    ) -> None:
        self.site = Site(models, delay_ms)
        self._address = (host, port)
        self._runner = web.AppRunner(_app(self.site), handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        self.url = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, *self._address).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in list(self.site.streams):
            stream.stop()
        await self._runner.cleanup()
        await asyncio.gather(*self.site.bucket.joining, return_exceptions=True)
        self.site.bucket.close()

    def token(self, user: str = OWNER, expires_in: float = 30 * 24 * 3600) -> str:
        """A long session token, as found in the cookie `token`."""
        return self.site.mint.long_token(user, expires_in)

    def access_token(self, user: str = OWNER, expires_in: float = 900) -> str:
        """A Bearer token as the refresh route gives it."""
        return self.site.mint.access_token(user, expires_in)

    def cookies(self, user: str = OWNER, expires_in: float = 30 * 24 * 3600) -> str:
        """A `Cookie` header as a browser of this site sends it, with a fresh refresh token."""
        jar = {
            "token": self.token(user, expires_in),
            "refresh_token": self.site.issue_refresh(user),
            "acw_tc": uuid.uuid4().hex,
            "x-ap": "ap-southeast-1",
            "cna": "c2ltdWxhdG9y",
            "qwen-theme": "light",
            "qwen-locale": "en-US",
        }
        return "; ".join(f"{name}={value}" for name, value in jar.items())


async def run(host: str, port: int) -> None:
    """Serves at a human pace until cancelled."""
    async with Simulator(host, port, delay_ms=HUMAN_PACE_MS):
        await asyncio.Event().wait()


def _app(site: Site) -> web.Application:
    # Oversized bodies must be read before they can be refused; beyond this aiohttp itself says 413.
    app = web.Application(middlewares=[_door], client_max_size=BODY_LIMIT * 512)
    app[SITE] = site
    for part in (auth, catalog, chats, completions, settings, pictures, files, parsing, oss, control):
        app.add_routes(part.routes())
    return app


@web.middleware
async def _door(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What every request meets: a dead connection, the counter, refusals in the site's form."""
    site = request.app[SITE]
    if request.path.startswith("/__sim/"):
        return await handler(request)
    if not request.path.startswith(oss.ROOT):  # that is another host at the real site
        site.requests_total += 1
    if (user := auth.credential(request).account) is not None:
        site.tallies[user].requests += 1
    if site.switches.refuse_connections or request.transport in site.spoiled:
        return drop(request)
    try:
        return await handler(request)
    except RefusedError as refused:
        return refuse(request, refused.refusal)
    except ShutOutError as shut_out:
        return shut_out.answer(request)
