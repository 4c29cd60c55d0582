"""The commands on the real management, as processes of their own, on the simulator."""

import json
import re
import signal
from collections.abc import Iterator

import pytest
from tests.cli.conftest import Commands


@pytest.fixture
def site(quick_commands: Commands) -> Iterator[tuple[str, str]]:
    """URL and cookies of a simulator."""
    process = quick_commands.start("simulator", "--port", "0")
    text = process.until("Stop with Ctrl-C.")
    url, cookies = re.search(r"--site-url (\S+)", text), re.search(r"COOKIES='(.+)'", text)
    assert url is not None
    assert cookies is not None
    yield url[1], cookies[1]
    process.stop(signal.SIGINT)


def test_an_account_and_a_key_from_their_beginning_to_their_end(
    quick_commands: Commands, site: tuple[str, str]
) -> None:
    url, cookies = site
    (quick_commands.directory / "login.txt").write_text(f"Cookie: {cookies}")
    (quick_commands.directory / "own.toml").write_text(f'site_url = "{url}"\ndata_dir = "state"')

    def run(*arguments: str, code: int = 0) -> tuple[str, str]:
        done = quick_commands.run(*arguments, "--config", "own.toml")
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert all(value not in done.stdout + done.stderr for value in re.findall(r"ey[\w.-]{20,}", cookies))
        return done.stdout, done.stderr

    imported = json.loads(run("login", "--file", "login.txt", "--name", "me", "--json")[0])
    assert (imported["account"]["state"], imported["renewed"]) == ("valid", False)
    assert re.search(r"^me +valid ", run("accounts", "list")[0], re.MULTILINE)
    run("accounts", "check", "me")
    assert "memory.enable_memory (now: on)" in run("accounts", "settings", "me", "--off", "memory", "--yes")[1]
    assert "memory.enable_memory" in run("accounts", "settings", "me", "--undo")[0]

    key, said = run("keys", "create", "--name", "laptop", "--rpm", "5", "--expires", "1d", "--endpoints", "models")
    assert re.fullmatch(r"sk-qg-\S+\n", key)
    assert key.strip() not in said
    assert run("keys", "rotate", "laptop")[0] != key
    run("keys", "disable", "laptop")
    assert json.loads(run("keys", "list", "--json")[0])["keys"][0]["enabled"] is False

    for by in ("day", "key", "model", "account", "endpoint", "end"):
        assert run("usage", "--by", by)[0].startswith("No requests from ")
    assert json.loads(run("secrets", "rotate", "--json")[0]) == {"sealed": 1, "files": 0}
    run("accounts", "check", "me")
    run("accounts", "remove", "me", "--yes")
    run("accounts", "check", "me", code=2)
