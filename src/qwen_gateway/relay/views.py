"""What people are shown of accounts and keys. No view holds a secret, so each can go to any screen."""

from typing import Literal, TypedDict

from msgspec import Struct

from qwen_gateway.relay.account import Account
from qwen_gateway.relay.ports import AccountState, Continuation, KeyRecord, Role


class RestView(Struct, frozen=True):
    """What is left alone, and why. what: empty for the whole account, else a model. until: seconds since 1970."""

    what: str
    code: str
    text: str
    until: float


class AccountView(Struct, frozen=True):
    """An account. Times in seconds since 1970.

    state, checked_at (0 for never), check_text: of the last check. expires_at: when a person must log in again, where
    that is known. in_use: turns that run on it now. warning: what its owner should do soon.
    """

    id: str
    name: str
    source: Literal["imported", "environment"]
    state: AccountState
    checked_at: float
    check_text: str
    paused: bool
    expires_at: float | None
    renews_itself: bool
    in_use: int
    rests: tuple[RestView, ...]
    warning: str | None
    created_at: float


class LeakView(Struct, frozen=True):
    """A setting of the account at the site that lets other chats, or its owner's profile, into answers.

    group: one of `accounts.leaks.Group`. path: as `memory.enable_memory`. value, why: for people.
    """

    group: str
    path: str
    value: str
    why: str


class KeyView(Struct, frozen=True):
    """A stored key, without its text. The fields mean what they mean in `ports.KeyRecord`; tokens_today: used since
    midnight UTC."""

    id: str
    name: str
    role: Role
    created_at: float
    expires_at: float | None
    enabled: bool
    models: tuple[str, ...]
    endpoints: tuple[str, ...]
    requests_per_minute: int | None
    concurrency: int | None
    tokens_per_day: int | None
    continuation: Continuation | None
    tokens_today: int


class KeyTerms(TypedDict, total=False):
    """What a key may do; the fields mean what they mean in `ports.KeyRecord`. One not given stays as it is."""

    role: Role
    expires_at: float | None
    models: tuple[str, ...]
    endpoints: tuple[str, ...]
    requests_per_minute: int | None
    concurrency: int | None
    tokens_per_day: int | None
    continuation: Continuation | None


class NamedKeyTerms(KeyTerms, total=False):
    """The same, with its name."""

    name: str


class KeptView(Struct, frozen=True):
    """Chats of an account that are kept at the site. account: its id. name: empty for one that a caller brought, or
    that was removed."""

    account: str
    name: str
    chats: int


class ConversationsView(Struct, frozen=True):
    """Chats that are kept at the site so that conversations go on in them. marked: those that are to be deleted."""

    kept: tuple[KeptView, ...]
    marked: int


class Imported(Struct, frozen=True):
    """What became of a session that was given. renewed: its account was known before. user: `Name <mail>` as the site
    says it, or empty; for the person who gave it, and never stored or logged. kept: names of what was kept."""

    account: AccountView
    renewed: bool
    user: str
    kept: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Imported({self.account.id})"


def account_view(account: Account, now: float, warn_days: float) -> AccountView:
    """warn_days: how long before a session's end its owner is warned."""
    return AccountView(
        id=account.key,
        name=account.name,
        source=account.source,
        state=account.check.state,
        checked_at=account.check.at,
        check_text=account.check.text,
        paused=account.paused,
        expires_at=account.session.expires_at,
        renews_itself=account.session.can_refresh,
        in_use=account.busy,
        rests=tuple(
            RestView(entry.what, entry.code, entry.text, entry.until)
            for entry in account.rest.entries()
            if entry.until > now
        ),
        warning=account.warning(warn_days, account.name),
        created_at=account.created_at,
    )


def key_view(record: KeyRecord, tokens_today: int) -> KeyView:
    return KeyView(
        id=record.id,
        name=record.name,
        role=record.role,
        created_at=record.created_at,
        expires_at=record.expires_at,
        enabled=record.enabled,
        models=record.models,
        endpoints=record.endpoints,
        requests_per_minute=record.requests_per_minute,
        concurrency=record.concurrency,
        tokens_per_day=record.tokens_per_day,
        continuation=record.continuation,
        tokens_today=tokens_today,
    )
