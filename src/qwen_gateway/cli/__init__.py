"""The command `qwen-gateway`: one file per command, joined here.

Commands import what they need when they run, so that `--help` answers at once.
"""

import io
import sys
from typing import Annotated

import typer

from qwen_gateway import __version__
from qwen_gateway.cli import accounts, ask, demo, keys, login, models, secrets, serve, settings, simulator, usage

app = typer.Typer(
    help="Use your own Qwen web chat account from programs that speak the OpenAI API.",
    epilog="New here? Try `qwen-gateway demo`: it needs no account.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("login", epilog=login.EPILOG)(login.login)
app.add_typer(accounts.accounts, name="accounts")
app.add_typer(keys.keys, name="keys")
app.command("usage")(usage.usage)
app.command("settings")(settings.settings)
app.command("models")(models.models)
app.command("ask", epilog=ask.EPILOG)(ask.ask)
app.add_typer(secrets.secrets, name="secrets")
app.command("simulator")(simulator.simulator)


def main() -> None:
    """Runs the command that the arguments name."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name that the terminal cannot show is no reason to fail
    app(prog_name="qwen-gateway")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"qwen-gateway {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and stop.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Holds the options that stand before a command."""
