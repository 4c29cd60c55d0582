"""The Makefile explains itself, does not install twice, and finds a Python that will do."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


def _make(tree: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PATH": path or os.environ["PATH"]}
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        environ.pop(name, None)
    make = shutil.which("make") or "make"
    return subprocess.run([make, *arguments], cwd=tree, env=environ, text=True, capture_output=True, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The Makefile alone, with a virtual environment of empty programs that only say what they were told."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "python3.13"
    fake.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = -c ]; then exit 0; fi\n'
        'if [ "$2" = venv ]; then mkdir -p .venv/bin; cp "$0" .venv/bin/python; cp "$0" .venv/bin/qwen-gateway; fi\n'
        'echo "$0 $*" >> calls\n'
    )
    fake.chmod(0o755)
    return tmp_path


def test_help_lists_all_targets() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    listed = [line.split()[0] for line in _make(ROOT, "help").stdout.splitlines()]
    assert listed == phony[1].split()


def test_a_second_run_installs_only_what_has_changed(tree: Path) -> None:
    path = f"{tree / 'bin'}:{os.environ['PATH']}"
    assert _make(tree, "demo", path=path).returncode == 0
    calls = (tree / "calls").read_text().splitlines()
    assert [re.sub(r".*pip install .*(-r \S+|-e \.)$", r"\1", call) for call in calls][1:3] == [
        "-r requirements/install.txt",
        "-e .",
    ]
    assert "--require-hashes" in calls[1]
    assert "--no-deps --no-build-isolation" in calls[2]
    (tree / "calls").unlink()
    assert _make(tree, "demo", path=path).returncode == 0
    assert (tree / "calls").read_text().splitlines() == [".venv/bin/qwen-gateway demo"]


def test_without_a_fit_python_it_says_what_to_do(tree: Path) -> None:
    old = tree / "bin" / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    (tree / "bin" / "python3.13").unlink()
    found = _make(tree, "demo", f"PYTHON={old}")
    assert found.returncode == 2
    assert "no Python of version 3.11 or later" in found.stderr
    assert "make PYTHON=" in found.stderr
