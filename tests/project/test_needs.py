"""`needs`: skipped without the program, a failure where it is required, and said at the end."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEST = """\
import os
import pytest

@pytest.mark.needs("chromium")
def test_with_a_browser():
    pass

def test_the_gateway_does_not_see_the_variable():
    assert "QWEN_GATEWAY_REQUIRE_PACKAGES" not in os.environ
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("tests/conftest.py", "tools/packages.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "tests" / "test_it.py").write_text(TEST)
    return tmp_path


def _pytest(tree: Path, *, required: bool) -> str:
    environ = {**os.environ, "PATH": str(tree), "QWEN_GATEWAY_REQUIRE_PACKAGES": "1" if required else ""}
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "tests"]
    return subprocess.run(command, cwd=tree, env=environ, text=True, capture_output=True, check=False).stdout


def test_a_test_is_skipped_without_its_program_and_the_end_says_so(tree: Path) -> None:
    said = _pytest(tree, required=False)
    assert "SKIPPED" in said
    assert "needs chromium, which is not installed (Debian: chromium)" in said
    assert "1 passed, 1 skipped" in said


def test_a_test_fails_without_its_program_where_that_is_required(tree: Path) -> None:
    assert "1 passed, 1 error" in _pytest(tree, required=True)


def test_without_root_nothing_is_installed_and_nothing_fails(tree: Path) -> None:
    environ = {**os.environ, "PATH": str(tree)}  # no apt-get there
    command = [sys.executable, "tools/packages.py"]
    found = subprocess.run(command, cwd=tree, env=environ, text=True, capture_output=True, check=False)
    assert found.returncode == 0
    assert "missing for some tests: chromium" in found.stdout
    assert "not installed" in found.stdout
