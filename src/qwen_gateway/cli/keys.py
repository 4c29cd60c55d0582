"""`keys`: what programs call the gateway with. The text of a key is shown once, when it is made."""

import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, TypeVar, cast

import typer

from qwen_gateway.cli import options
from qwen_gateway.cli.plainly import fail, plain_errors
from qwen_gateway.cli.spans import moment, read_end, until
from qwen_gateway.cli.views import KeyView, Role
from qwen_gateway.cli.visible import quoted

if TYPE_CHECKING:
    from qwen_gateway.cli.views import Management

T = TypeVar("T")
Continuation = Literal["auto", "replay", "suffix"]
ContinuationOrNone = Literal["auto", "replay", "suffix", "default"]
"""default: as the gateway's setting says."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the key.", show_default=False)]

_NONE = "There are no keys yet. Make one: qwen-gateway keys create --name laptop"
_FIRST = (
    "It is the first key. From now on, programs that call the gateway need one, also those on this machine that had "
    "none: give them this one, or make one for each."
)
_ONCE = "This key is shown only now; the gateway keeps no copy of it. Store it where the program finds it."


class Key(KeyView, Protocol):
    """A key with all that these commands show of it."""

    @property
    def continuation(self) -> Continuation | None: ...


class KeyManagement(Protocol):
    """What these commands want of `relay.management`. A test has mypy compare the two."""

    async def keys(self) -> Sequence[Key]: ...
    async def create_key(  # noqa: PLR0913 - the terms of a key
        self,
        *,
        name: str,
        role: Role,
        expires_at: float | None,
        models: tuple[str, ...],
        endpoints: tuple[str, ...],
        requests_per_minute: int | None,
        concurrency: int | None,
        tokens_per_day: int | None,
        continuation: Continuation | None,
    ) -> tuple[str, Key]: ...
    async def change_key(self, which: str, /, *, continuation: Continuation | None) -> Key: ...
    async def set_key_enabled(self, which: str, enabled: bool, /) -> Key: ...
    async def rotate_key(self, which: str, /) -> tuple[str, Key]: ...


keys = typer.Typer(help="See, make and change the keys of your programs.", no_args_is_help=True)


def _option(flag: str, metavar: str, text: str, least: int | None = None) -> object:
    return typer.Option(flag, metavar=metavar, help=text, show_default=False, min=least)


@keys.command("create")
def create(  # noqa: PLR0913, PLR0917  (each parameter is a flag)
    name: Annotated[str, _option("--name", "NAME", "What to call it, such as the program that uses it.")] = "",
    role: Annotated[
        Role, typer.Option("--role", help="client: takes turns; viewer: sees the console too; admin: changes things.")
    ] = "client",
    expires: Annotated[str | None, _option("--expires", "WHEN", "Days such as 30d, or a date (2026-12-31).")] = None,
    models: Annotated[
        str | None, _option("--models", "NAMES", "Only these, with commas; a star stands for anything (qwen3*).")
    ] = None,
    endpoints: Annotated[
        str | None, _option("--endpoints", "NAMES", "Only these, with commas, such as openai_chat,models.")
    ] = None,
    rpm: Annotated[int | None, _option("--rpm", "N", "Requests per minute.", 1)] = None,
    concurrency: Annotated[int | None, _option("--concurrency", "N", "Requests at the same time.", 1)] = None,
    tokens_per_day: Annotated[int | None, _option("--tokens-per-day", "N", "Tokens per day (UTC).", 1)] = None,
    continuation: Annotated[
        Continuation | None,
        typer.Option("--continuation", help="How its conversations go on at the site.", show_default=False),
    ] = None,
    as_json: options.Json = False,
    config: options.Config = None,
    set_: options.Set = None,
) -> None:
    """Make a key. It is shown once.

    Only the key goes to standard output: KEY=$(qwen-gateway keys create --name laptop)
    """
    expires_at = _end(expires)

    async def work(management: KeyManagement) -> tuple[str, Key, bool]:
        taken = {key.name for key in await management.keys()}
        text, key = await management.create_key(
            name=name or _free_name(taken),
            role=role,
            expires_at=expires_at,
            models=_names(models),
            endpoints=_names(endpoints),
            requests_per_minute=rpm,
            concurrency=concurrency,
            tokens_per_day=tokens_per_day,
            continuation=continuation,
        )
        return text, key, not taken

    with plain_errors():
        text, key, first = _managed(config, set_, work)
        needed_before = options.load({"config": config, "set": set_}).settings.api_keys
    if first and not needed_before:
        _say_it_is_the_first()
    _hand_out(text, key, "The key {name} is made: {terms}.", as_json=as_json)


@keys.command("list")
def list_(as_json: options.Json = False, config: options.Config = None, set_: options.Set = None) -> None:
    """List the keys: role, limits, what they have used today."""
    from qwen_gateway.cli.tables import print_json

    with plain_errors():
        found = _managed(config, set_, lambda management: management.keys())
    if as_json:
        print_json({"keys": found})
    elif found:
        _print_table(list(found), time.time())
    else:
        print(_NONE)


@keys.command("change")
def change(
    name: Name,
    continuation: Annotated[
        ContinuationOrNone,
        typer.Option("--continuation", help="How its conversations go on at the site; default: as the setting says."),
    ],
    as_json: options.Json = False,
    config: options.Config = None,
    set_: options.Set = None,
) -> None:
    """Change how the conversations of a key go on. Everything else of it stays as it is."""
    from qwen_gateway.cli.tables import print_json, say

    wanted = None if continuation == "default" else continuation
    with plain_errors():
        key = _managed(config, set_, lambda management: management.change_key(name, continuation=wanted))
    if as_json:
        print_json(key)
    else:
        say(f"The key {key.name} is changed: {_terms(key)}.")


@keys.command("disable")
def disable(name: Name, as_json: options.Json = False, config: options.Config = None, set_: options.Set = None) -> None:
    """Let a key work no longer, until it is enabled again."""
    said = (
        "The key {name} is disabled: programs that call with it are refused, from within a second on. Answers under "
        "way still end. To undo: qwen-gateway keys enable {quoted}"
    )
    _switch(name, as_json, config, set_, said=said, enabled=False)


@keys.command("enable")
def enable(name: Name, as_json: options.Json = False, config: options.Config = None, set_: options.Set = None) -> None:
    """Let a disabled key work again."""
    _switch(name, as_json, config, set_, said="The key {name} works again.", enabled=True)


@keys.command("rotate")
def rotate(name: Name, as_json: options.Json = False, config: options.Config = None, set_: options.Set = None) -> None:
    """Replace a key by a new one with the same terms. The old one stops working at once."""
    with plain_errors():
        text, key = _managed(config, set_, lambda management: management.rotate_key(name))
    said = "{name} has a new key. The old one no longer works: give the new one to each program that used it."
    _hand_out(text, key, said, as_json=as_json)


def _managed(config: str | None, set_: list[str] | None, work: Callable[[KeyManagement], Awaitable[T]]) -> T:
    """As `managed`, where `cli.views` does not say all that these commands want of keys."""
    from qwen_gateway.cli.managed import managed

    return managed(config, set_, cast("Callable[[Management], Awaitable[T]]", work))


def _switch(
    name: str,
    as_json: bool,
    config: str | None,
    set_: list[str] | None,
    *,
    said: str,
    enabled: bool,
) -> None:
    from qwen_gateway.cli.tables import print_json, say

    with plain_errors():
        key = _managed(config, set_, lambda management: management.set_key_enabled(name, enabled))
    if as_json:
        print_json(key)
    else:
        say(said.format(name=key.name, quoted=quoted(key.name)))


def _hand_out(text: str, key: Key, said: str, *, as_json: bool) -> None:
    import msgspec

    from qwen_gateway.cli.tables import print_json, say

    if as_json:
        print_json({"key": text, **msgspec.to_builtins(key)})
        return
    say(said.format(name=key.name, terms=_terms(key)), err=True)
    say(_ONCE, err=True)
    sys.stderr.flush()
    print(text)


def _say_it_is_the_first() -> None:
    from qwen_gateway.cli.tables import say

    say(_FIRST, err=True)


def _terms(key: Key) -> str:
    end = "without an end" if key.expires_at is None else f"until {moment(key.expires_at)}"
    return f"role {key.role}, {end}, {_limits(key) or 'no limits'}"


def _limits(key: Key) -> str:
    """Empty when there are none."""
    parts = (
        (key.requests_per_minute, "{:,} requests a minute"),
        (key.concurrency, "{:,} at once"),
        (key.tokens_per_day, "{:,} tokens a day"),
        (", ".join(key.models), "only the models {}"),
        (", ".join(key.endpoints), "only the endpoints {}"),
        (key.continuation, "continuation {}"),
    )
    return "; ".join(text.format(value) for value, text in parts if value)


def _print_table(found: list[Key], now: float) -> None:
    from qwen_gateway.cli.tables import print_table, say

    columns = ("name", "id", "role", "works until", "tokens today")
    rows = [(key.name, key.id, key.role, _works_until(key, now), _tokens(key)) for key in found]
    print_table(columns, rows, numbers=("tokens today",), unbroken=("id",))
    for key in found:
        if limits := _limits(key):
            say(f"{key.name}: {limits}")


def _tokens(key: Key) -> str:
    """Only those of keys with a limit are counted by the day; `usage --by key` has all."""
    return "no limit" if key.tokens_per_day is None else f"{key.tokens_today:,}"


def _works_until(key: Key, now: float) -> str:
    if not key.enabled:
        return "disabled"
    return "any time" if key.expires_at is None else until(key.expires_at, now)


def _end(expires: str | None) -> float | None:
    try:
        return None if expires is None else read_end(expires, time.time())
    except ValueError as error:
        raise fail(f"--expires: {error}") from None


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _free_name(taken: set[str]) -> str:
    from itertools import count

    return next(name for number in count(1) if (name := f"key-{number}") not in taken)
