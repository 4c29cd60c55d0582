"""Large files pass through the gateway: in parts, with memory that does not grow with their size, and beside others.
And clients that leave in the middle of one, of which nothing stays: not here, and not at the site's storage.

The gateway, the site and curl are processes of their own, so that what is measured is the gateway's alone.
"""

import asyncio
import contextlib
import hashlib
import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from qwen_gateway.store.spool import DiskSpool

from . import file_samples as samples
from . import process, wire
from .conftest import LINUX
from .curling import QUIETLY, run
from .process import Gateway
from .rig import KEY, PATIENT, running, until, until_async
from .wire import MODEL, Json, ask, request_bytes

pytestmark = [LINUX, pytest.mark.needs("curl")]
MB = 1_000_000
LARGE, KEPT, SOME, SMALL = 400 * MB, 120 * MB, 20 * MB, 4 * MB
"""Sizes of files. The small one is put into the storage at once."""
GROWTH = 32 * MB
"""Bytes by which the gateway's memory may grow while large files pass."""
VIDEO = "/v1/video/upload_and_chat"


@dataclass
class Site:
    """The simulator as a process."""

    url: str
    cookies: str
    http: httpx2.AsyncClient

    async def program(self, *mishaps: Json, **switches: object) -> None:
        reply = await self.http.post(f"{self.url}/__sim/program", json={"files": mishaps, "site": switches})
        assert reply.status_code == 200, reply.text

    async def storage(self) -> Json:
        found: Json = (await self.http.get(f"{self.url}/__sim/files")).json()
        return found

    async def questions(self) -> list[Json]:
        found: list[Json] = (await self.http.get(f"{self.url}/__sim/requests")).json()["requests"]
        return found

    async def chats(self) -> list[Json]:
        found: list[Json] = (await self.http.get(f"{self.url}/__sim/state")).json()["chats"]
        return found


@contextlib.asynccontextmanager
async def simulator(directory: Path) -> AsyncIterator[Site]:
    command = [sys.executable, "-m", "qwen_gateway", "simulator", "--port", "0"]
    with process._process(command, directory, {}) as (one, log):
        assert one.stdout is not None
        told = ""
        while "Stop with" not in told:
            line = await asyncio.to_thread(one.stdout.readline)
            assert line, log.read_text()
            told += line
        url, cookies = re.search(r"listens at (\S+)", told), re.search(r"COOKIES='(.+)'", told)
        assert url is not None
        assert cookies is not None
        async with httpx2.AsyncClient(timeout=20) as http:
            yield Site(url[1], cookies[1], http)


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Site, Gateway]]:
    """Settings of files are the usual ones."""
    directory = tmp_path_factory.mktemp("place")
    async with simulator(directory) as site:
        settings: Json = {"site_url": site.url, "cookies": site.cookies, "api_keys": KEY, "delete_chats": "now"}
        with process.serve(directory, **settings) as gateway:
            yield site, gateway


@pytest.fixture
async def site(place: tuple[Site, Gateway]) -> AsyncIterator[Site]:
    """As if nobody had used it. Whatever a test does, nothing is left of it afterwards."""
    found, gateway = place
    assert (await found.http.post(f"{found.url}/__sim/reset")).status_code == 200
    yield found
    await until_async(lambda: is_tidy(found, gateway))


@pytest.fixture
def gateway(place: tuple[Site, Gateway]) -> Gateway:
    return place[1]


async def is_tidy(site: Site, gateway: Gateway) -> bool:
    """No request, no upload in parts, no file on its way, no chat."""
    health = (await wire.exchange(gateway.url, request_bytes("/health"))).json()
    open_ = [one for one in (await site.storage())["uploads"] if one["state"] == "open"]
    chats = [one for one in await site.chats() if not one["deleted"]]
    return not (health["in_flight"] or open_ or chats or under_way(gateway) or begun(gateway))


def begun(gateway: Gateway) -> int:
    """Uploads that the store knows of as not ended."""
    with contextlib.closing(sqlite3.connect(gateway.database)) as connection:
        found: int = connection.execute("SELECT count(*) FROM site_files WHERE done IS NULL").fetchone()[0]
    return found


def under_way(gateway: Gateway) -> list[str]:
    """Files of clients that the process has open. Those in the spool have no name."""
    folders = [f"{gateway.data_dir}/{name}/" for name in ("spool", "files")]
    assert not list((gateway.data_dir / "spool").iterdir()), "what has a name outlives a crash"
    return [path for path in gateway.open_files() if path.startswith(tuple(folders))]


def film(directory: Path, size: int, note: str = "") -> Path:
    """A video of this size, which takes little of the disk. No two stretches of it are the same."""
    head = samples.mp4(note).data
    path = directory / f"film-{size}-{note}.mp4"
    with path.open("wb") as file:
        file.write(head + (size - len(head)).to_bytes(4, "big") + b"free")
        file.truncate(size)
        for place in range(MB, size - 20, MB):
            file.seek(place)
            file.write(f"{note} {place}".encode())
    return path


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def memory(gateway: Gateway, name: str) -> int:
    """Bytes. name: `VmRSS` for what is in use, `VmHWM` for the most that ever was."""
    text = Path(f"/proc/{gateway.pid}/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


# -- what clients do


async def curl(gateway: Gateway, path: str, *arguments: str) -> Json:
    out = await run(Path.cwd(), *QUIETLY, "-H", f"Authorization: Bearer {KEY}", gateway.url + path, *arguments)
    found: Json = json.loads(out)
    assert "error" not in found, found
    return found


def form(video: Path) -> list[str]:
    return ["-F", f"video=@{video}", "-F", "prompt=What is shown?", "-F", "stream=false"]


async def asked_in_a_form(gateway: Gateway, video: Path) -> str:
    found = await curl(gateway, VIDEO, *form(video))
    return str(found["choices"][0]["message"]["content"])


async def keep(gateway: Gateway, video: Path) -> str:
    return str((await curl(gateway, "/v1/files", "-F", f"file=@{video}", "-F", "purpose=user_data"))["id"])


async def given_out(gateway: Gateway, file_id: str, directory: Path) -> str:
    """What the bytes of the kept file hash to, as a client gets them."""
    out = directory / "given-out"
    given = ["--fail", "-H", f"Authorization: Bearer {KEY}", "--output", str(out)]
    await run(directory, *QUIETLY, *given, f"{gateway.url}/v1/files/{file_id}/content")
    found = sha256(out)
    out.unlink()
    return found


def about(file_id: str) -> Json:
    """The body of a chat about a file that is kept."""
    content = [{"type": "text", "text": "What is shown?"}, {"type": "file", "file": {"file_id": file_id}}]
    return {"model": MODEL, "messages": [{"role": "user", "content": content}]}


async def asked_by_id(gateway: Gateway, file_id: str) -> str:
    found = await curl(gateway, "/v1/chat/completions", "--json", json.dumps(about(file_id)))
    return str(found["choices"][0]["message"]["content"])


async def send_a_part(writer: asyncio.StreamWriter, path: str, field: str, size: int, of: int) -> None:
    """The first bytes of a form that would have more."""
    head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="a.mp4"\r\n\r\n'.encode()
    more = {"Content_Type": "multipart/form-data; boundary=x", "Content_Length": str(of)}
    writer.write(request_bytes(path, head, key=KEY, **more) + samples.mp4().data)
    for _ in range(size // MB):
        writer.write(bytes(MB))
        await writer.drain()


async def first_word(gateway: Gateway) -> float:
    """Seconds until a chat without files begins to be answered."""
    began = time.monotonic()
    request = request_bytes("/v1/chat/completions", ask("hello", stream=True), key=KEY)
    async with asyncio.timeout(20), wire.connection(gateway.url) as (reader, writer):
        writer.write(request)
        while not (await reader.readline()).startswith(b"data: "):
            pass
        seconds = time.monotonic() - began
        while await reader.read(65_536):
            pass
    return seconds


# -- large ones


@pytest.mark.timeout(120)
async def test_a_video_of_400_mb_and_another_pass_at_once_and_leave_memory_and_others_alone(
    site: Site, gateway: Gateway, tmp_path: Path
) -> None:
    """One in a form, and one that is kept here and given out again. Of the parts, some get lost on the way."""
    # What is imported when it is first needed counts for nothing.
    await asked_in_a_form(gateway, film(tmp_path, 6 * MB, "warm"))
    await asked_by_id(gateway, await keep(gateway, film(tmp_path, 6 * MB, "kept warm")))
    one, other = film(tmp_path, LARGE, "one"), film(tmp_path, KEPT, "other")
    before = memory(gateway, "VmRSS")
    file_id = await keep(gateway, other)
    await site.http.post(f"{site.url}/__sim/reset")
    await site.program(
        {"at": "part", "number": 7, "what": "drop"},
        {"at": "part", "number": 20, "what": "cut", "received": 3 * MB},
        {"at": "part", "number": 33, "what": "lost"},
        {"at": "part", "number": 40, "what": "ServiceUnavailable"},
    )
    asking = asyncio.gather(asked_in_a_form(gateway, one), asked_by_id(gateway, file_id))
    waited = []
    while not asking.done():
        waited.append(await first_word(gateway))
        await asyncio.sleep(0.25)
    assert list(await asking) == ["ok", "ok"]
    assert await given_out(gateway, file_id, tmp_path) == sha256(other)
    grown = memory(gateway, "VmHWM") - before
    assert grown < GROWTH
    *most, slowest = sorted(waited)
    assert len(most) > 5
    assert most[-1] < 1
    assert slowest < 3  # a machine that is busy with other tests may well be late once
    there = await site.storage()
    assert {found["sha256"] for found in there["objects"]} == {sha256(one), sha256(other)}
    assert sorted(found["parts"] for found in there["objects"]) == [15, 48]
    assert {upload["state"] for upload in there["uploads"]} == {"completed"}
    assert there["mishaps"] == []
    lost = [call["number"] for call in there["calls"] if call["operation"] == "part" and call["outcome"] != "done"]
    assert sorted(lost) == [7, 20, 33, 40]
    assert there["received"] < LARGE + KEPT + 5 * 8_400_000, "only what got lost is sent again"
    questions = [found for found in await site.questions() if found["files"]]
    assert [one["status"] for found in questions for one in found["attached"]] == ["seen", "seen"]


async def test_only_so_many_go_to_the_site_at_the_same_time(site: Site, gateway: Gateway, tmp_path: Path) -> None:
    """Four files, each in three parts at a time; the others wait for theirs."""
    await site.program(oss_delay_ms=1)
    videos = [film(tmp_path, 17 * MB, f"one of many {number}") for number in range(5)]
    assert await asyncio.gather(*(asked_in_a_form(gateway, video) for video in videos)) == ["ok"] * 5
    there = await site.storage()
    assert 6 < there["most_at_once"] <= 12
    assert {found["sha256"] for found in there["objects"]} == {sha256(video) for video in videos}


# -- those who leave


SENDING = {
    "a video to be asked about": (VIDEO, "video"),
    "a file to be kept": ("/v1/files", "file"),
    "a file as before": ("/v1/files/upload", "file"),
}


@pytest.mark.parametrize(("path", "field"), SENDING.values(), ids=SENDING.keys())
async def test_who_leaves_in_the_middle_of_a_file_leaves_nothing(
    site: Site, gateway: Gateway, path: str, field: str
) -> None:
    async with wire.connection(gateway.url) as (_, writer):
        await send_a_part(writer, path, field, SOME // 2, SOME)
        await until(lambda: len(under_way(gateway)) == 1)
    await until_async(lambda: is_tidy(site, gateway))
    there = await site.storage()
    assert not there["tickets"]
    assert not there["calls"]
    assert not await site.chats()


LEAVING = {
    "in parts, in a form, streamed": (SOME, True, True),
    "in parts, kept here": (SOME, False, False),
    "at once": (SMALL, True, False),
}


@pytest.mark.parametrize(("size", "in_a_form", "stream"), LEAVING.values(), ids=LEAVING.keys())
async def test_who_leaves_while_a_file_goes_to_the_site_leaves_nothing_there_either(
    site: Site, gateway: Gateway, tmp_path: Path, size: int, in_a_form: bool, stream: bool
) -> None:
    video = film(tmp_path, size, f"{stream} {in_a_form}")
    path, given = VIDEO, [*form(video), "-F", f"stream={stream}"]
    if not in_a_form:
        path, body = "/v1/chat/completions", about(await keep(gateway, video)) | {"stream": stream}
        given = ["--json", json.dumps(body)]
    await site.program(oss_delay_ms=10)
    leaving = await asyncio.create_subprocess_exec(
        "curl", *QUIETLY, "-H", f"Authorization: Bearer {KEY}", gateway.url + path, *given, stdout=subprocess.DEVNULL
    )

    async def sending() -> bool:
        return bool((await site.storage())["received"] > MB)

    await until_async(sending)
    assert under_way(gateway)
    leaving.kill()
    await leaving.wait()
    await until_async(lambda: is_tidy(site, gateway))
    there = await site.storage()
    assert not there["objects"]
    assert not await site.chats()
    assert there["received"] < size
    assert [upload["state"] for upload in there["uploads"]] == ["aborted"] * (size > SMALL)
    # Nothing of it is in the way of the next one.
    await site.program(oss_delay_ms=0)
    assert await asked_in_a_form(gateway, video) == "ok"


async def test_who_leaves_a_hundred_times_leaves_no_descriptor(site: Site, gateway: Gateway, tmp_path: Path) -> None:
    """In all moments between the first byte and the answer."""
    data = film(tmp_path, 200_000, "often").read_bytes()
    head = b'--x\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
    end = b'\r\n--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nWhat is shown?\r\n--x--\r\n'
    await site.program(oss_delay_ms=5)

    async def leave(number: int) -> None:
        body = head + data[:-4] + number.to_bytes(4, "big") + end
        request = request_bytes(VIDEO, body, key=KEY, Content_Type="multipart/form-data; boundary=x")
        async with wire.connection(gateway.url) as (reader, writer):
            writer.write(request[: len(request) * (number + 1) // 50])
            with contextlib.suppress(TimeoutError, ConnectionError):
                await asyncio.wait_for(reader.read(1), number % 10 * 0.02)

    await asyncio.gather(*(leave(number) for number in range(0, 100, 10)))
    await until_async(lambda: is_tidy(site, gateway))
    before = gateway.descriptors()
    for some in range(0, 100, 10):
        await asyncio.gather(*(leave(number) for number in range(some, some + 10)))
    await until_async(lambda: is_tidy(site, gateway))
    await asyncio.to_thread(process.wait, lambda: gateway.descriptors() <= before + 5)
    states = {upload["state"] for upload in (await site.storage())["uploads"]}
    assert states <= {"aborted", "completed"}


async def test_a_gateway_that_stops_leaves_no_upload_open(site: Site, tmp_path: Path) -> None:
    """One goes in parts and one at once."""
    settings: Json = {"site_url": site.url, "cookies": site.cookies, "api_keys": KEY, "drain_seconds": 0.5}
    videos = [film(tmp_path, size, "stopped") for size in (SOME, SMALL)]
    await site.program(oss_delay_ms=20)
    with process.serve(tmp_path, **settings) as stopping:
        command = ["curl", *QUIETLY, "-H", f"Authorization: Bearer {KEY}", stopping.url + VIDEO]
        clients = [
            await asyncio.create_subprocess_exec(
                *command, *form(video), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for video in videos
        ]

        async def sending() -> bool:
            running = [call for call in (await site.storage())["calls"] if call["received"]]
            return {"put", "part"} <= {call["operation"] for call in running}

        await until_async(sending)
        stopping.signal(signal.SIGTERM)
        assert await asyncio.to_thread(stopping.exit_code) == 0
        for client in clients:
            await client.wait()
    there = await site.storage()
    assert not there["objects"]
    assert not await site.chats()
    assert [upload["state"] for upload in there["uploads"]] == ["aborted"]
    assert not list((stopping.data_dir / "spool").iterdir())
    assert begun(stopping) == 0


# -- how much there is room for


async def test_what_is_larger_than_any_file_is_refused_before_it_is_sent(
    site: Site, gateway: Gateway, tmp_path: Path
) -> None:
    video = film(tmp_path, 530 * MB, "huge")
    for path, field, more in ((VIDEO, "video", ["-F", "prompt=?"]), ("/v1/files", "file", [])):
        for hasty in ([], ["-H", "Expect:"]):  # who does not wait for a word of ours hears it all the same
            given = ["-H", f"Authorization: Bearer {KEY}", "-F", f"{field}=@{video}", *more, *hasty]
            said = await run(tmp_path, *QUIETLY, *given, gateway.url + path)
            assert json.loads(said)["error"]["code"] == "file_too_large"
    assert not (await site.storage())["tickets"]


async def test_where_there_is_no_room_the_client_is_told_to_come_again(tmp_path: Path) -> None:
    """Once those that are under way have gone, there is room again."""
    video, kinds = film(tmp_path, 6 * MB, "room"), ("image", "document", "audio", "video")
    limits: Json = {f"max_{kind}_bytes": 8 * MB for kind in kinds}
    async with running(tmp_path, **PATIENT, **limits, spool_bytes=10 * MB) as rig:

        async def sent() -> tuple[int, str]:
            given = ["-H", f"Authorization: Bearer {KEY}", "-F", f"file=@{video}", f"{rig.url}/v1/files"]
            out = await run(tmp_path, *QUIETLY, "--write-out", "\n%{http_code} %header{retry-after}", *given)
            body, _, told = out.rpartition(b"\n")
            status, _, after = told.decode().partition(" ")
            return int(status), json.loads(body)["error"]["code"] if int(after or 0) else ""

        spool = rig.service.desk.spool
        assert isinstance(spool, DiskSpool)
        async with wire.connection(rig.url) as (_, writer):
            await send_a_part(writer, "/v1/files", "file", 6 * MB, 8 * MB)
            await until(lambda: spool.used > 5 * MB)
            assert await sent() == (503, "overloaded")
        await until(lambda: spool.used == 0)
        assert await sent() == (200, "")
        assert not rig.sim.site.tickets.by_file
