"""The key of what is sealed: found, made once, and never made beside accounts that another key has sealed."""

import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from qwen_gateway.app import forget_unreadable, rotate_secret_key, unreadable_accounts
from qwen_gateway.app.core import open_database
from qwen_gateway.app.secret_key import vault_of
from qwen_gateway.relay.ports import Secret, StoredAccount
from qwen_gateway.settings import Settings, SettingsError
from qwen_gateway.store import lock
from qwen_gateway.store.accounts import SqlAccounts
from qwen_gateway.store.database import Database
from qwen_gateway.turn.faults import BadVault

KEY, OTHER = (base64.urlsafe_b64encode(bytes([byte]) * 32).decode() for byte in (1, 2))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def settings(directory: Path, key: str | None = None) -> Settings:
    return Settings(data_dir=directory, secret_key=None if key is None else SecretStr(key))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await open_database(settings(tmp_path))
    yield opened
    await opened.close()


@pytest.fixture
async def sealed(tmp_path: Path, database: Database) -> Path:
    """A data directory whose accounts `a` and `b` are sealed with KEY, which the environment gave."""
    store = SqlAccounts(database, await vault_of(settings(tmp_path, KEY), database))
    for name in ("a", "b"):
        await store.put(StoredAccount(f"id-{name}", name, Secret(b"s"), "imported", "o"))
    return tmp_path


def keys(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.suffix == ".key")


async def test_the_first_key_is_made_where_nothing_is_sealed(tmp_path: Path, database: Database) -> None:
    await vault_of(settings(tmp_path), database)
    assert keys(tmp_path) == ["secret.key"]


async def test_a_key_of_the_settings_makes_no_file(tmp_path: Path, database: Database) -> None:
    await vault_of(settings(tmp_path, KEY), database)
    assert keys(tmp_path) == []


async def test_beside_sealed_accounts_no_other_key_is_made(sealed: Path, database: Database) -> None:
    told = "QWEN_GATEWAY_SECRET_KEY is not set here.*there is no file .*secret.key.*not for this shell"
    with pytest.raises(SettingsError, match=told):
        await vault_of(settings(sealed), database)
    with pytest.raises(SettingsError, match=told):
        await rotate_secret_key(settings(sealed))
    with pytest.raises(SettingsError, match=told):
        await unreadable_accounts(settings(sealed))
    with pytest.raises(SettingsError, match=told):
        await forget_unreadable(settings(sealed))
    assert keys(sealed) == []
    assert len(await SqlAccounts(database, await vault_of(settings(sealed, KEY), database)).load()) == 2


async def test_a_lost_key_takes_all_its_accounts_along_once_that_is_said(sealed: Path, database: Database) -> None:
    assert await unreadable_accounts(settings(sealed), lost=True) == ["a", "b"]
    assert keys(sealed) == []
    assert await forget_unreadable(settings(sealed), lost=True) == ["a", "b"]
    await vault_of(settings(sealed), database)
    assert keys(sealed) == ["secret.key"]


async def test_only_what_the_present_key_cannot_open_is_forgotten(sealed: Path, database: Database) -> None:
    assert await forget_unreadable(settings(sealed, KEY), lost=True) == []
    store = SqlAccounts(database, await vault_of(settings(sealed, f"{OTHER},{KEY}"), database))
    await store.put(StoredAccount("id-c", "c", Secret(b"s"), "imported", "o"))
    assert await unreadable_accounts(settings(sealed, KEY)) == ["c"]
    assert await forget_unreadable(settings(sealed, KEY)) == ["c"]


async def test_while_a_gateway_runs_nothing_is_changed(sealed: Path, database: Database) -> None:
    held = lock.take(sealed / "chats.lock")
    try:
        for change in (unreadable_accounts, forget_unreadable, rotate_secret_key):
            with pytest.raises(SettingsError, match=r"A gateway works with the data directory .* Stop it first"):
                await change(settings(sealed, OTHER))
    finally:
        os.close(held)
    assert await unreadable_accounts(settings(sealed, OTHER)) == ["a", "b"]


async def test_an_odd_lock_is_told_plainly(sealed: Path) -> None:
    (sealed / "chats.lock").mkdir()
    for change in (unreadable_accounts, forget_unreadable, rotate_secret_key):
        with pytest.raises(SettingsError, match="cannot be seen"):
            await change(settings(sealed, KEY))


async def test_with_the_wrong_key_a_rotation_changes_nothing(sealed: Path) -> None:
    with pytest.raises(BadVault):
        await rotate_secret_key(settings(sealed, f"{OTHER},{OTHER}"))
    assert await rotate_secret_key(settings(sealed, f"{OTHER},{KEY}")) == 2
