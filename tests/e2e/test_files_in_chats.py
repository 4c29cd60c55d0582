"""Files in one message, through OpenAI's own client: each reaches the site as it is, or the request is refused with the
part's name and the site hears nothing of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from . import file_samples as samples
from .attaching import (
    FETCHING,
    Web,
    answers,
    asked,
    check,
    file,
    image,
    keep,
    kept,
    quick_reading,
    refused,
    sound,
    text,
    untouched,
    uploads,
    user,
    video,
    web_server,
)
from .conversations import fresh
from .file_samples import Sample
from .rig import PATIENT, Rig, running
from .wire import MODEL, Json

INLINE = 4096
LIMITS: dict[str, Any] = {
    "inline_text_bytes": INLINE,
    "max_image_bytes": 50_000,
    "max_document_bytes": 60_000,
    "max_audio_bytes": 70_000,
    "max_video_bytes": 80_000,
    "max_pictures": 4,
    "max_documents": 3,
}
DEAF = "qwen3.7-max"
"""It reads documents and neither sees nor hears."""
OMNI = "qwen3.5-omni-plus"
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    with quick_reading():
        async with running(tmp_path_factory.mktemp("home"), **PATIENT, **FETCHING, **LIMITS) as found:
            yield found


@pytest.fixture
async def rig(home: Rig) -> Rig:
    return await fresh(home)


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Web]:
    async with web_server() as found:
        yield found


# -- every kind, by every way


Part = Callable[[Rig, Web], Awaitable[tuple[Json, Sample]]]


def _given(make: Callable[[], Sample], part: Callable[[Sample], Json]) -> Part:
    async def made(rig: Rig, server: Web) -> tuple[Json, Sample]:
        del rig, server
        sample = make()
        return part(sample), sample

    return made


def _fetched(make: Callable[[], Sample], part: Callable[[str], Json]) -> Part:
    async def made(rig: Rig, server: Web) -> tuple[Json, Sample]:
        del rig
        sample = make()
        return part(server.put(sample)), sample

    return made


def _kept(make: Callable[[], Sample]) -> Part:
    async def made(rig: Rig, server: Web) -> tuple[Json, Sample]:
        del server
        sample = make()
        return kept(await keep(rig, sample)), sample

    return made


def _unnamed(make: Callable[[], Sample], name: str) -> Callable[[], Sample]:
    """What its part does not name gets a name from us."""
    return lambda: make().named(name)


def _file_at(url: str) -> Json:
    return {"type": "file", "file": {"file_url": url}}


def _input_file(sample: Sample) -> Json:
    return {"type": "input_file", "filename": sample.name, "file_data": sample.data_url}


def _bare_file(sample: Sample) -> Json:
    """Without a type, as base64 alone."""
    return {"type": "file", "file": {"filename": sample.name, "file_data": sample.base64}}


WAYS: dict[str, Part] = {
    "picture": _given(_unnamed(samples.png, "image.png"), image),
    "photo": _given(_unnamed(samples.jpeg, "image.jpg"), image),
    "picture at an address": _fetched(samples.png, image),
    "photo as a file": _given(samples.jpeg, file),
    "picture that is kept": _kept(samples.png),
    "picture in Responses' form": _given(
        _unnamed(samples.png, "image.png"), lambda sample: {"type": "input_image", "image_url": sample.data_url}
    ),
    "sound": _given(_unnamed(samples.wav, "audio.wav"), sound),
    "music": _given(_unnamed(samples.mp3, "audio.mp3"), sound),
    "sound at an address": _fetched(samples.mp3, lambda url: {"type": "audio_url", "audio_url": {"url": url}}),
    "video": _given(_unnamed(samples.mp4, "video.mp4"), video),
    "video at an address": _fetched(samples.mp4, video),
    "video that is kept": _kept(samples.mp4),
    "PDF": _given(samples.pdf, file),
    "PDF without a type": _given(samples.pdf, _bare_file),
    "PDF at an address": _fetched(samples.pdf, _file_at),
    "PDF that is kept": _kept(samples.pdf),
    "PDF in Responses' form": _given(samples.pdf, _input_file),
    "Word": _given(samples.docx, file),
    "Word that is kept": _kept(samples.docx),
    "long text": _given(lambda: samples.txt(size=INLINE), file),
    "long text that is kept": _kept(lambda: samples.txt(size=INLINE)),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_file_reaches_the_site_as_it_is(rig: Rig, server: Web, way: str) -> None:
    """And is there already when somebody asks again."""
    part, sample = await WAYS[way](rig, server)
    model = OMNI if sample.kind == "audio" else MODEL
    for stream in (False, True):
        seen = await asked(rig, stream, user("What is this?", part), model=model)
        assert seen.prompt == "What is this?"
        check(rig, seen, sample)
    assert uploads(rig) == 1


@BOTH
async def test_several_files_stand_where_the_message_has_them(rig: Rig, server: Web, stream: bool) -> None:
    first, second, paper = samples.png(), samples.jpeg().named("second.jpg"), samples.pdf()
    seen = await asked(
        rig,
        stream,
        user("Compare", image(first), "with", image(server.put(second)), "as in", file(paper)),
    )
    check(rig, seen, first.named("image.png"), second, paper)
    assert seen.prompt.split("\n") == [
        "Compare",
        "(attached image 1: image.png)",
        "with",
        "(attached image 2)",  # its name is known once it was fetched
        "as in",
        "(attached document 3: paper.pdf)",
    ]


async def test_one_file_in_two_places_is_one_file(rig: Rig, server: Web) -> None:
    sample, fetched = samples.png(), samples.jpeg().named("twice.jpg")
    url = server.put(fetched)
    parts = (image(sample), image(url))
    seen = await asked(rig, False, user("These", *parts, "and these", *parts))
    check(rig, seen, sample.named("image.png"), fetched)
    assert seen.prompt.count("(attached image 1") == seen.prompt.count("(attached image 2") == 2
    assert server.asked["/twice.jpg"] == 1


@BOTH
async def test_a_message_may_have_nothing_but_files(rig: Rig, stream: bool) -> None:
    """B50"""
    sample = samples.png()
    seen = await asked(rig, stream, user(image(sample)))
    assert seen.prompt == "(see attachment)"
    check(rig, seen, sample.named("image.png"))


async def test_sound_and_video_go_together_with_documents(rig: Rig) -> None:
    film, voice, paper = samples.mp4(), samples.wav(), samples.pdf()
    seen = await asked(rig, False, user("all", video(film), sound(voice), file(paper)), model=OMNI)
    check(rig, seen, film.named("video.mp4"), voice.named("audio.wav"), paper)


async def test_a_name_that_says_another_format_gets_the_right_end(rig: Rig) -> None:
    """What the site makes of a file it takes from its name."""
    picture = samples.png()
    seen = await asked(rig, False, user("x", file(picture.named("C:\\pictures\\holiday.jpeg"))))
    check(rig, seen, picture.named("holiday.jpeg.png"))


async def test_names_stay_as_people_write_them(rig: Rig) -> None:
    names = ("Übersicht 2026 (final).png", "图片.png", "a+b&c=d%20#1.png", "😀 'quoted' \"name\".png")
    pictures = [samples.png().named(name) for name in names]
    check(rig, await asked(rig, False, user("x", *map(file, pictures))), *pictures)
    others = [samples.png().named(name) for name in names]
    check(rig, await asked(rig, False, user("x", *[kept(await keep(rig, one)) for one in others])), *others)


async def test_as_large_a_document_as_the_site_takes_fits_into_a_request(tmp_path: Path) -> None:
    """As it is: base64 in JSON, and in parts from there on."""
    paper, most = samples.pdf(), 20 * 1024 * 1024
    paper = Sample(paper.name, paper.media_type, "document", paper.data + bytes(most - paper.size))
    with quick_reading():
        async with running(tmp_path, **PATIENT) as rig:
            check(rig, await asked(rig, False, user("x", file(paper))), paper)
            (upload,) = rig.sim.site.bucket.uploads.values()
            assert (upload.state, upload.received) == ("completed", most)
            larger = Sample(paper.name, paper.media_type, "document", paper.data + b"x")
            found = await refused(rig, False, user("x", file(larger)), status=413)
            assert found[:2] == ("file_too_large", "messages[0].content[1].file")


# -- texts


@BOTH
@pytest.mark.parametrize("by_id", [False, True], ids=["given", "kept"])
async def test_a_short_text_is_said_in_the_message(rig: Rig, stream: bool, by_id: bool) -> None:
    note = samples.txt().named("ünïcode.md")
    note = Sample(note.name, "text/markdown", "document", note.data + "# Grüße, 世界\n".encode())
    part = kept(await keep(rig, note)) if by_id else file(note)
    seen = await asked(rig, stream, user("Sum it up.", part))
    assert seen.prompt.startswith("Sum it up.\n")
    assert note.data.decode().strip() in seen.prompt
    assert 'file "ünïcode.md"' in seen.prompt
    assert not seen.files
    assert uploads(rig) == 0


async def test_the_limit_decides_whether_a_text_is_said_or_attached(rig: Rig) -> None:
    lines = samples.txt(size=INLINE).data
    for length, attached in ((INLINE, False), (INLINE + 1, True)):
        note = Sample("notes.txt", "text/plain", "document", lines[:length])
        seen = await asked(rig, False, user("x", file(note)))
        assert bool(seen.files) == attached
        if attached:
            check(rig, seen, note)


# -- several answers, and results of tools


@BOTH
async def test_several_answers_share_one_upload(rig: Rig, server: Web, stream: bool) -> None:
    picture, fetched = samples.png(), samples.jpeg()
    parts = (image(picture), image(server.put(fetched, "/shared.jpg")))
    asked = server.asked["/shared.jpg"]
    assert await answers(rig, stream, user("x", *parts), n=3) == ["ok"] * 3
    assert server.asked["/shared.jpg"] == asked + 1
    for seen in rig.sim.site.seen:
        check(rig, seen, picture.named("image.png"), fetched.named("shared.jpg"), at_once=True)
    assert len(rig.sim.site.seen) == 3
    assert uploads(rig) == 2


def _tool(result: object) -> list[Any]:
    """A conversation in which a tool has just returned this."""
    call = {"id": "call_1", "type": "function", "function": {"name": "screenshot", "arguments": "{}"}}
    return [
        {"role": "user", "content": "What is on my screen?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": result},
    ]


@BOTH
async def test_a_tool_may_return_a_picture(rig: Rig, server: Web, stream: bool) -> None:
    shot, other = samples.png(), samples.jpeg()
    result = [text("Two screens."), image(shot), image(server.put(other, "/screen.jpg"))]
    seen = await asked(rig, stream, *_tool(result))
    check(rig, seen, shot.named("image.png"), other.named("screen.jpg"))
    assert "Two screens." in seen.prompt
    assert "(see attached image 1: image.png)" in seen.prompt
    assert "(see attached image 2)" in seen.prompt


async def test_a_tool_that_returns_a_picture_the_model_cannot_see(rig: Rig) -> None:
    code, param, _ = await refused(rig, False, *_tool([image(samples.png())]), model=DEAF)
    assert (code, param) == ("unsupported_content", "messages[2].content[0].image_url")
    assert untouched(rig)


# -- addresses


async def test_a_file_is_called_what_its_server_calls_it(rig: Rig, server: Web) -> None:
    paper = samples.pdf()
    url = server.put(paper, "/download", Content_Disposition="attachment; filename*=UTF-8''B%C3%BCcher.pdf")
    check(rig, await asked(rig, False, user("x", _file_at(url))), paper.named("Bücher.pdf"))


async def test_a_redirect_is_followed(rig: Rig, server: Web) -> None:
    picture = samples.png()
    server.put(picture, "/moved.png")
    url = server.answer("/old.png", b"", Location="/moved.png")
    check(rig, await asked(rig, False, user("x", image(url))), picture.named("moved.png"))


async def test_the_server_need_not_say_what_the_file_is(rig: Rig, server: Web) -> None:
    picture = samples.png()
    url = server.answer("/8c1f", picture.data, Content_Type="application/octet-stream")
    check(rig, await asked(rig, False, user("x", image(url))), picture.named("8c1f.png"))


async def test_a_kept_file_may_be_named_by_its_address_here(rig: Rig) -> None:
    """As the earlier bridge's uploads say it: nothing is fetched, which this address would forbid."""
    picture = samples.png()
    url = f"{rig.url}/v1/files/{await keep(rig, picture)}/content"
    check(rig, await asked(rig, False, user("x", image(url))), picture)


@BOTH
async def test_what_is_not_there_or_no_picture_is_refused(rig: Rig, server: Web, stream: bool) -> None:
    gone = f"{server.url}/gone.png"
    page = server.answer("/page.png", b"<!DOCTYPE html><p>Please log in.", Content_Type="image/png")
    large = server.answer("/large.png", samples.png().data + bytes(50_000), Content_Type="image/png")
    for url, status, code in (
        (gone, 400, "url_unreachable"),
        (page, 400, "unsupported_file"),
        (large, 413, "file_too_large"),
    ):
        found = await refused(rig, stream, user("x", image(samples.png()), image(url)), status=status)
        assert found[:2] == (code, "messages[0].content[2].image_url"), found
    assert untouched(rig)


# -- what is refused


def _paper() -> Sample:
    return samples.pdf()


REFUSED: dict[str, tuple[Callable[[], list[Json]], int, str, str]] = {
    # parts behind a text; status, code, place
    "PDF as a picture": (
        lambda: [image(f"data:image/png;base64,{_paper().base64}")],
        400,
        "unsupported_file",
        "[1].image_url",
    ),
    "picture as sound": (
        lambda: [{"type": "input_audio", "input_audio": {"data": samples.png().base64, "format": "wav"}}],
        400,
        "unsupported_file",
        "[1].input_audio",
    ),
    "document in place of a picture": (lambda: [image(_paper())], 400, "unsupported_file", "[1].image_url.url"),
    "text that is called PDF": (
        lambda: [file(Sample("a.pdf", "application/pdf", "document", b"not a PDF"))],
        400,
        "unsupported_file",
        "[1].file",
    ),
    "nothing": (
        lambda: [file(Sample("a.pdf", "application/pdf", "document", b""))],
        400,
        "unsupported_file",
        "[1].file",
    ),
    "no base64": (lambda: [image("data:image/png;base64,@@@@")], 400, "invalid_value", "[1].image_url.url"),
    "too large a picture": (
        lambda: [image(Sample("", "image/png", "image", samples.png().data + bytes(50_000)))],
        413,
        "file_too_large",
        "[1].image_url",
    ),
    "too large a document": (
        lambda: [file(Sample("a.pdf", "application/pdf", "document", _paper().data + bytes(60_000)))],
        413,
        "file_too_large",
        "[1].file",
    ),
    "too large a sound": (
        lambda: [sound(Sample("a.mp3", "audio/mpeg", "audio", samples.mp3(frames=200).data))],
        413,
        "file_too_large",
        "[1].input_audio",
    ),
    "too large a video": (lambda: [video(samples.mp4(filler=80_000))], 413, "file_too_large", "[1].video_url"),
    "picture beside sound": (
        lambda: [image(samples.png()), sound(samples.wav())],
        400,
        "unsupported_content",
        "[2].input_audio",
    ),
    "picture beside video": (
        lambda: [video(samples.mp4()), image(samples.png())],
        400,
        "unsupported_content",
        "[2].image_url",
    ),
    "two sounds": (lambda: [sound(samples.wav()), sound(samples.mp3())], 400, "too_many_files", "[2].input_audio"),
    "two videos": (lambda: [video(samples.mp4()), video(samples.mp4())], 400, "too_many_files", "[2].video_url"),
    "too many pictures": (
        lambda: [image(samples.png()) for _ in range(5)],
        400,
        "too_many_files",
        "[5].image_url",
    ),
    "too many documents": (lambda: [file(_paper()) for _ in range(4)], 400, "too_many_files", "[4].file"),
    "no such file": (lambda: [kept("file-000000000000000000000000")], 400, "file_not_found", "[1].file"),
    "an id of nothing": (lambda: [kept("../../etc/passwd")], 400, "file_not_found", "[1].file"),
    "two sources": (
        lambda: [{"type": "file", "file": {"file_id": "file-1", "file_data": _paper().data_url}}],
        400,
        "invalid_value",
        "[1].file",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_cannot_reach_the_model_is_refused_by_name(rig: Rig, what: str) -> None:
    parts, status, code, place = REFUSED[what]
    for stream in (False, True):
        found = await refused(rig, stream, user("x", *parts()), status=status, model=OMNI)
        assert found[:2] == (code, f"messages[0].content{place}"), found
    await rig.settle()
    assert untouched(rig)


@pytest.mark.parametrize(
    ("part", "place", "verb"),
    [
        (lambda: image(samples.png()), "image_url", "see pictures"),
        (lambda: image("https://example.com/a.png"), "image_url", "see pictures"),
        (lambda: sound(samples.wav()), "input_audio", "listen to sounds"),
        (lambda: video(samples.mp4()), "video_url", "watch videos"),
    ],
    ids=["picture", "address", "sound", "video"],
)
async def test_a_model_that_cannot_take_it_is_named_with_those_that_can(
    rig: Rig, part: Callable[[], Json], place: str, verb: str
) -> None:
    for stream in (False, True):
        code, param, told = await refused(rig, stream, user("x", part()), model=DEAF)
        assert (code, param) == ("unsupported_content", f"messages[0].content[1].{place}")
        assert f"'{DEAF}' cannot {verb}" in told
        assert OMNI in told.partition("These can:")[2]
        assert DEAF not in told.partition("These can:")[2]
    assert untouched(rig)


async def test_a_model_that_sees_nothing_reads_documents(rig: Rig) -> None:
    paper = samples.pdf()
    check(rig, await asked(rig, False, user("x", file(paper)), model=DEAF), paper)


async def test_an_address_that_turns_out_to_be_what_the_model_cannot_see(rig: Rig, server: Web) -> None:
    """The part does not say what is there."""
    url = server.put(samples.png(), "/unknown")
    code, param, _ = await refused(rig, False, user("x", _file_at(url)), model=DEAF)
    assert (code, param) == ("unsupported_content", "messages[0].content[1].file")
    assert untouched(rig)


async def test_a_refused_file_of_an_older_message_is_named_where_it_stands(rig: Rig) -> None:
    """What is told anew must be possible as a whole."""
    history = [user("one", image(samples.png())), {"role": "assistant", "content": "1"}, user("two")]
    code, param, _ = await refused(rig, False, *history, model=DEAF)
    assert (code, param) == ("unsupported_content", "messages[0].content[1].image_url")


async def test_only_users_and_tools_have_files(rig: Rig) -> None:
    for role in ("system", "assistant"):
        message = {"role": role, "content": [image(samples.png())]}
        code, param, _ = await refused(rig, False, message, user("x"))
        assert (code, param) == ("unsupported_content", "messages[0].content[0]")
    assert untouched(rig)


# -- other people's files


async def test_the_file_of_another_key_is_not_there(rig: Rig) -> None:
    mine, paper = rig.key, samples.pdf()
    file_id = await keep(rig, paper)
    made = await rig.manage("POST", "/keys", {"name": file_id})
    rig.key = str(made.json()["text"])
    for part in (kept(file_id), image(f"{rig.url}/v1/files/{file_id}/content")):
        code, param, told = await refused(rig, False, user("x", part))
        assert code == "file_not_found"
        assert param.startswith("messages[0].content[1].")
        assert paper.name not in told
    assert untouched(rig)
    rig.key = mine
    check(rig, await asked(rig, False, user("x", kept(file_id))), paper)


async def test_a_deleted_file_is_not_there(rig: Rig) -> None:
    file_id = await keep(rig, samples.png())
    await asked(rig, False, user("x", kept(file_id)))
    await rig.client(rig.key).files.delete(file_id)
    code, param, _ = await refused(rig, False, user("x", kept(file_id)))
    assert (code, param) == ("file_not_found", "messages[0].content[1].file")


async def test_a_kept_file_of_another_kind_is_refused_where_it_stands(rig: Rig) -> None:
    part = image(f"{rig.url}/v1/files/{await keep(rig, samples.pdf())}/content")
    code, param, _ = await refused(rig, False, user("x", part))
    assert (code, param) == ("unsupported_file", "messages[0].content[1].image_url")
    assert untouched(rig)


# -- what has no effect


async def test_what_says_nothing_to_the_site_is_named(rig: Rig) -> None:
    part = image(samples.png(), detail="high")
    found = await rig.post({"model": MODEL, "messages": [user("x", part)]}, key=rig.key)
    assert (found.status, found.headers["x-gateway-ignored"]) == (200, "messages[].content[].image_url.detail")
    part = image(samples.png(), detail="auto")
    found = await rig.post({"model": MODEL, "messages": [user("x", part)]}, key=rig.key)
    assert "x-gateway-ignored" not in found.headers


async def test_what_says_nothing_to_the_site_can_be_refused(tmp_path: Path) -> None:
    async with running(tmp_path, strict_params=True) as rig:
        for stream in (False, True):
            code, param, _ = await refused(rig, stream, user("x", image(samples.png(), detail="high")))
            assert (code, param) == ("unsupported_parameter", "messages[].content[].image_url.detail")
        assert untouched(rig)
        picture = samples.png()
        seen = await asked(rig, False, user("x", image(picture)))
        check(rig, seen, picture.named("image.png"))
