"""`serve`: the gateway, until it is stopped."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from qwen_gateway.cli import options
from qwen_gateway.cli.plainly import listening, plain_errors
from qwen_gateway.cli.running import Stop, run
from qwen_gateway.cli.spans import moment
from qwen_gateway.cli.visible import visible

if TYPE_CHECKING:
    from qwen_gateway.accounts.credential import Credential
    from qwen_gateway.app.serving import Running
    from qwen_gateway.settings_sources import Loaded

_CALLERS_OWN = "It has no account of its own: each client brings a Qwen token as its key."
_NO_ACCOUNT = """\
No Qwen account is connected yet. In another terminal: qwen-gateway login
To look around without an account: qwen-gateway demo"""


def _option(flag: str, text: str) -> object:
    return typer.Option(flag, help=text, show_default=False)


# An option that is not given is `None`: the setting then comes from the environment or a file.
def serve(  # noqa: PLR0913, PLR0917  (each parameter is a flag)
    host: Annotated[str | None, _option("--host", "Address to listen on (127.0.0.1).")] = None,
    port: Annotated[int | None, _option("--port", "Port to listen on (8000); 0 takes a free one.")] = None,
    api_prefix: Annotated[str | None, _option("--api-prefix", "Path before all routes, such as /qwen.")] = None,
    data_dir: Annotated[str | None, _option("--data-dir", "Directory for what must outlive a restart.")] = None,
    log_level: Annotated[str | None, _option("--log-level", "debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, _option("--log-format", "auto, json or text.")] = None,
    log_file: Annotated[str | None, _option("--log-file", "File to log to, instead of standard error.")] = None,
    delete_chats: Annotated[
        str | None, _option("--delete-chats", "When to delete chats at the site: now, keep, or hours.")
    ] = None,
    default_thinking: Annotated[
        str | None, _option("--default-thinking", "When the client does not say: off, on or auto.")
    ] = None,
    site_url: Annotated[str | None, _option("--site-url", "Address of the Qwen web chat, or of a simulator.")] = None,
    config: options.Config = None,
    set_: options.Set = None,
) -> None:
    """Start the gateway on your own Qwen account."""
    flags = {name: value for name, value in locals().items() if name != "set_"} | {"set": set_}
    with plain_errors():
        loaded = options.load(flags)
        settings = loaded.settings
        _credential(loaded)

        from qwen_gateway.app import serving  # takes longest, and is not needed to say what is wrong with a setting

        stop = Stop()

        def ready(running: serving.Running) -> None:
            stop.hand_over()
            if sys.stderr.isatty():
                told = _accounts(running, pass_through=settings.pass_through)
                print(
                    f"Qwen Gateway listens at {running.base_url}\n{told}\nStop with Ctrl-C.\n",
                    file=sys.stderr,
                    flush=True,
                )

        with listening(settings.host, settings.port):
            run(serving.serve(settings, ready=ready), stop)


def _accounts(running: "Running", *, pass_through: bool) -> str:
    """Which accounts are connected, and until when."""
    lines = [_account(one.name, one.ends) for one in running.accounts]
    if not lines:
        return _CALLERS_OWN if pass_through else _NO_ACCOUNT
    return "\n".join(lines)


def _account(name: str, end: float | None) -> str:
    who = f"Your Qwen account {visible(name)}"
    if end is None:
        return f"{who} is connected. Its session does not say when it ends."
    if end < time.time():
        return f"{who}: its session ended on {moment(end)}. Run: qwen-gateway login"
    return f"{who} is connected; its session lasts until {moment(end)}."


def _credential(loaded: "Loaded") -> "Credential | None":
    from qwen_gateway import app
    from qwen_gateway.settings import SettingsError
    from qwen_gateway.turn.faults import InvalidRequest

    try:
        return app.credential_of(loaded.settings)
    except InvalidRequest as fault:
        name = fault.param or "cookies"
        raise SettingsError(
            [f"{name} ({loaded.origins[name]}): {fault.text}"]
        ) from None  # the cause may hold the secret
