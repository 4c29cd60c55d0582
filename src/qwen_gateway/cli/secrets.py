"""`secrets`: the key that encrypts the sessions in the database, and the files that callers keep here."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from qwen_gateway.cli import options
from qwen_gateway.cli.asking import confirm
from qwen_gateway.cli.managed import quiet_logs
from qwen_gateway.cli.plainly import plain_errors
from qwen_gateway.cli.visible import visible

secrets = typer.Typer(help="Care for the key that encrypts stored sessions and kept files.", no_args_is_help=True)


@secrets.command("rotate")
def rotate(as_json: options.Json = False, config: options.Config = None, set_: options.Set = None) -> None:
    """Encrypt all stored sessions and kept files anew, with a new key.

    Stop the gateway first. With a key of your own in QWEN_GATEWAY_SECRET_KEY: put a new one before it (new,old), run
    this, then take the old one out.
    """
    with plain_errors():
        settings = options.load({"config": config, "set": set_}).settings

        import asyncio

        from qwen_gateway import app

        with quiet_logs():
            done = asyncio.run(app.rotate_secret_key(settings))
    if as_json:
        from qwen_gateway.cli.tables import print_json

        print_json({"sealed": done.accounts, "files": done.files})
        return
    what = _counted(done.accounts, "session")
    if done.files:
        what = f"{what} and {_counted(done.files, 'kept file')}"
    what += " is" if (done.accounts, done.files) == (1, 0) else " are"
    if settings.secret_key is None:
        print(f"A new key is made, and {what} encrypted with it.\nThe old key is of no use any more.")
    else:
        print(
            f"{what} encrypted anew, with the first key of the setting `secret_key`.\n"
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
    """Remove accounts whose stored sessions cannot be decrypted, since the key is lost; likewise kept files.

    Stop the gateway first. Its keys and usage stay, and so do the accounts at the site. Log in again afterwards.
    """
    with plain_errors():
        settings = options.load({"config": config, "set": set_}).settings

        import asyncio

        from qwen_gateway import app

        with quiet_logs():
            found = asyncio.run(app.unreadable_accounts(settings, lost=lost))
        if found.accounts or found.files or found.notes:
            _announce(found.accounts, _counts(found.files, found.notes))
            confirm("Remove them from the gateway?", yes=yes)
            with quiet_logs():
                found = asyncio.run(app.forget_unreadable(settings, lost=lost))
    if as_json:
        from qwen_gateway.cli.tables import print_json

        print_json({"removed": found.accounts, "files": found.files})
    elif removed := [*map(visible, found.accounts), *_counts(found.files, found.notes)]:
        print(f"Removed: {', '.join(removed)}")
        if found.accounts:
            print("Next: qwen-gateway login")
    else:
        print("Every stored session and kept file can be opened with the present key. Nothing was removed.")


def _announce(names: Sequence[str], counts: Sequence[str]) -> None:
    if names:
        print("The present key cannot open the sessions of these accounts:", file=sys.stderr)
        for name in names:
            print(f"  {visible(name)}", file=sys.stderr)
    if counts:
        begin = "Nor can it" if names else "The present key cannot"
        print(f"{begin} open {' and '.join(counts)}.", file=sys.stderr)


def _counts(files: int, notes: int) -> list[str]:
    """Those that there are. notes: of uploads, which nobody misses."""
    counts = [_counted(files, "kept file"), _counted(notes, "note about uploads", "notes about uploads")]
    return [text for text, number in zip(counts, (files, notes), strict=True) if number]


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
