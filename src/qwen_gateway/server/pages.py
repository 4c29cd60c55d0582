"""Everything that is not a turn: what this is, whether it is well, its models, its documentation, its figures."""

from collections.abc import Awaitable, Callable
from html import escape
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from qwen_gateway import __version__
from qwen_gateway.dialects import openai_errors, openai_models
from qwen_gateway.relay import keys
from qwen_gateway.relay.account import Account
from qwen_gateway.server.callers import Caller
from qwen_gateway.server.guard import is_loopback
from qwen_gateway.server.metrics import Metrics
from qwen_gateway.server.refusals import fault_headers
from qwen_gateway.server.service import Service
from qwen_gateway.turn.catalog import Catalog
from qwen_gateway.turn.faults import Fault, LoginExpired, NoAccount

STATIC = Path(__file__).parent / "static"
Page = Callable[[Request], Awaitable[Response]]

_HOME = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Qwen Gateway</title>
<style>body{{font:16px/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}}
code{{background:#8882;padding:.1em .3em;border-radius:.2em}}</style>
<h1>Qwen Gateway {__version__}</h1>
<p>The models of your own <a href="https://chat.qwen.ai">chat.qwen.ai</a> account, for programs that speak the
OpenAI API. Give them the base URL <code>BASE/v1</code> and a key of this gateway.</p>
<ul><li><a href="docs">Documentation of the API</a></li><li><a href="health">Health</a></li>
<li><a href="v1/models">Models</a> (with a key)</li><li><a href="metrics">Metrics</a></li></ul></html>"""


class Pages:
    """listen: the address that the server listens on; beyond this machine, documentation and figures want a key."""

    def __init__(self, service: Service, metrics: Metrics, *, listen: str, list_variants: bool) -> None:
        self._service, self._metrics = service, metrics
        self._private = not is_loopback(listen)
        self._list_variants = list_variants

    def add_to(self, app: FastAPI) -> None:
        """Adds all pages. They are plain routes, like the turns'."""
        for path, page in (
            ("/", self.home),
            ("/v1", self.home),
            ("/health", self.health),
            ("/livez", self.livez),
            ("/readyz", self.readyz),
            ("/metrics", self.metrics),
            ("/docs", self.docs),
            ("/openapi.json", self.openapi),
            ("/v1/models", self.models),
            ("/v1/models/{name:path}", self.model),
        ):
            app.add_route(path, self._guarded(page), methods=["GET", "HEAD"], include_in_schema=False)
        app.mount("/static", StaticFiles(directory=STATIC), name="static")

    def _guarded(self, page: Page) -> Page:
        async def guarded(request: Request) -> Response:
            try:
                self._service.guard.check(request.scope["headers"])
                return await page(request)
            except Fault as fault:
                return refusal(fault)

        return guarded

    async def home(self, request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(_HOME.replace("BASE", escape(str(request.base_url).rstrip("/"))))
        return JSONResponse(
            {
                "name": "Qwen Gateway",
                "version": __version__,
                "what": "The models of your own chat.qwen.ai account, behind the OpenAI API.",
                "base_url": f"{str(request.base_url).rstrip('/')}/v1",
                "documentation": "/docs",
                "health": "/health",
            }
        )

    async def livez(self, _: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(self, _: Request) -> Response:
        state = self._state()
        return JSONResponse({"status": state}, 200 if state in ("ok", "resting") else 503)

    async def health(self, request: Request) -> Response:
        """Always 200 while the process serves; `status` says how well. Strangers learn no more than that."""
        if self._private and not self._has_key(request):
            return JSONResponse({"status": self._state(), "version": __version__})
        service, problem = self._service, self._service.models.problem
        storage = service.storage
        told: dict[str, Any] = {
            "status": self._state(),
            "version": __version__,
            "in_flight": service.in_flight,
            "waiting": service.accounts.pool.waiting,
            "chats_pending": service.turns.chats.waiting,
            "site": service.turns.health.state(),
            "database": _told(storage.database()),
            "counters": _told(storage.counters()),
            "usage_unwritten": storage.unwritten(),
            "accounts": [_account(account) for account in service.accounts.all()],
            "warning": service.accounts.warned,
            "models": {"problem": None if problem is None else problem.text},
        }
        return JSONResponse(told)

    def _state(self) -> str:
        service = self._service
        if service.draining:
            return "draining"
        if service.storage.database() is not None:
            return "storage_unavailable"
        refusals = [account.resting() for account in service.accounts.all()]
        if not refusals:
            return "ok" if service.door.pass_through else "no_account"
        if None in refusals:
            return "ok"
        if all(isinstance(refusal, LoginExpired) for refusal in refusals):
            return "login_required"
        return "paused" if all(isinstance(refusal, NoAccount) for refusal in refusals) else "resting"

    async def models(self, request: Request) -> Response:
        caller = self._remember(request)
        catalog = await self._service.models.catalog()
        if caller.key is not None and caller.key.models:
            allowed = tuple(model for model in catalog.models if keys.may_use_model(caller.key, model.id))
            catalog = Catalog(allowed, stale=catalog.stale)
        return Response(openai_models.listing(catalog, variants=self._list_variants), media_type="application/json")

    async def model(self, request: Request) -> Response:
        caller = self._remember(request)
        name = request.path_params["name"]
        choice = await self._service.models.resolve(name)
        keys.check_model(caller.key, choice.model.id)
        stale = (await self._service.models.catalog()).stale
        return Response(openai_models.one(choice.model, name, stale=stale), media_type="application/json")

    def _remember(self, request: Request) -> Caller:
        """Lets the caller in; one that brings a Qwen token also brings the account to ask with."""
        caller = self._service.caller(request.scope)
        keys.check_endpoint(caller.key, "models")
        if caller.token is not None:
            self._service.accounts.brought(caller.token)
        return caller

    async def metrics(self, request: Request) -> Response:
        self._not_for_strangers(request)
        return Response(self._metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def docs(self, request: Request) -> Response:
        self._not_for_strangers(request)
        # Relative, since a reverse proxy may have put anything before our path; but `/docs/` is a level deeper.
        here = "../" if request.scope.get("asked_path", "").endswith("/") else ""
        return get_swagger_ui_html(
            openapi_url=here + "openapi.json",
            title="Qwen Gateway",
            swagger_js_url=here + "static/swagger-ui/swagger-ui-bundle.js",
            swagger_css_url=here + "static/swagger-ui/swagger-ui.css",
            swagger_favicon_url=here + "static/swagger-ui/favicon-32x32.png",
        )

    async def openapi(self, request: Request) -> Response:
        self._not_for_strangers(request)
        app: FastAPI = request.app
        return JSONResponse(app.openapi())

    def _has_key(self, request: Request) -> bool:
        try:
            self._service.caller(request.scope)
        except Fault:
            return False
        return True

    def _not_for_strangers(self, request: Request) -> None:
        if self._private:
            self._service.caller(request.scope)


def _told(problem: Fault | None) -> str:
    return "ok" if problem is None else problem.text


def _account(account: Account) -> dict[str, Any]:
    """What may be shown to anyone: no name, which may be a person's."""
    fault = account.resting()
    return {
        "key": account.key,
        "state": account.check.state,
        "expires_at": account.session.expires_at,
        "renews_itself": account.session.can_refresh,
        "in_use": account.busy,
        "resting": None if fault is None else {"code": fault.code, "why": fault.text, "seconds": fault.retry_after},
    }


def refusal(fault: Fault) -> Response:
    """A page's fault, in the form that clients of the OpenAI API read."""
    reply = Response(openai_errors.error(fault), fault.status, media_type="application/json")
    for name, value in fault_headers(fault):
        reply.headers[name.decode()] = value.decode()
    return reply
