"""The account's own settings at the site that show in answers: found, switched off, and put back as they were."""

import asyncio
from collections.abc import Collection, Iterable, Iterator
from typing import Any, get_args

import msgspec

from qwen_gateway.accounts import leaks
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.checks import Checks
from qwen_gateway.relay.ports import AccountStore, Ambient
from qwen_gateway.relay.views import LeakView
from qwen_gateway.turn.contracts import Upstream
from qwen_gateway.turn.faults import InvalidRequest, NotFound

GROUPS: tuple[str, ...] = get_args(leaks.Group)
_Settings = dict[str, Any]
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Silence:
    """All methods raise what the site says, and StorageUnavailable."""

    def __init__(self, site: Upstream, checks: Checks, store: AccountStore, ambient: Ambient) -> None:
        self._site, self._checks, self._store, self._ambient = site, checks, store, ambient
        self.changing = asyncio.Lock()
        """Held while settings are changed, and by who must not be overtaken by that."""

    async def leaks(self, account: Account) -> list[LeakView]:
        return _views(leaks.find(await self._settings(account)))

    async def begin(self, account: Account, groups: Collection[str]) -> list[LeakView]:
        """Switches these groups off. Returns what was on. The way back is stored before anything is changed."""
        _check(groups)
        async with self.changing:
            settings = await self._settings(account)
            changes = leaks.switch_off(settings, groups)
            if not changes:
                return []
            undo = _joined(leaks.undo_of(settings, changes), await self._undo(account) or {})
            if not await self._store.set_undo(account.key, msgspec.json.encode(undo)):
                raise NotFound(f"There is no account {account.name!r} any more.", code="account_not_found")
            await self._change(account, changes)
            return _views(leak for leak in leaks.find(settings) if leak.group in groups)

    async def end(self, account: Account) -> list[str]:
        """Puts back what was switched off. Returns the paths. Raises NotFound when nothing was."""
        async with self.changing:
            undo = await self._undo(account)
            if not undo:
                raise NotFound(
                    f"No setting of the account {account.name!r} was changed by the gateway, so none can be put back.",
                    code="nothing_to_restore",
                )
            await self._change(account, undo)
            await self._store.set_undo(account.key, None)
            return sorted(_paths(undo))

    async def has_changed(self, account: Account) -> bool:
        """Whether there is something to put back."""
        return bool(await self._stored(account))

    async def _settings(self, account: Account) -> _Settings:
        return await self._checks.ask(account, lambda: self._site.settings(account.session, self._ambient.moment()))

    async def _change(self, account: Account, changes: _Settings) -> None:
        # What comes back may still show the old values (2026-09), so it proves nothing.
        moment = self._ambient.moment
        await self._checks.ask(account, lambda: self._site.change_settings(account.session, moment(), changes))

    async def _undo(self, account: Account) -> _Settings | None:
        stored = await self._stored(account)
        return None if stored is None else _decode(stored)

    async def _stored(self, account: Account) -> bytes | None:
        return next((row.undo for row in await self._store.load() if row.id == account.key), None)


def _check(groups: Collection[str]) -> None:
    for index, group in enumerate(groups):
        if group not in GROUPS:
            raise InvalidRequest(
                f"There is no group {group[:40]!r}. There are: {', '.join(GROUPS)}.", param=f"groups[{index}]"
            )
    if not groups:
        raise InvalidRequest(f"Name one group at least, of: {', '.join(GROUPS)}.", param="groups")


def _views(found: Iterable[leaks.Leak]) -> list[LeakView]:
    return [LeakView(leak.group, leak.path, leak.value, leak.why) for leak in found]


def _joined(new: _Settings, old: _Settings) -> _Settings:
    """Both, one level of sections deep. What was stored first wins: later values may be of our own making."""
    joined = {**new, **old}
    for section in new.keys() & old.keys():
        if isinstance(new[section], dict) and isinstance(old[section], dict):
            joined[section] = {**new[section], **old[section]}
    return joined


def _paths(undo: _Settings) -> Iterator[str]:
    for section, values in undo.items():
        if isinstance(values, dict):
            yield from (f"{section}.{key}" for key in values)
        else:
            yield section
