"""The key of the secrets at rest: where the settings say that it is, and another one in its place."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from qwen_gateway.settings import Settings, SettingsError
from qwen_gateway.store import lock, sealed, vault_keys
from qwen_gateway.store.accounts import SqlAccounts
from qwen_gateway.store.database import Database
from qwen_gateway.store.vault import Vault
from qwen_gateway.store.vault_keys import KeyFile, KeyPlace, KeyRing, KeyTrouble, NoKey

_RUNNING = (
    "A gateway works with the data directory {directory}. Stop it first: it goes on to seal secrets with the key that "
    "it began with. Then run this again, and start it."
)
_NO_KEY = (
    "The database holds accounts, and the key that encrypted them is not found: QWEN_GATEWAY_SECRET_KEY is not set "
    "here, and {place} No other key is made, since it would not open them. Is the variable set for the service and not "
    "for this shell? Then set it here too. Or put the file secret.key back, from a copy of the data directory; "
    "`secret_key_store` says whether it is in the system's keyring instead. If the key is lost for good: "
    "`qwen-gateway secrets forget --lost`, and then log in again."
)
_ODD_LOCK = "Whether a gateway works with the data directory {directory} cannot be seen ({why}). Nothing was changed."


async def vault_of(settings: Settings, database: Database) -> Vault:
    """A key is made where there is none and nothing is sealed yet. Raises SettingsError, and faults of the store."""
    with _told():
        given = _given(settings)
        return Vault(_place(settings).read(create=not await sealed.has_accounts(database)) if given is None else given)


async def unreadable(settings: Settings, database: Database, *, lost: bool) -> list[str]:
    """Names of the accounts that the present key cannot open. lost: where there is no key, none is opened. Raises
    SettingsError, and faults of the store."""
    with _alone(settings):
        return await sealed.unreadable(database, await _present_vault(settings, database, lost=lost))


async def forget_unreadable(settings: Settings, database: Database, *, lost: bool) -> list[str]:
    """Removes those accounts. Returns their names. Raises as `unreadable` does."""
    with _alone(settings):
        return await SqlAccounts(database, await _present_vault(settings, database, lost=lost)).remove_unreadable()


async def _present_vault(settings: Settings, database: Database, *, lost: bool) -> Vault:
    try:
        return await vault_of(settings, database)
    except SettingsError as problem:
        if lost and isinstance(problem.__cause__, NoKey):
            return Vault([vault_keys.new_key()])  # opens nothing, and is not kept: the next start makes one
        raise


async def reseal_all(settings: Settings, database: Database) -> int:
    """Puts a new key in the place of the earlier ones, where the gateway keeps it itself; where the setting gives the
    keys, seals with the first of them what others have sealed. Returns how many accounts' secrets were sealed anew.

    Raises SettingsError, BadVault, StorageUnavailable.
    """
    count = 0

    async def reseal(keys: Sequence[bytes]) -> None:
        nonlocal count
        count = await SqlAccounts(database, Vault(keys)).reseal()

    with _alone(settings), _told():
        if (given := _given(settings)) is not None:
            if len(given) == 1:
                raise SettingsError([_ROTATE_GIVEN])
            await reseal(given)
        else:
            create = not await sealed.has_accounts(database)
            await vault_keys.rotate(_place(settings), reseal, create=create)
    return count


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
