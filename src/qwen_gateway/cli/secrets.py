"""`secrets`: the key that encrypts the sessions in the database."""

import sys
from typing import Annotated

import typer

from qwen_gateway.cli import options
from qwen_gateway.cli.asking import confirm
from qwen_gateway.cli.managed import quiet_logs
from qwen_gateway.cli.plainly import plain_errors
from qwen_gateway.cli.visible import visible

secrets = typer.Typer(help="Care for the key that encrypts the stored sessions.", no_args_is_help=True)


@secrets.command("rotate")
def rotate(as_json: options.Json = False, config: options.Config = None, set_: options.Set = None) -> None:
    """Encrypt all stored sessions anew, with a new key.

    Stop the gateway first. With a key of your own in QWEN_GATEWAY_SECRET_KEY: put a new one before it (new,old), run
    this, then take the old one out.
    """
    with plain_errors():
        settings = options.load({"config": config, "set": set_}).settings

        import asyncio

        from qwen_gateway import app

        with quiet_logs():
            count = asyncio.run(app.rotate_secret_key(settings))
    if as_json:
        from qwen_gateway.cli.tables import print_json

        print_json({"sealed": count})
        return
    sessions = "1 session is" if count == 1 else f"{count} sessions are"
    if settings.secret_key is None:
        print(f"A new key is made, and {sessions} encrypted with it.\nThe old key is of no use any more.")
    else:
        print(
            f"{sessions} encrypted anew, with the first key of the setting `secret_key`.\n"
            "The keys after it can be taken out now."
        )


@secrets.command("forget")
def forget(
    lost: Annotated[
        bool, typer.Option("--lost", help="There is no key any more, neither here nor for the service.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: options.Json = False,
    config: options.Config = None,
    set_: options.Set = None,
) -> None:
    """Remove the accounts whose stored sessions cannot be decrypted, since the key is lost.

    Stop the gateway first. Its keys and usage stay, and so do the accounts at the site. Log in again afterwards.
    """
    with plain_errors():
        settings = options.load({"config": config, "set": set_}).settings

        import asyncio

        from qwen_gateway import app

        with quiet_logs():
            names = asyncio.run(app.unreadable_accounts(settings, lost=lost))
        if names:
            _announce(names)
            confirm("Remove them from the gateway?", yes=yes)
            with quiet_logs():
                names = asyncio.run(app.forget_unreadable(settings, lost=lost))
    if as_json:
        from qwen_gateway.cli.tables import print_json

        print_json({"removed": names})
    elif names:
        print(f"Removed: {', '.join(visible(name) for name in names)}\nNext: qwen-gateway login")
    else:
        print("Every stored session can be opened with the present key. Nothing was removed.")


def _announce(names: list[str]) -> None:
    print("The present key cannot open the sessions of these accounts:", file=sys.stderr)
    for name in names:
        print(f"  {visible(name)}", file=sys.stderr)
