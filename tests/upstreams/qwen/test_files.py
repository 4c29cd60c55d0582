"""Files at the site: leave to upload, reading, and the words in which a question names a file."""

import json
from pathlib import Path
from typing import Any

import pytest

from qwen_gateway.turn.contracts import Moment
from qwen_gateway.turn.faults import (
    Busy,
    ContextTooLong,
    Drift,
    Fault,
    InvalidRequest,
    LoginExpired,
    SiteError,
    Throttled,
)
from qwen_gateway.turn.files import Facts, Kind, SiteFile, Ticket
from qwen_gateway.turn.flow import HttpReply
from qwen_gateway.turn.places import Place
from qwen_gateway.turn.prompt import Prompt
from qwen_gateway.turn.request import Thinking
from qwen_gateway.upstreams.qwen import QwenSite, SiteConfig, body

from .test_site import AT, SITE, WHO, drive, reply

CORPUS = Path(__file__).parents[2] / "corpus"
STS = json.loads((CORPUS / "sts_document_2026-09-14.json").read_text())
PARSE = json.loads((CORPUS / "files_parse_2026-09-14.json").read_text())
GIVEN: dict[str, Any] = STS["response"]["data"]
DOCUMENT = Facts("ba1-thanh-toan-hoa-don.md", "document", "text/markdown", 4451)
ID = PARSE["parse"]["request"]["body"]["file_id"]
LOCAL = QwenSite(SiteConfig(url="http://127.0.0.1:8800"))


def envelope(data: object, *, success: bool = True) -> HttpReply:
    return reply({"success": success, "data": data})


def leave(site: QwenSite = SITE, /, **changes: object) -> Ticket:
    _, found = drive(site.ticket(WHO, AT, DOCUMENT), envelope({**GIVEN, **changes}))
    return found


# --- leave to upload ---


def test_leave_is_asked_for_as_recorded() -> None:
    (call,), ticket = drive(SITE.ticket(WHO, AT, DOCUMENT), reply(STS["response"]))
    assert call.method == "POST"
    assert call.url == "https://chat.qwen.ai" + STS["request"]["path"]
    assert json.loads(call.body) == STS["request"]["body"]
    assert ticket == Ticket(
        file_id=GIVEN["file_id"],
        url=GIVEN["file_url"],
        bucket="qwen-webui-prod",
        key=GIVEN["file_path"],
        region="oss-ap-southeast-1",
        endpoint="https://oss-accelerate.aliyuncs.com",
        access_key_id=GIVEN["access_key_id"],
        access_key_secret=GIVEN["access_key_secret"],
        security_token=GIVEN["security_token"],
    )


@pytest.mark.parametrize("other", STS["other_requests_same_session"], ids=lambda other: other["body"]["filetype"])
def test_other_kinds_are_asked_for_as_recorded(other: dict[str, Any]) -> None:
    told = other["body"]
    facts = Facts(told["filename"], told["filetype"], "application/x", int(told["filesize"]))
    (call,), _ = drive(SITE.ticket(WHO, AT, facts), envelope(GIVEN))
    assert json.loads(call.body) == told


def test_a_picture_is_asked_for_as_image() -> None:
    (call,), _ = drive(SITE.ticket(WHO, AT, Facts("a", "image", "image/png", 1)), envelope(GIVEN))
    assert json.loads(call.body)["filetype"] == "image"


@pytest.mark.parametrize("gone", [reply(b"", 404), envelope({"code": "Not_Found"}, success=False)], ids=["404", "word"])
def test_leave_falls_back_to_the_older_address_which_has_no_envelope(gone: HttpReply) -> None:
    calls, ticket = drive(SITE.ticket(WHO, AT, DOCUMENT), gone, reply(GIVEN))
    assert [call.url.partition("/api/")[2] for call in calls] == ["v2/files/getstsToken", "v1/files/getstsToken"]
    assert calls[0].body == calls[1].body
    assert ticket.file_id == GIVEN["file_id"]


def test_leave_that_is_nowhere_is_drift() -> None:
    with pytest.raises(Drift):
        drive(SITE.ticket(WHO, AT, DOCUMENT), reply(b"", 404), reply(b"", 404))


@pytest.mark.parametrize(
    ("data", "kind", "code", "wait"),
    [
        ({"code": "RateLimited", "details": "Too many."}, Throttled, "upload_rate_limited", 75),
        ({"code": "RateLimited", "details": "Too many.", "num": 2}, Throttled, "upload_rate_limited", 7200),
        ({"code": "RateLimited", "details": "401 Unauthorized"}, LoginExpired, "upstream_auth_required", None),
        ({"code": "RateLimited", "details": "目前服务访问量较大，请稍后再试"}, Busy, "upstream_busy", 30),
        ({"code": "Bad_Request", "details": "Invalid file information!"}, Drift, "upstream_changed", None),
        ({"code": "internal_error", "details": "x"}, SiteError, "upstream_error", None),
    ],
)
def test_refused_leave(data: object, kind: type[Fault], code: str, wait: float | None) -> None:
    with pytest.raises(Fault) as raised:
        drive(SITE.ticket(WHO, AT, DOCUMENT), envelope(data, success=False))
    assert (type(raised.value), raised.value.code, raised.value.retry_after) == (kind, code, wait)


def test_a_status_of_too_many_requests_keeps_its_own_time() -> None:
    with pytest.raises(Throttled) as raised:
        drive(SITE.ticket(WHO, AT, DOCUMENT), HttpReply(429, {"retry-after": "9"}, b""))
    assert (raised.value.code, raised.value.retry_after) == ("upload_rate_limited", 9)


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("value", ["", None, 5, ["x"]])
def test_leave_that_misses_something_is_drift(name: str, value: object) -> None:
    with pytest.raises(Drift):
        leave(SITE, **{name: value})


@pytest.mark.parametrize("data", [None, [], "x", {}])
def test_leave_that_is_no_object_is_drift(data: object) -> None:
    with pytest.raises(Drift):
        drive(SITE.ticket(WHO, AT, DOCUMENT), envelope(data))


# --- where files may go ---

SAFE = [
    ("oss-accelerate.aliyuncs.com", "https://oss-accelerate.aliyuncs.com"),
    ("https://oss-ap-southeast-1.aliyuncs.com", "https://oss-ap-southeast-1.aliyuncs.com"),
    ("https://OSS-Accelerate.aliyuncs.com/", "https://oss-accelerate.aliyuncs.com"),
    ("oss-accelerate.aliyuncs.com:443", "https://oss-accelerate.aliyuncs.com:443"),
]
ELSEWHERE = [
    "http://oss-accelerate.aliyuncs.com",
    "oss-accelerate.aliyuncs.com:80",
    "aliyuncs.com",
    "aliyuncs.com.example",
    "notaliyuncs.com",
    "oss.aliyuncs.com.",
    "oss.aliyuncs.com@example.com",
    "example.com/.aliyuncs.com",
    "example.com#.aliyuncs.com",
    "example.com?.aliyuncs.com",
    "example.com\\.aliyuncs.com",
    "example.com\t.aliyuncs.com",
    "oss.aliyuncs.com/path",
    "oss.aliyuncs.com\n",
    "ftp://oss.aliyuncs.com",
    "https://user@oss.aliyuncs.com",
    "ｏｓｓ.aliyuncs.com",
    ".aliyuncs.com",
    "oss..aliyuncs.com",
    "10.0.0.1",
    "169.254.169.254",
    "http://[fd00::1]",
    "https://",
    "//",
]
LOOPBACK = ["http://127.0.0.1:8800", "https://127.9.9.9", "http://localhost:1", "localhost", "http://[::1]:5/"]


@pytest.mark.parametrize(("endpoint", "read"), SAFE)
@pytest.mark.parametrize("site", [SITE, LOCAL], ids=["site", "simulator"])
def test_files_go_to_the_storage_of_the_house(site: QwenSite, endpoint: str, read: str) -> None:
    assert leave(site, endpoint=endpoint).endpoint == read


@pytest.mark.parametrize("endpoint", ELSEWHERE)
@pytest.mark.parametrize("site", [SITE, LOCAL], ids=["site", "simulator"])
def test_files_go_nowhere_else(site: QwenSite, endpoint: str) -> None:
    with pytest.raises(Drift):
        leave(site, endpoint=endpoint)


@pytest.mark.parametrize("endpoint", LOOPBACK)
def test_files_stay_on_this_computer_only_where_the_site_is_there_too(endpoint: str) -> None:
    assert leave(LOCAL, endpoint=endpoint).endpoint.startswith(("http://", "https://"))
    assert leave(QwenSite(SiteConfig(url="http://localhost:1")), endpoint=endpoint) == leave(LOCAL, endpoint=endpoint)
    for url in ("https://chat.qwen.ai", "http://10.0.0.1", "https://127.0.0.1.example", "https://localhost.example"):
        with pytest.raises(Drift):
            leave(QwenSite(SiteConfig(url=url)), endpoint=endpoint)


@pytest.mark.parametrize(
    "bucket",
    ["a.example/", "example.com#", "evil@x", "A-Bucket", "-ab", "ab-", "ab", "x" * 64, "a_b", "ab\nc", "ａｂｃ"],
)
def test_a_bucket_cannot_lead_to_another_host(bucket: str) -> None:
    with pytest.raises(Drift):
        leave(bucketname=bucket)


@pytest.mark.parametrize("key", ["/a/b", "a/../b", "a//b", "a/./b", "a/\nb", "x" * 1024, "a/"])
def test_a_key_names_one_object(key: str) -> None:
    with pytest.raises(Drift):
        leave(file_path=key)


def test_a_key_may_hold_what_files_are_called() -> None:
    key = f"user/{GIVEN['file_id']}_Bericht (1) für März ?#%.pdf"
    assert leave(file_path=key).key == key


def test_leave_under_another_id_is_not_used() -> None:
    """A question that named it would be answered as if there were no file."""
    with pytest.raises(Drift):
        leave(file_id="7c926139-b1a8-42d0-b77e-000000000000")


def test_faults_of_leave_do_not_repeat_it() -> None:
    with pytest.raises(Drift) as raised:
        leave(endpoint="https://secret.example", access_key_secret="canary")
    assert "secret" not in raised.value.text
    assert "canary" not in repr(leave(access_key_secret="canary"))


# --- reading ---


def test_a_document_is_parsed_as_recorded() -> None:
    (call,), done = drive(SITE.parse(WHO, AT, ID), reply(PARSE["parse"]["response"]))
    assert done is None
    assert call.url == "https://chat.qwen.ai" + PARSE["parse"]["request"]["path"]
    assert json.loads(call.body) == PARSE["parse"]["request"]["body"]
    (call,), parsed = drive(SITE.is_parsed(WHO, AT, ID), reply(PARSE["parse_status"]["response"]))
    assert parsed is True
    assert call.url == "https://chat.qwen.ai" + PARSE["parse_status"]["request"]["path"]
    assert json.loads(call.body) == PARSE["parse_status"]["request"]["body"]


def state(status: str, **more: object) -> dict[str, object]:
    return {"file_id": ID, "status": status, "error_msg": "", "error_code": None, "retry": False, **more}


@pytest.mark.parametrize(
    ("status", "parsed"),
    [("pending", False), ("parsing", False), ("running", False), ("queued", False), ("success", True)],
)
def test_how_far_the_site_is(status: str, parsed: bool) -> None:
    other = {"file_id": "other", "status": "success"}
    for data in ([other, state(status)], {"list": [other, state(status)]}, state(status), {"status": status}):
        assert drive(SITE.is_parsed(WHO, AT, ID), envelope(data))[1] is parsed


@pytest.mark.parametrize("data", [[], {"list": []}, [{"file_id": "other", "status": "success"}]])
def test_a_document_that_the_site_has_not_heard_of_is_not_parsed_yet(data: object) -> None:
    assert drive(SITE.is_parsed(WHO, AT, ID), envelope(data))[1] is False


@pytest.mark.parametrize("data", [None, "x", 5, ["x"], {}, [{"file_id": ID}], [{"file_id": ID, "status": 1}]])
def test_a_state_in_another_form_is_drift(data: object) -> None:
    with pytest.raises(Drift):
        drive(SITE.is_parsed(WHO, AT, ID), envelope(data))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"error_msg": "The file is encrypted.\n"}, "“The file is encrypted.”"),
        ({"error_msg": "x" * 5000}, "“…”"),
        ({"error_msg": "", "error_code": "E_42"}, "“E_42”"),
        ({"retry": True}, "may help"),
        ({}, "damaged"),
    ],
)
def test_a_document_that_cannot_be_read_is_the_clients_affair(more: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        drive(SITE.is_parsed(WHO, AT, ID), envelope([state("failed", **more)]))
    assert raised.value.code == "file_unreadable"
    assert said in raised.value.text
    assert len(raised.value.text) < 600


@pytest.mark.parametrize("success", [True, False])
@pytest.mark.parametrize("name", ["parse", "is_parsed"])
def test_a_reader_that_is_down_is_told_apart_also_when_it_says_success(name: str, success: bool) -> None:
    answer = envelope({"code": "Internal_Server_Error"}, success=success)
    with pytest.raises(SiteError) as raised:
        drive(getattr(SITE, name)(WHO, AT, ID), answer)
    assert (raised.value.code, raised.value.retry_after) == ("upload_failed", 60)


def test_what_else_the_reader_says_stays_what_it_is() -> None:
    with pytest.raises(LoginExpired):
        drive(SITE.parse(WHO, AT, ID), envelope({"code": "Unauthorized"}, success=False))


def test_only_documents_are_parsed() -> None:
    assert SITE.parses == {"document"}


# --- in a question ---

WORDS: dict[Kind, tuple[str, str, str]] = {
    "image": ("image", "image", "vision"),
    "video": ("video", "video", "video"),
    "audio": ("audio", "audio", "audio"),
    "document": ("file", "file", "document"),
}


def entry(kind: Kind = "document", name: str = "a b.md", at: Moment = AT) -> dict[str, Any]:
    file = SITE.site_file(leave(), Facts(name, kind, "text/markdown", 4451), at)
    assert file.id == GIVEN["file_id"]
    found = json.loads(file.entry)
    assert isinstance(found, dict)
    return found


def test_a_file_is_named_in_the_full_form_of_the_web_client() -> None:
    told = entry()
    item, task = told.pop("itemId"), told.pop("uploadTaskId")
    milliseconds = int(AT.now * 1000)
    assert told == {
        "type": "file",
        "file": {
            "created_at": milliseconds,
            "data": {},
            "filename": "a b.md",
            "hash": None,
            "id": GIVEN["file_id"],
            "user_id": "5b51329c-3691-4101-8f2c-4e5c2edeb21f",
            "meta": {
                "name": "a b.md",
                "size": 4451,
                "content_type": "text/markdown",
                "parse_meta": {"parse_status": "success"},
            },
            "update_at": milliseconds,
        },
        "id": GIVEN["file_id"],
        "url": GIVEN["file_url"],
        "name": "a b.md",
        "collection_name": "",
        "progress": 100,
        "status": "uploaded",
        "greenNet": "success",
        "size": 4451,
        "error": "",
        "file_type": "text/markdown",
        "showType": "file",
        "file_class": "document",
    }
    assert len({item, task, AT.request_id}) == 3
    assert [len(part) for part in item.split("-")] == [8, 4, 4, 4, 12]


@pytest.mark.parametrize(("kind", "words"), WORDS.items())
def test_each_kind_has_its_words(kind: Kind, words: tuple[str, str, str]) -> None:
    told = entry(kind)
    assert (told["type"], told["showType"], told["file_class"]) == words
    assert ("parse_meta" in told["file"]["meta"]) == (kind == "document")


def test_the_ids_of_an_entry_are_those_of_its_moment() -> None:
    assert entry() == entry()
    assert entry()["itemId"] != entry(at=Moment(AT.now, "another"))["itemId"]


PROMPT = Prompt("hello", "qwen3.7-plus", Thinking("off"), False)


def test_files_stand_in_the_question_in_their_order_and_change_nothing_else() -> None:
    question, place = body.question(PROMPT, 100_000, 2), Place("c")
    files = [SiteFile("1", b'{"id":"1"}'), SiteFile("2", b'{"id":"2"}')]
    without = body.completion(body.question(PROMPT, 100_000), place, AT)
    assert SITE.ask(WHO, AT, place, question).body == without
    told = json.loads(SITE.ask(WHO, AT, place, question, files).body)
    assert told["messages"][0].pop("files") == [{"id": "1"}, {"id": "2"}]
    expected = json.loads(without)
    assert expected["messages"][0].pop("files") == []
    assert told == expected


@pytest.mark.parametrize("kind", WORDS)
def test_the_room_reckoned_for_a_file_is_enough(kind: Kind) -> None:
    """With a name of 255 bytes in another script, and an address as long as genuine ones."""
    name = "файл" * 31 + ".pdf"
    url = "https://qwen-webui-prod.oss-accelerate.aliyuncs.com/" + "x" * 1900
    file = SITE.site_file(leave(file_url=url), Facts(name, kind, "application/pdf", 10**9), AT)
    assert len(file.entry) <= body.FILE


def test_each_file_takes_room_from_the_text() -> None:
    site = QwenSite(SiteConfig(max_body=20_000))
    assert site.room(0) - site.room(3) == 3 * body.FILE
    assert site.room(0) == 20_000 - body.ENVELOPE
    prompt = Prompt("x" * (site.room(2) - 2), "m", Thinking(), False)
    site.question(prompt, 2)
    with pytest.raises(ContextTooLong, match="20,000"):
        site.question(prompt, 3)
