"""A PostgreSQL and a Redis of the tests' own: on free ports of 127.0.0.1, in a temporary directory, gone afterwards.

They are started by the fixtures in tests/conftest.py, once per session. A test that stops one starts its own.
"""

import asyncio
import atexit
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sqlalchemy import URL

from qwen_gateway.store.database import Database, sqlite_url
from qwen_gateway.store.migrate import prepare

PATIENCE = 30.0
"""Seconds that a server may take to start or to end; far more than it needs."""

_TEMPLATE = "migrated"


class Server:
    """A program that runs until `stop`, and not longer than the tests do."""

    def __init__(self, command: list[str], ready: Callable[[], bool], *, ending: signal.Signals) -> None:
        self._command, self._ready, self._ending = command, ready, ending
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        self._popen = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while not self._ready():
            if self._popen.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"{self._command[-1]} did not start")
            time.sleep(0.02)

    def stop(self) -> None:
        """Returns when it has ended."""
        if self._popen is None:
            return
        self._popen.send_signal(self._ending)
        try:
            self._popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._popen = None

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid


class Postgres(Server):
    """folder: an empty directory that its user may enter. options: `name=value` of the configuration."""

    def __init__(self, programs: Path, folder: Path, *options: str) -> None:
        self.port, self._programs, self._folder = _free_port(), programs, folder
        self._names = (f"fresh{number}" for number in itertools.count(1))
        data = folder / "data"
        if not data.exists():
            command = [*_as_its_user(), str(programs / "initdb"), "--auth=trust", "--username=postgres", "--no-locale"]
            command += ["--encoding=UTF8", "--no-sync", str(data)]
            done = subprocess.run(command, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr.decode()
        settings = (
            "fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=16MB",
            "listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", f"port={self.port}", *options,
        )  # fmt: skip
        command = [str(programs / "postgres"), "-D", str(data), *(f"--{setting}" for setting in settings)]
        # SIGINT is its fast shutdown: clients are cut off.
        super().__init__([*_as_its_user(), *_bound_to_us(), *command], self._answers, ending=signal.SIGINT)

    def url(self, database: str = "postgres") -> str:
        """It takes any password."""
        return f"postgresql+asyncpg://postgres:unused@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What psql prints for it, unadorned."""
        command = [self._programs / "psql", *self._where(), "-qAtX", "-v", "ON_ERROR_STOP=1", "-d", database]
        done = subprocess.run([*map(str, command), "-c", statement], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def dump(self, database: str) -> bytes:
        command = [self._programs / "pg_dump", *self._where(), database]
        return subprocess.run(list(map(str, command)), capture_output=True, check=True).stdout

    @contextmanager
    def fresh_database(self, *, migrated: bool = True) -> Iterator[str]:
        """The URL of a database of its own: of the newest schema, or quite empty."""
        name = next(self._names)
        if migrated and not self.sql(f"SELECT 1 FROM pg_database WHERE datname = '{_TEMPLATE}'"):  # noqa: S608
            self.sql(f"CREATE DATABASE {_TEMPLATE}")
            in_a_thread(lambda: migrated_by(self.url(_TEMPLATE)))
        self.sql(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE if migrated else 'template0'}")
        try:
            yield self.url(name)
        finally:
            self.sql(f"DROP DATABASE {name} WITH (FORCE)")

    def _where(self) -> list[str]:
        return ["-h", str(self._folder), "-p", str(self.port), "-U", "postgres"]

    def _answers(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-q", *self._where()]
        return subprocess.run(command, check=False).returncode == 0


class Redis(Server):
    def __init__(self, program: str, folder: Path) -> None:
        self.port = _free_port()
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        super().__init__(
            [*_bound_to_us(), *command, "--save", "", "--appendonly", "no"], self._answers, ending=signal.SIGTERM
        )

    def url(self, number: int = 0) -> str:
        """number: of the database, 0 to 15."""
        return f"redis://127.0.0.1:{self.port}/{number}"

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def postgres(initdb: str, *options: str) -> Iterator[Postgres]:
    """A running one. initdb: path of the program; its fellows lie beside it."""
    with _folder() as folder:
        server = Postgres(Path(initdb).parent, folder, *options)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def redis(program: str) -> Iterator[Redis]:
    with _folder() as folder:
        server = Redis(program, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def place_sqlite(path: Path) -> None:
    """An SQLite database of the newest schema, as `prepare` makes it, at a path where there is none: a copy, since
    making one takes a tenth of a second, and there are thousands of tests."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(_sqlite_template(), path)
        path.chmod(0o600)


@cache
def _sqlite_template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="qwen-gateway-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "gateway.db"
    in_a_thread(lambda: migrated_by(sqlite_url(path)))
    return path


async def migrated_by(url: str | URL) -> None:
    database = Database(url, seconds=PATIENCE)
    try:
        await prepare(database, backups=None)
    finally:
        await database.close()


def in_a_thread(work: Callable[[], Coroutine[object, object, None]]) -> None:
    """Runs it on an event loop of its own, whether or not this thread has one."""
    problems: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as problem:  # noqa: BLE001 - raised below, in the thread that asked
            problems.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if problems:
        raise problems[0]


@contextmanager
def _folder() -> Iterator[Path]:
    """Not pytest's own: those may be entered by nobody but us. Short: a socket's path has 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-"))
    if _as_its_user():
        shutil.chown(folder, "postgres", "postgres")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_its_user() -> list[str]:
    """PostgreSQL refuses to be run by root."""
    if os.name != "posix" or os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


def _bound_to_us() -> list[str]:
    """Ends the program when we are killed and cannot do it."""
    return ["setpriv", "--pdeathsig=INT"] if shutil.which("setpriv") else []


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
