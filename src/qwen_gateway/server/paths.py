"""One spelling for each path: clients write `/v1/x`, `/x`, `//v1/x/`, or put a prefix before it."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Paths:
    """ASGI middleware, the outermost one.

    prefix: such as `/qwen`, stripped where it stands. versioned: paths that also go without `/v1` before them.
    turns: paths whose endpoints write `x-request-id` themselves; for all others it is added here.
    """

    def __init__(
        self, app: App, prefix: str, versioned: frozenset[str], turns: frozenset[str], new_id: Callable[[], str]
    ) -> None:
        self._app = app
        self._prefix = prefix
        self._versioned = versioned
        self._turns = turns
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path not in self._turns:
            path = scope["path"] = self.plain(path)
            scope["raw_path"] = path.encode()
        if path not in self._turns or scope["method"] != "POST":
            send = self._with_id(send)
            if scope["method"] == "OPTIONS" and not _is_preflight(scope):
                await _empty(send)
                return
        await self._app(scope, receive, send)

    def plain(self, path: str) -> str:
        """The one spelling of `path`."""
        path = "/" + "/".join(part for part in path.split("/") if part)
        if self._prefix and (path == self._prefix or path.startswith(self._prefix + "/")):
            path = path[len(self._prefix) :] or "/"
        if path.startswith("/v1/"):
            return path
        first = "/v1/" + path[1:].partition("/")[0]
        return "/v1" + path if "/v1" + path in self._versioned or first in self._versioned else path

    def _with_id(self, send: Send) -> Send:
        request_id = self._new_id().encode()

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        return sent


def _is_preflight(scope: Scope) -> bool:
    return any(name == b"access-control-request-method" for name, _ in scope["headers"])


async def _empty(send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", b"GET, HEAD, POST, OPTIONS")]})
    await send({"type": "http.response.body", "body": b""})
