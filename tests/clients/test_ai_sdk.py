"""The AI SDK of Vercel, which runs on Node.js: its tests are in `ai_sdk.test.mjs`."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.e2e.process import Demo
from tests.e2e.wire import MODEL

HERE = Path(__file__).parent


@pytest.mark.needs("node", "npm")
@pytest.mark.timeout(120)
def test_the_ai_sdk_has_tools_and_objects(demo: Demo) -> None:
    environ = {
        **os.environ,
        "BASE_URL": demo.base_url,
        "SIMULATOR_URL": demo.simulator_url,
        "KEY": demo.key,
        "MODEL": MODEL,
    }
    command = ["node", "--test", "--test-reporter=spec", "ai_sdk.test.mjs"]
    found = subprocess.run(command, cwd=HERE, env=environ, capture_output=True, text=True, timeout=100, check=False)
    print(found.stdout)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "ℹ fail 0" in found.stdout
