"""Starts and ends the server of `forked`, which says more."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli import forked

PATIENCE = 15.0
"""Seconds that the server may take to end; far more than it needs."""


@contextmanager
def forking() -> Iterator[list[str]]:
    """What begins a command whose libraries are loaded already, before its arguments."""
    server = [sys.executable, "-P", forked.__file__, "--serve"]
    with tempfile.TemporaryDirectory() as directory:
        address = f"{directory}/s"
        with subprocess.Popen(
            [*server, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield [sys.executable, "-I", "-S", forked.__file__, address]
            process.communicate(timeout=PATIENCE)
