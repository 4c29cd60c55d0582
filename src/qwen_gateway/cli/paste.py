"""How a login gets in: pasted into a terminal that does not show it, from a pipe, or from a file.

Never as an argument: those are seen by whoever lists the processes, and kept by the shell (C-47).
"""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from qwen_gateway.cli.plainly import fail

MAX_FILE = 64 * 1024 * 1024
MAX_PASTE = 1024 * 1024
"""Bytes. A recording of a whole visit (HAR) has some ten megabytes."""
PAUSE = 0.25
"""Seconds without anything new, after an empty line, that mean the end: a paste comes faster, even with empty lines
in it."""
# Terminals that know it put these around a paste: then empty lines in it mean nothing, and its end is known.
_MARKS_ON, _MARKS_OFF = "\x1b[?2004h", "\x1b[?2004l"
_BEGIN, _END = b"\x1b[200~", b"\x1b[201~"
_SPACE = b" \t\r\n"


def read(file: str | None) -> str:
    """What the person gives, as text. file: its path; `None` or `-` for standard input. Refuses plainly."""
    if file is not None and file != "-":
        return _text(_from_file(Path(file)))
    if sys.stdin.isatty():
        return _text(_from_terminal())
    data = sys.stdin.buffer.read(MAX_FILE + 1)
    return _text(_bounded(data, "standard input"))


def _from_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return _bounded(file.read(MAX_FILE + 1), str(path))
    except OSError as error:
        raise fail(f"{path} cannot be read: {error.strerror}.") from None


def _bounded(data: bytes, source: str) -> bytes:
    if len(data) > MAX_FILE:
        raise fail(f"{source} is larger than {MAX_FILE // 1024**2} MB. Export one request only, or copy it as cURL.")
    return data


def _text(data: bytes) -> str:
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:  # what PowerShell's `>` writes
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")


def _from_terminal() -> bytes:
    try:
        import termios  # noqa: F401 - only whether there is one
    except ImportError:
        data = _from_console()
    else:
        data = _from_descriptor(sys.stdin.fileno())
    print(f"Read {len(data):,} characters.", file=sys.stderr)
    return data


def _from_console() -> bytes:
    """Windows, whose console has no limit for a line. Further lines of a paste wait behind the first."""
    import getpass

    text = getpass.getpass("")
    if sys.platform == "win32":
        import msvcrt

        text += "\n"
        while msvcrt.kbhit():
            text += msvcrt.getwch().replace("\r", "\n")
    return text.strip().encode()


def _from_descriptor(fd: int) -> bytes:
    data = bytearray()
    with _hidden(fd) as end_of_file, _marked():
        while chunk := os.read(fd, 65_536):
            data += chunk
            if len(data) > MAX_PASTE:
                raise fail("that is too much for a paste. Save it to a file, and name that with --file.")
            if is_whole(data, end_of_file) and not select.select([fd], [], [], PAUSE)[0]:
                break
        stripped = bytes(data).replace(end_of_file, b"").replace(_BEGIN, b"").replace(_END, b"")
    return stripped.replace(b"\r\n", b"\n").replace(b"\r", b"\n").strip(_SPACE)


def is_whole(data: bytes | bytearray, end_of_file: bytes) -> bool:
    """Whether the person is done: Ctrl-D, an empty line after some text, or Enter after a marked paste. Empty lines
    before any text mean nothing: what is pasted after them must not end up in the shell."""
    begin, end = data.rfind(_BEGIN), data.rfind(_END)
    if begin > end:
        return False
    tail = data[end + len(_END) :] if end >= 0 else data
    if end_of_file in tail:
        return True
    if end >= 0:
        return b"\n" in tail or b"\r" in tail
    ended = tail[-4:].replace(b"\r", b"").endswith(b"\n\n")
    return ended and bool(tail.strip(_SPACE))


@contextmanager
def _hidden(fd: int) -> Iterator[bytes]:
    """The terminal shows nothing, and gives what comes at once: a line of its own editing ends after 4096 bytes, and
    a Cookie header can be longer. As it was at the end, whatever happens. Gives the byte that means the end."""
    import termios

    before = termios.tcgetattr(fd)
    quiet = termios.tcgetattr(fd)
    quiet[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON)
    cc = quiet[6]
    cc[termios.VMIN], cc[termios.VTIME] = 1, 0
    # Ctrl-Z would hand the terminal to the shell and get it back with another mode.
    cc[termios.VSUSP] = bytes([os.fpathconf(fd, "PC_VDISABLE") & 0xFF])
    with _ending_orderly():
        try:
            termios.tcsetattr(fd, termios.TCSADRAIN, quiet)  # what was pasted too early is not lost
            yield bytes(before[6][termios.VEOF])
        finally:
            # What is still coming is thrown away, or the shell would run it.
            termios.tcsetattr(fd, termios.TCSAFLUSH, before)


@contextmanager
def _marked() -> Iterator[None]:
    """The terminal marks the ends of a paste, if it can."""
    if not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        yield
        return
    try:
        print(_MARKS_ON, end="", file=sys.stderr, flush=True)
        yield
    finally:
        print(_MARKS_OFF, end="", file=sys.stderr, flush=True)


@contextmanager
def _ending_orderly() -> Iterator[None]:
    """A signal to end lets the terminal be restored first. (Ctrl-C does by itself.)"""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
