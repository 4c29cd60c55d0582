"""What all tests share: `needs`, for tests that want a program which no Python package brings."""

import os
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

_packages = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "packages.py"))
_find: Callable[[str], str | None] = _packages["find"]

# Taken out of the environment: a gateway that a test starts would refuse it as an unknown setting.
_REQUIRED = os.environ.pop("QWEN_GATEWAY_REQUIRE_PACKAGES", "") == "1"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*names): programs that the test wants; tools/packages.py lists them")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if _find(name) is None:
                reason = f"needs {name}, which is not installed (Debian: {_packages['NEEDS'][name].package})"
                if _REQUIRED:
                    pytest.fail(reason, pytrace=False)
                pytest.skip(reason)
