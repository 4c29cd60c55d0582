"""The key of what is sealed: found, made once, and never made beside what another key has sealed."""

import base64
import hashlib
import io
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pytest
from pydantic import SecretStr

from qwen_gateway.app import forget_unreadable, rotate_secret_key, unreadable_accounts
from qwen_gateway.app.core import open_database
from qwen_gateway.app.secret_key import Resealed, Unreadable, vault_of
from qwen_gateway.relay.file_ports import StoredFile
from qwen_gateway.relay.ports import Secret, StoredAccount
from qwen_gateway.settings import Settings, SettingsError
from qwen_gateway.store import file_secrets, lock
from qwen_gateway.store.accounts import SqlAccounts
from qwen_gateway.store.database import Database
from qwen_gateway.store.files import SqlFiles
from qwen_gateway.store.site_files import SqlSiteFiles
from qwen_gateway.store.vault import Vault
from qwen_gateway.turn.faults import BadVault

DATA = b"what a caller keeps"
NOTHING = Unreadable([], 0, 0)
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


class Bytes:
    """Satisfies `turn.files.Content`."""

    size, sha256 = len(DATA), hashlib.sha256(DATA).hexdigest()

    def reader(self) -> BinaryIO:
        return io.BytesIO(DATA)

    def close(self) -> None:
        pass


async def keep(directory: Path, database: Database, number: int, key: str = KEY) -> StoredFile:
    file = StoredFile(f"file-{number}", "t", "n", "p", "text/plain", "document", Bytes.size, Bytes.sha256, 1.0)
    await SqlFiles(database, directory / "files", Vault([key.encode()])).add(file, Bytes())
    return file


async def read(directory: Path, database: Database, file: StoredFile, vault: Vault) -> bytes:
    content = await SqlFiles(database, directory / "files", vault).content(file)
    with content.reader() as source:
        data = source.read()
    content.close()
    return data


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
    assert await unreadable_accounts(settings(sealed), lost=True) == Unreadable(["a", "b"], 0, 0)
    assert keys(sealed) == []
    assert await forget_unreadable(settings(sealed), lost=True) == Unreadable(["a", "b"], 0, 0)
    await vault_of(settings(sealed), database)
    assert keys(sealed) == ["secret.key"]


async def test_only_what_the_present_key_cannot_open_is_forgotten(sealed: Path, database: Database) -> None:
    assert await forget_unreadable(settings(sealed, KEY), lost=True) == NOTHING
    store = SqlAccounts(database, await vault_of(settings(sealed, f"{OTHER},{KEY}"), database))
    await store.put(StoredAccount("id-c", "c", Secret(b"s"), "imported", "o"))
    assert await unreadable_accounts(settings(sealed, KEY)) == Unreadable(["c"], 0, 0)
    assert await forget_unreadable(settings(sealed, KEY)) == Unreadable(["c"], 0, 0)


async def test_while_a_gateway_runs_nothing_is_changed(sealed: Path, database: Database) -> None:
    held = lock.take(sealed / "chats.lock")
    try:
        for change in (unreadable_accounts, forget_unreadable, rotate_secret_key):
            with pytest.raises(SettingsError, match=r"A gateway works with the data directory .* Stop it first"):
                await change(settings(sealed, OTHER))
    finally:
        os.close(held)
    assert await unreadable_accounts(settings(sealed, OTHER)) == Unreadable(["a", "b"], 0, 0)


async def test_an_odd_lock_is_told_plainly(sealed: Path) -> None:
    (sealed / "chats.lock").mkdir()
    for change in (unreadable_accounts, forget_unreadable, rotate_secret_key):
        with pytest.raises(SettingsError, match="cannot be seen"):
            await change(settings(sealed, KEY))


async def test_with_the_wrong_key_a_rotation_changes_nothing(sealed: Path) -> None:
    with pytest.raises(BadVault):
        await rotate_secret_key(settings(sealed, f"{OTHER},{OTHER}"))
    assert await rotate_secret_key(settings(sealed, f"{OTHER},{KEY}")) == Resealed(accounts=2, files=0)


# Files


async def test_beside_kept_files_alone_no_other_key_is_made(tmp_path: Path, database: Database) -> None:
    await keep(tmp_path, database, 1)
    for change in (unreadable_accounts, forget_unreadable, rotate_secret_key):
        with pytest.raises(SettingsError, match="holds accounts or files"):
            await change(settings(tmp_path))
    with pytest.raises(SettingsError, match="holds accounts or files"):
        await vault_of(settings(tmp_path), database)
    assert keys(tmp_path) == []


async def test_a_lost_key_takes_kept_files_along_and_then_a_new_one_is_made(sealed: Path, database: Database) -> None:
    for number in range(3):
        await keep(sealed, database, number)
    await SqlFiles(database, sealed / "files", Vault([KEY.encode()])).remove("t", "file-2")
    assert await forget_unreadable(settings(sealed), lost=True) == Unreadable(["a", "b"], 2, 0)
    vault = await vault_of(settings(sealed), database)
    assert keys(sealed) == ["secret.key"]
    store = SqlFiles(database, sealed / "files", vault)
    assert await store.get("t", "file-1", 2.0) is None
    assert await store.prune(2.0) == 0
    assert list((sealed / "files").iterdir()) == []


async def test_files_that_no_key_opens_are_told_and_forgotten_also_when_all_accounts_can_be_opened(
    sealed: Path, database: Database
) -> None:
    good, lost = await keep(sealed, database, 1), await keep(sealed, database, 2, OTHER)
    site = SqlSiteFiles(database, Vault([OTHER.encode()]))
    await site.parted(await site.begin("id-a", b"d", "o", 1.0), Secret(b"parts"))
    for change in (unreadable_accounts, forget_unreadable):
        assert await change(settings(sealed, KEY)) == Unreadable([], files=1, notes=1)
    assert await unreadable_accounts(settings(sealed, KEY)) == NOTHING
    assert await read(sealed, database, good, Vault([KEY.encode()])) == DATA
    assert await SqlFiles(database, sealed / "files", Vault([OTHER.encode()])).get("t", lost.id, 2.0) is None


async def test_files_are_sealed_anew_with_the_accounts(sealed: Path, database: Database) -> None:
    file = await keep(sealed, database, 1)
    assert await rotate_secret_key(settings(sealed, f"{OTHER},{KEY}")) == Resealed(accounts=2, files=1)
    assert await read(sealed, database, file, Vault([OTHER.encode()])) == DATA
    assert await unreadable_accounts(settings(sealed, OTHER)) == NOTHING


async def test_a_rotation_that_ends_between_accounts_and_files_is_finished_by_the_next(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await vault_of(settings(tmp_path), database)
    key = (tmp_path / "secret.key").read_text().strip()
    await SqlAccounts(database, first).put(StoredAccount("id-a", "a", Secret(b"s"), "imported", "o"))
    files = [await keep(tmp_path, database, number, key) for number in range(3)]
    times = 0
    plain = Vault.reseal

    def killed(vault: Vault, value: bytes, owner: str) -> bytes:
        nonlocal times
        times += owner.startswith("file ")
        if times == 2:
            raise KeyError
        return plain(vault, value, owner)

    async def check(keys: Sequence[bytes]) -> None:
        for file in files:
            assert await read(tmp_path, database, file, Vault(keys)) == DATA
        assert len(await SqlAccounts(database, Vault(keys)).load()) == 1

    monkeypatch.setattr(file_secrets, "BATCH", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Vault, "reseal", killed)
        with pytest.raises(KeyError):
            await rotate_secret_key(settings(tmp_path))
    halfway = (tmp_path / "secret.key").read_bytes().split()
    assert (len(halfway), halfway[1]) == (2, key.encode())
    await check(halfway)
    await rotate_secret_key(settings(tmp_path))
    (newest,) = (tmp_path / "secret.key").read_bytes().split()
    assert newest not in halfway
    await check([newest])
