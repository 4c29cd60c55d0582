"""The earlier bridge's routes, called with curl as its documentation shows: the same names, fields and defaults.

Its documentation is the README of October 2025 and the quick start beside it. The prompts are our own.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.media.samples import FORMATS

from qwen_gateway.net.oss import OssStorage
from qwen_gateway.simulator.seen import Seen
from qwen_gateway.store.spool import DiskSpool
from qwen_gateway.turn.content import Bytes
from qwen_gateway.turn.files import Ticket

from . import file_samples as samples
from . import process
from .attaching import FETCHING, Web, check, quick_reading, untouched, uploads, web_server
from .curling import KEY, curl
from .file_samples import Sample
from .rig import PATIENT, Rig, running, until
from .wire import Answer, Json

pytestmark = pytest.mark.needs("curl")

MODEL = "qwen3.7-plus"
"""What their model's name means in the simulator's list."""
PROMPT = "请说出这张图片里有什么 & = 100%"
IMAGE, VIDEO, MULTIMODAL = "/v1/image/upload_and_chat", "/v1/video/upload_and_chat", "/v1/chat/multimodal"
MB = 1024 * 1024

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="a file can only be called so elsewhere")


@pytest.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    with quick_reading():
        async with running(tmp_path_factory.mktemp("home"), **PATIENT, **FETCHING, api_keys=(KEY,)) as found:
            yield found


@pytest.fixture
async def rig(home: Rig) -> AsyncIterator[Rig]:
    """The site as if nobody had used it. Whatever a test does, its files do not stay on the way."""
    assert (await home.http.post(f"{home.sim.url}/__sim/reset")).status_code == 200
    home.key = KEY
    yield home
    await home.settle()
    spool = home.service.desk.spool
    assert isinstance(spool, DiskSpool)
    await until(lambda: spool.used == 0)


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Web]:
    async with web_server() as found:
        yield found


def put(directory: Path, sample: Sample, name: str = "") -> Sample:
    """name: of the file on the disk; the sample's own, when empty."""
    (directory / (name or sample.name)).write_bytes(sample.data)
    return sample


def only(rig: Rig, *files: Sample, thinking: bool = False, budget: int | None = None) -> Seen:
    """The one question that the site got: with these files and their bytes, thinking or not."""
    (seen,) = rig.sim.site.seen
    check(rig, seen, *files)
    body: Any = seen.raw["body"]
    (message,) = body["messages"]
    assert (seen.model, seen.thinking) == (MODEL, thinking)
    assert message["feature_config"].get("thinking_budget") == budget
    return seen


def said(answer: Answer) -> str:
    """The text of an answer that is not streamed."""
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/json"
    whole = answer.json()
    assert whole["object"] == "chat.completion"
    return str(whole["choices"][0]["message"]["content"])


def streamed(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/event-stream")
    stream = answer.stream()
    assert stream.done
    assert stream.finish == "stop"
    return stream.text


def refusal(answer: Answer) -> tuple[int, str | None, str | None]:
    error = answer.error()
    assert error["message"]
    return answer.status, error["param"], error["code"]


def picture() -> Sample:
    return samples.jpeg().named("image.jpg")


def film() -> Sample:
    return samples.mp4().named("video.mp4")


# -- a picture and a question


async def test_a_picture_is_uploaded_and_asked_about(rig: Rig, tmp_path: Path) -> None:
    sample = put(tmp_path, picture())
    answer = await curl(
        rig,
        tmp_path,
        rf"""curl -X POST http://localhost:8000/v1/image/upload_and_chat \
  -H "Authorization: Bearer sk-your-token" \
  -F "image=@/path/to/image.jpg" \
  -F "model=qwen3-vl-plus" \
  -F "prompt={PROMPT}" \
  -F "stream=false" """,
    )
    assert said(answer) == "ok"
    assert only(rig, sample).prompt == PROMPT
    assert answer.headers["x-gateway-model"] == MODEL
    assert "x-gateway-ignored" not in answer.headers


@POSIX
async def test_a_picture_with_a_name_of_windows_goes_by_its_last_part(rig: Rig, tmp_path: Path) -> None:
    """Programs there send the whole path as the name, or a part of it."""
    sample = put(tmp_path, picture().named("photo.jpg"), "C:\\Users\\YourName\\Pictures\\photo.jpg")
    answer = await curl(
        rig,
        tmp_path,
        rf"""curl --location --request POST 'http://localhost:8000/v1/image/upload_and_chat' \
--header 'Authorization: Bearer sk-your-token' \
--form 'image=@"C:\\Users\\YourName\\Pictures\\photo.jpg"' \
--form 'model="qwen3-vl-plus"' \
--form 'prompt="{PROMPT}"' \
--form 'stream="false"'""",
    )
    assert said(answer) == "ok"
    assert only(rig, sample).prompt == PROMPT
    assert b"YourName" not in json.dumps(rig.sim.site.seen[0].raw).encode()
    assert "YourName" not in str([ticket.name for ticket in rig.sim.site.tickets.by_file.values()])


async def test_the_answer_about_a_picture_is_streamed(rig: Rig, tmp_path: Path) -> None:
    sample = put(tmp_path, picture())
    await rig.program({"text": "A cat, and a hat.", "chunks": 3})
    answer = await curl(
        rig,
        tmp_path,
        rf"""curl -X POST http://localhost:8000/v1/image/upload_and_chat \
  -H "Authorization: Bearer sk-your-token" \
  -F "image=@/path/to/image.jpg" \
  -F "model=qwen3-vl-plus" \
  -F "prompt={PROMPT}" \
  -F "stream=true" """,
    )
    assert streamed(answer) == "A cat, and a hat."
    only(rig, sample)


async def test_a_picture_is_thought_about(rig: Rig, tmp_path: Path) -> None:
    sample = put(tmp_path, picture())
    await rig.program({"text": "A cat.", "thinking": "It has whiskers."})
    answer = await curl(
        rig,
        tmp_path,
        rf"""curl -X POST http://localhost:8000/v1/image/upload_and_chat \
  -H "Authorization: Bearer sk-your-token" \
  -F "image=@/path/to/image.jpg" \
  -F "model=qwen3-vl-plus" \
  -F "prompt={PROMPT}" \
  -F "stream=false" \
  -F "enable_thinking=true" \
  -F "thinking_budget=500" """,
    )
    assert said(answer) == "A cat."
    assert answer.json()["choices"][0]["message"]["reasoning_content"] == "It has whiskers."
    only(rig, sample, thinking=True, budget=500)


async def test_what_a_form_leaves_out_has_their_defaults(rig: Rig, tmp_path: Path) -> None:
    """No stream and no thinking about a picture; a budget says nothing without thinking."""
    sample = put(tmp_path, picture())
    command = rf"""curl http://localhost:8000{IMAGE} -H "Authorization: Bearer sk-your-token" \
  -F "image=@/path/to/image.jpg" -F "prompt={PROMPT}" -F "thinking_budget=500" -F "resize=yes" """
    answer = await curl(rig, tmp_path, command)
    assert said(answer) == "ok"
    assert answer.headers["x-gateway-ignored"] == "resize, thinking_budget"
    only(rig, sample)


async def test_the_route_also_goes_without_its_version(rig: Rig, tmp_path: Path) -> None:
    sample = put(tmp_path, picture())
    command = rf"""curl http://localhost:8000/image/upload_and_chat -H "Authorization: Bearer sk-your-token" \
  -F "image=@/path/to/image.jpg" -F "prompt={PROMPT}" """
    assert said(await curl(rig, tmp_path, command)) == "ok"
    only(rig, sample)


# -- a video and a question


async def test_a_video_is_uploaded_and_asked_about(rig: Rig, tmp_path: Path) -> None:
    sample = put(tmp_path, film())
    await rig.program({"text": "A feast.", "thinking": "There are lanterns."})
    answer = await curl(
        rig,
        tmp_path,
        rf"""curl -X POST http://localhost:8000/v1/video/upload_and_chat \
  -H "Authorization: Bearer sk-your-token" \
  -F "video=@/path/to/video.mp4" \
  -F "model=qwen3-vl-plus" \
  -F "prompt={PROMPT}" \
  -F "stream=true" \
  -F "enable_thinking=true" \
  -F "thinking_budget=1000" """,
    )
    assert streamed(answer) == "A feast."
    assert answer.stream().reasoning == "There are lanterns."
    only(rig, sample, thinking=True, budget=1000)


@POSIX
async def test_a_video_with_a_name_of_windows(rig: Rig, tmp_path: Path) -> None:
    sample = put(tmp_path, film(), "C:\\Users\\YourName\\Videos\\video.mp4")
    answer = await curl(
        rig,
        tmp_path,
        rf"""curl --location --request POST 'http://localhost:8000/v1/video/upload_and_chat' \
--header 'Authorization: Bearer sk-your-token' \
--form 'video=@"C:\\Users\\YourName\\Videos\\video.mp4"' \
--form 'model="qwen3-vl-plus"' \
--form 'prompt="{PROMPT}"' \
--form 'stream="true"' \
--form 'enable_thinking="false"'""",
    )
    assert streamed(answer) == "ok"
    assert only(rig, sample).prompt == PROMPT


async def test_a_video_is_answered_at_once_when_asked_to(rig: Rig, tmp_path: Path) -> None:
    sample = put(tmp_path, film())
    answer = await curl(
        rig,
        tmp_path,
        rf"""curl -X POST http://localhost:8000/v1/video/upload_and_chat \
  -H "Authorization: Bearer sk-your-token" \
  -F "video=@/path/to/video.mp4" \
  -F "model=qwen3-vl-plus" \
  -F "prompt={PROMPT}" \
  -F "stream=false" """,
    )
    assert said(answer) == "ok"
    only(rig, sample)


async def test_a_video_is_answered_in_a_stream_and_without_thinking_by_default(rig: Rig, tmp_path: Path) -> None:
    sample = put(tmp_path, film())
    command = rf"""curl http://localhost:8000{VIDEO} -H "Authorization: Bearer sk-your-token" \
  -F "video=@/path/to/video.mp4" -F "prompt={PROMPT}" """
    assert streamed(await curl(rig, tmp_path, command)) == "ok"
    only(rig, sample)


# -- every format that they name


@pytest.mark.parametrize(
    ("route", "field", "endings"),
    [
        (IMAGE, "image", "jpg jpeg png gif webp bmp tiff svg ico"),
        (VIDEO, "video", "mp4 avi mov webm mkv wmv flv m4v 3gp m2ts"),
    ],
    ids=["pictures", "videos"],
)
async def test_every_format_that_they_name(rig: Rig, tmp_path: Path, route: str, field: str, endings: str) -> None:
    def command(name: str) -> str:
        return rf"""curl http://localhost:8000{route} -H "Authorization: Bearer sk-your-token" \
  -F "{field}=@/path/to/{name}" -F "prompt=?" -F "stream=false" """

    wanted = []
    for ending in endings.split():
        data, kind, media_type = FORMATS[ending.replace("jpeg", "jpg")]
        (tmp_path / f"sample.{ending}").write_bytes(data)
        wanted.append(("seen", kind, media_type, f"sample.{ending}", len(data)))
    answers = await asyncio.gather(*(curl(rig, tmp_path, command(name)) for _, _, _, name, _ in wanted))
    assert [said(answer) for answer in answers] == ["ok"] * len(wanted)
    keys = ("status", "type", "file_type", "name", "size")
    found = [tuple(one[key] for key in keys) for seen in rig.sim.site.seen for one in seen.attached]
    assert sorted(found) == sorted(wanted)


# -- in two steps


async def upload(rig: Rig, directory: Path, name: str) -> Json:
    answer = await curl(
        rig,
        directory,
        rf"""curl -X POST http://localhost:8000/v1/files/upload \
  -H "Authorization: Bearer sk-your-token" \
  -F "file=@/path/to/{name}" """,
    )
    assert answer.status == 200, answer.body
    return answer.json()


async def ask_with(rig: Rig, directory: Path, *parts: Json, **more: Any) -> Answer:
    content = [{"type": "text", "text": PROMPT}, *parts]
    body = json.dumps({"model": "qwen3-vl-plus", "messages": [{"role": "user", "content": content}], **more})
    (directory / "body.json").write_text(body)
    return await curl(
        rig,
        directory,
        r"""curl -X POST http://localhost:8000/v1/chat/multimodal \
  -H "Authorization: Bearer sk-your-token" \
  -H "Content-Type: application/json" \
  -d @body.json""",
    )


async def test_an_upload_is_asked_about_by_its_address(rig: Rig, tmp_path: Path) -> None:
    sample = put(tmp_path, picture())
    made = await upload(rig, tmp_path, "image.jpg")
    assert (made["filename"], made["bytes"], made["filetype"]) == ("image.jpg", sample.size, "image")
    assert (made["content_type"], made["status"], made["purpose"]) == ("image/jpeg", "uploaded", "multimodal")
    assert untouched(rig), "nothing of it went to the site"
    answer = await ask_with(rig, tmp_path, {"type": "image_url", "image_url": {"url": made["url"]}})
    assert said(answer) == "ok"
    assert only(rig, sample, thinking=True).prompt == PROMPT
    assert uploads(rig) == 1


def _info(made: Json, kind: str, **more: object) -> Json:
    """What clients of the earlier bridge make of an upload's answer."""
    meta = {"name": made["filename"], "size": made["bytes"], "content_type": made["content_type"]}
    inner = {"created_at": 1, "data": {}, "filename": made["filename"], "hash": None, "id": made["id"], "meta": meta}
    words = {"image": ("image", "vision"), "video": ("video", "video"), "file": ("file", "document")}[kind]
    return {
        "type": kind,
        "file": inner,
        "id": made["id"],
        "url": made["url"],
        "name": made["filename"],
        "collection_name": "",
        "progress": 0,
        "status": "uploaded",
        "greenNet": "success",
        "size": made["bytes"],
        "error": "",
        "itemId": "1b0e8b5c-6a1b-4c39-9d2e-0b5b7c0f8a11",
        "file_type": made["content_type"],
        "showType": words[0],
        "file_class": words[1],
        "uploadTaskId": "5f2ac1e9-7f35-4f0b-8e0e-9a3a4a5f6c22",
        **more,
    }


@pytest.mark.parametrize("kind", ["image", "video", "file"])
async def test_an_upload_is_asked_about_with_its_file_info(rig: Rig, tmp_path: Path, kind: str) -> None:
    made_of = {"image": picture(), "video": film(), "file": samples.pdf().named("report.pdf")}
    sample = put(tmp_path, made_of[kind])
    made = await upload(rig, tmp_path, sample.name)
    part = f"{kind}_url" if kind != "file" else "image_url"
    one: Json = {"type": part, part: {"url": made["url"]}, "file_info": _info(made, kind)}
    assert said(await ask_with(rig, tmp_path, one, enable_thinking=False)) == "ok"
    only(rig, sample)


async def test_what_file_info_says_is_not_taken_on_trust(rig: Rig, tmp_path: Path) -> None:
    """Its bytes say what a file is; a wrong size at the site would have the file left out of the question."""
    sample = put(tmp_path, picture())
    made = await upload(rig, tmp_path, "image.jpg")
    info = _info(made, "image", size=0, file_type="image/png", showType="file", status="error")
    assert said(await ask_with(rig, tmp_path, {"type": "image_url", "file_info": info}, enable_thinking=False)) == "ok"
    only(rig, sample)


async def test_a_picture_at_an_address_is_fetched(rig: Rig, tmp_path: Path, server: Web) -> None:
    sample = samples.png()
    part: Json = {"type": "image_url", "image_url": {"url": server.put(sample)}}
    await rig.program({"text": "A dot.", "thinking": "Small."})
    answer = await ask_with(rig, tmp_path, part, stream=True, thinking_budget=20)
    assert streamed(answer) == "A dot."
    only(rig, sample, thinking=True, budget=20)


async def test_file_info_of_a_file_from_elsewhere_is_parsed_from_its_address(
    rig: Rig, tmp_path: Path, server: Web
) -> None:
    """Of a file that another bridge has uploaded: its id says nothing here, its address does."""
    sample = samples.jpeg().named("8d3c_image.jpg")
    url = server.put(sample) + "?x-oss-signature=abc"
    made = {"id": "0e2d7e2c-3f0a-4a55-9a51-7b0a51b0c9a4", "url": url, "filename": sample.name, "bytes": 1}
    info = _info({**made, "content_type": "image/jpeg"}, "image")
    part: Json = {"type": "image_url", "image_url": {"url": url}, "file_info": info}
    assert said(await ask_with(rig, tmp_path, part, enable_thinking=False)) == "ok"
    only(rig, sample)


async def test_file_info_of_nothing_that_can_be_had_is_refused_by_its_place(rig: Rig, tmp_path: Path) -> None:
    info = {"id": "0e2d7e2c-3f0a-4a55-9a51-7b0a51b0c9a4", "name": "image.jpg", "size": 5, "type": "image"}
    answer = await ask_with(rig, tmp_path, {"type": "image_url", "file_info": info})
    assert refusal(answer) == (400, "messages[0].content[1].file_info.id", "file_not_found")
    info["id"] = "file-" + "0" * 32
    answer = await ask_with(rig, tmp_path, {"type": "image_url", "file_info": info})
    assert refusal(answer) == (400, "messages[0].content[1].file_info.id", "file_not_found")
    assert untouched(rig)


async def test_several_files_in_one_question(rig: Rig, tmp_path: Path) -> None:
    one, other = put(tmp_path, picture()), put(tmp_path, samples.pdf().named("report.pdf"))
    made = [await upload(rig, tmp_path, sample.name) for sample in (one, other)]
    parts: list[Json] = [{"type": "image_url", "image_url": {"url": file["url"]}} for file in made]
    assert said(await ask_with(rig, tmp_path, *parts, enable_thinking=False)) == "ok"
    only(rig, one, other)


# -- leave to upload by oneself


async def test_leave_to_upload_is_good_for_one_file(rig: Rig, tmp_path: Path) -> None:
    """Their third way: the client uploads by itself, and asks about the address that it was told."""
    sample = picture()
    wish = json.dumps({"filename": "image.jpg", "filesize": str(sample.size), "filetype": "image"})
    answer = await curl(
        rig,
        tmp_path,
        rf"""curl -X POST http://localhost:8000/v2/files/getstsToken \
  -H "Authorization: Bearer sk-your-token" \
  -H "Content-Type: application/json" \
  -d '{wish}'""",
    )
    told = answer.json()
    assert (answer.status, told["success"]) == (200, True)
    assert told["request_id"] == answer.headers["x-request-id"]
    await _put_there(told["data"], sample)
    (there,) = rig.sim.site.bucket.objects.values()
    assert (there.file_id, there.sha256) == (told["data"]["file_id"], sample.sha256)
    part: Json = {"type": "image_url", "image_url": {"url": told["data"]["file_url"]}}
    assert said(await ask_with(rig, tmp_path, part, enable_thinking=False)) == "ok"
    (seen,) = rig.sim.site.seen
    assert [one["sha256"] for one in seen.attached] == [sample.sha256]


async def _put_there(data: Json, sample: Sample) -> None:
    ticket = Ticket(
        file_id=data["file_id"],
        url=data["file_url"],
        bucket=data["bucketname"],
        key=data["file_path"],
        region=data["region"],
        endpoint=data["endpoint"],
        access_key_id=data["access_key_id"],
        access_key_secret=data["access_key_secret"],
        security_token=data["security_token"],
    )

    async def parted(upload_id: str) -> None:
        raise AssertionError(upload_id)

    def ignored(_told: object) -> None:
        pass

    storage = OssStorage()
    try:
        await storage.put(ticket, Bytes(sample.data), sample.media_type, parted=parted, left=ignored, progress=ignored)
    finally:
        await storage.close()


async def test_leave_to_upload_wants_a_key_unlike_there(rig: Rig, tmp_path: Path) -> None:
    command = r"""curl -X POST http://localhost:8000/v2/files/getstsToken -H "Content-Type: application/json" \
  -d '{"filename": "image.jpg", "filesize": 4451, "filetype": "image"}'"""
    assert refusal(await curl(rig, tmp_path, command)) == (401, None, "missing_api_key")
    assert untouched(rig)


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"filename": "a.jpg", "filesize": 0}, "filesize"),
        ({"filename": "a.jpg", "filesize": "much"}, "filesize"),
        ({"filename": "a.jpg", "filesize": 5, "filetype": "poem"}, "filetype"),
    ],
)
async def test_leave_to_upload_no_file_is_refused(rig: Rig, tmp_path: Path, wish: Json, param: str) -> None:
    command = rf"""curl -X POST http://localhost:8000/v2/files/getstsToken \
  -H "Authorization: Bearer sk-your-token" -H "Content-Type: application/json" -d '{json.dumps(wish)}'"""
    assert refusal(await curl(rig, tmp_path, command)) == (400, param, "invalid_value")
    assert untouched(rig)


# -- refused


WRONG: dict[str, tuple[str, str, Sample]] = {
    "a text as a picture": (IMAGE, "image", samples.txt("no picture").named("image.jpg")),
    "a PDF as a picture": (IMAGE, "image", samples.pdf("no picture")),
    "a sound as a picture": (IMAGE, "image", samples.wav("no picture")),
    "a video as a picture": (IMAGE, "image", samples.mp4("no picture")),
    "a picture as a video": (VIDEO, "video", samples.png("no video").named("video.mp4")),
    "nothing as a picture": (IMAGE, "image", Sample("image.jpg", "image/jpeg", "image", b"")),
    "what is in no format": (VIDEO, "video", Sample("video.mp4", "video/mp4", "video", bytes(range(256)))),
}


@pytest.mark.parametrize(("route", "field", "sample"), WRONG.values(), ids=WRONG.keys())
async def test_a_file_of_another_type_is_refused(
    rig: Rig, tmp_path: Path, route: str, field: str, sample: Sample
) -> None:
    put(tmp_path, sample)
    command = rf"""curl http://localhost:8000{route} -H "Authorization: Bearer sk-your-token" \
  -F "{field}=@/path/to/{sample.name}" -F "prompt=?" """
    assert refusal(await curl(rig, tmp_path, command)) == (400, field, "unsupported_file")
    assert untouched(rig)


async def test_a_file_that_nobody_takes_is_not_kept_either(rig: Rig, tmp_path: Path) -> None:
    put(tmp_path, Sample("a.bin", "", "document", bytes(range(256))))
    command = r"""curl http://localhost:8000/v1/files/upload -H "Authorization: Bearer sk-your-token" \
  -F "file=@/path/to/a.bin" """
    assert refusal(await curl(rig, tmp_path, command)) == (400, "file", "unsupported_file")


FORMS: dict[str, tuple[str, tuple[int, str | None, str]]] = {
    "no question": ('-F "image=@/path/to/image.jpg"', (400, "prompt", "missing_required_parameter")),
    "an empty one": ('-F "image=@/path/to/image.jpg" -F "prompt= "', (400, "prompt", "missing_required_parameter")),
    "no picture": ('-F "prompt=?"', (400, "image", "missing_required_parameter")),
    "its text": ('-F "image=</path/to/name.txt" -F "prompt=?"', (400, "image", "missing_required_parameter")),
    "two pictures": (
        '-F "image=@/path/to/image.jpg" -F "image=@/path/to/image.jpg" -F "prompt=?"',
        (400, "image", "too_many_files"),
    ),
    "a stream perhaps": (
        '-F "image=@/path/to/image.jpg" -F "prompt=?" -F "stream=perhaps"',
        (400, "stream", "invalid_value"),
    ),
    "a budget of words": (
        '-F "image=@/path/to/image.jpg" -F "prompt=?" -F "enable_thinking=1" -F "thinking_budget=much"',
        (400, "thinking_budget", "invalid_value"),
    ),
    "a model that is blind": (
        '-F "image=@/path/to/image.jpg" -F "prompt=?" -F "model=qwen3.7-max"',
        (400, "image", "unsupported_content"),
    ),
    "a model that is none": (
        '-F "image=@/path/to/image.jpg" -F "prompt=?" -F "model=poet-1"',
        (404, "model", "model_not_found"),
    ),
    "no form": ("-d 'prompt=?'", (400, None, "invalid_form")),
}


@pytest.mark.parametrize(("fields", "why"), FORMS.values(), ids=FORMS.keys())
async def test_a_form_that_cannot_be_answered_is_refused_by_its_field(
    rig: Rig, tmp_path: Path, fields: str, why: tuple[int, str | None, str]
) -> None:
    put(tmp_path, picture())
    (tmp_path / "name.txt").write_text("image.jpg")
    command = rf"""curl http://localhost:8000{IMAGE} -H "Authorization: Bearer sk-your-token" {fields}"""
    assert refusal(await curl(rig, tmp_path, command)) == why
    assert untouched(rig)


async def test_a_picture_has_ten_megabytes_at_most(rig: Rig, tmp_path: Path) -> None:
    """Of 5 MB and more it goes in parts, as there."""
    head = samples.png()
    for size, refused in ((10 * MB + 1, True), (10 * MB, False)):
        data = head.data + bytes(size - head.size)
        sample = put(tmp_path, Sample("image.png", "image/png", "image", data, head.width, head.height))
        command = rf"""curl http://localhost:8000{IMAGE} -H "Authorization: Bearer sk-your-token" \
  -F "image=@/path/to/image.png" -F "prompt=?" """
        answer = await curl(rig, tmp_path, command)
        if refused:
            assert refusal(answer) == (413, "image", "file_too_large")
            assert "10 MB" in answer.error()["message"]
            assert untouched(rig)
        else:
            assert said(answer) == "ok"
            only(rig, sample)
            (object_,) = rig.sim.site.bucket.objects.values()
            assert object_.parts > 1


@pytest.mark.parametrize("header", ["", '-H "Transfer-Encoding: chunked"'], ids=["announced", "not announced"])
async def test_what_is_far_beyond_ten_megabytes_is_not_read_to_its_end(rig: Rig, tmp_path: Path, header: str) -> None:
    put(tmp_path, Sample("image.png", "image/png", "image", samples.png().data + bytes(20 * MB)))
    command = rf"""curl http://localhost:8000{IMAGE} -H "Authorization: Bearer sk-your-token" {header} \
  -F "image=@/path/to/image.png" -F "prompt=?" """
    answer = await curl(rig, tmp_path, command)
    assert refusal(answer) == (413, "image", "file_too_large")
    assert f"{11 * MB:,} bytes" in answer.error()["message"]
    assert untouched(rig)


@pytest.mark.parametrize(
    ("header", "code"),
    [("", "missing_api_key"), ('-H "Authorization: Bearer sk-other"', "invalid_api_key")],
    ids=["no key", "another key"],
)
async def test_nobody_gets_in_without_a_key(rig: Rig, tmp_path: Path, header: str, code: str) -> None:
    put(tmp_path, picture())
    for path in (IMAGE, VIDEO, MULTIMODAL, "/v1/files/upload"):
        given = "-d '{}'" if path == MULTIMODAL else '-F "image=@/path/to/image.jpg" -F "prompt=?"'
        answer = await curl(rig, tmp_path, f"curl http://localhost:8000{path} {header} {given}")
        assert refusal(answer) == (401, None, code), path
    assert untouched(rig)


async def test_an_upload_is_its_keys_own(rig: Rig, tmp_path: Path) -> None:
    put(tmp_path, picture())
    made = await upload(rig, tmp_path, "image.jpg")
    other = str((await rig.manage("POST", "/keys", {"name": "other"})).json()["text"])
    part = {"type": "image_url", "image_url": {"url": made["url"]}}
    body = {"model": MODEL, "messages": [{"role": "user", "content": [part]}]}
    answer = await rig.post(body, key=other, path=MULTIMODAL)
    assert (answer.status, answer.error()["code"]) == (400, "file_not_found")
    headers = {"Authorization": f"Bearer {other}"}
    assert (await rig.http.get(made["url"], headers=headers)).status_code == 404
    assert untouched(rig)


# -- settings of the earlier bridge


async def test_the_quick_start_goes_without_a_key_where_none_is_set(tmp_path: Path) -> None:
    """Both steps, as its quick start shows them."""
    sample = put(tmp_path, picture())
    async with running(tmp_path, **PATIENT, api_keys=()) as rig:
        made = await curl(rig, tmp_path, r'curl -X POST http://localhost:8000/v1/files/upload -F "file=@image.jpg"')
        part = {"type": "image_url", "image_url": {"url": made.json()["url"]}}
        body = {"model": "qwen3-vl-plus", "messages": [{"role": "user", "content": [part]}]}
        answer = await curl(
            rig,
            tmp_path,
            rf"""curl -X POST http://localhost:8000/v1/chat/multimodal \
  -H "Content-Type: application/json" -d '{json.dumps(body)}'""",
        )
        assert said(answer) == "ok"
        only(rig, sample, thinking=True)


async def test_the_keys_of_its_environment_open_these_routes(rig: Rig, tmp_path: Path) -> None:
    """A process as its users start it, with the variables that they have set for the earlier bridge."""
    sample = put(tmp_path, picture())
    legacy = {"QWEN_COOKIES": rig.sim.cookies(), "VALID_TOKENS": json.dumps([KEY, "sk-token2"]), "IS_DELETE": "1"}
    with process.serve(tmp_path / "serving", site_url=rig.sim.url, legacy=legacy) as gateway:
        command = rf"""curl -X POST {gateway.url}/v1/image/upload_and_chat \
  -H "Authorization: Bearer sk-your-token" -F "image=@/path/to/image.jpg" -F "prompt=?" """
        assert said(await curl(rig, tmp_path, command)) == "ok"
    only(rig, sample)
