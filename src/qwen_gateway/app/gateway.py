"""Everything but the listening socket: started in order, and stopped in the opposite one."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from qwen_gateway.app.bootstrap import bootstrap_key
from qwen_gateway.app.clean_end import clean_end
from qwen_gateway.app.core import AMBIENT, Core, core, credential_of
from qwen_gateway.app.manage import fetch_models, management_of
from qwen_gateway.app.tokens import Tokens
from qwen_gateway.dialects import DIALECTS
from qwen_gateway.relay.account import DAY
from qwen_gateway.relay.accounts import STATES
from qwen_gateway.relay.allowance import Allowances
from qwen_gateway.relay.chats import Chats
from qwen_gateway.relay.conversations import Conversations, Manner
from qwen_gateway.relay.memory import Memory
from qwen_gateway.relay.models import Models
from qwen_gateway.relay.sweep import Sweep
from qwen_gateway.relay.tools import ToolManner
from qwen_gateway.relay.turns import Limits, Turns
from qwen_gateway.relay.upkeep import Upkeep
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.server import app as server_app
from qwen_gateway.server import logs
from qwen_gateway.server.callers import Door
from qwen_gateway.server.guard import Guard
from qwen_gateway.server.metrics import Metrics, Now
from qwen_gateway.server.pages import Pages
from qwen_gateway.server.paths import App
from qwen_gateway.server.service import Pace, Service, Storage
from qwen_gateway.settings import Settings, SettingsError
from qwen_gateway.settings_values import is_loopback
from qwen_gateway.store.counters import MemoryCounters
from qwen_gateway.store.journal import FileJournal
from qwen_gateway.store.lock import Taken
from qwen_gateway.store.redis_counters import RedisCounters, RedisMissing
from qwen_gateway.store.retention import prune, prune_budgets
from qwen_gateway.store.revisions import SqlRevisions
from qwen_gateway.store.usage import UsageWriter
from qwen_gateway.turn.faults import Fault

CLEAN_UP = 3.0
"""Seconds at the end for deletions that are due; the journal keeps the rest."""
FLUSH = 5.0
"""Seconds at the end for what must not be lost: usage, sessions, budgets."""


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncGenerator[tuple[App, Service], None]:
    """Raises SettingsError."""
    async with AsyncExitStack() as stack:
        journal = _journal(settings)
        stack.callback(journal.close)
        stack.enter_context(clean_end(settings.data_dir))
        parts = await stack.enter_async_context(core(settings))
        models = _models(parts)
        chats = _chats(parts, journal)
        parts.accounts.on_use, parts.accounts.on_forget = chats.take_up, chats.forget
        memory = Memory(parts.conversations, AMBIENT, owner=parts.owner, kept=chats.kept, dropped=chats.drop)
        turns = _turns(parts, models, chats, memory)
        sweep = Sweep(
            parts.conversations,
            chats,
            AMBIENT,
            owner=parts.owner,
            policy=settings.delete_chats,
            most=settings.max_chats,
        )
        counters = _counters(settings)
        stack.push_async_callback(counters.close)
        # Longer than any request: two waits in the line, three answers, and what is small beside these.
        longest = 2 * settings.queue_timeout + 3 * settings.total_timeout + 60
        allowances = Allowances(counters, parts.budgets, AMBIENT, seat_seconds=longest)
        writer = UsageWriter(parts.database)
        upkeep = Upkeep(
            SqlRevisions(parts.database),
            parts.accounts,
            parts.keys,
            parts.renewal,
            AMBIENT,
            lambda now: _prune(parts, now),
        )
        service, application = _face(parts, models, turns, memory, allowances, counters, writer, upkeep)
        writer.start()
        parts.keeper.start()
        # All at once: a database that does not answer is waited for once.
        stack.push_async_callback(_flush, writer.close, allowances.close, parts.keeper.close)
        stack.push_async_callback(parts.renewal.close)
        memory.start()
        stack.push_async_callback(memory.close, FLUSH)
        chats.start()
        stack.push_async_callback(chats.close, CLEAN_UP)
        stack.push_async_callback(sweep.close, CLEAN_UP)
        stack.push_async_callback(upkeep.close)
        stack.push_async_callback(models.close)
        try:
            if (found := credential_of(settings)) is not None:
                await parts.accounts.adopt(found, source="environment")
            await upkeep.start()
            sweep.start()  # only now: it takes on the chats of accounts that are in use
        except Fault as fault:
            raise SettingsError([fault.text]) from fault
        settings.check_exposure(stored_keys=parts.keys.has_any)
        yield application, service


async def _flush(*closes: Callable[[float], Awaitable[None]]) -> None:
    await asyncio.gather(*(close(FLUSH) for close in closes))


async def _prune(parts: Core, now: float) -> int:
    """Deletes what has been kept for long enough. now: seconds since 1970."""
    await prune_budgets(parts.database, int(now // DAY))
    return await prune(parts.database, now - parts.settings.usage_days * DAY)


def _chats(parts: Core, journal: FileJournal) -> Chats:
    return Chats(
        parts.site,
        parts.transport,
        journal,
        AMBIENT,
        renewal=parts.renewal,
        knows=parts.conversations.knows,
        policy=parts.settings.delete_chats,
        seconds=parts.settings.call_timeout,
    )


def _turns(parts: Core, models: Models, chats: Chats, memory: Memory) -> Turns:
    settings = parts.settings
    conversations = Conversations(
        memory,
        parts.site,
        parts.transport,
        parts.renewal,
        AMBIENT,
        secret=parts.conversation_secret.value,
        seconds=settings.call_timeout,
        manner=Manner(
            settings.delete_chats,
            settings.changed_instructions,
            tuple(re.compile(pattern, re.MULTILINE) for pattern in settings.volatile_lines),
            verify=settings.verify_unclean,
            shorten=settings.shorten_results,
        ),
    )
    return Turns(
        parts.site,
        parts.transport,
        models,
        chats,
        conversations,
        AMBIENT,
        renewal=parts.renewal,
        limits=_limits(settings),
        default_thinking=settings.default_thinking,
        tool_manner=ToolManner(
            settings.tool_format,
            settings.tool_arguments,
            nudge=settings.agent_nudge,
            show_site_tools=settings.show_site_tools,
        ),
        tokens=Tokens(),
    )


def _journal(settings: Settings) -> FileJournal:
    try:
        return FileJournal(settings.data_dir / "chats.jsonl")
    except Taken as problem:
        raise SettingsError(
            [f"Another gateway already works with the data directory {settings.data_dir}. Stop it, or set `data_dir`."]
        ) from problem
    except OSError as problem:
        raise SettingsError(
            [f"The data directory {settings.data_dir} cannot be used: {problem.strerror}."]
        ) from problem


def _models(parts: Core) -> Models:
    settings, site = parts.settings, parts.site
    aliases = {name: targets for name, targets in {**site.aliases, **settings.aliases}.items() if targets}
    return Models(lambda: fetch_models(parts), site.fallback_catalog, aliases, AMBIENT, settings.models_ttl)


def _counters(settings: Settings) -> MemoryCounters | RedisCounters:
    if settings.redis_url is None:
        return MemoryCounters()
    try:
        return RedisCounters(settings.redis_url.get_secret_value(), seconds=settings.store_timeout)
    except RedisMissing as problem:
        raise SettingsError([str(problem)]) from problem


def _limits(settings: Settings) -> Limits:
    return Limits(
        first_event=settings.first_event_timeout,
        first_event_thinking=settings.first_event_timeout_thinking,
        idle=settings.idle_timeout,
        total=settings.total_timeout,
    )


def _face(  # noqa: PLR0913, PLR0917 - the parts are joined here, once
    parts: Core,
    models: Models,
    turns: Turns,
    memory: Memory,
    allowances: Allowances,
    counters: MemoryCounters | RedisCounters,
    writer: UsageWriter,
    upkeep: Upkeep,
) -> tuple[Service, App]:
    """The HTTP face over the relay."""
    settings = parts.settings

    def observe(record: TurnRecord) -> None:
        if record.accepted:
            writer.add(record.row())
        metrics.observe(record)
        logs.log_turn(record)

    here = is_loopback(settings.host)
    door = Door(
        parts.keys,
        pass_through=settings.pass_through,
        may_be_open=here,
        bootstrap=bootstrap_key(settings.data_dir),
        clock=time.monotonic,
    )
    service = Service(
        door=door,
        guard=Guard(settings.host, settings.allowed_hosts, settings.allowed_origins),
        accounts=parts.accounts,
        allowances=allowances,
        models=models,
        turns=turns,
        pace=Pace(settings.max_body_bytes, settings.heartbeat, settings.write_timeout, settings.max_in_flight),
        continuation=settings.continuation,
        strict_params=settings.strict_params,
        ambient=AMBIENT,
        observe=observe,
        storage=Storage(lambda: upkeep.problem, lambda: counters.problem, lambda: writer.waiting),
    )
    metrics = Metrics(
        Now(
            in_flight=lambda: service.in_flight,
            chats_pending=lambda: turns.chats.waiting,
            waiting=lambda: parts.accounts.pool.waiting,
            accounts={state: partial(parts.accounts.count, state) for state in STATES},
            usage_waiting=lambda: writer.waiting,
            usage_dropped=lambda: writer.dropped,
            site_closed=lambda: turns.health.state() != "closed",
            store_up=lambda: upkeep.problem is None,
        )
    )
    pages = Pages(service, metrics, listen=settings.host, list_variants=settings.list_variants)
    return service, server_app.build(
        service,
        pages,
        DIALECTS,
        management_of(parts, memory),
        prefix=settings.api_prefix,
        origins=settings.allowed_origins,
    )
