"""The files of a turn: looked at before anything is asked, brought to the site when a question needs them, and nothing
left open whatever comes between."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from qwen_gateway.history.pack import Document
from qwen_gateway.media.limits import Limits
from qwen_gateway.relay import upload_steps
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.together import all_of
from qwen_gateway.relay.turn_files import HISTORY, TurnFiles, about_tokens, document_part, nothing_seen
from qwen_gateway.relay.uploads import FRESH
from qwen_gateway.turn.catalog import Catalog, Model
from qwen_gateway.turn.faults import (
    BodyTooLarge,
    Fault,
    InvalidRequest,
    Overloaded,
    StorageUnavailable,
    Throttled,
    TimedOut,
    Unreachable,
    UploadFailed,
)
from qwen_gateway.turn.files import FilePart, Given, SiteFile
from qwen_gateway.turn.request import Message, Part, TextPart, ToolResultPart, TurnRequest

from .attachment_fakes import MP4, WAV, Files, There, document, given, kept, picture, remote
from .fakes import Clock, Net, Site, account, settle, until
from .kept_fakes import PDF, PNG, Bytes

EYES = Model(id="q-eyes", name="Eyes", capabilities=("vision", "document", "video", "audio"))
READER = Model(id="q-reader", name="Reader", capabilities=("document",))
BLIND = Model(id="q-blind", name="Blind")
CATALOG = Catalog((BLIND, READER, EYES))
CAT, DOG = "https://a.test/cat.png", "https://a.test/dog.png"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_steps, "FIRST_LOOK", 0.001)
    monkeypatch.setattr(upload_steps, "LONGEST_LOOK", 0.002)


class Bench:
    """log: all that was done at the site and the storage. turn: the files of the turn that was read last."""

    def __init__(self, **settings: Any) -> None:
        self.clock, self.site, self.log = Clock(), Site(), list[str]()
        self.net = Net(self.log)
        self.files = Files(self.site, self.net, self.clock, **settings)
        self.files.fetcher.web |= {CAT: There(picture(1)), DOG: There(picture(2))}
        self.here, self.other = account(self.clock, user="a"), account(self.clock, user="b")
        self.turn: TurnFiles

    async def read(self, *parts: Part, model: Model = EYES, tenant: str = "tenant") -> tuple[Part, ...]:
        async def catalog() -> Catalog:
            return CATALOG

        request = TurnRequest(model=model.id, messages=(Message("user", parts),))
        read, self.turn = await self.files.attachments.read(request, tenant, model, catalog)
        return read.messages[0].parts

    async def looked(self, part: FilePart, **about: Any) -> FilePart:
        (found,) = await self.read(part, **about)
        assert isinstance(found, FilePart)
        return found

    async def refused(self, *parts: Part, **about: Any) -> Fault:
        with pytest.raises(Fault) as raised:
            await self.read(*parts, **about)
        return raised.value

    async def uploaded(self, *parts: FilePart, who: Account | None = None) -> tuple[SiteFile, ...]:
        """Of a turn with these files alone."""
        read = await self.read(*parts)
        return await self.again(*[part for part in read if isinstance(part, FilePart)], who=who)

    async def again(self, *parts: FilePart, who: Account | None = None) -> tuple[SiteFile, ...]:
        """Of the turn that was read last."""
        async with asyncio.timeout(10):
            return await self.turn.uploaded(who or self.here, parts, nothing_seen)

    async def not_uploaded(self, *parts: FilePart) -> Fault:
        with pytest.raises(Fault) as raised:
            await self.uploaded(*parts)
        return raised.value

    def too_many(self, *parts: FilePart) -> str | None:
        """The first file that is too much."""
        try:
            self.turn.check_together(parts)
        except InvalidRequest as fault:
            return fault.param if fault.code == "too_many_files" else fault.text
        return None

    def did(self, word: str) -> int:
        return sum(entry.split()[0] == word for entry in self.log)

    async def is_clean(self) -> None:
        """After the turn's end nothing is open, nothing runs, and no record says that something does."""
        await self.turn.close()
        files = self.files
        assert (files.open, files.storage.running, files.site_files.unfinished) == (0, 0, [])
        assert (files.uploads.counts.running, files.uploads.counts.waiting) == (0, 0)


# --- looked at ---


@pytest.mark.parametrize(
    ("part", "looks"),
    [
        (given(PNG, kind="image", media_type="image/jpeg"), ("image", "image/png", "image.png")),
        (given(PDF, name="a.pdf"), ("document", "application/pdf", "a.pdf")),
        (given(MP4, name="film"), ("video", "video/mp4", "film.mp4")),
        (given(WAV, kind="audio"), ("audio", "audio/wav", "audio.wav")),
        (given(b"1,2\n", media_type="text/csv", name="t.csv"), ("document", "text/csv", "t.csv")),
    ],
)
async def test_what_a_file_is_its_bytes_say(part: FilePart, looks: tuple[str, str, str]) -> None:
    seen = await Bench().looked(part)
    assert (seen.kind, seen.media_type, seen.name) == looks
    assert isinstance(part.source, Given)
    content = part.source.content
    assert (seen.identity, seen.size) == (f"sha256:{content.sha256}", content.size)
    assert (seen.source, seen.param) == (part.source, part.param)


async def test_what_is_no_file_stays_as_it_is() -> None:
    bench = Bench()
    parts = (TextPart("What is this?"), given(), ToolResultPart("call", "done"))
    first, seen, last = await bench.read(*parts)
    assert (first, last) == (parts[0], parts[2])
    assert isinstance(seen, FilePart)
    assert seen.identity


async def test_a_request_without_files_comes_back_untouched() -> None:
    async def catalog() -> Catalog:
        raise AssertionError("nobody needs it")

    request = TurnRequest(model="q-eyes", messages=(Message("user", (TextPart("Hi"),)),))
    read, files = await Bench().files.attachments.read(request, "tenant", EYES, catalog)
    assert read is request
    await files.close()


async def test_files_of_tools_are_looked_at_too() -> None:
    (result,) = await Bench().read(ToolResultPart("call", "two pictures", files=(given(), given(picture(1)))))
    assert isinstance(result, ToolResultPart)
    assert [file.kind for file in result.files] == ["image", "image"]
    assert len({file.identity for file in result.files}) == 2


@pytest.mark.parametrize(
    ("part", "model", "code"),
    [
        (given(PNG, kind="video"), EYES, "unsupported_file"),
        (given(b"no picture", kind="image"), EYES, "unsupported_file"),
        (given(b""), EYES, "unsupported_file"),
        (given(PNG), BLIND, "unsupported_content"),
        (given(PNG), READER, "unsupported_content"),
        (given(PDF), BLIND, "unsupported_content"),
        (given(MP4), READER, "unsupported_content"),
        (given(WAV), READER, "unsupported_content"),
        (remote(kind="image"), BLIND, "unsupported_content"),
        (kept("file-1"), BLIND, "unsupported_content"),
        (kept("file-1", kind="document"), EYES, "unsupported_file"),
        (kept("file-2"), EYES, "file_not_found"),
        (kept("file-1" * 100), EYES, "file_not_found"),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_name(part: FilePart, model: Model, code: str) -> None:
    bench = Bench()
    bench.files.keep("file-1")
    fault = await bench.refused(TextPart("Look:"), part, model=model)
    assert isinstance(fault, InvalidRequest)
    assert (fault.code, fault.param) == (code, part.param)
    assert len(fault.text) < 300
    assert bench.log == []
    assert bench.files.open == 0


async def test_the_refusal_names_models_that_can() -> None:
    fault = await Bench().refused(given(), model=READER)
    assert "q-eyes" in fault.text
    assert "q-reader" in fault.text  # which cannot


@pytest.mark.parametrize(
    ("data", "kind"), [(PNG, "image"), (PDF, "document"), (MP4, "video"), (WAV, "audio"), (b"text ", "document")]
)
async def test_each_kind_has_its_own_limit(data: bytes, kind: str) -> None:
    limits = structs.replace(Limits(), **{kind: 1000})
    bench = Bench(limits=limits)
    exact = data.ljust(1000, b" ")
    assert (await bench.looked(given(exact))).size == 1000
    fault = await bench.refused(given(exact + b" "))
    assert isinstance(fault, BodyTooLarge)
    assert (fault.code, fault.param) == ("file_too_large", given().param)


async def test_a_kept_file_above_todays_limit_is_refused() -> None:
    bench = Bench(limits=Limits(image=100))
    bench.files.keep("file-1", picture() + bytes(100))
    fault = await bench.refused(kept("file-1"))
    assert (type(fault), fault.param) == (BodyTooLarge, kept("").param)


# --- kept files ---


async def test_a_kept_file_is_known_by_its_row() -> None:
    bench = Bench()
    file = bench.files.keep("file-1", name="cat.png")
    seen = await bench.looked(kept("file-1", kind="image"))
    assert (seen.kind, seen.media_type, seen.name) == ("image", "image/png", "cat.png")
    assert (seen.identity, seen.size) == (f"sha256:{file.sha256}", len(PNG))
    assert bench.files.shelf.given == [], "its bytes were not needed"


async def test_the_same_bytes_are_the_same_file_however_they_came() -> None:
    bench = Bench()
    bench.files.keep("file-1")
    assert (await bench.looked(kept("file-1"))).identity == (await bench.looked(given())).identity


async def test_nobody_sees_another_tenants_file() -> None:
    bench = Bench()
    bench.files.keep("file-1", tenant="somebody")
    fault = await bench.refused(kept("file-1"))
    assert (fault.code, fault.param) == ("file_not_found", kept("").param)
    assert (await bench.looked(kept("file-1"), tenant="somebody")).kind == "image"


async def test_an_expired_file_is_not_there() -> None:
    bench = Bench()
    file = bench.files.keep("file-1")
    bench.files.shelf.files["file-1"] = structs.replace(file, expires=bench.clock.now + 10)
    await bench.looked(kept("file-1"))
    bench.clock.now += 10
    assert (await bench.refused(kept("file-1"))).code == "file_not_found"


# --- short texts ---


async def test_a_short_text_is_said_itself() -> None:
    bench = Bench(inline=10)
    assert (await bench.looked(given("Grüße\n".encode(), name="a.txt"))).text == "Grüße\n"
    assert (await bench.looked(given(b"0123456789", name="a.md"))).text == "0123456789"
    assert (await bench.looked(given(b"0123456789+", name="a.md"))).text is None


async def test_a_short_text_that_is_kept_is_said_itself_and_given_back() -> None:
    bench = Bench(inline=10)
    bench.files.keep("file-1", b"Hi there", kind="document", media_type="text/plain", name="a.txt")
    bench.files.keep("file-2", b"Hi there all", kind="document", media_type="text/plain", name="b.txt")
    assert (await bench.looked(kept("file-1"))).text == "Hi there"
    assert (await bench.looked(kept("file-2"))).text is None
    assert len(bench.files.shelf.given) == 1
    assert bench.files.open == 0


@pytest.mark.parametrize("data", [PNG, PDF, MP4])
async def test_what_is_no_text_is_never_said(data: bytes) -> None:
    assert (await Bench(inline=50_000).looked(given(data))).text is None


async def test_a_kept_document_that_is_no_text_is_given_back() -> None:
    bench = Bench(inline=1000)
    bench.files.keep("file-1", PDF, kind="document", media_type="application/pdf", name="a.pdf")
    assert (await bench.looked(kept("file-1"))).text is None
    assert bench.files.open == 0


async def test_a_text_whose_bytes_cannot_be_read_is_given_back_too() -> None:
    bench = Bench(inline=100)
    bench.files.keep("file-1", b"Hi there", kind="document", media_type="text/plain", name="a.txt")
    del bench.files.shelf.data["file-1"]
    fault = await bench.refused(kept("file-1"))
    # With 404, clients would look for another model, or another address of the gateway.
    assert (fault.status, fault.code, fault.param) == (400, "file_not_found", kept("").param)


async def test_no_reader_stays_open() -> None:
    bench = Bench(inline=1000)
    contents = [Bytes(PNG), Bytes(b"text"), Bytes(b"")]
    for content in contents[:2]:
        await bench.looked(given(content))
    await bench.refused(given(contents[2]))
    assert [content.open for content in contents] == [0, 0, 0]
    assert not any(content.closed for content in contents), "whoever gave them closes them"


# --- files from addresses ---


async def test_nothing_is_fetched_before_a_question_needs_it() -> None:
    bench = Bench()
    seen = await bench.looked(remote(CAT, kind="image"))
    assert (seen.identity, seen.kind, seen.size, seen.text) == (f"url:{CAT}", "image", None, None)
    assert (await bench.looked(remote(DOG))).kind is None
    assert bench.files.fetcher.log == []


async def test_an_address_is_fetched_once_however_often_it_stands_there() -> None:
    bench = Bench()
    first, second = remote(CAT, param="first"), remote(CAT, param="second")
    files = await bench.uploaded(first, second)
    assert files[0] == files[1]
    await bench.again(first, second)
    assert bench.files.fetcher.log == [CAT]
    assert bench.did("store") == 1
    await bench.is_clean()


async def test_each_part_of_one_address_must_be_what_it_claims() -> None:
    bench = Bench()
    fault = await bench.not_uploaded(
        remote(CAT, kind="image", param="first"), remote(CAT, kind="document", param="2nd")
    )
    assert (fault.code, fault.param) == ("unsupported_file", "2nd")
    await bench.is_clean()


async def test_what_was_fetched_is_looked_at_as_if_it_had_been_sent() -> None:
    bench = Bench(limits=Limits(image=100))
    bench.files.fetcher.web |= {CAT: There(b"<html>no cat</html>", "image/png"), DOG: There(PNG + bytes(100))}
    fault = await bench.not_uploaded(remote(CAT, kind="image"))
    assert (fault.code, fault.param) == ("unsupported_file", remote().param)
    await bench.is_clean()
    assert type(await bench.not_uploaded(remote(DOG))) is BodyTooLarge
    await bench.is_clean()
    assert bench.log == []


async def test_a_kind_that_the_model_does_not_take_may_show_only_now() -> None:
    bench = Bench()
    part = await bench.looked(remote(CAT), model=READER)
    with pytest.raises(InvalidRequest, match="cannot see pictures") as raised:
        await bench.again(part)
    assert (raised.value.code, raised.value.param) == ("unsupported_content", part.param)
    assert bench.log == []
    await bench.is_clean()


async def test_no_more_is_fetched_than_the_kind_may_have() -> None:
    bench = Bench()
    await bench.uploaded(remote(CAT, kind="image"), remote(DOG))
    assert bench.files.fetcher.limits == [50_000, 80_000]
    await bench.is_clean()


@pytest.mark.parametrize(
    ("part", "there", "told"),
    [
        (remote(CAT), There(b"a,b\n", "text/csv", "table"), "table.csv"),
        (remote(CAT, name="mine.txt"), There(b"a,b\n", "text/csv", "table"), "mine.txt"),
        (remote(CAT, media_type="text/markdown"), There(b"a,b\n", "text/csv", "table"), "table.md"),
        (remote(CAT), There(PNG), "image.png"),
    ],
)
async def test_what_the_client_says_comes_before_what_the_address_says(part: FilePart, there: There, told: str) -> None:
    bench = Bench()
    bench.files.fetcher.web[CAT] = there
    await bench.uploaded(part)
    assert f"ticket {told}" in bench.log
    await bench.is_clean()


# --- brought to the site ---


async def test_files_come_back_in_their_order() -> None:
    bench = Bench()
    bench.files.keep("file-9", document(), kind="document", media_type="application/pdf", name="b.pdf")
    bench.files.fetcher.holds[CAT] = asyncio.Event()
    parts = (remote(CAT, name="a.png"), kept("file-9"), given(picture(3), name="c.png"))
    asking = asyncio.create_task(bench.uploaded(*parts))
    await until(lambda: bench.files.fetcher.log == [CAT])
    bench.files.fetcher.holds[CAT].set()
    entries = [file.entry for file in await asking]
    assert [name in entry for name, entry in zip((b"a.png", b"b.pdf", b"c.png"), entries, strict=True)] == [True] * 3
    assert sorted(bench.files.storage.objects.values()) == sorted([picture(1), document(), picture(3)])
    await bench.is_clean()


async def test_progress_names_the_file() -> None:
    bench, told = Bench(), list[tuple[str, int, int]]()
    parts = [part for part in await bench.read(given(param="p"), remote(CAT, param="q")) if isinstance(part, FilePart)]
    await bench.turn.uploaded(bench.here, parts, lambda part, arrived, total: told.append((part.param, arrived, total)))
    for param, size in (("p", len(PNG)), ("q", len(picture(1)))):
        assert [entry[1:] for entry in told if entry[0] == param] == [(size // 2, size), (size, size)]
    await bench.is_clean()


async def test_kept_bytes_are_open_no_longer_than_the_turn() -> None:
    bench = Bench()
    bench.files.keep("file-1")
    await bench.uploaded(kept("file-1"))
    assert [content.closed for content in bench.files.shelf.given] == [False]
    await bench.is_clean()


async def test_given_bytes_are_closed_by_whoever_gave_them() -> None:
    bench, content = Bench(), Bytes(PNG)
    await bench.uploaded(given(content))
    await bench.is_clean()
    assert (content.open, content.closed) == (0, False)


async def test_a_turn_that_asks_again_brings_nothing_again_whatever_is_remembered_elsewhere() -> None:
    bench = Bench(cache_seconds=0)
    seen = await bench.looked(given())
    assert await bench.again(seen) == await bench.again(seen)
    assert bench.did("store") == 1
    await bench.uploaded(given())
    assert bench.did("store") == 2, "another turn"
    await bench.is_clean()


async def test_an_address_that_may_have_run_out_is_not_named() -> None:
    bench = Bench()
    seen = await bench.looked(given())
    (first,) = await bench.again(seen)
    bench.clock.now += FRESH - 1
    assert await bench.again(seen) == (first,)
    bench.clock.now += 1
    assert await bench.again(seen) == (first.kept(),) == bench.turn.there(bench.here, [seen])
    assert first.kept().entry == first.later != first.entry
    await bench.is_clean()


async def test_another_account_gets_its_own() -> None:
    bench = Bench()
    (first,) = await bench.uploaded(remote(CAT))
    (second,) = await bench.again(remote(CAT), who=bench.other)
    assert first != second
    assert (bench.files.fetcher.log, bench.did("store")) == ([CAT], 2)
    await bench.is_clean()


async def test_what_the_site_could_not_use_is_brought_again_by_the_next_turn() -> None:
    bench = Bench()
    await bench.uploaded(given(picture(3)))
    bad, fine = given(), remote(CAT)
    seen = [part for part in await bench.read(bad, fine) if isinstance(part, FilePart)]
    for who in (bench.other, bench.here):
        await bench.again(*seen, who=who)
    bench.turn.refused(bench.here, seen)
    await bench.is_clean()
    assert bench.did("store") == 5
    await bench.uploaded(bad, fine, who=bench.other)
    await bench.uploaded(given(picture(3)))
    assert bench.did("store") == 5, "those of another account, and those of other questions, may be all right"
    await bench.uploaded(bad, fine)
    assert bench.did("store") == 7


# --- which files together ---


async def test_too_many_of_a_kind_are_told_by_what_the_client_says_that_they_are() -> None:
    bench = Bench()
    await bench.read()
    parts = [remote(f"https://a.test/{number}", kind="image", param=f"p{number}") for number in range(5)]
    assert bench.too_many(*parts) == "p3"


async def test_more_files_than_there_can_be_of_all_kinds_are_too_many_whatever_they_are() -> None:
    bench = Bench()
    await bench.read()
    most = 3 + 2 + 1 + 1
    parts = [remote(f"https://a.test/{number}", param=f"p{number}") for number in range(most + 2)]
    assert bench.too_many(*parts) == f"p{most}"
    assert bench.too_many(*parts[:most]) is None


async def test_files_whose_kinds_are_known_only_now_count_as_well() -> None:
    bench = Bench()
    bench.files.fetcher.web = {f"https://a.test/{number}": There(picture(number)) for number in range(4)}
    parts = [remote(url, param=f"p{number}") for number, url in enumerate(bench.files.fetcher.web)]
    fault = await bench.not_uploaded(*parts)
    assert (fault.code, fault.param) == ("too_many_files", "p3")
    assert bench.log == []
    await bench.is_clean()


async def test_kinds_that_do_not_go_together() -> None:
    fault = await Bench().not_uploaded(given(PNG, param="a"), given(MP4, param="b"))
    assert (fault.code, fault.param) == ("unsupported_content", "b")


async def test_the_document_of_the_history_is_none_of_those_that_count() -> None:
    bench = Bench()
    history = document_part(Document("history-2.txt", "Long ago."))
    parts = [part for part in await bench.read(given(document(1)), given(document(2))) if isinstance(part, FilePart)]
    assert len(await bench.again(*parts, history)) == 3
    assert bench.too_many(*parts, history) is None
    assert bench.too_many(*parts, parts[0]) == parts[0].param
    assert b"Long ago." in bench.files.storage.objects.values()
    await bench.is_clean()


# --- what goes wrong ---


def _ticket(bench: Bench) -> None:
    bench.site.says["ticket"].append(Throttled("Too many tickets."))


def _storage(bench: Bench) -> None:
    bench.files.storage.says.append(Unreachable("The storage is away."))


def _records(bench: Bench) -> None:
    bench.files.site_files.downs["begin"] = StorageUnavailable("The database is away.")


def _bytes(bench: Bench) -> None:
    bench.files.shelf.data.clear()


def _parsing(bench: Bench) -> None:
    bench.site.says["parsed"].append(InvalidRequest("The site cannot read it.", code="file_unreadable"))


def _room(bench: Bench) -> None:
    bench.files.fetcher.says.append(Overloaded("There is no room for more files."))


def _address(bench: Bench) -> None:
    bench.files.fetcher.web.clear()


@pytest.mark.parametrize(
    ("breaks", "part", "kind"),
    [
        (_ticket, given(), Throttled),
        (_storage, given(), UploadFailed),
        (_records, given(), StorageUnavailable),
        (_bytes, kept("file-1"), InvalidRequest),
        (_parsing, given(PDF), InvalidRequest),
        (_room, remote(CAT), Overloaded),
        (_address, remote(CAT), InvalidRequest),
    ],
)
async def test_every_fault_names_the_part(breaks: Callable[[Bench], None], part: FilePart, kind: type[Fault]) -> None:
    bench = Bench()
    bench.files.keep("file-1")
    part = structs.replace(part, param="messages[7].content[3]")
    read = await bench.looked(part)
    breaks(bench)
    with pytest.raises(kind) as raised:
        await bench.again(read)
    assert raised.value.param == "messages[7].content[3]"
    await bench.is_clean()


async def test_a_store_that_is_away_while_a_file_is_looked_up_names_the_part(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()

    async def away(*_: object) -> None:
        raise StorageUnavailable("The database is away.")

    monkeypatch.setattr(bench.files.shelf, "get", away)
    assert (await bench.refused(kept("file-1"))).param == kept("").param


async def test_when_one_upload_fails_the_others_end_with_it() -> None:
    bench = Bench()
    bench.files.keep("file-1")
    bench.files.storage.hold = asyncio.Event()
    bench.site.says["ticket"].append(Throttled("Too many tickets."))
    fault = await bench.not_uploaded(given(param="first"), kept("file-1"), remote(CAT), given(document(), name="a.pdf"))
    assert (type(fault), fault.param) == (Throttled, "first")
    assert bench.did("abort") == bench.did("store")
    assert bench.files.storage.running == 0, "before the fault is told"
    await bench.is_clean()


async def test_when_one_cannot_be_fetched_the_others_are_not_waited_for() -> None:
    bench = Bench()
    bench.files.fetcher.holds[DOG] = asyncio.Event()
    del bench.files.fetcher.web[CAT]
    fault = await bench.not_uploaded(remote(DOG, param="dog"), remote(CAT, param="cat"))
    assert (fault.code, fault.param) == ("url_unreachable", "cat")
    assert bench.files.fetcher.left == 0
    await bench.is_clean()
    assert bench.files.fetcher.left == 1


@pytest.mark.parametrize("late", [False, True])
async def test_a_fetch_that_fails_when_nobody_waits_any_more_is_no_news(late: bool) -> None:
    told, loop = list[str](), asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: told.append(context["message"]))
    try:
        bench = Bench()
        bench.files.fetcher.holds[DOG] = hold = asyncio.Event()
        bench.files.fetcher.web.clear()
        bench.files.fetcher.says_then = Unreachable("cut off")
        await bench.not_uploaded(remote(DOG), remote(CAT))
        if not late:
            hold.set()
        await settle()
        await bench.is_clean()
        del bench
        gc.collect()
        await settle()
    finally:
        loop.set_exception_handler(before)
    assert told == []


async def test_what_arrives_when_nobody_waits_any_more_is_given_back() -> None:
    bench = Bench()
    bench.files.fetcher.holds[DOG] = hold = asyncio.Event()
    del bench.files.fetcher.web[CAT]
    await bench.not_uploaded(remote(DOG), remote(CAT))
    hold.set()
    await until(lambda: bench.files.open == 1)
    await bench.is_clean()


@pytest.mark.parametrize("where", ["fetch", "upload"])
async def test_what_takes_too_long_is_ended(where: str) -> None:
    bench = Bench(seconds=0.02)
    bench.files.keep("file-1")
    if where == "fetch":
        bench.files.fetcher.holds[CAT] = asyncio.Event()
    else:
        bench.files.storage.hold = asyncio.Event()
    fault = await bench.not_uploaded(
        kept("file-1", param="first"), remote(DOG, param="second"), remote(CAT, param="third")
    )
    late = "third" if where == "fetch" else "first"
    assert (type(fault), fault.code, fault.param) == (TimedOut, "upload_timeout", late)
    assert "`upload_timeout`" in fault.text
    await bench.is_clean()
    assert bench.did("abort") == bench.did("store") == (0 if where == "fetch" else 3)


async def test_what_took_too_long_is_named_and_not_what_had_arrived() -> None:
    bench = Bench(seconds=0.1)
    bench.site.unparsed = 10**9
    fault = await bench.not_uploaded(given(param="first"), given(document(), param="second"), given(picture(3)))
    assert (fault.code, fault.param) == ("upload_timeout", "second")
    await bench.is_clean()


async def test_what_was_fetched_goes_with_the_last_turn_that_has_it() -> None:
    bench = Bench()
    seen = [part for part in await bench.read(remote(CAT)) if isinstance(part, FilePart)]
    for _ in range(2):
        bench.turn.open()
    await bench.again(*seen)
    await bench.turn.close()
    assert bench.files.open == 1
    await bench.again(*seen, who=bench.other)
    assert bench.files.fetcher.log == [CAT]
    await bench.turn.close()
    assert bench.files.open == 0


# --- who leaves ---


@pytest.mark.parametrize("where", ["fetch", "upload"])
@pytest.mark.parametrize("times", [1, 2])
async def test_who_leaves_leaves_nothing_open(where: str, times: int) -> None:
    bench = Bench()
    bench.files.keep("file-1")
    if where == "fetch":
        bench.files.fetcher.holds[CAT] = asyncio.Event()
    else:
        bench.files.storage.hold = asyncio.Event()
    asking = asyncio.create_task(bench.uploaded(kept("file-1"), remote(CAT), remote(DOG)))
    await until(lambda: len(bench.files.fetcher.log) == 2 if where == "fetch" else bench.files.storage.running == 3)
    for _ in range(times):
        asking.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert bench.files.storage.running == 0
    await bench.is_clean()
    assert bench.files.fetcher.left == (1 if where == "fetch" else 0)


async def test_who_is_cancelled_while_the_turn_is_closed_leaves_nothing_open_either() -> None:
    bench = Bench()
    bench.files.fetcher.holds[DOG] = asyncio.Event()
    asking = asyncio.create_task(bench.uploaded(remote(CAT), remote(DOG)))
    await until(lambda: len(bench.files.fetcher.given) == 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert bench.files.open == 1
    closing = asyncio.create_task(bench.turn.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert (bench.files.open, bench.files.fetcher.left) == (0, 1)


async def test_a_turn_can_be_closed_twice_and_before_anything() -> None:
    bench = Bench()
    await bench.looked(remote(CAT))
    await bench.is_clean()
    await bench.uploaded(remote(CAT))
    await bench.is_clean()
    await bench.is_clean()
    assert bench.files.fetcher.given[0].closed


# --- several at once ---


class Slow:
    """Takes a while to end. cancels: how often it was told to."""

    def __init__(self) -> None:
        self.cancels = 0
        self.may_end = asyncio.Event()
        self.over = False

    async def run(self) -> None:
        while not self.may_end.is_set():
            try:
                await self.may_end.wait()
            except asyncio.CancelledError:
                self.cancels += 1
        self.over = True
        raise asyncio.CancelledError


async def _fails() -> None:
    raise Unreachable("away")


async def _gives(value: int, turns: int) -> int:
    for _ in range(turns):
        await asyncio.sleep(0)
    return value


async def test_results_come_in_order() -> None:
    assert await all_of([_gives(1, 5), _gives(2, 0), _gives(3, 2)]) == [1, 2, 3]
    assert await all_of(list[Any]()) == []


async def test_a_fault_is_told_when_the_others_are_over() -> None:
    slow = Slow()
    waiting = asyncio.create_task(all_of([slow.run(), _fails()]))
    await settle()
    assert (slow.cancels, waiting.done()) == (1, False)
    slow.may_end.set()
    with pytest.raises(Unreachable):
        await waiting
    assert slow.over


async def test_who_is_cancelled_waits_for_what_is_cancelled_once_and_is_cancelled_then() -> None:
    slow = Slow()
    waiting = asyncio.create_task(all_of([slow.run(), _gives(1, 0)]))
    await settle()
    for _ in range(3):
        waiting.cancel()
        await settle()
    assert (slow.cancels, waiting.done()) == (1, False)
    slow.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert slow.over


async def test_a_time_limit_around_counts_as_one_also_when_the_others_take_their_time() -> None:
    slow = Slow()
    asyncio.get_running_loop().call_later(0.05, slow.may_end.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await all_of([slow.run()])
    assert slow.over
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


# --- words ---


def test_the_oldest_part_of_a_conversation_as_a_file() -> None:
    part = document_part(Document("history-12.txt", "Grüße"))
    assert (part.kind, part.media_type, part.name, part.param) == ("document", "text/plain", "history-12.txt", HISTORY)
    assert isinstance(part.source, Given)
    with part.source.content.reader() as reader:
        assert reader.read() == "Grüße".encode()
    assert (part.size, part.identity) == (7, f"sha256:{part.source.content.sha256}")


def test_a_document_costs_by_its_size_and_a_picture_does_not() -> None:
    assert about_tokens(structs.replace(given(), kind="document", size=4000)) == 1000
    assert about_tokens(structs.replace(given(), kind="image", size=9)) == about_tokens(remote()) > 100
    assert about_tokens(remote(kind="document")) == 0
