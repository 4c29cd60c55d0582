"""The command as a whole: its version, its help, and how little it needs to start."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from typer.testing import CliRunner

from qwen_gateway import __version__
from qwen_gateway.cli import app, main

COMMANDS = (
    "serve",
    "demo",
    "login",
    "accounts",
    "keys",
    "usage",
    "settings",
    "models",
    "secrets",
    "simulator",
)


def test_the_installed_command_is_this_one() -> None:
    (entry,) = entry_points(group="console_scripts", name="qwen-gateway")
    assert entry.load() is main


def test_the_version_is_one_line() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"qwen-gateway {__version__}\n")


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_command(flag: str) -> None:
    result = CliRunner().invoke(app, [flag])
    assert result.exit_code == 0
    assert all(f"\n  {name} " in result.output for name in COMMANDS)
    assert "qwen-gateway demo" in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage: " in result.output


def test_help_loads_nothing_heavy() -> None:
    heavy = {"pydantic", "aiohttp", "uvicorn", "fastapi", "rich.table", "sqlalchemy", "cryptography", "alembic"}
    code = f"import sys; import qwen_gateway.cli; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"
