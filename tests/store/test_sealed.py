"""What the database holds under seal, whichever engine it is."""

from cryptography.fernet import Fernet
from sqlalchemy import update

from qwen_gateway.relay.ports import Secret, StoredAccount
from qwen_gateway.store.accounts import SqlAccounts
from qwen_gateway.store.database import Database
from qwen_gateway.store.schema import accounts
from qwen_gateway.store.sealed import has_accounts, unreadable
from qwen_gateway.store.vault import Vault

VAULT, OTHER = Vault([Fernet.generate_key()]), Vault([Fernet.generate_key()])


def account(name: str, *, created_at: float = 0.0, undo: bytes | None = None) -> StoredAccount:
    return StoredAccount(f"id-{name}", name, Secret(b"s"), "imported", "o", created_at=created_at, undo=undo)


async def test_an_account_is_seen(database: Database) -> None:
    assert not await has_accounts(database)
    await SqlAccounts(database, VAULT).put(account("one"))
    assert await has_accounts(database)
    await SqlAccounts(database, VAULT).remove("id-one")
    assert not await has_accounts(database)


async def test_accounts_of_another_key_are_named_oldest_first(database: Database) -> None:
    await SqlAccounts(database, OTHER).put(account("later", created_at=3.0))
    await SqlAccounts(database, OTHER).put(account("first", created_at=1.0))
    await SqlAccounts(database, VAULT).put(account("good", created_at=2.0, undo=b"u"))
    assert await unreadable(database, VAULT) == ["first", "later"]
    assert await unreadable(database, OTHER) == ["good"]


async def test_what_is_named_is_what_would_be_removed(database: Database) -> None:
    store = SqlAccounts(database, VAULT)
    for name in ("good", "undo", "session"):
        await store.put(account(name, undo=b"u"))
    for name, column in (("undo", "undo"), ("session", "session")):
        strange = update(accounts).where(accounts.c.name == name).values({column: OTHER.seal(b"x", f"id-{name}")})
        await database.write(lambda connection, strange=strange: connection.execute(strange))  # type: ignore[misc]
    named = await unreadable(database, VAULT)
    assert sorted(named) == ["session", "undo"]
    assert await store.remove_unreadable() == named
    assert await unreadable(database, VAULT) == []
