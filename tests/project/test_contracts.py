"""The import contracts of pyproject.toml hold, and each of them can break."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Contract → a module of ours, and a line that breaks the contract there.
FORBIDDEN = {
    "layers": ("turn/prompt.py", "import qwen_gateway.relay.run"),
    "pure": ("shaping/tokens.py", "import time"),
    "dialects-and-upstreams": ("relay/pipeline.py", "import qwen_gateway.upstreams.qwen"),
    "relay": ("relay/watch.py", "import aiohttp"),
    "ports": ("relay/ports.py", "import qwen_gateway.accounts.rest"),
    "net-and-store": ("store/lock.py", "import qwen_gateway.relay.watch"),
    "server": ("server/body.py", "import qwen_gateway.settings"),
    "server-through-relay": ("server/body.py", "import qwen_gateway.accounts.rest"),
    "settings": ("settings_sources.py", "import qwen_gateway.turn.faults"),
    "simulator": ("simulator/seen.py", "import qwen_gateway.turn.faults"),
    "simulator-users": ("app/core.py", "import qwen_gateway.simulator"),
    "app-users": ("settings_docs.py", "import qwen_gateway.app"),
    "cli": ("cli/serve.py", "import qwen_gateway.server.logs"),
    "http-client": ("server/guard.py", "import aiohttp"),
    "databases": ("app/manage.py", "import sqlalchemy"),
}


def _lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    environ = {**os.environ, "PYTHONPATH": str(tree / "src"), "COLUMNS": "200"}
    return subprocess.run(command, cwd=tree, env=environ, text=True, capture_output=True, check=False)


def _contracts() -> dict[str, str]:
    """Each contract's name, by id."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {one["id"]: one["name"] for one in settings["tool"]["importlinter"]["contracts"]}


def test_every_contract_can_break(tmp_path: Path) -> None:
    assert FORBIDDEN.keys() == _contracts().keys()
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert "0 broken" in _lint(tmp_path).stdout
    for name, line in FORBIDDEN.values():
        module = tmp_path / "src" / "qwen_gateway" / name
        module.write_text(module.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    found = _lint(tmp_path)
    assert found.returncode == 1
    broken = {said for said in _contracts().values() if re.search(re.escape(said) + r" ?BROKEN", found.stdout)}
    assert broken == set(_contracts().values())


def test_a_package_without_a_layer_breaks_a_contract(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    new = tmp_path / "src" / "qwen_gateway" / "extras"
    new.mkdir()
    (new / "__init__.py").write_text("")
    assert re.search("has its layer ?BROKEN", _lint(tmp_path).stdout)
