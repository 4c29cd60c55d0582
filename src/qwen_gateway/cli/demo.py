"""`demo`: the gateway on the bundled simulator, so that everything can be tried without an account."""

import errno
from typing import TYPE_CHECKING, Annotated

import typer

from qwen_gateway.cli.plainly import listening, plain_errors
from qwen_gateway.cli.running import Stop, run

if TYPE_CHECKING:
    from qwen_gateway.settings import Settings
    from qwen_gateway.simulator import Simulator

MODEL = "qwen3.7-plus"
# What belongs to a person's own account, site or keys has no place in a demo. The rest can be tuned as always.
_OWN = (
    "COOKIES",
    "TOKEN",
    "USER_AGENT",
    "SITE_URL",
    "AUTH_URL",
    "API_KEYS",
    "PASS_THROUGH",
    "DATA_DIR",
    "CONFIG",
    "DATABASE_URL",
    "REDIS_URL",
    "SECRET_KEY",
    "SECRET_KEY_STORE",
)

# Nobody's account is spared here.
_HASTE = {
    "QWEN_GATEWAY_LONGEST_REST": "2",
    "QWEN_GATEWAY_ACCOUNT_CONCURRENCY": "1000",
    "QWEN_GATEWAY_ACCOUNT_PACE": "1000000",
    "QWEN_GATEWAY_ACCOUNT_BURST": "1000000",
    "QWEN_GATEWAY_QUEUE_SIZE": "1000",
}
_WELCOME = """\
Qwen Gateway runs as a demo. Its answers come from the bundled simulator, not from a Qwen model.

  base URL    {base_url}
  key         {key}
  simulator   {simulator_url}

Try it with curl:

  curl -N {base_url}/chat/completions \\
    -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \\
    -d '{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Count to 10"}}]}}'

or with Python (pip install openai):

  from openai import OpenAI
  client = OpenAI(base_url="{base_url}", api_key="{key}")
  reply = client.chat.completions.create(model="{model}", messages=[{{"role": "user", "content": "Count to 10"}}])
  print(reply.choices[0].message.content)

Stop with Ctrl-C.
"""


def demo(
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, show_default=False, help="Port of the gateway (8000, or a free one)."),
    ] = None,
    simulator_port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of the simulator; 0: a free one.")] = 0,
    key: Annotated[str | None, typer.Option(show_default=False, help="Key for clients (a new random one).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON once ready, for programs.")] = False,
) -> None:
    """Try the gateway without an account, on a simulated site."""
    import secrets

    with plain_errors():
        stop = Stop()
        run(_demo(port, simulator_port, key or f"sk-demo-{secrets.token_hex(8)}", as_json, stop), stop)


async def _demo(port: int | None, simulator_port: int, key: str, as_json: bool, stop: Stop) -> None:
    import tempfile

    from qwen_gateway.app import serving
    from qwen_gateway.simulator import Simulator
    from qwen_gateway.simulator.server import HUMAN_PACE_MS

    with tempfile.TemporaryDirectory(prefix="qwen-gateway-demo-") as directory, listening("127.0.0.1", simulator_port):
        async with Simulator(port=simulator_port, delay_ms=HUMAN_PACE_MS) as sim:
            settings = _settings(sim, port, key, directory)

            def ready(running: serving.Running) -> None:
                stop.hand_over()
                # When the simulated site begins anew, it has also forgotten why it refused us.
                sim.site.on_reset = running.wake
                say = _as_json if as_json else _as_text
                print(say(running.base_url, key, sim.url), flush=True)

            with listening(settings.host, settings.port):
                await serving.serve(settings, ready=ready)


def _settings(sim: "Simulator", port: int | None, key: str, directory: str) -> "Settings":
    """The demo's own values, and what the environment says of the rest. Files are not read. Raises SettingsError."""
    import os
    from pathlib import Path

    from qwen_gateway.settings_sources import LEGACY, PREFIX, load

    left_out = {PREFIX + name for name in _OWN} | set(LEGACY)
    environ = _HASTE | {k: v for k, v in os.environ.items() if k not in left_out}
    if log_file := environ.get("QWEN_GATEWAY_LOG_FILE"):
        environ["QWEN_GATEWAY_LOG_FILE"] = str(Path.cwd() / log_file)  # and not in the directory that goes away
    flags = {
        "site_url": sim.url,
        "cookies": sim.cookies(),
        "api_keys": (key,),
        "data_dir": directory,
        "port": port,
    }
    loaded = load(flags, environ, Path(directory))
    if loaded.origins["port"] == "default" and _is_taken(loaded.settings.host, loaded.settings.port):
        loaded = load(flags | {"port": 0}, environ, Path(directory))
    return loaded.settings


def _is_taken(host: str, port: int) -> bool:
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does, or a recent end counts
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _as_json(base_url: str, key: str, simulator_url: str) -> str:
    import json

    return json.dumps({"base_url": base_url, "key": key, "simulator_url": simulator_url})


def _as_text(base_url: str, key: str, simulator_url: str) -> str:
    return _WELCOME.format(base_url=base_url, key=key, simulator_url=simulator_url, model=MODEL)
