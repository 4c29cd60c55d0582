"""`settings`: values and origins, as a table and as JSON, and never a secret."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qwen_gateway.cli import app
from qwen_gateway.settings import Settings

SECRET = "canary-5f1c"


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")


def test_json_has_every_setting_with_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN_GATEWAY_PORT", "9000")
    result = CliRunner().invoke(app, ["settings", "--json", "--set", "heartbeat=3"])
    shown = json.loads(result.stdout)
    assert list(shown) == list(Settings.model_fields)
    assert shown["port"] == {"value": "9000", "origin": "environment QWEN_GATEWAY_PORT"}
    assert shown["heartbeat"] == {"value": "3", "origin": "flag --set heartbeat"}
    assert shown["host"] == {"value": "127.0.0.1", "origin": "default"}


def test_the_table_masks_secrets_and_takes_brackets_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(
        f'api_keys = ["{SECRET}"]\nuser_agent = "[red]x"\ncookies = "a={SECRET}"\ndatabase_url = "postgresql://a:{SECRET}@b"'
    )
    result = CliRunner().invoke(app, ["settings", "--config", "other.toml"])
    assert result.exit_code == 0
    assert SECRET not in result.output
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert "•••• (set)" in rows["api_keys"]
    assert "other.toml api_keys" in rows["api_keys"]
    assert "[red]x" in rows["user_agent"]


@pytest.mark.parametrize("name", ["cookies", "token", "api_keys", "database_url", "redis_url", "secret_key"])
def test_a_secret_as_a_flag_is_refused_and_not_repeated(name: str) -> None:
    for written in (name, name.replace("_", "-")):
        result = CliRunner().invoke(app, ["settings", "--set", f"{written}={SECRET}"])
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"QWEN_GATEWAY_{name.upper()}, or in qwen-gateway.toml" in result.stderr
        assert "other users of this machine can read the command line" in result.stderr
        assert SECRET not in result.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--set", "port=x"], "qwen-gateway: port (flag --set port): should be a whole number; it is 'x'.\n"),
        (["--config", "gone.toml"], "qwen-gateway: gone.toml: cannot be read: No such file or directory.\n"),
        (
            ["--set", "port=x", "--set", "hots=y"],
            """\
qwen-gateway: 2 settings cannot be used:
  - --set hots: there is no such setting. Did you mean host?
  - port (flag --set port): should be a whole number; it is 'x'.
""",
        ),
    ],
)
def test_problems_are_a_plain_message_and_exit_code_2(flags: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["settings", *flags])
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", said)
