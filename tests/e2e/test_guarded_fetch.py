"""Addresses and files of ill will, through the real routes: nothing is reached that must not be, nothing is taken whole
that is too large, and nothing lands where it does not belong. (C-02 to C-08, C-27, C-29, C-30)"""

import asyncio
import socket
import struct
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohappyeyeballs
import pytest
from aiohappyeyeballs import AddrInfoType
from openai import NotFoundError
from tests.net.raw import Act, Visit, serving

from qwen_gateway.net.fetch import GuardedFetch
from qwen_gateway.store.spool import DiskSpool

from . import process, wire
from .attaching import FETCHING, image, user
from .file_samples import Sample, png
from .rig import KEY, PATIENT, Rig, running, until
from .wire import MODEL, Answer, Json, ask, request_bytes

SETTINGS: dict[str, Any] = {**PATIENT, "heartbeat": 20}
CHAT, MULTIMODAL, PICTURE, FILES = (
    "/v1/chat/completions",
    "/v1/chat/multimodal",
    "/v1/image/upload_and_chat",
    "/v1/files",
)
PARAM = "messages[0].content[1].image_url"
MB = 1024 * 1024
PUBLIC = "8.8.4.4"
"""A public address that here leads to this machine."""


class Net:
    """dialled: each address to which the gateway has begun a connection, but for the site's. None leaves this machine.
    looked_up: names."""

    def __init__(self) -> None:
        self.dialled: list[str] = []
        self.looked_up: list[str] = []
        self.site = 0

    def reset(self) -> None:
        self.dialled.clear()
        self.looked_up.clear()


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    made, dial = Net(), aiohappyeyeballs.start_connection

    async def start(addr_infos: Sequence[AddrInfoType], **rest: object) -> socket.socket:
        targets = [(str(info[4][0]), int(info[4][1])) for info in addr_infos]
        if all(port == made.site for _, port in targets):
            return await dial(addr_infos, **rest)  # type: ignore[arg-type]
        made.dialled += [host for host, _ in targets]
        if not all(host == PUBLIC or host.startswith("127.") for host, _ in targets):
            raise ConnectionRefusedError("not from a test")
        here = [(*info[:4], ("127.0.0.1", port)) for info, (_, port) in zip(addr_infos, targets, strict=True)]
        return await dial(here, **rest)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aiohappyeyeballs, "start_connection", start)
        yield made


async def _reset(rig: Rig, net: Net) -> None:
    assert (await rig.http.post(f"{rig.sim.url}/__sim/reset")).status_code == 200
    net.site = int(rig.sim.url.rpartition(":")[2])
    net.reset()
    rig.service.wake()


def _is_empty(rig: Rig) -> bool:
    spool = rig.service.desk.spool
    assert isinstance(spool, DiskSpool)
    return not spool.used


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
async def home(directory: Path) -> AsyncIterator[Rig]:
    async with running(directory, **SETTINGS) as found:
        yield found


@pytest.fixture
async def rig(home: Rig, net: Net) -> AsyncIterator[Rig]:
    """As it comes: files are fetched from public addresses."""
    await _reset(home, net)
    yield home
    await home.settle()
    await until(lambda: _is_empty(home))


NEAR: dict[str, Any] = {
    **SETTINGS,
    "fetch_networks": "127.0.0.1/32",
    "fetch_timeout": 1,
    "max_image_bytes": MB,
}


@pytest.fixture(scope="module")
async def near_home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with running(tmp_path_factory.mktemp("near"), **NEAR) as found:
        yield found


@pytest.fixture
async def near(near_home: Rig, net: Net) -> AsyncIterator[Rig]:
    """Fetches from this machine as well, but from no other address of it than 127.0.0.1."""
    await _reset(near_home, net)
    yield near_home
    await near_home.settle()
    await until(lambda: _is_empty(near_home))


class Trap:
    """Serves a picture at all addresses of this machine, and counts who comes."""

    def __init__(self) -> None:
        self.port = self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.read(1)
        writer.write(_whole(png().data))
        writer.close()


@pytest.fixture(scope="module")
async def trap() -> AsyncIterator[Trap]:
    found = Trap()
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        found.port = listener.getsockname()[1]
        async with await asyncio.start_server(found.serve, sock=listener):
            yield found


def _whole(body: bytes, *headers: bytes, kind: bytes = b"image/png") -> bytes:
    more = b"".join(one + b"\r\n" for one in headers)
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (kind, more, len(body), body)


def saying(data: bytes) -> Act:
    async def act(visit: Visit) -> None:
        await visit.say(data)

    return act


def about(*parts: Json, stream: bool = False) -> Json:
    return {"model": MODEL, "stream": stream, "messages": [user("What is it?", *parts)]}


def check_refused(rig: Rig, answer: Answer, code: str, param: str = PARAM, status: int = 400) -> None:
    """The site has heard nothing of it. param: of the part; that of the error may be within it."""
    error = answer.error()
    assert (answer.status, error["code"]) == (status, code), error
    assert (error["param"] + ".").startswith(param + "."), error
    assert not rig.sim.site.seen
    assert not rig.sim.site.chats
    assert not rig.sim.site.tickets.by_file


# --- C-02, C-03: addresses of this machine and its neighbours, in all spellings

OWN = [
    # C-02
    "http://127.0.0.1:{port}/a.png",
    "http://127.8.9.10:{port}/a.png",
    "http://[::1]:{port}/a.png",
    "http://[::]:{port}/a.png",
    "http://0.0.0.0:{port}/a.png",
    "http://localhost:{port}/a.png",
    "http://localhost.:{port}/a.png",
    "http://LOCALHOST:{port}/a.png",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/",
    "http://10.0.0.1:{port}/",
    "http://172.16.0.1/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://metadata.google.internal/",
    "http://metadata/",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1%25lo]:{port}/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    # C-03
    "http://ok.com\\@127.0.0.1:{port}/a.png",
    "http://ok.com#@127.0.0.1:{port}/a.png",
    "http://ok.com?@127.0.0.1:{port}/a.png",
    "http://ok.com@127.0.0.1:{port}/a.png",
    "http://user:pass@127.0.0.1:{port}/a.png",
    "http://127.0.0.1:{port}#@ok.com/a.png",
    "http://127.1:{port}/a.png",
    "http://127.0.1:{port}/a.png",
    "http://0x7f000001:{port}/a.png",
    "http://0x7f.0.0.1:{port}/a.png",
    "http://2130706433:{port}/a.png",
    "http://0177.0.0.1:{port}/a.png",
    "http://017700000001:{port}/a.png",
    "http://127.0.0.1.:{port}/a.png",
    "http://[::ffff:127.0.0.1]:{port}/a.png",
    "http://[::ffff:7f00:1]:{port}/a.png",
    "http://[::127.0.0.1]:{port}/a.png",
    "http://[64:ff9b::7f00:1]:{port}/a.png",
    "http://[2002:7f00:1::]:{port}/a.png",
    "http://１２７.０.０.１:{port}/a.png",
    "http://①②⑦.⓪.⓪.①:{port}/a.png",
    "http://127。0。0。1:{port}/a.png",
    "http://%31%32%37.0.0.1:{port}/a.png",
    "http://127%2e0%2e0%2e1:{port}/a.png",
    "http://127.0.0.1%00.ok.com:{port}/a.png",
    "http://\t127.0.0.1:{port}/a.png",
    "http://127.0.\n0.1:{port}/a.png",
    "http://127.0.0.1 :{port}/a.png",
    "http:/127.0.0.1:{port}/a.png",
    "http:127.0.0.1:{port}/a.png",
    "http:///127.0.0.1:{port}/a.png",
    "http:\\\\127.0.0.1:{port}\\a.png",
    "//127.0.0.1:{port}/a.png",
    "https://127.0.0.1:{port}/a.png",
    "http://ok.com:{port}@127.0.0.1:{port}/a.png",
]


@pytest.mark.parametrize("address", OWN)
async def test_nothing_of_this_machine_is_asked(rig: Rig, net: Net, trap: Trap, address: str) -> None:
    url = address.format(port=trap.port)
    check_refused(rig, await rig.post(about(image(url))), "url_not_allowed")
    assert (trap.connections, net.dialled) == (0, [])


def _flat(kind: str, field: str, url: str) -> Json:
    return {"type": kind, field: url}


PLACES: dict[str, tuple[str, Callable[[str], Json], str]] = {
    "image-url": (CHAT, image, ".image_url"),
    "image-url-itself": (CHAT, lambda url: _flat("image_url", "image_url", url), ".image_url"),
    "image": (CHAT, lambda url: _flat("image", "image", url), ".image"),
    "input-image": (CHAT, lambda url: _flat("input_image", "image_url", url), ".image_url"),
    "video-url": (CHAT, lambda url: _flat("video_url", "video_url", url), ".video_url"),
    "audio-url": (CHAT, lambda url: _flat("audio_url", "audio_url", url), ".audio_url"),
    "file": (CHAT, lambda url: {"type": "file", "file": {"file_url": url}}, ".file"),
    "input-file": (CHAT, lambda url: _flat("input_file", "file_url", url), ""),
    "sound": (CHAT, lambda url: {"type": "input_audio", "input_audio": {"data": url}}, ".input_audio"),
    "multimodal": (MULTIMODAL, image, ".image_url"),
    "multimodal-info": (
        MULTIMODAL,
        lambda url: {**image(url), "file_info": {"id": "x", "url": url, "name": "a.png", "file_type": "image/png"}},
        ".image_url",
    ),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("place", PLACES)
async def test_wherever_an_address_may_stand(rig: Rig, net: Net, trap: Trap, place: str, stream: bool) -> None:
    path, part, field = PLACES[place]
    answer = await rig.post(about(part(f"http://127.0.0.1:{trap.port}/a.png"), stream=stream), path=path)
    check_refused(rig, answer, "url_not_allowed", f"messages[0].content[1]{field}")
    assert (trap.connections, net.dialled) == (0, [])


async def test_in_the_result_of_a_tool(rig: Rig, net: Net, trap: Trap) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        user("Look."),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": [image(f"http://127.0.0.1:{trap.port}/a.png")]},
    ]
    answer = await rig.post({"model": MODEL, "messages": messages})
    check_refused(rig, answer, "url_not_allowed", "messages[2].content[0].image_url")
    assert (trap.connections, net.dialled) == (0, [])


async def test_addresses_that_are_switched_off(tmp_path: Path, net: Net, trap: Trap) -> None:
    async with running(tmp_path, **SETTINGS, fetch_urls="off", fetch_networks="127.0.0.0/8") as rig:
        await _reset(rig, net)
        for url in (f"http://127.0.0.1:{trap.port}/a.png", "https://example.com/a.png", "http://8.8.4.4/a.png"):
            check_refused(rig, await rig.post(about(image(url))), "url_not_allowed")
        assert (trap.connections, net.dialled) == (0, [])
        assert (await rig.post(about(image(png())))).status == 200


# --- C-01: bodies that would lead elsewhere


async def test_a_body_cannot_say_where_the_site_is(rig: Rig, net: Net, trap: Trap) -> None:
    there = f"http://127.0.0.1:{trap.port}"
    for name in ("api_base", "base_url", "api_key", "extra_headers", "user_config", "proxy"):
        assert (await rig.post({**ask(), name: there})).status == 200
    assert (trap.connections, net.dialled) == (0, [])


# --- C-04, C-05: what is first allowed and then leads here


def redirecting(*locations: str) -> Act:
    """One location for each request, and then a picture."""

    async def act(visit: Visit) -> None:
        if visit.number <= len(locations):
            told = locations[visit.number - 1].encode()
            await visit.say(b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % told)
        else:
            await visit.say(_whole(png().data))

    return act


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/a.png",
        "http://[::1]:{port}/a.png",
        "http://169.254.169.254/latest/meta-data/",
        "//0.0.0.0:{port}/a.png",
        "http://127.0.0.1@127.0.0.2:{port}/a.png",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "gopher://127.0.0.1:{port}/x",
    ],
)
async def test_a_redirect_is_judged_like_any_address(near: Rig, net: Net, trap: Trap, location: str) -> None:
    async with serving(redirecting(location.format(port=trap.port))) as site:
        answer = await near.post(about(image(f"{site.url}/a.png")))
    check_refused(near, answer, "url_not_allowed")
    assert trap.connections == 0
    assert net.dialled == ["127.0.0.1"]


async def test_three_redirects_are_followed_and_no_more(near: Rig, net: Net) -> None:
    async with serving(redirecting("/1", "/2", "/3")) as site:
        assert (await near.post(about(image(f"{site.url}/a.png")))).status == 200
    near.sim.site.reset()
    net.reset()
    async with serving(redirecting(*("/again" for _ in range(10)))) as site:
        answer = await near.post(about(image(f"{site.url}/a.png")))
        assert len(site.requests) == 4
    check_refused(near, answer, "url_unreachable")


async def test_a_name_that_leads_elsewhere_the_second_time(
    rig: Rig, net: Net, trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that was judged is the one that is connected to."""
    fetcher = rig.service.turns.attachments.ways.fetcher
    assert isinstance(fetcher, GuardedFetch)
    answers = [[PUBLIC], ["127.0.0.1"]]

    async def resolve(host: str, _: int) -> Sequence[str]:
        net.looked_up.append(host)
        return answers[min(len(net.looked_up), 2) - 1]

    monkeypatch.setattr(fetcher, "_resolve", resolve)
    async with serving(saying(_whole(png().data))) as site:
        port = site.url.rpartition(":")[2]
        assert (await rig.post(about(image(f"http://pictures.example:{port}/a.png")))).status == 200
    assert (net.looked_up, net.dialled) == (["pictures.example"], [PUBLIC])
    rig.sim.site.reset()
    answer = await rig.post(about(image(f"http://pictures.example:{trap.port}/b.png")))
    check_refused(rig, answer, "url_not_allowed")
    assert trap.connections == 0


async def test_a_name_with_one_address_too_many(
    rig: Rig, net: Net, trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*_: object) -> Sequence[str]:
        return [PUBLIC, "127.0.0.1"]

    monkeypatch.setattr(rig.service.turns.attachments.ways.fetcher, "_resolve", resolve)
    check_refused(rig, await rig.post(about(image(f"http://a.example:{trap.port}/"))), "url_not_allowed")
    assert (trap.connections, net.dialled) == (0, [])


# --- C-07: what is no address of the web

OTHER = [
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "file://localhost/etc/passwd",
    "/etc/passwd",
    "C:\\Windows\\win.ini",
    "gopher://127.0.0.1/",
    "ftp://example.com/a.png",
    "javascript:alert(1)",
    "blob:https://example.com/1",
    "about:blank",
    "data:text/html,<script>alert(1)</script>",
    "data:,x",
    "data:image/svg+xml,<svg/>",
    "view-source:https://example.com/",
    "jar:https://example.com/a.jar!/a.png",
    "ws://example.com/",
    "urn:a",
    " http://example.com/",
    "\nhttp://example.com/",
    "http://" + "a" * 9000,
]


@pytest.mark.parametrize("address", OTHER, ids=lambda one: one[:30])
async def test_what_is_no_address_of_the_web_is_refused(rig: Rig, net: Net, address: str) -> None:
    check_refused(rig, await rig.post(about(image(address))), "url_not_allowed")
    answer = await rig.post(about({"type": "file", "file": {"file_url": address}}))
    check_refused(rig, answer, "url_not_allowed", "messages[0].content[1].file")
    assert net.dialled == []


@pytest.mark.parametrize("claimed", ["text/html", "image/svg+xml", "image/png", "application/javascript", ""])
async def test_a_page_is_no_picture_whatever_it_is_called(rig: Rig, claimed: str) -> None:
    page = Sample("a.png", claimed, "image", b"<!doctype html><script>alert(1)</script>")
    answer = await rig.post(about(image(page)))
    check_refused(rig, answer, "unsupported_file")


# --- C-08: what must not be taken whole


def _listens(visit: Visit) -> bool:
    return not visit.reader.at_eof() and visit.reader.exception() is None


async def _endless(visit: Visit) -> None:
    await visit.say(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n" + png().data)
    while _listens(visit):
        await visit.say(bytes(65_536))
        await asyncio.sleep(0)


async def _slow(visit: Visit) -> None:
    await visit.say(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n")
    while _listens(visit):
        await visit.say(b"x")
        await asyncio.sleep(0.02)


async def _cut_off(visit: Visit) -> None:
    await visit.say(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 99\r\n\r\n" + png().data[:50])
    visit.end()


async def _silent(visit: Visit) -> None:
    await visit.until_it_leaves()


def _packed(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


BODIES: dict[str, tuple[Act, int, str]] = {
    "endless": (_endless, 413, "file_too_large"),
    "of-10-gigabytes": (
        saying(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 10000000000\r\n\r\n"),
        413,
        "file_too_large",
    ),
    "slow": (_slow, 400, "url_unreachable"),
    "silent": (_silent, 400, "url_unreachable"),
    "packed": (saying(_whole(_packed(bytes(8 * MB)), b"Content-Encoding: gzip")), 400, "url_unreachable"),
    "a-page": (saying(_whole(b"<!doctype html><p>Log in", kind=b"text/html")), 400, "unsupported_file"),
    "a-page-called-picture": (saying(_whole(b"<!doctype html><p>Log in")), 400, "unsupported_file"),
    "a-program": (saying(_whole(b"\x7fELF" + bytes(200))), 400, "unsupported_file"),
    "empty": (saying(_whole(b"")), 400, "unsupported_file"),
    "cut-off": (_cut_off, 400, "url_unreachable"),
    "of-50000-by-50000": (
        saying(_whole(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 50_000, 50_000) + b"\x08\2\0\0\0")),
        400,
        "unsupported_file",
    ),
    "not-found": (saying(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), 400, "url_unreachable"),
    "no-web-server": (saying(b"+OK POP3 ready\r\n"), 400, "url_unreachable"),
}


@pytest.mark.parametrize("body", BODIES)
async def test_a_body_that_is_no_picture_of_a_bounded_size(near: Rig, body: str) -> None:
    act, status, code = BODIES[body]
    async with serving(act) as site:
        check_refused(near, await near.post(about(image(f"{site.url}/a.png"))), code, status=status)
        await until(lambda: site.alive == 0)


async def test_what_a_server_was_asked_says_nothing_of_the_client(near: Rig) -> None:
    """No key, no cookie, no referrer; and nobody can tell from the answer what was served instead of a picture."""
    async with serving(saying(_whole(b"internal-secret-of-a-web-server", b"Set-Cookie: a=b"))) as site:
        answer = await near.post(about(image(f"{site.url}/a.png")), cookie="a=b", referer="https://example.com/")
        (head,) = site.requests
    assert b"internal-secret" not in answer.body
    names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:] if line}
    assert names == {b"host", b"user-agent", b"accept", b"accept-encoding", b"connection"}
    assert KEY.encode() not in head


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process under /proc")
async def test_an_endless_video_leaves_the_memory_flat(tmp_path: Path, net: Net) -> None:
    """It is 80 MB until it is cut off."""
    del net
    async with running(tmp_path / "site") as rig, serving(_endless) as site:
        settings = {"site_url": rig.sim.url, "cookies": rig.sim.cookies(), "api_keys": KEY, **FETCHING}
        with process.serve(tmp_path, max_video_bytes=80 * MB, **settings) as gateway:
            warm = await _post(gateway.url, about(image(png())))
            assert warm.status == 200
            before = _peak(gateway.pid)
            part = {"type": "video_url", "video_url": {"url": f"{site.url}/a.mp4"}}
            answer = await _post(gateway.url, about(part))
            assert (answer.status, answer.error()["code"]) == (413, "file_too_large")
            assert _peak(gateway.pid) - before < 32 * MB


def _peak(pid: int) -> int:
    """Most bytes of memory that the process ever had in use."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


async def _post(url: str, body: Json) -> Answer:
    return await wire.exchange(url, request_bytes(CHAT, body, key=KEY), 30)


# --- C-27: names


def form(boundary: str, *parts: bytes) -> bytes:
    mark = f"--{boundary}\r\n".encode()
    return b"".join(mark + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()


def part(name: str, data: bytes, file_name: bytes | None = None, kind: bytes = b"image/png") -> bytes:
    told = b"" if file_name is None else b'; filename="%b"\r\nContent-Type: %b' % (file_name, kind)
    return b'Content-Disposition: form-data; name="%b"%b\r\n\r\n%b' % (name.encode(), told, data)


async def send(rig: Rig, path: str, body: bytes, boundary: str = "xyz") -> Answer:
    return await rig.post(body, path=path, content_type=f"multipart/form-data; boundary={boundary}")


NAMES = {
    b"../../../../tmp/evil.png": "evil.png",
    b"..\\\\..\\\\evil.png": "evil.png",
    b"/etc/cron.d/evil.png": "evil.png",
    b"C:\\\\Windows\\\\evil.png": "evil.png",
    b"\\\\\\\\server\\\\share\\\\evil.png": "evil.png",
    b"a/../evil.png": "evil.png",
    b"evil\0.png": "evil.png",
    b"..": "image.png",
    b"/": "image.png",
    b"": "image.png",
    b"%2e%2e%2fevil.png": "%2e%2e%2fevil.png",
    b"evil%0d%0aX-Evil: 1.png": "evilX-Evil: 1.png",
    b"a%22; filename=b.png": 'a"; filename=b.png',
    "\u202egnp.exe".encode(): "gnp.exe.png",
    b"evil.png/": "image.png",
    b"x" * 300 + b".png": "x" * 196 + ".png",
}


async def test_a_name_is_a_name_and_no_path(rig: Rig) -> None:
    for name, plain in NAMES.items():
        sample = png()
        answer = await send(rig, PICTURE, form("xyz", part("prompt", b"?"), part("image", sample.data, name)))
        assert answer.status == 200, answer.body
        ticket = list(rig.sim.site.tickets.by_file.values())[-1]
        object_ = list(rig.sim.site.bucket.objects.values())[-1]
        assert (ticket.name, object_.sha256) == (plain, sample.sha256)
        rig.sim.site.reset()


async def test_a_kept_file_lies_where_files_lie_whatever_it_is_called(rig: Rig, directory: Path) -> None:
    for name, plain in NAMES.items():
        sample, before = png(), _all(directory)
        answer = await send(rig, FILES, form("xyz", part("purpose", b"user_data"), part("file", sample.data, name)))
        assert answer.status == 200, answer.body
        made = answer.json()
        assert made["filename"] == plain
        (stored,) = _all(directory) - before
        assert stored.is_relative_to(directory / "data" / "files")
        assert "evil" not in stored.name
        got = await rig.get(f"/v1/files/{made['id']}/content")
        assert got.body == sample.data
        told = got.headers
        assert "x-evil" not in told
        assert (told["x-content-type-options"], told["content-security-policy"]) == ("nosniff", "sandbox")
        assert told["content-disposition"].startswith('attachment; filename="')
        assert told["content-disposition"].isascii()


def _all(directory: Path) -> set[Path]:
    return {path for path in directory.rglob("*") if path.is_file() and not path.name.startswith("gateway.db")}


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (b"text/html", b"<!doctype html><script>alert(1)</script>"),
        (b"image/svg+xml", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'),
        (b"text/javascript", b"alert(1)"),
        (b"text/plain", b"<html><script>alert(1)</script></html>"),
    ],
)
async def test_a_page_that_is_kept_never_runs_in_a_browser(rig: Rig, kind: bytes, data: bytes) -> None:
    answer = await send(rig, FILES, form("xyz", part("file", data, b"a.html", kind)))
    assert answer.status == 200, answer.body
    got = await rig.get(f"/v1/files/{answer.json()['id']}/content")
    served = got.headers["content-type"].partition(";")[0]
    assert served in {"application/octet-stream", "text/plain"}
    assert got.headers["content-disposition"].startswith("attachment")
    assert got.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files/..%2f..%2fbootstrap.key/content",
        "/v1/files/../../bootstrap.key/content",
        "/v1/files/%2e%2e/%2e%2e/bootstrap.key/content",
        "/v1/files/..\\..\\bootstrap.key/content",
        "/v1/files//etc/passwd/content",
        "/v1/files/%2fetc%2fpasswd/content",
        "/v1/files/file-%00/content",
        "/v1/files/gateway.db/content",
        "/v1/files/" + "a" * 5000 + "/content",
    ],
    ids=lambda path: path[:40],
)
async def test_an_id_is_no_path(rig: Rig, path: str) -> None:
    answer = await rig.get(path)
    assert answer.status in {400, 404, 405}, answer.body
    assert b"root:" not in answer.body


async def test_an_id_in_a_question_is_no_path(rig: Rig) -> None:
    for name in ("../../bootstrap.key", "/etc/passwd", "file-\0", "..", "a" * 99, "file-'; DROP TABLE files; --"):
        answer = await rig.post(about({"type": "file", "file": {"file_id": name}}))
        check_refused(rig, answer, "file_not_found", "messages[0].content[1].file")
    with pytest.raises(NotFoundError):
        await rig.client().files.content("file-000000000000000000000000")


# --- C-29: too many, too large


async def test_ten_thousand_pictures(rig: Rig, net: Net, trap: Trap) -> None:
    there = f"http://{PUBLIC}:{trap.port}"
    pictures = [image(png(str(number))) for number in range(100)] * 100
    addresses = [image(f"{there}/{number}.png") for number in range(10_000)]
    unknown = [{"type": "file", "file": {"file_url": f"{there}/{number}"}} for number in range(10_000)]
    for parts in (pictures, addresses, unknown):
        answer = await rig.post(about(*parts))
        check_refused(rig, answer, "too_many_files", "messages[0].content[1001]")
        # Not too many for a whole history, but for a question.
        answer = await rig.post(about(*parts[:50]))
        which = 18 if parts is unknown else 11
        check_refused(rig, answer, "too_many_files", f"messages[0].content[{which}].{parts[0]['type']}")
    assert (trap.connections, net.dialled) == (0, []), "none is fetched when there are too many"
    assert (await rig.post(ask())).status == 200


async def test_a_small_picture_of_too_many_pixels(rig: Rig) -> None:
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 50_000, 50_000) + b"\x08\2\0\0\0"
    bombs = {
        "png": head + bytes(100),
        "gif": b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + bytes(20),
        "bmp": b"BM" + bytes(12) + struct.pack("<Iii", 40, 50_000, -50_000) + bytes(30),
    }
    for name, data in bombs.items():
        sample = Sample(f"a.{name}", f"image/{name}", "image", data)
        check_refused(rig, await rig.post(about(image(sample))), "unsupported_file")
        sent = await send(rig, PICTURE, form("xyz", part("prompt", b"?"), part("image", data, b"a.png")))
        check_refused(rig, sent, "unsupported_file", "image")


async def test_half_a_million_messages(rig: Rig) -> None:
    body = b'{"model": "%b", "messages": [%b]}' % (
        MODEL.encode(),
        b",".join([b'{"role":"user","content":"a"}'] * 500_000),
    )
    answer = await rig.post(body)
    assert answer.status in {400, 413}, answer.body[:300]
    assert not rig.sim.site.seen
    assert (await rig.post(ask())).status == 200


async def test_a_file_that_is_larger_than_its_kind_may_be(near: Rig) -> None:
    sample = Sample("a.png", "image/png", "image", png().data + bytes(MB))
    answer = await near.post(about(image(sample)))
    check_refused(near, answer, "file_too_large", status=413)


# --- C-30: forms of ill will

LONG = "b" * 100_000
FORMS: dict[str, tuple[str, bytes]] = {
    "long-boundary": (LONG, form(LONG, part("file", b"x", b"a.txt"))),
    "dashes": ("xyz", b"--xyz" + b"-" * 1_000_000),
    "dashes-in-the-header": ("xyz" + "-" * 100_000, b"--xyz--\r\n"),
    "no-end": ("xyz", form("xyz", part("file", b"x" * 100, b"a.txt"))[:-20]),
    "no-end-of-a-head": ("xyz", b'--xyz\r\nContent-Disposition: form-data; name="file'),
    "10000-parts": ("xyz", form("xyz", *(part(f"n{n}", b"x") for n in range(10_000)))),
    "10000-files": ("xyz", form("xyz", *(part("file", b"x", b"a.txt") for _ in range(10_000)))),
    "nested": (
        "xyz",
        form("xyz", part("file", form("abc", part("file", b"x", b"b")), b"a", b"multipart/mixed; boundary=abc")),
    ),
    "long-head": ("xyz", b"--xyz\r\nX-A: " + b"a" * 1_000_000 + b"\r\n\r\nx\r\n--xyz--\r\n"),
    "many-heads": ("xyz", b"--xyz\r\n" + b"X-A: a\r\n" * 100_000 + b"\r\nx\r\n--xyz--\r\n"),
    "long-field": ("xyz", form("xyz", part("prompt", b"x" * 2_000_000))),
    "almost-boundaries": ("xyz", b"--xyz\r\n" + part("file", b"\r\n--xy" * 300_000, b"a.txt") + b"\r\n--xyz"),
    "nothing": ("xyz", b""),
    "no-form": ("xyz", b"\0\xff" * 1000),
    "two-names": ("xyz", b'--xyz\r\nContent-Disposition: form-data; name="a"; name="file"\r\n\r\nx\r\n--xyz--\r\n'),
    "no-boundary": ("", form("xyz", part("file", b"x", b"a.txt"))),
}


CODES = {"invalid_form", "request_too_large", "too_many_files", "file_too_large", "missing_required_parameter"}


@pytest.mark.parametrize("path", [FILES, PICTURE, "/v1/files/upload", "/v1/video/upload_and_chat"])
@pytest.mark.parametrize("name", FORMS)
async def test_a_form_of_ill_will_is_refused(rig: Rig, name: str, path: str) -> None:
    boundary, body = FORMS[name]
    answer = await send(rig, path, body, boundary)
    assert answer.status in {400, 413, 431}, answer.body[:300]
    if answer.status != 431 and answer.body.startswith(b"{"):
        assert answer.error()["code"] in CODES
    assert (await rig.get("/v1/models")).status == 200
    assert _is_empty(rig)


async def test_a_length_that_is_a_lie(rig: Rig) -> None:
    for length in ("99999999999999999999", "9" * 5000, "600000000"):
        request = request_bytes(
            FILES,
            b"",
            key=KEY,
            method="POST",
            content_type="multipart/form-data; boundary=xyz",
            content_length=length,
        ).replace(b"Content-Length: 0\r\n", b"")
        answer = await wire.exchange(rig.url, request)
        assert answer.status in {400, 413}, answer.body
    assert (await rig.post(ask())).status == 200
