"""What a person can do with accounts, keys, usage and kept chats: behind the management API and the command line alike.

Accounts and keys are named by their name or id. Nothing that is returned holds a secret, but for the text of a key that
was just made.
"""

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Sequence
from typing import Unpack

import structlog

from qwen_gateway.accounts import imports
from qwen_gateway.accounts.credential import Credential
from qwen_gateway.accounts.pace import Pace
from qwen_gateway.accounts.rest import Rest, Resting
from qwen_gateway.accounts.session import Session
from qwen_gateway.relay.account import DAY, Account
from qwen_gateway.relay.accounts import Accounts
from qwen_gateway.relay.checks import Checks, Looks, OtherUser
from qwen_gateway.relay.key_changes import KeyChanges, Terms
from qwen_gateway.relay.keys import Keys
from qwen_gateway.relay.ports import (
    AccountStore,
    Ambient,
    Budgets,
    Check,
    ConversationStore,
    KeyRecord,
    Transport,
    UsageBy,
    UsageQueries,
    UsageRow,
    UsageSum,
)
from qwen_gateway.relay.renewal import Renewal
from qwen_gateway.relay.silence import Silence
from qwen_gateway.relay.views import (
    AccountView,
    ConversationsView,
    Imported,
    KeptView,
    KeyTerms,
    KeyView,
    LeakView,
    NamedKeyTerms,
    account_view,
    key_view,
)
from qwen_gateway.turn.contracts import Upstream, User
from qwen_gateway.turn.faults import (
    Blocked,
    Challenged,
    Fault,
    InvalidRequest,
    LoginExpired,
    NameTaken,
)

LONGEST_NAME = 100

_log = structlog.get_logger()


class Management:
    """All methods raise StorageUnavailable when the database does not answer, and those that name an account or a key
    NotFound. Those that ask the site raise its faults, unless they say otherwise.

    seconds: bounds each call to the site. warn_days: how long before a session's end its owner is warned. site_host:
    sessions are taken from what was copied of it, and of the hosts of qwen.ai. forget: marks all chats of a tenant.
    """

    def __init__(  # noqa: PLR0913 - the parts are joined here, once
        self,
        *,
        accounts: Accounts,
        keys: Keys,
        key_changes: KeyChanges,
        budgets: Budgets,
        usage: UsageQueries,
        conversations: ConversationStore,
        forget: Callable[[str], Awaitable[int]],
        site: Upstream,
        transport: Transport,
        renewal: Renewal,
        store: AccountStore,
        ambient: Ambient,
        seconds: float,
        warn_days: float,
        site_host: str,
    ) -> None:
        self._accounts, self._store = accounts, store
        self._keys, self._key_changes, self._budgets, self._usage = keys, key_changes, budgets, usage
        self._conversations, self._forget = conversations, forget
        self._ambient, self._warn_days, self._site_host = ambient, warn_days, site_host
        self._checks = Checks(site, transport, renewal, ambient, seconds)
        self._looks = Looks(ambient)
        self._silence = Silence(site, self._checks, store, ambient)

    # -- accounts

    def accounts(self) -> list[AccountView]:
        """Oldest first."""
        return [self._view(account) for account in self._accounts.all()]

    def account(self, name: str) -> AccountView:
        return self._view(self._accounts.find(name))

    async def import_account(self, text: str, name: str = "") -> Imported:
        """Takes a session in any form that a browser hands out, and stores it unless the site refuses it. Where the
        site could not be asked, or asks for a person, the session is stored with a check that says so.

        Raises InvalidRequest, NameTaken, and LoginExpired or Blocked of the site; then nothing is stored.
        """
        name = _checked_name(name)
        found = await asyncio.to_thread(
            imports.read_any, text, now=self._ambient.now(), site=self._site_host
        )  # a HAR file is large
        session = Session(found)
        # Before the site is asked: a renewal uses up what was pasted, and must not fail to be stored for a reason that
        # could be known.
        await self._accounts.sync()
        known = self._check_name_is_free(name, session.key)
        visitor = Account(session, Rest(Resting(1)), self._ambient, seats=1, pace=Pace(1, 1))
        user: User | None = None
        problem: Fault | None = None
        try:
            user = await self._checks.visit(visitor)
            check = self._checks.passed()
        except (LoginExpired, Blocked, OtherUser):
            raise
        except Fault as fault:
            problem, check = fault, self._checks.failed(fault)
        account = await self._keep(found, name, session, check)
        if isinstance(problem, Challenged):
            account.noticed(problem)
        _log.info("account_imported", account=account.key, renewed=known, state=check.state)
        return Imported(self._view(account), known, _told(user), _kept(found))

    async def _keep(self, found: Credential, name: str, session: Session, check: Check) -> Account:
        """session: made of what was found, and perhaps renewed since."""
        account = await self._accounts.adopt(found, name, session=session)
        await self._store.set_check(account.key, check)
        await self._accounts.sync()
        return account

    def _check_name_is_free(self, name: str, key: str) -> bool:
        """Whether the account of this key is known. Raises NameTaken when another one has the name."""
        accounts = self._accounts.all()
        if name and any(name in (account.name, account.key) and account.key != key for account in accounts):
            raise NameTaken(f"Another account already has the name {name!r}.", param="name")
        return any(account.key == key for account in accounts)

    async def check(self, name: str) -> AccountView:
        """Asks the site about the session. What it says is the result, never raised. Raises LimitReached, as `leaks`
        does, when the site was asked about the account just now."""
        account = self._accounts.find(name)
        with self._looks.one(account.key):
            check = await self._checks.check(account)
        await self._store.set_check(account.key, check)
        account.check = check
        return self._view(account)

    async def pause(self, name: str) -> AccountView:
        return await self._set_paused(name, paused=True)

    async def resume(self, name: str) -> AccountView:
        """Also ends the account's rests: a person says that what they were for is over."""
        return await self._set_paused(name, paused=False)

    async def _set_paused(self, name: str, *, paused: bool) -> AccountView:
        account = self._accounts.find(name)
        await self._accounts.pause(account, paused=paused)
        return self._view(account)

    async def remove(self, name: str, *, force: bool = False) -> AccountView:
        """The account as it was. Raises InvalidRequest when settings that the gateway changed at the site could not be
        put back any more; force: removes it nevertheless."""
        account = self._accounts.find(name)
        async with self._silence.changing:
            if not force and await self._silence.has_changed(account):
                raise _still_changed(account.name)
            view = self._view(account)
            await self._accounts.remove(account)
        _log.info("account_removed", account=account.key)
        return view

    async def leaks(self, name: str) -> list[LeakView]:
        """Settings of the account at the site that show in answers. Raises LimitReached."""
        account = self._accounts.find(name)
        with self._looks.one(account.key):
            return await self._silence.leaks(account)

    async def silence(self, name: str, groups: Sequence[str]) -> list[LeakView]:
        """Switches these groups of settings off at the site. Returns what was on. Raises InvalidRequest."""
        account = self._accounts.find(name)
        changed = await self._silence.begin(account, groups)
        _log.info("account_silenced", account=account.key, settings=[leak.path for leak in changed])
        return changed

    async def unsilence(self, name: str) -> list[str]:
        """Puts back what was switched off. Returns the paths. Raises NotFound when there is nothing to put back."""
        account = self._accounts.find(name)
        restored = await self._silence.end(account)
        _log.info("account_settings_restored", account=account.key, settings=restored)
        return restored

    def _view(self, account: Account) -> AccountView:
        return account_view(account, self._ambient.now(), self._warn_days)

    # -- keys

    async def keys(self) -> list[KeyView]:
        """Oldest first."""
        used = await self._used_today()
        return [key_view(record, used.get(record.id, 0)) for record in self._keys.records()]

    async def key(self, which: str) -> KeyView:
        return await self._key_view(self._keys.get(which))

    async def create_key(self, name: str, **terms: Unpack[KeyTerms]) -> tuple[str, KeyView]:
        """The key's text, which nobody can get again. Raises InvalidRequest, NameTaken."""
        text, record = await self._key_changes.create(Terms(name=name, **terms))
        _log.info("key_created", key=record.id, role=record.role)
        return text, key_view(record, 0)

    async def change_key(self, which: str, **terms: Unpack[NamedKeyTerms]) -> KeyView:
        """Raises InvalidRequest, NameTaken."""
        record = await self._key_changes.change(which, Terms(**terms))
        _log.info("key_changed", key=record.id, changed=sorted(terms))
        return await self._key_view(record)

    async def set_key_enabled(self, which: str, enabled: bool) -> KeyView:
        record = await (self._key_changes.enable if enabled else self._key_changes.disable)(which)
        _log.info("key_enabled" if enabled else "key_disabled", key=record.id)
        return await self._key_view(record)

    async def rotate_key(self, which: str) -> tuple[str, KeyView]:
        """A new text for the same key. The old one stops to work at once."""
        text, record = await self._key_changes.rotate(which)
        _log.info("key_rotated", key=record.id)
        return text, await self._key_view(record)

    async def _key_view(self, record: KeyRecord) -> KeyView:
        return key_view(record, (await self._used_today()).get(record.id, 0))

    async def _used_today(self) -> dict[str, int]:
        return await self._budgets.used(int(self._ambient.now() // DAY))

    # -- usage

    async def usage(self, by: UsageBy, since: float, until: float) -> list[UsageSum]:
        """since, until: seconds since 1970, `until` not included."""
        return await self._usage.sums(by, since, until)

    async def usage_rows(self, since: float, until: float, limit: int) -> Sequence[UsageRow]:
        """The newest first. limit: at most 1000."""
        return await self._usage.rows(since, until, limit)

    # -- chats that are kept at the site

    async def conversations(self) -> ConversationsView:
        """By the accounts' ids."""
        counts = await self._conversations.count()
        marked = counts.pop("", 0)
        names = {account.key: account.name for account in self._accounts.all()}
        return ConversationsView(
            tuple(KeptView(key, names.get(key, ""), chats) for key, chats in sorted(counts.items())), marked
        )

    async def forget_conversations(self, which: str) -> int:
        """No conversation of this key goes on any more, and its chats are to be deleted at the site. How many those
        are. which: a key's id or name; of a key of the settings, its id."""
        key_id = self._keys.id_of(which)
        marked = await self._forget(key_id)
        _log.info("conversations_forgotten", key=key_id, chats=marked)
        return marked


def _checked_name(name: str) -> str:
    name = name.strip()
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidRequest(
            f"The name of an account has at most {LONGEST_NAME} characters, all of which can be printed.", param="name"
        )
    if "/" in name:  # it could not be named in an address
        raise InvalidRequest("The name of an account has no slash.", param="name")
    return name


def _still_changed(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"The gateway has switched off settings of this account at the site, and only it knows what they were. Put "
        f"them back first: qwen-gateway accounts settings {shlex.quote(name)} --undo. Or remove the account by force, "
        "and its settings stay as they are.",
        code="settings_changed",
    )


def _told(user: User | None) -> str:
    if user is None:
        return ""
    told = f"{user.name} <{user.email}>" if user.email else user.name
    return "".join(one for one in told[:200] if one.isprintable())  # it goes to terminals


def _kept(found: Credential) -> tuple[str, ...]:
    count = len(found.cookies)
    cookies = f"{count} cookie{'s' if count != 1 else ''}" if count else ""
    return tuple(
        part for part in (cookies, "token" if found.token else "", "User-Agent" if found.user_agent else "") if part
    )
