"""Pasting into a terminal: everything is read, nothing is shown, and the terminal is as before, whatever happens."""

import fcntl
import hashlib
import os
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.cli.conftest import PATIENCE

from qwen_gateway.cli import paste
from qwen_gateway.cli.paste import is_whole

ROOT = Path(__file__).parents[2]
# Prints what was read, as one line: the length, and whether it is what the test has pasted (its digest).
CHILD = """\
import fcntl, hashlib, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from tests.cli.fake_management import FakeManagement, installed
from qwen_gateway.cli import main
fake = FakeManagement()
installed(fake)
try:
    main()
finally:
    for text, _ in fake.pasted:
        print("GOT", len(text), hashlib.sha256(text.encode()).hexdigest(), flush=True)
"""
COOKIES = "; ".join(f"name{number}=canary-{number:04}-{'x' * 60}" for number in range(150))
CURL = f"curl 'https://chat.qwen.ai/api/v2/chats/' \\\n  -H 'accept: */*' \\\n  -H 'cookie: {COOKIES}'"


class Terminal:
    """`qwen-gateway login` on a terminal of its own; what it shows is read from `ours`."""

    def __init__(self, directory: Path, term: str) -> None:
        self.ours, self.theirs = os.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self.theirs)
        self.shown = b""
        self.popen = subprocess.Popen(
            [sys.executable, "-c", CHILD, "login"],
            cwd=directory,
            env={"PATH": os.defpath, "HOME": str(directory), "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "TERM": term},
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            start_new_session=True,
        )

    def until(self, text: str) -> None:
        while text.encode() not in self.shown:
            self._more(text)

    def type(self, data: bytes) -> None:
        """As fast as the terminal takes it, like a paste."""
        while data:
            readable, writable, _ = select.select([self.ours], [self.ours], [], PATIENCE)
            if readable:
                self._more("")
            if writable:
                data = data[os.write(self.ours, data[:1024]) :]

    def end(self) -> int:
        """The exit code, when everything it showed has been read. Checks that the terminal is as before."""
        code = self.popen.wait(PATIENCE)
        while select.select([self.ours], [], [], 0)[0]:
            self._more("")
        assert termios.tcgetattr(self.theirs) == self.before
        return code

    def _more(self, text: str) -> None:
        readable, _, _ = select.select([self.ours], [], [], PATIENCE)
        assert readable, f"{text!r} did not come after {self.shown!r}"
        self.shown += os.read(self.ours, 65_536)

    def close(self) -> None:
        self.popen.kill()
        self.popen.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture(params=["dumb", "xterm"])
def terminal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, request.param)
    try:
        terminal.until("Nothing is shown")
        if request.param == "xterm":
            terminal.until("\x1b[?2004h")  # from then on it is quiet
        else:
            wait_until_quiet(terminal)
        yield terminal
    finally:
        terminal.close()


def wait_until_quiet(terminal: Terminal) -> None:
    while termios.tcgetattr(terminal.theirs)[3] & termios.ECHO:
        assert terminal.popen.poll() is None
        select.select([terminal.ours], [], [], 0.01)


def digest(text: str) -> str:
    return f"GOT {len(text)} {hashlib.sha256(text.encode()).hexdigest()}"


@pytest.mark.parametrize(
    ("terminal", "ending"),
    [("dumb", b"\n\n"), ("dumb", b"\x04"), ("xterm", b"\r\r"), ("xterm", b"\n\x04")],
    indirect=["terminal"],
)
def test_a_long_paste_of_several_lines_is_read_whole_and_not_shown(terminal: Terminal, ending: bytes) -> None:
    assert len(CURL) > 12_000
    terminal.type(CURL.encode() + ending)
    assert terminal.end() == 0
    assert digest(CURL).encode() in terminal.shown
    assert b"canary" not in terminal.shown
    assert b"curl" not in terminal.shown.lower().replace(b"copy as curl", b"")
    assert f"Read {len(CURL):,} characters.".encode() in terminal.shown


def test_empty_lines_before_a_paste_and_within_it_do_not_end_it(terminal: Terminal) -> None:
    text = "GET / HTTP/1.1\n\nCookie: a=canary\n\n\nx"
    terminal.type(b"\n\n\n" + text.encode() + b"\n\n")
    assert terminal.end() == 0
    assert digest(text).encode() in terminal.shown


def test_a_marked_paste_ends_with_one_enter(terminal: Terminal) -> None:
    text = "a=canary\n\nb=2"
    terminal.type(b"\x1b[200~" + text.encode() + b"\x1b[201~\r")
    assert terminal.end() == 0
    assert digest(text).encode() in terminal.shown
    assert b"canary" not in terminal.shown


def test_ctrl_c_stops_and_nothing_is_stored(terminal: Terminal) -> None:
    terminal.type(b"token=canary")
    terminal.type(b"\x03")
    assert terminal.end() != 0
    assert b"GOT" not in terminal.shown
    assert b"canary" not in terminal.shown
    assert b"Traceback" not in terminal.shown


@pytest.mark.parametrize(
    ("terminal", "number"), [("dumb", signal.SIGTERM), ("xterm", signal.SIGHUP)], indirect=["terminal"]
)
def test_a_signal_to_end_restores_the_terminal(terminal: Terminal, number: signal.Signals) -> None:
    terminal.type(b"token=canary")
    terminal.popen.send_signal(number)
    assert terminal.end() == 128 + number
    assert b"canary" not in terminal.shown
    assert b"Traceback" not in terminal.shown


@pytest.mark.parametrize("terminal", ["xterm"], indirect=True)
def test_nothing_pasted_is_said(terminal: Terminal) -> None:
    terminal.type(b"\n\x04")
    assert terminal.end() == 2
    assert b"nothing was given" in terminal.shown


def test_what_a_terminal_marks_is_switched_off_again(terminal: Terminal) -> None:
    terminal.type(b"a=1\n\n")
    terminal.end()
    assert terminal.shown.count(b"\x1b[?2004h") == terminal.shown.count(b"\x1b[?2004l")


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"", False),
        (b"\n\n", False),
        (b"a=1", False),
        (b"a=1\n", False),
        (b"a=1\n\n", True),
        (b"a=1\r\n\r\n", True),
        (b"a=1\n\nb", False),
        (b"a=1\x04", True),
        (b"\x04", True),
        (b"\x1b[200~a\n\n", False),
        (b"\x1b[200~a\x04", False),
        (b"\x1b[200~a\n\n\x1b[201~", False),
        (b"\x1b[200~a\x1b[201~\r", True),
        (b"\x1b[200~a\x1b[201~\x1b[200~b\n", False),
    ],
)
def test_when_a_paste_is_whole(data: bytes, whole: bool) -> None:
    assert is_whole(data, b"\x04") is whole


def test_without_terminal_modes_the_console_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "termios", None)
    monkeypatch.setattr("getpass.getpass", lambda _: " a=canary ")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    assert paste.read(None) == "a=canary"
    assert capsys.readouterr() == ("", "Read 8 characters.\n")


def test_an_empty_line_at_the_end_of_what_has_come_so_far_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    read = os.read
    monkeypatch.setattr(os, "read", lambda fd, _: read(fd, 5))
    try:
        os.write(ours, b"a=1\n\nb=2\n\n")
        assert paste._from_descriptor(theirs) == b"a=1\n\nb=2"
    finally:
        os.close(ours)
        os.close(theirs)
