"""The accounts and why they rest, in the database. Sessions are sealed by the vault."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog
from msgspec import structs
from sqlalchemy import Delete, Row, delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from qwen_gateway.relay.ports import Check, Secret, StoredAccount, StoredPause
from qwen_gateway.store.database import Database
from qwen_gateway.store.revisions import raise_revision
from qwen_gateway.store.schema import accounts, pauses, revisions, site_files
from qwen_gateway.store.texts import cleaned
from qwen_gateway.store.vault import Vault
from qwen_gateway.turn.faults import BadVault, NameTaken

_LOAD = select(accounts).order_by(accounts.c.created_at, accounts.c.id)
_PAUSES = select(pauses).order_by(pauses.c.account, pauses.c.what)
_FIRST_REVISION = select(revisions.c.number + 1).where(revisions.c.name == "accounts").scalar_subquery()
"""Higher than any that an account ever had: each change of one raises that number as well. So a process that still
holds a removed account does not overwrite the one that was added again under its id."""

_log = structlog.get_logger()


class SqlAccounts:
    """Satisfies `relay.ports.AccountStore`. unreadable: names of the accounts that the last `load` left out."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._lost: frozenset[str] = frozenset()
        self.unreadable: tuple[str, ...] = ()

    async def load(self) -> list[StoredAccount]:
        rows = await self._database.read(partial(_rows, _LOAD))
        found: list[StoredAccount] = []
        lost: list[Row[Any]] = []
        problem: BadVault | None = None
        for row in rows:
            try:
                found.append(self._account(row))
            except BadVault as fault:
                lost.append(row)
                problem = fault
        self._note(lost, problem)
        if problem is not None and not found:
            raise problem
        return found

    def _note(self, lost: list[Row[Any]], problem: BadVault | None) -> None:
        self.unreadable = tuple(row.name for row in lost)
        ids = frozenset(row.id for row in lost)
        if problem is not None and ids != self._lost:
            _log.error("account_unreadable", accounts=sorted(ids), why=problem.text)
        self._lost = ids

    async def put(self, account: StoredAccount) -> int:
        account = structs.replace(account, **cleaned(accounts, {"name": account.name}))
        try:
            return await self._database.write(partial(self._put, account))
        except NameTaken:
            # Of two that add the same account at once, PostgreSQL may stop one at the name, before it looks at the id.
            holder = select(accounts.c.id).where(accounts.c.name == account.name)
            rows = await self._database.read(partial(_rows, holder))
            if [row.id for row in rows] != [account.id]:
                raise
            return await self._database.write(partial(self._put, account))

    async def save_session(self, account_id: str, session: Secret, revision: int) -> int | None:
        sealed = self._vault.seal(session.value, account_id)
        statement = (
            update(accounts)
            .where(accounts.c.id == account_id, accounts.c.revision == revision)
            .values(session=sealed, revision=revision + 1)
        )
        return revision + 1 if await self._changed(statement) else None

    async def set_paused(self, account_id: str, paused: bool) -> bool:
        return await self._change(account_id, {"paused": paused})

    async def set_check(self, account_id: str, check: Check) -> bool:
        return await self._change(account_id, _check_columns(check))

    async def set_undo(self, account_id: str, undo: bytes | None) -> bool:
        return await self._change(account_id, {"undo": self._sealed_undo(account_id, undo)})

    async def remove(self, account_id: str) -> bool:
        async def work(connection: AsyncConnection) -> bool:
            found = await _rowcount(delete(accounts).where(accounts.c.id == account_id), connection) > 0
            rested = await _rowcount(delete(pauses).where(pauses.c.account == account_id), connection) > 0
            await connection.execute(_uploads_of(account_id))
            if found:
                await raise_revision(connection, "accounts")
            if rested:
                await raise_revision(connection, "pauses")
            return found

        return await self._database.write(work)

    async def claim_refresh(self, account_id: str, owner: str, now: float, seconds: float) -> bool:
        free = or_(accounts.c.refresher.is_(None), accounts.c.refresh_until <= now)
        claim = (
            update(accounts)
            .where(accounts.c.id == account_id, free)
            .values(refresher=owner, refresh_until=now + seconds)
        )
        return await self._database.write(partial(_rowcount, claim)) > 0

    async def release_refresh(self, account_id: str, owner: str) -> None:
        ours = update(accounts).where(accounts.c.id == account_id, accounts.c.refresher == owner)
        await self._database.write(partial(_rowcount, ours.values(refresher=None, refresh_until=0.0)))

    async def pauses(self) -> list[StoredPause]:
        return [_pause(row) for row in await self._database.read(partial(_rows, _PAUSES))]

    async def put_pause(self, pause: StoredPause) -> None:
        values = cleaned(pauses, structs.asdict(pause))
        statement = self._database.insert(pauses).values(values)
        key = ("account", "what")
        changed = {name: statement.excluded[name] for name in values if name not in key}

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(statement.on_conflict_do_update(index_elements=key, set_=changed))
            await raise_revision(connection, "pauses")

        await self._database.write(work)

    async def clear_pauses(self, account_id: str) -> None:
        async def work(connection: AsyncConnection) -> None:
            if await _rowcount(delete(pauses).where(pauses.c.account == account_id), connection):
                await raise_revision(connection, "pauses")

        await self._database.write(work)

    async def reseal(self) -> int:
        """Seals with the vault's first key what an earlier one has sealed, all in one transaction.

        Returns how many accounts that were. Raises BadVault, and then nothing is changed.
        """
        return await self._database.write(self._reseal)

    async def remove_unreadable(self) -> list[str]:
        """Removes the accounts whose secrets no key of the vault opens, since that key is lost. Returns their names."""
        return await self._database.write(self._remove_unreadable)

    async def _remove_unreadable(self, connection: AsyncConnection) -> list[str]:
        lost: list[str] = []
        for row in await _rows(_LOAD, connection):
            try:
                self._account(row)
            except BadVault:
                lost.append(row.name)
                await connection.execute(delete(pauses).where(pauses.c.account == row.id))
                await connection.execute(_uploads_of(row.id))
                await connection.execute(delete(accounts).where(accounts.c.id == row.id))
        if lost:
            await raise_revision(connection, "accounts")
            await raise_revision(connection, "pauses")
        return lost

    async def _put(self, account: StoredAccount, connection: AsyncConnection) -> int:
        values = self._columns(account)
        statement = self._database.insert(accounts).values({**values, "revision": _FIRST_REVISION})
        changed: dict[str, Any] = {name: statement.excluded[name] for name in values if name != "id"}
        changed["revision"] = accounts.c.revision + 1
        try:
            done = await connection.execute(
                statement.on_conflict_do_update(index_elements=["id"], set_=changed).returning(accounts.c.revision)
            )
        except IntegrityError:
            raise NameTaken(f"There is another account named {account.name!r}. Choose another name.") from None
        revision: int = done.scalar_one()
        await raise_revision(connection, "accounts")
        return revision

    async def _change(self, account_id: str, values: Mapping[str, object]) -> bool:
        return await self._changed(update(accounts).where(accounts.c.id == account_id).values(values))

    async def _changed(self, statement: Any) -> bool:
        async def work(connection: AsyncConnection) -> bool:
            changed = await _rowcount(statement, connection) > 0
            if changed:
                await raise_revision(connection, "accounts")
            return changed

        return await self._database.write(work)

    async def _reseal(self, connection: AsyncConnection) -> int:
        vault, changed = self._vault, 0
        columns = (accounts.c.id, accounts.c.session, accounts.c.undo)
        for row in await _rows(select(*columns).order_by(accounts.c.id).with_for_update(), connection):
            values: dict[str, bytes] = {}
            if not vault.is_current(row.session):
                values["session"] = vault.reseal(row.session, row.id)
            if row.undo is not None and not vault.is_current(row.undo):
                values["undo"] = vault.reseal(row.undo, _undo_owner(row.id))
            if values:
                await connection.execute(update(accounts).where(accounts.c.id == row.id).values(values))
                changed += 1
        return changed

    def _columns(self, account: StoredAccount) -> dict[str, Any]:
        """All but the revision."""
        return {
            "id": account.id,
            "name": account.name,
            "session": self._vault.seal(account.session.value, account.id),
            "source": account.source,
            "origin": account.origin,
            "paused": account.paused,
            "created_at": account.created_at,
            "undo": self._sealed_undo(account.id, account.undo),
            **_check_columns(account.check),
        }

    def _account(self, row: Row[Any]) -> StoredAccount:
        return StoredAccount(
            id=row.id,
            name=row.name,
            session=Secret(self._vault.open(row.session, row.id)),
            source=row.source,
            origin=row.origin,
            revision=row.revision,
            paused=row.paused,
            created_at=row.created_at,
            check=Check(row.check_state, row.check_at, row.check_text),
            undo=None if row.undo is None else self._vault.open(row.undo, _undo_owner(row.id)),
        )

    def _sealed_undo(self, account_id: str, undo: bytes | None) -> bytes | None:
        return None if undo is None else self._vault.seal(undo, _undo_owner(account_id))


def _uploads_of(account_id: str) -> Delete:
    """Also those under way: of an account that is gone, nothing is kept here."""
    return delete(site_files).where(site_files.c.account == account_id)


def _undo_owner(account_id: str) -> str:
    """Not the account itself: its session is no such thing, and the two cannot be put in each other's place."""
    return f"undo of {account_id}"


def _check_columns(check: Check) -> dict[str, Any]:
    return cleaned(accounts, {"check_state": check.state, "check_at": check.at, "check_text": check.text})


def _pause(row: Row[Any]) -> StoredPause:
    return StoredPause(**row._mapping)  # noqa: SLF001 - public in spite of its name; the columns are the fields


async def _rows(statement: Any, connection: AsyncConnection) -> list[Row[Any]]:
    return list((await connection.execute(statement)).all())


async def _rowcount(statement: Any, connection: AsyncConnection) -> int:
    return int((await connection.execute(statement)).rowcount)
