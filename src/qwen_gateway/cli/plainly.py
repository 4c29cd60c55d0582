"""How a command fails: one plain message on standard error and exit code 2, for what a person can solve."""

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from qwen_gateway.cli.visible import visible

EXIT = 2


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turns problems that a person can solve into a message and exit code 2. Bugs keep their traceback."""
    from qwen_gateway.settings import SettingsError
    from qwen_gateway.turn.faults import Bug, Fault

    try:
        yield
    except SettingsError as error:
        raise fail(_settings_text(error.problems)) from None
    except Bug:
        raise
    except Fault as fault:
        raise fail(fault.text) from None


def fail(text: str) -> typer.Exit:
    """Says what is wrong. The caller raises what this returns."""
    print(f"qwen-gateway: {visible(text, lines=True)}", file=sys.stderr)
    return typer.Exit(EXIT)


def _settings_text(problems: tuple[str, ...]) -> str:
    if len(problems) == 1:
        return problems[0]
    return "\n".join([f"{len(problems)} settings cannot be used:", *(f"  - {problem}" for problem in problems)])


@contextmanager
def listening(host: str, port: int) -> Iterator[None]:
    """Says plainly why nothing can listen there. Errors about something else pass."""
    try:
        yield
    except OSError as error:
        problem = _socket_problem(error, host, port)
        if problem is None:
            raise
        raise fail(problem) from None


def _socket_problem(error: OSError, host: str, port: int) -> str | None:
    if error.filename is not None:
        return f"cannot use {error.filename}: {error.strerror}. Change it, or choose another place in the settings."
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken by another program. Stop that one, or choose another with --port."
    if error.errno == errno.EACCES:
        return f"port {port} needs administrator rights. Choose one above 1023 with --port."
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{host} is not an address of this machine. Choose one with --host, such as 127.0.0.1."
    return None
