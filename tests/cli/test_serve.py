"""`serve`, with the `simulator` and `models` commands beside it: as a user joins them, following what they print."""

import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Commands
from typer.testing import CliRunner

from qwen_gateway.cli import app
from qwen_gateway.simulator import Simulator

SECRET = "canary-5f1c"


@pytest.fixture
def site(quick_commands: Commands) -> Iterator[tuple[str, str]]:
    """URL and cookies, from what `simulator` prints."""
    process = quick_commands.start("simulator", "--port", "0")
    text = process.until("Stop with Ctrl-C.")
    assert "not come from a Qwen model" in text
    cookies = re.search(r"QWEN_GATEWAY_COOKIES='(.+)' \\$", text, re.MULTILINE)
    url = re.search(r"--site-url (\S+)$", text, re.MULTILINE)
    assert cookies is not None
    assert url is not None
    yield url[1], cookies[1]
    code, _, err = process.stop(signal.SIGINT)
    assert (code, err) == (0, "")


def test_serve_and_models_work_on_the_simulator(quick_commands: Commands, site: tuple[str, str]) -> None:
    url, cookies = site
    environ = {"QWEN_GATEWAY_COOKIES": cookies}
    listed = json.loads(quick_commands.run("models", "--json", "--set", f"site_url={url}", environ=environ).stdout)
    assert listed["stale"] is False
    assert listed["models"][0]["id"] == "qwen3.7-plus"
    assert "qwen3.7-plus-thinking" in listed["models"][0]["variants"]

    flags = ("--site-url", url, "--port", "0", "--log-format", "json", "--data-dir", "state")
    process = quick_commands.start("serve", *flags, environ=environ)
    base_url = json.loads(process.until("\n", "stderr"))["base_url"]
    with urllib.request.urlopen(base_url + "/models", timeout=10) as reply:  # noqa: S310
        assert json.load(reply)["data"][0]["id"] == "qwen3.7-plus"
    # Beside a gateway that runs, on the same data directory.
    table = quick_commands.run("models", "--set", f"site_url={url}", "--set", "data_dir=state", environ=environ)
    assert (table.returncode, table.stderr) == (0, "")
    assert re.search(r"qwen3\.7-plus +1,000,000 +switch .* -thinking", table.stdout)
    code, out, err = process.stop(signal.SIGTERM)
    assert (code, out) == (0, "")
    assert "Traceback" not in err


def test_without_an_account_the_models_are_the_built_in_ones_and_that_is_said(quick_commands: Commands) -> None:
    done = quick_commands.run("models", "--set", "site_url=http://127.0.0.1:9")
    assert done.returncode == 1
    assert "it may be out of date" in done.stderr
    assert "No Qwen account is connected" in done.stderr
    assert "qwen3" in done.stdout


def greeting(commands: Commands, *flags: str, environ: dict[str, str]) -> str:
    """What `serve` says on a terminal."""
    ours, theirs = os.openpty()
    popen = subprocess.Popen(
        [*commands.line, "serve", "--port", "0", "--log-file", "g.log", *flags],
        cwd=commands.directory,
        env={"PATH": os.defpath, "HOME": str(commands.directory), **environ},
        stderr=theirs,
    )
    os.close(theirs)
    try:
        said = b""
        while b"Stop with Ctrl-C." not in said:  # at the end of the process, reading raises OSError
            said += os.read(ours, 4096)
        popen.terminate()
        assert popen.wait(10) == 0
    finally:
        popen.kill()
        popen.wait()
        os.close(ours)
    return said.decode()


def test_on_a_terminal_it_says_where_it_listens_and_how_to_connect_an_account(commands: Commands) -> None:
    said = greeting(commands, environ={})
    assert re.search(r"listens at http://127\.0\.0\.1:\d+/v1", said)
    assert "No Qwen account is connected yet." in said
    assert "In another terminal: qwen-gateway login" in said
    assert "qwen-gateway demo" in said


def test_on_a_terminal_it_says_until_when_the_session_lasts(quick_commands: Commands) -> None:
    cookies = Simulator().cookies(expires_in=40 * 24 * 3600)
    said = greeting(quick_commands, "--site-url", "http://127.0.0.1:9", environ={"QWEN_GATEWAY_COOKIES": cookies})
    assert re.search(r"account account-1 is connected; its session lasts until \d{1,2} \w+ \d{4}, \d\d:\d\d\.", said)
    assert "token" not in said


def test_beyond_this_machine_it_wants_a_key(quick_commands: Commands) -> None:
    # In a process of its own: only with the database open is it known that there is none.
    done = quick_commands.run("serve", "--host", "0.0.0.0", "--port", "0", "--set", "data_dir=state")  # noqa: S104
    assert done.returncode == 2
    assert "refusing to start on 0.0.0.0 without a key" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "environ", "said"),
    [
        ((), {"QWEN_API_KEY": SECRET}, "token (environment QWEN_API_KEY): The Qwen token does not look like one"),
        (
            (),
            {"QWEN_GATEWAY_COOKIES": SECRET},
            "cookies (environment QWEN_GATEWAY_COOKIES): The cookies cannot be read",
        ),
        (("--log-level", "loud"), {}, "log_level (flag --log-level): should be"),
        (("--port", "70000"), {}, "port (flag --port): should be at most 65535"),
    ],
)
def test_settings_that_keep_it_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], environ: dict[str, str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["serve", *flags], env=environ)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"qwen-gateway: {said}")
    assert SECRET not in result.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ("--host", "203.0.113.9"),
            "203.0.113.9 is not an address of this machine",
        ),
        (("--port", "0", "--data-dir", "file"), "The data directory "),
    ],
)
def test_surroundings_that_keep_it_from_starting(quick_commands: Commands, flags: tuple[str, ...], said: str) -> None:
    (quick_commands.directory / "file").touch()
    done = quick_commands.run("serve", *flags, environ={"QWEN_GATEWAY_API_KEYS": "sk-long-enough"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"qwen-gateway: {said}")
    assert "Traceback" not in done.stderr


def test_a_taken_port(quick_commands: Commands, taken_port: int) -> None:
    done = quick_commands.run("serve", "--port", str(taken_port))
    assert done.returncode == 2
    assert done.stderr == (
        f"qwen-gateway: port {taken_port} on 127.0.0.1 is taken by another program. "
        "Stop that one, or choose another with --port.\n"
    )


def test_the_simulator_stays_on_this_machine(quick_commands: Commands, taken_port: int) -> None:
    outside = quick_commands.run("simulator", "--host", "0.0.0.0")  # noqa: S104
    assert outside.returncode == 2
    assert "listens on this machine only" in outside.stderr
    taken = quick_commands.run("simulator", "--port", str(taken_port))
    assert taken.returncode == 2
    assert "is taken" in taken.stderr
