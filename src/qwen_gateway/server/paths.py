"""One spelling for each path: clients write `/v1/x`, `/x`, `//v1/x/`, or put a prefix before it."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Paths:
    """The outermost ASGI application.

    app: everything. turns: endpoints that are called straight from here, by path: a framework's layers would be
    a sixth of a short chat's cost (measured 2026-11-21). They write `x-request-id` themselves; for all others it
    is added here. prefix: such as `/qwen`, stripped where it stands. versioned: paths that also go without `/v1`
    before them. gated: a path below which nothing is answered or stripped here, whatever the prefix is.
    """

    def __init__(
        self,
        app: App,
        turns: Mapping[str, App],
        *,
        prefix: str,
        versioned: frozenset[str],
        gated: str,
        new_id: Callable[[], str],
    ) -> None:
        self._app, self._turns = app, turns
        self._prefix, self._versioned, self._gated, self._new_id = prefix, versioned, gated, new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path not in self._turns:
            scope["asked_path"] = path
            path = scope["path"] = self.plain(path)
            scope["raw_path"] = path.encode()
        method = scope["method"]
        if method == "POST" and (turn := self._turns.get(path)) is not None:
            await turn(scope, receive, send)
        elif method == "OPTIONS" and not _is_preflight(scope) and not is_below(path, self._gated):
            await _empty(self._with_id(scope, send))
        else:
            await self._app(scope, receive, self._with_id(scope, send))

    def plain(self, path: str) -> str:
        """The one spelling of `path`."""
        path = "/" + "/".join(part for part in path.split("/") if part)
        # With the prefix `/api`, `/api/admin/keys` has none before it, and `/api/api/admin/keys` has.
        bare = is_below(path, self._gated) and not is_below(path, self._prefix + self._gated)
        if self._prefix and is_below(path, self._prefix) and not bare:
            path = path[len(self._prefix) :] or "/"
        if path.startswith("/v1/"):
            return path
        first = "/v1/" + path[1:].partition("/")[0]
        return "/v1" + path if "/v1" + path in self._versioned or first in self._versioned else path

    def _with_id(self, scope: Scope, send: Send) -> Send:
        """The id is for the log too, as `scope["request_id"]`."""
        scope["request_id"] = self._new_id()
        request_id = scope["request_id"].encode()

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        return sent


def is_below(path: str, top: str) -> bool:
    """Whether `path`, in its one spelling, is `top` or something below it."""
    return path == top or path.startswith(top + "/")


def _is_preflight(scope: Scope) -> bool:
    return any(name == b"access-control-request-method" for name, _ in scope["headers"])


async def _empty(send: Send) -> None:
    allowed = (b"allow", b"GET, HEAD, POST, PATCH, DELETE, OPTIONS")
    await send({"type": "http.response.start", "status": 204, "headers": [allowed]})
    await send({"type": "http.response.body", "body": b""})
