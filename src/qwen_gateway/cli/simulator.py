"""`simulator`: the fake site alone, for tests and for trying things out."""

from typing import Annotated

import typer

from qwen_gateway.cli.plainly import fail, listening
from qwen_gateway.cli.running import run

_HELP = """\
The simulator of the Qwen web chat listens at {url}
Its answers are made up: they do not come from a Qwen model.

To run the gateway on it, in another terminal:

  QWEN_GATEWAY_COOKIES='{cookies}' \\
    qwen-gateway serve --site-url {url}

Stop with Ctrl-C."""


def simulator(
    host: Annotated[str, typer.Option(help="Address to listen on, of this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")] = 8100,
) -> None:
    """Start the simulator of the Qwen web chat, for tests."""
    from qwen_gateway.settings_values import is_loopback

    if not is_loopback(host):
        raise fail(f"the simulator has no real logins, so it listens on this machine only, not on {host}.")
    with listening(host, port):
        run(_serve(host, port))


async def _serve(host: str, port: int) -> None:
    import asyncio

    from qwen_gateway.simulator import Simulator
    from qwen_gateway.simulator.server import HUMAN_PACE_MS

    async with Simulator(host, port, delay_ms=HUMAN_PACE_MS) as sim:
        print(_HELP.format(url=sim.url, cookies=sim.cookies()), flush=True)
        await asyncio.Event().wait()
