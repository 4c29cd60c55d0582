"""The documentation page, as a browser shows it: whole, without a complaint, and without a call to anywhere else."""

import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]


@pytest.fixture
def gateway() -> Iterator[str]:
    """The address of a demo."""
    command = [sys.executable, "-m", "qwen_gateway", "demo", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["base_url"].removesuffix("/v1")
        finally:
            process.terminate()


@pytest.mark.needs("chromium")
def test_the_documentation_page_needs_nothing_from_elsewhere(gateway: str, tmp_path: Path) -> None:
    browser_path = runpy.run_path(str(ROOT / "tools" / "packages.py"))["find"]("chromium")
    asked: list[str] = []
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{gateway}/docs")
        page.get_by_text("Answer a conversation", exact=True).wait_for()
        shown = page.inner_text("body")
        page.screenshot(path=tmp_path / "docs.png")
        browser.close()
    for path in ("/v1/chat/completions", "/v1/files", "/v1/models", "/health"):
        assert path in shown
    assert [url for url in asked if not url.startswith((gateway, "data:"))] == []
    assert complaints == []
    assert (tmp_path / "docs.png").stat().st_size > 10_000
