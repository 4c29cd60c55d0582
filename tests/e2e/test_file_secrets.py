"""What gives access to files, and what is in them, is nowhere but where it must be: a gateway brings files to the site
in good and bad times and is killed in the middle, and all that it wrote or told is searched. (C-45)"""

import asyncio
import base64
import contextlib
import json
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web
from tests.net.raw import Visit, serving

from qwen_gateway.simulator import Simulator, files, oss_refusals, parsing

from . import process, wire
from .attaching import file, image, kept, user
from .canaries import Canary, of_token, search
from .file_samples import Sample, mp4, pdf, png, txt
from .process import Gateway
from .rig import KEY, until
from .wire import MODEL, Answer, Json, request_bytes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills a process")

CHAT, FILES, TICKET = "/v1/chat/completions", "/v1/files", "/v2/files/getstsToken"
ANSWERS, LISTS, CONTENT = "answer of a turn", "list of files", "content of a file"
MB = 1024 * 1024


def _canary(name: str) -> str:
    """Made so that all its encodings differ from it, and fit to be the name of a file."""
    return f"{name}+canary=~{secrets.token_hex(12)}"


@dataclass
class Run:
    """A gateway, its site, and all that came out of it. places: where something was written or told, and what. plain:
    bytes of files, by what they are."""

    directory: Path
    sim: Simulator
    canaries: list[Canary] = field(default_factory=list)
    places: dict[str, bytes] = field(default_factory=dict)
    plain: dict[str, bytes] = field(default_factory=dict)
    refusals: list[tuple[int, str]] = field(default_factory=list)
    url: str = ""
    echoed: str = ""

    def plant(self, name: str, text: str, *allowed: str) -> str:
        self.canaries.append(Canary(name, text, allowed))
        return text

    def keep(self, place: str, content: bytes) -> None:
        self.places[f"{place} ({len(self.places)})"] = content

    async def send(self, request: bytes, place: str = "") -> Answer:
        answer = await wire.exchange(self.url, request)
        name = place or request.split(b" HTTP/1.1", 1)[0].decode().partition("?")[0]
        self.keep(name, repr(answer.headers).encode() + b"\n" + answer.body)
        return answer

    async def turn(self, *parts: Json, stream: bool = False) -> Answer:
        body = {"model": MODEL, "stream": stream, "messages": [user("What is it?", *parts)]}
        answer = await self.send(request_bytes(CHAT, body, key=KEY), ANSWERS)
        if answer.status != 200:
            self.refusals.append((answer.status, answer.error()["code"]))
        return answer

    async def store(self, sample: Sample) -> str:
        mark = secrets.token_hex(8)
        head = (
            f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{sample.name}"\r\n'
            f"Content-Type: {sample.media_type}\r\n\r\n"
        )
        body = head.encode() + sample.data + f"\r\n--{mark}--\r\n".encode()
        kind = f"multipart/form-data; boundary={mark}"
        answer = await self.send(request_bytes(FILES, body, key=KEY, content_type=kind), LISTS)
        assert answer.status == 200, answer.body
        return str(answer.json()["id"])

    async def program(self, *mishaps: Json, turns: list[Json] | None = None, **site: object) -> None:
        body = {"files": list(mishaps), "site": site, "turns": turns or []}
        reply = await wire.exchange(self.sim.url, request_bytes("/__sim/program", body))
        assert reply.status == 200, reply.body

    def sample(self, what: str, made: Sample, ending: str) -> Sample:
        """Its bytes and its name may be told to nobody but its owner."""
        self.plain[what] = made.data
        return made.named(self.plant(f"name of {what}", _canary(what), ANSWERS, LISTS, CONTENT) + ending)

    def document(self, what: str, *, as_text: bool = False) -> Sample:
        said = self.plant(f"words of {what}", _canary("words"), CONTENT)
        return self.sample(what, txt(said) if as_text else pdf(said), ".txt" if as_text else ".pdf")


@contextlib.asynccontextmanager
async def _site(canaries: list[Canary], run: list[Run]) -> AsyncIterator[Simulator]:
    """A site that plants what it gives out, and repeats it in all its refusals."""
    async with Simulator() as sim:
        sim.site.controlled = True
        told, refused, state = files._told, oss_refusals.OssError.answer, parsing._status

        def given(*arguments: Any) -> Json:
            found: Json = told(*arguments)
            query = parse_qs(urlsplit(found["file_url"]).query)
            names = "access_key_id", "access_key_secret", "security_token"
            planted = {name: str(found[name]) for name in names} | {"signature": query["x-oss-signature"][0]}
            canaries.extend(Canary(f"{name} of leave", text, (f"POST {TICKET}",)) for name, text in planted.items())
            run[0].echoed = " ".join([*map(str, found.values()), planted["signature"]])
            return found

        def answer(self: oss_refusals.OssError, host: str) -> web.Response:
            found = refused(self, host)
            assert isinstance(found.text, str)
            found.text = found.text.replace("<Message>", f"<Message>{run[0].echoed.replace('&', '&amp;')} ")
            return found

        def status(*arguments: Any) -> Json:
            return {**state(*arguments), "error_msg": f"No: {run[0].echoed}", "error_code": run[0].echoed}

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "_told", given)
            patch.setattr(oss_refusals.OssError, "answer", answer)
            patch.setattr(parsing, "_status", status)
            yield sim


def _cookies(run: Run) -> str:
    cookies = run.sim.cookies("owner")
    jar = dict(pair.split("=", 1) for pair in cookies.split("; "))
    run.canaries += of_token("session", jar["token"])
    return f"{cookies}; canary_cookie={run.plant('cookie', _canary('cookie'))}"


# --- what a gateway goes through


async def _good_times(run: Run) -> None:
    document, picture = run.document("kept document"), run.sample("kept picture", png(), ".png")
    note = run.document("kept text", as_text=True)
    ids = [await run.store(one) for one in (document, picture, note)]
    for stream in (False, True):
        answer = await run.turn(*(kept(one) for one in ids), stream=stream)
        assert answer.status == 200, answer.body
        assert (await run.turn(image(run.sample("given picture", png(), ".png")), stream=stream)).status == 200
    assert (await run.turn(file(run.document("given document")))).status == 200
    film = run.sample("given film", mp4(filler=150_000), ".mp4")
    assert (await run.turn({"type": "video_url", "video_url": {"url": film.data_url}})).status == 200
    for path in (FILES, *(f"{FILES}/{one}" for one in ids)):
        await run.send(request_bytes(path, key=KEY), LISTS)
    got = await run.send(request_bytes(f"{FILES}/{ids[0]}/content", key=KEY), CONTENT)
    assert got.body == document.data
    told = {"filename": "a.png", "filesize": "5", "filetype": "image"}
    ticket = await run.send(request_bytes(TICKET, told, key=KEY))
    assert ticket.status == 200, ticket.body


async def _from_addresses(run: Run) -> None:
    """A client's own address with a secret in it, and one that refuses."""
    token = run.plant("secret in an address", _canary("address"))

    async def act(visit: Visit) -> None:
        data = run.sample("fetched picture", png(), ".png").data
        await visit.say(
            b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)
        )

    async with serving(act) as site:
        assert (await run.turn(image(f"{site.url}/a.png?signature={token}"))).status == 200
    await run.turn(image(f"{site.url}/a.png?signature={token}"))
    await run.turn(image(f"http://10.0.0.1/a.png?signature={token}"))
    await run.turn(image(f"http://user:{token}@127.0.0.1/a.png"))
    await run.turn(image(f"file:///{token}"))


async def _bad_times(run: Run) -> None:
    film = mp4(filler=150_000)
    for at, what, sample in (
        ("oss", "SignatureDoesNotMatch", film),
        ("put", "ServiceUnavailable", png()),
        ("put", "InvalidSecurityToken", png()),
        ("put", "drop", png()),
        ("part", "cut", film),
        ("parse", "failed", pdf()),
        ("status", "http_500", pdf()),
        ("parse", "never", pdf()),
        ("ticket", "incomplete", png()),
        ("ticket", "wrong_id", png()),
        ("ticket", "bad_request", png()),
    ):
        run.sim.site.mishaps._coming.clear()
        await run.program({"at": at, "what": what, "times": None})
        made = run.sample("unlucky file", sample, Path(sample.name).suffix)
        part = file(made) if made.kind == "document" else image(made)
        if made.kind == "video":
            part = {"type": "video_url", "video_url": {"url": made.data_url}}
        await run.turn(part, stream=at == "oss")
    run.sim.site.mishaps._coming.clear()
    # The site repeats the whole question in its refusal.
    for details in (run.echoed, run.echoed[600:], " ".join(run.echoed[at:] for at in range(0, 900, 290))):
        data = {"code": "Bad_Request", "details": details}
        raw = f"data: {json.dumps({'success': False, 'data': data})}\n\n"
        await run.program(turns=[{"raw": raw}])
        await run.turn(image(png()))


async def _pages(run: Run, gateway: Gateway) -> None:
    for page in ("/health", "/livez", "/readyz", "/metrics", "/openapi.json", "/v1/models"):
        await run.send(request_bytes(page, key=KEY))
    admin = (gateway.data_dir / "bootstrap.key").read_text().strip()
    for page in ("/accounts", "/status", "/usage", "/usage/rows"):
        await run.send(request_bytes(f"/api/admin{page}", key=admin))


async def _cut_short(run: Run, gateway: Gateway) -> None:
    """Killed while a part is sent: the store knows what it takes to end the upload."""
    await run.program(oss_delay_ms=1000)
    film = run.sample("film that is never there", mp4(filler=9 * MB), ".mp4")
    part = {"type": "video_url", "video_url": {"url": film.data_url}}
    bucket = run.sim.site.bucket
    before = len(bucket.uploads)
    client = asyncio.create_task(run.turn(part))
    await until(lambda: len(bucket.uploads) > before and any(one.state == "open" for one in bucket.uploads.values()))
    await until(lambda: any(one.operation == "part" and one.received and not one.ended for one in bucket.calls))
    gateway.process.kill()
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        await client
    _collect(run, "after the kill")
    await run.program(oss_delay_ms=0)


def _collect(run: Run, when: str) -> None:
    for path in sorted(run.directory.rglob("*")):
        if path.is_file():
            run.keep(f"file {path.name} {when}", path.read_bytes())


async def _lived(directory: Path) -> Run:
    canaries: list[Canary] = []
    runs: list[Run] = []
    async with _site(canaries, runs) as sim:
        run = Run(directory, sim, canaries)
        runs.append(run)
        settings: Json = {
            "site_url": sim.url,
            "cookies": _cookies(run),
            "api_keys": KEY,
            "log_level": "debug",
            "multipart_above": 100_000,
            "parse_timeout": 0.7,
            "fetch_networks": "127.0.0.1/32",
            "inline_text_bytes": 0,
            "first_event_timeout": 5,
        }
        await run.program(ticket_limit=1000, parse_ms=0)
        with process.serve(directory, **settings) as gateway:
            run.url = gateway.url
            await _good_times(run)
            await _from_addresses(run)
            await _bad_times(run)
            await _pages(run, gateway)
            _collect(run, "while it runs")
            await _cut_short(run, gateway)
        with process.serve(directory, log_file=directory / "gateway.log", **settings) as gateway:
            run.url = gateway.url
            await until(lambda: all(one.state != "open" for one in sim.site.bucket.uploads.values()))
            assert (await run.turn(image(png()))).status == 200
            gateway.signal()
            assert await asyncio.to_thread(gateway.exit_code) == 0
        _collect(run, "at the end")
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return asyncio.run(_lived(tmp_path_factory.mktemp("secrets")))


def test_no_secret_and_no_name_is_anywhere_else(run: Run) -> None:
    hits = search(run.places, run.canaries)
    assert not hits, "\n".join(sorted({f"{hit.canary} in {hit.place}: {hit.around!r}" for hit in hits}))


def test_no_file_lies_open_on_the_disk(run: Run) -> None:
    """Neither one that is kept nor one that was on its way: whole, in part, or as the client has sent it."""
    disk = {place: content for place, content in run.places.items() if place.startswith("file ")}
    for what, data in run.plain.items():
        middle = len(data) // 2
        for piece in (data[8:40], data[middle : middle + 32], data[-40:-8]):
            if len(set(piece)) < 8:
                continue  # such as zeros
            needles = (piece, piece.hex().encode(), base64.b64encode(piece)[:-4])
            found = [place for place, content in disk.items() if any(one in content for one in needles)]
            assert not found, what


def test_all_of_it_has_really_happened(run: Run) -> None:
    """Otherwise that nothing was found would say nothing."""
    names = {canary.name for canary in run.canaries}
    assert names >= {"security_token of leave", "access_key_secret of leave", "signature of leave", "cookie"}
    allowed = [canary for canary in run.canaries if canary.allowed]
    told = b"".join(content for place, content in run.places.items() if place.startswith(f"POST {TICKET}"))
    assert sum(canary.text.encode() in told for canary in allowed if "of leave" in canary.name) == 4
    content = b"".join(found for place, found in run.places.items() if place.startswith(CONTENT))
    assert any(canary.text.encode() in content for canary in run.canaries if canary.name == "words of kept document")
    codes = {code for _, code in run.refusals}
    assert codes >= {"upload_failed", "file_unreadable", "file_parse_timeout", "upstream_changed"}
    assert codes >= {"url_not_allowed", "url_unreachable"}
    kinds = {place.split(" (")[0].rpartition(" ")[0] for place in run.places if place.startswith("file ")}
    assert any("gateway.db" in kind for kind in kinds)
    assert any("stderr" in kind for kind in kinds)
    assert any("gateway.log" in kind for kind in kinds)
    assert any(one.state == "aborted" for one in run.sim.site.bucket.uploads.values())
    log = b"".join(found for place, found in run.places.items() if "stderr" in place)
    assert b"upload_in_parts_failed" in log


def test_what_does_get_out_is_found(run: Run) -> None:
    leaked = next(canary for canary in run.canaries if canary.name == "security_token of leave")
    for place, content in run.places.items():
        middle = len(content) // 2
        spoiled = content[:middle] + leaked.text.encode() + content[middle:]
        where = [hit.place for hit in search({place: spoiled}, [leaked._replace(allowed=("nowhere",))])]
        assert where == [place]
