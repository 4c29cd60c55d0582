"""What can go wrong with a file on its way to the site: the client gets an error that names the part, and the site no
question."""

import asyncio
import contextlib
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from alibabacloud_oss_v2.retry import StandardRetryer  # type: ignore[import-untyped]
from msgspec import structs

from qwen_gateway.net import oss_work
from qwen_gateway.relay import upload_ends
from qwen_gateway.relay.attachments import Attachments
from qwen_gateway.relay.uploads import UPLOADING
from qwen_gateway.simulator import Simulator, files, oss
from qwen_gateway.simulator.mishaps import Mishaps
from qwen_gateway.simulator.oss_visits import Visit
from qwen_gateway.store.spool import DiskSpool

from . import process, wire
from .attaching import check, file, image, keep, kept, quick_reading, user, video
from .conversations import NEXT, Client
from .file_samples import Sample, mp4, pdf, png
from .rig import KEY, PATIENT, Rig, running, until
from .wire import MODEL, Answer, Json, ask, request_bytes

SETTINGS: dict[str, Any] = {**PATIENT, "multipart_above": 100_000, "parse_timeout": 0.5, "heartbeat": 20}
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
MB = 1024 * 1024
WAIT = 75
"""Seconds after which an account may upload again."""


def picture() -> Sample:
    """Each is another one, under the name that the gateway gives to one that has none."""
    return png().named("image.png")


def film(*, filler: int = 150_000) -> Sample:
    """Large enough to go in parts, though it is but one."""
    return mp4(filler=filler).named("video.mp4")


def attached(sample: Sample) -> Json:
    return image(sample) if sample.kind == "image" else video(sample) if sample.kind == "video" else file(sample)


def where(sample: Sample) -> str:
    """The parameter that errors about it name."""
    return f"messages[0].content[1].{attached(sample)['type']}"


def about(*samples: Sample, stream: bool = False) -> Json:
    return {"model": MODEL, "stream": stream, "messages": [user("What is it?", *map(attached, samples))]}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
async def home(directory: Path) -> AsyncIterator[Rig]:
    with quick_reading(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(StandardRetryer, "retry_delay", lambda *_: 0.01)
        async with running(directory, **SETTINGS) as found:
            yield found


@pytest.fixture
async def rig(home: Rig, directory: Path) -> AsyncIterator[Rig]:
    """A site that nobody has used, and an account that does not rest. Nothing stays half done, whatever a test does."""
    assert (await home.http.post(f"{home.sim.url}/__sim/reset")).status_code == 200
    home.service.wake()
    yield home
    await home.settle()
    await until(lambda: is_tidy(home, directory))


def is_tidy(rig: Rig, directory: Path) -> bool:
    """Nothing is open at the storage, nothing under way in the store, and nothing in the spool."""
    spool = rig.service.desk.spool
    assert isinstance(spool, DiskSpool)
    open_ = [one for one in rig.sim.site.bucket.uploads.values() if one.state == "open"]
    return not (open_ or under_way(directory) or spool.used)


def under_way(directory: Path) -> int:
    """Uploads that have not ended, as the store knows."""
    with contextlib.closing(sqlite3.connect(directory / "data" / "gateway.db")) as connection:
        found: int = connection.execute("SELECT count(*) FROM site_files WHERE done IS NULL").fetchone()[0]
        return found


async def happen(rig: Rig, *mishaps: Json, **site: object) -> None:
    body = {"files": list(mishaps), "site": site}
    assert (await rig.http.post(f"{rig.sim.url}/__sim/program", json=body)).status_code == 200


def is_well(rig: Rig) -> bool:
    """Neither the account nor the site is left alone for what has happened."""
    return rig.service.turns.health.state() == "closed" and rig.own.resting() is None


# --- errors


@dataclass
class Case:
    sample: Callable[[], Sample]
    mishaps: list[Json]
    status: int
    code: str
    site: Json = field(default_factory=dict)
    retry_after: int | None = None


def always(at: str, what: str, **more: object) -> Json:
    return {"at": at, "what": what, "times": None, **more}


FAILED = 502, "upload_failed"
CHANGED = 502, "upstream_changed"
CASES = {
    "leave-has-run-out": Case(picture, [always("ticket", "expired")], *FAILED),
    "leave-has-run-out-in-parts": Case(film, [always("ticket", "expired")], *FAILED),
    "leave-is-incomplete": Case(picture, [always("ticket", "incomplete")], *CHANGED),
    "leave-is-for-another-id": Case(picture, [always("ticket", "wrong_id")], *CHANGED),
    "leave-for-a-document-is-for-another-id": Case(pdf, [always("ticket", "wrong_id")], *CHANGED),
    "leave-is-nowhere": Case(picture, [always("ticket", "gone"), always("ticket_v1", "gone")], *CHANGED),
    "leave-wants-a-person": Case(picture, [always("ticket", "challenge")], 503, "upstream_challenge"),
    "leave-is-a-page": Case(picture, [always("ticket", "redirect")], 503, "upstream_challenge"),
    "leave-is-broken": Case(picture, [always("ticket", "http_500")], 502, "upstream_error"),
    "leave-is-used-up": Case(picture, [always("ticket", "used_up")], 429, "upload_rate_limited", retry_after=WAIT),
    "wrong-signature": Case(picture, [always("put", "SignatureDoesNotMatch")], *FAILED),
    "wrong-signature-in-parts": Case(film, [always("oss", "SignatureDoesNotMatch")], *FAILED),
    "clock": Case(picture, [always("put", "RequestTimeTooSkewed")], *FAILED),
    "storage-is-down": Case(picture, [always("oss", "ServiceUnavailable")], *FAILED),
    "storage-is-down-for-parts-and-all": Case(film, [always("oss", "ServiceUnavailable")], *FAILED),
    "storage-is-not-there": Case(picture, [], *FAILED, site={"oss_drop": True}),
    "storage-breaks-off": Case(picture, [always("put", "cut", received=10)], *FAILED),
    "storage-refuses-the-whole-file": Case(picture, [always("put", "AccessDenied")], *FAILED),
    "part-is-lost-for-good": Case(film, [always("part", "drop"), always("put", "drop")], *FAILED),
    "parts-are-never-joined": Case(film, [always("complete", "InvalidPart"), always("put", "drop")], *FAILED),
    "reader-is-down": Case(pdf, [always("parse", "service_down")], *FAILED, retry_after=60),
    "reader-is-down-later": Case(pdf, [always("status", "service_down")], *FAILED, retry_after=60),
    "reader-never-ends": Case(pdf, [always("parse", "never")], 504, "file_parse_timeout"),
    "reader-cannot-read-it": Case(pdf, [always("parse", "failed")], 400, "file_unreadable"),
}


@pytest.mark.parametrize(
    ("case", "stream"), [(case, number % 2 == 1) for number, case in enumerate(CASES.values())], ids=CASES.keys()
)
async def test_the_client_is_told_which_part_and_the_site_is_asked_nothing(rig: Rig, case: Case, stream: bool) -> None:
    sample = case.sample()
    await happen(rig, *case.mishaps, **case.site)
    answer = await rig.post(about(sample, stream=stream))
    assert (answer.status, answer.error()["code"], answer.error()["param"]) == (case.status, case.code, where(sample))
    wait = answer.headers.get("retry-after")
    if case.code == "upstream_challenge":  # that is met by all that the account does
        assert rig.own.resting() is not None
    else:
        assert wait == (None if case.retry_after is None else str(case.retry_after))
        assert is_well(rig)
    assert not rig.sim.site.seen
    assert not rig.sim.site.chats


async def test_one_bad_file_among_good_ones_is_the_one_that_is_named(rig: Rig) -> None:
    samples = [picture(), pdf(), picture()]
    await happen(rig, always("parse", "failed"))
    answer = await rig.post(about(*samples))
    assert answer.error()["param"] == "messages[0].content[2].file"
    assert not rig.sim.site.seen


async def test_a_stream_that_has_begun_ends_with_the_error(tmp_path: Path) -> None:
    """It had to show a sign of life while the document was read."""
    async with running(tmp_path, **{**SETTINGS, "heartbeat": 0.1}) as rig:
        await happen(rig, always("parse", "never"))
        answer = await rig.post(about(pdf(), stream=True))
        stream = answer.stream()
        assert answer.status == 200
        assert stream.error is not None
        assert (stream.error["code"], stream.error["param"]) == ("file_parse_timeout", "messages[0].content[1].file")
        assert (bool(stream.comments), stream.chunks, stream.done) == (True, [], False)
        assert not rig.sim.site.chats
        await until(lambda: is_tidy(rig, tmp_path))


@BOTH
async def test_an_upload_that_takes_too_long(rig: Rig, stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    attachments: Attachments = rig.service.turns.attachments
    ways = attachments.ways
    monkeypatch.setattr(attachments, "ways", structs.replace(ways, manner=structs.replace(ways.manner, seconds=0.3)))
    for sample in (picture(), film()):
        await happen(rig, oss_delay_ms=600_000)
        answer = await rig.post(about(sample, stream=stream))
        found = answer.status, answer.error()["code"], answer.error()["param"]
        assert found == (504, "upload_timeout", where(sample))
    assert not rig.sim.site.seen
    assert not rig.sim.site.chats
    assert is_well(rig)


async def test_a_storage_that_is_down_for_long_takes_nothing_else_along(rig: Rig) -> None:
    """Neither the breaker nor a rest: what is typed is answered all the while."""
    await happen(rig, always("oss", "ServiceUnavailable"))
    refused = await asyncio.gather(*(rig.post(about(picture())) for _ in range(12)))
    assert {answer.error()["code"] for answer in refused} == {"upload_failed"}
    assert is_well(rig)
    assert (await rig.post(ask())).status == 200


async def test_a_kept_file_whose_bytes_are_gone_from_the_disk(rig: Rig, directory: Path) -> None:
    file_id = await keep(rig, picture())
    for path in (directory / "data" / "files").rglob("*"):
        if path.is_file():
            path.unlink()
    answer = await rig.post({"model": MODEL, "messages": [user("What is it?", kept(file_id))]})
    assert (answer.status, answer.error()["param"]) == (400, "messages[0].content[1].file"), answer.body
    assert answer.error()["code"] == "file_not_found"
    assert not rig.sim.site.tickets.by_file
    assert not rig.sim.site.chats


@BOTH
async def test_a_conversation_goes_on_in_its_chat_once_the_file_gets_through(tmp_path: Path, stream: bool) -> None:
    with quick_reading():
        async with running(tmp_path, **{**SETTINGS, "delete_chats": 24}) as rig:
            client = Client(rig, stream=stream)
            await client.say("one", "1")
            sample = pdf()
            client.messages.append(user("What is it?", file(sample)))
            for mishap in (always("put", "AccessDenied"), always("parse", "failed"), always("ticket", "wrong_id")):
                await happen(rig, mishap)
                answer = await client.refused()
                assert answer.error()["param"] == "messages[2].content[1].file"
                rig.sim.site.mishaps = Mishaps()
            assert len(rig.sim.site.seen) == 1
            await happen(rig, {"at": "ticket", "what": "unauthorized"})
            reply = await client.send("2")
            assert reply.way == NEXT
            check(rig, rig.sim.site.seen[-1], sample)
            assert len(rig.sim.site.chats) == 1
            await until(lambda: is_tidy(rig, tmp_path))


# --- what is mended on the way


@dataclass
class Mended:
    sample: Callable[[], Sample]
    mishaps: list[Json]
    site: Json = field(default_factory=dict)


MENDED = {
    "newer-leave-is-gone": Mended(picture, [always("ticket", "gone")]),
    "leave-has-run-out-once": Mended(picture, [{"at": "ticket", "what": "expired"}]),
    "leave-has-run-out-once-in-parts": Mended(film, [{"at": "ticket", "what": "expired"}]),
    "parts-are-refused": Mended(film, [always("init", "AccessDenied")]),
    "part-is-refused-for-good": Mended(film, [always("part", "SignatureDoesNotMatch")]),
    "part-is-lost-for-good": Mended(film, [always("part", "drop")]),
    "parts-are-never-joined": Mended(film, [always("complete", "InvalidPart")]),
    "parts-are-joined-but-nobody-is-told": Mended(film, [{"at": "complete", "what": "lost"}]),
    "part-is-lost-once": Mended(film, [{"at": "part", "what": "cut", "received": 70_000}]),
    "answer-is-lost-once": Mended(picture, [{"at": "put", "what": "lost"}]),
    "storage-is-busy-once": Mended(picture, [{"at": "put", "what": "ServiceUnavailable"}]),
    "reading-takes-a-while": Mended(pdf, [], {"parse_ms": 200, "parse_list": True}),
    "leave-is-broken-once": Mended(picture, [{"at": "ticket", "what": "http_500"}]),
}


@pytest.mark.parametrize("case", MENDED.values(), ids=MENDED.keys())
async def test_the_model_sees_the_file_all_the_same(rig: Rig, case: Mended) -> None:
    sample = case.sample()
    await happen(rig, *case.mishaps, **case.site)
    answer = await rig.post(about(sample))
    assert answer.status == 200, answer.body
    (seen,) = rig.sim.site.seen
    check(rig, seen, sample)


def operations(rig: Rig) -> list[str]:
    return [call.operation for call in rig.sim.site.bucket.calls]


@pytest.mark.parametrize("readable", [True, False], ids=["it may be looked at", "it may not"])
async def test_parts_that_were_joined_though_nobody_was_told_are_not_sent_again(rig: Rig, readable: bool) -> None:
    sample = film()
    await happen(rig, {"at": "complete", "what": "lost"}, *([] if readable else [always("get", "AccessDenied")]))
    assert (await rig.post(about(sample))).status == 200
    check(rig, rig.sim.site.seen[-1], sample)
    assert operations(rig)[-3:] == ["complete", "complete", "get"]


async def test_a_beginning_that_nobody_was_told_of_is_not_repeated(rig: Rig) -> None:
    """Leave for one file does not let anybody list uploads, so the one that has begun stays there, empty."""
    sample = film()
    await happen(rig, {"at": "init", "what": "lost"})
    assert (await rig.post(about(sample))).status == 200
    check(rig, rig.sim.site.seen[-1], sample)
    assert operations(rig) == ["init", "list", "put"]
    (upload,) = rig.sim.site.bucket.uploads.values()
    assert (upload.state, upload.parts) == ("open", {})
    upload.end("aborted")


async def test_who_leaves_while_parts_begin_leaves_none_open(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The storage has begun the upload, and answers only once the turn has been cancelled."""
    begun, cancelled = asyncio.Event(), asyncio.Event()
    init, over = oss._OPERATIONS["init"], oss_work.over

    async def late(visit: Visit) -> web.Response:
        answer = await init(visit)
        begun.set()
        await cancelled.wait()
        return answer

    async def waiting(future: asyncio.Future[Any], seconds: float | None = None) -> None:
        cancelled.set()
        await over(future, seconds)

    monkeypatch.setitem(oss._OPERATIONS, "init", late)
    monkeypatch.setattr(oss_work, "over", waiting)
    turn = asyncio.create_task(rig.post(about(film())))
    await begun.wait()
    turn.cancel()
    await asyncio.wait([turn])
    await cancelled.wait()
    await rig.settle()
    attachments: Attachments = rig.service.turns.attachments
    await until(lambda: not attachments.ways.uploads.counts.running)
    (upload,) = rig.sim.site.bucket.uploads.values()
    assert upload.state == "aborted"
    assert operations(rig) == ["init", "abort"]


async def test_parts_that_cannot_be_ended_now_are_ended_later(
    rig: Rig, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_ends, "FIRST_PAUSE", 0.05)
    sample = film()
    await happen(rig, always("part", "AccessDenied"), {"at": "abort", "what": "AccessDenied", "times": 2})
    assert (await rig.post(about(sample))).status == 200
    check(rig, rig.sim.site.seen[-1], sample)
    await until(lambda: is_tidy(rig, directory))
    assert operations(rig).count("abort") == 3


async def test_of_three_parts_one_is_lost_for_good(rig: Rig) -> None:
    """The file goes again, in one request."""
    sample = film(filler=17 * MB)
    await happen(rig, always("part", "drop", number=2))
    assert (await rig.post(about(sample))).status == 200
    (seen,) = rig.sim.site.seen
    check(rig, seen, sample)
    (upload,) = rig.sim.site.bucket.uploads.values()
    assert upload.state == "aborted"


# --- the account


@BOTH
async def test_a_session_that_has_run_out_is_renewed_once_and_the_upload_goes_on(rig: Rig, stream: bool) -> None:
    sample = picture()
    await happen(rig, {"at": "ticket", "what": "unauthorized"})
    before = rig.sim.site.refreshes
    answer = await rig.post(about(sample, stream=stream))
    assert answer.status == 200, answer.body
    assert rig.sim.site.refreshes == before + 1
    check(rig, rig.sim.site.seen[-1], sample)


async def test_a_session_that_cannot_be_renewed_is_said_to_be_over(rig: Rig) -> None:
    await happen(rig, always("ticket", "unauthorized"))
    before = rig.sim.site.refreshes
    answer = await rig.post(about(picture()))
    assert (answer.status, answer.error()["code"]) == (503, "upstream_auth_required")
    assert answer.error()["param"] == "messages[0].content[1].image_url"
    assert rig.sim.site.refreshes == before + 1
    assert not rig.sim.site.chats


async def test_an_account_that_may_upload_no_more_still_answers(rig: Rig) -> None:
    await happen(rig, ticket_limit=1)
    assert (await rig.post(about(picture()))).status == 200
    assert (await rig.post(about(picture()))).error()["code"] == "upload_rate_limited"
    assert (await rig.post(ask())).status == 200
    assert (await rig.post(ask(stream=True))).stream().finish == "stop"


async def test_what_the_account_has_at_the_site_needs_no_leave(rig: Rig) -> None:
    sample = picture()
    await happen(rig, ticket_limit=1)
    assert (await rig.post(about(sample))).status == 200
    assert (await rig.post(about(picture()))).status == 429
    assert (await rig.post(about(sample))).status == 200
    check(rig, rig.sim.site.seen[-1], sample)


async def test_asking_again_and_again_makes_no_wait_longer(rig: Rig) -> None:
    await happen(rig, {"at": "ticket", "what": "used_up"})
    sample = picture()
    first = await rig.post(about(sample))
    (end,) = [one.until for one in rig.own.rest.entries()]
    again = [await rig.post(about(sample)) for _ in range(4)]
    assert [one.until for one in rig.own.rest.entries()] == [end]
    assert [one.headers["retry-after"] for one in [first, *again]] == [str(WAIT)] * 5
    texts = {one.error()["message"] for one in again}
    assert len(texts) == 1
    assert texts.pop().count("asks again") == 1
    assert not rig.sim.site.tickets.by_file, "the site was asked once, and not again"


async def test_other_accounts_take_over(rig: Rig) -> None:
    """Also where two of three may not upload: none of them is tried in vain."""
    await rig.join("second", "third")
    try:
        await happen(rig, {"at": "ticket", "what": "used_up"})
        sample = picture()
        assert (await rig.post(about(sample))).status == 200
        check(rig, rig.sim.site.seen[-1], sample)
        assert _cannot_upload(rig) == 1
        await happen(rig, {"at": "ticket", "what": "used_up"})
        for _ in range(3):  # whose turn it is
            sample = picture()
            assert (await rig.post(about(sample))).status == 200
            check(rig, rig.sim.site.seen[-1], sample)
        assert _cannot_upload(rig) == 2
        await happen(rig, {"at": "ticket", "what": "used_up"})
        answer = await rig.post(about(picture()))
        assert (answer.status, answer.headers["retry-after"]) == (429, str(WAIT))
        assert (await rig.post(ask())).status == 200
    finally:
        for name in ("second", "third"):
            await rig.manage("DELETE", f"/accounts/{name}")


def _cannot_upload(rig: Rig) -> int:
    return sum(one.refusal(UPLOADING) is not None for one in rig.service.accounts.all())


# --- leave that leads elsewhere


class Trap:
    """Counts who comes."""

    def __init__(self) -> None:
        self.port = self.connections = 0

    async def note(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


@pytest.fixture
async def trap() -> AsyncIterator[Trap]:
    found = Trap()
    async with await asyncio.start_server(found.note, "0.0.0.0", 0) as server:  # noqa: S104 - 0.0.0.0 is among the ways
        found.port = server.sockets[0].getsockname()[1]
        yield found


ELSEWHERE = [
    "http://oss-accelerate.aliyuncs.com",
    "https://storage.example.com",
    "https://aliyuncs.com.example.com",
    "https://aliyuncs.com@0.0.0.0:{port}",
    "http://0.0.0.0:{port}",
    "http://127.1:{port}",
    "http://2130706433:{port}",
    "http://0x7f000001:{port}",
    "http://localhost.:{port}",
    "http://127.0.0.1:{port}/aliyuncs.com",
    "ftp://127.0.0.1:{port}",
]


@pytest.mark.parametrize("endpoint", ELSEWHERE)
async def test_nothing_is_sent_where_leave_leads_elsewhere(
    rig: Rig, trap: Trap, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = files._told  # the simulator has no such mishap

    def elsewhere(*arguments: Any) -> Json:
        return told(*arguments) | {"endpoint": endpoint.format(port=trap.port)}

    monkeypatch.setattr(files, "_told", elsewhere)
    for sample in (picture(), film()):
        answer = await rig.post(about(sample))
        assert (answer.status, answer.error()["code"]) == CHANGED
        assert answer.error()["param"] == where(sample)
    assert trap.connections == 0
    assert not rig.sim.site.bucket.calls
    assert not rig.sim.site.chats


async def test_a_storage_that_sends_elsewhere_is_not_followed(
    rig: Rig, trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def redirect(visit: Visit) -> web.Response:
        await visit.drain()
        return web.Response(status=307, headers={"Location": f"http://127.0.0.1:{trap.port}/"})

    monkeypatch.setitem(oss._OPERATIONS, "put", redirect)
    answer = await rig.post(about(picture()))
    assert (answer.status, answer.error()["code"]) == FAILED
    assert trap.connections == 0
    assert not rig.sim.site.chats


# --- clients that leave, and processes that are killed


MOMENTS: dict[str, tuple[Callable[[], Sample], list[Json], Json, Callable[[Simulator], bool]]] = {
    "while the file is sent": (
        picture,
        [],
        {"oss_delay_ms": 600_000},
        lambda sim: any(one.received for one in sim.site.bucket.calls),
    ),
    "while a part is sent": (
        film,
        [],
        {"oss_delay_ms": 600_000},
        lambda sim: any(one.operation == "part" and one.received for one in sim.site.bucket.calls),
    ),
    "while it is read": (
        pdf,
        [always("parse", "never")],
        {},
        lambda sim: bool(sim.site.parses),
    ),
}


@BOTH
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_client_that_leaves_leaves_nothing_behind(rig: Rig, moment: str, stream: bool) -> None:
    """What stays behind is looked at by the fixture."""
    sample, mishaps, site, is_there = MOMENTS[moment]
    await happen(rig, *mishaps, **site)
    async with wire.connection(rig.url) as (_, writer):
        writer.write(request_bytes("/v1/chat/completions", about(sample(), stream=stream), key=KEY))
        await until(lambda: is_there(rig.sim))
    await until(lambda: rig.service.in_flight == 0, 3)
    assert not rig.sim.site.seen
    assert not rig.sim.site.chats
    assert is_well(rig)
    await happen(rig, oss_delay_ms=0)
    assert (await rig.post(ask())).status == 200


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes in another way")
async def test_a_gateway_that_is_killed_while_it_uploads_ends_that_at_its_next_start(tmp_path: Path) -> None:
    async with Simulator() as sim:
        sim.site.controlled = True
        settings: Json = {"site_url": sim.url, "cookies": sim.cookies(), "api_keys": KEY, "multipart_above": 100_000}
        await _program(sim, oss_delay_ms=1000)
        with process.serve(tmp_path, **settings) as gateway:
            client = asyncio.create_task(_gone(gateway.url, about(film(filler=9 * MB))))
            await until(lambda: any(one.operation == "part" and one.received for one in sim.site.bucket.calls))
            gateway.process.kill()
            await client
        (upload,) = sim.site.bucket.uploads.values()
        assert (upload.state, under_way(tmp_path)) == ("open", 1)
        assert not list((tmp_path / "data" / "spool").iterdir()), "files on their way have no name"
        await _program(sim, oss_delay_ms=0)
        with process.serve(tmp_path, **settings) as gateway:
            await until(lambda: upload.state == "aborted" and not under_way(tmp_path))
            answer = await wire.exchange(gateway.url, request_bytes("/v1/chat/completions", about(picture()), key=KEY))
        assert answer.status == 200


async def _program(sim: Simulator, **site: object) -> None:
    assert (await wire.exchange(sim.url, request_bytes("/__sim/program", {"site": site}))).status == 200


async def _gone(url: str, body: Json) -> Answer | None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        return await wire.exchange(url, request_bytes("/v1/chat/completions", body, key=KEY))
    return None
