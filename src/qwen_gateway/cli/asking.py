"""Questions before something that cannot be taken back."""

import sys

import typer

from qwen_gateway.cli.plainly import fail


def confirm(question: str, *, yes: bool) -> None:
    """Goes on if the person agrees. Without a terminal nobody can: then only `--yes` does."""
    if yes:
        return
    if not has_terminal():
        raise fail(f"{question}\nThere is no terminal to ask on, so nothing was changed. To agree, add --yes.")
    if not typer.confirm(question, err=True):
        print("Nothing was changed.", file=sys.stderr)
        raise typer.Exit(1)


def has_terminal() -> bool:
    return sys.stdin.isatty()
