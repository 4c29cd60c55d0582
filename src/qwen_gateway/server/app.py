"""The ASGI application: routes of all dialects and pages, one spelling of paths, one form of errors."""

from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from qwen_gateway import __version__
from qwen_gateway.relay.management import Management
from qwen_gateway.server import admin
from qwen_gateway.server.endpoint import TurnEndpoint
from qwen_gateway.server.files import FileRoutes
from qwen_gateway.server.openapi import describe
from qwen_gateway.server.pages import Pages, refusal
from qwen_gateway.server.paths import App, Paths, Receive, Scope, Send, is_below
from qwen_gateway.server.service import Service
from qwen_gateway.turn.contracts import Dialect
from qwen_gateway.turn.faults import Bug, Fault, InvalidRequest, NotFound, WrongMethod

EXPOSED = [
    "x-request-id",
    "x-gateway-model",
    "x-gateway-ignored",
    "x-gateway-continuation",
    "x-gateway-emulated",
    "x-gateway-history",
    "x-gateway-shortened",
    "x-gateway-structured",
    "x-gateway-tools",
    "x-gateway-fault",
    "x-gateway-warning",
    "x-should-retry",
    "retry-after",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
]


def build(
    service: Service,
    pages: Pages,
    dialects: Sequence[Dialect],
    management: Management,
    *,
    prefix: str,
    origins: Sequence[str],
) -> App:
    """prefix: path before all routes, which also go without it. origins: web origins whose pages may call, but for the
    management API: no page of another origin is given its answers."""
    app = FastAPI(title="Qwen Gateway", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    turns: dict[str, App] = {path: TurnEndpoint(service, dialect) for dialect in dialects for path in dialect.routes}
    for path, endpoint in turns.items():
        app.router.routes.append(Route(path, endpoint, methods=["POST"]))
    pages.add_to(app)
    FileRoutes(service).add_to(app)
    admin.add_to(app, service, management)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)
    describe(app)
    if origins:
        turns = {path: _shared(endpoint, origins) for path, endpoint in turns.items()}
    return Paths(
        _outside(admin.PREFIX, _shared(app, origins), app) if origins else app,
        turns,
        prefix=prefix,
        versioned=frozenset({*turns, "/v1/models", "/v1/files", "/v1/uploads"}),
        gated=admin.PREFIX,
        new_id=service.new_request_id,
    )


def _shared(app: App, origins: Sequence[str]) -> App:
    """`app`, also for pages of these origins."""
    return CORSMiddleware(
        app,
        allow_origins=list(origins),
        allow_methods=["*"],
        allow_headers=["*"],  # reflects what the browser asks for
        expose_headers=EXPOSED,
        max_age=600,
    )


def _outside(top: str, app: App, below: App) -> App:
    """`app`, but `below` for `top` and all below it."""

    async def chosen(scope: Scope, receive: Receive, send: Send) -> None:
        is_there = scope["type"] == "http" and is_below(scope["path"], top)
        await (below if is_there else app)(scope, receive, send)

    return chosen


async def _http_error(request: Request, error: Exception) -> Response:
    """The router's own refusals, and those of static files."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    path = request.scope["path"]
    fault: Fault
    if status == HTTPStatus.NOT_FOUND:
        fault = NotFound(f"There is nothing at {path[:200]!r}. The documentation at /docs lists what there is.")
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        fault = WrongMethod(f"{request.method[:20]} is not for {path[:200]!r}.")
    else:
        fault = InvalidRequest(f"The request was refused: {HTTPStatus(status).phrase}.")
    reply = refusal(fault)
    if isinstance(error, HTTPException) and error.headers:
        reply.headers.update(error.headers)
    return reply


async def _bug(_: Request, __: Exception) -> Response:
    return refusal(Bug("The gateway made a mistake. Its log says more."))
