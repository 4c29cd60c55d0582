"""What becomes of the chats that the gateway makes at the site."""

import asyncio
import os
from pathlib import Path

import pytest

from qwen_gateway.simulator import Simulator

from . import process, wire
from .rig import KEY, QUICK, Rig, running, until
from .wire import ask, request_bytes


async def test_a_chat_is_gone_right_after_its_answer(rig: Rig) -> None:
    for stream in (True, False):
        assert (await rig.post(ask(stream=stream))).status == 200
    await until(lambda: not rig.left_over)
    assert len(rig.sim.site.deleted) == 2
    assert rig.sim.site.stops == 0, "an answer that ended needs no stop"


async def test_a_chat_lives_while_its_answer_runs(rig: Rig) -> None:
    await rig.program({"text": "a b c d e", "delay_ms": 60})
    running_answer = asyncio.create_task(rig.post(ask(stream=True)))
    await until(lambda: bool(rig.sim.site.streams))
    while rig.sim.site.streams:
        assert len(rig.left_over) == 1
        await asyncio.sleep(0.02)
    await running_answer
    await until(lambda: not rig.left_over)


@pytest.mark.parametrize("policy", ["keep", "24"])
async def test_chats_that_shall_stay_stay(tmp_path: Path, policy: str) -> None:
    async with running(tmp_path, **QUICK, delete_chats=policy) as rig:
        assert (await rig.post(ask())).status == 200
        await rig.settle()
        await asyncio.sleep(0.1)
        assert len(rig.left_over) == 1
        (chat,) = rig.sim.site.chats.values()
        assert chat.title.startswith("API ") == (policy == "24")
    journal = (tmp_path / "data" / "chats.jsonl").read_text()
    assert (chat.id in journal) == (policy == "24")


async def test_hours_begin_when_the_chat_is_made(tmp_path: Path) -> None:
    async with running(tmp_path, **QUICK, delete_chats=1 / 3600) as rig:
        assert (await rig.post(ask())).status == 200
        await rig.settle()
        assert len(rig.left_over) == 1
        await until(lambda: not rig.left_over, 4)


@pytest.mark.parametrize(("legacy", "stays"), [("true", False), ("false", True)])
async def test_the_old_switch_is_honoured(tmp_path: Path, legacy: str, stays: bool) -> None:
    async with Simulator() as sim:
        sim.site.controlled = True
        settings = {"site_url": sim.url, "cookies": sim.cookies(), "api_keys": KEY}
        with process.serve(tmp_path, legacy={"IS_DELETE": legacy}, **settings) as gateway:
            request = request_bytes("/v1/chat/completions", ask(), key=KEY)
            assert (await wire.exchange(gateway.url, request)).status == 200
            (chat,) = sim.site.chats.values()
            if stays:
                await asyncio.sleep(0.3)
                assert not chat.deleted
            else:
                await until(lambda: chat.deleted)


async def test_a_deletion_that_fails_is_tried_again(rig: Rig) -> None:
    await rig.program(delete_fault="down")
    assert (await rig.post(ask())).status == 200
    await rig.settle()
    assert len(rig.left_over) == 1
    await rig.program(delete_fault=None)
    await until(lambda: not rig.left_over, 5)


async def test_a_chat_that_somebody_else_deleted_counts_as_deleted(rig: Rig, tmp_path: Path) -> None:
    await rig.program(delete_fault="not_found")
    assert (await rig.post(ask())).status == 200
    await rig.settle()
    assert not rig.service.turns.chats._journal.records()


async def test_when_no_chat_can_be_made_the_fault_is_told(rig: Rig) -> None:
    await rig.program(chats_new_fault="http_503")
    answer = await rig.post(ask())
    assert (answer.status, answer.error()["code"]) == (502, "upstream_error")
    assert not rig.sim.site.seen


async def test_a_full_disk_is_told_and_no_chat_is_made(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    answer = await rig.post(ask())
    monkeypatch.undo()
    assert (answer.status, answer.error()["code"]) == (503, "storage_unavailable")
    assert "No space left" in answer.error()["message"]
    assert (answer.headers["x-gateway-fault"], answer.headers["x-should-retry"]) == ("gateway", "true")
    assert not rig.sim.site.chats
    assert (await rig.post(ask())).status == 200
