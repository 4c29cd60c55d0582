"""What tests of `ask` share: the command on a simulator in this process's loop, and on a terminal of its own."""

import asyncio
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from tests.cli.conftest import PATIENCE, Commands, Process

from qwen_gateway.simulator import Simulator
from qwen_gateway.simulator.turns import Turn

Done = subprocess.CompletedProcess[str]


class Rig:
    """sim: the site. directory: where the commands run; their data is in `state`."""

    def __init__(self, sim: Simulator, commands: Commands) -> None:
        self.sim, self.directory, self._commands = sim, commands.directory, commands
        self.data = commands.directory / "state"
        self.environ = {
            "QWEN_GATEWAY_SITE_URL": sim.url,
            "QWEN_GATEWAY_COOKIES": sim.cookies(),
            "QWEN_GATEWAY_DATA_DIR": str(self.data),
        }

    def program(self, **turn: Any) -> None:
        """The site's next answer."""
        self.sim.site.controlled = True
        self.sim.site.queue.append(msgspec.convert(turn, Turn))

    async def ask(self, *arguments: str, given: str = "") -> Done:
        return await asyncio.to_thread(self._commands.run, "ask", *arguments, environ=self.environ, given=given)

    async def ask_into(self, path: Path, *arguments: str) -> Done:
        """With its standard output in that file."""

        def run() -> Done:
            with path.open("w") as file:
                return subprocess.run(
                    [*self._commands.line, "ask", *arguments],
                    cwd=self.directory,
                    env={"PATH": os.defpath, "HOME": str(self.directory), **self.environ},
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.PIPE,
                    text=True,
                    timeout=PATIENCE,
                    check=False,
                )

        return await asyncio.to_thread(run)

    def start(self, *arguments: str) -> Process:
        return self._commands.start(*arguments, environ=self.environ)

    async def started(self, *arguments: str, until: str) -> Process:
        """An `ask` that has said so much."""
        process = self.start("ask", *arguments)
        await asyncio.to_thread(process.until, until)
        return process

    async def serving(self) -> Process:
        """A gateway on the same data directory."""
        process = self.start("serve", "--port", "0", "--log-format", "json")
        await asyncio.to_thread(process.until, '"base_url"', "stderr")
        return process

    def on_terminal(self, *arguments: str) -> "Terminal":
        return Terminal(self.directory, self.environ, [*self._commands.line, "ask", *arguments])

    @property
    def prompts(self) -> list[str]:
        return [seen.prompt for seen in self.sim.site.seen]

    @property
    def left_over(self) -> list[str]:
        """Chats at the site that nobody has deleted."""
        return [chat.id for chat in self.sim.site.chats.values() if not chat.deleted]

    def journal(self, name: str = "asks.jsonl") -> Path:
        return self.data / name


class Terminal:
    """`qwen-gateway ask` where standard output and standard error are one terminal."""

    def __init__(self, directory: Path, environ: dict[str, str], line: list[str]) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._popen = subprocess.Popen(
            line,
            cwd=directory,
            env={"PATH": os.defpath, "HOME": str(directory), "TERM": "xterm-256color", **environ},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    async def shown(self) -> str:
        """All that it shows until its end, which is a good one."""
        return await asyncio.to_thread(self._shown)

    def _shown(self) -> str:
        said = b""
        try:
            while select.select([self._ours], [], [], PATIENCE)[0]:
                try:
                    new = os.read(self._ours, 65_536)
                except OSError:  # what Linux says at the end
                    new = b""
                if not new:
                    break
                said += new
            assert self._popen.wait(PATIENCE) == 0, said
        finally:
            self._popen.kill()
            self._popen.wait()
            os.close(self._ours)
        return said.decode().replace("\r\n", "\n")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


async def stopped(process: Process, number: signal.Signals) -> tuple[int, str, str]:
    """Sends a signal: exit code, the rest of standard output, standard error."""
    return await asyncio.to_thread(process.stop, number)
