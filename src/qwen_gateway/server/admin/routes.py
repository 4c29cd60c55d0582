"""How a route of the management API comes to be: with a role, or not at all.

The role is checked before anything of the request but its head is read. Whatever else is asked for below the prefix
wants a viewer's key too, so a stranger does not even learn what there is.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import msgspec
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from qwen_gateway.server.admin.mistakes import Refused, fault_of
from qwen_gateway.server.body import read_body
from qwen_gateway.server.pages import refusal
from qwen_gateway.server.paths import Scope
from qwen_gateway.server.service import Service
from qwen_gateway.turn.faults import Bug, Fault, InvalidRequest, NotFound, WrongMethod

PREFIX = "/api/admin"
TAG = "management"
SMALL = 32 * 1024
"""Bytes of a request's body, unless a route takes more."""

Needed = Literal["viewer", "admin"]
Serve = Callable[[Request], Awaitable[Response]]

_log = structlog.get_logger()


class UndeclaredRole(Exception):
    """A route below the prefix says of nobody who may call it."""


class AdminRoute(APIRoute):
    """role: what the caller's key must at least be. largest: bytes of the body."""

    def __init__(
        self, path: str, endpoint: Callable[..., Any], *, role: Needed, gate: "Gate", largest: int, **options: Any
    ) -> None:
        self.role, self.largest = role, largest
        self._gate = gate
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Any]:
        serve = super().get_route_handler()

        async def gated(request: Request) -> Response:
            return await self._gate.serve(request, self, serve)

        return gated


class Gate:
    """What every call passes: Host and Origin, the key and its role, and only then its body."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def serve(self, request: Request, route: AdminRoute, serve: Serve) -> Response:
        by = ""
        try:
            by = self._admit(request, route.role)
            if route.body_field is not None:
                request = await _with_body(request, route.largest)
            reply = await serve(request)
        except Fault as fault:
            reply = refusal(fault)
        except RequestValidationError as mistake:
            reply = refusal(fault_of(mistake.errors()))
        except HTTPException:  # FastAPI's word for a body that is no text, or nested too deeply
            reply = refusal(InvalidRequest("The body cannot be read as JSON.", code="invalid_json"))
        except Exception:  # noqa: BLE001 - as for turns: a mistake of ours ends here, and the log has the trace
            _log.exception("bug", route=route.path)
            reply = refusal(Bug("The gateway made a mistake. Its log says more."))
        reply.headers["cache-control"] = "no-store"
        reply.headers["x-content-type-options"] = "nosniff"
        if by and request.method != "GET":
            _log.info("managed", route=f"{request.method} {route.path}", by=by, status=reply.status_code)
        return reply

    def _admit(self, request: Request, role: Needed) -> str:
        """The id of the caller's key."""
        scope = request.scope
        self._service.guard.check(scope["headers"])
        peer = scope.get("client")
        caller = self._service.door.admit_admin(
            scope["headers"], scope["path"], scope["query_string"], None if peer is None else peer[0], role
        )
        return "" if caller.key is None else caller.key.id


async def _with_body(request: Request, largest: int) -> Request:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise InvalidRequest(
            "Send a JSON object, with the header `content-type: application/json`.", code="unsupported_content_type"
        )
    return _Read(request.scope, await read_body(request.receive, request.scope["headers"], largest))


class _Read(Request):
    """A request whose body is here. A large one is decoded beside the event loop, where turns go on meanwhile."""

    def __init__(self, scope: Scope, body: bytes) -> None:
        super().__init__(scope)
        self._body = body

    async def json(self) -> Any:
        decode = partial(decoded, self._body)
        return await asyncio.to_thread(decode) if len(self._body) > SMALL else decode()


def decoded(body: bytes) -> Any:
    """Raises JSONDecodeError, as FastAPI expects it."""
    try:
        return msgspec.json.decode(body)  # a tenth of the time, in which no other thread runs
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return json.loads(body)  # which also says where it went wrong


class Routes:
    """The routes of one application below the prefix."""

    def __init__(self, app: FastAPI, gate: Gate) -> None:
        self._app, self._gate = app, gate
        self._added: list[AdminRoute] = []
        check(app.router.routes)

    def add(  # noqa: PLR0913 - what a route is
        self,
        role: Needed,
        method: str,
        path: str,
        endpoint: Callable[..., Any],
        *,
        shows: type,
        status: int = 200,
        largest: int = SMALL,
    ) -> None:
        """shows: the model of the answer. The endpoint's docstring is what the documentation says."""
        summary = (endpoint.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        route = AdminRoute(
            PREFIX + path,
            endpoint,
            role=role,
            gate=self._gate,
            largest=largest,
            methods=[method],
            status_code=status,
            response_model=shows,
            summary=summary,
            description=f"{_flat(endpoint.__doc__)} Wants a key with the role `{role}`.",
            tags=[TAG],
            responses={"default": {"model": Refused, "description": "What was wrong."}},
            openapi_extra={"security": [{"key": []}], "x-role": role},
        )
        self._put(route)

    def close(self) -> None:
        """Everything else below the prefix: nothing, and only viewers are told so."""
        for path in (PREFIX, PREFIX + "/{rest:path}"):
            route = AdminRoute(path, self._nothing, role="viewer", gate=self._gate, largest=0, include_in_schema=False)
            route.methods = set()  # any: the router itself would tell strangers which ones there are
            self._put(route)

    def _put(self, route: AdminRoute) -> None:
        self._added.append(route)
        self._app.router.routes.append(route)

    async def _nothing(self, request: Request) -> None:
        path, method = request.scope["path"], request.method
        others = (route for route in self._added if route.include_in_schema)
        if any(route.matches(request.scope)[0] is Match.PARTIAL for route in others):
            raise WrongMethod(f"{method[:20]} is not for {path[:200]!r}.")
        raise NotFound(f"There is nothing at {path[:200]!r}. The documentation at /docs lists what there is.")


def check(routes: Sequence[BaseRoute]) -> None:
    """Raises UndeclaredRole when a request below the prefix could reach a route without a role."""
    for path, route in _all(routes):
        fixed = path.partition("{")[0]
        reaches = f"{fixed}/".startswith(f"{PREFIX}/") or (path != fixed and PREFIX.startswith(fixed))
        if reaches and not isinstance(route, AdminRoute):
            raise UndeclaredRole(f"The route {path!r} does not say which role it wants. Add it by `Routes.add`.")


def _all(routes: Sequence[BaseRoute], above: str = "") -> Iterator[tuple[str, BaseRoute]]:
    """Each route with its whole path, also those inside mounts and included routers. A mount takes all below it."""
    for route in routes:
        inner: Sequence[BaseRoute] = getattr(route, "routes", None) or ()
        path = above + getattr(route, "path", "")
        if inner:
            yield from _all(inner, path)
        else:
            yield (path if hasattr(route, "methods") else path + "/{rest:path}"), route


def _flat(text: str | None) -> str:
    return " ".join((text or "").split())
