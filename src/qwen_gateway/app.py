"""Joins everything: the only place that knows all packages, and the order in which they start and stop."""

import asyncio
import gc
import os
import socket
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import structlog
import uvicorn

from qwen_gateway.accounts import credential
from qwen_gateway.accounts.rest import Resting
from qwen_gateway.dialects import DIALECTS
from qwen_gateway.net.transport import HttpTransport
from qwen_gateway.relay.accounts import Accounts
from qwen_gateway.relay.chats import Chats
from qwen_gateway.relay.drive import Renewal, drive
from qwen_gateway.relay.models import Models
from qwen_gateway.relay.ports import Ambient
from qwen_gateway.relay.run import Limits, Turns
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.server import app as server_app
from qwen_gateway.server import logs
from qwen_gateway.server.callers import Door
from qwen_gateway.server.guard import Guard
from qwen_gateway.server.metrics import Metrics
from qwen_gateway.server.pages import Pages
from qwen_gateway.server.paths import App
from qwen_gateway.server.protocol import BoundedProtocol
from qwen_gateway.server.service import Pace, Service
from qwen_gateway.settings import Settings, SettingsError
from qwen_gateway.store.journal import FileJournal
from qwen_gateway.store.lock import Taken
from qwen_gateway.turn.catalog import Catalog
from qwen_gateway.turn.faults import Fault
from qwen_gateway.upstreams.qwen import QwenSite, SiteConfig
from qwen_gateway.upstreams.qwen.headers import OWN_USER_AGENT

_AMBIENT = Ambient(now=time.time, new_id=lambda: str(uuid.uuid4()))
ACCEPTS = 32
"""Connections taken in one round of the event loop. libuv takes one for each listening descriptor since 1.45: with
one descriptor and long rounds, new clients waited for ten seconds (2000 streams on one processor, 2026-11-21)."""
CLEAN_UP = 3.0
"""Seconds at the end for deletions that are due; the journal keeps the rest."""


class Running(NamedTuple):
    """A gateway that answers requests. `wake` ends the rest of its accounts: what it rested for is over."""

    base_url: str
    wake: Callable[[], None]


async def serve(settings: Settings, *, ready: Callable[[Running], None] | None = None) -> None:
    """Serves until SIGTERM or SIGINT. `ready` is called once requests are answered.

    Raises SettingsError, and OSError when the port is taken.
    """
    settings.check_exposure()
    logs.configure(settings.log_level, settings.log_format, settings.log_file)
    listener = _listen(settings.host, settings.port)
    try:
        async with _gateway(settings) as (application, service):
            running = Running(_base_url(settings, listener), service.accounts.wake)
            server = _Server(_config(application, settings), service, running, ready)
            # The listener itself is among them: what the server does not close would go on to take connections.
            await server.serve(sockets=[listener, *(listener.dup() for _ in range(ACCEPTS - 1))])
    finally:
        listener.close()


async def list_models(settings: Settings) -> tuple[Catalog, Fault | None]:
    """Today's models for the configured account. When the site gives none: the built-in list, and why."""
    async with _gateway(settings) as (_, service):
        return await service.models.catalog(), service.models.problem


@asynccontextmanager
async def _gateway(settings: Settings) -> AsyncGenerator[tuple[App, Service], None]:
    """Everything but the listening socket, started; stopped in the opposite order."""
    site = QwenSite(_site_config(settings))
    own = credential_of(settings)
    try:
        journal = FileJournal(settings.data_dir / "chats.jsonl")
    except Taken as problem:
        raise SettingsError(
            [f"Another gateway already works with the data directory {settings.data_dir}. Stop it, or set `data_dir`."]
        ) from problem
    except OSError as problem:
        raise SettingsError(
            [f"The data directory {settings.data_dir} cannot be used: {problem.strerror}."]
        ) from problem
    transport = HttpTransport(connect_timeout=settings.connect_timeout, own_user_agent=OWN_USER_AGENT)
    chats = Chats(site, transport, journal, _AMBIENT, policy=settings.delete_chats, seconds=settings.call_timeout)
    accounts = Accounts(
        own,
        chats,
        _AMBIENT,
        user_agent=settings.user_agent,
        rest=Resting(settings.challenge_rest, settings.longest_rest),
    )

    renewal = Renewal(site, transport, _AMBIENT, settings.call_timeout)

    async def fetch_models() -> Catalog:
        account = accounts.any()
        if (rests := account.resting()) is not None:
            raise rests
        try:
            await renewal.ensure_fresh(account)  # the site takes a dead token for a guest, and shows it fewer models
            return await drive(
                site.models(account.session, _AMBIENT.moment()), transport, account, settings.call_timeout
            )
        except Fault as fault:
            account.noticed(fault)
            raise

    aliases = {name: targets for name, targets in {**site.aliases, **settings.aliases}.items() if targets}
    models = Models(fetch_models, site.fallback_catalog, aliases, _AMBIENT, settings.models_ttl)
    turns = Turns(
        site,
        transport,
        models,
        chats,
        _AMBIENT,
        limits=_limits(settings),
        default_thinking=settings.default_thinking,
    )
    service, application = _face(settings, accounts, models, turns)
    chats.start()
    accounts.start()
    try:
        yield application, service
    finally:
        await models.close()
        await chats.close(CLEAN_UP)
        await transport.close()
        journal.close()


def _face(settings: Settings, accounts: Accounts, models: Models, turns: Turns) -> tuple[Service, App]:
    """The HTTP face over the relay."""

    def observe(record: TurnRecord) -> None:
        metrics.observe(record)
        logs.log_turn(record)

    service = Service(
        door=Door([key.get_secret_value() for key in settings.api_keys], pass_through=settings.pass_through),
        guard=Guard(settings.host, settings.allowed_hosts, settings.allowed_origins),
        accounts=accounts,
        models=models,
        turns=turns,
        pace=Pace(settings.max_body_bytes, settings.heartbeat, settings.write_timeout, settings.max_in_flight),
        new_id=_AMBIENT.new_id,
        observe=observe,
    )
    metrics = Metrics(lambda: service.in_flight, lambda: turns.chats.waiting)
    pages = Pages(service, metrics, listen=settings.host, list_variants=settings.list_variants)
    return service, server_app.build(
        service, pages, DIALECTS, prefix=settings.api_prefix, origins=settings.allowed_origins
    )


def _site_config(settings: Settings) -> SiteConfig:
    return SiteConfig(
        url=settings.site_url,
        auth_url=settings.effective_auth_url,
        version=settings.site_version,
        extra_headers=settings.site_headers,
        max_body=settings.max_prompt_bytes,
    )


def credential_of(settings: Settings) -> credential.Credential | None:
    cookies, token = settings.cookies, settings.token
    return credential.read(
        cookies=cookies.get_secret_value() if cookies else None,
        token=token.get_secret_value() if token else None,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        call=settings.call_timeout,
        first_event=settings.first_event_timeout,
        first_event_thinking=settings.first_event_timeout_thinking,
        idle=settings.idle_timeout,
        total=settings.total_timeout,
    )


def _listen(host: str, port: int) -> socket.socket:
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


def _base_url(settings: Settings, listener: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listener.getsockname()[1]}{settings.api_prefix}/v1"


def _config(application: App, settings: Settings) -> uvicorn.Config:
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


class _Server(uvicorn.Server):
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
