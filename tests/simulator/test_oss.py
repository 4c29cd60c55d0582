"""The object storage, by the eyes of Alibaba's own SDK."""

import asyncio
import base64
import hashlib
import hmac
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import alibabacloud_oss_v2 as oss  # type: ignore[import-untyped]
import pytest
from yarl import URL

from qwen_gateway.simulator.digests import KEPT_BYTES
from qwen_gateway.simulator.tickets import BUCKET

from .shapes import Json
from .uploads import (
    KB,
    begin,
    calls,
    fail,
    finish,
    kept,
    listed,
    png,
    put,
    put_request,
    refused,
    refused_put,
    sdk,
    send_part,
    storage,
    ticket,
    uploads,
)
from .visitor import Visitor, until

pytestmark = pytest.mark.anyio

NAMES = ["a.png", "two words+plus.png", "图片 1.png", "100%.png", "a#b?c&d=e.png", "%2F%20.png", "~'()!*,;:@$.png"]


@pytest.mark.parametrize("version", ["v4", "v1"])
@pytest.mark.parametrize("name", NAMES)
async def test_a_put_arrives_whole_under_any_name(name: str, version: str, visitor: Visitor) -> None:
    data = png()
    given = await ticket(visitor, name, len(data))
    result = await sdk(given, lambda client: client.put_object(put_request(given, data)), version)
    assert result.etag == f'"{hashlib.md5(data, usedforsecurity=False).hexdigest().upper()}"'
    one = visitor.sim.site.bucket.objects[str(given["file_path"])]
    assert one.key.endswith(f"_{name}")
    assert (one.data, one.size, one.sha256) == (data, len(data), hashlib.sha256(data).hexdigest())
    assert (one.content_type, one.file_id) == ("image/png", given["file_id"])
    assert [(call.operation, call.outcome, call.signature) for call in calls(visitor)] == [("put", "done", version)]


async def test_the_address_of_the_ticket_reads_the_file_and_the_plain_one_does_not(visitor: Visitor) -> None:
    data = png()
    given = await ticket(visitor, "图 片+%.png", len(data))
    await put(given, data)
    async with aiohttp.ClientSession() as session:
        async with session.get(_raw(str(given["file_url"]))) as reply:
            assert (reply.status, await reply.read(), reply.content_type) == (200, data, "image/png")
        async with session.get(_raw(str(given["file_url"]).partition("?")[0])) as reply:
            assert (reply.status, "<Code>AccessDenied</Code>" in await reply.text()) == (403, True)
        async with session.put(_raw(str(given["file_url"])), data=b"other") as reply:
            assert (reply.status, "<Code>SignatureDoesNotMatch</Code>" in await reply.text()) == (403, True)


def _raw(url: str) -> URL:
    """As it is written, not as the library would write it."""
    return URL(url, encoded=True)


async def test_an_address_signed_by_the_sdk_is_good(visitor: Visitor) -> None:
    data = png()
    given = await ticket(visitor, "a b.png", len(data))
    await put(given, data)
    request = oss.GetObjectRequest(BUCKET, str(given["file_path"]))
    signed = await sdk(given, lambda client: client.presign(request).url)
    async with aiohttp.ClientSession() as session, session.get(_raw(str(signed))) as reply:
        assert (reply.status, await reply.read()) == (200, data)
    assert calls(visitor)[-1].signature == "v4 address"


async def test_a_signed_get_and_head_tell_of_the_object(visitor: Visitor) -> None:
    data = png()
    given = await ticket(visitor, "a.png", len(data))
    await put(given, data)
    key = str(given["file_path"])
    found = await sdk(given, lambda client: client.get_object(oss.GetObjectRequest(BUCKET, key)).body.content)
    assert found == data
    head = await sdk(given, lambda client: client.head_object(oss.HeadObjectRequest(BUCKET, key)))
    assert (head.content_length, head.content_type) == (len(data), "image/png")


async def test_an_object_that_is_not_there_is_no_such_key(visitor: Visitor) -> None:
    given = await ticket(visitor)

    def work() -> None:
        with storage(given) as client:
            client.get_object(oss.GetObjectRequest(BUCKET, str(given["file_path"])))

    assert (await refused(work)).code == "NoSuchKey"


# --- in parts ---


@pytest.mark.parametrize("version", ["v4", "v1"])
@pytest.mark.parametrize("name", ["a.png", "图 片+%#.png"])
async def test_parts_in_any_order_make_the_whole(name: str, version: str, visitor: Visitor) -> None:
    pieces = [os.urandom(100 * KB), os.urandom(130 * KB), b"the end"]
    given = await ticket(visitor, name, sum(map(len, pieces)))

    def work(client: oss.Client) -> oss.CompleteMultipartUploadResult:
        upload = begin(client, given)
        sent = {number: send_part(client, given, upload, number, pieces[number - 1]) for number in (3, 1, 2)}
        return finish(client, given, upload, [sent[1], sent[2], sent[3]])

    result = await sdk(given, work, version)
    whole = b"".join(pieces)
    one = visitor.sim.site.bucket.objects[str(given["file_path"])]
    assert (one.data, one.sha256, one.parts) == (whole, hashlib.sha256(whole).hexdigest(), 3)
    assert str(result.etag).endswith('-3"')
    assert str(one.crc64) == result.headers["x-oss-hash-crc64ecma"]
    assert [upload.state for upload in uploads(visitor)] == ["completed"]


async def test_the_sdks_own_uploader_passes_with_its_checks(visitor: Visitor, tmp_path: Path) -> None:
    data = os.urandom(700 * KB)
    given = await ticket(visitor, "a.png", len(data))
    place = tmp_path / "a.png"
    place.write_bytes(data)

    def work(client: oss.Client) -> None:
        uploader = client.uploader(part_size=128 * KB, parallel_num=3)
        uploader.upload_file(oss.PutObjectRequest(BUCKET, str(given["file_path"])), filepath=str(place))

    await sdk(given, work)
    one = visitor.sim.site.bucket.objects[str(given["file_path"])]
    assert (one.data, one.parts) == (data, 6)


async def test_parts_are_listed(visitor: Visitor) -> None:
    given = await ticket(visitor)

    def work(client: oss.Client) -> tuple[oss.ListPartsResult, oss.ListPartsResult]:
        upload = begin(client, given)
        for number in (1, 2, 4):
            send_part(client, given, upload, number, b"x" * number)
        key = str(given["file_path"])
        first = client.list_parts(oss.ListPartsRequest(BUCKET, key, upload, max_parts=2))
        rest = oss.ListPartsRequest(BUCKET, key, upload, part_number_marker=first.next_part_number_marker)
        return first, client.list_parts(rest)

    first, rest = await sdk(given, work)
    assert [(part.part_number, part.size) for part in first.parts] == [(1, 1), (2, 2)]
    assert (first.is_truncated, rest.is_truncated) == (True, False)
    assert [(part.part_number, part.size) for part in rest.parts] == [(4, 4)]


async def test_an_aborted_upload_is_gone(visitor: Visitor) -> None:
    given = await ticket(visitor)
    key = str(given["file_path"])

    def work() -> None:
        with storage(given) as client:
            upload = begin(client, given)
            send_part(client, given, upload, 1, b"x" * 100)
            client.abort_multipart_upload(oss.AbortMultipartUploadRequest(BUCKET, key, upload))
            send_part(client, given, upload, 2, b"x")

    assert (await refused(work)).code == "NoSuchUpload"
    assert [(upload.state, upload.received, upload.shelf.closed) for upload in uploads(visitor)] == [
        ("aborted", 100, True)
    ]
    assert visitor.sim.site.bucket.objects == {}


@pytest.mark.parametrize(
    ("sizes", "numbers", "tag", "code"),
    [
        ([100 * KB - 1, 5], [1, 2], None, "EntityTooSmall"),
        ([100 * KB, 5], [2, 1], None, "InvalidPartOrder"),
        ([5], [1], '"0123"', "InvalidPart"),
        ([5], [7], '"0123"', "InvalidPart"),
        ([5], [], None, "MalformedXML"),
    ],
    ids=["a small part in front", "wrong order", "wrong tag", "a part never sent", "no part"],
)
async def test_a_wrong_completion_is_refused(
    sizes: list[int], numbers: list[int], tag: str | None, code: str, visitor: Visitor
) -> None:
    given = await ticket(visitor)

    def work() -> None:
        with storage(given) as client:
            upload = begin(client, given)
            sent = [send_part(client, given, upload, at, b"x" * size) for at, size in enumerate(sizes, 1)]
            chosen = [oss.UploadPart(part_number=at, etag=tag or sent[at - 1].etag) for at in numbers]
            finish(client, given, upload, chosen)

    assert (await refused(work)).code == code
    assert [upload.state for upload in uploads(visitor)] == ["open"]


async def test_an_upload_is_completed_once(visitor: Visitor) -> None:
    given = await ticket(visitor)

    def work() -> None:
        with storage(given) as client:
            upload = begin(client, given)
            sent = [send_part(client, given, upload, 1, b"x")]
            finish(client, given, upload, sent)
            finish(client, given, upload, sent)

    assert (await refused(work)).code == "NoSuchUpload"
    assert len(visitor.sim.site.bucket.objects) == 1


async def test_a_large_object_is_not_kept_whole(visitor: Visitor) -> None:
    piece = os.urandom(1024 * KB)
    whole = piece * 33
    given = await ticket(visitor, "a.png", len(whole))

    def work(client: oss.Client) -> oss.CompleteMultipartUploadResult:
        upload = begin(client, given)
        sent = [send_part(client, given, upload, at + 1, piece * 11) for at in range(3)]
        return finish(client, given, upload, sent)

    await sdk(given, work)
    one = visitor.sim.site.bucket.objects[str(given["file_path"])]
    assert one.size > KEPT_BYTES
    assert (one.data, one.head, one.sha256) == (None, whole[: 64 * KB], hashlib.sha256(whole).hexdigest())
    head = await sdk(given, lambda client: client.head_object(oss.HeadObjectRequest(BUCKET, one.key)))
    assert head.content_length == len(whole)


# --- who may ---


@pytest.mark.parametrize("version", ["v4", "v1"])
async def test_another_secret_makes_another_signature(version: str, visitor: Visitor) -> None:
    given = await ticket(visitor) | {"access_key_secret": "wrong"}

    def work() -> None:
        with storage(given, version) as client:
            client.put_object(put_request(given, b"x"))

    found = await refused(work)
    assert (found.code, found.status_code) == ("SignatureDoesNotMatch", 403)
    assert visitor.sim.site.bucket.objects == {}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"access_key_id": "STS.nobody"}, "InvalidAccessKeyId"),
        ({"security_token": "another"}, "InvalidSecurityToken"),
        ({"security_token": ""}, "InvalidSecurityToken"),
    ],
)
async def test_a_credential_must_be_one_that_was_given(changed: dict[str, str], code: str, visitor: Visitor) -> None:
    found = await refused_put(await ticket(visitor) | changed)
    assert (found.code, found.status_code) == (code, 403)


async def test_a_credential_ends(visitor: Visitor) -> None:
    await visitor.program(site={"ticket_seconds": -1})
    assert (await refused_put(await ticket(visitor))).code == "SecurityTokenExpired"


async def test_a_ticket_is_good_for_its_one_object(visitor: Visitor) -> None:
    first, second = await ticket(visitor, "a.png"), await ticket(visitor, "b.png")

    def work() -> None:
        with storage(first) as client:
            client.put_object(put_request(second, b"x"))

    assert (await refused(work)).code == "AccessDenied"

    def lists() -> None:
        with storage(first) as client:
            client.list_multipart_uploads(oss.ListMultipartUploadsRequest(BUCKET))

    assert (await refused(lists)).code == "AccessDenied"


async def test_a_signature_for_another_region_is_refused(visitor: Visitor) -> None:
    given = await ticket(visitor)
    assert (await refused_put(given | {"region": "cn-hangzhou"})).code == "InvalidArgument"


async def test_what_was_signed_cannot_be_changed(visitor: Visitor) -> None:
    """A header that the signature covers, changed on the way."""
    given = await ticket(visitor)
    request = oss.PutObjectRequest(BUCKET, str(given["file_path"]), content_type="image/png")
    signed = await sdk(given, lambda client: client.presign(request))
    async with aiohttp.ClientSession() as session:
        for media_type, status in (("image/png", 200), ("text/html", 403)):
            headers = {"Content-Type": media_type}
            async with session.put(_raw(str(signed.url)), data=b"x", headers=headers) as reply:
                assert reply.status == status


async def test_further_headers_may_be_signed(visitor: Visitor) -> None:
    given = await ticket(visitor)

    def work() -> None:
        with storage(given, signed=["User-Agent", "Host"]) as client:
            client.put_object(put_request(given, b"x"))

    await asyncio.to_thread(work)
    assert [call.outcome for call in calls(visitor)] == ["done"]


def _signed_v1(given: Json, method: str, date: str, media_type: str = "", md5: str = "") -> dict[str, str]:
    """By hand, as two public clients of Sep 2026 did it."""
    told = f"x-oss-security-token:{given['security_token']}"
    text = f"{method}\n{md5}\n{media_type}\n{date}\n{told}\n/{BUCKET}/{given['file_path']}"
    signature = hmac.digest(str(given["access_key_secret"]).encode(), text.encode(), hashlib.sha1)
    headers = {
        "Date": date,
        "x-oss-security-token": str(given["security_token"]),
        "Authorization": f"OSS {given['access_key_id']}:{base64.b64encode(signature).decode()}",
        "Content-Type": media_type,
        "Content-MD5": md5,
    }
    return {name: text for name, text in headers.items() if text}


@pytest.mark.parametrize(
    ("method", "md5", "answer"),
    [
        ("PUT", "", 200),
        ("PUT", base64.b64encode(hashlib.md5(b"x", usedforsecurity=False).digest()).decode(), 200),
        ("PUT", base64.b64encode(hashlib.md5(b"y", usedforsecurity=False).digest()).decode(), 400),
        ("DELETE", "", 405),
    ],
)
async def test_a_signature_of_version_1_made_by_hand_is_good(
    method: str, md5: str, answer: int, visitor: Visitor
) -> None:
    given = await ticket(visitor)
    headers = _signed_v1(given, method, formatdate(usegmt=True), "image/png", md5)
    address = _raw(str(given["file_url"]).partition("?")[0])
    async with (
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
        session.request(method, address, data=b"x", headers=headers) as reply,
    ):
        assert reply.status == answer
    assert calls(visitor)[0].signature == "v1"


async def test_no_date_is_no_signature(visitor: Visitor) -> None:
    given = await ticket(visitor)
    headers = _signed_v1(given, "PUT", "yesterday", "image/png")
    async with aiohttp.ClientSession() as session:
        address = _raw(str(given["file_url"]).partition("?")[0])
        async with session.put(address, data=b"x", headers=headers) as reply:
            assert (reply.status, "<Code>AccessDenied</Code>" in await reply.text()) == (403, True)


@pytest.mark.parametrize("seconds", [-901, 901])
async def test_a_clock_that_is_far_off_is_refused(seconds: int, visitor: Visitor) -> None:
    given = await ticket(visitor)
    async with aiohttp.ClientSession() as session:
        for away, status in ((seconds, "RequestTimeTooSkewed"), (seconds // 2, "SignatureDoesNotMatch")):
            address, headers = _at(given, away)
            async with session.put(_raw(address), data=b"x", headers=headers) as reply:
                assert f"<Code>{status}</Code>" in await reply.text()


def _at(given: Json, seconds: int) -> tuple[str, dict[str, str]]:
    """A request of another hour, signed with anything."""
    stamp = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y%m%dT%H%M%SZ")
    credential = f"{given['access_key_id']}/{stamp[:8]}/ap-southeast-1/oss/aliyun_v4_request"
    headers = {
        "Authorization": f"OSS4-HMAC-SHA256 Credential={credential}, Signature=00",
        "x-oss-date": stamp,
        "x-oss-content-sha256": "UNSIGNED-PAYLOAD",
        "x-oss-security-token": str(given["security_token"]),
    }
    return str(given["file_url"]).partition("?")[0], headers


async def test_an_address_ends_after_its_seconds(visitor: Visitor) -> None:
    await visitor.program(site={"file_url_seconds": 1})
    data = png()
    given = await ticket(visitor, "a.png", len(data))
    await put(given, data)
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(_raw(str(given["file_url"]))) as reply:
                text = await reply.text(errors="replace")
                if reply.status == 403:
                    break
            await asyncio.sleep(0.1)
    assert "Request has expired." in text


# --- what went wrong, and what is told of it ---


async def test_a_size_that_was_not_announced_is_marked(visitor: Visitor) -> None:
    given = await ticket(visitor, "a.png", 5)
    await put(given, b"123456")
    [told] = listed((await kept(visitor))["objects"])
    assert (told["size"], told["announced"], told["as_announced"], told["complete"]) == (6, 5, False, True)


async def test_a_client_that_leaves_in_the_middle_is_seen_and_leaves_nothing(visitor: Visitor) -> None:
    given = await ticket(visitor)
    address = urlsplit(str(given["file_url"]).partition("?")[0])
    request = oss.PutObjectRequest(BUCKET, str(given["file_path"]))
    signed = await sdk(given, lambda client: client.presign(request))
    target = str(signed.url).partition(f":{address.port}")[2]
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"PUT {target} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 1000000\r\n\r\n"
    writer.write(head.encode() + b"x" * 300_000)
    await until(lambda: [call.received for call in calls(visitor)] == [300_000])
    assert (calls(visitor)[0].outcome, calls(visitor)[0].length) == (None, 1_000_000)
    writer.close()
    await until(lambda: calls(visitor)[0].outcome == "left")
    assert visitor.sim.site.bucket.objects == {}
    assert (await kept(visitor))["running"] == 0


async def test_connections_and_calls_at_once_are_counted(visitor: Visitor) -> None:
    await visitor.program(site={"oss_delay_ms": 20})
    given = await ticket(visitor, "a.png", 300 * KB)

    def work(client: oss.Client) -> None:
        upload = begin(client, given)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda number: send_part(client, given, upload, number, b"x" * 100 * KB), (1, 2, 3)))

    await sdk(given, work)
    told = await kept(visitor)
    assert told["received"] == 300 * KB
    assert told["connections"] in (2, 3)
    assert told["most_at_once"] in (2, 3)
    assert not any(call["cookie"] for call in listed(told["calls"]))


async def test_calls_of_the_object_storage_are_no_calls_of_the_site(visitor: Visitor) -> None:
    given = await ticket(visitor)
    before = visitor.sim.site.requests_total
    await put(given, b"x")
    assert visitor.sim.site.requests_total == before


async def test_a_reset_forgets_all(visitor: Visitor) -> None:
    given = await ticket(visitor)
    await put(given, b"x")
    await sdk(given, lambda client: begin(client, given))
    shelf = uploads(visitor)[0].shelf
    await fail(visitor, {"at": "oss", "what": "drop"})
    await visitor.post("/__sim/reset", {})
    told = await kept(visitor)
    assert [told[name] for name in ("tickets", "objects", "uploads", "calls", "mishaps")] == [[], [], [], [], []]
    assert shelf.closed
    assert (await refused_put(given)).code == "InvalidAccessKeyId"
