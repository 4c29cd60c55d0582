"""The gateway as its own process, as users run it: `demo` and `serve`."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from . import wire
from .wire import Answer, Json

if TYPE_CHECKING:
    from tests.services import Postgres

KEY = "sk-test-0123456789"
_START = 20.0


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """This process's environment without any setting of the gateway, and `settings` as variables."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("QWEN_") and k not in _LEGACY}
    return kept | {f"QWEN_GATEWAY_{name.upper()}": str(value) for name, value in settings.items()}


_LEGACY = ("VALID_TOKENS", "API_PREFIX", "IS_DELETE")


Serving = contextlib.AbstractContextManager["Gateway"]


class Gateway:
    """A running process. `log`: what it wrote to standard error."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path, base_url: str, key: str = KEY) -> None:
        self.process, self.log, self.base_url, self.key = process, log, base_url, key
        self.url = base_url.removesuffix("/v1")
        self.simulator_url = ""
        self.data_dir = Path()

    @property
    def database(self) -> Path:
        """Its SQLite database, if it has none elsewhere."""
        return self.data_dir / "gateway.db"

    async def manage(self, method: str, path: str, body: Json | None = None, status: int = 200) -> Json:
        """A call of the management API. path: below its prefix."""
        return await manage(self.url, self.data_dir, method, path, body, status)

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def exit_code(self, seconds: float = 15) -> int:
        return self.process.wait(seconds)

    def lines(self) -> list[Json]:
        """What it logged, one JSON object per line."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.strip()]

    def descriptors(self) -> int:
        """Open files of the process. Linux only."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def open_files(self) -> list[str]:
        """What its descriptors point at, without those that it closes meanwhile. Linux only."""
        found = []
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.append(str(descriptor.readlink()))
        return found

    def memory(self) -> int:
        """Bytes of memory in use. Linux only."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


class Demo(Gateway):
    """The gateway with its simulator, and the simulator's control interface."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path, told: Json) -> None:
        super().__init__(process, log, told["base_url"], told["key"])
        self.simulator_url = told["simulator_url"]
        self.http = httpx2.Client(timeout=20, headers={"Authorization": f"Bearer {self.key}"})

    def reset(self) -> None:
        self.http.post(f"{self.simulator_url}/__sim/reset").raise_for_status()

    def program(self, *turns: Json, **site: object) -> None:
        reply = self.http.post(f"{self.simulator_url}/__sim/program", json={"turns": list(turns), "site": site})
        assert reply.status_code == 200, reply.text

    def seen(self) -> list[Json]:
        """The requests that the site got since the last reset."""
        found: list[Json] = self.http.get(f"{self.simulator_url}/__sim/requests").json()["requests"]
        return found

    def last(self) -> Json:
        return self.seen()[-1]

    def state(self) -> Json:
        found: Json = self.http.get(f"{self.simulator_url}/__sim/state").json()
        return found

    def health(self) -> Json:
        found: Json = self.http.get(f"{self.url}/health").json()
        return found


@contextlib.contextmanager
def demo(directory: Path, **settings: object) -> Iterator[Demo]:
    """The command `demo` as a process."""
    command = [sys.executable, "-m", "qwen_gateway", "demo", "--json", "--port", "0", "--key", KEY]
    with _process(command, directory, settings) as (process, log):
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        found = Demo(process, log, json.loads(line))
        try:
            with found.http:
                yield found
        finally:
            process.terminate()  # and not killed: it has a directory to remove
            process.wait(10)


@contextlib.contextmanager
def serve(
    directory: Path, *arguments: str, legacy: Mapping[str, str] | None = None, **settings: object
) -> Iterator[Gateway]:
    """The command `serve` as a process, ready for requests."""
    hurry = {"account_concurrency": 1000, "account_pace": 1_000_000, "account_burst": 1_000_000, "queue_size": 1000}
    given = {"port": 0, "data_dir": str(directory / "data"), "log_format": "json", "store_timeout": 10}
    settings = {**given, **hurry, **settings}
    if "database_url" not in settings:
        from tests.services import place_sqlite  # noqa: PLC0415 - programs' own tests have no library for databases

        place_sqlite(Path(str(settings["data_dir"])) / "gateway.db")
    command = [sys.executable, "-m", "qwen_gateway", "serve", *arguments]
    with _process(command, directory, settings, legacy or {}) as (process, log):
        found: list[str] = []
        written = Path(str(settings.get("log_file", log)))

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            lines = written.read_text().splitlines() if written.exists() else []
            found[:] = [line for line in lines if '"event":"ready"' in line]
            return bool(found)

        wait(ready, _START)
        gateway = Gateway(process, log, json.loads(found[0])["base_url"])
        gateway.data_dir = Path(str(settings["data_dir"]))
        yield gateway


@contextlib.contextmanager
def _process(
    command: list[str], directory: Path, settings: Mapping[str, object], legacy: Mapping[str, str] | None = None
) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / f"stderr-{time.monotonic_ns()}.log"
    options: dict[str, Any] = {"env": environment(settings) | dict(legacy or {}), "cwd": directory, "text": True}
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, **options) as process,
    ):
        try:
            yield process, log
        finally:
            process.kill()


def wait(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Blocks until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


async def manage(url: str, data_dir: Path, method: str, path: str, body: Json | None = None, status: int = 200) -> Json:
    """As `Gateway.manage`, for any gateway: with the bootstrap key that lies in its data directory."""
    key = (data_dir / "bootstrap.key").read_text().strip()
    headers = {"Content_Type": "application/json"} if body is not None else {}
    request = wire.request_bytes(f"/api/admin{path}", body, key=key, method=method, **headers)
    answer: Answer = await wire.exchange(url, request)
    assert answer.status == status, answer.body
    return answer.json()


async def key(url: str, data_dir: Path, name: str, **terms: object) -> tuple[str, str]:
    """A new key: its text and its id."""
    made = await manage(url, data_dir, "POST", "/keys", {"name": name, **terms}, 201)
    return str(made["text"]), str(made["key"]["id"])


def usage_rows(database: Path) -> list[Json]:
    """The usage in an SQLite database, the oldest first; with or without a gateway that works on it."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM usage ORDER BY at")]


def postgres_rows(server: "Postgres", url: str) -> list[Json]:
    """The usage in a database of this server, the oldest first."""
    statement = "SELECT coalesce(json_agg(usage ORDER BY at), '[]') FROM usage"
    found: list[Json] = json.loads(server.sql(statement, url.rpartition("/")[2]))
    return found
