"""What the gateway and the commands have in common: the store, the accounts, and the way to the site."""

import os
import random
import secrets
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from qwen_gateway.accounts import credential
from qwen_gateway.accounts.rest import Resting
from qwen_gateway.app.secret_key import vault_of
from qwen_gateway.dialects import DIALECTS
from qwen_gateway.net.transport import HttpTransport
from qwen_gateway.relay.accounts import Accounts, Manners
from qwen_gateway.relay.keeper import Keeper
from qwen_gateway.relay.key_changes import KeyChanges
from qwen_gateway.relay.keys import Keys
from qwen_gateway.relay.pool import Queue
from qwen_gateway.relay.ports import Ambient
from qwen_gateway.relay.renewal import Renewal
from qwen_gateway.settings import Settings, SettingsError
from qwen_gateway.store.accounts import SqlAccounts
from qwen_gateway.store.budgets import SqlBudgets
from qwen_gateway.store.conversations import SqlConversations
from qwen_gateway.store.database import Database, sqlite_url
from qwen_gateway.store.keys import SqlKeys
from qwen_gateway.store.migrate import MigrationFailed, NewerSchema, prepare
from qwen_gateway.store.usage_sums import SqlUsage
from qwen_gateway.store.vault import Vault
from qwen_gateway.turn.faults import StorageUnavailable
from qwen_gateway.upstreams.qwen import QwenSite, SiteConfig
from qwen_gateway.upstreams.qwen.headers import OWN_USER_AGENT

_random = random.Random(secrets.token_bytes(32))  # noqa: S311 - see `new_id`


def new_id() -> str:
    """A UUID of version 4. Ids have to be unlike each other, not secret; `uuid.uuid4` asks the system for each, and
    took a twentieth of a short chat (measured 2026-11-21)."""
    random_bits = _random.getrandbits(128)
    digits = f"{random_bits:032x}"
    variant = "89ab"[random_bits & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


AMBIENT = Ambient(now=time.time, new_id=new_id)
ENDPOINTS = (*(dialect.name for dialect in DIALECTS), "files", "models")
"""What a key can be limited to."""
STALE_AFTER = 60.0
"""Seconds without a word from the database after which a key that is not known is no longer called wrong."""


@dataclass(frozen=True)
class Core:
    """The parts, joined. Open as `core(settings)`. owner: names this process to those that share the database."""

    settings: Settings
    database: Database
    owner: str
    vault: Vault
    site: QwenSite
    transport: HttpTransport
    account_store: SqlAccounts
    keeper: Keeper
    renewal: Renewal
    accounts: Accounts
    keys: Keys
    key_changes: KeyChanges
    budgets: SqlBudgets
    usage: SqlUsage
    conversations: SqlConversations


@asynccontextmanager
async def core(settings: Settings) -> AsyncGenerator[Core, None]:
    """Everything but what serves requests. Raises SettingsError, and faults of the store."""
    database = await open_database(settings)
    transport = HttpTransport(connect_timeout=settings.connect_timeout, own_user_agent=OWN_USER_AGENT)
    try:
        site = QwenSite(_site_config(settings))
        vault = await vault_of(settings, database)
        store = SqlAccounts(database, vault)
        owner = f"{socket.gethostname()[:30]}-{os.getpid()}-{secrets.token_hex(4)}"
        keeper = Keeper(store, AMBIENT, owner)
        key_store = SqlKeys(database)
        static = [key.get_secret_value() for key in settings.api_keys]
        keys = Keys(key_store, AMBIENT, static=static, stale_after=STALE_AFTER)
        yield Core(
            settings,
            database,
            owner,
            vault,
            site,
            transport,
            store,
            keeper,
            Renewal(site, transport, AMBIENT, settings.call_timeout, keeper),
            Accounts(store, keeper, AMBIENT, _manners(settings)),
            keys,
            KeyChanges(keys, key_store, AMBIENT, token_bytes=secrets.token_bytes, endpoints=ENDPOINTS),
            SqlBudgets(database),
            SqlUsage(database),
            SqlConversations(database),
        )
    finally:
        await transport.close()
        await database.close()


async def open_database(settings: Settings) -> Database:
    """The database in today's form. Raises SettingsError."""
    own = settings.data_dir
    try:
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise SettingsError([f"The data directory {own} cannot be used: {problem.strerror}."]) from problem
    url = settings.database_url
    where = sqlite_url(own / "gateway.db") if url is None else url.get_secret_value()
    try:
        database = Database(where, seconds=settings.store_timeout)
    except ModuleNotFoundError as problem:  # the driver is an extra
        raise SettingsError([str(problem)]) from problem
    try:
        await prepare(database, backups=own / "backups")
    except (NewerSchema, MigrationFailed, StorageUnavailable) as problem:
        await database.close()
        raise SettingsError([str(problem)]) from problem
    return database


def _manners(settings: Settings) -> Manners:
    return Manners(
        seats=settings.account_concurrency,
        per_minute=settings.account_pace,
        burst=settings.account_burst,
        rest=Resting(settings.challenge_rest, settings.longest_rest),
        queue=Queue(settings.queue_size, settings.queue_timeout),
        warn_days=settings.warn_days,
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
    """The account of the settings themselves. Raises InvalidRequest."""
    cookies, token = settings.cookies, settings.token
    return credential.read(
        cookies=cookies.get_secret_value() if cookies else None,
        token=token.get_secret_value() if token else None,
        user_agent=settings.user_agent,
    )
