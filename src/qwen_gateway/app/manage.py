"""What commands do without a server: on the same database as a gateway that may be running beside them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from qwen_gateway.app import secret_key
from qwen_gateway.app.core import AMBIENT, Core, core, credential_of, open_database
from qwen_gateway.relay.drive import drive
from qwen_gateway.relay.management import Management
from qwen_gateway.relay.memory import Memory
from qwen_gateway.settings import Settings
from qwen_gateway.turn.catalog import Catalog
from qwen_gateway.turn.faults import Fault

CLOSE = 5.0
"""Seconds at the end to store what the site has given meanwhile."""


def management_of(parts: Core, memory: Memory | None = None) -> Management:
    """memory: of a gateway that serves; commands have none."""
    settings = parts.settings
    return Management(
        accounts=parts.accounts,
        keys=parts.keys,
        key_changes=parts.key_changes,
        budgets=parts.budgets,
        usage=parts.usage,
        conversations=parts.conversations,
        forget=memory.forget if memory is not None else parts.conversations.mark_tenant,
        site=parts.site,
        transport=parts.transport,
        renewal=parts.renewal,
        store=parts.account_store,
        ambient=AMBIENT,
        seconds=settings.call_timeout,
        warn_days=settings.warn_days,
        site_host=urlsplit(settings.site_url).hostname or "",
    )


@asynccontextmanager
async def management(settings: Settings) -> AsyncGenerator[Management, None]:
    """A running gateway on the same database notices what is changed here within a second. Raises SettingsError."""
    async with _ready(settings) as parts:
        yield management_of(parts)


@asynccontextmanager
async def _ready(settings: Settings) -> AsyncGenerator[Core, None]:
    """The parts, with all that the database and the settings know."""
    async with core(settings) as parts:
        parts.keeper.start()
        try:
            if (found := credential_of(settings)) is not None:
                await parts.accounts.adopt(found, source="environment")
            else:
                await parts.accounts.sync()
            await parts.keys.reload()
            yield parts
        finally:
            await parts.renewal.close()
            await parts.keeper.close(CLOSE)


async def list_models(settings: Settings) -> tuple[Catalog, Fault | None]:
    """Today's models for the configured accounts. When the site gives none: the built-in list, and why."""
    async with _ready(settings) as parts:
        try:
            return await fetch_models(parts), None
        except Fault as fault:
            return parts.site.fallback_catalog, fault


async def fetch_models(parts: Core) -> Catalog:
    """Raises faults."""
    account = parts.accounts.any()
    try:
        await parts.renewal.ensure_fresh(account)  # the site takes a dead token for a guest, who sees fewer models
        flow = parts.site.models(account.session, AMBIENT.moment())
        return await drive(flow, parts.transport, account, parts.settings.call_timeout)
    except Fault as fault:
        account.noticed(fault)
        raise


async def rotate_secret_key(settings: Settings) -> secret_key.Resealed:
    """Raises SettingsError, and faults of the store."""
    database = await open_database(settings)
    try:
        return await secret_key.reseal_all(settings, database)
    finally:
        await database.close()


async def unreadable_accounts(settings: Settings, *, lost: bool = False) -> secret_key.Unreadable:
    """Accounts whose sessions cannot be decrypted any more, and files likewise. lost: also when there is no key at all.
    Raises SettingsError, and faults of the store."""
    database = await open_database(settings)
    try:
        return await secret_key.unreadable(settings, database, lost=lost)
    finally:
        await database.close()


async def forget_unreadable(settings: Settings, *, lost: bool = False) -> secret_key.Unreadable:
    """Removes them. What it was. Raises as `unreadable_accounts` does."""
    database = await open_database(settings)
    try:
        return await secret_key.forget_unreadable(settings, database, lost=lost)
    finally:
        await database.close()
