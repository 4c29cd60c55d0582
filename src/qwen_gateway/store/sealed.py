"""What the database holds under seal, looked at before a key is made or accounts are given up."""

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from qwen_gateway.store.database import Database
from qwen_gateway.store.schema import accounts
from qwen_gateway.store.vault import Vault

_SECRETS = select(accounts.c.name, accounts.c.session, accounts.c.undo).order_by(accounts.c.created_at, accounts.c.id)


async def has_accounts(database: Database) -> bool:
    """Whether there is any account, whose session a key has sealed. Raises StorageUnavailable."""

    async def work(connection: AsyncConnection) -> bool:
        return bool((await connection.execute(select(exists(select(accounts.c.id))))).scalar_one())

    return await database.read(work)


async def unreadable(database: Database, vault: Vault) -> list[str]:
    """Names of the accounts whose secrets no key of the vault opens, oldest first. Raises StorageUnavailable."""

    async def work(connection: AsyncConnection) -> list[str]:
        rows = (await connection.execute(_SECRETS)).all()
        return [row.name for row in rows if not all(vault.fits(one) for one in (row.session, row.undo) if one)]

    return await database.read(work)
