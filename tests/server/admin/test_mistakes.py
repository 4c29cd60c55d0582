"""Wrong requests: named by field, in our form of errors, and nothing of what was in them repeated."""

import pytest
from structlog.testing import capture_logs
from tests.relay.fakes import jwt

from .bench import Bench

CANARY = "canary-0123456789"
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"", "missing_required_parameter", None),
        (b"{", "invalid_json", None),
        (b"\xff\xfe\xff", "invalid_json", None),
        (b'{"session": "\xff"}', "invalid_json", None),
        (b"[" * 5000, "invalid_json", None),
        (f'{{"session": "{CANARY}'.encode(), "invalid_json", None),
        (f'"{CANARY}"'.encode(), "invalid_value", None),
        (f'["{CANARY}"]'.encode(), "invalid_value", None),
        (b"null", "invalid_value", None),
        (b"{}", "missing_required_parameter", "session"),
        (b'{"session": ""}', "invalid_value", "session"),
        (f'{{"session": ["{CANARY}"]}}'.encode(), "invalid_value", "session"),
        (f'{{"session": {{"{CANARY}": 1}}}}'.encode(), "invalid_value", "session"),
        (f'{{"session": "{CANARY}", "x": 1}}'.encode(), "unknown_parameter", "x"),
        (f'{{"session": "x", "x": "{CANARY}"}}'.encode(), "unknown_parameter", "x"),
        (f'{{"session": "x", "name": {{"a": "{CANARY}"}}}}'.encode(), "invalid_value", "name"),
        (rb'{"session": "x", "name": "\ud800"}', "invalid_value", "name"),
        (b'{"session": "x", "name": NaN}', "invalid_value", "name"),
        (f'{{"session": "{CANARY} is no session"}}'.encode(), "invalid_value", "session"),
    ],
)
async def test_a_wrong_body_is_named_and_not_repeated(bench: Bench, body: bytes, code: str, param: str | None) -> None:
    before = bench.state()
    with capture_logs() as logged:
        reply = await bench.call("POST", "accounts", content=body, headers=JSON)
    error = reply.json()["error"]
    assert reply.status_code == 400
    assert set(reply.json()) == {"error"}
    assert (error["type"], error["code"]) == ("invalid_request_error", code), error
    assert error["param"] == param
    assert CANARY not in reply.text + repr(reply.headers) + repr(logged)
    assert bench.state() == before


async def test_all_unknown_fields_are_named(bench: Bench) -> None:
    body = {"name": "x", "api_base": "http://127.0.0.1", "is_admin": True}
    error = (await bench.call("POST", "keys", body)).json()["error"]
    assert error["message"] == "Unknown: `api_base`, `is_admin`."


async def test_a_body_of_another_type_is_refused_unread(bench: Bench) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        reply = await bench.call("POST", "keys", content=b'{"name": "x"}', headers={"content-type": kind})
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "unsupported_content_type")


async def test_a_packed_body_is_refused(bench: Bench) -> None:
    reply = await bench.call("POST", "keys", content=b"\x1f\x8b", headers={**JSON, "content-encoding": "gzip"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "unsupported_encoding")


async def test_a_body_that_hides_its_length_is_counted(bench: Bench) -> None:
    read = 0

    async def receive() -> dict[str, object]:
        nonlocal read
        read += 1
        assert read <= 5, "it reads on after the bound"
        return {"type": "http.request", "body": b" " * 16_384, "more_body": True}

    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    path = "/api/admin/keys"
    await bench.app(
        {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [
                (b"host", b"127.0.0.1"),
                (b"content-type", b"application/json"),
                (b"authorization", f"Bearer {bench.text['admin']}".encode()),
            ],
            "client": ("127.0.0.1", 50000),
        },
        receive,
        send,  # type: ignore[arg-type] # a narrower message
    )
    assert sent[0]["status"] == 413


async def test_a_mistake_of_ours_is_told_without_its_details(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("details")

    monkeypatch.setattr(bench.management, "accounts", broken)
    with capture_logs() as logged:
        reply = await bench.call("GET", "accounts")
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal_error")
    assert "details" not in reply.text
    assert reply.headers["cache-control"] == "no-store"
    assert [line["event"] for line in logged] == ["bug"]


async def test_changes_are_logged_with_who_made_them_and_without_what_was_sent(bench: Bench) -> None:
    session = f"token={jwt(id='u', hidden=CANARY)}; cna={CANARY}"
    with capture_logs() as logged:
        replies = [
            await bench.call("POST", "accounts", {"session": session}),
            await bench.call("POST", "keys", {"name": "new"}),
            await bench.call("POST", "keys/new/rotate"),
            await bench.call("GET", "accounts"),
            await bench.call("DELETE", "accounts/nobody"),
        ]
    lines = [(line["route"], line["by"], line["status"]) for line in logged if line["event"] == "managed"]
    admin = bench.id("admin")
    assert lines == [
        ("POST /api/admin/accounts", admin, 201),
        ("POST /api/admin/keys", admin, 201),
        ("POST /api/admin/keys/{key}/rotate", admin, 200),
        ("DELETE /api/admin/accounts/{name}", admin, 404),
    ]
    told = repr(logged)
    for secret in (CANARY, session, replies[1].json()["text"], replies[2].json()["text"], bench.text["admin"]):
        assert secret not in told


async def test_no_answer_holds_a_session(bench: Bench) -> None:
    session = f"token={jwt(id='u', hidden=CANARY)}; cna={CANARY}"
    secrets = [CANARY, jwt(id="u", hidden=CANARY), "Bearer", "digest"]
    replies = [await bench.call("POST", "accounts", {"session": session, "name": "main"})]
    bench.site.set = {"personalization": {"name": CANARY, "enable_for_new_chat": True}}
    for method, path in (
        ("GET", "accounts"),
        ("GET", "accounts/main"),
        ("POST", "accounts/main/check"),
        ("POST", "accounts/main/pause"),
        ("POST", "accounts/main/resume"),
        ("GET", "accounts/main/settings"),
        ("POST", "accounts/main/settings/restore"),
        ("GET", "keys"),
        ("GET", "usage"),
        ("GET", "status"),
        ("DELETE", "accounts/main"),
    ):
        bench.clock.now += 5  # the site is asked that often at most
        replies.append(await bench.call(method, path))
    assert [reply.status_code for reply in replies if reply.status_code >= 400] == [404]  # nothing to restore
    for reply in replies:
        for secret in secrets:
            assert secret not in reply.text + repr(reply.headers.items()), reply.url
