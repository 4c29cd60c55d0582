"""The HTTP face: paths, methods, origins, bodies, pages."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from . import wire
from .rig import KEY, QUICK, Rig, running, until
from .wire import Answer, Json, ask, request_bytes

CHAT = "/v1/chat/completions"
PAGE = "https://chat.example.com"


@pytest.mark.parametrize(
    "path", ["/v1/models", "/models", "//v1///models/", "/v1/models/", "/models/qwen3.7-plus", "/v1/models/gpt-4o"]
)
async def test_models_go_with_and_without_version_and_slashes(rig: Rig, path: str) -> None:
    assert (await rig.get(path)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", CHAT, 405),
        ("PUT", CHAT, 405),
        ("DELETE", CHAT, 405),
        ("POST", "/v1/models", 405),
        ("POST", "/health", 405),
        ("GET", "/nowhere", 404),
        ("POST", "/v1/responses", 404),
        ("POST", "/v1/embeddings", 404),
        ("POST", "/v1/messages", 404),
        ("GET", "/v1/", 200),
        ("GET", "/static/nothing.js", 404),
        ("GET", "/static/../app.py", 404),
        ("GET", "/static/%2e%2e/app.py", 404),
    ],
)
async def test_a_wrong_path_or_method_is_told_in_openais_form(rig: Rig, method: str, path: str, status: int) -> None:
    request = request_bytes(path, b"{}" if method != "GET" else None, key=KEY, method=method)
    answer = await wire.exchange(rig.url, request)
    assert answer.status == status
    if status != 200:
        assert answer.error()["code"] == {404: "not_found", 405: "method_not_allowed"}[status]
        assert answer.headers["x-gateway-fault"] == "client"
    assert answer.headers["x-request-id"].startswith("req_")


async def test_every_response_has_a_request_id_of_its_own(rig: Rig) -> None:
    pages = [
        "/",
        "/health",
        "/livez",
        "/readyz",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/v1/models",
        "/none",
        "/static/swagger-ui/swagger-ui.css",
    ]
    answers = [await rig.get(page) for page in pages]
    answers += [await rig.post(body) for body in (ask(), ask(stream=True), b"{", ask() | {"model": "none"})]
    answers.append(await rig.post(ask(), key="wrong"))
    answers.append(await wire.exchange(rig.url, request_bytes(CHAT, method="OPTIONS")))
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert all(re.fullmatch("req_[0-9a-f]{32}", one) for one in ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "path", ["/", "/health", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/v1/models"]
)
async def test_head_is_get_without_a_body(rig: Rig, path: str) -> None:
    async with wire.connection(rig.url) as (reader, writer):
        writer.write(request_bytes(path, key=KEY, method="HEAD"))
        answer = await wire.read_answer(reader, method="HEAD")
        assert answer.status == 200
        assert await reader.read() == b""


@pytest.mark.parametrize("path", ["/", CHAT, "/chat/completions", "/v1/models", "/nowhere"])
async def test_options_is_answered_everywhere(rig: Rig, path: str) -> None:
    answer = await wire.exchange(rig.url, request_bytes(path, method="OPTIONS"))
    assert answer.status == 204
    assert "POST" in answer.headers["allow"]


async def test_a_prefix_goes_and_may_be_left_out(tmp_path: Path) -> None:
    async with running(tmp_path, **QUICK, api_prefix="/qwen/api") as rig:
        assert rig.base_url.endswith("/qwen/api/v1")
        for path in (f"/qwen/api{CHAT}", "/qwen/api/chat/completions", "//qwen/api//v1/chat/completions/", CHAT):
            assert (await rig.post(ask(), path=path)).status == 200
        for path in ("/qwen/api", "/qwen/api/health", "/qwen/api/docs", "/qwen/api/v1/models/gpt-4o"):
            assert (await rig.get(path)).status == 200
        for path in ("/qwen/apis/health", "/qwen/health"):
            assert (await rig.get(path)).status == 404


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path, **QUICK, allowed_origins=(PAGE,), allowed_hosts=("gateway.lan",)) as found:
        yield found


def _preflight(origin: str, path: str = CHAT) -> bytes:
    headers = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-arch,dangerously-allow-browser",
        "Origin": origin,
    }
    return request_bytes(path, None, method="OPTIONS", **headers)


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/chat/completions"])
async def test_a_page_that_is_allowed_may_send_what_headers_it_wants(shared: Rig, path: str) -> None:
    answer = await wire.exchange(shared.url, _preflight(PAGE, path))
    assert answer.status in (200, 204)
    assert answer.headers["access-control-allow-origin"] == PAGE
    allowed = answer.headers["access-control-allow-headers"].lower()
    for name in ("authorization", "content-type", "x-stainless-arch", "dangerously-allow-browser"):
        assert name in allowed
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["x-request-id"]


async def test_an_answer_to_an_allowed_page_can_be_read_there(shared: Rig) -> None:
    for body in (ask(), ask(stream=True), b"{"):
        answer = await shared.post(body, Origin=PAGE)
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "x-request-id" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://chat.example.com.evil.example", f"{PAGE}:8443"]
)
async def test_other_pages_are_refused(shared: Rig, origin: str) -> None:
    preflight = await wire.exchange(shared.url, _preflight(origin))
    assert preflight.headers.get("access-control-allow-origin") != origin
    assert preflight.status >= 400
    for answer in (await shared.post(ask(), Origin=origin), await shared.get("/v1/models", Origin=origin)):
        assert (answer.status, answer.error()["code"]) == (403, "origin_not_allowed")
        assert answer.headers.get("access-control-allow-origin") is None
    assert not shared.sim.site.seen


async def test_without_allowed_pages_no_preflight_succeeds(rig: Rig) -> None:
    answer = await wire.exchange(rig.url, _preflight(PAGE))
    assert answer.status >= 400
    assert "access-control-allow-origin" not in answer.headers
    assert (await rig.post(ask(), Origin=PAGE)).status == 403


async def test_the_gateways_own_pages_may_call_it(rig: Rig) -> None:
    host = rig.url.removeprefix("http://")
    assert (await rig.post(ask(), Origin=rig.url, Host=host)).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "10.0.0.1"])
async def test_a_foreign_name_for_this_machine_is_refused(rig: Rig, host: str) -> None:
    for answer in (
        await rig.post(ask(), Host=host),
        await rig.get("/health", Host=host),
        await rig.get("/", Host=host),
    ):
        assert (answer.status, answer.error()["code"]) == (403, "host_not_allowed")
    assert not rig.sim.site.seen


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "127.1.2.3:80", "[::1]:8000"])
async def test_this_machines_own_names_are_good(rig: Rig, host: str) -> None:
    assert (await rig.get("/livez", Host=host)).status == 200


async def test_a_further_name_can_be_allowed(shared: Rig) -> None:
    assert (await shared.get("/livez", Host="Gateway.LAN:8000")).status == 200


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path, **QUICK, max_body_bytes=2048) as found:
        yield found


async def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent(small: Rig) -> None:
    async with wire.connection(small.url) as (reader, writer):
        head = (
            f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 999999999\r\n"
        )
        writer.write(f"{head}\r\n".encode())
        answer = await asyncio.wait_for(wire.read_answer(reader), 3)
    _is_too_large(answer)


async def test_a_body_without_a_length_is_counted_while_it_comes(small: Rig) -> None:
    async with wire.connection(small.url) as (reader, writer):
        head = (
            f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n"
        )
        writer.write(f"{head}\r\n".encode() + b"400\r\n" + b" " * 1024 + b"\r\n")
        writer.write((b"400\r\n" + b" " * 1024 + b"\r\n") * 4)
        answer = await asyncio.wait_for(wire.read_answer(reader), 3)
    _is_too_large(answer)


def _is_too_large(answer: Answer) -> None:
    assert (answer.status, answer.error()["code"]) == (413, "request_too_large")
    assert "2,048" in answer.error()["message"]


async def test_a_body_in_pieces_is_read_as_one(rig: Rig) -> None:
    body = json.dumps(ask()).encode()
    async with wire.connection(rig.url) as (reader, writer):
        head = (
            f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n"
        )
        writer.write(f"{head}\r\n".encode())
        for byte in body:
            writer.write(b"1\r\n" + bytes([byte]) + b"\r\n")
        writer.write(b"0\r\n\r\n")
        assert (await wire.read_answer(reader)).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
async def test_an_encoded_body_is_refused(rig: Rig, encoding: str) -> None:
    answer = await rig.post(b"\x1f\x8b", Content_Encoding=encoding)
    assert (answer.status, answer.error()["code"]) == (400, "unsupported_encoding")
    assert (await rig.post(ask(), Content_Encoding="identity")).status == 200


async def test_a_client_that_leaves_within_its_request_does_no_harm(rig: Rig) -> None:
    async with wire.connection(rig.url) as (_, writer):
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 500\r\n"
        writer.write(f"{head}\r\n".encode() + b"{")
        await until(lambda: rig.service.in_flight == 1)
    await until(lambda: rig.service.in_flight == 0)
    assert (await rig.post(ask())).status == 200


@pytest.mark.parametrize(
    "text", ["GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\x00", "POST\r\n\r\n", "GET /" + "a" * 70_000 + " HTTP/1.1\r\n"]
)
async def test_what_is_no_http_does_no_harm(rig: Rig, text: str) -> None:
    async with wire.connection(rig.url) as (reader, writer):
        writer.write(text.encode("latin-1"))
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 5)
    assert (await rig.get("/livez")).status == 200


async def test_more_requests_than_allowed_are_told_to_come_back(tmp_path: Path) -> None:
    async with running(tmp_path, **QUICK, max_in_flight=4) as rig:
        await rig.program({"text": "a b c d", "delay_ms": 100, "sticky": True})
        answers = await asyncio.gather(*(rig.post(ask(stream=n % 2 == 0)) for n in range(12)))
        assert sorted({answer.status for answer in answers}) == [200, 503]
        refused = [answer for answer in answers if answer.status == 503]
        assert len(refused) == 8
        for answer in refused:
            assert answer.error()["code"] == "overloaded"
            assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("1", "true")
        assert (await rig.get("/livez")).status == 200
        assert (await rig.post(ask())).status == 200


class _Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {"src"} if tag != "link" else {"href"}
        self.found += [value for name, value in attrs if name in wanted and value]


@pytest.mark.parametrize("prefix", ["", "/qwen"])
async def test_the_documentation_loads_nothing_from_elsewhere(tmp_path: Path, prefix: str) -> None:
    async with running(tmp_path, **QUICK, api_prefix=prefix) as rig:
        page = await rig.get(f"{prefix}/docs", key=None)
        text = page.body.decode()
        parser = _Addresses()
        parser.feed(text)
        assert len(parser.found) >= 3
        assert not re.search(r"(?:src|href)=[\"'](?:https?:)?//", text)
        assert "openapi.json" in text
        for address in [*parser.found, "openapi.json"]:
            assert not address.startswith("/"), "relative, so that a proxy may put a path before it"
            assert (await rig.get(f"{prefix}/{address}", key=None)).status == 200


async def test_the_description_of_the_api_is_one(rig: Rig) -> None:
    document = (await rig.get("/openapi.json", key=None)).json()
    assert document["openapi"].startswith("3.")
    chat = document["paths"][CHAT]["post"]
    assert {"application/json", "text/event-stream"} <= set(chat["responses"]["200"]["content"])
    assert {"/v1/models", "/v1/models/{name}", "/health", "/livez", "/readyz"} <= set(document["paths"])
    for name in _references(document):
        section, _, key = name.removeprefix("#/components/").partition("/")
        assert key in document["components"][section]


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for one in value.values() for found in _references(one)]
    return [found for one in value for found in _references(one)] if isinstance(value, list) else []


async def test_the_home_page_speaks_to_people_and_to_programs(rig: Rig) -> None:
    told = (await rig.get("/")).json()
    assert told["base_url"] == "http://127.0.0.1/v1"
    page = (await rig.get("/", Accept="text/html")).body.decode()
    assert "Qwen Gateway" in page
    assert "https://chat.qwen.ai" in page


async def test_the_metrics_count_what_happened(rig: Rig) -> None:
    await rig.program({"text": "a b", "usage": {"input": 7, "output": 3}}, {"error": "content_filter"})
    await rig.post(ask(stream=True))
    await rig.post(ask())
    await rig.post(b"{")
    page = (await rig.get("/metrics", key=None)).body.decode()
    assert _sample(page, "qwen_gateway_requests_total", end="finished", stream="yes", model="qwen3.7-plus") == 1
    assert _sample(page, "qwen_gateway_requests_total", end="failed", code="content_filter") == 1
    assert _sample(page, "qwen_gateway_requests_total", end="refused", code="invalid_json") == 1
    assert _sample(page, "qwen_gateway_request_duration_seconds_count") == 3
    assert _sample(page, "qwen_gateway_first_event_seconds_count") == 1
    assert _sample(page, "qwen_gateway_upstream_tries_total") == 2
    assert _sample(page, "qwen_gateway_tokens_total", direction="input", model="qwen3.7-plus") >= 7
    assert _sample(page, "qwen_gateway_in_flight_requests") == 0
    assert _sample(page, "qwen_gateway_build_info") == 1


def _sample(page: str, name: str, **labels: str) -> float:
    rows = [row for row in page.splitlines() if re.match(rf"{name}[{{ ]", row)]
    for key, value in labels.items():
        rows = [row for row in rows if f'{key}="{value}"' in row]
    assert len(rows) == 1, rows
    return float(rows[0].rsplit(" ", 1)[1])


async def test_a_clients_words_are_never_a_label(rig: Rig) -> None:
    await rig.post(ask() | {"model": "canary-model"})
    assert "canary" not in (await rig.get("/metrics")).body.decode()


async def test_health_says_how_well_it_is(rig: Rig) -> None:
    health: Json = (await rig.get("/health", key=None)).json()
    assert (health["status"], health["in_flight"], health["chats_pending"]) == ("ok", 0, 0)
    assert health["accounts"][0]["key"] == rig.own.key
    assert health["accounts"][0]["renews_itself"] is True
    assert (await rig.get("/readyz", key=None)).status == 200
    rig.service.draining = True
    assert (await rig.get("/health", key=None)).json()["status"] == "draining"
    assert (await rig.get("/readyz", key=None)).status == 503
    assert (await rig.get("/livez", key=None)).status == 200
    answer = await rig.post(ask())
    assert (answer.status, answer.error()["code"], answer.headers["retry-after"]) == (503, "draining", "5")


async def test_beyond_this_machine_figures_and_documentation_want_a_key(tmp_path: Path) -> None:
    async with running(tmp_path, **QUICK, host="0.0.0.0") as rig:  # noqa: S104 - the point of the test
        local = rig.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        for path in ("/metrics", "/docs", "/openapi.json"):
            assert (await wire.exchange(local, request_bytes(path))).status == 401
            assert (await wire.exchange(local, request_bytes(path, key=KEY))).status == 200
        for path in ("/livez", "/readyz"):
            assert (await wire.exchange(local, request_bytes(path, Host="any.example"))).status == 200


async def test_a_mistake_of_ours_is_a_500_and_the_next_request_works(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(rig.service.turns, "begin_all", lambda *_: 1 / 0)
        answer = await rig.post(ask("canary"))
    assert (answer.status, answer.error()["code"]) == (500, "internal_error")
    assert "division" not in answer.body.decode()
    assert "ZeroDivisionError" in capsys.readouterr().out
    assert (await rig.post(ask())).status == 200
