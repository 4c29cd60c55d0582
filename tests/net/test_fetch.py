"""The guarded fetch: what it never connects to, what it never takes whole, and what it brings."""

import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

import aiohappyeyeballs
import pytest
from aiohappyeyeballs import AddrInfoType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qwen_gateway.net.fetch import GuardedFetch, Resolve
from qwen_gateway.relay.file_ports import Fetched, Fetcher
from qwen_gateway.turn.faults import BodyTooLarge, ClientFault, InvalidRequest, Overloaded

from .fetch_spool import MemorySpool
from .raw import LAST, Act, Visit, chunk, serving, until

LOOPBACK = [ip_network("127.0.0.0/8")]
PARAM = "messages[0].content[1].image_url"
LIMIT = 100_000
HEAD = b"HTTP/1.1 200 OK\r\n"
PICTURE = b"\x89PNG" + bytes(range(256)) * 100


def saying(*pieces: bytes, then: str = "") -> Act:
    async def act(visit: Visit) -> None:
        for piece in pieces:
            await visit.say(piece)
        if then == "end":
            visit.end()
        elif then == "wait":
            await visit.until_it_leaves()

    return act


def answer(body: bytes, *headers: bytes) -> Act:
    return saying(HEAD + b"".join(h + b"\r\n" for h in headers) + b"Content-Length: %d\r\n\r\n" % len(body), body)


def redirecting(*locations: bytes, status: int = 302, finally_: Act | None = None) -> Act:
    """One location for each request, and then the answer."""

    async def act(visit: Visit) -> None:
        if visit.number <= len(locations):
            location = locations[visit.number - 1]
            await visit.say(b"HTTP/1.1 %d X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, location))
        else:
            await (finally_ or answer(PICTURE))(visit)

    return act


CARRIED = "8.8.4.4"
"""A public address that leads to whoever listens here."""


class Net:
    """dialled: each IP address to which a connection was begun. None leaves this machine. looked_up: names."""

    def __init__(self) -> None:
        self.dialled: list[str] = []
        self.looked_up: list[str] = []

    def resolving(self, *answers: Sequence[str]) -> Resolve:
        """The next ones for each lookup; the last ones for all later ones."""

        async def resolve(host: str, port: int) -> Sequence[str]:
            del port
            self.looked_up.append(host)
            return answers[min(len(self.looked_up), len(answers)) - 1]

        return resolve


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Net:
    made, dial = Net(), aiohappyeyeballs.start_connection

    async def start(addr_infos: Sequence[AddrInfoType], **rest: object) -> socket.socket:
        targets = [str(info[4][0]) for info in addr_infos]
        made.dialled += targets
        if not all(target == CARRIED or target.startswith("127.") for target in targets):
            raise ConnectionRefusedError("not from a test")
        here = [(*info[:4], ("127.0.0.1", info[4][1])) for info in addr_infos]
        return await dial(here, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(aiohappyeyeballs, "start_connection", start)
    return made


def fetcher(spool: MemorySpool | None = None, **changed: object) -> GuardedFetch:
    given: dict[str, object] = {"on": True, "own_user_agent": "tests/1", "networks": LOOPBACK, **changed}
    return GuardedFetch(spool if spool is not None else MemorySpool(), **given)  # type: ignore[arg-type]


async def fetched(act: Act, path: str = "/x", limit: int = LIMIT) -> tuple[Fetched, bytes]:
    async with serving(act) as site:
        found = await fetcher().fetch(site.url + path, PARAM, limit)
    with found.content.reader() as reader:
        return found, reader.read()


async def refused(act: Act, path: str = "/x", limit: int = LIMIT, **changed: object) -> ClientFault:
    """Nothing may stay in the spool."""
    spool = MemorySpool()
    async with serving(act) as site:
        fault = await refusal(fetcher(spool, **changed), site.url + path, limit)
        await until(lambda: site.alive == 0)
    assert spool.left == 0
    return fault


async def refusal(fetch: GuardedFetch, url: str, limit: int = LIMIT) -> ClientFault:
    with pytest.raises((InvalidRequest, BodyTooLarge)) as raised:
        await fetch.fetch(url, PARAM, limit)
    assert raised.value.param == PARAM
    assert "end " in raised.value.text, "says what to do: send …"
    return raised.value


# --- what it brings ---


async def test_a_file_comes_whole_with_its_type_and_name(net: Net) -> None:
    as_port: Fetcher = fetcher()
    async with serving(answer(PICTURE, b"Content-Type: Image/PNG; charset=x")) as site:
        found = await as_port.fetch(site.url + "/a/b%20c.png?q=1#f", PARAM, LIMIT)
        assert site.requests[0].startswith(b"GET /a/b%20c.png?q=1 HTTP/1.1\r\n")
        assert site.opened == 1
    assert found.content.reader().read() == PICTURE
    assert (found.media_type, found.name) == ("image/png", "b c.png")
    assert net.dialled == ["127.0.0.1"]


async def test_a_body_in_chunks_and_one_until_the_connection_ends() -> None:
    chunked = saying(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk(b"ab"), chunk(b"cd"), LAST)
    assert (await fetched(chunked))[1] == b"abcd"
    assert (await fetched(saying(HEAD + b"\r\n", b"ab", b"cd", then="end")))[1] == b"abcd"


async def test_nothing_about_the_client_or_this_machine_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    cookie = b"HTTP/1.1 302 X\r\nLocation: /next\r\nSet-Cookie: a=1; Path=/\r\nContent-Length: 0\r\n\r\n"

    async def act(visit: Visit) -> None:
        await (saying(cookie) if visit.number == 1 else answer(b"x"))(visit)

    async with serving(act) as site:
        await fetcher().fetch(site.url + "/first", PARAM, LIMIT)
        for request in site.requests:
            names = {line.partition(b":")[0].lower() for line in request.split(b"\r\n")[1:] if line}
            assert names == {b"host", b"user-agent", b"accept", b"accept-encoding", b"connection"}
            assert b"\r\nUser-Agent: tests/1\r\n" in request
            assert b"\r\nAccept-Encoding: identity\r\n" in request


NAMES = {
    b"attachment; filename=plain.png": "plain.png",
    b'attachment; filename="a b; c.png"': "a b; c.png",
    b'attachment; filename="say \\"x\\".png"': 'say "x".png',
    b"attachment; filename=\"a.png\"; filename*=UTF-8''%E7%8C%AB.png": "猫.png",
    b"attachment; filename*=iso-8859-1'de'%FC.png": "ü.png",
    'attachment; filename="猫.png"'.encode(): "猫.png",
    b'attachment; filename="../../etc/passwd"': "passwd",
    b'attachment; filename="C:\\\\dir\\\\a.png"': "a.png",
    b"attachment; filename*=UTF-8''..%2F..%5Cb%00%0A.png": "b.png",
    b'attachment; filename=".."': "path.bin",
    b'attachment; filename="a/"': "path.bin",
    b'attachment; filename=""': "path.bin",
    b"attachment; filename*=utf-7''x": "path.bin",
    b"inline": "path.bin",
    b'attachment; filename="' + b"a" * 300 + b'.png"': "a" * 251 + ".png",
}


@pytest.mark.parametrize("said", NAMES, ids=lambda said: ascii(said)[:60])
async def test_the_name_is_what_the_server_calls_it_without_folders(said: bytes) -> None:
    found, _ = await fetched(answer(b"x", b"Content-Disposition: " + said), "/some/path.bin")
    assert found.name == NAMES[said]


@pytest.mark.parametrize("said", [b"", b"png", b"image/", b"text/html\xff", b"a/b/c", b"a b/c", b"/;x=image/png"])
async def test_a_type_that_is_none_is_empty(said: bytes) -> None:
    found, _ = await fetched(answer(b"x", b"Content-Type: " + said))
    assert found.media_type == ""


async def test_redirects_are_followed_and_the_last_address_names_the_file(net: Net) -> None:
    async def act(visit: Visit) -> None:
        await redirecting(b"/a", b"b?c", b"//c.example:%s/d/last.png" % port)(visit)

    async with serving(act) as site:
        port = site.url.rpartition(":")[2].encode()
        fetch = fetcher(networks=[], resolve=net.resolving([CARRIED]))
        found = await fetch.fetch(site.url.replace("127.0.0.1", "a.example") + "/", PARAM, LIMIT)
        assert [request.split()[1] for request in site.requests] == [b"/", b"/a", b"/b?c", b"/d/last.png"]
    assert (found.name, found.content.size) == ("last.png", len(PICTURE))
    assert net.looked_up == ["a.example", "a.example", "a.example", "c.example"]
    assert net.dialled == [CARRIED] * 4


# --- what is never connected to ---

FORMS = [
    *("http://127.0.0.1:{p}/", "http://localhost:{p}/", "http://localhost.:{p}/", "http://LOCALHOST:{p}/"),
    *("http://[::1]:{p}/", "http://[::ffff:127.0.0.1]:{p}/", "http://[::ffff:7f00:1]:{p}/", "http://[::]:{p}/"),
    *("http://[64:ff9b::127.0.0.1]:{p}/", "http://[2002:7f00:1::]:{p}/", "http://[::127.0.0.1]:{p}/"),
    *("http://127.1:{p}/", "http://0x7f000001:{p}/", "http://2130706433:{p}/", "http://0177.0.0.1:{p}/"),
    *("http://0:{p}/", "http://0.0.0.0:{p}/", "http://127.0.0.2:{p}/", "http://127.0.0.1.:{p}/"),
    *("http://10.0.0.1/", "http://192.168.0.1/", "http://172.16.0.1/", "http://100.64.0.1/", "http://[fd00::1]/"),
    *("http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://100.100.100.200/"),
    *("http://metadata.google.internal/", "http://metadata/", "http://168.63.129.16/", "http://[fe80::1]/"),
    *("http://ok.com\\@127.0.0.1:{p}/", "http://ok.com#@127.0.0.1:{p}", "http://ok.com@127.0.0.1:{p}/"),
    *("http://user:pass@127.0.0.1:{p}/", "http://\uff11\uff12\uff17.0.0.1:{p}/", "http://%31%32%37.0.0.1:{p}/"),
    *("http://127.0.0.1\t:{p}/", "http://127.0.0.1:{p}\n/", "\nhttp://127.0.0.1:{p}/", "http://127.0.0.1 :{p}/"),
    *("http://ⓛocalhost:{p}/", "http://127。0。0。1:{p}/", "http://[::1%25lo]:{p}/", "http://a.example:{p}/"),
    *("file:///etc/passwd", "gopher://127.0.0.1:{p}/x", "ftp://127.0.0.1:{p}/", "data:text/html,x", "javascript:x"),
    *("//127.0.0.1:{p}/", "127.0.0.1:{p}", "http:127.0.0.1:{p}", "http:/127.0.0.1:{p}", "unix:///run/x", ""),
]


@pytest.mark.parametrize("form", FORMS, ids=ascii)
async def test_no_connection_is_made_to(form: str, net: Net) -> None:
    spool = MemorySpool()
    async with serving(answer(b"secret")) as site:
        url = form.format(p=site.url.rpartition(":")[2])
        fault = await refusal(fetcher(spool, networks=[], resolve=net.resolving(["127.0.0.1"])), url)
        assert fault.code == "url_not_allowed"
        assert "127.0.0.1" not in fault.text, "not what a name resolved to"
        assert site.opened == 0
    assert net.dialled == []
    assert spool.left == 0


async def test_the_table_above_could_have_connected(net: Net) -> None:
    async with serving(answer(b"x")) as site:
        url = site.url.replace("127.0.0.1", "a.example") + "/"
        await fetcher(resolve=net.resolving(["127.0.0.1"])).fetch(url, PARAM, LIMIT)
        assert site.opened == 1
    assert net.looked_up == ["a.example"]


MARKS = st.sampled_from(
    [*"/\\@#?:.[]%\t\n 0x7", "localhost", "127.0.0.1", "ok.com", "@127.0.0.1", "。", "%2e", "::1", "http://"]
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FORMS), st.lists(st.tuples(st.integers(0, 60), MARKS), min_size=1, max_size=4))
async def test_no_change_to_such_an_address_reaches_loopback(net: Net, form: str, marks: list[tuple[int, str]]) -> None:
    async with serving(answer(b"secret")) as site:
        url = form.replace("{p}", site.url.rpartition(":")[2])
        for place, mark in marks:
            url = url[:place] + mark + url[place:]
        with pytest.raises(InvalidRequest):
            await fetcher(networks=[], resolve=net.resolving(["127.0.0.1"])).fetch(url, PARAM, LIMIT)
        assert site.opened == 0
    assert [target for target in net.dialled if target.startswith(("127.", "::"))] == []


async def test_switched_off_it_fetches_nothing(net: Net) -> None:
    fault = await refused(answer(b"x"), on=False)
    assert fault.code == "url_not_allowed"
    assert "`fetch_urls`" in fault.text
    assert net.dialled == []


@pytest.mark.parametrize("answers", [["8.8.8.8", "127.0.0.1"], ["fe80::1%eth0"], ["2606:4700::1", "::ffff:10.0.0.1"]])
async def test_all_answers_must_be_public(answers: list[str], net: Net) -> None:
    fault = await refusal(fetcher(networks=[], resolve=net.resolving(answers)), "http://a.example/")
    assert fault.code == "url_not_allowed"
    assert net.dialled == []


async def test_the_connection_goes_to_what_was_judged_and_no_second_answer_is_asked_for(net: Net) -> None:
    """Rebinding: public at first, this machine afterwards."""
    async with serving(answer(b"secret")) as site:
        url = site.url.replace("127.0.0.1", "a.example") + "/"
        fetch = fetcher(networks=[], resolve=net.resolving(["8.8.8.8"], ["127.0.0.1"]))
        assert (await refusal(fetch, url)).code == "url_unreachable"
        assert (net.looked_up, net.dialled) == (["a.example"], ["8.8.8.8"])
        assert (await refusal(fetch, url)).code == "url_not_allowed", "a later fetch looks up again"
        assert net.dialled == ["8.8.8.8"]
        assert site.opened == 0


async def test_each_redirect_is_looked_up_and_judged_anew(net: Net) -> None:
    resolve = net.resolving(["127.0.0.1"], ["10.0.0.1"])
    async with serving(redirecting(b"/again")) as site:
        fault = await refusal(fetcher(resolve=resolve), site.url.replace("127.0.0.1", "a.example") + "/")
        assert site.opened == 1
    assert fault.code == "url_not_allowed"
    assert "redirects" in fault.text
    assert net.looked_up == ["a.example", "a.example"]
    assert net.dialled == ["127.0.0.1"]


@pytest.mark.parametrize(
    "location",
    [
        *(
            b"http://127.0.0.1:%d/",
            b"//127.0.0.1:%d/",
            b"http://[::1]:%d/",
            b"http://0x7f000001:%d/",
            b"//localhost:%d",
        ),
        *(b"file:///etc/passwd", b"http://169.254.169.254/", b"gopher://127.0.0.1:%d/", b"http://x@127.0.0.1:%d/"),
        *(b"\\\\127.0.0.1:%d\\", b"http://127.0.0.1:%d\t/", b"http://[::1", b"\xff", "http://１２７.0.0.1/".encode()),
    ],
    ids=ascii,
)
async def test_a_redirect_to_where_it_must_not_go(location: bytes, net: Net) -> None:
    async def act(visit: Visit) -> None:
        await redirecting(location.replace(b"%d", port))(visit)

    async with serving(answer(b"secret")) as target, serving(act) as first:
        port = target.url.rpartition(":")[2].encode()
        fetch = fetcher(networks=[], resolve=net.resolving([CARRIED], ["127.0.0.1"]))
        fault = await refusal(fetch, first.url.replace("127.0.0.1", "a.example") + "/")
        assert fault.code == "url_not_allowed"
        assert "redirects" in fault.text
        assert (first.opened, target.opened) == (1, 0)
    assert net.dialled == [CARRIED]


async def test_no_more_redirects_than_three() -> None:
    async with serving(redirecting(*[b"/n"] * 10)) as site:
        fault = await refusal(fetcher(), site.url + "/")
        assert (fault.code, "redirected more than 3 times" in fault.text) == ("url_unreachable", True)
        assert len(site.requests) == 4


async def test_a_redirect_that_leads_nowhere() -> None:
    fault = await refused(saying(b"HTTP/1.1 301 X\r\nContent-Length: 0\r\n\r\n"))
    assert fault.code == "url_unreachable"
    assert "301" in fault.text


# --- what is never taken whole ---


async def endless(visit: Visit) -> None:
    await visit.say(HEAD + b"Content-Type: image/png\r\n\r\n")
    while not visit.reader.at_eof():
        await visit.say(bytes(65536))
        await asyncio.sleep(0)


async def test_an_endless_body_is_cut_at_the_limit() -> None:
    spool = MemorySpool()
    async with serving(endless) as site:
        fault = await refusal(fetcher(spool), site.url + "/")
        assert fault.code == "file_too_large"
        assert "100,000 bytes" in fault.text
        assert site.opened == 1
    assert spool.left == 0
    assert spool.written <= LIMIT


async def test_a_length_beyond_the_limit_is_enough() -> None:
    fault = await refused(saying(HEAD + b"Content-Length: 100001\r\n\r\n", then="wait"))
    assert (type(fault), fault.code) == (BodyTooLarge, "file_too_large")


async def test_a_file_as_large_as_the_limit_is_taken() -> None:
    assert len((await fetched(answer(bytes(LIMIT))))[1]) == LIMIT


async def test_a_length_that_lies() -> None:
    less = await refused(saying(HEAD + b"Content-Length: 20\r\n\r\n", b"ab", then="end"))
    assert less.code == "url_unreachable"
    more = await refused(saying(HEAD + b"Content-Length: 2\r\n\r\nabcdef", then="wait"))
    assert more.code == "url_unreachable"


async def drip(visit: Visit) -> None:
    await visit.say(HEAD + b"Content-Length: 1000\r\n\r\n")
    while not visit.reader.at_eof():
        await visit.say(b"x")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "act", [drip, saying(then="wait"), saying(HEAD, then="wait")], ids=["drip", "silent", "half a head"]
)
async def test_the_whole_has_so_much_time(act: Act) -> None:
    fault = await refused(act, seconds=0.2)
    assert fault.code == "url_unreachable"
    assert "within 0.2 s" in fault.text


async def test_a_lookup_has_so_much_time() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        raise AssertionError(host, port)

    fault = await refusal(fetcher(resolve=resolve, connect=0.05), "http://a.example/")
    assert (fault.code, "looked up" in fault.text) == ("url_unreachable", True)


@pytest.mark.parametrize("answers", [[], ["nonsense"]])
async def test_a_name_without_an_address(answers: list[str], net: Net) -> None:
    fault = await refusal(fetcher(resolve=net.resolving(answers)), "http://a.example/")
    assert (fault.code, "looked up" in fault.text) == ("url_unreachable", True)


async def test_a_name_that_does_not_exist() -> None:
    fault = await refusal(fetcher(), "http://does-not-exist.invalid/")
    assert (fault.code, "looked up" in fault.text) == ("url_unreachable", True)


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"GZIP, gzip", b"zstd", b"unheard-of"])
async def test_a_packed_body_is_not_unpacked(encoding: bytes) -> None:
    fault = await refused(answer(gzip.compress(bytes(10_000_000)), b"Content-Encoding: " + encoding))
    assert (fault.code, "compressed" in fault.text) == ("url_unreachable", True)


@pytest.mark.parametrize("status", [201, 204, 206, 300, 304, 401, 404, 500])
async def test_a_status_that_brings_no_file_is_named(status: int) -> None:
    fault = await refused(saying(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status))
    assert fault.code == "url_unreachable"
    assert str(status) in fault.text


@pytest.mark.parametrize(
    "act",
    [
        saying(b"220 mail.example ESMTP\r\n", then="end"),
        saying(then="end"),
        saying(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\nxx\r\n", then="end"),
        saying(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk(b"ab"), then="end"),
        saying(HEAD + b"Content-Length: -5\r\n\r\n", then="end"),
        saying(HEAD + b"X: " + b"y" * 100_000 + b"\r\n\r\n", then="end"),
        saying(b"HTTP/1.1 302 X\r\nLocation: /" + b"y" * 100_000 + b"\r\n\r\n", then="end"),
    ],
    ids=["not HTTP", "nothing", "no chunk", "half", "length", "long header", "long location"],
)
async def test_a_server_that_breaks_the_rules(act: Act) -> None:
    assert (await refused(act)).code == "url_unreachable"


async def test_a_port_at_which_nobody_listens() -> None:
    async with serving(answer(b"x")) as site:
        url = site.url
    fault = await refusal(fetcher(), url + "/")
    assert (fault.code, "cannot be reached" in fault.text) == ("url_unreachable", True)


async def test_a_spool_without_room() -> None:
    spool = MemorySpool(room=10)
    async with serving(answer(bytes(1000))) as site:
        with pytest.raises(Overloaded):
            await fetcher(spool).fetch(site.url + "/", PARAM, LIMIT)
        await until(lambda: site.alive == 0)
    assert spool.left == 0


async def test_cancelled_it_leaves_nothing() -> None:
    spool = MemorySpool()
    async with serving(saying(HEAD + b"Content-Length: 1000\r\n\r\n", b"x" * 10, then="wait")) as site:
        task = asyncio.create_task(fetcher(spool).fetch(site.url + "/", PARAM, LIMIT))
        await until(lambda: spool.written == 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: site.alive == 0)
    assert spool.left == 0


# --- TLS ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For `a.example`, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl to make a certificate")
    folder: Path = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=a.example"
    files = ["-addext", "subjectAltName=DNS:a.example", "-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True, timeout=30)
    return folder


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert", certificate / "key")
    return context


@pytest.mark.parametrize(
    ("host", "trusted", "works"),
    [("a.example", True, True), ("b.example", True, False), ("127.0.0.1", True, False), ("a.example", False, False)],
)
async def test_the_certificate_must_be_the_hosts(
    host: str, trusted: bool, works: bool, certificate: Path, net: Net
) -> None:
    tls = ssl.create_default_context(cafile=str(certificate / "cert")) if trusted else None
    async with serving(answer(PICTURE), tls=server_side(certificate)) as site:
        url = site.url.replace("127.0.0.1", host) + "/"
        fetch = fetcher(resolve=net.resolving(["127.0.0.1"]), tls=tls)
        if works:
            assert (await fetch.fetch(url, PARAM, LIMIT)).content.size == len(PICTURE)
            return
        fault = await refusal(fetch, url)
        assert (fault.code, "certificate" in fault.text) == ("url_unreachable", True)
        assert site.requests == []


async def test_no_redirect_from_https_to_http(certificate: Path, net: Net) -> None:
    tls = ssl.create_default_context(cafile=str(certificate / "cert"))
    async with (
        serving(answer(b"x")) as plain,
        serving(redirecting(plain.url.encode()), tls=server_side(certificate)) as site,
    ):
        url = site.url.replace("127.0.0.1", "a.example") + "/"
        fault = await refusal(fetcher(resolve=net.resolving(["127.0.0.1"]), tls=tls), url)
        assert (fault.code, plain.opened) == ("url_not_allowed", 0)
