"""Routes of files over real sockets: with OpenAI's own library, and as the earlier bridge's users call them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from msgspec import structs
from openai import AsyncOpenAI
from tests.relay.fakes import NOON, SWITCH, Reply, until
from tests.relay.kept_fakes import PDF, PNG
from tests.server.admin.bench import STATIC, Bench
from tests.server.online import online

from qwen_gateway.relay import file_pieces
from qwen_gateway.relay.key_changes import Terms
from qwen_gateway.turn.catalog import Catalog
from qwen_gateway.turn.faults import Fault, LoginExpired, StorageUnavailable, Throttled

SEES = structs.replace(SWITCH, id="q-sees-plus", capabilities=("document", "video", "vision"))
BOUNDARY = "x" * 20


class Line:
    """url: the gateway's, without `/v1`. http: with the client's key."""

    def __init__(self, bench: Bench, url: str, http: httpx2.AsyncClient) -> None:
        self.bench, self.url, self.http = bench, url, http

    def openai(self, key: str = "") -> AsyncOpenAI:
        key = key or self.bench.text["client"]
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, http_client=self.http)

    async def key(self, **terms: Any) -> str:
        return (await self.bench.changes.create(Terms(role="client", **terms)))[0]


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    bench = Bench(prefix="/qwen")
    bench.catalog = Catalog((SEES, SWITCH))
    await bench.open()
    headers = {"authorization": f"Bearer {bench.text['client']}"}
    async with online(bench) as url, httpx2.AsyncClient(base_url=url, headers=headers, timeout=20) as http:
        yield Line(bench, url, http)
    assert bench.room.under_way == 0, "a file on its way was never given back"
    assert bench.service.in_flight == 0
    assert all(content.closed for content in bench.files.given)


def refusal(response: httpx2.Response) -> tuple[int, str | None, str]:
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert response.headers["x-gateway-fault"]
    return response.status_code, error["param"], error["code"]


# --- OpenAI's library ---


async def test_a_file_is_kept_found_read_and_deleted(line: Line) -> None:
    files = line.openai().files
    made = await files.create(file=("cat.png", PNG), purpose="vision")
    assert (made.id.startswith("file-"), made.bytes, made.filename, made.purpose) == (
        True,
        len(PNG),
        "cat.png",
        "vision",
    )
    assert (made.created_at, made.expires_at, made.status) == (int(NOON), int(NOON) + 1_000_000, "processed")
    assert await files.retrieve(made.id) == made
    assert await files.wait_for_processing(made.id) == made
    assert (await files.content(made.id)).content == PNG
    assert [one.id async for one in files.list()] == [made.id]
    gone = await files.delete(made.id)
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "file")
    with pytest.raises(openai.NotFoundError) as caught:
        await files.retrieve(made.id)
    assert (caught.value.code, caught.value.param) == ("file_not_found", "file_id")
    assert line.bench.net.log == [], "nothing of it went to the site"


async def test_a_file_can_be_kept_for_a_while(line: Line) -> None:
    expires: Any = {"anchor": "created_at", "seconds": 3600}
    made = await line.openai().files.create(file=("a.pdf", PDF), purpose="user_data", expires_after=expires)
    assert made.expires_at == int(NOON) + 3600
    line.bench.clock.now += 3600
    with pytest.raises(openai.NotFoundError):
        await line.openai().files.content(made.id)


async def test_a_file_of_the_disk_keeps_its_name(line: Line, tmp_path: Path) -> None:
    path = tmp_path / "报告 “a”.pdf"
    path.write_bytes(PDF)
    made = await line.openai().files.create(file=path, purpose="assistants")
    assert made.filename == "报告 “a”.pdf"


async def test_all_pages_of_a_list_are_walked(line: Line) -> None:
    files, ids = line.openai().files, []
    for number in range(5):
        line.bench.clock.now += 1
        ids.append((await files.create(file=(f"{number}.png", PNG), purpose="vision")).id)
    assert [one.id async for one in files.list(limit=2)] == ids[::-1]
    assert [one.id async for one in files.list(limit=2, order="asc")] == ids
    assert [one.id async for one in files.list(purpose="batch")] == []
    with pytest.raises(openai.BadRequestError) as caught:
        await files.list(limit=0)
    assert caught.value.param == "limit"


async def test_a_file_that_comes_in_parts_is_one_file(line: Line) -> None:
    uploads = line.openai().uploads
    digest = hashlib.md5(PDF, usedforsecurity=False).hexdigest()
    begun = await uploads.create(filename="a.pdf", bytes=len(PDF), mime_type="application/pdf", purpose="assistants")
    assert (begun.status, begun.bytes, begun.file) == ("pending", len(PDF), None)
    assert begun.expires_at == int(NOON) + 3600
    last = await uploads.parts.create(begun.id, data=PDF[9:])
    first = await uploads.parts.create(begun.id, data=PDF[:9])
    assert (first.upload_id, first.object) == (begun.id, "upload.part")
    whole = await uploads.complete(begun.id, part_ids=[first.id, last.id], md5=digest)
    assert whole.status == "completed"
    assert whole.file is not None
    assert (await line.openai().files.content(whole.file.id)).content == PDF
    assert (await uploads.complete(begun.id, part_ids=[first.id, last.id])) == whole


async def test_openais_library_cuts_a_file_into_parts_by_itself(line: Line, tmp_path: Path) -> None:
    data = (b"A line of text.\n" * 2000)[:20_000]
    path = tmp_path / "notes.txt"
    path.write_bytes(data)
    whole = await line.openai().uploads.upload_file_chunked(
        file=path, mime_type="text/plain", purpose="assistants", part_size=7_000
    )
    assert whole.file is not None
    assert (whole.file.bytes, whole.file.filename) == (20_000, "notes.txt")
    assert (await line.openai().files.content(whole.file.id)).content == data


async def test_an_upload_is_cancelled(line: Line) -> None:
    uploads = line.openai().uploads
    begun = await uploads.create(filename="a.pdf", bytes=9, mime_type="application/pdf", purpose="assistants")
    assert (await uploads.cancel(begun.id)).status == "cancelled"
    with pytest.raises(openai.BadRequestError) as caught:
        await uploads.parts.create(begun.id, data=b"x")
    assert caught.value.code == "upload_cancelled"
    with pytest.raises(openai.NotFoundError) as missed:
        await uploads.cancel("upload_0")
    assert missed.value.code == "upload_not_found"


async def test_parts_that_are_not_what_was_announced_are_refused(line: Line) -> None:
    uploads = line.openai().uploads
    begun = await uploads.create(filename="a.pdf", bytes=len(PDF), mime_type="application/pdf", purpose="assistants")
    with pytest.raises(openai.BadRequestError) as caught:
        await uploads.parts.create(begun.id, data=PDF + b"x")
    assert (caught.value.param, caught.value.code) == ("data", "wrong_upload_size")
    part = await uploads.parts.create(begun.id, data=PDF)
    with pytest.raises(openai.BadRequestError) as caught:
        await uploads.complete(begun.id, part_ids=[part.id], md5="0" * 32)
    assert (caught.value.param, caught.value.code) == ("md5", "wrong_checksum")


# --- who may ---


async def test_each_key_has_files_of_its_own(line: Line) -> None:
    mine = await line.openai().files.create(file=("a.png", PNG), purpose="vision")
    other = line.openai(STATIC)
    assert [one.id async for one in other.files.list()] == []
    for call in (other.files.retrieve, other.files.content, other.files.delete):
        with pytest.raises(openai.NotFoundError):
            await call(mine.id)
    begun = await line.openai().uploads.create(filename="a", bytes=9, mime_type="", purpose="vision")
    with pytest.raises(openai.NotFoundError):
        await other.uploads.parts.create(begun.id, data=b"x")
    with pytest.raises(openai.NotFoundError):
        await other.uploads.cancel(begun.id)


ROUTES = [
    ("POST", "/v1/files"),
    ("GET", "/v1/files"),
    ("GET", "/v1/files/file-0"),
    ("DELETE", "/v1/files/file-0"),
    ("GET", "/v1/files/file-0/content"),
    ("POST", "/v1/uploads"),
    ("POST", "/v1/uploads/upload_0/parts"),
    ("POST", "/v1/uploads/upload_0/complete"),
    ("POST", "/v1/uploads/upload_0/cancel"),
    ("POST", "/v1/files/upload"),
    ("POST", "/v2/files/getstsToken"),
]
OF_ALL_ROUTES = pytest.mark.parametrize(("method", "path"), ROUTES)


@OF_ALL_ROUTES
async def test_nobody_gets_in_without_a_key(line: Line, method: str, path: str) -> None:
    response = await line.http.request(method, path, headers={"authorization": ""})
    assert refusal(response) == (401, None, "missing_api_key")
    response = await line.http.request(method, path, headers={"authorization": "Bearer sk-wrong"})
    assert refusal(response) == (401, None, "invalid_api_key")


@OF_ALL_ROUTES
async def test_a_key_can_be_kept_from_files(line: Line, method: str, path: str) -> None:
    chats = await line.key(name="chats", endpoints=("openai_chat",))
    response = await line.http.request(method, path, headers={"authorization": f"Bearer {chats}"})
    assert refusal(response) == (403, None, "endpoint_not_allowed")


@OF_ALL_ROUTES
async def test_another_host_is_not_ours(line: Line, method: str, path: str) -> None:
    response = await line.http.request(method, path, headers={"host": "evil.example"})
    assert response.status_code in (403, 421)


@OF_ALL_ROUTES
async def test_nothing_new_is_taken_while_the_gateway_stops(line: Line, method: str, path: str) -> None:
    line.bench.service.draining = True
    assert refusal(await line.http.request(method, path)) == (503, None, "draining")


async def test_they_count_among_the_keys_requests(line: Line) -> None:
    few = {"authorization": f"Bearer {await line.key(name='few', requests_per_minute=2)}"}
    for left in ("1", "0"):
        response = await line.http.get("/v1/files", headers=few)
        assert (response.status_code, response.headers["x-ratelimit-remaining-requests"]) == (200, left)
    response = await line.http.get("/v1/files", headers=few)
    assert refusal(response) == (429, None, "rate_limit_exceeded")
    assert response.headers["retry-after"]


@pytest.mark.parametrize("path", ["/files", "/v1/files/", "//v1//files", "/qwen/v1/files", "/qwen/files"])
async def test_the_address_is_written_in_many_ways(line: Line, path: str) -> None:
    made = (await line.http.post(path, files={"file": ("a.png", PNG)})).json()
    assert (await line.http.get(path)).json()["data"] == [made]
    assert (await line.http.get(f"{path}/{made['id']}/content")).content == PNG


async def test_each_answer_has_an_id_that_the_log_has_too(line: Line) -> None:
    seen: list[str] = []
    line.bench.service._observe = lambda record: seen.append(record.request_id)
    for path in ("/v1/files", "/v1/files/file-0"):
        response = await line.http.get(path)
        assert seen.pop() == response.headers["x-request-id"]
        assert response.headers.get_list("x-request-id") == [response.headers["x-request-id"]]


# --- what is sent ---


@pytest.mark.parametrize("field", ["file", "data"])
async def test_a_form_without_its_file_is_refused_by_the_field(line: Line, field: str) -> None:
    path = "/v1/files" if field == "file" else "/v1/uploads/upload_0/parts"
    response = await line.http.post(path, files={"other": ("a.png", PNG)})
    assert refusal(response) == (400, field, "missing_required_parameter")
    response = await line.http.post(path, files=[(field, ("a.png", PNG)), (field, ("b.png", PNG))])
    assert refusal(response) == (400, field, "too_many_files")


async def test_a_body_that_is_no_form_is_refused(line: Line) -> None:
    assert refusal(await line.http.post("/v1/files", json={"file": "x"})) == (400, None, "invalid_form")
    response = await line.http.post("/v1/uploads", content=b"[]")
    assert refusal(response) == (400, None, "invalid_value")
    response = await line.http.post("/v1/uploads", content=b"{" * 100)
    assert refusal(response) == (400, None, "invalid_json")


async def test_a_file_that_is_none_is_refused_and_forgotten(line: Line) -> None:
    response = await line.http.post("/v1/files", files={"file": ("a.png", b"MZ\x90\0" + bytes(99), "image/png")})
    assert refusal(response) == (400, "file", "unsupported_file")
    response = await line.http.post("/v1/files", files={"file": ("a.png", PNG + bytes(50_000))})
    assert refusal(response) == (413, "file", "file_too_large")
    assert not line.bench.files.files


@pytest.mark.parametrize(
    ("path", "field"), [("/v1/files", "file"), ("/v1/files/upload", "file"), ("/v1/uploads/upload_1/parts", "data")]
)
async def test_what_is_larger_than_any_file_is_refused_by_its_length(line: Line, path: str, field: str) -> None:
    response = await line.http.post(path, files={"other": ("a.mp4", bytes(80_000 + 2**20 + 1))})
    assert refusal(response) == (413, field, "file_too_large")


async def test_there_is_room_for_so_much(line: Line) -> None:
    data = PNG + bytes(49_000)
    ways = [(await line.http.post("/v1/files", files={"file": ("a.png", data)})).status_code for _ in range(5)]
    assert ways == [200, 200, 200, 200, 413]


async def test_a_part_is_of_so_many_bytes(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_pieces, "LARGEST", 9)
    begun = await line.openai().uploads.create(filename="a.pdf", bytes=20, mime_type="", purpose="vision")
    response = await line.http.post(f"/v1/uploads/{begun.id}/parts", files={"data": bytes(10)})
    assert refusal(response) == (413, "data", "file_too_large")


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(line: Line) -> None:
    body = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'.encode() + PNG
    host, port = line.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {line.bench.text['client']}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(body) + 1000}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await until(lambda: line.bench.room.under_way == 1)
    writer.close()
    await until(lambda: line.bench.room.under_way == 0 and line.bench.service.in_flight == 0)
    assert not line.bench.files.files


# --- what is given out ---


async def test_bytes_are_given_out_as_a_file_and_never_as_a_page(line: Line) -> None:
    made = (await line.http.post("/v1/files", files={"file": ('b"报.png', PNG)})).json()
    response = await line.http.get(f"/v1/files/{made['id']}/content")
    headers = response.headers
    assert headers["content-disposition"] == "attachment; filename=\"b__.png\"; filename*=UTF-8''b%22%E6%8A%A5.png"
    assert (headers["content-type"], headers["content-length"]) == ("image/png", str(len(PNG)))
    assert (headers["x-content-type-options"], headers["content-security-policy"]) == ("nosniff", "sandbox")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.html", b"<!doctype html><html><script>alert(1)</script></html>"),
        ("a.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'),
        ("a.xml", b'<?xml version="1.0"?><a/>'),
    ],
)
async def test_what_a_browser_would_run_is_given_out_without_its_type(line: Line, name: str, data: bytes) -> None:
    made = (await line.http.post("/v1/files", files={"file": (name, data)})).json()
    response = await line.http.get(f"/v1/files/{made['id']}/content")
    assert (response.content, response.headers["content-type"]) == (data, "application/octet-stream")


async def big(line: Line, size: int) -> str:
    """The id of a file that is larger than may be sent here."""
    made = await line.openai().files.create(file=("a.png", PNG), purpose="vision")
    line.bench.files.files[made.id] = structs.replace(line.bench.files.files[made.id], size=size)
    line.bench.files.data[made.id] = bytes(range(256)) * (size // 256)
    return made.id


async def test_a_large_file_is_given_out_in_pieces_and_whole(line: Line) -> None:
    size = 5 * 1024 * 1024
    got = (await line.http.get(f"/v1/files/{await big(line, size)}/content")).content
    assert hashlib.sha256(got).digest() == hashlib.sha256(bytes(range(256)) * (size // 256)).digest()


async def test_a_file_that_cannot_be_read_is_a_refusal(line: Line) -> None:
    made = await line.openai().files.create(file=("a.png", PNG), purpose="vision")
    del line.bench.files.data[made.id]
    assert refusal(await line.http.get(f"/v1/files/{made.id}/content")) == (404, None, "file_not_found")
    line.bench.files.data[made.id] = PNG


async def test_a_file_that_breaks_in_the_middle_does_not_look_whole(line: Line) -> None:
    file_id = await big(line, 1024 * 1024)
    line.bench.files.breaks = StorageUnavailable("What is on the disk is not what was written there.")
    with pytest.raises(httpx2.RemoteProtocolError):
        await line.http.get(f"/v1/files/{file_id}/content")
    await until(lambda: line.bench.service.in_flight == 0)


async def test_who_leaves_in_the_middle_of_a_file_is_read_no_more_for(line: Line) -> None:
    file_id = await big(line, 64 * 1024 * 1024)
    async with line.http.stream("GET", f"/v1/files/{file_id}/content") as response:
        await anext(response.aiter_raw())
    await until(lambda: line.bench.service.in_flight == 0)


# --- the earlier bridge ---


@pytest.mark.parametrize("before", ["", "/qwen"])
@pytest.mark.parametrize("path", ["/v1/files/upload", "/files/upload"])
async def test_an_upload_is_answered_with_an_address_of_ours(line: Line, before: str, path: str) -> None:
    made = (await line.http.post(before + path, files={"file": ("cat.png", PNG, "image/png")})).json()
    url = f"{line.url}{before}/v1/files/{made['id']}/content"
    assert made == {
        "id": made["id"],
        "object": "file",
        "bytes": len(PNG),
        "created_at": int(NOON),
        "filename": "cat.png",
        "purpose": "multimodal",
        "url": url,
        "status": "uploaded",
        "filetype": "image",
        "content_type": "image/png",
    }
    assert (await line.http.get(url)).content == PNG
    assert line.bench.net.log == [], "nothing of it went to the site"


async def test_its_file_is_a_file_like_others(line: Line) -> None:
    made = (await line.http.post("/v1/files/upload", files={"file": ("a.pdf", PDF)})).json()
    assert made["filetype"] == "file"
    assert [one.id async for one in line.openai().files.list(purpose="multimodal")] == [made["id"]]
    response = await line.http.post("/v1/files/upload", files={"file": ("a.png", b"")})
    assert refusal(response) == (400, "file", "unsupported_file")


WISH = {"filename": "a.jpg", "filesize": "4451", "filetype": "image"}


async def test_leave_to_upload_by_oneself_comes_from_an_account(line: Line) -> None:
    response = await line.http.post("/v2/files/getstsToken", json=WISH)
    told = response.json()
    assert (told["success"], told["request_id"]) == (True, response.headers["x-request-id"])
    assert response.headers["cache-control"] == "no-store"
    assert told["data"]["file_path"] == "user/file-1_a.jpg"
    assert told["data"]["access_key_secret"] == "key-secret"
    assert line.bench.net.log == ["ticket a.jpg"]
    assert line.bench.accounts.all()[0].busy == 0


async def test_a_ticket_that_the_site_refuses_is_a_refusal(line: Line) -> None:
    line.bench.site.says["ticket"].append(Throttled("Too many tickets.", retry_after=75))
    response = await line.http.post("/v2/files/getstsToken", json=WISH)
    assert refusal(response)[0] == 429
    assert line.bench.accounts.all()[0].busy == 0


async def test_a_wish_that_says_no_file_is_refused_before_an_account_is_asked(line: Line) -> None:
    response = await line.http.post("/v2/files/getstsToken", json={"filename": "a", "filesize": 0})
    assert refusal(response) == (400, "filesize", "invalid_value")
    assert line.bench.net.log == []


# --- chats with files ---


def says(*lines: str) -> Reply:
    return Reply(b"began\n", *(f"{one}\n".encode() for one in lines), b"usage:11,3\nend\n")


async def ask(line: Line, path: str, *replies: Reply | Fault, **sent: Any) -> httpx2.Response:
    line.bench.net.replies.extend(replies)
    return await line.http.post(path, **sent)


IMAGE, VIDEO, MULTIMODAL = "/v1/image/upload_and_chat", "/v1/video/upload_and_chat", "/v1/chat/multimodal"
MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(100)


async def test_a_picture_and_a_question_in_one_form_are_answered(line: Line) -> None:
    response = await ask(
        line,
        IMAGE,
        says("text:A cat."),
        data={"prompt": "What is it?", "model": "q-sees-plus", "stream": "false", "surprise": "x"},
        files={"image": ("C:\\Users\\me\\cat.png", PNG, "image/png")},
    )
    assert response.json()["choices"][0]["message"]["content"] == "A cat."
    assert response.headers["x-gateway-ignored"] == "surprise"
    assert list(line.bench.objects.objects.values()) == [PNG]
    ((file,),) = line.bench.site.attached
    assert b"cat.png" in file.entry
    assert b"Users" not in file.entry


async def test_a_video_is_answered_in_a_stream(line: Line) -> None:
    response = await ask(
        line,
        VIDEO,
        says("text:A feast."),
        data={"prompt": "What happens?", "model": "q-sees-plus"},
        files={"video": ("a.mp4", MP4, "video/mp4")},
    )
    assert response.headers["content-type"].startswith("text/event-stream")
    assert '"A feast."' in response.text
    assert "data: [DONE]" in response.text
    assert list(line.bench.objects.objects.values()) == [MP4]


@pytest.mark.parametrize("path", ["/image/upload_and_chat", "/qwen/v1/image/upload_and_chat"])
async def test_forms_go_by_all_addresses(line: Line, path: str) -> None:
    fields = {"prompt": "?", "model": "q-sees-plus"}
    response = await ask(line, path, says("text:Yes."), data=fields, files={"image": ("a.png", PNG)})
    assert response.json()["choices"][0]["message"]["content"] == "Yes."


async def test_the_two_steps_of_the_earlier_bridge_still_go(line: Line) -> None:
    made = (await line.http.post("/v1/files/upload", files={"file": ("a.pdf", PDF)})).json()
    info = {"id": made["id"], "url": made["url"], "name": "a.pdf", "size": 1, "type": "file"}
    for part in (
        {"type": "image_url", "image_url": {"url": made["url"]}},
        {"type": "image_url", "image_url": {"url": "https://elsewhere.example/gone"}, "file_info": info},
    ):
        messages = [{"role": "user", "content": [{"type": "text", "text": "Sum it up."}, part]}]
        response = await ask(line, MULTIMODAL, says("text:Done."), json={"model": "q-sees-plus", "messages": messages})
        assert response.json()["choices"][0]["message"]["content"] == "Done."
        assert b"a.pdf" in line.bench.site.attached[-1][0].entry
    assert list(line.bench.objects.objects.values()) == [PDF]


async def test_a_file_of_another_key_cannot_be_asked_about(line: Line) -> None:
    made = (await line.http.post("/v1/files/upload", files={"file": ("a.pdf", PDF)})).json()
    part = {"type": "image_url", "file_info": {"id": made["id"]}}
    body = {"model": "q-sees-plus", "messages": [{"role": "user", "content": [part]}]}
    response = await line.http.post(MULTIMODAL, json=body, headers={"authorization": f"Bearer {STATIC}"})
    assert refusal(response) == (400, "messages[0].content[0].file_info.id", "file_not_found")


@pytest.mark.parametrize(
    ("fields", "files", "why"),
    [
        ({"prompt": "?"}, {}, (400, "image", "missing_required_parameter")),
        ({}, {"image": ("a.png", PNG)}, (400, "prompt", "missing_required_parameter")),
        ({"prompt": "?"}, {"image": ("a.png", PDF)}, (400, "image", "unsupported_file")),
        ({"prompt": "?", "model": "q-switch"}, {"image": ("a.png", PNG)}, (400, "image", "unsupported_content")),
        ({"prompt": "?", "stream": "perhaps"}, {"image": ("a.png", PNG)}, (400, "stream", "invalid_value")),
    ],
)
async def test_a_form_that_cannot_be_asked_is_refused_before_anything_is(
    line: Line, fields: dict[str, str], files: dict[str, Any], why: tuple[int, str, str]
) -> None:
    sent = files or {"other": ("a.png", PNG)}
    assert refusal(await line.http.post(IMAGE, data={"model": "q-sees-plus", **fields}, files=sent)) == why
    assert line.bench.net.log == []


async def test_what_came_with_a_turn_is_given_back_when_the_site_fails(line: Line) -> None:
    fields = {"prompt": "?", "model": "q-sees-plus"}
    line.bench.objects.says.append(LoginExpired("Your session has ended."))
    response = await line.http.post(IMAGE, data=fields, files={"image": ("a.png", PNG)})
    assert response.status_code >= 500
    assert line.bench.room.under_way == 0


async def test_who_leaves_in_the_middle_of_an_answer_leaves_no_file_behind(line: Line) -> None:
    line.bench.net.replies.append(Reply(b"began\n", b"text:Well\n", 60.0))
    fields = {"prompt": "?", "model": "q-sees-plus", "stream": "true"}
    async with line.http.stream("POST", IMAGE, data=fields, files={"image": ("a.png", PNG)}) as response:
        await anext(response.aiter_raw())
        assert line.bench.room.under_way == 1
    await until(lambda: line.bench.room.under_way == 0 and line.bench.service.in_flight == 0)


async def test_a_large_body_is_read_beside_the_loop(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen_gateway.server.endpoint.LARGE", 100)
    text = "word " * 100
    body = {"model": "q-sees-plus", "messages": [{"role": "user", "content": text}]}
    response = await ask(line, "/v1/chat/completions", says("text:Long."), json=body)
    assert response.json()["choices"][0]["message"]["content"] == "Long."
    bad = await line.http.post("/v1/chat/completions", json={**body, "stream": text})
    assert refusal(bad) == (400, "stream", "invalid_value")


# --- the documentation ---


async def test_all_routes_are_documented_with_what_they_take(line: Line) -> None:
    document = (await line.http.get("/openapi.json")).json()
    for method, path in ROUTES:
        told = document["paths"][path.replace("file-0", "{id}").replace("upload_0", "{id}")][method.lower()]
        assert told["summary"]
        assert told["security"]
    for path, field in (("/v1/files", "file"), (IMAGE, "image"), (VIDEO, "video"), ("/v1/files/upload", "file")):
        form = document["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert form["properties"][field]["format"] == "binary"
        assert field in form["required"]
    assert MULTIMODAL in document["paths"]
