"""What a person gives to `ask`: words, standard input, files."""

import codecs
import io
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from qwen_gateway.cli.plainly import fail

MOST = 20 * 1000 * 1000
"""Bytes of standard input: what the site takes as one document."""

_NOTHING = """\
nothing was asked. For example:
  qwen-gateway ask "What is in this picture?" --file cat.png
  git diff | qwen-gateway ask "Review this."
  qwen-gateway ask - < question.txt"""


def question(words: Sequence[str]) -> tuple[str, str]:
    """The words, and what is piped in: one of both at least. `-` among the words: standard input is read, whatever it
    is. Refuses plainly."""
    said = " ".join(word for word in words if word != "-").strip()
    piped = _piped(wanted="-" in words).strip("\r\n")
    if not (said or piped.strip()):
        raise fail(_NOTHING)
    return _text(said.encode("utf-8", "surrogatepass")), piped if piped.strip() else ""


def files(names: Sequence[str]) -> list[Path]:
    """Those files. Refuses plainly what cannot be read."""
    return [_readable(name) for name in names]


def _readable(name: str) -> Path:
    path = Path(name)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait
            raise fail(f"--file {name}: this is not a file.")
        path.open("rb").close()
    except OSError as error:
        raise fail(f"--file {name}: it cannot be read: {error.strerror}.") from None
    return path


def _piped(*, wanted: bool) -> str:
    if not wanted and not _is_fed():
        return ""
    if sys.stdin.isatty():
        print("Type your question. Ctrl-D on an empty line ends it.", file=sys.stderr, flush=True)
    data = sys.stdin.buffer.read(MOST + 1)
    if len(data) > MOST:
        raise fail(f"standard input is larger than {MOST // 1000**2} MB. Save it, and attach it with --file.")
    text = _text(data)
    if "\0" in text:
        raise fail("standard input is not text. Save it, and attach it with --file.")
    return text


def _is_fed() -> bool:
    """Whether something is piped in. Not /dev/null, nor the terminal."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except io.UnsupportedOperation:  # not a file of the system's
        return True
    except (OSError, ValueError, AttributeError):  # closed, or never open
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _text(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # what PowerShell's `>` writes
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")
