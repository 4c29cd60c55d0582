"""Files that callers keep at the gateway, through OpenAI's own client: /v1/files and /v1/uploads, with a real store."""

import asyncio
import hashlib
import io
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from qwen_gateway.relay import file_pieces
from qwen_gateway.simulator import Simulator
from qwen_gateway.store.spool import DiskSpool

from . import file_samples as samples
from .attaching import asked, check, file, keep, kept, quick_reading, refused, untouched, uploads, user
from .conversations import fresh
from .file_samples import Sample
from .rig import PATIENT, Rig, running, until, until_async
from .wire import Json, connection, read_answer, request_bytes

HOUR = 3600
SECOND = 1 / 86_400
"""Of a day."""


@pytest.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    with quick_reading():
        async with running(tmp_path_factory.mktemp("home"), **PATIENT) as found:
            yield found


@pytest.fixture
async def rig(home: Rig) -> AsyncIterator[Rig]:
    """For a new caller. Whatever a test does, its files do not stay on the way."""
    yield await fresh(home)
    await home.settle()
    spool = home.service.desk.spool
    assert isinstance(spool, DiskSpool)
    await until(lambda: spool.used == 0)


def client(rig: Rig, key: str = "") -> AsyncOpenAI:
    return rig.client(key or rig.key)


async def another(rig: Rig, **terms: object) -> str:
    answer = await rig.manage("POST", "/keys", {"name": secrets.token_hex(4), **terms})
    assert answer.status == 201, answer.body
    return str(answer.json()["text"])


def on_disk(rig: Rig) -> set[Path]:
    """Files of callers, or parts of them, each encrypted under a name of the gateway's own."""
    folder = rig.data_dir / "files"
    return set(folder.iterdir()) if folder.is_dir() else set()


def film(size: int = 600_000) -> Sample:
    return samples.mp4(filler=size)


# -- files


async def test_a_file_is_kept_read_used_and_deleted(rig: Rig) -> None:
    files, sample, before = client(rig).files, samples.pdf(), on_disk(rig)
    made = await files.create(file=(sample.name, sample.data, sample.media_type), purpose="user_data")
    assert (made.object, made.filename, made.bytes, made.purpose) == ("file", sample.name, sample.size, "user_data")
    assert made.status == "processed"
    assert made.expires_at == made.created_at + 30 * 24 * HOUR
    assert await files.retrieve(made.id) == made
    assert await files.wait_for_processing(made.id) == made
    assert [one async for one in files.list()] == [made]
    content = await files.content(made.id)
    assert (content.content, content.response.headers["content-type"]) == (sample.data, sample.media_type)
    assert untouched(rig), "nothing of it goes to the site before a question needs it"
    seen = await asked(rig, False, user("What is it?", kept(made.id)))
    check(rig, seen, sample)
    (blob,) = on_disk(rig) - before
    assert sample.data not in blob.read_bytes()
    assert sample.name.encode() not in blob.read_bytes()
    deleted = await files.delete(made.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (made.id, "file", True)
    assert [one async for one in files.list()] == []
    for call in (files.retrieve, files.content, files.delete):
        with pytest.raises(openai.NotFoundError) as caught:
            await call(made.id)
        assert caught.value.code == "file_not_found"
    await until(lambda: on_disk(rig) == before)
    code, param, _ = await refused(rig, False, user("And now?", kept(made.id)))
    assert (code, param) == ("file_not_found", "messages[0].content[1].file")


Source = Callable[[Path, Sample], Any]
SOURCES: dict[str, Source] = {
    "bytes with a name": lambda path, sample: (path.name, sample.data),
    "an open file": lambda path, sample: path.open("rb"),
    "a path": lambda path, sample: path,
    "a stream": lambda path, sample: (path.name, io.BytesIO(sample.data), "application/octet-stream"),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
async def test_a_file_comes_in_every_way_that_the_library_knows(rig: Rig, tmp_path: Path, source: Source) -> None:
    sample = samples.png().named("图 “1”.png")
    path = tmp_path / sample.name
    path.write_bytes(sample.data)
    given = source(path, sample)
    made = await client(rig).files.create(file=given, purpose="vision")
    if isinstance(given, io.IOBase):
        given.close()
    assert (made.filename, made.bytes) == (sample.name, sample.size)
    check(rig, await asked(rig, True, user(kept(made.id), "What is it?")), sample)


async def test_pages_of_a_list_are_walked_in_either_order(rig: Rig) -> None:
    files = client(rig).files
    pictures = [await keep(rig, samples.png()) for _ in range(5)]
    others = [(await files.create(file=("a.txt", b"A line."), purpose="batch")).id for _ in range(2)]
    every = pictures + others
    assert [one.id async for one in files.list(limit=2)] == every[::-1]
    assert [one.id async for one in files.list(limit=3, order="asc")] == every
    assert [one.id async for one in files.list(purpose="batch", order="asc", limit=1)] == others
    page = await files.list(limit=2, order="asc")
    assert ([one.id for one in page.data], page.has_more) == (every[:2], True)
    await files.delete(every[1])  # whoever deletes page by page still finds the next one
    page = await page.get_next_page()
    assert [one.id for one in page.data] == every[2:4]
    page = await files.list(after=every[5], order="asc")
    assert ([one.id for one in page.data], page.has_more) == (every[6:], False)


async def test_files_made_in_the_same_moment_are_all_listed(rig: Rig) -> None:
    made = set(await asyncio.gather(*(keep(rig, samples.png()) for _ in range(12))))
    assert len(made) == 12
    listed = [one.id async for one in client(rig).files.list(limit=5)]
    assert (len(listed), set(listed)) == (12, made)


async def test_a_file_is_kept_for_as_long_as_its_caller_says(rig: Rig) -> None:
    expires: Any = {"anchor": "created_at", "seconds": HOUR}
    made = await client(rig).files.create(file=("a.txt", b"A line."), purpose="user_data", expires_after=expires)
    assert made.expires_at == made.created_at + HOUR
    for seconds in (HOUR - 1, 30 * 24 * HOUR + 1):
        with pytest.raises(openai.BadRequestError) as caught:
            await client(rig).files.create(
                file=("a.txt", b"A line."),
                purpose="user_data",
                expires_after={"anchor": "created_at", "seconds": seconds},
            )
        assert caught.value.param == "expires_after[seconds]"


async def test_what_no_model_could_be_given_is_refused_at_once(rig: Rig) -> None:
    before = on_disk(rig)
    for name, data in (("a.exe", b"MZ\x90\0" + bytes(99)), ("a.png", samples.wav().data), ("empty.txt", b"")):
        with pytest.raises(openai.BadRequestError) as caught:
            await client(rig).files.create(file=(name, data, "image/png"), purpose="vision")
        assert (caught.value.code, caught.value.param) == ("unsupported_file", "file")
    assert [one async for one in client(rig).files.list()] == []
    assert on_disk(rig) == before


# -- uploads in parts


async def test_a_file_that_comes_in_parts_is_one_file(rig: Rig) -> None:
    """The parts come side by side and in any order; the client says in which they belong together."""
    api, sample, before = client(rig), film(), on_disk(rig)
    begun = await api.uploads.create(
        filename="film.mp4",
        bytes=sample.size,
        mime_type="video/mp4",
        purpose="vision",
        expires_after={"anchor": "created_at", "seconds": HOUR},
    )
    assert (begun.object, begun.status, begun.bytes, begun.file) == ("upload", "pending", sample.size, None)
    cuts = [sample.data[at : at + 250_000] for at in range(0, sample.size, 250_000)]
    parts = await asyncio.gather(*(api.uploads.parts.create(begun.id, data=data) for data in cuts))
    ids = [part.id for part in parts]
    with pytest.raises(openai.BadRequestError) as caught:
        await api.uploads.complete(begun.id, part_ids=ids[:-1])
    assert (caught.value.code, caught.value.param) == ("wrong_upload_size", "part_ids")
    with pytest.raises(openai.BadRequestError) as caught:
        await api.uploads.complete(begun.id, part_ids=ids, md5="0" * 32)
    assert (caught.value.code, caught.value.param) == ("wrong_checksum", "md5")
    whole = await api.uploads.complete(
        begun.id, part_ids=ids, md5=hashlib.md5(sample.data, usedforsecurity=False).hexdigest()
    )
    assert whole.status == "completed"
    assert whole.file is not None
    assert (whole.file.filename, whole.file.bytes) == ("film.mp4", sample.size)
    assert whole.file.expires_at == whole.file.created_at + HOUR
    assert await api.files.retrieve(whole.file.id) == whole.file
    assert (await api.files.content(whole.file.id)).content == sample.data
    assert await api.uploads.complete(begun.id, part_ids=ids) == whole, "who did not get the answer asks again"
    await until(lambda: len(on_disk(rig) - before) == 1)
    check(rig, await asked(rig, False, user("What is shown?", kept(whole.file.id))), sample)


@pytest.mark.parametrize("on_the_disk", [True, False], ids=["from the disk", "from memory"])
async def test_the_library_cuts_a_file_by_itself(rig: Rig, tmp_path: Path, on_the_disk: bool) -> None:
    sample = film()
    path = tmp_path / sample.name
    path.write_bytes(sample.data)
    told: Any = {"file": path} if on_the_disk else {"file": sample.data, "filename": sample.name, "bytes": sample.size}
    whole = await client(rig).uploads.upload_file_chunked(
        **told, mime_type=sample.media_type, purpose="vision", part_size=200_000
    )
    assert whole.file is not None
    assert (whole.file.filename, whole.file.bytes) == (sample.name, sample.size)
    check(rig, await asked(rig, True, user("What is shown?", kept(whole.file.id))), sample)


async def test_an_upload_that_is_cancelled_leaves_nothing(rig: Rig) -> None:
    api, before = client(rig), on_disk(rig)
    begun = await api.uploads.create(filename="a.txt", bytes=10, mime_type="text/plain", purpose="user_data")
    part = await api.uploads.parts.create(begun.id, data=b"01234")
    assert len(on_disk(rig) - before) == 1
    assert (await api.uploads.cancel(begun.id)).status == "cancelled"
    await until(lambda: on_disk(rig) == before)
    calls: list[Awaitable[Any]] = [
        api.uploads.parts.create(begun.id, data=b"56789"),
        api.uploads.complete(begun.id, part_ids=[part.id]),
    ]
    for call in calls:
        with pytest.raises(openai.BadRequestError) as caught:
            await call
        assert caught.value.code == "upload_cancelled"
    assert [one async for one in api.files.list()] == []


async def test_an_upload_that_is_not_completed_in_time_is_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_pieces, "SECONDS", 0.5)
    api = client(rig)
    begun = await api.uploads.create(filename="a.txt", bytes=10, mime_type="text/plain", purpose="user_data")

    async def is_over() -> bool:
        try:
            await api.uploads.parts.create(begun.id, data=b"0")
        except openai.BadRequestError as error:
            return error.code == "upload_expired"
        except openai.NotFoundError:
            return True
        return False

    await until_async(is_over)


# -- who may


async def test_nobody_sees_the_files_of_another_key(rig: Rig) -> None:
    mine, other_key = samples.png(), await another(rig)
    made, other = await keep(rig, mine), client(rig, other_key)
    begun = await client(rig).uploads.create(filename="a.txt", bytes=5, mime_type="text/plain", purpose="user_data")
    part = await client(rig).uploads.parts.create(begun.id, data=b"01234")
    assert [one async for one in other.files.list()] == []
    calls: list[Awaitable[Any]] = [
        other.files.retrieve(made),
        other.files.content(made),
        other.files.delete(made),
        other.uploads.parts.create(begun.id, data=b"x"),
        other.uploads.complete(begun.id, part_ids=[part.id]),
        other.uploads.cancel(begun.id),
    ]
    for call in calls:
        with pytest.raises(openai.NotFoundError):
            await call
    # A part of another's upload is no part of one's own either.
    own = await other.uploads.create(filename="a.txt", bytes=5, mime_type="text/plain", purpose="user_data")
    with pytest.raises(openai.BadRequestError) as caught:
        await other.uploads.complete(own.id, part_ids=[part.id])
    assert caught.value.param == "part_ids[0]"
    mine_key, rig.key = rig.key, other_key
    code, param, _ = await refused(rig, False, user("What is it?", kept(made)))
    assert (code, param) == ("file_not_found", "messages[0].content[1].file")
    assert untouched(rig)
    # The same file of one's own is another file, though the site gets its bytes once for both.
    assert await keep(rig, mine) != made
    rig.key = mine_key
    assert (await client(rig).files.content(made)).content == mine.data


CALLS: dict[str, Callable[[AsyncOpenAI], Awaitable[Any]]] = {
    "create": lambda api: api.files.create(file=("a.txt", b"A line."), purpose="user_data"),
    "list": lambda api: api.files.list(),
    "retrieve": lambda api: api.files.retrieve("file-0"),
    "content": lambda api: api.files.content("file-0"),
    "delete": lambda api: api.files.delete("file-0"),
    "begin": lambda api: api.uploads.create(filename="a", bytes=1, mime_type="text/plain", purpose="user_data"),
    "part": lambda api: api.uploads.parts.create("upload_0", data=b"x"),
    "complete": lambda api: api.uploads.complete("upload_0", part_ids=["part_0"]),
    "cancel": lambda api: api.uploads.cancel("upload_0"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_a_key_that_is_for_chats_is_not_for_files(
    rig: Rig, call: Callable[[AsyncOpenAI], Awaitable[Any]]
) -> None:
    chats = await another(rig, endpoints=["openai_chat"])
    with pytest.raises(openai.PermissionDeniedError) as caught:
        await call(client(rig, chats))
    assert caught.value.code == "endpoint_not_allowed"
    with pytest.raises(openai.AuthenticationError):
        await call(client(rig, "sk-nobodys"))


async def test_what_is_sent_along_with_a_chat_is_the_chats(rig: Rig) -> None:
    """A key for chats alone may send files in them; one for files alone may not chat."""
    sample = samples.pdf()
    rig.key = await another(rig, endpoints=["openai_chat"])
    check(rig, await asked(rig, False, user("What is it?", file(sample))), sample)
    rig.key = await another(rig, endpoints=["files"])
    await keep(rig, sample)
    with pytest.raises(openai.PermissionDeniedError):
        await asked(rig, False, user("Hello?"))
    for path in ("/v1/image/upload_and_chat", "/v1/chat/multimodal"):
        answer = await rig.post({"messages": []}, key=rig.key, path=path)
        assert (answer.status, answer.error()["code"]) == (403, "endpoint_not_allowed")


async def test_what_a_key_may_keep_is_bounded(tmp_path: Path) -> None:
    async with running(tmp_path, **PATIENT, max_kept_bytes=100_000) as rig:
        first = await keep(rig, samples.txt(size=60_000))
        with pytest.raises(openai.APIStatusError) as caught:
            await keep(rig, samples.txt(size=60_000))
        assert (caught.value.status_code, caught.value.code, caught.value.param) == (413, "file_quota_exceeded", "file")
        with pytest.raises(openai.APIStatusError) as caught:  # room is kept for what was announced
            await client(rig).uploads.create(filename="a", bytes=60_000, mime_type="", purpose="user_data")
        assert (caught.value.status_code, caught.value.code) == (413, "file_quota_exceeded")
        await client(rig).files.delete(first)
        assert await keep(rig, samples.txt(size=60_000))
        sealed = on_disk(rig)
        assert len(sealed) == 1


# -- what outlives a restart


async def test_files_outlive_a_restart_until_they_expire(tmp_path: Path) -> None:
    lasting, short = samples.pdf(), samples.png()
    async with Simulator() as site:
        with quick_reading():
            async with running(tmp_path, **PATIENT, site=site) as rig:
                first = await keep(rig, lasting)
                begun = await client(rig).uploads.create(
                    filename="a.txt", bytes=10, mime_type="text/plain", purpose="user_data"
                )
                part = await client(rig).uploads.parts.create(begun.id, data=b"01234")
            async with running(tmp_path, **PATIENT, site=site, file_days=1.5 * SECOND) as rig:
                files = client(rig).files
                assert (await files.content(first)).content == lasting.data
                check(rig, await asked(rig, False, user("What is it?", kept(first))), lasting)
                assert uploads(rig) == 1
                rest = await client(rig).uploads.parts.create(begun.id, data=b"56789")
                whole = await client(rig).uploads.complete(begun.id, part_ids=[part.id, rest.id])
                assert whole.file is not None
                assert (await files.content(whole.file.id)).content == b"0123456789"
                second = await keep(rig, short)
                kept_for = (await files.retrieve(second)).expires_at
                assert kept_for is not None
                assert await _is_gone(rig, second)
                assert await _is_gone(rig, whole.file.id)
                assert [one.id async for one in files.list()] == [first]
                code, _, _ = await refused(rig, False, user("What is it?", kept(second)))
                assert code == "file_not_found"
            async with running(tmp_path, **PATIENT, site=site) as rig:
                await until(lambda: len(on_disk(rig)) == 1)  # the others' bytes are deleted
                assert (await client(rig).files.content(first)).content == lasting.data


async def _is_gone(rig: Rig, file_id: str) -> bool:
    async def gone() -> bool:
        answer = await rig.get(f"/v1/files/{file_id}", key=rig.key)
        return answer.status == 404

    await until_async(gone)
    return True


async def test_a_client_may_want_a_file_kept_less_long_than_others_and_not_longer(tmp_path: Path) -> None:
    async with running(tmp_path, **PATIENT, file_days=1) as rig:
        for asked_for, seconds in ((HOUR, HOUR), (2 * 24 * HOUR, 24 * HOUR)):
            made = await client(rig).files.create(
                file=("a.txt", b"A line."),
                purpose="user_data",
                expires_after={"anchor": "created_at", "seconds": asked_for},
            )
            assert made.expires_at == made.created_at + seconds


# -- as it is on the wire


async def test_the_bytes_are_given_out_as_a_file_and_never_as_a_page(rig: Rig) -> None:
    page = Sample("page “1”.html", "text/html", "document", b"<html><script>alert(1)</script></html>")
    answer = await rig.get(f"/v1/files/{await keep(rig, page)}/content", key=rig.key)
    assert answer.body == page.data
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert "filename*=UTF-8''page%20%E2%80%9C1%E2%80%9D.html" in answer.headers["content-disposition"]


async def test_routes_without_their_version_are_the_same(rig: Rig) -> None:
    made = await keep(rig, samples.png())
    for path in ("/files", "//v1/files/", "/v1/files"):
        listed: Json = (await rig.get(path, key=rig.key)).json()
        assert [one["id"] for one in listed["data"]] == [made]
    assert (await rig.get("/v1/files")).status == 200  # the static key has none
    assert (await rig.get("/v1/files")).json()["data"] == []


async def test_a_chat_beside_a_slow_upload_is_answered(rig: Rig) -> None:
    """A client that sends its file bit by bit holds nobody up."""
    sample = samples.png()
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    body = head + sample.data + b"\r\n--x--\r\n"
    request = request_bytes(
        "/v1/files", body, key=rig.key, Content_Type="multipart/form-data; boundary=x", Content_Length=str(len(body))
    )
    async with connection(rig.url) as (reader, writer):
        writer.write(request[:-40])
        await writer.drain()
        await until(lambda: rig.service.in_flight == 1)
        await asked(rig, False, user("Hello?"))
        writer.write(request[-40:])
        answer = await read_answer(reader)
    assert answer.status == 200
    assert answer.json()["bytes"] == sample.size
