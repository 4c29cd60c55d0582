"""Secrets are nowhere but where they must be: a gateway goes through good and bad times, and all that it wrote or told
is searched for them. (C-45, C-46, C-47, C-50)"""

import asyncio
import base64
import contextlib
import json
import secrets
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pytest
from cryptography.fernet import Fernet
from tests.cli.forking import forking

from qwen_gateway.app import bootstrap
from qwen_gateway.simulator import Simulator

from . import process, wire
from .canaries import Canary, of_token, search
from .process import Gateway
from .rig import Done, command, until, until_async
from .wire import Answer, Json, ask, request_bytes

if TYPE_CHECKING:
    from tests.services import Postgres

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="reads modes of files, and ends processes by signals")

PROMPT, ANSWER, THOUGHT = "prompt-canary-f81d4fae", "answer-canary-7dec11d0", "thought-canary-a76500a0"
ANSWERS = "answer of a turn"
CHAT, ADMIN = "/v1/chat/completions", "/api/admin"


def _canary(name: str) -> str:
    """Made so that all its encodings differ from it."""
    return f'{name}+/canary="{secrets.token_urlsafe(12)}'.replace('"', "~")


@dataclass
class Run:
    """A gateway, its site, and all that came out of it. places: where something was written or told, and what.
    thorough: the site goes through all of its bad times, and not through a few of each kind.
    line: what begins a command."""

    directory: Path
    sim: Simulator
    settings: Json
    static: str
    canaries: list[Canary] = field(default_factory=list)
    places: dict[str, bytes] = field(default_factory=dict)
    url: str = ""
    thorough: bool = True
    line: Sequence[str] = ()

    def plant(self, name: str, text: str, *allowed: str) -> str:
        self.canaries.append(Canary(name, text, allowed))
        return text

    def plant_token(self, name: str, token: str, *allowed: str) -> str:
        self.canaries += of_token(name, token, *allowed)
        return token

    def keep(self, place: str, content: bytes) -> None:
        self.places[f"{place} ({len(self.places)})"] = content

    async def send(self, request: bytes, place: str = "") -> Answer:
        """Sends a request and keeps the whole response."""
        answer = await wire.exchange(self.url, request)
        name = place or request.split(b" HTTP/1.1", 1)[0].decode().partition("?")[0]
        self.keep(name, repr(answer.headers).encode() + b"\n" + answer.body)
        return answer

    async def turn(self, text: str = PROMPT, *, key: str = "", stream: bool = False, **program: Any) -> Answer:
        """program: of the simulator's turn, instead of an answer in good order."""
        await self.program({"text": ANSWER, "thinking": THOUGHT, **program})
        body = ask(text, stream=stream, enable_thinking=True, user=PROMPT, metadata={"a": PROMPT})
        return await self.send(request_bytes(CHAT, body, key=key or self.static), ANSWERS)

    async def manage(self, key: str, method: str, path: str, body: Json | bytes | None = None) -> Answer:
        request = request_bytes(ADMIN + path, body, key=key, method=method, content_type="application/json")
        return await self.send(request, f"{method} {ADMIN}{path}")

    async def command(self, *arguments: str, given: str = "") -> Done:
        done = await command(self.directory, *arguments, given=given, line=self.line, **self.settings)
        name = " ".join(arguments[:2])
        self.keep(f"command {name}", done.out.encode())
        self.keep(f"stderr of {name}", done.err.encode())
        return done

    async def program(self, *turns: Json, **site: object) -> None:
        self.sim.site.queue.clear()
        body = {"turns": list(turns), "site": site}
        reply = await wire.exchange(self.sim.url, request_bytes("/__sim/program", body))
        assert reply.status == 200, reply.body


@contextlib.asynccontextmanager
async def _site(run_canaries: list[Canary]) -> AsyncIterator[Simulator]:
    """A site each of whose tokens is a canary."""
    async with Simulator() as sim:
        sim.site.controlled = True
        access, refresh = sim.site.mint.access_token, sim.site.issue_refresh

        def access_token(user: str, seconds: float = 900) -> str:
            token = access(user, seconds)
            run_canaries.extend(of_token("access token", token))
            return token

        def issue_refresh(user: str) -> str:
            token = refresh(user)
            run_canaries.append(Canary("refresh token", token))
            return token

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sim.site.mint, "access_token", access_token)
            patch.setattr(sim.site, "issue_refresh", issue_refresh)
            yield sim


def _cookies(run: Run, user: str, expires_in: float = 86_400 * 20) -> str:
    cookies = run.sim.cookies(user, expires_in)
    jar = dict(pair.split("=", 1) for pair in cookies.split("; "))
    run.plant_token(f"long token of {user}", jar["token"])
    run.plant(f"anti-bot cookie of {user}", jar["acw_tc"])
    return f"{cookies}; canary_cookie={run.plant(f'cookie of {user}', _canary('cookie'))}"


# --- what a gateway goes through


async def _good_times(run: Run) -> None:
    for stream in (False, True):
        answer = await run.turn(stream=stream, delay_ms=1)
        assert answer.status == 200
        assert ANSWER in answer.body.decode()
    passed = run.plant_token("token of a caller", run.sim.token("passer"))
    assert (await run.turn(key=passed)).status == 200
    for page in ("/", "/v1", "/health", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/v1/models"):
        for key in (None, run.static, passed):
            await run.send(request_bytes(page, key=key))
    await run.send(request_bytes("/v1/models/qwen3.7-plus", key=run.static))


async def _commands(run: Run) -> str:
    """Returns an admin's key."""
    pasted = (
        f"curl 'https://chat.qwen.ai/' -H 'cookie: {_cookies(run, 'byhand')}' -H 'user-agent: UA' -H 'bx-ua: {PROMPT}'"
    )
    run.plant("mail address", "byhand@example.invalid", "command login", "POST /api/admin/accounts")
    login, made, *_ = await asyncio.gather(
        run.command("login", "--name", "second", given=pasted),
        run.command("keys", "create", "--role", "admin", "--name", "boss"),
        run.command("settings"),
        run.command("login", _cookies(run, "argument")),
    )
    assert (login.code, made.code) == (0, 0), (login, made)
    run.plant("admin key", made.out.strip().split("-", 3)[3], "command keys create")
    return made.out.strip()


async def _management(run: Run, key: str) -> None:
    first = (run.directory / "data" / bootstrap.FILE).read_text().strip()
    run.plant("bootstrap key", first.removeprefix(bootstrap.PREFIX), f"file {bootstrap.FILE}")
    await run.manage(first, "GET", "/accounts")
    for path in ("/accounts", "/keys", "/usage", "/usage/rows", "/status", "/accounts/second", "/nothing"):
        await run.manage(key, "GET", path)
    bearer, refresh = run.sim.access_token("byapi", expires_in=-5), run.sim.site.issue_refresh("byapi")
    body = {"session": f"curl https://chat.qwen.ai -H 'authorization: Bearer {bearer}' -b 'refresh_token={refresh}'"}
    run.plant("mail address of another", "byapi@example.invalid", "POST /api/admin/accounts")
    answer = await run.manage(key, "POST", "/accounts", body | {"name": "third"})
    assert answer.status == 201, answer.body
    for path in ("check", "pause", "resume", "settings/restore"):
        await run.manage(key, "POST", f"/accounts/third/{path}")
    await run.manage(key, "POST", "/accounts/third/settings/silence", {"groups": ["memory"]})
    made = (await run.manage(key, "POST", "/keys", {"name": "app"})).json()["text"]
    run.plant("key of a program", made.split("-", 3)[3], "POST /api/admin/keys")
    assert (await run.turn(key=made)).status == 200
    await run.manage(key, "PATCH", "/keys/app", {"concurrency": 2})
    new = (await run.manage(key, "POST", "/keys/app/rotate")).json()["text"]
    run.plant("its successor", new.split("-", 3)[3], "POST /api/admin/keys/app/rotate")
    await run.turn(key=made)
    await run.turn(key=new)
    await run.manage(key, "DELETE", "/accounts/third")


async def _mistakes(run: Run, key: str) -> None:
    """Wrong keys and bad bodies, which hold secrets all the same."""
    wrong = run.plant("wrong key", _canary("wrong"))
    cookies = _cookies(run, "mistaken")
    for one in (wrong, f"{run.static}x", run.static[:-1], f"{key}x", cookies):
        await run.send(request_bytes(CHAT, ask(PROMPT), key=one))
        await run.manage(one, "GET", "/accounts")
    await run.send(request_bytes(f"{CHAT}?key={quote(run.static)}", ask(PROMPT)))
    await run.send(request_bytes(f"/v1/models?api_key={quote(wrong)}"))
    bodies: list[Json | bytes] = [
        b'{"model": "' + PROMPT.encode(),
        {"model": 1, "messages": PROMPT},
        ask(PROMPT, temperature=PROMPT, stop=[PROMPT] * 2000),
        {"model": "qwen3.7-plus", "messages": [{"role": "nobody", "content": PROMPT}]},
        {"model": "qwen3.7-plus", "messages": [{"role": "user", "content": [{"type": "nothing", "text": PROMPT}]}]},
        {PROMPT: PROMPT},
        PROMPT.encode() * 10,
    ]
    for body in bodies:
        await run.send(request_bytes(CHAT, body, key=run.static), "refusal")
        await run.manage(key, "POST", "/keys", body)
    for bad in (
        {"session": [cookies]}, {"session": cookies, "name": [cookies]}, {"sesion": cookies}, cookies.encode(),
        {"session": f"x {cookies}"}, {"session": "", "name": "n" * 101 + cookies},
    ):  # fmt: skip
        await run.manage(key, "POST", "/accounts", bad)
    await run.manage(run.static, "GET", "/accounts")


FAULTS = (
    "server",
    "unauthorized",
    "http_500",
    "disconnect",
    "f36",
    "f27",
    "f52",
    "content_filter",
    "bad_request",
    "challenge",
)


FEW_FAULTS, FEW_ECHOES = ("unauthorized", "disconnect", "challenge"), slice(None, None, 5)


async def _bad_times_at_the_site(run: Run, key: str) -> None:
    faults = FAULTS if run.thorough else FEW_FAULTS
    echoes = [*_echoes(run)] if run.thorough else [*_echoes(run)][FEW_ECHOES]
    asked = len(run.sim.site.seen)
    for number, name in enumerate(faults):
        await run.turn(stream=number % 2 == 0, error=name)
        if not name.startswith("http_"):
            await run.turn(stream=number % 2 == 1, error=name, after_chunks=1)
        await _calm(run, key)
    for number, raw in enumerate(echoes):
        await run.turn(stream=number % 2 == 0, raw=raw)
        await _calm(run, key)
    assert len(run.sim.site.seen) - asked >= 2 * len(faults)
    await run.program(refuse_connections=True)
    for path in ("/accounts/second/check", "/accounts"):
        await run.manage(key, "POST", path, {"session": _cookies(run, "late")} if path == "/accounts" else None)
    await run.turn()
    # By command: the gateway itself looks at one account every five seconds at most.
    await run.program(refuse_connections=False, accounts={"byhand": {"state": "walled"}})
    await run.command("accounts", "check", "second")
    await run.program(accounts={"byhand": {"state": "expired"}})
    await run.command("accounts", "check", "second")
    await run.program(accounts={"byhand": {"state": "ok"}})


async def _calm(run: Run, key: str) -> None:
    """No account rests, and the site counts as well."""
    names = [one["name"] for one in (await run.manage(key, "GET", "/accounts")).json()["accounts"]]
    for name in names:
        await run.manage(key, "POST", f"/accounts/{name}/resume")

    async def answered() -> bool:
        return (await run.turn()).status == 200

    await until_async(answered)


def _echoes(run: Run) -> Iterator[str]:
    """Refusals in which the site repeats our credentials, and sets one more."""
    sets = f"Set-Cookie: issued={run.plant('cookie that the site sets', _canary('issued'))}; HttpOnly\r\n"
    ours = json.dumps(str(run.settings["cookies"]))[1:-1]
    data = {"code": "Weird", "details": "DETAILS", "template": "DETAILS"}
    json_bodies = [
        {"success": False, "data": data},
        {"success": False, "data": {**data, "code": "Bad_Request"}},
        {"success": False, "data": {**data, "code": "DETAILS"}},
        {"detail": "DETAILS"},
        {"error": {"message": "DETAILS", "code": "DETAILS"}},
    ]
    for status in (200, 400, 401, 403, 404, 422, 500, 503):
        for body in json_bodies if status in (200, 400) else json_bodies[:1]:
            yield _http(status, json.dumps(body).replace("DETAILS", ours), more=sets)
    yield _http(500, f"<html>{ours}</html>", "text/html")
    yield _http(302, "", "text/html", f"Location: /login?{quote(str(run.settings['cookies']))}\r\n")
    yield _http(200, f"event: {ours}\ndata: {ours}\n\n", "text/event-stream")
    yield f'data: {{"error": {{"code": "{ours[-60:]}", "details": "{ours}"}}}}\n\n'
    yield f'data: {{"success": false, "data": {{"code": "x", "details": "{ours}"}}}}\n\n'


def _http(status: int, body: str, kind: str = "application/json", more: str = "") -> str:
    fields = f"Content-Type: {kind}\r\nContent-Length: {len(body.encode())}\r\nConnection: close\r\n{more}"
    return f"HTTP/1.1 {status} Odd\r\n{fields}\r\n{body}"


async def _the_end(run: Run, gateway: Gateway) -> None:
    """A signal while an answer runs."""
    last = asyncio.create_task(run.turn(stream=True, text=f"{ANSWER} " * 200, delay_ms=20))
    await until(lambda: bool(run.sim.site.streams))
    gateway.signal()
    await last
    assert await asyncio.to_thread(gateway.exit_code) == 0
    assert gateway.process.stdout is not None
    run.keep("standard output", gateway.process.stdout.read().encode())
    run.keep("standard error", gateway.log.read_bytes())


def _check_modes(run: Run) -> None:
    data = run.directory / "data"
    modes = {path.name: path.stat().st_mode & 0o777 for path in [data, *data.rglob("*")]}
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}, "nobody else may read them"
    assert {mode for name, mode in modes.items() if name.endswith(".key")} == {0o600}


def _collect_files(run: Run) -> None:
    for path in (run.directory / "data").glob("secret.key"):
        run.plant("secret key in its file", path.read_text().strip(), "file secret.key")
    for path in sorted((run.directory / "data").rglob("*")):
        if path.is_file():
            run.keep(f"file {path.name}", path.read_bytes())
    for path in run.directory.glob("*.log*"):
        run.keep(f"log {path.name}", path.read_bytes())


async def _life(run: Run, trouble: Callable[[Run, str], Awaitable[None]]) -> None:
    with process.serve(run.directory, **run.settings) as gateway:
        run.url = gateway.url
        run.keep("arguments", Path(f"/proc/{gateway.pid}/cmdline").read_bytes() if sys.platform == "linux" else b"")
        await _good_times(run)
        key = await _commands(run)

        async def known() -> bool:
            return (await run.manage(key, "GET", "/accounts/second")).status == 200

        await until_async(known)
        await _management(run, key)
        await _mistakes(run, key)
        await _bad_times_at_the_site(run, key)
        _collect_files(run)  # as they are while it runs
        _check_modes(run)
        await trouble(run, key)
        await _the_end(run, gateway)
    rotated = await run.command("secrets", "rotate")
    assert rotated.code == (2 if "secret_key" in run.settings else 0), "a key of the settings is not ours to change"
    listed = await run.command("accounts", "list", "--json")
    assert "second" in {one["name"] for one in listed.json()["accounts"]}, "what is stored can still be read"
    _collect_files(run)


def _settings(run: Run) -> Json:
    return {
        "site_url": run.sim.url,
        "cookies": _cookies(run, "fromenv"),
        "api_keys": run.static,
        "pass_through": "true",
        "log_level": "debug",
        "heartbeat": 5,
        "idle_timeout": 1,
        "call_timeout": 2,
        "store_timeout": 0.5,
        "drain_seconds": 0.2,
        "challenge_rest": 0.2,
    }


# --- on both databases


@pytest.fixture(scope="module")
def line() -> Iterator[list[str]]:
    """What begins a command whose libraries are loaded already."""
    with forking() as found:
        yield found


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory, line: list[str]) -> Run:
    return asyncio.run(_on_sqlite(tmp_path_factory.mktemp("sqlite"), line))


async def _on_sqlite(directory: Path, line: Sequence[str]) -> Run:
    async def locked(run: Run, key: str) -> None:
        with contextlib.closing(sqlite3.connect(directory / "data" / "gateway.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            await _without_a_database(run, key)
            other.execute("ROLLBACK")

    canaries: list[Canary] = []
    async with _site(canaries) as sim:
        run = _begun(directory, sim, canaries)
        run.line = line
        await _life(run, locked)
    return run


@pytest.fixture(scope="module")
def on_postgres(
    tmp_path_factory: pytest.TempPathFactory, line: list[str], postgres: "Postgres", redis_of_ours: str
) -> Run:
    with postgres.fresh_database(migrated=False) as url:
        return asyncio.run(_on_postgres(tmp_path_factory.mktemp("postgres"), line, postgres, url, redis_of_ours))


async def _on_postgres(directory: Path, line: Sequence[str], postgres: "Postgres", url: str, redis: str) -> Run:
    name = url.rpartition("/")[2]

    async def away(run: Run, key: str) -> None:
        async def noticed() -> bool:
            health = (await run.send(request_bytes("/health", key=run.static))).json()
            return bool(health["status"] == "storage_unavailable")

        postgres.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608
        await until_async(noticed)
        await _without_a_database(run, key)
        postgres.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    canaries: list[Canary] = []
    async with _site(canaries) as sim:
        run = _begun(directory, sim, canaries)
        run.line = line
        run.thorough = False  # what the site says takes the same ways whatever the database
        password = run.plant("database password", f"dbpass-canary-{secrets.token_urlsafe(12)}")
        run.plant("Redis password", redis.split(":", 2)[2].partition("@")[0])
        run.settings |= {
            "database_url": url.replace("unused", password),
            "secret_key": run.plant("secret key", Fernet.generate_key().decode()),
            "redis_url": redis,
            "log_file": directory / "gateway.log",
        }
        await _life(run, away)
        run.keep("database", postgres.dump(name))
    return run


@pytest.fixture(scope="module")
def redis_of_ours() -> Iterator[str]:
    """The URL of a Redis that wants a password."""
    from tests import services  # noqa: PLC0415 - it imports drivers that may be missing

    with services.redis("redis-server") as server:
        password = f"redis-canary-{secrets.token_urlsafe(12)}"
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(f"CONFIG SET requirepass {password}\r\n".encode())
            assert connection.recv(16) == b"+OK\r\n"
        yield f"redis://:{password}@127.0.0.1:{server.port}/0"


def _begun(directory: Path, sim: Simulator, canaries: list[Canary]) -> Run:
    run = Run(directory, sim, {}, f"sk-static-canary-{secrets.token_urlsafe(12)}", canaries)
    run.plant("static key", run.static)
    for name, text in (("prompt", PROMPT), ("thought", THOUGHT), ("answer", ANSWER)):
        run.plant(name, text, *(() if text == PROMPT else (ANSWERS,)))
    run.settings = _settings(run)
    return run


async def _without_a_database(run: Run, key: str) -> None:
    unknown = f"sk-qg-aaaaaaaaaa-{run.plant('unknown key', secrets.token_urlsafe(32))}"
    await run.turn(key=unknown)
    assert (await run.turn()).status == 200, "turns go on"
    assert (await run.manage(key, "POST", "/accounts", {"session": _cookies(run, "unstored")})).status == 503
    await run.manage(key, "POST", "/keys", {"name": "never"})
    await run.manage(key, "GET", "/usage")
    await run.command("accounts", "check", "second")


RUNS = [
    "on_sqlite",
    pytest.param("on_postgres", marks=pytest.mark.needs("postgresql", "redis")),
]


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Run:
    found: Run = request.getfixturevalue(request.param)
    return found


everywhere = pytest.mark.parametrize("run", RUNS, indirect=True)


@pytest.mark.timeout(120)
@everywhere
def test_no_secret_is_anywhere_else(run: Run) -> None:
    hits = search(run.places, run.canaries)
    assert not hits, "\n".join(f"{hit.canary} in {hit.place}: {hit.around!r}" for hit in hits)


@everywhere
def test_the_secrets_were_really_in_use(run: Run) -> None:
    """Otherwise their absence would say nothing."""
    seen = run.sim.site.seen
    sent = str([one.raw for one in seen])
    cookies = str(run.settings["cookies"])
    assert {one.account for one in seen} >= {"fromenv", "byhand", "passer"}
    for part in (PROMPT, cookies.rpartition("canary_cookie=")[2], "issued="):
        assert part in sent
    assert run.sim.site.refreshes > 0
    turns = [content for place, content in run.places.items() if place.startswith(ANSWERS)]
    assert sum(ANSWER.encode() in content for content in turns) > (20 if run.thorough else 10)
    log = b"".join(content for place, content in run.places.items() if place.startswith(("standard error", "log ")))
    for word in (b"ready", b"account_imported", b"key_created", b"key_rotated", b"managed", b"upstream_challenge"):
        assert word in log, word
    names = {canary.name.partition(":")[0] for canary in run.canaries}
    assert names >= {"static key", "admin key", "bootstrap key", "access token", "refresh token", "token of a caller"}
    assert names >= {"wrong key", "its successor", "cookie of byhand", "prompt", "mail address"}


@everywhere
def test_each_that_may_stand_in_one_place_stands_there(run: Run) -> None:
    """So the places are those that are searched."""
    for canary in run.canaries:
        if canary.allowed:
            places = [content for place, content in run.places.items() if place.startswith(canary.allowed)]
            assert any(canary.text.encode() in content for content in places), canary.name


@everywhere
def test_a_secret_that_did_get_out_is_found_in_every_place(run: Run) -> None:
    leaked = Canary("leaked", _canary("leaked"))
    for place, content in run.places.items():
        middle = len(content) // 2
        spoiled = content[:middle] + leaked.text.encode() + content[middle:]
        assert [hit.place for hit in search({place: spoiled}, [leaked])] == [place]
    assert not search(run.places, [leaked])


SECRET = 'sk-canary/+"ü~0123456789=='
DISGUISES: dict[str, bytes] = {
    "as it is": SECRET.encode(),
    "its beginning": SECRET[:16].encode(),
    "its end": SECRET[-16:].encode(),
    "in JSON": json.dumps({"a": SECRET}).encode(),
    "in JSON, as it is": json.dumps({"a": SECRET}, ensure_ascii=False).encode(),
    "in JSON within JSON": json.dumps({"a": json.dumps({"b": SECRET})}).encode(),
    "in an address": f"/x?key={quote(SECRET, safe='')}".encode(),
    "in a form": urlencode({"key": SECRET}).encode(),
    "in base64": base64.b64encode(SECRET.encode()),
    "within base64, by one": base64.b64encode(b"x" + SECRET.encode() + b"more"),
    "within base64, by two": base64.urlsafe_b64encode(b"xx" + SECRET.encode() + b"m"),
    "in hex": SECRET.encode().hex().encode(),
    "in a repr": repr({"a": SECRET}).encode(),
    "in a repr of bytes": repr(SECRET.encode()).encode(),
    "in UTF-16": SECRET.encode("utf-16-le"),
}


@pytest.mark.parametrize("content", DISGUISES.values(), ids=DISGUISES.keys())
def test_the_search_knows_secrets_in_disguise(content: bytes) -> None:
    places = {"log": b"before " + content + b" after", "other": b"nothing", "home": content}
    assert [hit.place for hit in search(places, [Canary("secret", SECRET, ("home",))])] == ["log"]
