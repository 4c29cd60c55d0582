"""`accounts`: the Qwen accounts that the gateway may use, their state, and taking them in and out of use."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from qwen_gateway.cli import login, options, site_settings
from qwen_gateway.cli.asking import confirm
from qwen_gateway.cli.plainly import plain_errors
from qwen_gateway.cli.spans import span, until
from qwen_gateway.cli.visible import quoted, visible

if TYPE_CHECKING:
    from qwen_gateway.cli.views import AccountView, Management

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the account.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_NONE = "No Qwen account is connected yet. Connect yours: qwen-gateway login"

accounts = typer.Typer(help="See and change the Qwen accounts that the gateway may use.", no_args_is_help=True)
accounts.command("add", epilog=login.EPILOG, help="Connect an account: the same as `qwen-gateway login`.")(login.login)


@accounts.command("list")
def list_(as_json: options.Json = False, config: options.Config = None, set_: options.Set = None) -> None:
    """List them: state, end of the session, what rests."""
    from qwen_gateway.cli.managed import managed

    async def work(management: "Management") -> "list[AccountView]":
        return list(management.accounts())

    with plain_errors():
        found = managed(config, set_, work)
    if as_json:
        _print_json(found)
    elif found:
        _print_table(found, time.time())
    else:
        print(_NONE)


@accounts.command("check")
def check(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name or id; all without one.", show_default=False)
    ] = None,
    as_json: options.Json = False,
    config: options.Config = None,
    set_: options.Set = None,
) -> None:
    """Ask the site whether it knows the account. Exit code 1 if it does not say a clear yes."""
    from qwen_gateway.cli.managed import managed

    async def work(management: "Management") -> "list[AccountView]":
        names = [account.id for account in management.accounts()] if name is None else [name]
        return [await management.check(one) for one in names]  # one after the other: nobody hurries

    with plain_errors():
        found = managed(config, set_, work)
    if as_json:
        _print_json(found)
    else:
        _print_checks(found)
    if not found or any(account.state != "valid" for account in found):
        raise typer.Exit(1)


@accounts.command("pause")
def pause(name: Name, as_json: options.Json = False, config: options.Config = None, set_: options.Set = None) -> None:
    """Take an account out of use. Answers under way still end."""
    from qwen_gateway.cli.managed import managed

    with plain_errors():
        account = managed(config, set_, lambda management: management.pause(name))
    _tell(account, as_json, "{name} is paused. Back into use: qwen-gateway accounts resume {quoted}")


@accounts.command("resume")
def resume(name: Name, as_json: options.Json = False, config: options.Config = None, set_: options.Set = None) -> None:
    """Take an account back into use, and end its rests.

    Run this when you have solved the site's check in your browser.
    """
    from qwen_gateway.cli.managed import managed

    with plain_errors():
        account = managed(config, set_, lambda management: management.resume(name))
    _tell(account, as_json, "{name} is in use again, and what rested of it may be tried at once.")


@accounts.command("remove")
def remove(
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="Also if settings that were switched off at the site then stay off.")
    ] = False,
    yes: Yes = False,
    as_json: options.Json = False,
    config: options.Config = None,
    set_: options.Set = None,
) -> None:
    """Forget an account's session. The account at the site stays as it is."""
    from qwen_gateway.cli.managed import managed

    async def find(management: "Management") -> "AccountView":
        return management.account(name)

    with plain_errors():
        account = managed(config, set_, find)
        shown = visible(account.name)
        confirm(f"Forget the session of {shown}? Your account at chat.qwen.ai stays as it is.", yes=yes)
        managed(config, set_, lambda management: management.remove(account.id, force=force))
    _tell(account, as_json, "{name} is removed from the gateway. Your account at chat.qwen.ai stays as it is.")
    if account.source == "environment":
        print(
            "It comes from the settings (cookies or token): take it out there too, or the next start brings it back.",
            file=sys.stderr,
        )


accounts.command("settings")(site_settings.settings)


def _print_json(found: "list[AccountView]") -> None:
    from qwen_gateway.cli.tables import account_fields, print_json

    print_json({"accounts": [account_fields(account) for account in found]})


def _tell(account: "AccountView", as_json: bool, text: str) -> None:
    from qwen_gateway.cli.tables import account_fields, print_json, say

    if as_json:
        print_json(account_fields(account))
    else:
        say(text.format(name=account.name, quoted=quoted(account.name)))


def _print_table(found: "list[AccountView]", now: float) -> None:
    from qwen_gateway.cli.tables import print_table, say

    print_table(("name", "state", "session until", "rests"), [_row(account, now) for account in found])
    for account in found:
        for text in dict.fromkeys([*_trouble(account), *(rest.text for rest in account.rests)]):
            say(f"{account.name}: {text}")
        if account.warning:
            say(account.warning)


def _trouble(account: "AccountView") -> list[str]:
    return [account.check_text] if account.check_text and account.state not in {"valid", "unchecked"} else []


def _row(account: "AccountView", now: float) -> tuple[str, list[str], str, list[str]]:
    checked = f"checked {span(now - account.checked_at)} ago" if account.checked_at else ""
    state = [part for part in ("paused" if account.paused else "", account.state, checked) if part]
    end = "unknown" if account.expires_at is None else until(account.expires_at, now)
    rests = [f"{f'{rest.what}: ' if rest.what else ''}{span(rest.until - now)}" for rest in account.rests]
    return account.name, state, end, rests or ["no"]


def _print_checks(found: "list[AccountView]") -> None:
    from qwen_gateway.cli.tables import say

    if not found:
        print(_NONE, file=sys.stderr)
    for account in found:
        say(f"{account.name}: {' – '.join([account.state, *_trouble(account)])}")
