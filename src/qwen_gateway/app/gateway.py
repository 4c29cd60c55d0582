"""Everything but the listening socket: started in order, and stopped in the opposite one."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from qwen_gateway.app.ask_journal import gather
from qwen_gateway.app.bootstrap import bootstrap_key
from qwen_gateway.app.clean_end import clean_end
from qwen_gateway.app.core import AMBIENT, Core, core, credential_of
from qwen_gateway.app.files import FileParts, files_of
from qwen_gateway.app.manage import management_of
from qwen_gateway.app.presence import present
from qwen_gateway.app.turns import chats_of, models_of, turns_of
from qwen_gateway.dialects import DIALECTS
from qwen_gateway.relay.account import DAY
from qwen_gateway.relay.accounts import STATES
from qwen_gateway.relay.allowance import Allowances
from qwen_gateway.relay.file_pieces import Pieces
from qwen_gateway.relay.files import Files
from qwen_gateway.relay.memory import Memory
from qwen_gateway.relay.models import Models
from qwen_gateway.relay.sweep import Sweep
from qwen_gateway.relay.tickets import Tickets
from qwen_gateway.relay.turns import Turns
from qwen_gateway.relay.upkeep import Upkeep
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.server import app as server_app
from qwen_gateway.server import logs
from qwen_gateway.server.callers import Door
from qwen_gateway.server.guard import Guard
from qwen_gateway.server.metrics import Metrics, Now
from qwen_gateway.server.pages import Pages
from qwen_gateway.server.paths import App
from qwen_gateway.server.service import Desk, Pace, Service, Storage
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
        gather(journal, settings.data_dir)
        stack.enter_context(clean_end(settings.data_dir))
        parts = await stack.enter_async_context(core(settings))
        stack.enter_context(present(settings.data_dir, parts.owner))
        models = models_of(parts)
        chats = chats_of(parts, journal)
        parts.accounts.on_use, parts.accounts.on_forget = chats.take_up, chats.forget
        memory = Memory(parts.conversations, AMBIENT, owner=parts.owner, kept=chats.kept, dropped=chats.drop)
        files = files_of(parts)
        stack.push_async_callback(files.close, FLUSH)
        turns = turns_of(parts, models, chats, memory, files.attachments)
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
        # Longer than any request: on two accounts a wait in the line, the files, and another wait; three answers; and
        # what is small beside these.
        longest = 2 * (2 * settings.queue_timeout + settings.upload_timeout) + 3 * settings.total_timeout + 60
        allowances = Allowances(counters, parts.budgets, AMBIENT, seat_seconds=longest)
        writer = UsageWriter(parts.database)
        upkeep = Upkeep(
            SqlRevisions(parts.database),
            parts.accounts,
            parts.keys,
            parts.renewal,
            AMBIENT,
            lambda now: _prune(parts, files, now),
        )
        service, application = _face(parts, models, turns, memory, files, allowances, counters, writer, upkeep)
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


async def _prune(parts: Core, files: FileParts, now: float) -> dict[str, int]:
    """Deletes what has been kept for long enough. now: seconds since 1970. How many rows, and files of callers."""
    await files.sweep()
    return {
        "budgets": await prune_budgets(parts.database, int(now // DAY)),
        "usage": await prune(parts.database, now - parts.settings.usage_days * DAY),
        "files": await files.kept.prune(now),  # last: a folder that cannot be read keeps nothing else from going
    }


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


def _counters(settings: Settings) -> MemoryCounters | RedisCounters:
    if settings.redis_url is None:
        return MemoryCounters()
    try:
        return RedisCounters(settings.redis_url.get_secret_value(), seconds=settings.store_timeout)
    except RedisMissing as problem:
        raise SettingsError([str(problem)]) from problem


def _desk(parts: Core, turns: Turns, files: FileParts) -> Desk:
    kept = Files(files.kept, AMBIENT, files.keep)
    tickets = Tickets(
        parts.site,
        parts.transport,
        parts.renewal,
        turns.health,
        AMBIENT,
        seconds=parts.settings.call_timeout,
    )
    return Desk(files.spool, kept, Pieces(files.pieces, kept, AMBIENT), tickets)


def _face(  # noqa: PLR0913, PLR0917 - the parts are joined here, once
    parts: Core,
    models: Models,
    turns: Turns,
    memory: Memory,
    files: FileParts,
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
        desk=_desk(parts, turns, files),
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
            uploads=lambda: files.uploads.counts,
            spooled=lambda: files.spool.used,
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
