"""Files in chat completions: every form in which they stand there, every refusal with its place, and exact bytes."""

import base64
import hashlib
import json
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.scaling import TIMES, grows_linearly

from qwen_gateway.dialects.openai_chat_messages import MAX_FILES
from qwen_gateway.dialects.openai_chat_parts import FILE_TYPES, LONGEST_ADDRESS, Piece, file_part
from qwen_gateway.dialects.openai_chat_request import read
from qwen_gateway.turn.content import Bytes
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.files import FilePart, Given, Kind, Remote, Stored
from qwen_gateway.turn.request import Message, TextPart, ToolResultPart

from .bodies import HELLO, body, refused

DATA = bytes(range(256))
BASE64 = base64.b64encode(DATA).decode()
PNG = f"data:image/png;base64,{BASE64}"
FILE = "file-" + "aB3" * 8
WEB = "https://a.example/cat.png?x=1#y"
THERE = "messages[0].content[0]"
BYTES = Given(Bytes(DATA))


def user(*pieces: Any) -> bytes:
    return body(messages=[{"role": "user", "content": list(pieces)}])


def part(source: Given | Stored | Remote, kind: Kind | None, media_type: str, param: str, name: str = "") -> FilePart:
    return FilePart(source, kind, media_type, name, f"{THERE}.{param}" if param else THERE)


def image(url: object) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def audio(**fields: object) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": fields}


def file(**fields: object) -> dict[str, Any]:
    return {"type": "file", "file": fields}


IMAGE = part(BYTES, "image", "image/png", "image_url")
FORMS: dict[str, tuple[dict[str, Any], FilePart]] = {
    "a picture": (image(PNG), IMAGE),
    "a picture without an object": ({"type": "image_url", "image_url": PNG}, IMAGE),
    "a picture of another case": (image(f"DATA:IMAGE/PNG;BASE64,{BASE64}"), IMAGE),
    "a picture with parameters": (image(f"data:image/png; name=a.png;charset=utf-8;base64,{BASE64}"), IMAGE),
    "a picture in lines": (image(f"data:image/png;base64,{BASE64[:76]}\r\n{BASE64[76:]}\n"), IMAGE),
    "a picture with blanks": (image(f"data:image/png;base64, {BASE64[:8]} {BASE64[8:]}"), IMAGE),
    "a picture in the alphabet of addresses": (
        image("data:image/png;base64," + base64.urlsafe_b64encode(DATA).decode()),
        IMAGE,
    ),
    "a picture without padding": (image(PNG.rstrip("=")), IMAGE),
    "a picture of no type": (image(f"data:;base64,{BASE64}"), part(BYTES, "image", "", "image_url")),
    "a picture of a type that says nothing": (
        image(f"data:Application/Octet-Stream; x=1;base64,{BASE64}"),
        part(BYTES, "image", "", "image_url"),
    ),
    "a picture of nothing": (
        image("data:image/png;base64,"),
        part(Given(Bytes(b"")), "image", "image/png", "image_url"),
    ),
    "detail": ({"type": "image_url", "image_url": {"url": PNG, "detail": "auto"}}, IMAGE),
    "no detail": ({"type": "image_url", "image_url": {"url": PNG, "detail": None}}, IMAGE),
    "nulls": ({**image(PNG), "text": None, "file": None, "input_audio": None, "file_id": None}, IMAGE),
    "an address": (image(WEB), part(Remote(WEB), "image", "", "image_url")),
    "an address of another case": (
        image("HTTP://a.example"),
        part(Remote("HTTP://a.example"), "image", "", "image_url"),
    ),
    "a kept picture": (
        image(f"http://127.0.0.1:8000/v1/files/{FILE}/content"),
        part(Stored(FILE), "image", "", "image_url"),
    ),
    "a kept picture behind a prefix": (
        image(f"https://me.example/qwen/v1/files/{FILE}/content?x=1"),
        part(Stored(FILE), "image", "", "image_url"),
    ),
    "input_image": ({"type": "input_image", "image_url": PNG}, IMAGE),
    "input_image with an object": ({"type": "input_image", "image_url": {"url": PNG}, "detail": "auto"}, IMAGE),
    "input_image with an id": ({"type": "input_image", "file_id": FILE}, part(Stored(FILE), "image", "", "")),
    "image": ({"type": "image", "image": PNG}, part(BYTES, "image", "image/png", "image")),
    "image at an address": ({"type": "image", "image": WEB}, part(Remote(WEB), "image", "", "image")),
    "a video": (
        {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{BASE64}"}},
        part(BYTES, "video", "video/mp4", "video_url"),
    ),
    "a video of no type": (
        {"type": "video_url", "video_url": {"url": f"data:;base64,{BASE64}"}},
        part(BYTES, "video", "", "video_url"),
    ),
    "a video of a type that says nothing": (
        {"type": "video_url", "video_url": {"url": f"data:binary/octet-stream;base64,{BASE64}"}},
        part(BYTES, "video", "", "video_url"),
    ),
    "a sound of a type that says nothing": (
        {"type": "audio_url", "audio_url": f"data:application/octet-stream;base64,{BASE64}"},
        part(BYTES, "audio", "", "audio_url"),
    ),
    "a video at an address": ({"type": "video_url", "video_url": WEB}, part(Remote(WEB), "video", "", "video_url")),
    "a sound at an address": (
        {"type": "audio_url", "audio_url": {"url": WEB}},
        part(Remote(WEB), "audio", "", "audio_url"),
    ),
    "a sound": (audio(data=BASE64, format="wav"), part(BYTES, "audio", "audio/wav", "input_audio")),
    "mp3": (audio(data=BASE64, format="MP3"), part(BYTES, "audio", "audio/mpeg", "input_audio")),
    "m4a": (audio(data=BASE64, format="m4a"), part(BYTES, "audio", "audio/mp4", "input_audio")),
    "a sound of no format": (audio(data=BASE64, format=None), part(BYTES, "audio", "", "input_audio")),
    "a sound in lines": (audio(data=BASE64[:8] + "\n" + BASE64[8:]), part(BYTES, "audio", "", "input_audio")),
    "a sound as data without a type": (
        audio(data=f"data:;base64,{BASE64}", format="wav"),
        part(BYTES, "audio", "audio/wav", "input_audio"),
    ),
    "a sound as data of a type that says nothing": (
        audio(data=f"data:application/octet-stream;base64,{BASE64}", format="wav"),
        part(BYTES, "audio", "audio/wav", "input_audio"),
    ),
    "a sound whose data says the type": (
        audio(data=f"data:audio/aac;base64,{BASE64}", format="wav"),
        part(BYTES, "audio", "audio/aac", "input_audio"),
    ),
    "a sound that is elsewhere": (
        audio(data=WEB, format="wav"),
        part(Remote(WEB), "audio", "audio/wav", "input_audio"),
    ),
    "a file": (
        file(file_data=f"data:application/pdf;base64,{BASE64}", filename="a.pdf"),
        part(BYTES, None, "application/pdf", "file", "a.pdf"),
    ),
    "a file of bare base64": (
        file(file_data=BASE64, filename="C:\\me\\..\\a.pdf", file_id=None),
        part(BYTES, None, "", "file", "a.pdf"),
    ),
    "a file of no name": (file(file_data=BASE64, filename=None), part(BYTES, None, "", "file")),
    "a picture as a file": (file(file_data=PNG, file_id=""), part(BYTES, None, "image/png", "file")),
    "a kept file": (file(file_id=FILE), part(Stored(FILE), None, "", "file")),
    "a kept file with a name": (file(file_id=FILE, filename="/x/a.txt"), part(Stored(FILE), None, "", "file", "a.txt")),
    "a file at an address": (file(file_url=WEB, filename="a"), part(Remote(WEB), None, "", "file", "a")),
    "a kept file at its address": (
        file(file_url=f"http://localhost/v1/files/{FILE}/content"),
        part(Stored(FILE), None, "", "file"),
    ),
    "input_file": (
        {"type": "input_file", "file_data": BASE64, "filename": "a.txt"},
        part(BYTES, None, "", "", "a.txt"),
    ),
    "input_file with an id": ({"type": "input_file", "file_id": FILE}, part(Stored(FILE), None, "", "")),
}


@pytest.mark.parametrize(("piece", "expected"), FORMS.values(), ids=FORMS.keys())
def test_forms(piece: dict[str, Any], expected: FilePart) -> None:
    request = read(user(piece))
    assert request.messages == (Message("user", (expected,)),)
    assert request.ignored == ()


@pytest.mark.parametrize(("piece", "expected"), FORMS.values(), ids=FORMS.keys())
def test_forms_with_escapes_and_beside_unknown_keys(piece: dict[str, Any], expected: FilePart) -> None:
    raw = user({**piece, "cache_control": {"type": "ephemeral"}}).replace(b"/", b"\\/")
    request = read(raw)
    assert request.messages == (Message("user", (expected,)),)
    assert request.ignored == ("messages[].content[].cache_control",)


def test_every_type_of_files_has_a_form() -> None:
    assert {piece["type"] for piece, _ in FORMS.values()} == FILE_TYPES


@given(st.binary(max_size=300), st.booleans(), st.booleans(), st.booleans())
def test_any_bytes_come_through_as_they_were(data: bytes, urlsafe: bool, padded: bool, escaped: bool) -> None:
    text = (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(data).decode()
    raw = user(
        image("data:image/png;base64," + (text if padded else text.rstrip("="))),
        file(file_data=text or "data:;base64,"),
    )
    parts = read(raw.replace(b"/", b"\\/") if escaped else raw).messages[0].parts
    for one in parts:
        assert isinstance(one, FilePart)
        assert isinstance(one.source, Given)
        content = one.source.content
        assert (content.size, content.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        with content.reader() as reader:
            assert reader.read() == data


def test_a_part_can_be_read_by_itself() -> None:
    raw = json.dumps({"url": WEB, "detail": "high"}).encode()
    found, ignored = file_part(Piece("image_url", image_url=Raw(raw)), "messages[3].content[4]")
    assert found == FilePart(Remote(WEB), "image", param="messages[3].content[4].image_url")
    assert ignored == ["messages[].content[].image_url.detail"]


# --- what is said without effect ---


def test_what_has_no_effect_is_named_once() -> None:
    pieces = [
        {"type": "image_url", "image_url": {"url": PNG, "detail": "high", "size": 1, "nothing": None}},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        audio(data=BASE64, format="wav", language="de"),
        file(file_data=BASE64, title="x"),
        {"type": "input_image", "image_url": PNG, "detail": "high"},
    ]
    assert read(user(*pieces)).ignored == (
        "messages[].content[].image_url.detail",
        "messages[].content[].image_url.size",
        "messages[].content[].input_audio.language",
        "messages[].content[].file.title",
        "messages[].content[].detail",
    )


# --- where files stand ---


def test_text_and_files_of_a_message_keep_their_order() -> None:
    pieces = [image(PNG), {"type": "text", "text": "a"}, file(file_id=FILE), {"type": "text", "text": "b"}]
    found = read(user(*pieces)).messages[0].parts
    assert [type(one) for one in found] == [FilePart, TextPart, FilePart, TextPart]
    assert [one.param for one in found if isinstance(one, FilePart)] == [
        "messages[0].content[0].image_url",
        "messages[0].content[2].file",
    ]


@pytest.mark.parametrize("message", [{"role": "tool", "tool_call_id": "c1"}, {"role": "function", "name": "f"}])
def test_results_of_tools_hold_files(message: dict[str, Any]) -> None:
    content = [{"type": "text", "text": "a"}, image(WEB), {"type": "text", "text": "b"}]
    found = read(body(messages=[HELLO, {**message, "content": content}])).messages[1]
    picture = FilePart(Remote(WEB), "image", param="messages[1].content[1].image_url")
    assert found == Message("user", (ToolResultPart(message.get("tool_call_id", ""), "a\nb", files=(picture,)),))


def test_a_result_may_be_a_picture_alone() -> None:
    message = {"role": "tool", "tool_call_id": "c1", "content": [image(WEB)]}
    result = read(body(messages=[message])).messages[0].parts[0]
    assert isinstance(result, ToolResultPart)
    assert (result.text, len(result.files)) == ("", 1)


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
def test_other_messages_hold_no_files(role: str) -> None:
    message = {"role": role, "content": [{"type": "text", "text": "a"}, image("data:image/png;base64,?")]}
    assert refused(body(messages=[HELLO, message])) == ("messages[1].content[1]", "unsupported_content")


# --- refusals ---

DAMAGED = "data:image/png;base64,"
URL = f"{THERE}.image_url.url"
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    # name: part, param, code
    "no picture": ({"type": "image_url"}, f"{THERE}.image_url", "invalid_value"),
    "a picture null": ({"type": "image_url", "image_url": None}, f"{THERE}.image_url", "invalid_value"),
    "a picture that is a number": ({"type": "image_url", "image_url": 1}, f"{THERE}.image_url", "invalid_value"),
    "a picture that is a list": ({"type": "image_url", "image_url": [PNG]}, f"{THERE}.image_url", "invalid_value"),
    "a picture without an address": ({"type": "image_url", "image_url": {}}, URL, "invalid_value"),
    "an address null": (image(None), URL, "invalid_value"),
    "an address that is empty": (image(""), URL, "invalid_value"),
    "an address that is a number": (image(5), URL, "invalid_value"),
    "an address that is an object": (image({"url": PNG}), URL, "invalid_value"),
    "input_image of nothing": ({"type": "input_image"}, f"{THERE}.image_url", "invalid_value"),
    "damaged base64": (image(DAMAGED + "a"), URL, "invalid_value"),
    "base64 with other characters": (image(DAMAGED + BASE64[:8] + "*" + BASE64[8:]), URL, "invalid_value"),
    "base64 that goes on behind its end": (image(DAMAGED + "QQ==QQ=="), URL, "invalid_value"),
    "base64 of other letters": (image(DAMAGED + "äää="), URL, "invalid_value"),
    "data without base64": (image("data:image/svg+xml,%3Csvg/%3E"), URL, "url_not_allowed"),
    "data without a comma": (image("data:image/png;base64"), URL, "url_not_allowed"),
    "data of a page": (image(f"data:text/html;base64,{BASE64}"), URL, "unsupported_file"),
    "data of a pdf": (image(f"data:application/pdf;base64,{BASE64}"), URL, "unsupported_file"),
    "data of a long type": (image(f"data:image/{'x' * 300};base64,{BASE64}"), URL, "url_not_allowed"),
    "a picture as a video": (
        {"type": "video_url", "video_url": {"url": PNG}},
        f"{THERE}.video_url.url",
        "unsupported_file",
    ),
    "file:": (image("file:///etc/passwd"), URL, "url_not_allowed"),
    "ftp:": (image("ftp://a.example/a.png"), URL, "url_not_allowed"),
    "gopher:": (image("gopher://a.example/a"), URL, "url_not_allowed"),
    "javascript:": (image("javascript:alert(1)"), URL, "url_not_allowed"),
    "no scheme": (image("cat.png"), URL, "url_not_allowed"),
    "a path": (image(f"/v1/files/{FILE}/content"), URL, "url_not_allowed"),
    "bare base64 of a picture": (image(BASE64), URL, "url_not_allowed"),
    "blanks before": (image(f" {WEB}"), URL, "url_not_allowed"),
    "a long address": (image(f"{WEB}{'x' * LONGEST_ADDRESS}"), URL, "url_not_allowed"),
    "an address alone": ({"type": "image_url", "image_url": "ftp://x"}, f"{THERE}.image_url", "url_not_allowed"),
    "no sound": ({"type": "input_audio"}, f"{THERE}.input_audio", "invalid_value"),
    "a sound that is a text": ({"type": "input_audio", "input_audio": BASE64}, f"{THERE}.input_audio", "invalid_value"),
    "a sound without data": (audio(format="wav"), f"{THERE}.input_audio.data", "invalid_value"),
    "a damaged sound": (audio(data="a", format="wav"), f"{THERE}.input_audio.data", "invalid_value"),
    "a sound from a disk": (audio(data="file:///a", format="wav"), f"{THERE}.input_audio.data", "url_not_allowed"),
    "a format that is none": (audio(data=BASE64, format="a/b"), f"{THERE}.input_audio.format", "invalid_value"),
    "a format that is a number": (audio(data=BASE64, format=1), f"{THERE}.input_audio.format", "invalid_value"),
    "no file": ({"type": "file"}, f"{THERE}.file", "invalid_value"),
    "a file of nothing": (file(), f"{THERE}.file", "invalid_value"),
    "a file of nulls": (file(file_data=None, file_id=None, filename="a"), f"{THERE}.file", "invalid_value"),
    "a file of two": (file(file_data=BASE64, file_id=FILE), f"{THERE}.file", "invalid_value"),
    "a file with a wrong name": (file(file_data=BASE64, filename=1), f"{THERE}.file.filename", "invalid_value"),
    "a file with a wrong id": (file(file_id=1.25e10), f"{THERE}.file.file_id", "invalid_value"),
    "a file with a long id": (file(file_id="x" * 101), f"{THERE}.file.file_id", "invalid_value"),
    "a damaged file": (file(file_data="data:text/plain;base64,?"), f"{THERE}.file.file_data", "invalid_value"),
    "a file from a disk": (file(file_url="file:///etc/passwd"), f"{THERE}.file.file_url", "url_not_allowed"),
    "a file without a scheme": (file(file_url=BASE64), f"{THERE}.file.file_url", "url_not_allowed"),
    "input_file of nothing": ({"type": "input_file"}, THERE, "invalid_value"),
    "a damaged input_file": ({"type": "input_file", "file_data": "?"}, f"{THERE}.file_data", "invalid_value"),
}


@pytest.mark.parametrize(("piece", "param", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_refusals_name_their_place(piece: dict[str, Any], param: str, code: str) -> None:
    assert refused(user(piece)) == (param, code)
    assert refused(user({**piece, "extra": 1})) == (param, code)


@pytest.mark.parametrize(
    "url",
    [
        f"https://a.example/v1/files/{FILE}",
        f"https://a.example/v1/files/{FILE}/contents",
        f"https://a.example/v1/files/{FILE[:-1]}/content",
        f"https://a.example/v1/files/file-{'a' * 41}/content",
        f"https://a.example/v1/files/file-{'a' * 30}%2f/content",
        f"https://a.example/?v1/files/{FILE}/content",
        f"https://v1/files/{FILE}/content",
    ],
)
def test_other_addresses_are_not_those_of_kept_files(url: str) -> None:
    found = read(user(image(url))).messages[0].parts[0]
    assert isinstance(found, FilePart)
    assert found.source == Remote(url)


def test_too_many_files() -> None:
    many = [image(WEB)] * (MAX_FILES - 1) + [{"type": "text", "text": "a"}, file(file_id=FILE)]
    assert len(read(user(*many)).messages[0].parts) == MAX_FILES + 1
    further = {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "a"}, image("?")]}
    raw = body(messages=[{"role": "user", "content": many}, further])
    assert refused(raw) == ("messages[1].content[1]", "too_many_files")


def test_many_texts_are_no_files() -> None:
    texts = [{"type": "text", "text": "a"}] * (MAX_FILES + 1)
    assert len(read(user(*texts)).messages[0].parts) == MAX_FILES + 1


def test_a_large_file_is_decoded_without_further_copies() -> None:
    data = bytes(range(256)) * 16_384
    raw = user(image("data:image/png;base64," + base64.b64encode(data).decode()))
    tracemalloc.start()
    try:
        request = read(raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    found = request.messages[0].parts[0]
    assert isinstance(found, FilePart)
    assert isinstance(found.source, Given)
    assert found.source.content.size == len(data)
    assert peak < 1.1 * len(data)


# --- time ---

LONG: dict[str, tuple[str, str]] = {
    # name: a beginning, and what follows it again and again
    "data without a comma": ("data:", "image/png;"),
    "parameters": ("data:image/png", ";a=b"),
    "base64 with blanks": ("data:image/png;base64,", "QQ "),
    "base64 of padding": ("data:image/png;base64,Q", "="),
    "base64 of the other alphabet": ("data:image/png;base64,", "-_-_"),
    "addresses of kept files": ("https://a", "/v1/files/file-aaaaaaaaaaaaaaaaaaaaaaaa"),
    "addresses of kept files with their ends": ("https://a", "/v1/files/file-aaaaaaaaaaaaaaaaaaaaaaaa/content"),
    "a long host": ("https://", "a"),
    "slashes": ("https://a", "/"),
    "questions": ("https://a/", "?"),
    "escapes": ("", "\\"),
}


@pytest.mark.parametrize(("beginning", "rest"), LONG.values(), ids=LONG.keys())
def test_whatever_stands_there_is_read_in_linear_time(beginning: str, rest: str) -> None:
    def work(size: int) -> Callable[[], object]:
        raw = Raw(json.dumps(beginning + rest * (size // len(rest))).encode())
        pieces = [Piece("image_url", image_url=raw), Piece("input_file", file_data=raw, filename=raw)]

        def reads() -> None:
            for piece in pieces:
                with suppress(InvalidRequest):
                    file_part(piece, THERE)

        return reads

    assert grows_linearly(work, 4_000)
    assert grows_linearly(work, LONGEST_ADDRESS // TIMES)


@pytest.mark.parametrize("slash", "/\\")
def test_a_name_of_slashes_is_not_taken_apart(slash: str) -> None:
    raw, longest = Raw(json.dumps(slash * 1_000_000).encode()), 20_000_000
    tracemalloc.start()
    try:
        found, _ = file_part(Piece("input_file", file_id=Raw(b'"a"'), filename=raw), THERE)
        assert (found.name, tracemalloc.get_traced_memory()[1] < longest) == ("", True)
    finally:
        tracemalloc.stop()
