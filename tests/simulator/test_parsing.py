"""Reading documents."""

import json
from pathlib import Path

import pytest

from .shapes import Json
from .uploads import fail, kept, listed, parse_status, put, ticket
from .visitor import Visitor

pytestmark = pytest.mark.anyio

RECORDED = Path(__file__).parents[1] / "corpus" / "files_parse_2026-09-14.json"


async def _document(visitor: Visitor) -> Json:
    given = await ticket(visitor, "a.md", 3, "file")
    await put(given, b"abc", "text/markdown")
    return given


async def _parse(visitor: Visitor, given: Json) -> Json:
    return (await visitor.post("/api/v2/files/parse", {"file_id": given["file_id"]})).json()


async def _until_read(visitor: Visitor, given: Json) -> list[object]:
    """The states that are told, one after the other."""
    found: list[object] = []
    while not found or found[-1] in {"pending", "parsing"}:
        state = await parse_status(visitor, given["file_id"])
        if state not in found[-1:]:
            found.append(state)
    return found


async def test_a_document_is_pending_then_parsing_then_done(visitor: Visitor) -> None:
    await visitor.program(site={"parse_ms": 300})
    given = await _document(visitor)
    assert (await _parse(visitor, given))["data"] == {"file_id": given["file_id"]}
    assert await _until_read(visitor, given) == ["pending", "parsing", "success"]


async def test_both_answers_have_the_shape_of_the_recording(visitor: Visitor) -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    await visitor.program(site={"parse_ms": 0})
    given = await _document(visitor)
    assert list(await _parse(visitor, given)) == list(recorded["parse"]["response"])
    reply = await visitor.post("/api/v2/files/parse/status", {"file_id_list": [given["file_id"]]})
    assert reply.json()["data"] == [recorded["parse_status"]["response"]["data"][0] | {"file_id": given["file_id"]}]


async def test_the_list_may_stand_one_level_down(visitor: Visitor) -> None:
    await visitor.program(site={"parse_list": True})
    given = await _document(visitor)
    reply = await visitor.post("/api/v2/files/parse/status", {"file_id_list": [given["file_id"]]})
    assert [item["status"] for item in listed(reply.data()["list"])] == ["pending"]


async def test_only_what_was_uploaded_by_this_account_is_read(visitor: Visitor) -> None:
    mine = await _document(visitor)
    empty = await ticket(visitor)
    assert (await _parse(visitor, empty))["success"] is False
    visitor.headers |= {
        "Cookie": visitor.sim.cookies("anna"),
        "Authorization": f"Bearer {visitor.sim.access_token('anna')}",
    }
    assert (await _parse(visitor, mine))["data"] == {"code": "Bad_Request", "details": "Invalid file information!"}
    assert await parse_status(visitor, mine["file_id"]) == "pending"


async def test_calls_and_polls_are_counted(visitor: Visitor) -> None:
    given = await _document(visitor)
    for _ in range(2):
        await _parse(visitor, given)
    await _until_read(visitor, given)
    [told] = listed((await kept(visitor))["parses"])
    assert (told["file_id"], told["calls"], told["status"]) == (given["file_id"], 2, "success")
    assert int(str(told["polls"])) >= 1


@pytest.mark.parametrize("body", [{"file_id_list": "x"}, {}])
async def test_a_wrong_question_about_the_status_is_refused(body: Json, visitor: Visitor) -> None:
    assert (await visitor.post("/api/v2/files/parse/status", body)).data()["code"] == "Bad_Request"


# --- mishaps ---


async def test_reading_may_fail_and_be_asked_for_again(visitor: Visitor) -> None:
    await visitor.program(site={"parse_ms": 0})
    await fail(visitor, {"at": "parse", "what": "failed"})
    given = await _document(visitor)
    await _parse(visitor, given)
    reply = await visitor.post("/api/v2/files/parse/status", {"file_id_list": [given["file_id"]]})
    [told] = listed(reply.json()["data"])
    assert told["status"] == "failed"
    assert told["error_msg"]
    await _parse(visitor, given)
    assert await parse_status(visitor, given["file_id"]) == "success"


async def test_reading_may_never_end(visitor: Visitor) -> None:
    await visitor.program(site={"parse_ms": 0})
    await fail(visitor, {"at": "parse", "what": "never"})
    given = await _document(visitor)
    await _parse(visitor, given)
    assert [await parse_status(visitor, given["file_id"]) for _ in range(3)] == ["parsing"] * 3


async def test_the_service_may_be_down_in_both_recorded_forms(visitor: Visitor) -> None:
    given = await _document(visitor)
    await fail(visitor, {"at": "parse", "what": "service_down"}, {"at": "status", "what": "service_down"})
    down = {"code": "Internal_Server_Error"}
    first = await _parse(visitor, given)
    assert (first["success"], first["data"]) == (True, down)
    second = (await visitor.post("/api/v2/files/parse/status", {"file_id_list": [given["file_id"]]})).json()
    assert (second["success"], second["data"]) == (False, down)


@pytest.mark.parametrize("at", ["parse", "status"])
async def test_any_whole_answer_can_take_its_place(at: str, visitor: Visitor) -> None:
    path = "/api/v2/files/parse" + ("/status" if at == "status" else "")
    await fail(visitor, {"at": at, "what": "http_502"}, {"at": at, "what": "gone"})
    assert [(await visitor.post(path, {})).status for _ in range(2)] == [502, 404]
