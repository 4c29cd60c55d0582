"""`login`, also called `accounts add`: takes over the login of the person's own browser."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from qwen_gateway.cli import options
from qwen_gateway.cli.plainly import fail, plain_errors
from qwen_gateway.cli.spans import moment, span
from qwen_gateway.cli.visible import quoted, visible

if TYPE_CHECKING:
    from qwen_gateway.cli.views import AccountView, Imported, Management

EXPIRED, BLOCKED, CHALLENGED, UNREACHABLE, UNCLEAR = 3, 4, 5, 6, 7
"""Exit codes."""
EPILOG = (
    "Exit codes: 0 the account can be used; 2 what was given cannot be used; 3 its session has ended; 4 the site "
    "refuses the account or this place; 5 the site wants a human check first; 6 the site cannot be reached; 7 the "
    "site's answer is not understood. After 5, 6 and 7 the login is stored all the same."
)

_HOW = """\
Log in at https://chat.qwen.ai in your browser, open DevTools (F12), Network, and
right-click any request to chat.qwen.ai: Copy as cURL. Or copy its Cookie header.
HAR and cookies.txt files work too: qwen-gateway login --file FILE"""
_PASTE = "Paste it here, then press Enter twice. Nothing is shown. Ctrl-C stops."
_ARGUMENT = """\
a login does not belong on the command line.
Other users of this machine can see it there, and the shell keeps it in its
history. Remove it from the history, run `qwen-gateway login` without it, and
paste; or use --file FILE."""
_RESUMED = "It was paused, and is in use again. Out of use: qwen-gateway accounts pause {name}"
_PAUSED = "It stays paused. Back into use: qwen-gateway accounts resume {name}"
_EXPIRED = """\
this session has ended, so nothing was stored. Log in at
https://chat.qwen.ai in your browser, copy a fresh request, and run
`qwen-gateway login` again."""
_TROUBLE = {
    "challenged": (
        CHALLENGED,
        """\
The site wants to see a human first. Open https://chat.qwen.ai in your browser, send a message there, solve the check.
Then: qwen-gateway accounts resume {name}""",
    ),
    "unreachable": (
        UNREACHABLE,
        """\
The site cannot be reached, so nobody knows yet whether the login is good. Look at your connection.
Then: qwen-gateway accounts check {name}""",
    ),
    "unclear": (
        UNCLEAR,
        """\
The site's answer is not understood, so nobody knows yet whether the login is good.
Look again: qwen-gateway accounts check {name}""",
    ),
    "expired": (EXPIRED, "The session has ended. Log in at https://chat.qwen.ai and run `qwen-gateway login` again."),
    "blocked": (BLOCKED, "The site refuses this account, or this place. Logging in again does not change that."),
}


def login(
    given: Annotated[list[str] | None, typer.Argument(metavar="-", hidden=True)] = None,
    name: Annotated[str, typer.Option("--name", help="What to call the account.", show_default=False)] = "",
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="Read a file; - reads standard input.", show_default=False),
    ] = None,
    as_json: options.Json = False,
    config: options.Config = None,
    set_: options.Set = None,
) -> None:
    """Connect your Qwen account with the login of your own browser."""
    if given and given != ["-"]:
        raise fail(_ARGUMENT)
    with plain_errors():
        imported, resumed = _import(_read(file), name, config, set_)
    if as_json:
        _print_json(imported)
    else:
        _print_text(imported, resumed=resumed)
    if file not in {None, "-"}:
        print(f"{file} still holds your login. Delete it if you need it no longer.", file=sys.stderr)
    code, _ = _TROUBLE.get(imported.account.state, (0, ""))
    raise typer.Exit(code)


def _read(file: str | None) -> str:
    from qwen_gateway.cli import paste

    if file in {None, "-"} and sys.stdin.isatty():
        print(f"{_HOW}\n\n{_PASTE}", file=sys.stderr, flush=True)
    text = paste.read(file)
    if not text.strip():
        raise fail(f"nothing was given.\n{_HOW}")
    return text


def _import(text: str, name: str, config: str | None, set_: list[str] | None) -> "tuple[Imported, bool]":
    """What became of it, and whether that took an account back into use that was paused."""
    from qwen_gateway.cli.managed import managed
    from qwen_gateway.turn.faults import Blocked, LoginExpired

    async def work(management: "Management") -> "tuple[Imported, bool]":
        paused = {account.id for account in management.accounts() if account.paused}
        imported = await management.import_account(text, name)
        return imported, imported.account.id in paused and not imported.account.paused

    try:
        return managed(config, set_, work)
    except LoginExpired:
        print(f"qwen-gateway: {_EXPIRED}", file=sys.stderr)
        raise typer.Exit(EXPIRED) from None
    except Blocked as fault:
        print(f"qwen-gateway: {visible(fault.text)}\nNothing was stored.", file=sys.stderr)
        raise typer.Exit(BLOCKED) from None


def _print_json(imported: "Imported") -> None:
    from qwen_gateway.cli.tables import account_fields, print_json

    account = account_fields(imported.account)
    print_json({"account": account, "renewed": imported.renewed, "user": imported.user, "kept": imported.kept})


def _print_text(imported: "Imported", *, resumed: bool) -> None:
    from qwen_gateway.cli.tables import say

    account = imported.account
    kept = ", ".join(imported.kept)
    say(f"Kept:     {kept}. Everything else was discarded, such as headers that tell browsers apart.")
    say(f"Account:  {account.name} ({'known; it has a fresh session now' if imported.renewed else 'new'})")
    if imported.user:
        say(f"Whose:    {imported.user}")
    # Of a challenge the text below says more.
    told = account.check_text if account.state in _TROUBLE and account.state != "challenged" else ""
    say(f"State:    {account.state}{': ' if told else ''}{told}")
    say(f"Session:  {_session(account, time.time())}")
    if resumed or account.paused:
        say(f"\n{(_RESUMED if resumed else _PAUSED).format(name=quoted(account.name))}")
    if account.warning:
        say(f"\n{account.warning}")
    say(f"\n{_next(account)}")


def _session(account: "AccountView", now: float) -> str:
    end = None if account.expires_at is None else f"{moment(account.expires_at)} ({span(account.expires_at - now)})"
    if account.renews_itself:
        return f"until {end}; the gateway renews it by itself till then" if end else "renewed by the gateway, by itself"
    if end:
        return f"until {end}; it cannot be renewed, so log in again before that"
    return "does not say when it ends, and cannot be renewed"


def _next(account: "AccountView") -> str:
    if account.state in _TROUBLE:
        return f"The login is stored. {_TROUBLE[account.state][1].format(name=quoted(account.name))}"
    return "Next: qwen-gateway serve\nA gateway that already runs uses the account within a second."
