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
from qwen_gateway.server.endpoint import TurnEndpoint
from qwen_gateway.server.openapi import describe
from qwen_gateway.server.pages import Pages, refusal
from qwen_gateway.server.paths import App, Paths
from qwen_gateway.server.service import Service
from qwen_gateway.turn.contracts import Dialect
from qwen_gateway.turn.faults import Bug, Fault, InvalidRequest, NotFound, WrongMethod

EXPOSED = ["x-request-id", "x-gateway-model", "x-gateway-ignored", "x-gateway-fault", "x-should-retry", "retry-after"]


def build(service: Service, pages: Pages, dialects: Sequence[Dialect], *, prefix: str, origins: Sequence[str]) -> App:
    """prefix: path before all routes, which also go without it. origins: web origins that browsers let in."""
    app = FastAPI(title="Qwen Gateway", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    turns: dict[str, App] = {path: TurnEndpoint(service, dialect) for dialect in dialects for path in dialect.routes}
    for path, endpoint in turns.items():
        app.router.routes.append(Route(path, endpoint, methods=["POST"]))
    pages.add_to(app)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)
    describe(app)
    if origins:
        turns = {path: _shared(endpoint, origins) for path, endpoint in turns.items()}
    return Paths(
        _shared(app, origins) if origins else app,
        turns,
        prefix=prefix,
        versioned=frozenset({*turns, "/v1/models"}),
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
