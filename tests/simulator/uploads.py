"""Uploading as a client does it: tickets over HTTP, bytes with Alibaba's own SDK, what a question says of a file."""

import asyncio
import struct
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import alibabacloud_oss_v2 as oss  # type: ignore[import-untyped]
import pytest
from alibabacloud_oss_v2.transport import RequestsHttpClient  # type: ignore[import-untyped]

from qwen_gateway.simulator.objects import Call, Upload
from qwen_gateway.simulator.tickets import BUCKET

from .shapes import Json, is_json
from .visitor import Reply, Visitor, question

T = TypeVar("T")
KB = 1024
SHOWN = {
    "image": ("image", "vision"),
    "video": ("video", "video"),
    "audio": ("audio", "audio"),
    "file": ("file", "document"),
}


def png(width: int = 64, height: int = 48, size: int = 0) -> bytes:
    """A picture of one colour, with rubbish behind it up to `size` bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"".join(b"\0" + b"\x80" * width for _ in range(height)))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return data.ljust(size, b"\0")


async def ask_ticket(visitor: Visitor, name: str, size: object, kind: object = "file") -> Reply:
    return await visitor.post("/api/v2/files/getstsToken", {"filename": name, "filesize": size, "filetype": kind})


async def ticket(visitor: Visitor, name: str = "a.png", size: int = 100, kind: str = "image") -> Json:
    return (await ask_ticket(visitor, name, str(size), kind)).data()


@contextmanager
def storage(given: Json, version: str = "v4", signed: Sequence[str] = ()) -> Iterator[oss.Client]:
    """The SDK with a ticket's credential. It tries once: what fails is to be seen."""
    credential = {name: str(given[name]) for name in ("access_key_id", "access_key_secret", "security_token")}
    http = RequestsHttpClient()
    config = oss.Config(
        region=str(given["region"]).removeprefix("oss-"),
        endpoint=str(given["endpoint"]),
        signature_version=version,
        credentials_provider=oss.credentials.StaticCredentialsProvider(*credential.values()),
        retry_max_attempts=1,
        additional_headers=list(signed),
        http_client=http,
    )
    try:
        yield oss.Client(config)
    finally:
        http.close()


async def sdk(given: Json, work: Callable[[oss.Client], T], version: str = "v4") -> T:
    """Does something with the SDK, in a thread."""

    def run() -> T:
        with storage(given, version) as client:
            return work(client)

    return await asyncio.to_thread(run)


def put_request(
    given: Json, data: bytes, media_type: str = "image/png", key: str | None = None
) -> oss.PutObjectRequest:
    return oss.PutObjectRequest(
        bucket=BUCKET, key=key or str(given["file_path"]), body=data, content_type=media_type, content_length=len(data)
    )


async def put(given: Json, data: bytes, media_type: str = "image/png") -> oss.PutObjectResult:
    return await sdk(given, lambda client: client.put_object(put_request(given, data, media_type)))


def begin(client: oss.Client, given: Json, media_type: str = "image/png") -> str:
    request = oss.InitiateMultipartUploadRequest(BUCKET, str(given["file_path"]), content_type=media_type)
    found = client.initiate_multipart_upload(request).upload_id
    assert isinstance(found, str)
    return found


def send_part(client: oss.Client, given: Json, upload: str, number: int, data: bytes) -> oss.UploadPart:
    request = oss.UploadPartRequest(BUCKET, str(given["file_path"]), number, upload, body=data)
    return oss.UploadPart(part_number=number, etag=client.upload_part(request).etag)


def finish(
    client: oss.Client, given: Json, upload: str, parts: list[oss.UploadPart]
) -> oss.CompleteMultipartUploadResult:
    listed = oss.CompleteMultipartUpload(parts=parts)
    request = oss.CompleteMultipartUploadRequest(
        BUCKET, str(given["file_path"]), upload, complete_multipart_upload=listed
    )
    return client.complete_multipart_upload(request)


async def refused(work: Callable[[], object]) -> oss.exceptions.ServiceError:
    """What the object storage says no with, read by the SDK."""
    with pytest.raises(oss.exceptions.OperationError) as caught:
        await asyncio.to_thread(work)
    found = caught.value.unwrap()
    assert isinstance(found, oss.exceptions.ServiceError)
    return found


async def refused_put(given: Json, data: bytes = b"x" * 100) -> oss.exceptions.ServiceError:
    def work() -> None:
        with storage(given) as client:
            client.put_object(put_request(given, data))

    return await refused(work)


async def uploaded(
    visitor: Visitor, data: bytes, name: str = "a.png", kind: str = "image", media_type: str = "image/png"
) -> Json:
    """Puts a file there, has documents read, and gives the entry that a question names it with."""
    given = await ticket(visitor, name, len(data), kind)
    await put(given, data, media_type)
    if kind == "file":
        await visitor.post("/api/v2/files/parse", {"file_id": given["file_id"]})
        while await parse_status(visitor, given["file_id"]) in {"pending", "parsing"}:
            await asyncio.sleep(0.005)
    return entry(given, data, name, kind, media_type)


async def parse_status(visitor: Visitor, file_id: object) -> object:
    reply = await visitor.post("/api/v2/files/parse/status", {"file_id_list": [file_id]})
    listed = reply.json()["data"]
    assert isinstance(listed, list)
    return listed[0]["status"]


def entry(given: Json, data: bytes, name: str, kind: str, media_type: str) -> Json:
    """The form of the web app, whole."""
    shown, file_class = SHOWN[kind]
    user = str(given["file_path"]).partition("/")[0]
    meta = {"name": name, "size": len(data), "content_type": media_type}
    return {
        "type": kind,
        "file": {
            "created_at": 1789353469000,
            "data": {},
            "filename": name,
            "hash": None,
            "id": given["file_id"],
            "user_id": user,
            "meta": meta | ({"parse_meta": {"parse_status": "success"}} if kind == "file" else {}),
            "update_at": 1789353469000,
        },
        "id": given["file_id"],
        "url": given["file_url"],
        "name": name,
        "collection_name": "",
        "progress": 100,
        "status": "uploaded",
        "greenNet": "success",
        "size": len(data),
        "error": "",
        "itemId": str(uuid.uuid4()),
        "file_type": media_type,
        "showType": shown,
        "file_class": file_class,
        "uploadTaskId": str(uuid.uuid4()),
    }


async def ask_with(
    visitor: Visitor, prompt: str, *files: object, chat: str | None = None, parent: str | None = None
) -> Reply:
    body = question(chat or await visitor.new_chat(), prompt, parent)
    messages = body["messages"]
    assert isinstance(messages, list)
    messages[0]["files"] = list(files)
    return await visitor.send(body)


async def attached(visitor: Visitor) -> list[Json]:
    """What the site makes of the files of the last question."""
    found = (await visitor.seen())[-1]["attached"]
    assert isinstance(found, list)
    return found


async def kept(visitor: Visitor) -> Json:
    return (await visitor.get("/__sim/files")).json()


def calls(visitor: Visitor) -> list[Call]:
    return visitor.sim.site.bucket.calls


def uploads(visitor: Visitor) -> list[Upload]:
    return list(visitor.sim.site.bucket.uploads.values())


async def fail(visitor: Visitor, *mishaps: Json) -> None:
    reply = await visitor.post("/__sim/program", {"files": list(mishaps)})
    assert reply.status == 200, reply.text


def listed(value: object) -> list[Json]:
    assert isinstance(value, list)
    assert all(map(is_json, value))
    return value
