"""The gateway with its simulator, as a process from its own environment."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.process import KEY, Demo, environment

PROGRAM = Path(__file__).parents[2] / ".venv" / "bin" / "qwen-gateway"


@contextlib.contextmanager
def demo(directory: Path) -> Iterator[Demo]:
    command = [str(PROGRAM), "demo", "--json", "--port", "0", "--key", KEY]
    settings = {"first_event_timeout": 5, "idle_timeout": 5}
    log = directory / "stderr.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=environment(settings), cwd=directory, text=True
        ) as process,
    ):
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
