"""Who is measured: the direct line, nginx, the gateway, and whoever is named on the command line."""

import base64
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import Cpus, Server, free_port, memory_kib, pinned

KEY = "bench-key"
SITE_PATH = "/api/v2/chat/completions?chat_id=c792d549-85e8-4e7e-9915-c47fc9882162"
# Debian keeps it out of an ordinary user's PATH.
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")

NGINX_CONF = """\
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 16384;
error_log stderr error;
pid {folder}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_max_body_size 64m;
  client_body_buffer_size 2m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream site {{
    server 127.0.0.1:{site};
    keepalive 4096;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    tcp_nodelay on;
    location = /readyz {{ return 200; }}
    location / {{
      proxy_pass http://site;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_request_buffering off;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Line:
    """One way from the client to the site. `command` makes the process for a port; the direct line has none."""

    name: str
    translates: bool
    command: Callable[[int], Sequence[str]] | None = None
    env: Callable[[int], Mapping[str, str]] | None = None
    cwd: Path | None = None
    known: bool = True  # has /readyz
    only: str = ""  # serves this scenario alone
    key: str = KEY
    path: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", "/v1/chat/completions" if self.translates else SITE_PATH)


@dataclass
class Running:
    """A line that is up. `base_pss_kib` is set once it is warm: the memory from which streams are counted."""

    line: Line
    port: int
    pid: int
    server: Server | None = None
    ready_seconds: float | None = None
    idle_rss_kib: int | None = None
    base_pss_kib: int | None = None

    def stop(self) -> None:
        if self.server:
            self.server.stop()


def start(line: Line, mock: Server, folder: Path, cpus: Cpus) -> Running:
    if line.command is None:
        return Running(line, mock.port, mock.pid)
    port = free_port()
    with pinned(cpus.server):
        env = line.env(port) if line.env else None
        server = Server(line.command(port), port, folder / f"{line.name}.log", env, line.cwd)
    try:
        ready = server.wait_ready("/readyz" if line.known else "/", any_status=not line.known)
    except BaseException:
        server.stop()
        # For the eyes only: a log may name paths of this machine, which have no place in the results.
        print(server.log_tail(), file=sys.stderr)
        raise
    time.sleep(0.5)  # what it still does after saying ready is not idleness
    return Running(line, port, server.pid, server, ready, memory_kib(server.pid, "Rss"))


def direct() -> Line:
    return Line("direct", translates=False)


def nginx(binary: str, site: int, folder: Path) -> Line:
    def command(port: int) -> list[str]:
        config = folder / "nginx.conf"
        # A worker of root's nginx becomes nobody, who may not enter our temporary folder.
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(NGINX_CONF.format(folder=folder, site=site, port=port, user=user))
        return [binary, "-p", str(folder), "-c", str(config)]

    return Line("nginx", translates=False, command=command)


def gateway(site: int, folder: Path, *, delete_chats: str, only: str = "") -> Line:
    """Ours, with key check, accounting, logs and metrics as they come; only what would throttle it is lifted.

    Each has a folder of its own, in which it runs too: the `.env` of whoever starts the benchmark is not for it.
    """
    name = "gateway" if delete_chats == "keep" else f"gateway-{delete_chats}"
    binary = Path(sys.executable).absolute().parent / "qwen-gateway"
    data = _folder(folder, name)
    return Line(
        name,
        key=_limited_key(binary, data, _environment(site, 0, data, delete_chats)),
        translates=True,
        command=lambda _port: [str(binary), "serve"],
        env=lambda port: _environment(site, port, data, delete_chats),
        cwd=data,
        only=only,
    )


def _limited_key(binary: Path, data: Path, env: Mapping[str, str]) -> str:
    """A stored key with every kind of limit, none of which is ever reached: so all of them are counted."""
    limits = ["--rpm", "1000000", "--concurrency", "10000", "--tokens-per-day", "1000000000000"]
    command = [str(binary), "keys", "create", "--name", "bench", *limits]
    done = subprocess.run(command, cwd=data, env=dict(env), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def stranger(spec: str, site: int, folder: Path) -> Line:
    """`name=command`, where `{port}` and `{site}` stand for the port to serve and the address of the mock."""
    name, _, text = spec.partition("=")

    def command(port: int) -> list[str]:
        return [part.format(port=port, site=f"http://127.0.0.1:{site}") for part in shlex.split(text)]

    def env(port: int) -> dict[str, str]:
        return _environment(site, port, _folder(folder, name), "keep") | {"PORT": str(port)}

    return Line(name, translates=True, command=command, env=env, known=False)


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir(exist_ok=True)
    return folder


def _environment(site: int, port: int, data: Path, delete_chats: str) -> dict[str, str]:
    token = _token()
    address = f"http://127.0.0.1:{site}"
    settings = {
        "SITE_URL": address,
        "AUTH_URL": address,
        "TOKEN": token,
        "COOKIES": f"token={token}",
        "API_KEYS": KEY,
        "DATA_DIR": str(data),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DELETE_CHATS": delete_chats,
        "MAX_IN_FLIGHT": "4096",
        "ACCOUNT_CONCURRENCY": "100000",
        "ACCOUNT_PACE": "1000000",
        "ACCOUNT_BURST": "1000000",
        "QUEUE_SIZE": "100000",
        "MAX_PROMPT_BYTES": "16000000",
        "MAX_CHATS": "10000",
    }
    # Nothing else of the caller's environment: settings, proxies and older names of both are not for this one.
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {f"QWEN_GATEWAY_{name}": value for name, value in settings.items()}


def _token() -> str:
    """A session token nobody signed: the mock does not look, and the gateway reads only its end date."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    signature = base64.urlsafe_b64encode(b"bench" * 6).rstrip(b"=").decode()
    payload = {"id": "bench", "last_password_change": 1750000000, "exp": int(time.time()) + 30 * 86400}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(payload)}.{signature}"
