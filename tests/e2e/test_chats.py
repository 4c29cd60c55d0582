"""What becomes of the chats that the gateway makes at the site."""

import asyncio
import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from qwen_gateway.relay import cleaning, sweep
from qwen_gateway.simulator import Simulator

from . import process, wire
from .conversations import NEXT, UNKNOWN, Client
from .rig import KEY, QUICK, Rig, running, until
from .wire import Json, ask, request_bytes


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
        (chat,) = rig.sim.site.chats.values()
        assert chat.title.startswith("API ") == (policy == "24")
        await _written(rig)
        assert [row["id"] for row in _rows(tmp_path)] == [chat.id]
        assert not rig.service.turns.chats._journal.records(), "the database has it from now on"
    assert not chat.deleted


async def test_a_chat_that_was_kept_outlives_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "EVERY", 0.05)
    async with Simulator() as sim:
        async with running(tmp_path, site=sim, **QUICK, delete_chats=24) as rig:
            assert (await rig.post(ask())).status == 200
        async with running(tmp_path, site=sim, **QUICK, delete_chats=24) as rig:
            await rig.settle()
            assert len(rig.left_over) == 1
            await _change(tmp_path, "used = 0")
            await until(lambda: not rig.left_over)
            await until(lambda: not _rows(tmp_path))


async def test_hours_begin_when_the_chat_was_last_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "EVERY", 0.05)
    async with running(tmp_path, **QUICK, delete_chats=1) as rig:
        for _ in range(2):
            assert (await rig.post(ask())).status == 200
        await _written(rig)
        old, young = rig.sim.site.chats.values()
        await _change(tmp_path, "created = created - 7200")
        await _change(tmp_path, "used = used - 3601", old.id)
        await until(lambda: old.deleted)
        assert not young.deleted


async def test_a_week_is_the_end_of_a_chat_however_much_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "EVERY", 0.05)
    async with running(tmp_path, **QUICK, delete_chats=168) as rig:
        for _ in range(2):
            assert (await rig.post(ask())).status == 200
        await _written(rig)
        old, young = rig.sim.site.chats.values()
        await _change(tmp_path, f"created = created - {7 * 86_400 + 1}", old.id)
        await until(lambda: old.deleted)
        assert not young.deleted


async def test_of_too_many_chats_those_that_were_not_used_for_longest_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "EVERY", 0.05)
    async with running(tmp_path, **QUICK, delete_chats=24, max_chats=2) as rig:
        for number in range(5):
            assert (await rig.post(ask(str(number)))).status == 200
        await until(lambda: len(rig.left_over) == 2)
        await _written(rig)
        await until(lambda: len(_rows(tmp_path)) == 2)
        assert [seen.prompt for seen in rig.sim.site.seen if seen.chat_id in rig.left_over] == ["3", "4"]


async def test_a_chat_in_which_an_answer_runs_is_not_deleted_though_it_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "EVERY", 0.05)
    async with running(tmp_path, **QUICK, delete_chats=1) as rig:
        client = Client(rig)
        await client.say("one", "1")
        await _written(rig)
        await rig.program({"text": "word " * 20, "delay_ms": 20})
        answer = asyncio.create_task(client.say("two"))
        await until(lambda: bool(rig.sim.site.streams))
        await _change(tmp_path, "used = 0")
        assert (await answer).way == NEXT
        assert len(rig.left_over) == 1
        await _written(rig)
        assert (await client.say("three", "3")).way == NEXT, "it was used just now"


async def test_of_chats_that_stay_for_ever_only_the_memory_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "EVERY", 0.05)
    async with running(tmp_path, **QUICK, delete_chats="keep") as rig:
        client = Client(rig)
        await client.say("one", "1")
        await _written(rig)
        await _change(tmp_path, "used = used - 90000")
        await until(lambda: not _rows(tmp_path))
        assert (await client.say("two", "2")).way == UNKNOWN
        assert len(rig.left_over) == 2


@pytest.mark.parametrize("policy", ["keep", "24"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_chat_that_nothing_can_go_on_from_goes_at_once(tmp_path: Path, policy: str, stream: bool) -> None:
    async with running(tmp_path, **QUICK, delete_chats=policy) as rig:
        await rig.program({"text": "a b c", "error": "content_filter", "after_chunks": 1})
        await rig.post(ask(stream=stream))
        await rig.settle()
        await until(lambda: len(rig.left_over) == (policy == "keep"))
        assert not _rows(tmp_path)


@pytest.mark.parametrize("policy", ["keep", "24"])
async def test_a_chat_of_which_nothing_shall_be_kept_goes_whatever_the_policy(tmp_path: Path, policy: str) -> None:
    async with running(tmp_path, **QUICK, delete_chats=policy) as rig:
        assert (await rig.post(ask(store=False))).status == 200
        await until(lambda: not rig.left_over)
        assert len(rig.sim.site.deleted) == 1
        assert not _rows(tmp_path)


async def _written(rig: Rig) -> None:
    """Until the database has what is remembered."""
    await until(lambda: rig.service.turns.conversations._memory.waiting == 0)
    await until(lambda: not rig.service.turns.chats._kept)


def _rows(directory: Path) -> list[Json]:
    """The chats that the database knows."""
    with contextlib.closing(_database(directory)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM chats ORDER BY created")]


async def _change(directory: Path, what: str, chat_id: str = "") -> None:
    """Lets time pass, for one chat or for all. In a thread: the gateway in this loop may have the database locked."""
    await asyncio.to_thread(_change_now, directory, what, chat_id)


def _change_now(directory: Path, what: str, chat_id: str) -> None:
    with contextlib.closing(_database(directory)) as connection:
        connection.execute(f"UPDATE chats SET {what} WHERE id = ? OR ? = ''", (chat_id, chat_id))  # noqa: S608
        connection.commit()


def _database(directory: Path) -> sqlite3.Connection:
    return sqlite3.connect(directory / "data" / "gateway.db", timeout=5)


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


@pytest.mark.parametrize("policy", ["now", "1"])
async def test_a_deletion_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    monkeypatch.setattr(cleaning, "RETRY_FIRST", 0.1)
    monkeypatch.setattr(sweep, "EVERY", 0.05)
    async with running(tmp_path, **QUICK, delete_chats=policy) as rig:
        await rig.program(delete_fault="down")
        assert (await rig.post(ask())).status == 200
        await rig.settle()
        if policy == "1":
            await _written(rig)
            await _change(tmp_path, "used = 0")
        (account,) = rig.sim.site.tallies.values()
        asked = account.requests
        await until(lambda: account.requests >= asked + 1)
        assert len(rig.left_over) == 1
        await rig.program(delete_fault=None)
        await until(lambda: not rig.left_over, 5)
        await until(lambda: not _rows(tmp_path))


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
