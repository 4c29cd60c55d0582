"""Commands as a user runs them: processes of their own, in an empty directory and a bare environment."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
from tests.cli.fake_management import NOW, FakeManagement, installed
from tests.cli.forking import forking
from typer.testing import CliRunner, Result

import qwen_gateway
from qwen_gateway import cli

PATIENCE = 15.0
"""Seconds that a process may take for anything; far more than it needs."""
LINE = (sys.executable, "-m", "qwen_gateway")


class Process:
    """A command that keeps running."""

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self.popen = popen

    def until(self, text: str, stream: Literal["stdout", "stderr"] = "stdout") -> str:
        """What the command says there, up to `text` or a little further."""
        pipe = self.popen.stdout if stream == "stdout" else self.popen.stderr
        assert pipe is not None
        said = b""
        while text.encode() not in said:
            readable, _, _ = select.select([pipe], [], [], PATIENCE)
            new = os.read(pipe.fileno(), 65_536) if readable else b""
            assert new, f"no more than {said!r}"
            said += new
        return said.decode()

    def stop(self, number: signal.Signals) -> tuple[int, str, str]:
        """Sends a signal: exit code, the rest of standard output, standard error."""
        self.popen.send_signal(number)
        out, err = self.popen.communicate(timeout=PATIENCE)
        return self.popen.returncode, out.decode(), err.decode()


class Commands:
    """line: what begins a command, before its arguments."""

    def __init__(self, directory: Path, stack: ExitStack, line: Sequence[str] = LINE) -> None:
        self.directory, self._stack, self.line = directory, stack, list(line)

    def run(
        self, *arguments: str, environ: Mapping[str, str] | None = None, given: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a command to its end. given: on its standard input."""
        return subprocess.run(
            [*self.line, *arguments],
            input=given,
            cwd=self.directory,
            env=self._environ(environ),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )

    def start(self, *arguments: str, environ: Mapping[str, str] | None = None) -> Process:
        """Starts a command; the test's end kills it."""
        popen = subprocess.Popen(
            [*self.line, *arguments],
            cwd=self.directory,
            env=self._environ(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._stack.enter_context(popen)
        self._stack.callback(popen.kill)
        return Process(popen)

    def _environ(self, extra: Mapping[str, str] | None) -> dict[str, str]:
        home = str(self.directory)
        return {"PATH": os.defpath, "HOME": home, "TMPDIR": home, "COLUMNS": "160", **(extra or {})}


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    with ExitStack() as stack:
        yield Commands(tmp_path, stack)


@pytest.fixture(scope="session")
def forks() -> Iterator[list[str]]:
    """What begins a command whose libraries are loaded already."""
    with forking() as line:
        yield line


@pytest.fixture
def quick_commands(forks: list[str], tmp_path: Path) -> Iterator[Commands]:
    """For tests of many commands: only their first second is another one."""
    with ExitStack() as stack:
        yield Commands(tmp_path, stack, forks)


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def management(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeManagement]:
    """What commands open, in an empty directory, on a terminal of 80 columns, in January 2027 by UTC."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    for module in (cli.accounts, cli.keys, cli.login, cli.usage):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: NOW))
    monkeypatch.setitem(sys.modules, "qwen_gateway.app", sys)  # `installed` puts its own there; the end undoes it
    monkeypatch.setattr(qwen_gateway, "app", None, raising=False)
    fake = FakeManagement()
    installed(fake)
    yield fake
    monkeypatch.undo()
    time.tzset()


Invoke = Callable[..., Result]


@pytest.fixture
def invoke(management: FakeManagement) -> Invoke:
    """Runs a command in this process: `invoke("keys", "list", input=…)`."""

    def run(*arguments: str, input: str | bytes | None = None) -> Result:  # noqa: A002
        return CliRunner().invoke(cli.app, list(arguments), input=input, catch_exceptions=False)

    return run


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input counts as a terminal, where a person can be asked."""
    monkeypatch.setattr(cli.asking, "has_terminal", lambda: True)
