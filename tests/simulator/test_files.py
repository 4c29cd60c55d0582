"""Tickets to upload with, as the site gives them."""

import json
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from .shapes import Json, is_json
from .uploads import ask_ticket, fail, kept, listed, put, refused_put, ticket
from .visitor import Visitor

pytestmark = pytest.mark.anyio

USER = "5b51329c-3691-4101-8f2c-4e5c2edeb21f"
CORPUS = Path(__file__).parents[1] / "corpus"


async def test_a_ticket_has_the_keys_of_the_recording_in_its_order(visitor: Visitor) -> None:
    recorded = json.loads((CORPUS / "sts_document_2026-09-14.json").read_text(encoding="utf-8"))
    body = recorded["request"]["body"]
    given = (await visitor.post("/api/v2/files/getstsToken", body)).data()
    assert list(given) == list(recorded["response"]["data"])
    for name in ("bucketname", "region"):
        assert given[name] == recorded["response"]["data"][name]
    assert given["file_path"] == f"{USER}/{given['file_id']}_{body['filename']}"
    assert re.fullmatch(r"[0-9a-f-]{36}", str(given["file_id"]))
    assert given["endpoint"] == visitor.sim.url
    assert str(given["access_key_id"]).startswith("STS.")
    assert len(str(given["security_token"])) > 700


async def test_the_address_of_a_file_has_the_parameters_of_the_recording(visitor: Visitor) -> None:
    recorded = json.loads((CORPUS / "sts_document_2026-09-14.json").read_text(encoding="utf-8"))
    given = await ticket(visitor, "图 片.png")
    address = urlsplit(str(given["file_url"]))
    wanted = urlsplit(recorded["response"]["data"]["file_url"])
    assert [name for name, _ in parse_qsl(address.query)] == [name for name, _ in parse_qsl(wanted.query)]
    assert dict(parse_qsl(address.query))["x-oss-expires"] == "300"
    assert unquote(address.path) == f"/qwen-webui-prod/{given['file_path']}"
    assert f"{address.scheme}://{address.netloc}" == visitor.sim.url


@pytest.mark.parametrize(
    ("size", "kind"), [("4451", "file"), (4451, "image"), ("1", "video"), ("1", "audio"), ("5", "application/pdf")]
)
async def test_sizes_may_be_numbers_and_types_may_be_of_mime(size: object, kind: str, visitor: Visitor) -> None:
    reply = await ask_ticket(visitor, "a.bin", size, kind)
    assert "file_id" in reply.data()
    [told] = listed((await kept(visitor))["tickets"])
    assert (told["size"], told["type"], told["name"], told["user"]) == (int(str(size)), kind, "a.bin", USER)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"filename": "a", "filesize": "1"},
        {"filename": "", "filesize": "1", "filetype": "file"},
        {"filename": "a", "filesize": "", "filetype": "file"},
        {"filename": "a", "filesize": "0", "filetype": "file"},
        {"filename": "a", "filesize": -1, "filetype": "file"},
        {"filename": "a", "filesize": True, "filetype": "file"},
        {"filename": "a", "filesize": "1", "filetype": "document"},
        {"filename": "a" * 901, "filesize": "1", "filetype": "file"},
        {"file_name": "a", "file_size": "1", "file_type": "file"},
    ],
)
async def test_a_wrong_wish_is_refused(body: object, visitor: Visitor) -> None:
    reply = await visitor.post("/api/v2/files/getstsToken", body)
    assert (reply.status, reply.actual()) == (200, 400)
    assert reply.data() == {"code": "Bad_Request", "details": "Invalid file information!"}


async def test_a_ticket_wants_an_account(visitor: Visitor) -> None:
    del visitor.headers["Authorization"]
    visitor.headers["Cookie"] = ""
    assert (await ask_ticket(visitor, "a", "1")).data()["code"] == "Unauthorized"


async def test_an_account_that_is_challenged_gets_none(visitor: Visitor) -> None:
    await visitor.program(site={"accounts": {USER: {"state": "challenged"}}})
    assert "ret" in (await ask_ticket(visitor, "a", "1")).json()


async def test_the_older_route_has_no_envelope(visitor: Visitor) -> None:
    body = {"filename": "a.txt", "filesize": 3, "filetype": "document"}
    given = (await visitor.post("/api/v1/files/getstsToken", body)).json()
    assert "success" not in given
    await put(given, b"abc", "text/plain")
    assert [one["file_id"] for one in listed((await kept(visitor))["objects"])] == [given["file_id"]]


async def test_twenty_tickets_are_given_in_a_window(visitor: Visitor) -> None:
    codes = [(await ask_ticket(visitor, "a", "1")).data().get("code") for _ in range(21)]
    assert codes == [None] * 20 + ["RateLimited"]
    visitor.headers |= {
        "Cookie": visitor.sim.cookies("anna"),
        "Authorization": f"Bearer {visitor.sim.access_token('anna')}",
    }
    assert "file_id" in (await ask_ticket(visitor, "a", "1")).data(), "each account has its own window"


async def test_the_window_and_its_limit_can_be_set(visitor: Visitor) -> None:
    await visitor.program(site={"ticket_limit": 1})
    assert "file_id" in (await ask_ticket(visitor, "a", "1")).data()
    reply = await ask_ticket(visitor, "a", "1")
    assert (reply.actual(), reply.data()["code"], "num" in reply.data()) == (429, "RateLimited", False)
    await visitor.program(site={"ticket_window_seconds": 0})
    assert "file_id" in (await ask_ticket(visitor, "a", "1")).data()


# --- mishaps ---


async def test_a_ticket_may_be_expired(visitor: Visitor) -> None:
    await fail(visitor, {"at": "ticket", "what": "expired"})
    assert (await refused_put(await ticket(visitor))).code == "SecurityTokenExpired"
    await put(await ticket(visitor), b"x")


async def test_a_ticket_may_lack_fields(visitor: Visitor) -> None:
    await fail(visitor, {"at": "ticket", "what": "incomplete"})
    given = await ticket(visitor)
    assert "security_token" not in given
    assert "file_path" not in given


async def test_a_ticket_may_name_another_file(visitor: Visitor) -> None:
    await fail(visitor, {"at": "ticket", "what": "wrong_id"})
    given = await ticket(visitor)
    await put(given, b"x")
    [told] = listed((await kept(visitor))["objects"])
    assert told["file_id"] != given["file_id"]


async def test_tickets_may_be_used_up(visitor: Visitor) -> None:
    await fail(visitor, {"at": "ticket", "what": "used_up", "after": 1})
    codes = [(await ask_ticket(visitor, "a", "1")).data().get("code") for _ in range(3)]
    assert codes == [None, "RateLimited", None]


async def test_the_newer_route_may_be_gone_while_the_older_one_is_there(visitor: Visitor) -> None:
    await fail(visitor, {"at": "ticket", "what": "gone", "times": None})
    body = {"filename": "a.txt", "filesize": "3", "filetype": "file"}
    for _ in range(2):
        reply = await visitor.post("/api/v2/files/getstsToken", body)
        assert (reply.status, reply.data()["code"]) == (404, "Not_Found")
    assert "file_id" in (await visitor.post("/api/v1/files/getstsToken", body)).json()
    await fail(visitor, {"at": "ticket_v1", "what": "gone"})
    assert (await visitor.post("/api/v1/files/getstsToken", body)).status == 404


@pytest.mark.parametrize(("what", "status"), [("http_503", 503), ("challenge", 200), ("server", 200)])
async def test_any_whole_answer_can_take_the_place_of_a_ticket(what: str, status: int, visitor: Visitor) -> None:
    await fail(visitor, {"at": "ticket", "what": what})
    reply = await ask_ticket(visitor, "a", "1")
    assert (reply.status, "file_id" in reply.text) == (status, False)


@pytest.mark.parametrize(
    ("mishap", "named"),
    [
        ({"at": "ticket", "what": "nonsense"}, "nonsense"),
        ({"at": "put", "what": "expired"}, "expired"),
        ({"at": "parse", "what": "drop"}, "drop"),
        ({"at": "nowhere", "what": "drop"}, "nowhere"),
        ({"at": "put", "what": "drop", "number": 2}, "number"),
        ({"at": "put", "what": "drop", "received": 2}, "received"),
        ({"at": "put", "what": "drop", "times": 0}, "times"),
        ({"at": "put", "what": "drop", "often": 1}, "often"),
    ],
)
async def test_a_mishap_that_cannot_be_is_refused(mishap: Json, named: str, visitor: Visitor) -> None:
    reply = await visitor.post("/__sim/program", {"files": [{"at": "oss", "what": "drop"}, mishap]})
    assert reply.status == 400
    assert named in str(reply.json()["error"])
    assert (await kept(visitor))["mishaps"] == []


async def test_a_ticket_tells_no_secret_to_the_control_interface(visitor: Visitor) -> None:
    given = await ticket(visitor)
    told = json.dumps(await kept(visitor))
    assert is_json(given)
    for name in ("access_key_secret", "security_token"):
        assert str(given[name]) not in told
