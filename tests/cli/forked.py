"""Commands in processes of their own that begin without importing libraries anew, which takes most of their time.

    Popen(client, …) ──its streams, directory, environment, arguments──► server ──fork──► keeper ──fork──► the command
                     ◄──────────────────── exit code ───────────────────────────────────────┘

The server has imported the libraries that commands use, and nothing of ours: what our modules do when they are imported
happens in each command. Signals are passed on, and a client that is killed takes its command along.
"""

import gc
import os
import runpy
import select
import signal
import socket
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

_LENGTH = struct.Struct(">I")
_PASSED = (signal.SIGINT, signal.SIGTERM)
LIBRARIES = (
    "aiohttp",
    "aiosqlite",
    "alembic.autogenerate",
    "alembic.command",
    "alembic.script",
    "alibabacloud_oss_v2",
    "cryptography.fernet",
    "cryptography.hazmat.primitives.ciphers.aead",
    "dotenv",
    "filetype",
    "jsonschema_rs",
    "platformdirs",
    "pydantic.fields",
    "pydantic.json_schema",
    "pydantic.type_adapter",
    "requests",
    "rich.console",
    "rich.progress",
    "sqlalchemy.ext.asyncio",
    "structlog",
    "typer",
    "uvicorn",
    "uvloop",
)


def client(address: str, arguments: list[str]) -> int:
    """The exit code of the command with these arguments."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        for number in _PASSED:
            signal.signal(number, lambda number, _frame: server.send(bytes([number])))
        environ = [f"{name}={value}" for name, value in os.environ.items()]
        told = "\0".join((str(Path.cwd()), str(len(arguments)), *arguments, *environ)).encode(
            "utf-8", "surrogateescape"
        )
        socket.send_fds(server, [_LENGTH.pack(len(told))], [0, 1, 2])
        server.sendall(told)
        for stream in (0, 1, 2):
            os.close(stream)  # whoever holds the other end must see that the command closes it
        return server.recv(1)[0]


def serve(address: str) -> None:
    """Until standard input is closed."""
    for name in LIBRARIES:
        with suppress(ModuleNotFoundError):
            __import__(name)
    gc.collect()
    gc.freeze()  # else each command copies what its collector only looks at
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        print("ready", flush=True)
        while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _keep(connection)
            connection.close()


def _keep(connection: socket.socket) -> NoReturn:
    """Starts a command, and stays beside it until it ends."""
    head, streams, _, _ = socket.recv_fds(connection, _LENGTH.size, 3)
    (size,) = _LENGTH.unpack(head)
    told = b""
    while len(told) < size:
        told += connection.recv(size - len(told))
    directory, count, *rest = told.decode("utf-8", "surrogateescape").split("\0")
    child = os.fork()
    if child == 0:
        connection.close()
        _become(streams, directory, rest[: int(count)], rest[int(count) :])
    for stream in (0, 1, 2, *streams):
        os.close(stream)
    threading.Thread(target=_pass_on, args=(connection, child), daemon=True).start()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    with suppress(OSError):
        connection.send(bytes([code if code >= 0 else 128 - code]))
    os._exit(0)


def _pass_on(connection: socket.socket, child: int) -> None:
    while number := connection.recv(1):
        os.kill(child, number[0])
    os.kill(child, signal.SIGKILL)


def _become(streams: list[int], directory: str, arguments: list[str], environ: list[str]) -> NoReturn:
    """As `python -m qwen_gateway` begins and ends."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape")  # noqa: SIM115 - for as long as it lives
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    os.chdir(directory)
    os.environ.clear()
    os.environ.update({name: value for name, _, value in (pair.partition("=") for pair in environ)})
    sys.argv = ["qwen-gateway", *arguments]
    runpy.run_module("qwen_gateway", run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(sys.argv[2])
    else:
        sys.exit(client(sys.argv[1], sys.argv[2:]))
