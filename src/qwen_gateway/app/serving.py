"""The server: its socket, its start, and its end at a signal."""

import asyncio
import gc
import os
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog
import uvicorn

from qwen_gateway.app.gateway import CLEAN_UP, gateway
from qwen_gateway.server import logs
from qwen_gateway.server.paths import App
from qwen_gateway.server.protocol import BoundedProtocol
from qwen_gateway.server.service import Service
from qwen_gateway.settings import Settings

ACCEPTS = 32
"""Connections taken in one round of the event loop. libuv takes one for each listening descriptor since 1.45: with
one descriptor and long rounds, new clients waited for ten seconds (2000 streams on one processor, 2026-11-21)."""


class Connected(NamedTuple):
    """An account that is in use. ends: its session, in seconds since 1970, if that is known."""

    name: str
    ends: float | None


class Running(NamedTuple):
    """A gateway that answers requests. `wake` ends the rest of its accounts: what it rested for is over."""

    base_url: str
    wake: Callable[[], None]
    accounts: tuple[Connected, ...] = ()


async def serve(settings: Settings, *, ready: Callable[[Running], None] | None = None) -> None:
    """Serves until SIGTERM or SIGINT. `ready` is called once requests are answered.

    Raises SettingsError, and OSError when the port is taken.
    """
    logs.configure(settings.log_level, settings.log_format, settings.log_file)
    listener = listen(settings.host, settings.port)
    try:
        async with gateway(settings) as (application, service):
            connected = (Connected(one.name, one.session.expires_at) for one in service.accounts.all())
            running = Running(base_url(settings, listener), service.wake, tuple(connected))
            server = Server(config(application, settings), service, running, ready)
            # The listener itself is among them: what the server does not close would go on to take connections.
            await server.serve(sockets=[listener, *(listener.dup() for _ in range(ACCEPTS - 1))])
    finally:
        listener.close()


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that a port that is taken is known before anything starts. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on Windows it means that others may take the port from us
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def base_url(settings: Settings, listener: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listener.getsockname()[1]}{settings.api_prefix}/v1"


def config(application: App, settings: Settings) -> uvicorn.Config:
    options: dict[str, Any] = {
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "lifespan": "off",
        "ws": "none",
        "http": BoundedProtocol,
        "backlog": 4096,
        "timeout_keep_alive": 75,
        # Running answers get this long to end by themselves; then each is told that it is cut off.
        "timeout_graceful_shutdown": settings.drain_seconds,
        "proxy_headers": False,
    }
    return uvicorn.Config(application, **options)


class Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready, and stops to be ready at the first signal."""

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        running: Running,
        ready: Callable[[Running], None] | None,
    ) -> None:
        super().__init__(config)
        self._service, self._running, self._ready = service, running, ready
        service.hang_up = self._hang_up

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _calm_collector()
        # The first request must not wait for the list of models.
        asyncio.get_running_loop().create_task(self._service.models.catalog())
        structlog.get_logger().info("ready", base_url=self._running.base_url)
        if self._ready is not None:
            self._ready(self._running)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # Answers that are cut off have yet to say so to their clients, and to release their chats.
        running = list(self.server_state.tasks)
        if self.force_exit:
            for task in running:
                task.cancel()
        if running:
            await asyncio.wait(running, timeout=CLEAN_UP)
        # Those whose clients read nothing any more: each still has its end to be written down.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for task in (late := [task for task in running if not task.done()]):
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=CLEAN_UP)

    def handle_exit(self, sig: int, frame: Any) -> None:
        if self.should_exit:
            self.force_exit = True  # a second signal, whichever it is
        elif answers := self._service.in_flight:
            structlog.get_logger().info(
                "stopping: running answers may end first; the same signal again stops at once",
                answers=answers,
                seconds_at_most=self.config.timeout_graceful_shutdown,
            )
        self._service.draining = True
        super().handle_exit(sig, frame)

    def _hang_up(self, client: object) -> None:
        """Cuts a connection. Closing it would wait, for ever if need be, until the client has read everything."""
        for connection in list(self.server_state.connections):
            if getattr(connection, "client", None) == client:
                connection.transport.abort()


def _calm_collector() -> None:
    """Lets the garbage collector look less often, and never at what lives as long as the process.

    Each event makes and drops a few objects, none of them in cycles. Looking for cycles after every 700 of them took
    a tenth of a short chat's processor time (measured 2026-11-21).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
