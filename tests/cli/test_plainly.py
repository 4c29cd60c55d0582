"""What a person can solve becomes one message; what is a bug keeps its traceback."""

import errno
import socket

import pytest
import typer

from qwen_gateway.cli.plainly import listening, plain_errors
from qwen_gateway.turn.faults import Bug, Unreachable


def test_a_fault_is_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, plain_errors():
        raise Unreachable("The site cannot be reached.")
    assert caught.value.exit_code == 2
    assert capsys.readouterr().err == "qwen-gateway: The site cannot be reached.\n"


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(Bug), plain_errors():
        raise Bug("?")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EADDRINUSE, "?"), "port 80 on box is taken by another program"),
        (OSError(errno.EACCES, "?"), "port 80 needs administrator rights"),
        (OSError(errno.EADDRNOTAVAIL, "?"), "box is not an address of this machine"),
        (socket.gaierror(socket.EAI_NONAME, "?"), "box is not an address of this machine"),
        (PermissionError(errno.EACCES, "Permission denied", "a.log"), "cannot use a.log: Permission denied"),
    ],
)
def test_why_nothing_can_listen(error: OSError, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), listening("box", 80):
        raise error
    assert said in capsys.readouterr().err


def test_other_errors_of_the_system_pass() -> None:
    with pytest.raises(OSError, match="disk"), listening("box", 80):
        raise OSError(errno.EIO, "disk")
