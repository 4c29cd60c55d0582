"""Forms: what comes of them, whatever way they come in; and that nothing stays of those that fail."""

import asyncio
import contextlib
import time
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise

import aiohttp
import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.net.fetch_spool import Kept, MemorySpool, Writing

from qwen_gateway.server import body as body_module
from qwen_gateway.server.form_parts import FormLimits
from qwen_gateway.server.forms import close_form, read_form
from qwen_gateway.server.paths import Message, Receive
from qwen_gateway.turn.contracts import Form
from qwen_gateway.turn.faults import BodyTooLarge, ClientLeft, Fault, InvalidRequest, Overloaded

HEADERS = [(b"host", b"x"), (b"content-type", b"multipart/form-data; boundary=B")]
LIMITS = FormLimits(total=10_000_000)
END = b"--B--\r\n"


def part(head: bytes, data: bytes = b"x") -> bytes:
    return b"--B\r\n" + head + b"\r\n\r\n" + data + b"\r\n"


def field(name: bytes, value: bytes) -> bytes:
    return part(b'Content-Disposition: form-data; name="%s"' % name, value)


def upload(name: bytes, file: bytes, data: bytes, more: bytes = b"Content-Type: image/png") -> bytes:
    return part(b'Content-Disposition: form-data; name="%s"; filename="%s"\r\n%s' % (name, file, more), data)


def receiving(pieces: Iterable[bytes], *, then: str = "end") -> Receive:
    """then: `end`, `leave` or `stop`."""
    left = iter(pieces)

    async def receive() -> Message:
        await asyncio.sleep(0)
        for piece in left:
            return {"type": "http.request", "body": piece, "more_body": True}
        if then == "leave":
            return {"type": "http.disconnect"}
        if then == "stop":
            await asyncio.Event().wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


async def read(
    *pieces: bytes, spool: MemorySpool | None = None, limits: FormLimits = LIMITS, headers: object = None
) -> Form:
    given = HEADERS if headers is None else headers
    return await read_form(receiving(pieces), given, MemorySpool() if spool is None else spool, limits)  # type: ignore[arg-type]


async def refused(*pieces: bytes, limits: FormLimits = LIMITS, headers: object = None) -> Fault:
    spool = MemorySpool()
    with pytest.raises((InvalidRequest, BodyTooLarge)) as raised:
        await read(*pieces, spool=spool, limits=limits, headers=headers)
    assert spool.left == 0
    return raised.value


def told(form: Form) -> tuple[object, ...]:
    files = [(f.field, f.name, f.media_type, f.content.reader().read()) for f in form.files]
    return form.fields, files


# --- what comes of a form ---


async def test_fields_and_files_in_the_order_sent() -> None:
    spool = MemorySpool()
    form = await read(
        field(b"purpose", b"vision"),
        upload(b"file", b"a.png", b"\x89PNG\r\n--b\r\n-"),
        field(b"tags[]", b"1"),
        upload(b"file", "猫.bin".encode(), b"", b"X-Other: y"),
        field(b"tags[]", "zwei\r\nü".encode()),
        END,
        spool=spool,
    )
    assert form.fields == (("purpose", "vision"), ("tags[]", "1"), ("tags[]", "zwei\r\nü"))
    assert told(form)[1] == [("file", "a.png", "image/png", b"\x89PNG\r\n--b\r\n-"), ("file", "猫.bin", "", b"")]
    assert spool.left == 2
    close_form(form)
    assert spool.left == 0


async def test_a_form_of_nothing() -> None:
    assert await read(END) == Form((), ())


async def test_line_ends_around_the_form_do_not_matter() -> None:
    whole = field(b"a", b"1") + b"--B--"
    for before in (b"", b"\r\n", b"\r\n\r\n"):
        for after in (b"", b"\r\n", b"\r\nwhatever\r\n--B\r\n"):
            assert (await read(before, whole, after)).fields == (("a", "1"),)


async def test_what_the_openai_library_sends() -> None:
    """Its HTTP library writes the form."""
    data = bytes(range(256)) * 800
    request = httpx2.Request(
        "POST",
        "http://x/",
        data={"purpose": "user_data", "expires_after[seconds]": "3600"},
        files={"file": ('C:\\x\\say "猫".pdf', data, "application/pdf")},
    )
    sent = request.read()
    pieces = [sent[i : i + 65536] for i in range(0, len(sent), 65536)]
    form = await read(*pieces, headers=[(name.lower(), value) for name, value in request.headers.raw])
    assert form.fields == (("purpose", "user_data"), ("expires_after[seconds]", "3600"))
    assert told(form)[1] == [("file", 'say "猫".pdf', "application/pdf", data)]


async def test_what_curl_sends() -> None:
    """curl 7.88 with `-F file=@x;filename=… -F 'stream="false"' -F 'p={};type=application/json'`, seen 2026-11-21."""
    form = await read(
        part(
            b'Content-Disposition: form-data; name="file"; filename="x\\y%22 \xe7\x8c\xab.txt"\r\n'
            b"Content-Type: text/plain"
        ),
        part(b'Content-Disposition: form-data; name="stream"', b"false"),
        part(b'Content-Disposition: form-data; name="p"\r\nContent-Type: application/json', b"{}"),
        END,
    )
    assert form.fields == (("stream", "false"), ("p", "{}"))
    assert told(form)[1] == [("file", 'y" 猫.txt', "text/plain", b"x")]


async def test_what_aiohttp_sends() -> None:
    sent = aiohttp.FormData(quote_fields=False)
    sent.add_field("purpose", "vision")
    sent.add_field("file", b"\x89PNG", filename='猫 "1".png', content_type="image/png")
    writer = sent()
    form = await read(await writer.as_bytes(), headers=[(b"content-type", writer.headers["Content-Type"].encode())])
    assert form.fields == (("purpose", "vision"),)
    assert told(form)[1] == [("file", '猫 "1".png', "image/png", b"\x89PNG")]


DATA = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"-", b"--", b"B", b"\r\n--", b"\r\n--C", b"\r\n-B", b"x", b"\xff\x00"]),
    max_size=12,
).map(b"".join)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), DATA), max_size=5),
    st.lists(st.integers(0, 600), max_size=12),
    st.sampled_from([b"", b"\r\n"]),
)
async def test_any_cut_gives_the_same_form(parts: list[tuple[bool, bytes]], cuts: list[int], before: bytes) -> None:
    # The delimiter itself cannot be in a part: RFC 2046 forbids lines that begin with it.
    parts = [(is_file, data) for is_file, data in parts if b"\r\n--B" not in b"\r\n" + data + b"\r\n"]
    sent = [
        upload(b"f", b"n", data) if is_file else field(b"t", data.replace(b"\xff", b"y")) for is_file, data in parts
    ]
    whole = before + b"".join(sent) + END
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[a:b] for a, b in pairwise(places)]
    expected = (
        tuple(("t", data.replace(b"\xff", b"y").decode()) for is_file, data in parts if not is_file),
        [("f", "n", "image/png", data) for is_file, data in parts if is_file],
    )
    assert told(await read(*pieces)) == expected
    assert told(await read(*[whole[i : i + 1] for i in range(len(whole))])) == expected


# --- what fails ---

LONG_HEADS = b"".join(b"\r\nX%d: " % i + b"y" * 900 for i in range(8)) + b"\r\nZ: " + b"y" * 100

BROKEN = {
    "no form": [b'{"model": "x"}'],
    "nothing": [],
    "only line ends": [b"\r\n", b"\r\n"],
    "missing end": [field(b"a", b"1")],
    "missing end in a file": [upload(b"f", b"n", b"x" * 1000)[:-500]],
    "ends in a head": [b"--B\r\nContent-Disp"],
    "other boundary": [field(b"a", b"1").replace(b"--B", b"--C") + b"--C--"],
    "something before it": [b"preamble\r\n", field(b"a", b"1"), END],
    "line ends and something before it": [b"\r\npreamble\r\n", field(b"a", b"1"), END],
    "bare line feeds": [(field(b"a", b"1") + END).replace(b"\r\n", b"\n")],
    "no disposition": [part(b"Content-Type: text/plain"), END],
    "no name": [part(b"Content-Disposition: form-data"), END],
    "not form-data": [part(b'Content-Disposition: attachment; name="a"'), END],
    "two dispositions": [
        part(b"Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b"),
        END,
    ],
    "name no text": [part(b'Content-Disposition: form-data; name="\xff"'), END],
    "encoded": [part(b"Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64", b"eA=="), END],
    "nested": [upload(b"f", b"n", b"--I\r\n\r\n--I--", b"Content-Type: Multipart/Mixed; boundary=I"), END],
    "value no text": [field(b"a", b"\xff"), END],
    "long head": [part(b"Content-Disposition: form-data; name=a\r\nX: " + b"y" * 9000), END],
    "endless head": [b"--B\r\nX: " + b"y" * 100_000],
    "long heads": [part(b"Content-Disposition: form-data; name=a" + LONG_HEADS + b"\r\nY: " + b"y" * 900), END],
    "many heads": [
        part(b"".join(b"X%d: y\r\n" % i for i in range(50)) + b"Content-Disposition: form-data; name=a"),
        END,
    ],
    "many fields": [field(b"a", b"1") * 10_000, END],
    "odd head": [part(b"Content Disposition: form-data; name=a"), END],
}


@pytest.mark.parametrize("pieces", BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_form(pieces: list[bytes]) -> None:
    fault = await refused(*pieces)
    assert (fault.status, fault.code) == (400, "invalid_form")
    whole = b"".join(pieces)[:20_000]
    assert (await refused(*[whole[i : i + 7] for i in range(0, len(whole), 7)])).status == 400


async def test_each_part_may_have_heads_of_8_kb() -> None:
    for heads in (LONG_HEADS, b"\r\nX: " + b"y" * 8000):
        form = await read(part(b"Content-Disposition: form-data; name=a" + heads) * 20, END)
        assert len(form.fields) == 20


async def test_a_value_that_is_no_text_is_named() -> None:
    assert (await refused(field(b"a", b"1"), field(b"prompt", b"\xff"), END)).param == "prompt"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"application/json")],
        [(b"content-type", b"multipart/form-data")],
        [(b"content-type", b"multipart/form-data; boundary=" + b"a" * 100_000)],
        [HEADERS[1], HEADERS[1]],
        [*HEADERS, (b"content-encoding", b"gzip")],
    ],
    ids=["none", "JSON", "no boundary", "long boundary", "two", "packed"],
)
async def test_headers_of_no_form_are_refused_before_anything_is_read(headers: list[tuple[bytes, bytes]]) -> None:
    async def receive() -> Message:
        raise AssertionError("read")

    with pytest.raises(InvalidRequest) as raised:
        await read_form(receive, headers, MemorySpool(), LIMITS)
    assert raised.value.code in ("invalid_form", "unsupported_encoding")


async def test_a_form_may_have_as_many_parts_as_fields_and_files_together() -> None:
    form = await read(field(b"a", b"1") * 64, upload(b"f", b"n", b"") * 20, END)
    assert (len(form.fields), len(form.files)) == (64, 20)
    assert "more than 64 fields" in (await refused(field(b"a", b"1") * 65, END)).text


async def test_too_many_files() -> None:
    fault = await refused(upload(b"f[]", b"n", b"") * 21, END)
    assert (fault.status, fault.code, fault.param) == (400, "too_many_files", "f[]")
    assert len((await read(upload(b"f[]", b"n", b"") * 20, END)).files) == 20


async def test_fields_have_so_many_bytes_together() -> None:
    limits = FormLimits(total=10_000, field_bytes=100)
    assert len((await read(field(b"a", b"x" * 60), field(b"b", b"x" * 40), END, limits=limits)).fields) == 2
    fault = await refused(field(b"a", b"x" * 60), field(b"b", b"x" * 41), END, limits=limits)
    assert (fault.status, fault.param) == (413, "b")


@pytest.mark.parametrize("length", [b"1001", b"9" * 5000])
async def test_a_length_beyond_the_limit_is_refused_before_anything_is_read(length: bytes) -> None:
    async def receive() -> Message:
        raise AssertionError("read")

    headers = [*HEADERS, (b"content-length", length)]
    with pytest.raises(BodyTooLarge) as raised:
        await read_form(receive, headers, MemorySpool(), FormLimits(total=1000, file="image"))
    assert (raised.value.code, raised.value.param) == ("file_too_large", "image")


async def test_a_body_beyond_the_limit_is_not_read_further() -> None:
    spool, sent = MemorySpool(), 0

    def pieces() -> Iterable[bytes]:
        nonlocal sent
        yield upload(b"f", b"n", b"")[:-2]
        while True:
            sent += 1
            yield b"x" * 1000

    with pytest.raises(BodyTooLarge) as raised:
        await read_form(receiving(pieces()), HEADERS, spool, FormLimits(total=10_000))
    assert (raised.value.code, sent, spool.left) == ("file_too_large", 10, 0)
    assert raised.value.param == "f"
    whole = upload(b"f", b"n", b"x" * 1000) + END
    assert (await read(whole, limits=FormLimits(total=len(whole)))).files[0].content.size == 1000


async def test_what_is_too_large_is_named_by_its_part_as_far_as_it_is_known() -> None:
    limits = FormLimits(total=1000, file="file")
    for pieces, named in (
        ([b"--B\r\n", b"X: " + b"y" * 1000], "file"),
        ([upload(b"file", b"n", b""), field(b"purpose", b"x" * 500)[:-2], b"x" * 900], "purpose"),
        ([upload(b"other", b"n", b"x" * 500)[:-2], b"x" * 900], "other"),
    ):
        assert (await refused(*pieces, limits=limits)).param == named


async def test_a_file_for_which_the_spool_is_too_small_is_named() -> None:
    class Small(MemorySpool):
        def begin(self) -> Writing:
            writing = super().begin()

            async def write(data: bytes) -> None:
                raise BodyTooLarge("Larger than all the room.", code="file_too_large")

            writing.write = write  # type: ignore[method-assign]
            return writing

    spool = Small()
    with pytest.raises(BodyTooLarge) as raised:
        await read(upload(b"image", b"n", b"x"), END, spool=spool)
    assert (raised.value.param, spool.left) == ("image", 0)


BEGUN = [field(b"a", b"1"), upload(b"f", b"whole", b"x"), upload(b"f", b"n", b"x" * 1000)[:-100]]


async def test_a_client_that_leaves() -> None:
    spool = MemorySpool()
    with pytest.raises(ClientLeft):
        await read_form(receiving(BEGUN, then="leave"), HEADERS, spool, LIMITS)
    assert (len(spool.files), spool.left) == (2, 0)


async def test_a_client_that_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "STALL", 0.05)
    spool = MemorySpool()
    with pytest.raises(ClientLeft):
        await read_form(receiving(BEGUN, then="stop"), HEADERS, spool, LIMITS)
    assert (len(spool.files), spool.left) == (2, 0)


async def test_a_slow_disk_is_not_the_clients_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "STALL", 0.02)

    class Slow(Writing):
        async def write(self, data: bytes) -> None:
            await asyncio.sleep(0.05)
            await super().write(data)

    class SlowSpool(MemorySpool):
        def begin(self) -> Writing:
            self.files.append(Slow(self))
            return self.files[-1]

    assert (await read(upload(b"f", b"n", b"x"), END, spool=SlowSpool())).files[0].content.size == 1


async def test_a_spool_without_room() -> None:
    spool = MemorySpool(room=500)
    with pytest.raises(Overloaded):
        await read(*BEGUN, END, spool=spool)
    assert (len(spool.files), spool.left) == (2, 0)


async def test_cancelled_it_leaves_nothing() -> None:
    spool = MemorySpool()
    task = asyncio.create_task(read_form(receiving(BEGUN, then="stop"), HEADERS, spool, LIMITS))
    async with asyncio.timeout(5):
        while spool.written < 900:
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (len(spool.files), spool.left) == (2, 0)


# --- time and memory ---


@pytest.mark.parametrize(
    "pieces",
    [
        [upload(b"f", b"n", b"") * 10_000],
        [b"--B" + b"-" * 60_000],
        [b"\r\n" * 30_000],
        [upload(b"f", b"n", b"")[:-2], *[b"\r\n--B-X" * 8000] * 20],
        [b"--B\r\n" + b"-" * 60_000],
        [part(b"Content-Disposition: form-data; name=a; " + b"x=y; " * 10_000)],
        [part(b'Content-Disposition: form-data; name="' + b'\\"' * 4000)],
        [part(b"Content-Disposition: form-data; name=a" + b" " * 8000 + b"x")],
        [part(b"Content-Disposition: form-data" + b";" * 8000)],
    ],
    ids=[
        "parts",
        "dashes",
        "line ends",
        "boundaries",
        "dashes in a head",
        "options",
        "escapes",
        "blanks",
        "semicolons",
    ],
)
async def test_what_is_made_to_cost_time_costs_none(pieces: list[bytes]) -> None:
    began = time.thread_time()
    with contextlib.suppress(InvalidRequest):
        await read(*pieces)
    assert time.thread_time() - began < 0.1, "processor time; some 2 ms on the machine that this was written on"


class Dropping(Writing):
    """Counts the bytes and keeps none."""

    total = 0

    async def write(self, data: bytes) -> None:
        self.longest = max(self.longest, len(data))
        self.total += len(data)

    async def finish(self) -> Kept:
        self.kept = Kept(b"")
        return self.kept


class DroppingSpool(MemorySpool):
    def begin(self) -> Writing:
        self.files.append(Dropping(self))
        return self.files[-1]


async def test_a_large_file_is_never_in_memory() -> None:
    def pieces() -> Iterable[bytes]:
        yield upload(b"f", b"n", b"")[:-2]
        for _ in range(64 * 16):
            yield bytes(65536)
        yield b"\r\n" + END

    spool = DroppingSpool()
    tracemalloc.start()
    try:
        await read_form(receiving(pieces()), HEADERS, spool, FormLimits(total=1 << 30))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    (file,) = spool.files
    assert isinstance(file, Dropping)
    assert file.total == 64 << 20
    assert file.longest <= 65536 + 100
    assert peak < 2 << 20
