"""`ask --file`: files of the person's own reach the site's model, or the command says why not."""

import asyncio
import re
import signal
import struct
import zlib
from collections.abc import AsyncIterator

import pytest
from tests.cli.ask_rig import Rig, stopped, until
from tests.cli.conftest import PATIENCE, Commands, Process

from qwen_gateway.simulator import Simulator
from qwen_gateway.simulator.mishaps import Mishap


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def rig(quick_commands: Commands) -> AsyncIterator[Rig]:
    async with Simulator() as sim:
        yield Rig(sim, quick_commands)


def png(width: int = 4, height: int = 3) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + b"\xff\0\0" * width for _ in range(height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


async def test_a_picture_reaches_the_model(rig: Rig) -> None:
    (rig.directory / "cat.png").write_bytes(png())
    rig.program(text="A red square.")
    done = await rig.ask("What is in this picture?", "--file", "cat.png")
    assert (done.returncode, done.stdout) == (0, "A red square.\n")
    assert done.stderr == f"Uploaded cat.png ({len(png())} bytes).\n"
    [seen] = rig.sim.site.seen
    assert len(seen.files) == 1
    assert "What is in this picture?" in seen.prompt
    assert rig.left_over == []


async def test_several_files_go_in_the_order_in_which_they_were_named(rig: Rig) -> None:
    for number, name in enumerate(("b.png", "a.png"), 5):
        (rig.directory / name).write_bytes(png(number))
    done = await rig.ask("list what I was sent", "-f", "b.png", "-f", "a.png")
    assert done.returncode == 0
    assert re.findall(r"- (\S+): image/png", done.stdout) == ["b.png", "a.png"]
    assert sorted(done.stderr.splitlines()) == [
        f"Uploaded a.png ({len(png(6))} bytes).",
        f"Uploaded b.png ({len(png(5))} bytes).",
    ]


async def test_a_short_text_file_is_read_with_the_question(rig: Rig) -> None:
    (rig.directory / "notes.md").write_text("# Tulips\n\nThey are red.\n")
    done = await rig.ask("What colour?", "--file", "notes.md")
    assert (done.returncode, done.stderr) == (0, "")
    [seen] = rig.sim.site.seen
    assert seen.files == []
    assert "They are red." in seen.prompt


async def test_what_is_piped_in_goes_as_a_document_where_it_is_too_long_for_a_message(rig: Rig) -> None:
    log = "one line of a log file\n" * 20_000
    done = await rig.ask("What went wrong?", given=log)
    assert (done.returncode, done.stderr) == (0, "Uploaded input.txt (460.0 kB).\n")
    [seen] = rig.sim.site.seen
    assert "What went wrong?" in seen.prompt
    assert "one line" not in seen.prompt
    assert [stored.data for stored in rig.sim.site.bucket.objects.values()] == [log.strip().encode()]
    alone = await rig.ask(given=log)
    assert alone.returncode == 1
    assert "too long" in alone.stderr


async def test_a_file_of_no_known_type_is_refused_by_its_name(rig: Rig) -> None:
    (rig.directory / "cat.png").write_bytes(b"\x7fELF" + bytes(200))
    done = await rig.ask("What is this?", "--file", "cat.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--file cat.png" in done.stderr
    assert rig.sim.site.seen == []


VIDEO = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(range(256)) * 24_000
"""More than goes in one request."""


async def _uploading(rig: Rig, name: str = "cat.mp4") -> Process:
    """An `ask` in the midst of an upload that takes its time."""
    (rig.directory / name).write_bytes(VIDEO)
    rig.sim.site.switches.oss_delay_ms = 200
    before = len(rig.sim.site.bucket.uploads)
    process = rig.start("ask", "What is this?", "--file", name)
    await until(lambda: any(upload.received for upload in [*rig.sim.site.bucket.uploads.values()][before:]))
    return process


def _states(rig: Rig) -> list[str]:
    return [upload.state for upload in rig.sim.site.bucket.uploads.values()]


async def test_a_gateway_that_starts_meanwhile_ends_uploads_of_those_that_were_killed_and_no_other(rig: Rig) -> None:
    killed, process = await _uploading(rig), await _uploading(rig, "dog.mp4")
    await stopped(killed, signal.SIGKILL)
    assert _states(rig) == ["open", "open"]
    gateway = await rig.serving()
    await until(lambda: _states(rig) != ["open", "open"])
    assert _states(rig) == ["aborted", "open"]
    rig.sim.site.switches.oss_delay_ms = 0
    assert await _ended(process) == (0, f"Uploaded dog.mp4 ({len(VIDEO) / 1e6:.1f} MB).\n")
    assert _states(rig) == ["aborted", "completed"]
    assert (await stopped(gateway, signal.SIGTERM))[0] == 0


async def test_what_a_killed_one_has_left_of_an_upload_goes_with_the_next_question(rig: Rig) -> None:
    await stopped(await _uploading(rig), signal.SIGKILL)
    assert _states(rig) == ["open"]
    assert (await rig.ask("Hello")).returncode == 0
    assert _states(rig) == ["aborted"]


async def test_what_the_site_cannot_read_is_not_called_uploaded(rig: Rig) -> None:
    (rig.directory / "a.pdf").write_bytes(b"%PDF-1.4\n" + b"0" * 2000)
    rig.sim.site.mishaps.add([Mishap(at="parse", what="failed")])
    done = await rig.ask("What is this?", "--file", "a.pdf")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(rig.sim.site.bucket.objects) == 1
    assert done.stderr.startswith("qwen-gateway: --file a.pdf: ")


async def test_a_file_that_is_larger_than_any_may_be_is_refused_before_it_is_read(rig: Rig) -> None:
    with (rig.directory / "a.mp4").open("wb") as file:
        file.truncate(4 * 1000**4)  # to read it would take hours
    done = await rig.ask("What is this?", "--file", "a.mp4")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("qwen-gateway: --file a.mp4: The file has 4,000,000,000,000 bytes")


async def _ended(process: Process) -> tuple[int, str]:
    """Its exit code, and what it says on standard error."""
    _, err = await asyncio.to_thread(process.popen.communicate, timeout=PATIENCE)
    return process.popen.returncode, err.decode()


async def test_a_signal_in_the_midst_of_an_upload_leaves_nothing_behind(rig: Rig) -> None:
    process = await _uploading(rig)
    assert await stopped(process, signal.SIGINT) == (130, "", "")
    assert [upload.state for upload in rig.sim.site.bucket.uploads.values()] == ["aborted"]
    assert rig.sim.site.seen == []
    assert rig.left_over == []


async def test_a_file_that_is_changed_in_the_midst_of_its_upload_is_refused(rig: Rig) -> None:
    process = await _uploading(rig)
    with (rig.directory / "cat.mp4").open("ab") as file:
        file.write(b"x")
    rig.sim.site.switches.oss_delay_ms = 0
    out, err = await asyncio.to_thread(process.popen.communicate, timeout=PATIENCE)
    assert (process.popen.returncode, out) == (1, b"")
    assert err == (
        b"qwen-gateway: --file cat.mp4: The file was changed while it was being read. Ask again once nothing writes to "
        b"it.\n"
    )
    assert rig.sim.site.seen == []
    assert rig.sim.site.bucket.objects == {}


async def test_a_file_that_is_at_the_site_already_is_not_uploaded_again(rig: Rig) -> None:
    (rig.directory / "cat.png").write_bytes(png())
    for said in (f"Uploaded cat.png ({len(png())} bytes).\n", ""):
        done = await rig.ask("What is this?", "--file", "cat.png")
        assert (done.returncode, done.stderr) == (0, said)
    assert len(rig.sim.site.bucket.objects) == 1
    assert [len(seen.files) for seen in rig.sim.site.seen] == [1, 1]


async def test_on_a_terminal_the_bars_are_gone_before_the_answer(rig: Rig) -> None:
    (rig.directory / "cat.png").write_bytes(png(400, 300))
    rig.program(text="A red square.")
    shown = await rig.on_terminal("--no-thinking", "What is this?", "--file", "cat.png").shown()
    assert "reading cat.png" in shown
    assert "uploaded cat.png" in shown
    assert shown.endswith("\x1b[2KA red square.\n")  # in the line that the bar has left
