"""The earlier bridge's chat routes: they are read as it read them, and answered as a chat completion is."""

import hashlib
import io
import json
from typing import BinaryIO

import pytest

from qwen_gateway.dialects import openai_chat, qwen_compat
from qwen_gateway.turn.contracts import Dialect, Form, FormFile, FormRoute, Incoming, Several, TakesForms
from qwen_gateway.turn.faults import BodyTooLarge, Fault, InvalidRequest
from qwen_gateway.turn.files import FilePart, Given, Remote, Stored
from qwen_gateway.turn.request import Message, TextPart, Thinking, ToolResultPart, TurnRequest

DIALECT: Dialect = qwen_compat
SEVERAL: Several = qwen_compat
FORMS: TakesForms = qwen_compat
MULTIMODAL = "/v1/chat/multimodal"
IMAGE, VIDEO = "/v1/image/upload_and_chat", "/v1/video/upload_and_chat"
OWN = "file-" + "0a" * 16
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


class Bytes:
    """Satisfies `turn.files.Content`. size: what it says of itself, if not the truth."""

    def __init__(self, data: bytes, size: int | None = None) -> None:
        self._data = data
        self.size = len(data) if size is None else size
        self.sha256 = hashlib.sha256(data).hexdigest()

    def reader(self) -> BinaryIO:
        return io.BytesIO(self._data)

    def close(self) -> None:
        pass


PICTURE = Bytes(b"GIF89a picture")


def form(path: str, *fields: tuple[str, str], **files: Bytes) -> TurnRequest:
    sent = tuple(FormFile(name, "a b.gif", "image/gif", content) for name, content in files.items())
    return qwen_compat.read(Incoming(path, [], form=Form(fields, sent)))


def chat(*content: object, **more: object) -> TurnRequest:
    messages = [{"role": "user", "content": list(content)}]
    return qwen_compat.read(Incoming(MULTIMODAL, [], json.dumps({"messages": messages, **more}).encode()))


def only_file(request: TurnRequest) -> FilePart:
    (found,) = (part for part in request.messages[-1].parts if isinstance(part, FilePart))
    return found


def refusal(path: str, *fields: tuple[str, str], **files: Bytes) -> tuple[type[Fault], str | None, str]:
    with pytest.raises(Fault) as caught:
        form(path, *fields, **files)
    assert caught.value.text.endswith(".")
    return type(caught.value), caught.value.param, caught.value.code


def refused_part(piece: object) -> tuple[str | None, str]:
    with pytest.raises(InvalidRequest) as caught:
        chat({"type": "text", "text": "Look."}, piece)
    assert caught.value.text.endswith(".")
    return caught.value.param, caught.value.code


def test_answers_are_those_of_chat_completions() -> None:
    assert qwen_compat.writer is openai_chat.writer
    assert qwen_compat.whole is openai_chat.whole
    assert qwen_compat.refusal is openai_chat.refusal


def test_its_routes_are_those_of_the_earlier_bridge_and_two_take_forms() -> None:
    assert qwen_compat.routes == (MULTIMODAL, IMAGE, VIDEO)
    assert FORMS.forms == {IMAGE: FormRoute("image", 10 * 1024 * 1024), VIDEO: FormRoute("video")}
    assert isinstance(qwen_compat, TakesForms)
    assert not isinstance(openai_chat, TakesForms)


# --- forms ---


def test_a_picture_with_a_question_is_one_message() -> None:
    request = form(IMAGE, ("prompt", "What is it?"), image=PICTURE)
    text, picture = request.messages[0].parts
    assert (len(request.messages), request.messages[0].role, text) == (1, "user", TextPart("What is it?"))
    assert picture == FilePart(Given(PICTURE), "image", "image/gif", "a b.gif", "image")
    assert (request.model, request.stream, request.ignored) == ("qwen3-vl-plus", False, ())
    assert request.thinking == Thinking("off", None, "enable_thinking")


def test_a_video_is_answered_in_a_stream_unless_told_not_to() -> None:
    request = form(VIDEO, ("prompt", "What happens?"), video=PICTURE)
    assert (only_file(request).kind, only_file(request).param, request.stream) == ("video", "video", True)
    assert not form(VIDEO, ("prompt", "What happens?"), ("stream", "false"), video=PICTURE).stream


def test_all_fields_of_the_earlier_bridge_are_understood() -> None:
    request = form(
        IMAGE,
        ("model", "qwen3.7-plus"),
        ("prompt", " 这张图片里有什么？ "),
        ("stream", "true"),
        ("enable_thinking", "true"),
        ("thinking_budget", "500"),
        image=PICTURE,
    )
    assert (request.model, request.stream, request.ignored) == ("qwen3.7-plus", True, ())
    assert request.thinking == Thinking("on", 500, "enable_thinking")
    assert request.messages[0].parts[0] == TextPart("这张图片里有什么？")


@pytest.mark.parametrize("said", ["true", "True", "TRUE", "1", "on", "yes", " yes "])
def test_yes_is_said_in_many_ways(said: str) -> None:
    assert form(IMAGE, ("prompt", "?"), ("stream", said), image=PICTURE).stream


@pytest.mark.parametrize("said", ["false", "False", "0", "off", "no"])
def test_no_is_said_in_many_ways(said: str) -> None:
    assert not form(VIDEO, ("prompt", "?"), ("stream", said), video=PICTURE).stream


@pytest.mark.parametrize("said", ["", "  "])
def test_an_empty_field_is_as_good_as_none(said: str) -> None:
    fields = (("model", said), ("stream", said), ("enable_thinking", said), ("thinking_budget", said))
    assert form(VIDEO, ("prompt", "?"), *fields, video=PICTURE) == form(VIDEO, ("prompt", "?"), video=PICTURE)


def test_a_budget_without_thinking_is_ignored_and_named() -> None:
    request = form(IMAGE, ("prompt", "?"), ("thinking_budget", "500"), image=PICTURE)
    assert (request.thinking.budget, request.ignored) == (None, ("thinking_budget",))


def test_what_nobody_knows_is_ignored_and_named_once() -> None:
    request = form(IMAGE, ("prompt", "?"), ("size", "1"), ("size", "2"), image=PICTURE, mask=PICTURE)
    assert request.ignored == ("size", "mask")
    many = [(f"x{n}", "") for n in range(100)]
    assert len(form(IMAGE, ("prompt", "?"), *many, image=PICTURE).ignored) == 40


@pytest.mark.parametrize(
    ("fields", "files", "why"),
    [
        ([("prompt", "?")], {}, (InvalidRequest, "image", "missing_required_parameter")),
        ([("prompt", "?"), ("image", "@a.jpg")], {}, (InvalidRequest, "image", "missing_required_parameter")),
        ([("prompt", "?")], {"video": PICTURE}, (InvalidRequest, "image", "missing_required_parameter")),
        ([], {"image": PICTURE}, (InvalidRequest, "prompt", "missing_required_parameter")),
        ([("prompt", "  ")], {"image": PICTURE}, (InvalidRequest, "prompt", "missing_required_parameter")),
        ([("prompt", "?"), ("stream", "maybe")], {"image": PICTURE}, (InvalidRequest, "stream", "invalid_value")),
        (
            [("prompt", "?"), ("enable_thinking", "2")],
            {"image": PICTURE},
            (InvalidRequest, "enable_thinking", "invalid_value"),
        ),
        (
            [("prompt", "?"), ("thinking_budget", "-5")],
            {"image": PICTURE},
            (InvalidRequest, "thinking_budget", "invalid_value"),
        ),
        (
            [("prompt", "?"), ("thinking_budget", "9" * 5000)],
            {"image": PICTURE},
            (InvalidRequest, "thinking_budget", "invalid_value"),
        ),
        (
            [("prompt", "?")],
            {"image": Bytes(b"", size=10 * 1024 * 1024 + 1)},
            (BodyTooLarge, "image", "file_too_large"),
        ),
    ],
)
def test_forms_are_refused_by_the_field(
    fields: list[tuple[str, str]], files: dict[str, Bytes], why: tuple[type[Fault], str | None, str]
) -> None:
    assert refusal(IMAGE, *fields, **files) == why


def test_a_picture_of_ten_megabytes_is_taken_and_a_video_may_be_larger() -> None:
    for path, name, size in ((IMAGE, "image", 10 * 1024 * 1024), (VIDEO, "video", 400 * 1024 * 1024)):
        source = only_file(form(path, ("prompt", "?"), **{name: Bytes(b"", size)})).source
        assert isinstance(source, Given)
        assert source.content.size == size


def test_two_pictures_in_one_form_are_refused() -> None:
    sent = tuple(FormFile("image", "a.gif", "", PICTURE) for _ in range(2))
    with pytest.raises(InvalidRequest) as caught:
        qwen_compat.read(Incoming(IMAGE, [], form=Form((("prompt", "?"),), sent)))
    assert (caught.value.param, caught.value.code) == ("image", "too_many_files")


# --- chats with files ---


def test_a_chat_needs_no_model_and_reasons_unless_told_not_to() -> None:
    request = chat({"type": "text", "text": "Hi"})
    assert (request.model, request.stream) == ("qwen3-vl-plus", False)
    assert request.thinking == Thinking("on", None, "enable_thinking")
    assert request.messages == (Message("user", (TextPart("Hi"),)),)


@pytest.mark.parametrize(
    ("said", "thinking"),
    [
        ({"enable_thinking": False}, Thinking("off", None, "enable_thinking")),
        ({"thinking_budget": 20}, Thinking("on", 20, "thinking_budget")),
        ({"thinking_budget": -1}, Thinking("on", None, "enable_thinking")),
        ({"reasoning_effort": "none"}, Thinking("off", None, "reasoning_effort")),
        ({"enable_thinking": None}, Thinking("on", None, "enable_thinking")),
    ],
)
def test_what_is_said_of_reasoning_counts(said: dict[str, object], thinking: Thinking) -> None:
    assert chat({"type": "text", "text": "Hi"}, model="m", **said).thinking == thinking


def test_whatever_a_chat_completion_understands_is_understood() -> None:
    tool = {"type": "function", "function": {"name": "Read", "parameters": {"type": "object"}}}
    request = chat({"type": "text", "text": "Hi"}, tools=[tool], stop="END", temperature=1, n=2, surprise=1)
    assert ([one.name for one in request.tools], request.stop, request.choices) == (["Read"], ("END",), 2)
    assert "surprise" in request.ignored


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"\xff", b'{"messages": [], "x": "file"}', b'{"messages": {"file": 1}}']
)
def test_a_body_that_is_none_is_refused_as_a_chat_completion_is(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        qwen_compat.read(Incoming(MULTIMODAL, [], body))
    with pytest.raises(InvalidRequest) as plainly:
        openai_chat.read(Incoming("/v1/chat/completions", [], body))
    if plainly.value.param != "model":  # which is not missing here
        assert caught.value.text == plainly.value.text


def test_the_address_of_an_upload_is_a_file_kept_here_of_whatever_kind() -> None:
    for name in ("image_url", "video_url"):
        url = f"http://localhost:8000/v1/files/{OWN}/content"
        found = only_file(chat({"type": name, name: {"url": url}}))
        assert (found.source, found.kind, found.media_type) == (Stored(OWN), None, "")


def test_a_picture_from_elsewhere_is_a_picture_and_a_document_a_document() -> None:
    at = "https://bucket.example/user/0_report%20a.PDF?x-oss-signature=1"
    found = only_file(chat({"type": "image_url", "image_url": {"url": at}}))
    assert (found.source, found.kind) == (Remote(at), "document")
    at = "https://bucket.example/photo.php?as=a.pdf"
    assert only_file(chat({"type": "image_url", "image_url": {"url": at}})).kind == "image"


def info(**more: object) -> dict[str, object]:
    """As an upload was answered and the earlier bridge's clients sent it on."""
    return {
        "type": "image",
        "file": {"id": "9e54fc90", "filename": "cat.png", "meta": {"name": "cat.png", "size": 5}},
        "id": "9e54fc90-278c-477c-9a81-8ebd0e30ab08",
        "url": "https://bucket.example/cat.png?signed",
        "name": "cat.png",
        "size": 5,
        "status": "uploaded",
        "file_type": "image/png",
        "showType": "image",
        "file_class": "vision",
        **more,
    }


@pytest.mark.parametrize("said", [{"id": OWN}, {"id": None, "file": {"id": OWN}}, {"id": OWN, "url": None}])
@pytest.mark.parametrize("url", ["https://elsewhere.example/a", "", PIXEL])
@pytest.mark.parametrize("kind", ["image_url", "video_url", "file"])
def test_the_id_of_a_file_kept_here_is_enough(said: dict[str, object], url: str, kind: str) -> None:
    request = chat({"type": "text", "text": "?"}, {"type": kind, kind: {"url": url}, "file_info": info(**said)})
    found = only_file(request)
    assert (found.source, found.kind, found.name) == (Stored(OWN), None, "cat.png")
    assert found.param == "messages[0].content[1].file_info.id"
    assert request.ignored == ()


def test_a_file_from_elsewhere_is_fetched_from_the_parts_address() -> None:
    at = "https://elsewhere.example/a"
    for kind in ("image_url", "video_url", "file"):
        found = only_file(chat({"type": kind, kind: {"url": at}, "file_info": info(type="video")}))
        assert (found.source, found.kind, found.name) == (Remote(at), "video", "cat.png")
        assert found.param.startswith("messages[0].content[0].")


@pytest.mark.parametrize("given", [{}, {"image_url": None}, {"image_url": ""}, {"image_url": {"url": ""}}])
def test_without_one_it_is_fetched_from_that_of_its_info(given: dict[str, object]) -> None:
    found = only_file(chat({"type": "image_url", **given, "file_info": info()}))
    assert (found.source, found.kind) == (Remote("https://bucket.example/cat.png?signed"), "image")


def test_a_type_that_nobody_knows_says_nothing() -> None:
    at = "https://elsewhere.example/a"
    for said in ("mystery", None, ["image"]):
        assert only_file(chat({"type": "image_url", "image_url": at, "file_info": info(type=said)})).kind == "image"


def test_bytes_in_the_request_are_taken_as_they_are() -> None:
    found = only_file(chat({"type": "image_url", "image_url": {"url": PIXEL}, "file_info": info()}))
    assert isinstance(found.source, Given)
    assert (found.kind, found.media_type, found.name, found.source.content.size) == (
        "image",
        "image/gif",
        "cat.png",
        37,
    )


def test_a_file_of_openais_form_is_read_as_ever() -> None:
    found = only_file(chat({"type": "file", "file": {"file_id": OWN}}))
    assert (found.source, found.kind) == (Stored(OWN), None)
    found = only_file(chat({"type": "file", "file": {"file_data": "aGk=", "filename": "a.txt"}, "file_info": info()}))
    assert (isinstance(found.source, Given), found.name) == (True, "a.txt")


def test_files_in_a_tools_result_are_read_alike() -> None:
    part = {"type": "image_url", "image_url": {"url": "x"}, "file_info": info(id=OWN)}
    body = {"messages": [{"role": "tool", "tool_call_id": "c", "content": [part]}]}
    request = qwen_compat.read(Incoming(MULTIMODAL, [], json.dumps(body).encode()))
    (result,) = request.messages[0].parts
    assert isinstance(result, ToolResultPart)
    assert (result.files[0].source, result.files[0].param) == (Stored(OWN), "messages[0].content[0].file_info.id")


AT = "messages[0].content[1]"


@pytest.mark.parametrize(
    ("piece", "why"),
    [
        (
            {"type": "image_url", "file_info": {"id": "9e54fc90-278c-477c-9a81-8ebd0e30ab08"}},
            (f"{AT}.file_info.id", "file_not_found"),
        ),
        (
            {"type": "image_url", "image_url": {"url": ""}, "file_info": info(url="file:///etc/passwd")},
            (f"{AT}.file_info.id", "file_not_found"),
        ),
        ({"type": "image_url", "file_info": {}}, (f"{AT}.file_info", "invalid_value")),
        ({"type": "image_url", "file_info": "x"}, (f"{AT}.file_info", "invalid_value")),
    ],
)
def test_a_file_that_is_nowhere_is_refused_by_its_place(piece: object, why: tuple[str | None, str]) -> None:
    assert refused_part(piece) == why


def test_info_of_a_text_is_named_as_ignored() -> None:
    request = chat({"type": "text", "text": "?", "file_info": info()})
    assert request.ignored == ("messages[].content[].file_info",)


def test_a_null_is_as_good_as_nothing() -> None:
    at = "https://elsewhere.example/a"
    request = chat({"type": "image_url", "image_url": {"url": at}, "file_info": None})
    assert (only_file(request).source, request.ignored) == (Remote(at), ())
