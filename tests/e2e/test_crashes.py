"""A gateway that is killed: the next start deletes what the last one made, and never anything else."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qwen_gateway.simulator import Simulator

from . import process, wire
from .rig import KEY, until
from .test_client_leaves import Held
from .wire import Json, ask, request_bytes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes in another way")
STREAM = request_bytes("/v1/chat/completions", ask(stream=True), key=KEY)
LONG: Json = {"text": "word " * 400, "delay_ms": 10, "sticky": True}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        running.site.controlled = True
        yield running


async def _program(sim: Simulator, turn: Json) -> None:
    assert (await wire.exchange(sim.url, request_bytes("/__sim/program", {"turns": [turn]}))).status == 200


async def _by_hand(sim: Simulator, title: str, cookies: str) -> str:
    """A chat that a person made in the browser."""
    headers = {"Cookie": cookies, "source": "web", "Version": "0.3.12"}
    body = {"title": title, "models": ["qwen3.7-plus"]}
    answer = await wire.exchange(sim.url, request_bytes("/api/v2/chats/new", body, **headers))
    return str(answer.json()["data"]["id"])


def _make_due(directory: Path) -> list[Json]:
    """Lets the time pass until chats whose id never came are looked for. The open records."""
    journal = directory / "data" / "chats.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        if "put" in line:
            line["put"]["due"] = 0.0
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [line for line in lines if "put" in line]


@pytest.mark.timeout(120)
async def test_whenever_it_is_killed_our_chats_go_and_others_stay(sim: Simulator, tmp_path: Path) -> None:
    cookies = sim.cookies()
    settings: Json = {"site_url": sim.url, "cookies": cookies, "api_keys": KEY, "delete_chats": "now"}
    theirs = {await _by_hand(sim, title, cookies) for title in ("API plans", "New Chat", "", "API 123")}
    await _program(sim, LONG)
    for seconds in (0.01, 0.05, 0.12):
        with process.serve(tmp_path, **settings) as gateway:
            clients = [asyncio.create_task(_ask(gateway.url)) for _ in range(8)]
            await asyncio.sleep(seconds)
            gateway.process.kill()
            await asyncio.gather(*clients)
        _make_due(tmp_path)
    assert len(sim.site.chats) > len(theirs) + 2
    with process.serve(tmp_path, **settings):
        await until(lambda: {chat.id for chat in sim.site.chats.values() if not chat.deleted} <= theirs, 20)
    assert {chat.id for chat in sim.site.chats.values() if not chat.deleted} == theirs
    assert not set(sim.site.deleted) & theirs


async def test_a_chat_whose_id_never_came_is_found_by_its_title(sim: Simulator, tmp_path: Path) -> None:
    cookies = sim.cookies()
    theirs = await _by_hand(sim, "API to-do", cookies)
    async with Held() as held:
        held.target = sim.url
        settings: Json = {"cookies": cookies, "api_keys": KEY}
        with process.serve(tmp_path, site_url=held.url, **settings) as gateway:
            client = asyncio.create_task(_ask(gateway.url))
            await until(lambda: held.waiting == 1 and len(sim.site.chats) == 2)
            gateway.process.kill()
            await client
        (record,) = _make_due(tmp_path)
        assert "chat_id" not in record["put"] or record["put"]["chat_id"] is None
        with process.serve(tmp_path, site_url=sim.url, **settings):
            await until(lambda: bool(sim.site.deleted))
        assert theirs not in sim.site.deleted
        assert len(sim.site.deleted) == 1


async def test_a_kept_chat_is_in_the_journal_or_in_the_database_when_it_is_killed(
    sim: Simulator, tmp_path: Path
) -> None:
    """Once an answer is written down, its conversation goes on; when it was not yet, its chat goes, and all is told."""
    settings: Json = {"site_url": sim.url, "cookies": sim.cookies(), "api_keys": KEY, "delete_chats": "24"}
    with process.serve(tmp_path, **settings) as gateway:
        assert (await _post(gateway.url, ask("early"))).status == 200
        await until(lambda: _open_records(tmp_path) == 0)
        assert (await _post(gateway.url, ask("late"))).status == 200
        gateway.process.kill()
    early, late = sim.site.chats.values()
    more: list[Json] = [{"role": "assistant", "content": "ok"}, {"role": "user", "content": "and?"}]
    ways = {}
    with process.serve(tmp_path, **settings) as gateway:
        for text in ("early", "late"):
            body = ask(text)
            body["messages"] += more
            ways[text] = (await _post(gateway.url, body)).headers["x-gateway-continuation"]
        await until(lambda: _open_records(tmp_path) == 0)
    assert ways["early"] == "continue; reason=next"
    assert not early.deleted
    assert len(early.nodes) == 4
    assert ways["late"] == ("replay; reason=unknown" if late.deleted else "continue; reason=next")
    assert len(sim.site.chats) == (3 if late.deleted else 2)


def _open_records(directory: Path) -> int:
    """Chats that the journal has to have deleted."""
    lines = [json.loads(line) for line in (directory / "data" / "chats.jsonl").read_text().splitlines()]
    return len({line["put"]["title"] for line in lines if "put" in line} - {line.get("gone") for line in lines})


async def test_what_is_remembered_holds_no_content_and_no_secret(sim: Simulator, tmp_path: Path) -> None:
    cookies = sim.cookies()
    settings: Json = {"site_url": sim.url, "cookies": cookies, "api_keys": KEY, "delete_chats": "24"}
    await _program(sim, {"text": "canary-answer"})
    with process.serve(tmp_path, **settings) as gateway:
        assert (await _post(gateway.url, ask("canary-prompt", user="canary-user"))).status == 200
        await until(lambda: _open_records(tmp_path) == 0)
        written = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    (chat,) = sim.site.chats
    assert chat.encode() in (tmp_path / "data" / "gateway.db-wal").read_bytes(), "it is deleted tomorrow"
    secrets = [pair.split("=", 1)[1] for pair in cookies.split("; ")[:3]]
    for secret in ("canary", KEY, *secrets):
        assert secret.encode() not in written
    assert {oct(path.stat().st_mode & 0o077) for path in (tmp_path / "data").iterdir()} == {"0o0"}


async def test_a_second_gateway_on_the_same_directory_says_so(sim: Simulator, tmp_path: Path) -> None:
    with process.serve(tmp_path, site_url=sim.url):
        command = [sys.executable, "-m", "qwen_gateway", "serve"]
        settings: Json = {"port": 0, "data_dir": tmp_path / "data", "site_url": sim.url}
        second = await asyncio.create_subprocess_exec(
            *command, env=process.environment(settings), stderr=asyncio.subprocess.PIPE
        )
        _, said = await asyncio.wait_for(second.communicate(), 15)
    assert second.returncode == 2
    assert b"Another gateway" in said
    assert b"Traceback" not in said


async def _post(url: str, body: Json) -> wire.Answer:
    return await wire.exchange(url, request_bytes("/v1/chat/completions", body, key=KEY))


async def _ask(url: str) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        await wire.exchange(url, STREAM)
