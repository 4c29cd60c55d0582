"""Files of accounts at the site: brought once, shared by whoever wants them, and nothing left open when it goes
wrong."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from qwen_gateway.accounts.rest import Rest, Resting
from qwen_gateway.relay import upload_ends, upload_steps
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.ports import Secret
from qwen_gateway.relay.uploads import ABANDONED, UPLOADING, Uploads
from qwen_gateway.turn.faults import (
    ClientFault,
    Fault,
    InvalidRequest,
    LoginExpired,
    NotFound,
    RateLimited,
    SiteError,
    StorageUnavailable,
    Throttled,
    TimedOut,
    Unfit,
    Unreachable,
    UploadFailed,
)
from qwen_gateway.turn.files import Content, Facts, FilePart, Given, Kind, Remote, SiteFile, Ticket

from .fakes import Clock, Net, Site, account, renewal, settle, until
from .file_fakes import FakeContent, FakeSiteFiles, FakeStorage

DOWN = StorageUnavailable("The database does not answer.")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_steps, "FIRST_LOOK", 0.001)
    monkeypatch.setattr(upload_steps, "LONGEST_LOOK", 0.002)


class Bench:
    """log: all that was done at the site, the storage and the store."""

    def __init__(self, *, at_once: int = 4, parse_seconds: float = 20, refreshable: bool = False) -> None:
        self.clock, self.site, self.log = Clock(), Site(), list[str]()
        self.net, self.storage, self.files = Net(self.log), FakeStorage(self.log), FakeSiteFiles(self.log)
        self.here = account(self.clock, user="a", refreshable=refreshable)
        self.uploads = self.made("me", at_once=at_once, parse_seconds=parse_seconds)

    def made(self, owner: str, *, at_once: int = 4, parse_seconds: float = 20) -> Uploads:
        return Uploads(
            self.site,
            self.storage,
            self.files,
            self.net,
            self.clock.ambient(),
            owner=owner,
            secret=b"secret",
            seconds=9,
            renewal=renewal(self.site, self.net, self.clock),
            cache_seconds=3600,
            parse_seconds=parse_seconds,
            at_once=at_once,
        )

    async def ensure(
        self,
        data: bytes = b"some bytes",
        *,
        name: str = "a.png",
        kind: Kind = "image",
        param: str = "messages[0]",
        who: Account | None = None,
        progress: Callable[[int], None] | None = None,
        uploads: Uploads | None = None,
    ) -> SiteFile:
        content = FakeContent(data)
        part = FilePart(
            Given(content), kind, param=param, name=name, identity=f"sha256:{content.sha256}", size=content.size
        )
        facts = Facts(name, kind, "image/png" if kind == "image" else "application/pdf", content.size)
        return await (uploads or self.uploads).ensure(who or self.here, part, given(content), facts, progress=progress)

    async def refused(self, **file: object) -> Fault:
        with pytest.raises(Fault) as raised:
            await self.ensure(**file)  # type: ignore[arg-type]
        return raised.value

    def did(self, word: str) -> int:
        return sum(entry.split()[0] == word for entry in self.log)


def given(content: Content) -> Callable[[], Awaitable[Content]]:
    async def there() -> Content:
        return content

    return there


# --- one file ---


async def test_a_picture_is_written_down_before_it_is_brought_and_after() -> None:
    bench = Bench()
    file = await bench.ensure()
    assert bench.log == ["find", "begin", "ticket a.png", "store file-1", "done row-1"]
    assert bench.storage.objects == {"user/file-1_a.png": b"some bytes"}
    assert bench.storage.types == {"user/file-1_a.png": "image/png"}
    assert file.id == "file-1"
    assert bench.net.seconds == {"ticket": 9}


async def test_a_document_is_parsed_before_it_is_done() -> None:
    bench = Bench()
    bench.site.unparsed = 2
    await bench.ensure(kind="document", name="a.pdf")
    assert bench.log[3:] == ["store file-1", "parse file-1", *["parsed file-1"] * 3, "done row-1"]


async def test_the_session_is_fresh_for_each_call() -> None:
    bench = Bench(refreshable=True)
    bench.here = account(bench.clock, user="a", refreshable=True, ends=bench.clock.now + 1)
    await bench.ensure()
    assert bench.log[2:4] == ["refresh token", "ticket a.png"]


async def test_cookies_of_the_replies_are_kept() -> None:
    bench = Bench()
    bench.net.cookies = ("seen=1",)
    await bench.ensure()
    assert "seen=1" in bench.here.session.cookie_header


async def test_progress_is_told() -> None:
    bench, arrived = Bench(), list[int]()
    await bench.ensure(progress=arrived.append)
    assert arrived == [5, 10]


@pytest.mark.parametrize("name", ["parse", "parsed"])
async def test_bytes_that_the_site_does_not_take_have_not_all_arrived(name: str) -> None:
    bench, arrived = Bench(), list[int]()
    bench.site.says[name].append(InvalidRequest("Damaged.", code="file_unreadable"))
    await bench.refused(kind="document", progress=arrived.append)
    assert arrived == [5]
    bench.net.holds[name] = asyncio.Event()
    turn = asyncio.create_task(bench.ensure(kind="document", progress=arrived.append))
    await until(lambda: bench.did(name) == 2)
    assert arrived == [5, 5]
    bench.net.holds[name].set()
    await turn
    assert arrived == [5, 5, 10]


async def test_bytes_are_asked_for_only_when_they_are_sent_and_stay_open() -> None:
    bench, content = Bench(), FakeContent()
    asked = 0

    async def there() -> Content:
        nonlocal asked
        asked += 1
        assert bench.log == ["find"] * asked
        return content

    part = FilePart(Given(content), identity=f"sha256:{content.sha256}")
    facts = Facts("a", "image", "image/png", content.size)
    await bench.uploads.ensure(bench.here, part, there, facts)
    await bench.uploads.ensure(bench.here, part, there, facts)
    assert asked == 1
    assert content.closed == 0


async def test_a_file_from_an_address_is_known_by_its_bytes() -> None:
    bench, content = Bench(), FakeContent()
    facts = Facts("a.png", "image", "image/png", content.size)
    for url in ("https://x.test/1", "https://x.test/2"):
        part = FilePart(Remote(url), identity=f"url:{url}")
        await bench.uploads.ensure(bench.here, part, given(content), facts)
    await bench.ensure()
    assert bench.did("store") == 1


# --- known files ---


async def test_a_known_file_is_not_brought_again() -> None:
    bench = Bench()
    first = await bench.ensure()
    assert await bench.ensure() == first.kept()
    assert await bench.ensure(uploads=bench.made("another process")) == first.kept()
    assert bench.did("ticket") == 1
    assert bench.uploads.counts.reused == 1


async def test_after_its_time_it_is_brought_again_however_often_it_was_used() -> None:
    bench = Bench()
    await bench.ensure()
    bench.clock.now += 3000
    await bench.ensure()
    bench.clock.now += 700
    await bench.ensure()
    assert bench.did("ticket") == 2


@pytest.mark.parametrize("change", [{"data": b"other"}, {"name": "b.png"}, {"kind": "video"}])
async def test_a_file_of_which_the_site_is_told_something_else_is_another_one(change: dict[str, object]) -> None:
    bench = Bench()
    await bench.ensure()
    await bench.ensure(**change)  # type: ignore[arg-type]
    assert bench.did("store") == 2


async def test_each_account_has_its_own() -> None:
    bench = Bench()
    await bench.ensure()
    await bench.ensure(who=account(bench.clock, user="b"))
    assert bench.did("store") == 2


async def test_digests_say_nothing_without_the_secret() -> None:
    bench = Bench()
    await bench.ensure()
    (row,) = bench.files.rows.values()
    assert FakeContent().sha256 not in row.digest.hex()
    assert len(row.digest) == 32


async def test_forgotten_files_are_brought_again() -> None:
    bench = Bench()
    await bench.ensure()
    await bench.ensure(b"other bytes")
    content = FakeContent()
    part = FilePart(Given(content), identity=f"sha256:{content.sha256}")
    await bench.uploads.forget(bench.here, [(part, Facts("a.png", "image", "image/png", content.size))])
    await bench.ensure()
    await bench.ensure(b"other bytes")
    assert bench.did("store") == 3


# --- several at the same time ---


async def test_two_turns_bring_a_file_once() -> None:
    bench = Bench()
    bench.storage.hold = asyncio.Event()
    both = [asyncio.create_task(bench.ensure()) for _ in range(2)]
    await settle()
    bench.storage.hold.set()
    first, second = await asyncio.gather(*both)
    assert first == second
    assert bench.did("store") == 1


async def test_when_the_first_leaves_the_second_begins_with_its_own_bytes() -> None:
    bench = Bench()
    bench.storage.hold = asyncio.Event()
    first, second = (asyncio.create_task(bench.ensure()) for _ in range(2))
    await settle()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    bench.storage.hold.set()
    assert (await second).id == "file-2"
    assert [row.file is not None for row in bench.files.rows.values()] == [True]
    assert "abort file-1" in bench.log


async def test_when_the_second_leaves_the_first_goes_on() -> None:
    bench = Bench()
    bench.storage.hold = asyncio.Event()
    first, second = (asyncio.create_task(bench.ensure()) for _ in range(2))
    await settle()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    bench.storage.hold.set()
    assert (await first).id == "file-1"


async def test_a_fault_is_told_to_all_who_wait_each_for_its_own_part() -> None:
    bench = Bench()
    bench.storage.hold = asyncio.Event()
    bench.site.says["ticket"].append(Throttled("Too many.", retry_after=75))
    bench.net.holds["ticket"] = asyncio.Event()
    both = [asyncio.create_task(bench.refused(param=param)) for param in ("one", "two")]
    await settle()
    bench.net.holds["ticket"].set()
    first, second = await asyncio.gather(*both)
    assert first is not second
    assert (type(first), first.param, first.retry_after) == (Throttled, "one", 75)
    assert (type(second), second.param, second.retry_after) == (Throttled, "two", 75)
    assert bench.did("ticket") == 1


class OfItsOwnMaking(StorageUnavailable):
    """Made from nothing, as some faults of the store are."""

    def __init__(self) -> None:
        super().__init__("The bytes are damaged.", code="file_damaged")


@pytest.mark.parametrize("fault", [OfItsOwnMaking(), Unfit("Bad.", code="odd", hint="Again.")])
@pytest.mark.parametrize("param", [None, "model"])
async def test_a_fault_is_told_to_all_whatever_it_takes_to_make_one(fault: Fault, param: str | None) -> None:
    bench = Bench()
    fault.param = param
    bench.site.says["ticket"].append(fault)
    bench.net.holds["ticket"] = asyncio.Event()
    three = [asyncio.create_task(bench.refused(param=name)) for name in ("one", "two", "three")]
    await settle()
    bench.net.holds["ticket"].set()
    told = await asyncio.gather(*three)
    assert [one.param for one in told] == [param or "one", param or "two", param or "three"]
    assert len({id(one) for one in told}) == 3
    assert {(type(one), one.text, one.code, str(one)) for one in told} == {
        (type(fault), fault.text, fault.code, fault.text)
    }
    assert bench.did("ticket") == 1


async def test_only_so_many_are_brought_at_once() -> None:
    bench = Bench(at_once=2)
    bench.storage.hold = asyncio.Event()
    five = [asyncio.create_task(bench.ensure(bytes([number]))) for number in range(5)]
    await until(lambda: bench.storage.running == 2)
    await settle()
    counts = bench.uploads.counts
    assert (counts.running, counts.waiting) == (2, 3)
    five[-1].cancel()
    bench.storage.hold.set()
    await asyncio.gather(*five, return_exceptions=True)
    assert bench.storage.most == 2
    counts = bench.uploads.counts
    assert (counts.running, counts.waiting, counts.done, counts.bytes) == (0, 0, 4, 4)


async def test_documents_that_the_site_is_slow_to_read_keep_no_other_file_waiting() -> None:
    bench = Bench(at_once=2)
    bench.net.holds["parsed"] = reading = asyncio.Event()
    slow = [asyncio.create_task(bench.ensure(bytes([number]), kind="document")) for number in range(2)]
    await until(lambda: bench.did("parsed") == 2)
    async with asyncio.timeout(5):
        await bench.ensure(b"a picture")
    reading.set()
    await asyncio.gather(*slow)
    bench.storage.hold = asyncio.Event()
    more = [asyncio.create_task(bench.ensure(bytes([number]) * 3)) for number in range(4)]
    await until(lambda: bench.storage.running == 2)
    await settle()
    assert bench.uploads.counts.waiting == 2, "each seat was given back once"
    bench.storage.hold.set()
    await asyncio.gather(*more)


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("ticket", LoginExpired("Over.")),
        ("ticket", Throttled("Too many.", code="upload_rate_limited", retry_after=75)),
        ("ticket", Unreachable("No network.")),
        ("parse", LoginExpired("Over.")),
        ("parsed", InvalidRequest("Damaged.", code="file_unreadable")),
    ],
)
async def test_what_the_site_says_comes_out_and_names_the_part(name: str, fault: Fault) -> None:
    bench = Bench()
    bench.site.says[name].append(fault)
    assert await bench.refused(kind="document") is fault
    assert fault.param == "messages[0]"
    assert bench.files.rows == {}
    assert bench.uploads.counts.failed == 1


async def test_a_fault_that_names_something_keeps_its_name() -> None:
    bench = Bench()
    bench.site.says["ticket"].append(InvalidRequest("No.", param="model"))
    assert (await bench.refused()).param == "model"


@pytest.mark.parametrize(
    "fault",
    [SiteError("Refused.", code="upload_failed", retry_after=5), Unreachable("Broke."), SiteError("What?")],
)
async def test_a_storage_that_fails_is_not_worth_another_try(fault: Fault) -> None:
    bench = Bench()
    bench.storage.says.append(fault)
    raised = await bench.refused()
    assert (type(raised), raised.code, raised.text) == (UploadFailed, "upload_failed", fault.text)
    assert raised.retry_after == fault.retry_after
    assert bench.files.rows == {}


async def test_leave_that_has_run_out_is_asked_for_once_more() -> None:
    bench = Bench()
    bench.storage.says.append(SiteError("Over.", code="upload_expired"))
    assert (await bench.ensure()).id == "file-2"
    bench.storage.says += [SiteError("Over.", code="upload_expired")] * 2
    raised = await bench.refused(data=b"other")
    assert (type(raised), raised.code) == (UploadFailed, "upload_failed")
    assert bench.did("ticket") == 4


async def test_a_reader_that_is_down_is_not_asked_again_and_again() -> None:
    bench = Bench()
    bench.site.says["parse"].append(SiteError("Down.", code="upload_failed", retry_after=60))
    raised = await bench.refused(kind="document")
    assert (type(raised), raised.retry_after) == (UploadFailed, 60)
    assert bench.did("parsed") == 0


async def test_a_document_that_is_never_parsed() -> None:
    bench = Bench(parse_seconds=0.05)
    bench.site.unparsed = 10**9
    raised = await bench.refused(kind="document")
    assert (type(raised), raised.code) == (TimedOut, "file_parse_timeout")
    assert bench.did("parsed") > 1
    assert bench.files.rows == {}


async def test_a_look_that_gets_lost_is_repeated_rather_than_the_upload() -> None:
    bench = Bench()
    bench.net.breaks["parse"].append(Unreachable("Lost."))
    bench.net.breaks["parsed"] += [TimedOut("Lost."), Unreachable("Lost.")]
    await bench.ensure(kind="document")
    assert bench.did("store") == 1
    bench.net.breaks["parsed"] += [Unreachable("Lost.")] * 4
    assert isinstance(await bench.refused(kind="document", data=b"other"), Unreachable)


async def test_an_account_that_may_not_upload_for_a_while_is_not_asked() -> None:
    bench = Bench()
    bench.here.failed(UPLOADING, Throttled("Too many.", retry_after=75))
    raised = await bench.refused()
    assert isinstance(raised, RateLimited)
    assert raised.retry_after == 75
    assert bench.did("ticket") == 0
    bench.clock.now += 76
    await bench.ensure()


async def test_what_an_account_says_of_its_own_rest_makes_it_no_longer() -> None:
    bench = Bench()
    bench.site.says["ticket"].append(Throttled("Too many.", retry_after=75))
    await bench.refused()
    (rest,) = bench.here.rest.entries()
    assert (rest.what, rest.until - bench.clock.now) == (UPLOADING, 75)
    bench.clock.now += 10.5
    await bench.refused()
    assert bench.here.rest.entries() == [rest]


async def test_a_turn_that_tries_whether_a_rest_is_over_may_upload() -> None:
    bench = Bench()
    bench.here.rest = Rest(Resting(60))
    bench.here.failed("model", LoginExpired("Over."))
    bench.here.ended(LoginExpired("Over."))
    bench.clock.now += 10_000
    assert bench.here.begin("model") is None
    await bench.ensure()


async def test_bytes_that_are_not_there_any_more() -> None:
    bench = Bench()

    async def lost() -> Content:
        raise NotFound("The file is gone.")

    part = FilePart(Given(FakeContent()), identity="sha256:00", param="here")
    with pytest.raises(ClientFault) as raised:
        await bench.uploads.ensure(bench.here, part, lost, Facts("a", "image", "image/png", 1))
    assert raised.value.param == "here"
    assert bench.log == ["find"]
    await bench.ensure()  # the seat is free again


# --- cancelled ---


@pytest.mark.parametrize("name", ["ticket", "parse", "parsed"])
async def test_a_turn_that_leaves_leaves_no_record(name: str) -> None:
    bench = Bench()
    bench.net.holds[name] = asyncio.Event()
    turn = asyncio.create_task(bench.ensure(kind="document"))
    await until(lambda: bench.did(name) == 1)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert bench.files.rows == {}
    assert bench.uploads.counts.running == 0


@pytest.mark.parametrize("fails", [False, True])
async def test_a_turn_that_leaves_while_its_record_is_written_leaves_none(fails: bool) -> None:
    """The store writes in a thread, which is not told that nobody waits for it any more."""
    bench, writing = Bench(), asyncio.Event()
    begin = bench.files.begin

    async def slow(account: str, digest: bytes, owner: str, now: float) -> str:
        await asyncio.shield(writing.wait())
        if fails:
            raise DOWN
        return await begin(account, digest, owner, now)

    bench.files.begin = slow  # type: ignore[method-assign]
    turn = asyncio.create_task(bench.ensure())
    await until(lambda: bench.uploads.counts.running == 1)
    await settle()
    turn.cancel()
    await settle()
    writing.set()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert bench.files.rows == {}
    assert bench.did("ticket") == 0
    assert bench.uploads.counts.running == 0


async def test_the_record_goes_after_the_upload_is_aborted() -> None:
    bench = Bench()
    bench.storage.hold = asyncio.Event()
    turn = asyncio.create_task(bench.ensure())
    await until(lambda: bench.storage.running == 1)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert bench.log[-2:] == ["abort file-1", "gone row-1"]


async def test_a_turn_cancelled_twice_leaves_no_record_either() -> None:
    bench, striking = Bench(), asyncio.Event()
    bench.storage.hold = asyncio.Event()
    gone = bench.files.gone

    async def slow(record: str) -> None:
        await striking.wait()
        await gone(record)

    bench.files.gone = slow  # type: ignore[method-assign]
    turn = asyncio.create_task(bench.ensure())
    await until(lambda: bench.storage.running == 1)
    for _ in range(2):
        turn.cancel()
        await settle()
    assert turn.cancelled()
    striking.set()
    await bench.uploads.close(5)
    assert bench.files.rows == {}


# --- the store is away ---


async def test_a_file_that_cannot_be_looked_up_is_brought() -> None:
    bench = Bench()
    bench.files.downs["find"] = DOWN
    await bench.ensure()
    assert bench.did("store") == 1


async def test_nothing_is_brought_that_cannot_be_written_down() -> None:
    bench = Bench()
    bench.files.downs["begin"] = DOWN
    raised = await bench.refused()
    assert isinstance(raised, StorageUnavailable)
    assert bench.did("ticket") == 0


async def test_a_file_that_is_there_serves_though_nobody_will_know() -> None:
    bench = Bench()
    bench.files.downs["done"] = DOWN
    assert (await bench.ensure()).id == "file-1"
    await bench.uploads.sweep()
    assert bench.files.rows == {}


async def test_a_record_that_cannot_be_struck_is_struck_by_the_sweep() -> None:
    bench = Bench()
    bench.site.says["ticket"].append(LoginExpired("Over."))
    bench.files.downs["gone"] = DOWN
    assert isinstance(await bench.refused(), LoginExpired)
    assert len(bench.files.rows) == 1
    del bench.files.downs["gone"]
    await bench.uploads.sweep()
    assert bench.files.rows == {}


# --- what could not be ended ---


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_ends, "FIRST_PAUSE", 0.001)


async def left_open(bench: Bench, *faults: Fault) -> None:
    """A turn that leaves in the middle of parts, while the storage cannot be told. faults: of later tries."""
    bench.storage.parts, bench.storage.hold, bench.storage.leaves = True, asyncio.Event(), 1
    bench.storage.says_of_aborts += faults
    turn = asyncio.create_task(bench.ensure())
    await until(lambda: any(row.parts is not None for row in bench.files.unfinished))
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn


async def test_a_record_stays_while_parts_may_be_open_at_the_storage() -> None:
    bench = Bench()
    await left_open(bench)
    (row,) = bench.files.unfinished
    assert row.parts is not None
    await bench.uploads.close(5)
    assert len(bench.files.rows) == 1, "the next start ends it"
    bench.clock.now += 1
    await bench.made("next").sweep(gone=lambda _owner: True)
    assert "abort upload-of-file-1 bucket/user/file-1_a.png key-secret" in bench.log
    assert bench.files.rows == {}


@pytest.mark.usefixtures("_soon")
async def test_it_is_tried_again_until_it_is_ended() -> None:
    bench = Bench()
    await left_open(bench, Unreachable("No network."), SiteError("Busy.", code="upload_failed"))
    await until(lambda: not bench.files.rows)
    assert bench.log[-4:] == [*["abort upload-of-file-1 bucket/user/file-1_a.png key-secret"] * 3, "gone row-1"]


@pytest.mark.usefixtures("_soon")
async def test_it_is_tried_for_as_long_as_the_leave_lasts() -> None:
    bench = Bench()
    await left_open(bench, SiteError("Over.", code="upload_expired"))
    await until(lambda: not bench.files.rows)
    assert bench.did("abort") == 2, "the turn's own, and one later"


@pytest.mark.usefixtures("_soon")
async def test_parts_that_stay_beside_a_file_that_arrived_have_a_record_of_their_own() -> None:
    bench, ending = Bench(), asyncio.Event()
    abort = bench.storage.abort

    async def slow(ticket: Ticket, upload_id: str) -> None:
        await ending.wait()
        await abort(ticket, upload_id)

    bench.storage.abort = slow  # type: ignore[method-assign]
    bench.storage.parts, bench.storage.leaves = True, 1
    assert (await bench.ensure()).id == "file-1"
    (row,) = bench.files.unfinished
    assert row.parts is not None
    assert len(bench.files.rows) == 2
    ending.set()
    await until(lambda: not bench.files.unfinished)
    assert len(bench.files.rows) == 1
    await bench.ensure()
    assert bench.did("store") == 1


@pytest.mark.usefixtures("_soon")
async def test_each_try_with_leave_of_its_own_is_ended() -> None:
    bench = Bench()
    bench.storage.parts, bench.storage.leaves = True, 2
    bench.storage.says.append(SiteError("Over.", code="upload_expired"))
    assert (await bench.ensure()).id == "file-2"
    await until(lambda: not bench.files.unfinished)
    ended = [entry.split()[1] for entry in bench.log if entry.startswith("abort")]
    assert sorted(ended) == ["upload-of-file-1", "upload-of-file-2"]


@pytest.mark.usefixtures("_soon")
async def test_it_is_ended_though_the_store_is_away() -> None:
    bench = Bench()
    bench.site.says["parse"].append(LoginExpired("Over."))
    bench.storage.parts, bench.storage.leaves = True, 1
    parted = bench.files.parted

    async def once(record: str, parts: Secret) -> None:
        await parted(record, parts)
        bench.files.down = DOWN

    bench.files.parted = once  # type: ignore[method-assign]
    assert isinstance(await bench.refused(kind="document"), LoginExpired)
    await until(lambda: bench.did("gone") == 1)
    assert "abort upload-of-file-1 bucket/user/file-1_a.png key-secret" in bench.log
    bench.files.down = None
    await bench.uploads.sweep()
    assert bench.files.rows == {}


async def test_closing_waits_for_a_try_that_is_under_way_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_ends, "FIRST_PAUSE", 0.001)
    bench, trying = Bench(), asyncio.Event()

    async def silent(ticket: Ticket, upload_id: str) -> None:
        trying.set()
        await asyncio.sleep(3600)

    bench.storage.abort = silent  # type: ignore[method-assign]
    await left_open(bench)
    await trying.wait()
    await bench.uploads.close(0.05)
    assert len(bench.files.unfinished) == 1


# --- what processes leave when they die ---


async def left_over(bench: Bench) -> None:
    """As if a process had died in the middle of an upload in parts."""
    bench.storage.parts, bench.storage.hold = True, asyncio.Event()
    bench.files.downs["gone"] = DOWN
    turn = asyncio.create_task(bench.ensure(uploads=bench.made("dead")))
    await until(lambda: any(row.parts is not None for row in bench.files.unfinished))
    turn.cancel()
    await asyncio.wait([turn])
    del bench.files.downs["gone"]
    bench.log.clear()


async def test_parts_are_known_to_the_store_as_a_secret() -> None:
    bench = Bench()
    await left_over(bench)
    (row,) = bench.files.unfinished
    assert row.parts is not None
    assert b"key-secret" in row.parts.value
    assert "key-secret" not in repr(row)


async def test_a_leftover_is_ended_with_its_own_credentials() -> None:
    bench = Bench()
    await left_over(bench)
    bench.clock.now += ABANDONED + 1
    await bench.uploads.sweep()
    assert "abort upload-of-file-1 bucket/user/file-1_a.png key-secret" in bench.log
    assert bench.files.rows == {}


async def test_one_that_another_process_may_still_be_at_is_left_alone() -> None:
    bench = Bench()
    await left_over(bench)
    bench.clock.now += 60
    await bench.uploads.sweep()
    assert len(bench.files.rows) == 1


async def test_where_it_can_be_told_who_is_gone_only_theirs_is_ended_and_at_once() -> None:
    bench, alive = Bench(), {"dead", "other"}
    await left_over(bench)
    bench.clock.now += 3 * ABANDONED
    await bench.uploads.sweep(gone=lambda owner: owner not in alive)
    assert len(bench.files.rows) == 1
    assert bench.log == ["leftovers", "prune"]
    bench.clock.now -= 3 * ABANDONED - 1
    alive.remove("dead")
    await bench.uploads.sweep(gone=lambda owner: owner not in alive)
    assert "abort upload-of-file-1 bucket/user/file-1_a.png key-secret" in bench.log
    assert bench.files.rows == {}


@pytest.mark.parametrize(
    ("fault", "stays"),
    [
        (SiteError("Over.", code="upload_expired"), False),
        (SiteError("Busy.", code="upload_failed"), True),
        (Unreachable("No network."), True),
    ],
)
async def test_a_leftover_that_cannot_be_ended(fault: Fault, stays: bool) -> None:
    bench = Bench()
    await left_over(bench)
    bench.clock.now += ABANDONED + 1
    bench.storage.says_of_aborts.append(fault)
    await bench.uploads.sweep()
    assert bool(bench.files.rows) is stays
    await bench.uploads.sweep()
    assert bench.files.rows == {}


async def test_the_sweep_forgets_what_is_too_old_and_survives_a_store_that_is_away() -> None:
    bench = Bench()
    await bench.ensure()
    bench.clock.now += 3601
    bench.files.down = DOWN
    await bench.uploads.sweep()
    assert len(bench.files.rows) == 1
    bench.files.down = None
    await bench.uploads.sweep()
    assert bench.files.rows == {}
