"""`demo`: ready in one line, usable with what it prints, apart from the user's own settings, and clean at its end."""

import json
import re
import signal
import socket
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any

import pytest
from tests.cli.conftest import Commands

SIGNALS = [signal.SIGTERM, signal.SIGINT]


def fetch(url: str, key: str, body: object = None) -> bytes:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=10) as reply:  # noqa: S310
        return bytes(reply.read())


@pytest.mark.parametrize("number", SIGNALS)
def test_it_answers_and_ends_cleanly(commands: Commands, number: signal.Signals) -> None:
    process = commands.start("demo", "--json", "--port", "0")
    ready = json.loads(process.until("\n"))
    assert list(ready) == ["base_url", "key", "simulator_url"]
    assert re.fullmatch(r"sk-demo-[0-9a-f]{16}", ready["key"])
    models = json.loads(fetch(ready["base_url"] + "/models", ready["key"]))
    assert "qwen3.7-plus" in [model["id"] for model in models["data"]]
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        fetch(ready["base_url"] + "/models", "sk-other-key")
    refused.value.close()
    code, out, err = process.stop(number)
    assert (code, out) == (0, "")
    assert "Traceback" not in err
    assert [path.name for path in commands.directory.iterdir()] == []


def test_what_it_prints_can_be_pasted(quick_commands: Commands) -> None:
    process = quick_commands.start("demo", "--port", "0", "--key", "sk-mine")
    text = process.until("Stop with Ctrl-C.")
    assert "not from a Qwen model" in text
    url = re.search(r"curl -N (\S+)", text)
    body = re.search(r"-d '(.+)'", text)
    assert url is not None
    assert body is not None
    reply = fetch(url[1], "sk-mine", json.loads(body[1]))
    assert reply.endswith(b"data: [DONE]\n\n")
    snippet = re.search(r"^  (from openai.+\n(?:  .+\n){3})", text, re.MULTILINE)
    assert snippet is not None
    compile(snippet[1].replace("\n  ", "\n"), "snippet", "exec")
    assert process.stop(signal.SIGTERM)[0] == 0


def test_a_reset_of_the_simulated_site_also_ends_the_rest_of_its_account(quick_commands: Commands) -> None:
    process = quick_commands.start("demo", "--json", "--port", "0", environ={"QWEN_GATEWAY_LONGEST_REST": "600"})
    ready = json.loads(process.until("\n"))
    url, sim = ready["base_url"] + "/chat/completions", ready["simulator_url"] + "/__sim/"
    chat = {"model": "qwen", "messages": [{"role": "user", "content": "hello"}]}
    fetch(sim + "program", "", {"turns": [{"error": "challenge"}]})
    for _ in range(2):  # the second one finds the account at rest
        with pytest.raises(urllib.error.HTTPError, match="503") as refused:
            fetch(url, ready["key"], chat)
        refused.value.close()
    assert len(json.loads(fetch(sim + "requests", ""))["requests"]) == 1
    fetch(sim + "reset", "", {})
    assert json.loads(fetch(url, ready["key"], chat))["choices"][0]["message"]["content"] == "ok"
    assert process.stop(signal.SIGTERM)[0] == 0


def test_the_users_own_account_and_files_play_no_part(quick_commands: Commands) -> None:
    (quick_commands.directory / ".env").write_text("QWEN_GATEWAY_NONSENSE=1\nQWEN_GATEWAY_HOST=0.0.0.0\n")
    (quick_commands.directory / "qwen-gateway.toml").write_text("nonsense = 1")
    own = ("COOKIES", "TOKEN", "SITE_URL", "AUTH_URL", "API_KEYS", "PASS_THROUGH", "DATA_DIR", "CONFIG", "USER_AGENT")
    environ = {f"QWEN_GATEWAY_{name}": "nonsense" for name in own} | {"IS_DELETE": "nonsense", "VALID_TOKENS": ","}
    tuned = {"QWEN_GATEWAY_API_PREFIX": "/deep", "QWEN_GATEWAY_LOG_FILE": "demo.log"}
    process = quick_commands.start("demo", "--json", "--port", "0", environ=environ | tuned)
    ready = json.loads(process.until("\n"))
    assert ready["base_url"].endswith("/deep/v1")
    fetch(ready["base_url"] + "/models", ready["key"])
    assert process.stop(signal.SIGTERM)[0] == 0
    assert (quick_commands.directory / "demo.log").exists()


def test_without_a_port_it_finds_a_free_one(quick_commands: Commands) -> None:
    with socket.socket() as other:
        with suppress(OSError):  # then somebody else has it, which is as good
            other.bind(("127.0.0.1", 8000))
            other.listen()
        process = quick_commands.start("demo", "--json")
        ready: Any = json.loads(process.until("\n"))
        assert not ready["base_url"].endswith(":8000/v1")
        fetch(ready["base_url"] + "/models", ready["key"])
        assert process.stop(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("flag", ["--port", "--simulator-port"])
def test_a_port_that_was_asked_for_and_is_taken(quick_commands: Commands, flag: str, taken_port: int) -> None:
    others = () if flag == "--port" else ("--port", "0")
    done = quick_commands.run("demo", flag, str(taken_port), *others)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"qwen-gateway: port {taken_port} on 127.0.0.1 is taken by another program.")


def test_a_setting_that_cannot_be_used_is_said(quick_commands: Commands) -> None:
    done = quick_commands.run("demo", environ={"QWEN_GATEWAY_IDLE_TIMEOUT": "soon"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("qwen-gateway: idle_timeout (environment QWEN_GATEWAY_IDLE_TIMEOUT)")
