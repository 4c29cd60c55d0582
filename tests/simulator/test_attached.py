"""Files of a question: what the site takes, what it sees, and what it quietly does not see."""

import hashlib
import time

import pytest

from qwen_gateway.simulator.oss_signatures import presigned

from .shapes import Json, is_json
from .uploads import ask_with, attached, entry, fail, png, put, ticket, uploaded
from .visitor import Reply, Visitor

pytestmark = pytest.mark.anyio

USER = "5b51329c-3691-4101-8f2c-4e5c2edeb21f"


async def _state(visitor: Visitor, *files: object) -> list[object]:
    await ask_with(visitor, "look", *files)
    return [one["status"] for one in await attached(visitor)]


def _refused(reply: Reply) -> bool:
    return "invalid_input" in str(reply.frames()[-1].get("error"))


async def test_a_picture_is_seen_with_its_bytes_and_its_measure(visitor: Visitor) -> None:
    data = png(640, 480, 5000)
    file = await uploaded(visitor, data, "图 1.png")
    await ask_with(visitor, "look", file)
    [seen] = await attached(visitor)
    assert seen == {
        "status": "seen",
        "why": "",
        "id": file["id"],
        "name": "图 1.png",
        "type": "image",
        "file_type": "image/png",
        "size": 5000,
        "user": USER,
        "sha256": hashlib.sha256(data).hexdigest(),
        "width": 640,
        "height": 480,
        "url": file["url"],
    }


@pytest.mark.parametrize(
    ("kind", "media_type", "data"),
    [
        ("video", "video/mp4", b"abc"),
        ("audio", "audio/mpeg", b"abc"),
        ("file", "application/pdf", b"%PDF-1.7"),
        ("file", "text/plain", b"BMW and II* and GIF"),
        ("image", "image/svg+xml", b"<svg/>"),
        ("image", "image/apng", png()),
        ("image", "image/webp", b"RIFF0000WEBPVP8 "),
    ],
)
async def test_every_kind_is_seen(kind: str, media_type: str, data: bytes, visitor: Visitor) -> None:
    assert await _state(visitor, await uploaded(visitor, data, "a.bin", kind, media_type)) == ["seen"]


def _short(file: Json, **more: object) -> Json:
    """The form of 4 Mar 2026, without an id."""
    return {name: file[name] for name in ("type", "name", "file_type", "showType", "file_class", "status")} | more


async def test_the_short_form_of_a_picture_and_the_plain_address_are_enough(visitor: Visitor) -> None:
    whole = await uploaded(visitor, png())
    plain = str(whole["url"]).partition("?")[0]
    files = [_short(whole, url=plain, id=whole["id"]), _short(whole, url=plain), whole | {"url": plain}]
    assert await _state(visitor, *files) == ["seen"] * 3


async def test_documents_may_be_of_either_class(visitor: Visitor) -> None:
    file = await uploaded(visitor, b"abc", "a.txt", "file", "text/plain")
    assert await _state(visitor, file | {"file_class": "file"}) == ["seen"]


async def test_pictures_from_elsewhere_are_taken_unseen(visitor: Visitor) -> None:
    file = await uploaded(visitor, png())
    assert await _state(visitor, _short(file, url="https://cdn.qwenlm.ai/x.png?key=1")) == ["outside"]


async def test_a_picture_that_the_site_made_is_seen(visitor: Visitor) -> None:
    data = png(8, 6)
    path = "/output/u/t2i/r/1.png"
    visitor.sim.site.outputs[path] = data
    file = await uploaded(visitor, png())
    await ask_with(visitor, "look", _short(file, url=visitor.sim.url + path))
    [seen] = await attached(visitor)
    assert (seen["status"], seen["width"], seen["sha256"]) == ("seen", 8, hashlib.sha256(data).hexdigest())


# --- what nobody is told ---


async def test_a_file_that_was_never_uploaded_is_not_seen_and_no_error(visitor: Visitor) -> None:
    given = await ticket(visitor)
    reply = await ask_with(visitor, "say fine", entry(given, b"x", "a.png", "image", "image/png"))
    assert reply.said() == "fine"
    assert [one["status"] for one in await attached(visitor)] == ["dead"]


async def test_a_file_of_another_account_is_not_seen(visitor: Visitor) -> None:
    file = await uploaded(visitor, png())
    visitor.headers |= {
        "Cookie": visitor.sim.cookies("anna"),
        "Authorization": f"Bearer {visitor.sim.access_token('anna')}",
    }
    assert await _state(visitor, file) == ["dead"]


async def test_a_file_of_a_wrong_id_is_not_seen(visitor: Visitor) -> None:
    await fail(visitor, {"at": "ticket", "what": "wrong_id"})
    assert await _state(visitor, await uploaded(visitor, png())) == ["dead"]


async def test_a_file_ends_when_the_site_lets_it_end(visitor: Visitor) -> None:
    file = await uploaded(visitor, png())
    await visitor.program(site={"file_seconds": 0})
    assert await _state(visitor, file) == ["dead"]


async def test_files_can_be_forgotten_by_hand(visitor: Visitor) -> None:
    first, second = await uploaded(visitor, png()), await uploaded(visitor, png())
    reply = await visitor.post("/__sim/forget", {"files": [first["id"]]})
    assert reply.json() == {"ok": True, "chats": 0, "nodes": 0, "files": 1}
    assert await _state(visitor, first, second) == ["dead", "seen"]
    assert (await visitor.post("/__sim/forget", {"files": "all"})).json()["files"] == 1
    assert await _state(visitor, second) == ["dead"]
    reply = await visitor.post("/__sim/forget", {"files": ["nothing"]})
    assert (reply.status, reply.json()["error"]) == (400, "not there: nothing")


@pytest.mark.parametrize("what", ["never", "failed"])
async def test_a_document_that_was_not_read_is_not_seen(what: str, visitor: Visitor) -> None:
    await visitor.program(site={"parse_ms": 0})
    given = await ticket(visitor, "a.txt", 3, "file")
    await put(given, b"abc", "text/plain")
    file = entry(given, b"abc", "a.txt", "file", "text/plain")
    assert await _state(visitor, file) == ["unparsed"]
    await fail(visitor, {"at": "parse", "what": what})
    await visitor.post("/api/v2/files/parse", {"file_id": given["file_id"]})
    assert await _state(visitor, file) == ["unparsed"]


# --- what is refused ---


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"type": "picture"}, "picture"),
        ({"showType": "file"}, "showType"),
        ({"file_class": "document"}, "file_class"),
        ({"status": "uploading"}, "status"),
        ({"name": ""}, "name"),
        ({"name": "b.png"}, "`name` is 'b.png'"),
        ({"size": 4}, "size"),
        ({"file_type": "image/jpeg"}, "file_type"),
        ({"url": "https://example.com/a.png"}, "address"),
        ({"url": None}, "url"),
        ({"file": None}, "`file.id`, `file.user_id`, `file.filename`, `file.meta.name`"),
        ({"file.id": "another"}, "file.id"),
        ({"file.user_id": "another"}, "file.user_id"),
        ({"file.filename": "b.png"}, "`file.filename` is 'b.png'"),
        ({"file.meta": None}, "without `file.meta.name`, `file.meta.size`, `file.meta.content_type`"),
        ({"file.meta.name": "b.png"}, "`file.meta.name` is 'b.png'"),
        ({"file.meta.size": 1}, "file.meta.size"),
        ({"file.meta.content_type": "text/plain"}, "file.meta.content_type"),
    ],
)
async def test_what_is_not_so_is_refused(changed: Json, named: str, visitor: Visitor) -> None:
    file = await uploaded(visitor, png())
    for path, value in changed.items():
        *inside, name = path.split(".")
        place = file
        for each in inside:
            found = place[each]
            assert is_json(found)
            place = found
        place[name] = value
    assert _refused(await ask_with(visitor, "look", file))
    [one] = await attached(visitor)
    assert one["status"] == "refused"
    assert named in str(one["why"])
    assert (await visitor.seen())[-1]["status"] == "error"


async def test_the_address_of_another_file_is_refused(visitor: Visitor) -> None:
    first, second = await uploaded(visitor, png()), await uploaded(visitor, png())
    assert _refused(await ask_with(visitor, "look", first | {"url": second["url"]}))


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        (("b.png", 100, "image"), "`name` is 'a.png', not 'b.png'"),
        (("a.png", 100, "file"), "`filetype` file, not image"),
        (("a.png", 100, "video/mp4"), "`filetype` video, not image"),
        (("a.png", 99, "image"), "`filesize` 99, not 100"),
    ],
)
async def test_what_the_ticket_was_not_taken_for_is_refused(
    wish: tuple[str, int, str], named: str, visitor: Visitor
) -> None:
    given = await ticket(visitor, *wish)
    data = png(size=100)
    await put(given, data)
    assert _refused(await ask_with(visitor, "look", entry(given, data, "a.png", "image", "image/png")))
    [one] = await attached(visitor)
    assert named in str(one["why"])


@pytest.mark.parametrize("said", ["image", "image/png", "IMAGE/x-anything"])
async def test_a_ticket_may_have_been_taken_by_media_type(said: str, visitor: Visitor) -> None:
    given = await ticket(visitor, "a.png", 100, said)
    data = png(size=100)
    await put(given, data)
    assert await _state(visitor, entry(given, data, "a.png", "image", "image/png")) == ["seen"]


@pytest.mark.parametrize(
    ("data", "kind", "media_type", "found"),
    [
        (png(), "image", "image/jpeg", "image/png"),
        (b"<html>", "image", "image/png", "something else"),
        (b"<html>", "image", "image/webp", "something else"),
        (png(), "video", "video/mp4", "image/png"),
        (b"<html>", "file", "application/pdf", "something else"),
        (b"%PDF-1.7", "file", "text/plain", "application/pdf"),
    ],
)
async def test_bytes_that_are_not_of_the_type_are_refused(
    data: bytes, kind: str, media_type: str, found: str, visitor: Visitor
) -> None:
    assert _refused(await ask_with(visitor, "look", await uploaded(visitor, data, "a", kind, media_type)))
    [one] = await attached(visitor)
    assert f"`file_type` is {media_type}, and the bytes are {found}" in str(one["why"])


async def test_a_signed_address_is_good_for_its_file_and_its_time(visitor: Visitor) -> None:
    await visitor.program(site={"file_url_seconds": 100})
    first, second = await uploaded(visitor, png()), await uploaded(visitor, png())
    path, _, query = str(first["url"]).partition("?")
    other = str(second["url"]).partition("?")[2]
    for bad, why in (
        (query.replace("x-oss-expires=100", "x-oss-expires=1000"), "SignatureDoesNotMatch"),
        (other, "SignatureDoesNotMatch"),
        ("x-oss-process=image", "AccessDenied"),
    ):
        assert _refused(await ask_with(visitor, "look", first | {"url": f"{path}?{bad}"}))
        [one] = await attached(visitor)
        assert one["why"] == f"its address is not good: {why}"
    assert await _state(visitor, first, second) == ["seen", "seen"]
    sign = visitor.sim.site.tickets.by_file[str(first["id"])]
    old = presigned(visitor.sim.url, sign, 100, time.time() - 101)
    assert old.partition("?")[0] == path
    assert _refused(await ask_with(visitor, "look", first | {"url": old}))
    assert await _state(visitor, first | {"url": path}) == ["seen"]


async def test_a_text_that_is_called_a_picture_is_refused(visitor: Visitor) -> None:
    file = await uploaded(visitor, b"abc", "a.txt", "image", "text/plain")
    assert _refused(await ask_with(visitor, "look", file))


@pytest.mark.parametrize("kind", ["file", "audio", "video"])
async def test_other_kinds_come_from_the_object_storage_alone(kind: str, visitor: Visitor) -> None:
    media_type = {"file": "application/pdf"}.get(kind, f"{kind}/mpeg")
    file = await uploaded(visitor, b"%PDF-" if kind == "file" else b"abc", "a.bin", kind, media_type)
    assert _refused(await ask_with(visitor, "look", file | {"url": "https://cdn.qwenlm.ai/a.bin"}))
    assert _refused(await ask_with(visitor, "look", {name: file[name] for name in file if name != "id"}))


@pytest.mark.parametrize(("kinds", "status"), [
    (["image", "audio"], "refused"),
    (["image", "video"], "refused"),
    (["video", "video"], "refused"),
    (["audio", "audio"], "refused"),
    (["image", "image", "file"], "seen"),
    (["audio", "video", "file"], "seen"),
])  # fmt: skip
async def test_not_all_kinds_go_together(kinds: list[str], status: str, visitor: Visitor) -> None:
    types = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4", "file": "text/plain"}
    data = {"image": png()}
    files = [
        await uploaded(visitor, data.get(kind, b"abc"), f"{at}", kind, types[kind]) for at, kind in enumerate(kinds)
    ]
    reply = await ask_with(visitor, "look", *files)
    assert {one["status"] for one in await attached(visitor)} == {status}
    assert _refused(reply) == (status == "refused")


async def test_a_refused_question_takes_no_programmed_turn(visitor: Visitor) -> None:
    await visitor.program({"text": "for the next one"})
    await ask_with(visitor, "look", "not even an object")
    assert [turn.text for turn in visitor.sim.site.queue] == ["for the next one"]
    assert is_json((await attached(visitor))[0])
