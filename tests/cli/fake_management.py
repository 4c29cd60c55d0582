"""The seam `app.management`, with a management that is as simple as can be: lists in memory, no site, no database.

`installed()` also serves processes that a test starts (see test_paste.py).
"""

import sys
import types
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from msgspec import Struct, structs

import qwen_gateway
from qwen_gateway.settings import Settings
from qwen_gateway.turn.catalog import Catalog
from qwen_gateway.turn.faults import Fault, InvalidRequest, NameTaken, NotFound

NOW = 1_800_000_000.0
"""January 2027."""
DAY = 86_400.0


class RestView(Struct, frozen=True):
    what: str
    code: str
    text: str
    until: float


class AccountView(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    source: str = "imported"
    state: str = "valid"
    checked_at: float = 0.0
    check_text: str = ""
    paused: bool = False
    expires_at: float | None = None
    renews_itself: bool = True
    in_use: int = 0
    rests: tuple[RestView, ...] = ()
    warning: str | None = None
    created_at: float = NOW


class LeakView(Struct, frozen=True):
    group: str
    path: str
    value: Any
    why: str


class KeyView(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    role: str = "client"
    created_at: float = NOW
    expires_at: float | None = None
    enabled: bool = True
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    concurrency: int | None = None
    tokens_per_day: int | None = None
    continuation: str | None = None
    tokens_today: int = 0


class Imported(Struct, frozen=True):
    account: AccountView
    renewed: bool = False
    user: str = ""
    kept: tuple[str, ...] = ("12 cookies", "token", "User-Agent")


class UsageSum(Struct, frozen=True, kw_only=True):
    name: str
    requests: int
    failed: int = 0
    input: int = 0
    output: int = 0
    reasoning: int = 0
    cached: int = 0
    estimated: int = 0
    mean_first_event: float | None = None
    mean_added: float = 0.0


class FakeManagement:
    """pasted, asked: what came in. imported: what `import_account` gives or raises."""

    def __init__(self) -> None:
        self.all: list[AccountView] = []
        self.all_keys: list[KeyView] = []
        self.all_leaks: list[LeakView] = []
        self.undoable: list[str] = []
        self.sums: list[UsageSum] = []
        self.imported: Imported | Fault = Imported(AccountView(id="u-1", name="main"))
        self.checks: dict[str, AccountView] = {}
        self.pasted: list[tuple[str, str]] = []
        self.asked: list[tuple[str, float, float]] = []
        self.settings: list[Settings] = []
        self.models: tuple[Catalog, Fault | None] = (Catalog(()), None)

    # -- accounts

    def accounts(self) -> list[AccountView]:
        return self.all

    def account(self, name: str) -> AccountView:
        for account in self.all:
            if name in {account.id, account.name}:
                return account
        raise NotFound(f"There is no account {name!r}.", code="account_not_found")

    async def import_account(self, text: str, name: str = "") -> Imported:
        self.pasted.append((text, name))
        if isinstance(self.imported, Fault):
            raise self.imported
        return self.imported

    async def check(self, name: str) -> AccountView:
        account = self.account(name)
        return self.checks.get(account.id, account)

    async def pause(self, name: str) -> AccountView:
        return self._replaced(name, paused=True)

    async def resume(self, name: str) -> AccountView:
        return self._replaced(name, paused=False, rests=())

    def _replaced(self, name: str, **fields: Any) -> AccountView:
        old = self.account(name)
        self.all[self.all.index(old)] = new = structs.replace(old, **fields)
        return new

    async def remove(self, name: str, *, force: bool = False) -> AccountView:
        account = self.account(name)
        if self.undoable and not force:
            raise InvalidRequest("Put them back first.", code="settings_changed")
        self.all.remove(account)
        return account

    async def leaks(self, name: str) -> list[LeakView]:
        self.account(name)
        return self.all_leaks

    async def silence(self, name: str, groups: Sequence[str]) -> list[LeakView]:
        self.account(name)
        changed = [leak for leak in self.all_leaks if leak.group in groups]
        self.all_leaks = [leak for leak in self.all_leaks if leak not in changed]
        self.undoable = [leak.path for leak in changed]
        return changed

    async def unsilence(self, name: str) -> list[str]:
        self.account(name)
        if not self.undoable:
            raise NotFound("There is nothing to put back.")
        paths, self.undoable = self.undoable, []
        return paths

    # -- keys and usage

    async def keys(self) -> list[KeyView]:
        return self.all_keys

    async def create_key(self, *, name: str, **terms: Any) -> tuple[str, KeyView]:
        if any(key.name == name for key in self.all_keys):
            raise NameTaken(f"There is a key {name!r} already.")
        structlog.get_logger().info("key_created", key=name)
        key = KeyView(id=f"id{len(self.all_keys)}", name=name, **terms)
        self.all_keys.append(key)
        return f"sk-qg-{key.id}-first", key

    async def change_key(self, key_id: str, **terms: Any) -> KeyView:
        old = self._key(key_id)
        self.all_keys[self.all_keys.index(old)] = new = structs.replace(old, **terms)
        return new

    async def set_key_enabled(self, key_id: str, enabled: bool) -> KeyView:
        return await self.change_key(key_id, enabled=enabled)

    async def rotate_key(self, key_id: str) -> tuple[str, KeyView]:
        key = self._key(key_id)
        return f"sk-qg-{key.id}-second", key

    def _key(self, name: str) -> KeyView:
        for key in self.all_keys:
            if name in {key.id, key.name}:
                return key
        raise NotFound(f"There is no key {name!r}.", code="key_not_found")

    async def usage(self, by: str, since: float, until: float) -> list[UsageSum]:
        self.asked.append((by, since, until))
        return self.sums


def installed(management: FakeManagement) -> types.ModuleType:
    """A module `qwen_gateway.app` that opens this management. The caller puts the real one back, if need be."""
    module = types.ModuleType("qwen_gateway.app")

    @asynccontextmanager
    async def opened(settings: Settings) -> AsyncIterator[FakeManagement]:
        management.settings.append(settings)
        yield management

    async def list_models(settings: Settings) -> tuple[Catalog, Fault | None]:
        management.settings.append(settings)
        return management.models

    for seam in (opened, list_models):
        setattr(module, "management" if seam is opened else seam.__name__, seam)
    sys.modules["qwen_gateway.app"] = module
    qwen_gateway.app = module  # type: ignore[attr-defined]
    return module
