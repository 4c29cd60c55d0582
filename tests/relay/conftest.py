"""Async tests run on asyncio."""

from collections.abc import AsyncIterator

import pytest

from qwen_gateway.relay import machine, path, upload_steps
from qwen_gateway.relay import memory as memory_module

from .turn_bench import Bench, MakeBench


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def make(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakeBench]:
    """Makes a `Bench` that waits for nothing but what is scripted."""
    monkeypatch.setattr(machine, "RETRY_AFTER", 0.001)
    monkeypatch.setattr(machine, "BUSY_WAITS", (0.01, 0.02))
    monkeypatch.setattr(path, "VERIFY_AGAIN", 0.001)
    monkeypatch.setattr(upload_steps, "FIRST_LOOK", 0.001)
    monkeypatch.setattr(upload_steps, "LONGEST_LOOK", 0.002)
    for name in ("DELAY", "RETRY", "RETRY_IN_HASTE"):
        monkeypatch.setattr(memory_module, name, 0.001)
    made: list[Bench] = []

    def bench(*replies: object, **settings: object) -> Bench:
        made.append(Bench(*replies, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield bench
    for one in made:
        await one.memory.close(0)
