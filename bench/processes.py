"""Processes of the benchmark: where they run, when they are ready, what they cost, and that they end."""

import http.client
import os
import resource
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class NotReadyError(Exception):
    """The process ended, or did not answer in time."""


@dataclass(frozen=True)
class Cpus:
    """The server under test has one CPU to itself; mock, load generator and driver share the others."""

    server: frozenset[int]
    rest: frozenset[int]

    @classmethod
    def split(cls) -> "Cpus":
        usable = sorted(os.sched_getaffinity(0))
        return cls(frozenset(usable[-1:]), frozenset(usable[:-1] or usable))


@contextmanager
def pinned(cpus: frozenset[int]) -> Iterator[None]:
    """Children started inside inherit the CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_file_limit() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


class Server:
    """A child process that serves HTTP on a port of the loopback interface."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ):
        self.port = port
        self._log = log
        self._started = time.monotonic()
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env, cwd=cwd
            )
        self.pid = self._process.pid

    def wait_ready(self, path: str, *, any_status: bool = False, timeout: float = 20) -> float:
        """Seconds from process start until `path` answered 200 (or, for a stranger, answered at all)."""
        while (waited := time.monotonic() - self._started) < timeout:
            if self._process.poll() is not None:
                break
            status = _status(self.port, path)
            if status == 200 or (status and any_status):
                return time.monotonic() - self._started
            time.sleep(0.005)
        raise NotReadyError(f"not ready after {waited:.1f} s")

    def log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)


def _status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def tree(pid: int) -> list[int]:
    """The process and all its living descendants."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(child) for child in children.read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the whole tree, with the children that have ended and were waited for."""
    ticks = 0
    for member in tree(pid):
        with suppress(OSError):
            # The second field, the name, may hold blanks; count from behind its bracket.
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS


def memory_kib(pid: int, kind: str) -> int:
    """`Rss` or `Pss` of the whole tree."""
    total = 0
    for member in tree(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith(f"{kind}:"):
                    total += int(line.split()[1])
    return total
