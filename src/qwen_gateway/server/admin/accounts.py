"""Accounts: given to the gateway, looked at, checked, paused, removed; and their settings at the site."""

from typing import Annotated

from pydantic import Field

from qwen_gateway.relay.management import Management
from qwen_gateway.relay.ports import AccountState
from qwen_gateway.server.admin.mistakes import Body, Shown
from qwen_gateway.server.admin.routes import Routes
from qwen_gateway.turn.faults import Blocked, ClientFault, LoginExpired

_Until = Annotated[float, Field(description="Seconds since 1970.")]


class NewAccount(Body):
    session: str = Field(
        min_length=1,
        description="What the browser gave: a Cookie header, `Copy as cURL`, a HAR file, cookies.txt, a cookie "
        "editor's export, or a token.",
    )
    name: str = Field(default="", max_length=100, description="Without one, a known account keeps its name.")


class Groups(Body):
    groups: list[str] = Field(
        min_length=1, max_length=10, description="Of `memory`, `personalization` and `tools`.", examples=[["memory"]]
    )


class Rest(Shown):
    what: str = Field(description="The model that rests; empty for the whole account.")
    code: str
    text: str
    until: _Until


class Account(Shown):
    id: str
    name: str
    source: str = Field(description="`imported`, or `environment` for the account of the settings.")
    state: AccountState = Field(description="What the last check found.")
    checked_at: float = Field(description="Seconds since 1970; 0: never.")
    check_text: str
    paused: bool
    expires_at: float | None = Field(description="When a person must log in again, if known; seconds since 1970.")
    renews_itself: bool
    in_use: int = Field(description="Turns that run on it now.")
    rests: list[Rest]
    warning: str | None = Field(description="What its owner should do soon.")
    created_at: _Until


class AccountList(Shown):
    accounts: list[Account]


class ImportedAccount(Shown):
    account: Account
    renewed: bool = Field(description="The account was known before, and has a fresh session now.")
    user: str = Field(description="Whose session it is, as the site says; empty if it could not be asked.")
    kept: list[str] = Field(description="Names of what was kept of the session.")


class Setting(Shown):
    group: str
    path: str
    value: str
    why: str = Field(description="What comes of it in answers.")


class SettingList(Shown):
    settings: list[Setting]


class Restored(Shown):
    restored: list[str] = Field(description="Paths of the settings that are as they were.")


class SessionRefused(ClientFault):
    """The site refuses the session that was just given: not ours to mend, and no failure of the gateway."""

    status = 422


class AccountPages:
    """largest: bytes of a session that is given; a HAR file may be large."""

    def __init__(self, management: Management, *, largest: int) -> None:
        self._management, self._largest = management, largest

    def add_to(self, routes: Routes) -> None:
        one = "/accounts/{name}"
        routes.add("viewer", "GET", "/accounts", self.all, shows=AccountList)
        routes.add("admin", "POST", "/accounts", self.give, shows=ImportedAccount, status=201, largest=self._largest)
        routes.add("viewer", "GET", one, self.one, shows=Account)
        routes.add("admin", "DELETE", one, self.remove, shows=Account)
        routes.add("admin", "POST", f"{one}/check", self.check, shows=Account)
        routes.add("admin", "POST", f"{one}/pause", self.pause, shows=Account)
        routes.add("admin", "POST", f"{one}/resume", self.resume, shows=Account)
        routes.add("admin", "GET", f"{one}/settings", self.settings, shows=SettingList)
        routes.add("admin", "POST", f"{one}/settings/silence", self.silence, shows=SettingList)
        routes.add("admin", "POST", f"{one}/settings/restore", self.restore, shows=Restored)

    async def all(self) -> AccountList:
        """All accounts, oldest first."""
        return AccountList.model_validate({"accounts": self._management.accounts()})

    async def give(self, body: NewAccount) -> ImportedAccount:
        """Give a session of a Qwen account to the gateway.

        It is checked at the site. One that the site refuses is not stored: status 422.
        """
        try:
            imported = await self._management.import_account(body.session, body.name)
        except (LoginExpired, Blocked) as fault:
            raise SessionRefused(fault.text, code=fault.code) from fault
        return ImportedAccount.model_validate(imported)

    async def one(self, name: str) -> Account:
        """One account, by its id or name."""
        return Account.model_validate(self._management.account(name))

    async def remove(self, name: str, force: bool = False) -> Account:
        """Forget an account and its session.

        The answer is the account as it was. One whose settings at the site were switched off is removed only when they
        have been put back, or with `force=true`, which leaves them off for good.
        """
        return Account.model_validate(await self._management.remove(name, force=force))

    async def check(self, name: str) -> Account:
        """Ask the site whether the session is valid.

        What the site says is in `state` and `check_text`. It is asked about an account every 5 seconds at most, for
        this or its settings; else the status is 429.
        """
        return Account.model_validate(await self._management.check(name))

    async def pause(self, name: str) -> Account:
        """Take an account out of use."""
        return Account.model_validate(await self._management.pause(name))

    async def resume(self, name: str) -> Account:
        """Take an account into use again.

        Also ends its rests: a person has solved the check in the browser.
        """
        return Account.model_validate(await self._management.resume(name))

    async def settings(self, name: str) -> SettingList:
        """Settings of the account at the site that show in answers.

        The site is asked, and every 5 seconds at most, as for a check.
        """
        return SettingList.model_validate({"settings": await self._management.leaks(name)})

    async def silence(self, name: str, body: Groups) -> SettingList:
        """Switch off settings of the account at the site that show in answers.

        The answer lists what was on. It can be put back.
        """
        return SettingList.model_validate({"settings": await self._management.silence(name, body.groups)})

    async def restore(self, name: str) -> Restored:
        """Put the settings back that were switched off."""
        return Restored.model_validate({"restored": await self._management.unsilence(name)})
