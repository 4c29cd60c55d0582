"""The transport against a server that breaks the rules: which fault comes of it, and what becomes of the connection."""

import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from qwen_gateway.net import transport as transport_module
from qwen_gateway.net.transport import HttpTransport
from qwen_gateway.relay.ports import Transport
from qwen_gateway.turn.faults import Drift, Fault, Incomplete, TimedOut, Unreachable
from qwen_gateway.turn.flow import HttpCall, HttpReply

from .raw import LAST, OK, STREAM, Act, Raw, Visit, chunk, serving, transport, until

HEAD = b"HTTP/1.1 200 OK\r\n"
SOON = 5.0
"""Seconds within which everything here comes; far more than it takes."""


def saying(*pieces: bytes, then: str = "") -> Act:
    """Sends the pieces, each in a packet of its own; then waits for the next request, or does what `then` says."""

    async def act(visit: Visit) -> None:
        for piece in pieces:
            await visit.say(piece)
            await asyncio.sleep(0.02 if len(pieces) > 1 else 0)
        if then == "end":
            visit.end()
        elif then == "reset":
            await asyncio.sleep(0.02)
            visit.reset()
        elif then == "wait":
            await visit.until_it_leaves()

    return act


async def sent(act: Act, seconds: float = SOON) -> HttpReply:
    async with serving(act) as site, transport() as net:
        return await net.send(site.call(), seconds)


async def streamed(act: Act) -> bytes:
    """All that an opened reply gives."""
    async with serving(act) as site, transport() as net:
        reply = await net.open(site.call(), SOON)
        try:
            return await read(net_reply=reply)
        finally:
            reply.close()


async def read(net_reply: transport_module.HttpStreamedReply) -> bytes:
    body = b""
    async with asyncio.timeout(SOON):
        while data := await net_reply.read():
            body += data
    return body


# --- what is sent ---


async def test_a_call_is_sent_as_it_is() -> None:
    async with serving(saying(OK)) as site, transport() as net:
        as_port: Transport = net
        headers = {"Cookie": "a=1; b=%7B", "Content-Type": "application/json"}
        await as_port.send(site.call("/p%2Fq?x=%20%41", b'{"k":1}', headers), SOON)
        request = site.requests[0]
    first, *lines = request.split(b"\r\n")
    assert first == b"POST /p%2Fq?x=%20%41 HTTP/1.1", "the address is not written anew"
    assert b"Cookie: a=1; b=%7B" in lines
    assert b"User-Agent: tests/1" in lines
    assert request.endswith(b'\r\n\r\n{"k":1}')


async def test_the_calls_own_user_agent_goes_first() -> None:
    async with serving(saying(OK)) as site, transport() as net:
        await net.send(site.call(headers={"User-Agent": "browser"}), SOON)
        assert b"User-Agent: browser" in site.requests[0]
        assert b"tests/1" not in site.requests[0]


async def test_no_cookies_of_its_own() -> None:
    async with serving(saying(HEAD + b"Set-Cookie: s=1; Path=/\r\nContent-Length: 0\r\n\r\n")) as site:
        async with transport() as net:
            await net.send(site.call(), SOON)
            await net.send(site.call(), SOON)
        assert b"cookie" not in site.requests[1].lower()


# --- whole replies ---

COOKIES = b"Set-Cookie: a=1; Expires=Wed, 01 Jan 2031 00:00:00 GMT\r\nset-cookie: b=2\r\nSet-Cookie: a=3\r\n"


async def test_a_reply_has_its_status_headers_and_cookies() -> None:
    reply = await sent(saying(b"HTTP/1.1 418 T\r\nX-OdD: Yes\r\n" + COOKIES + b"Content-Length: 2\r\n\r\nhi"))
    assert (reply.status, reply.body) == (418, b"hi")
    assert reply.headers["x-odd"] == "Yes"
    assert reply.headers.get("X-ODD") == "Yes"
    assert reply.set_cookies == ("a=1; Expires=Wed, 01 Jan 2031 00:00:00 GMT", "b=2", "a=3")


ZIPPED = gzip.compress(b"hello" * 100)
BODIES: dict[str, tuple[Act, bytes]] = {
    "empty": (saying(HEAD + b"Content-Length: 0\r\n\r\n"), b""),
    "no content": (saying(b"HTTP/1.1 204 No\r\n\r\n"), b""),
    "in several packets": (saying(HEAD + b"Content-Length: 6\r\n\r\n", b"ab", b"cd", b"ef"), b"abcdef"),
    "in chunks": (saying(STREAM, chunk(b"ab"), chunk(b"cd"), LAST), b"abcd"),
    "a chunk cut anywhere": (saying(STREAM + b"4\r", b"\nab", b"cd\r\n0", b"\r\n\r\n"), b"abcd"),
    "until the connection ends": (saying(HEAD + b"\r\n", b"ab", b"cd", then="end"), b"abcd"),
    "gzip": (
        saying(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(ZIPPED), ZIPPED[:20], ZIPPED[20:]),
        b"hello" * 100,
    ),
}


@pytest.mark.parametrize("name", BODIES)
async def test_bodies(name: str) -> None:
    act, body = BODIES[name]
    assert (await sent(act)).body == body


@pytest.mark.parametrize("name", BODIES)
async def test_bodies_as_they_come(name: str) -> None:
    act, body = BODIES[name]
    assert await streamed(act) == body


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    async with serving(saying(b"HTTP/1.1 %d X\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n" % status)) as site:
        async with transport() as net:
            reply = await net.send(site.call(body=b"{}"), SOON)
        assert (reply.status, reply.headers["location"], len(site.requests)) == (status, "/login", 1)


# --- replies that are none ---

NONE: dict[str, Act] = {
    "closed at once": saying(then="end"),
    "reset": saying(then="reset"),
    "no HTTP": saying(b"SSH-2.0-hello\r\n\r\n", then="wait"),
    "a status that is none": saying(b"HTTP/1.1 abc OK\r\n\r\n", then="wait"),
    "half a head": saying(HEAD + b"Content-Le", then="end"),
    "a length that is none": saying(HEAD + b"Content-Length: many\r\n\r\n", then="wait"),
    "a header without end": saying(HEAD + b"X: " + b"x" * 100_000, then="wait"),
}
HALF: dict[str, Act] = {
    "shorter than it said": saying(HEAD + b"Content-Length: 10\r\n\r\n", b"half", then="end"),
    "shorter, and reset": saying(HEAD + b"Content-Length: 10\r\n\r\n", b"half", then="reset"),
    "no last chunk": saying(STREAM, chunk(b"half"), then="end"),
    "a chunk cut": saying(STREAM, b"9\r\nhalf", then="end"),
    "gzip that is none": saying(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nhalf"),
}


@pytest.mark.parametrize("name", NONE)
@pytest.mark.parametrize("method", ["send", "open"])
async def test_no_reply_at_all(name: str, method: str) -> None:
    async with serving(NONE[name]) as site, transport() as net:
        with pytest.raises(Unreachable) as raised:
            await getattr(net, method)(site.call(body=b"{}"), SOON)
        assert raised.value.code == "upstream_unreachable"
        await until(lambda: site.alive == 0)


@pytest.mark.parametrize("name", HALF)
async def test_half_a_reply_is_none(name: str) -> None:
    async with serving(HALF[name]) as site, transport() as net:
        with pytest.raises((Unreachable, Incomplete)):
            await net.send(site.call(), SOON)
        await until(lambda: site.alive == 0)


@pytest.mark.parametrize("name", HALF)
async def test_half_a_stream_is_incomplete(name: str) -> None:
    with pytest.raises(Incomplete):
        await streamed(HALF[name])


async def test_chunks_that_make_no_sense() -> None:
    """aiohttp hangs up, and tells only who reads after that. Who waits already is left to the time limits."""
    async with serving(saying(STREAM + chunk(b"half"), b"zz\r\n", then="wait")) as site, transport() as net:
        reply = await net.open(site.call(), SOON)
        assert await reply.read() == b"half"
        await until(lambda: site.alive == 0)
        with pytest.raises(Incomplete):
            await reply.read()
        reply.close()


async def test_what_came_before_the_break_is_read_first() -> None:
    async with serving(saying(STREAM + chunk(b"first"), then="wait")) as site, transport() as net:
        reply = await net.open(site.call(), SOON)
        assert await reply.read() == b"first"
        reply.close()


@pytest.mark.parametrize("method", ["send", "open"])
async def test_a_refused_connection(method: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take it meanwhile
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        async with transport() as net:
            with pytest.raises(Unreachable, match="cannot be reached"):
                await getattr(net, method)(HttpCall("GET", url, {}), SOON)


LONG_BODY = b"x" * 1001


@pytest.mark.parametrize(
    "act",
    [
        saying(HEAD + b"Content-Length: 1001\r\n\r\n", LONG_BODY),
        saying(STREAM, *[chunk(b"x" * 143)] * 7, LAST),
        saying(
            HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n",
            gzip.compress(LONG_BODY),
            then="end",
        ),
    ],
    ids=["at once", "in chunks", "packed small"],
)
async def test_a_reply_that_is_too_long(act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "MAX_REPLY", 1000)
    with pytest.raises(Drift):
        await sent(act)


async def test_a_reply_of_just_the_longest_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "MAX_REPLY", 1001)
    reply = await sent(saying(HEAD + b"Content-Length: 1001\r\n\r\n", LONG_BODY[:500], LONG_BODY[500:]))
    assert reply.body == LONG_BODY


# --- time ---

SILENT: dict[str, Act] = {
    "before the head": saying(then="wait"),
    "in the head": saying(HEAD, then="wait"),
}


@pytest.mark.parametrize("name", [*SILENT, "in the body"])
async def test_a_whole_reply_has_its_time(name: str) -> None:
    act = SILENT.get(name) or saying(HEAD + b"Content-Length: 10\r\n\r\nhalf", then="wait")
    async with serving(act) as site, transport() as net:
        with pytest.raises(TimedOut, match=r"within 0\.1 s") as raised:
            await net.send(site.call(), 0.1)
        assert raised.value.code == "upstream_timeout"
        await until(lambda: site.alive == 0)


@pytest.mark.parametrize("name", SILENT)
async def test_the_head_has_its_time(name: str) -> None:
    async with serving(SILENT[name]) as site, transport() as net:
        with pytest.raises(TimedOut, match=r"did not begin to answer within 0\.1 s"):
            await net.open(site.call(), 0.1)
        await until(lambda: site.alive == 0)


async def test_the_body_of_an_opened_reply_has_no_time_of_its_own() -> None:
    async def late(visit: Visit) -> None:
        await visit.say(STREAM)
        await asyncio.sleep(0.3)
        await visit.say(chunk(b"late") + LAST)

    async with serving(late) as site, transport() as net:
        reply = await net.open(site.call(), 0.15)
        assert await read(reply) == b"late"
        reply.close()


def _full_backlog() -> tuple[socket.socket, list[socket.socket]]:
    """A listener that accepts nothing more, and what fills it up."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    filling = [socket.socket() for _ in range(4)]
    for one in filling:
        one.setblocking(False)
        one.connect_ex(listener.getsockname())
    return listener, filling


@pytest.mark.parametrize("method", ["send", "open"])
async def test_a_connection_that_is_not_answered_has_its_own_time_and_code(method: str) -> None:
    listener, filling = _full_backlog()
    try:
        await asyncio.sleep(0.05)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        async with transport(connect_timeout=0.2) as net:
            with pytest.raises(TimedOut) as raised:
                await getattr(net, method)(HttpCall("GET", url, {}), SOON)
        assert raised.value.code == "upstream_connect_timeout"
    finally:
        for one in (listener, *filling):
            one.close()


# --- abort and close ---


async def test_abort_wakes_the_read_that_waits_and_any_later_one() -> None:
    fault = TimedOut("enough")
    async with serving(saying(STREAM, then="wait")) as site, transport() as net:
        reply = await net.open(site.call(), SOON)
        reading = asyncio.create_task(reply.read())
        await asyncio.sleep(0.02)
        reply.abort(fault)
        for reader in (reading, asyncio.create_task(reply.read())):
            with pytest.raises(TimedOut) as raised:
                await asyncio.wait_for(reader, SOON)
            assert raised.value is fault
        reply.close()
        await until(lambda: site.alive == 0)


async def test_abort_before_the_read() -> None:
    async with serving(saying(STREAM + chunk(b"a"), then="wait")) as site, transport() as net:
        reply = await net.open(site.call(), SOON)
        reply.abort(Fault("enough"))
        with pytest.raises(Fault, match="enough"):
            await asyncio.wait_for(reply.read(), SOON)
        reply.close()
        await until(lambda: site.alive == 0)


async def test_a_body_read_to_its_end_gives_the_connection_back() -> None:
    async with serving(saying(STREAM + chunk(b"a") + LAST)) as site, transport() as net:
        for _ in range(3):
            reply = await net.open(site.call(), SOON)
            assert await read(reply) == b"a"
            reply.close()
            await net.send(site.call(), SOON)
        assert (site.opened, site.alive, len(site.requests)) == (1, 1, 6)


LEFT: dict[str, tuple[bytes, int]] = {
    "nothing came": (STREAM, 0),
    "something came": (STREAM + chunk(b"a"), 0),
    "something was read": (STREAM + chunk(b"a"), 1),
    "the rest is long": (HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 100_000, 1),
}


@pytest.mark.parametrize("name", LEFT)
async def test_a_body_left_in_the_middle_closes_the_connection(name: str) -> None:
    said, reads = LEFT[name]
    async with serving(saying(said, then="wait")) as site, transport() as net:
        reply = await net.open(site.call(), SOON)
        for _ in range(reads):
            assert await reply.read()
        assert site.alive == 1
        reply.close()
        reply.close()
        await until(lambda: site.alive == 0)


def pooled(net: HttpTransport) -> int:
    """Connections that would be used again: those of which the end has not arrived yet."""
    connector = net._session.connector
    assert connector is not None
    return sum(protocol.is_connected() for conns in connector._conns.values() for protocol, _ in conns)


async def test_a_connection_that_the_site_closed_meanwhile_is_replaced() -> None:
    async def once(visit: Visit) -> None:
        await visit.say(OK)
        visit.end()

    async with serving(once) as site, transport() as net:
        for number in range(1, 4):
            assert (await net.send(site.call(body=b"{}"), SOON)).body == b"ok"
            await until(lambda: site.alive == 0 and not pooled(net))
            assert site.opened == number


async def test_a_connection_that_dies_as_the_next_call_is_sent() -> None:
    """A POST is not sent a second time by itself: the site may have acted on the first."""

    async def second_dies(visit: Visit) -> None:
        if visit.number == 2:
            visit.reset()
        else:
            await visit.say(OK)

    async with serving(second_dies) as site, transport() as net:
        await net.send(site.call(body=b"{}"), SOON)
        with pytest.raises(Unreachable):
            await net.send(site.call(body=b"{}"), SOON)
        assert (await net.send(site.call(body=b"{}"), SOON)).body == b"ok"
        assert len(site.requests) == 3


# --- cancellation ---


async def _cancelled(net: HttpTransport, site: Raw, *, at: str) -> None:
    """One call that is cancelled in the middle."""

    async def whole() -> None:
        reply = await net.open(site.call(), SOON)
        try:
            while await reply.read():
                pass
        finally:
            reply.close()

    task = asyncio.create_task(whole())
    before = len(site.requests)
    if at == "streaming":
        await until(lambda: len(site.requests) > before)
    for _ in range(before % 7):  # at a different step each time
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=SOON)
    assert task.cancelled()


@pytest.mark.parametrize("at", ["connecting", "streaming"])
async def test_many_cancelled_calls_leave_no_connection(at: str) -> None:
    async def act(visit: Visit) -> None:
        if visit.head.startswith(b"GET /last "):
            await visit.say(OK)
        else:
            await visit.say(STREAM + chunk(b"a"))
            await visit.until_it_leaves()

    async with serving(act) as site, transport() as net:
        for _ in range(20):
            await asyncio.gather(*(_cancelled(net, site, at=at) for _ in range(10)))
        await until(lambda: site.alive == 0)
        assert (await net.send(site.call("/last"), SOON)).body == b"ok"
        assert at == "connecting" or len(site.requests) == 201


# --- TLS ---


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's context with a certificate that nobody has signed but itself."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl to make a certificate")
    folder: Path = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True, timeout=30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert", folder / "key")
    return context


@pytest.mark.parametrize("method", ["send", "open"])
async def test_a_certificate_that_cannot_be_trusted(method: str, certificate: ssl.SSLContext) -> None:
    async with serving(saying(OK), tls=certificate) as site, transport() as net:
        with pytest.raises(Unreachable) as raised:
            await getattr(net, method)(site.call(), SOON)
        assert raised.value.code == "upstream_tls"
        assert site.requests == []


async def test_a_site_that_speaks_no_tls() -> None:
    async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        writer.close()

    server = await asyncio.start_server(hello, "127.0.0.1", 0)
    async with server, transport() as net:
        with pytest.raises(Unreachable):
            await net.send(HttpCall("GET", f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {}), SOON)
