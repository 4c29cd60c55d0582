"""The key of the secrets at rest: where the settings say that it is, and another one in its place."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from qwen_gateway.settings import Settings, SettingsError
from qwen_gateway.store import file_secrets, lock, sealed, vault_keys
from qwen_gateway.store.accounts import SqlAccounts
from qwen_gateway.store.database import Database
from qwen_gateway.store.vault import Vault
from qwen_gateway.store.vault_keys import KeyFile, KeyPlace, KeyRing, KeyTrouble, NoKey

_RUNNING = (
    "A gateway works with the data directory {directory}. Stop it first: it goes on to seal secrets with the key that "
    "it began with. Then run this again, and start it."
)
_NO_KEY = (
    "The database holds accounts or files, and the key that encrypted them is not found: QWEN_GATEWAY_SECRET_KEY is "
    "not set here, and {place} No other key is made, since it would not open them. Is the variable set for the service "
    "and not for this shell? Then set it here too. Or put the file secret.key back, from a copy of the data directory; "
    "`secret_key_store` says whether it is in the system's keyring instead. If the key is lost for good: "
    "`qwen-gateway secrets forget --lost`, and then log in again."
)
_ODD_LOCK = "Whether a gateway works with the data directory {directory} cannot be seen ({why}). Nothing was changed."


@dataclass(frozen=True)
class Resealed:
    """What was sealed anew. accounts, files: how many; files are those that callers keep here."""

    accounts: int
    files: int


@dataclass(frozen=True)
class Unreadable:
    """What the present key cannot open. accounts: names. files: how many that callers keep here. notes: how many of
    uploads, which nobody misses."""

    accounts: list[str]
    files: int
    notes: int


async def vault_of(settings: Settings, database: Database) -> Vault:
    """A key is made where there is none and nothing is sealed yet. Raises SettingsError, and faults of the store."""
    with _told():
        given = _given(settings)
        return Vault(_place(settings).read(create=not await _holds_any(database)) if given is None else given)


async def unreadable(settings: Settings, database: Database, *, lost: bool) -> Unreadable:
    """lost: where there is no key, none is opened. Raises SettingsError, and faults of the store."""
    with _alone(settings):
        vault = await _present_vault(settings, database, lost=lost)
        files = await file_secrets.unreadable(database, vault)
        return Unreadable(await sealed.unreadable(database, vault), files.kept, files.notes)


async def forget_unreadable(settings: Settings, database: Database, *, lost: bool) -> Unreadable:
    """Removes it. What it was. Raises as `unreadable` does."""
    with _alone(settings):
        vault = await _present_vault(settings, database, lost=lost)
        # Files first: accounts take the notes of their uploads along.
        files = await file_secrets.remove_unreadable(database, vault)
        return Unreadable(await SqlAccounts(database, vault).remove_unreadable(), files.kept, files.notes)


async def _present_vault(settings: Settings, database: Database, *, lost: bool) -> Vault:
    try:
        return await vault_of(settings, database)
    except SettingsError as problem:
        if lost and isinstance(problem.__cause__, NoKey):
            return Vault([vault_keys.new_key()])  # opens nothing, and is not kept: the next start makes one
        raise


async def reseal_all(settings: Settings, database: Database) -> Resealed:
    """Puts a new key in the place of the earlier ones, where the gateway keeps it itself; where the setting gives the
    keys, seals with the first of them what others have sealed. One that was cut off is finished by the next.

    Raises SettingsError, BadVault, StorageUnavailable.
    """
    done = Resealed(0, 0)

    async def reseal(keys: Sequence[bytes]) -> None:
        nonlocal done
        vault = Vault(keys)
        accounts = await SqlAccounts(database, vault).reseal()
        done = Resealed(accounts, (await file_secrets.reseal(database, vault)).kept)

    with _alone(settings), _told():
        if (given := _given(settings)) is not None:
            if len(given) == 1:
                raise SettingsError([_ROTATE_GIVEN])
            await reseal(given)
        else:
            await vault_keys.rotate(_place(settings), reseal, create=not await _holds_any(database))
    return done


async def _holds_any(database: Database) -> bool:
    """Whether a key has sealed anything that must not be lost."""
    return await sealed.has_accounts(database) or await file_secrets.has_files(database)


_ROTATE_GIVEN = (
    "The key comes from the setting `secret_key`, which the gateway cannot change. Put a new key before it, with a "
    "comma between them (new,old), run this again, and then take the old one away."
)


def _given(settings: Settings) -> list[bytes] | None:
    if settings.secret_key is None:
        return None
    return vault_keys.parse(settings.secret_key.get_secret_value(), "the setting `secret_key`")


def _place(settings: Settings) -> KeyPlace:
    if settings.secret_key_store == "keyring":  # noqa: S105 - the name of a place
        return KeyRing(settings.data_dir / "secret.lock")
    return KeyFile(settings.data_dir / "secret.key")


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except NoKey as problem:
        raise SettingsError([_NO_KEY.format(place=f"{str(problem)[0].lower()}{str(problem)[1:]}")]) from problem
    except KeyTrouble as problem:
        raise SettingsError([str(problem)]) from problem


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Holds the lock that a running gateway holds on its data directory. Raises SettingsError."""
    directory = settings.data_dir
    try:
        held = lock.take(directory / "chats.lock")
    except lock.Taken as problem:
        raise SettingsError([_RUNNING.format(directory=directory)]) from problem
    except OSError as problem:
        raise SettingsError([_ODD_LOCK.format(directory=directory, why=problem.strerror)]) from problem
    try:
        yield
    finally:
        os.close(held)
