"""`curl` as a process, given commands as people find them in documentation."""

import asyncio
import os
import shlex
from pathlib import Path

from .rig import Rig
from .wire import Answer

DOCUMENTED = "http://localhost:8000"
KEY = "sk-your-token"
"""The address and the key of the earlier bridge's documentation."""
QUIETLY = ["--disable", "--silent", "--show-error", "--noproxy", "*", "--max-time", "60"]
"""What curl is told besides: to read no settings of its own, and to say no more than is asked for."""


async def curl(rig: Rig, directory: Path, command: str) -> Answer:
    """Runs the command as it is written, in this directory. Its address stands for the rig's, and `/path/to/` for the
    directory."""
    spoken = command.replace("\\\n", " ").replace(DOCUMENTED, rig.url).replace("/path/to/", f"{directory}/")
    program, *arguments = shlex.split(spoken)
    assert program == "curl"
    out = await run(directory, *QUIETLY, "--include", *arguments)
    return _read(out)


async def run(directory: Path, *arguments: str) -> bytes:
    """What curl writes, once it has ended well."""
    process = await asyncio.create_subprocess_exec(
        "curl",
        *arguments,
        cwd=directory,
        env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, problems = await process.communicate()
    assert process.returncode == 0, problems.decode()
    return out


def _read(out: bytes) -> Answer:
    """An answer with its head, and perhaps one before it that says to go on (100)."""
    status = 100
    headers: dict[str, str] = {}
    while status == 100:
        head, _, out = out.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        status = int(line.split()[1])
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    return Answer(status, headers, out, True)
