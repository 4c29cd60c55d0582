"""What must never be written anywhere: prompts, answers, keys, cookies, tokens."""

import asyncio
import json
from pathlib import Path

from qwen_gateway.simulator import Simulator

from . import process, wire
from .rig import until
from .wire import ask, request_bytes

KEY = "sk-canary-key-0123456789"


async def test_no_content_and_no_secret_is_written_or_told(tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    async with Simulator() as sim:
        sim.site.controlled = True
        cookies = f"{sim.cookies()}; canary_cookie=canary-cookie-value"
        token = sim.token()
        secrets = ["canary", KEY, token, *(pair.split("=", 1)[1] for pair in cookies.split("; ")[:3])]
        settings: wire.Json = {
            "site_url": sim.url,
            "cookies": cookies,
            "token": token,
            "api_keys": KEY,
            "log_file": log,
            "log_level": "debug",
            "heartbeat": 5,
            "challenge_rest": 0.2,
            "idle_timeout": 0.4,
        }
        with process.serve(tmp_path, **settings) as gateway:
            faults = [
                "server",
                "unauthorized",
                "http_500",
                "disconnect",
                "f36",
                "f27",
                "f52",
                "content_filter",
                "stall",
            ]
            turns: list[wire.Json] = [{"text": "canary answer", "thinking": "canary thought"}]
            turns += [
                {"text": "canary answer", "error": name, "after_chunks": 1} for name in faults if name != "http_500"
            ]
            turns += [{"text": "canary answer", "error": name} for name in [*faults, "challenge"]]
            bodies = [
                ask("canary prompt", stream=n % 2 == 0, canary="x", enable_thinking=True) for n in range(len(turns))
            ]
            for turn, body in zip(turns, bodies, strict=True):
                await _program(sim, turn)
                await _exchange(gateway.url, request_bytes("/v1/chat/completions", body, key=KEY))
            told = b""
            refused = [
                request_bytes("/v1/chat/completions", ask("canary"), key="canary-wrong-key"),
                request_bytes("/v1/chat/completions", b'{"canary', key=KEY),
                request_bytes("/v1/chat/completions?canary=1", b'{"model": 1, "canary": 2}', key=KEY),
            ]
            for request in refused:
                told += (await wire.exchange(gateway.url, request)).body
            for page in ("/metrics", "/health", "/", "/docs", "/openapi.json"):
                told += (await wire.exchange(gateway.url, request_bytes(page, key=KEY))).body
            await until(lambda: not sim.site.streams)
            gateway.signal()
            assert await asyncio.to_thread(gateway.exit_code) == 0
        files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
        written = {path: path.read_bytes() for path in (log, gateway.log, *files)}
    for secret in secrets:
        assert secret not in told.decode(), secret
        for path, text in written.items():
            assert secret.encode() not in text, (secret, path.name)
    lines = [json.loads(line) for line in written[log].splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert len(requests) == len(turns) + len(refused)
    assert len({line["request_id"] for line in requests}) == len(requests)
    for line in requests:
        assert {"endpoint", "stream", "model", "account", "status", "end", "code", "duration_ms", "tries"} <= set(line)
    assert {line["event"] for line in lines} <= {"ready", "request", "stop_failed", "delete_failed"}
    assert not written[gateway.log].strip(), "lines go to the file instead"


async def _program(sim: Simulator, turn: wire.Json) -> None:
    body = request_bytes("/__sim/program", {"turns": [turn]})
    sim.site.queue.clear()
    assert (await wire.exchange(sim.url, body)).status == 200, turn


async def _exchange(url: str, request: bytes) -> None:
    await wire.exchange(url, request)
