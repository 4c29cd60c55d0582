"""What the site says when it refuses: every recorded error, and replies of every other kind."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.turn.events import Event, Failed, Text
from qwen_gateway.turn.faults import (
    Blocked,
    Busy,
    Challenged,
    ChatBusy,
    ChatLost,
    ContentFiltered,
    ContextTooLong,
    Crowded,
    Drift,
    Fault,
    InvalidRequest,
    LoginExpired,
    ModelNotFound,
    RateLimited,
    SiteError,
    Throttled,
)
from qwen_gateway.upstreams.qwen import faults
from qwen_gateway.upstreams.qwen.decoder import Decoder

CORPUS = Path(__file__).parents[2] / "corpus"
RECORDED = {row["name"]: row["body"] for row in map(json.loads, (CORPUS / "errors.jsonl").read_text().splitlines())}
JSON_TYPE = {"content-type": "application/json"}

Expected = tuple[type[Fault], int, str, float | None]

MEANT: dict[str, Expected] = {
    "punish_captcha": (Challenged, 503, "upstream_challenge", None),
    "captchaconnect_challenge": (Challenged, 503, "upstream_challenge", None),
    "busy_challenge_frame": (Crowded, 503, "upstream_crowded", 30),
    "rate_limited_daily": (RateLimited, 429, "upstream_rate_limited", 36_000),
    "rate_limited_in_sse": (RateLimited, 429, "upstream_rate_limited", 7_200),
    "rate_limited_without_num": (RateLimited, 429, "upstream_rate_limited", None),
    "content_inspection": (ContentFiltered, 400, "content_filter", None),
    "invalid_input": (InvalidRequest, 400, "unsupported_file", None),
    "unauthorized": (LoginExpired, 503, "upstream_auth_required", None),
    "task_not_found": (ChatLost, 502, "upstream_chat_lost", None),
    "chat_deleted": (ChatLost, 502, "upstream_chat_lost", None),
    "token_limit": (Busy, 503, "upstream_busy", 15),
    "in_progress": (ChatBusy, 503, "upstream_busy", 3),
    "missing_chat_id": (Drift, 502, "upstream_changed", None),
    "too_many_messages": (Drift, 502, "upstream_changed", None),
    "file_info": (Drift, 502, "upstream_changed", None),
    "internal_error_string": (SiteError, 502, "upstream_error", None),
    "bad_request_mock": (SiteError, 502, "upstream_error", None),
    "guest_video": (SiteError, 502, "upstream_error", None),
    "parse_service_down_on_parse": (SiteError, 502, "upstream_error", None),
    "parse_service_down_on_status": (SiteError, 502, "upstream_error", None),
}
OF_ALL = pytest.mark.parametrize(("name", "expected"), MEANT.items(), ids=MEANT.keys())


def summary(fault: Fault | None) -> Expected | None:
    return None if fault is None else (type(fault), fault.status, fault.code, fault.retry_after)


def test_every_recorded_error_is_in_the_table() -> None:
    assert MEANT.keys() == RECORDED.keys()


@OF_ALL
def test_a_recorded_error_as_the_whole_body(name: str, expected: Expected) -> None:
    body = json.dumps(RECORDED[name]).encode()
    assert summary(faults.of_reply(200, JSON_TYPE, body)) == expected
    assert summary(faults.of_reply(200, {}, b" \n" + body)) == expected
    assert summary(faults.of_reply(400, {}, body)) == expected


SPOKEN = b'data: {"choices": [{"delta": {"content": "a", "phase": "answer"}}]}\n\n'


@OF_ALL
@pytest.mark.parametrize("before", [b"", SPOKEN], ids=["at once", "after text"])
@pytest.mark.parametrize("start", [b"data: ", b"data:", b""], ids=["an event", "without a space", "bare"])
def test_a_recorded_error_in_a_stream(name: str, expected: Expected, before: bytes, start: bytes) -> None:
    raw = before + start + json.dumps(RECORDED[name], ensure_ascii=False).encode()
    for end in (b"\n\n", b""):
        decoder = Decoder("c")
        events: list[Event] = decoder.feed(raw + end) + decoder.close()
        *said, last = events
        assert isinstance(last, Failed)
        assert summary(last.fault) == expected
        assert said == ([Text("a")] if before else [])


@OF_ALL
def test_what_the_site_says_is_shown_on_one_printable_line(name: str, expected: Expected) -> None:
    del expected
    fault = faults.of_body(RECORDED[name])
    assert fault is not None
    assert fault.text.isprintable()
    assert "x5secdata" not in fault.text


def failure(code: str, details: str = "", **more: object) -> dict[str, Any]:
    return {"success": False, "data": {"code": code, "details": details, **more}}


DELETED_WORDS = "This chat has been deleted. Please start a new chat to continue."
NO_PARENT_WORDS = "Invalid input chat parent_id 0f2a5c8e-8f0b-4b7a-9d55-1c2d3e4f5a6b is not exist."

OF_CHATS: dict[str, tuple[str, str]] = {
    # words: what they mean; each comes beside every code that may stand there
    "in_progress": ("The chat is in progress!", "in_progress"),
    "no parent": (NO_PARENT_WORDS, "chat_deleted"),
    "no chat": ("Invalid input chat_id x is not exist.", "chat_deleted"),
    "deleted": (DELETED_WORDS, "chat_deleted"),
}
CODES = ["Bad_Request", "RequestValidationError", "internal_error", "Something_New", ""]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("words", "meant"), OF_CHATS.values(), ids=OF_CHATS.keys())
def test_what_is_said_of_a_chat_counts_beside_any_code_and_in_any_form(words: str, meant: str, code: str) -> None:
    expected = MEANT[meant]
    error = {"code": code, "details": words}
    for body in ({"success": False, "data": error}, {"error": error}, {"error": words}, {"error": {"message": words}}):
        raw = json.dumps(body).encode()
        assert summary(faults.of_reply(200, JSON_TYPE, raw)) == expected
        for before in (b"", SPOKEN):
            decoder = Decoder("c")
            last = (decoder.feed(before + b"data: " + raw + b"\n\n") + decoder.close())[-1]
            assert isinstance(last, Failed)
            assert summary(last.fault) == expected


@pytest.mark.parametrize("code", ["CHAT_NOT_FOUND", "PARENT_NOT_FOUND"])
@pytest.mark.parametrize("details", [DELETED_WORDS, NO_PARENT_WORDS, "", "something else"])
def test_a_lost_chat_is_known_by_its_code_alone(code: str, details: str) -> None:
    assert summary(faults.of_body(failure(code, details))) == MEANT["chat_deleted"]


@pytest.mark.parametrize(
    "words", ["The upload is in progress", "The file x is not exist.", "The file has been deleted"]
)
def test_what_is_said_of_other_things_is_nothing_of_a_chat(words: str) -> None:
    assert summary(faults.of_body(failure("Bad_Request", words))) == MEANT["file_info"]


BLOCKED: Expected = (Blocked, 503, "upstream_blocked", None)

BODIES: dict[str, tuple[object, Expected | None]] = {
    "limit that is a log-in": (failure("RateLimited", "401 x"), MEANT["unauthorized"]),
    "limit that is a crowd": (
        failure("RateLimited", "目前服务访问量较大，请稍后再试"),
        (Busy, 503, "upstream_busy", 30),
    ),
    "limit of pictures": (failure("RateLimited", "今日生图额度已用完"), MEANT["rate_limited_without_num"]),
    "limit, num as text": (failure("RateLimited", num="10"), MEANT["rate_limited_without_num"]),
    "limit, num true": (failure("RateLimited", num=True), MEANT["rate_limited_without_num"]),
    "limit, num negative": (failure("RateLimited", num=-1), MEANT["rate_limited_without_num"]),
    "limit, num zero": (failure("RateLimited", num=0), MEANT["rate_limited_without_num"]),
    "limit, num absurd": (failure("RateLimited", num=10**9), MEANT["rate_limited_without_num"]),
    "limit, half an hour": (failure("RateLimited", num=0.5), (RateLimited, 429, "upstream_rate_limited", 1_800)),
    "quota_limit": (failure("quota_limit"), MEANT["rate_limited_without_num"]),
    "quotaLimited": (failure("quotaLimited"), MEANT["rate_limited_without_num"]),
    "quota_exhausted": (failure("quota_exhausted"), MEANT["rate_limited_without_num"]),
    "ExceedLimit": (failure("ExceedLimit"), MEANT["rate_limited_without_num"]),
    "Too_Many_Requests": (failure("Too_Many_Requests"), (Busy, 503, "upstream_busy", 10)),
    "ParallelLimited": (failure("ParallelLimited"), (Busy, 503, "upstream_busy", 10)),
    "unauthorized, not activated": (failure("Unauthorized", "Account not activated."), BLOCKED),
    "not activated, in another's words": (failure("Bad_Request", "not activated"), MEANT["file_info"]),
    "unauthorized in lower case": (failure("unauthorized"), MEANT["unauthorized"]),
    "expired token": (failure("Bad_Request", "Token has expired"), MEANT["unauthorized"]),
    "PARENT_NOT_FOUND": (failure("PARENT_NOT_FOUND"), MEANT["chat_deleted"]),
    "no such parent": (failure("Bad_Request", "The parent_id X is not exist."), MEANT["chat_deleted"]),
    "model not found": (failure("Not_Found", "Model not found"), (ModelNotFound, 404, "model_not_found", None)),
    "too long": (failure("ContextLengthExceeded"), (ContextTooLong, 400, "context_length_exceeded", None)),
    "error_code": ({"error": {"error_code": "data_inspection_failed"}}, MEANT["content_inspection"]),
    "Internal_Server_Error": (failure("Internal_Server_Error"), MEANT["guest_video"]),
    "unknown code": (failure("Something_New", "x"), MEANT["guest_video"]),
    "no code": ({"success": False}, MEANT["guest_video"]),
    "no data": ({"success": False, "data": None}, MEANT["guest_video"]),
    "code of another type": ({"success": False, "data": {"code": 7, "details": ["x"]}}, MEANT["guest_video"]),
    "code beside success": ({"success": False, "code": "Unauthorized"}, MEANT["unauthorized"]),
    "error true": ({"error": True}, MEANT["guest_video"]),
    "empty error": ({"error": "", "data": []}, None),
    "success": ({"success": True, "data": {"id": "x"}}, None),
    "a list of chats": ({"success": True, "data": []}, None),
    "an array": ([1], None),
    "null": (None, None),
}


@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES.keys())
def test_other_bodies(body: object, expected: Expected | None) -> None:
    assert summary(faults.of_body(body)) == expected


def test_words_about_captchas_are_no_challenge() -> None:
    text = "Use punish?x5secdata and FAIL_SYS_USER_VALIDATE with a <captcha>, says RGV587_ERROR."
    body = json.dumps({"success": True, "data": {"text": text}}).encode()
    assert faults.of_reply(200, JSON_TYPE, body) is None
    raw = b'data: {"choices": [{"delta": {"content": "' + text.encode() + b'", "phase": "answer"}}]}\n\n'
    assert Decoder("c").feed(raw) == [Text(text)]


HTML = {"content-type": "text/html; charset=utf-8"}
PAGE = b'\n<!doctype html><script>window.location.replace("/punish?x5secdata=1")</script>'
DENIAL = b"<html><head><title>403</title></head><body>Access denied. Do not slide, do not punish.</body></html>"
SLIDER = b'<!doctype html><meta name="aliyun_waf_aa" content="x"><div id="nc_1_n1z"></div>'
CHALLENGE = MEANT["punish_captcha"]
ERROR = MEANT["guest_video"]
NOWHERE = MEANT["file_info"]
LIMIT = (Throttled, 429, "upstream_rate_limited", None)

REPLIES: dict[str, tuple[int, dict[str, str], bytes, Expected | None]] = {
    "a page": (200, HTML, PAGE, CHALLENGE),
    "a page without its type": (200, {}, PAGE, CHALLENGE),
    "a page behind a byte order mark": (200, {}, b"\xef\xbb\xbf " + PAGE, CHALLENGE),
    "a page that does not start like one": (200, HTML, b"hello", CHALLENGE),
    "a page under 403": (403, HTML, PAGE, CHALLENGE),
    "a page under 405": (405, HTML, PAGE, CHALLENGE),
    "a page without a way out under 403": (403, HTML, DENIAL, BLOCKED),
    "a page without a way out under 405": (405, {}, DENIAL, BLOCKED),
    "a page without a way out under 451": (451, HTML, DENIAL, BLOCKED),
    "a page without a way out under 200": (200, HTML, DENIAL, CHALLENGE),
    "a slider under 403": (403, HTML, SLIDER, CHALLENGE),
    "a page under 429": (429, {**HTML, "retry-after": "7"}, PAGE, (Throttled, 429, "upstream_rate_limited", 7)),
    "a page under 502": (502, HTML, PAGE, ERROR),
    "301": (301, {"location": "https://elsewhere.example/"}, b"", CHALLENGE),
    "302 with a page": (302, HTML, PAGE, CHALLENGE),
    "307": (307, {}, b"{}", CHALLENGE),
    "401": (401, {}, b"", MEANT["unauthorized"]),
    "403": (403, {}, b"no", BLOCKED),
    "403 without a word": (403, {}, b"", BLOCKED),
    "403 called a page": (403, HTML, b"no", BLOCKED),
    "403 of the application": (403, JSON_TYPE, b'{"detail": "Not authenticated"}', MEANT["unauthorized"]),
    "403 with an envelope": (403, JSON_TYPE, json.dumps(failure("Not_Found")).encode(), MEANT["chat_deleted"]),
    "451": (451, {}, b"", BLOCKED),
    "404": (404, {}, b"", NOWHERE),
    "404 in a word": (404, {"content-type": "text/plain"}, b"Not Found", NOWHERE),
    "404 of a framework": (404, JSON_TYPE, b'{"detail": "Not Found"}', NOWHERE),
    "404 with a page": (404, HTML, b"<html><h1>404 Not Found</h1></html>", NOWHERE),
    "404 called a page": (404, HTML, b"no", NOWHERE),
    "a wall under 404": (404, HTML, SLIDER, CHALLENGE),
    "404 with an envelope": (404, JSON_TYPE, json.dumps(failure("Not_Found")).encode(), MEANT["chat_deleted"]),
    "404 with a code": (404, JSON_TYPE, json.dumps(failure("CHAT_NOT_FOUND")).encode(), MEANT["chat_deleted"]),
    "404 that says it": (404, JSON_TYPE, json.dumps(failure("", DELETED_WORDS)).encode(), MEANT["chat_deleted"]),
    "413": (413, {}, b"", (ContextTooLong, 400, "context_length_exceeded", None)),
    "429": (429, {}, b"", LIMIT),
    "429 that waits": (429, {"retry-after": " 2 "}, b"", (Throttled, 429, "upstream_rate_limited", 2)),
    "429 that waits an hour": (429, {"retry-after": "3600"}, b"", (Throttled, 429, "upstream_rate_limited", 3600)),
    "429 until a date": (429, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"", LIMIT),
    "429 with garbage": (429, {"retry-after": "soon"}, b"", LIMIT),
    "429 with a negative": (429, {"retry-after": "-5"}, b"", LIMIT),
    "429 with a fraction": (429, {"retry-after": "1.5"}, b"", LIMIT),
    "429 with a small two": (429, {"retry-after": "²"}, b"", LIMIT),
    "429 with a thousand digits": (429, {"retry-after": "9" * 5000}, b"", LIMIT),
    "429 with ten days": (429, {"retry-after": "864000"}, b"", LIMIT),
    "429 with an envelope": (429, JSON_TYPE, json.dumps(failure("Unauthorized")).encode(), MEANT["unauthorized"]),
    "500": (500, {}, b"", ERROR),
    "503 that waits": (503, {"retry-after": "9"}, b"down", (SiteError, 502, "upstream_error", 9)),
    "503 with an envelope": (
        503,
        JSON_TYPE,
        json.dumps(failure("ParallelLimited")).encode(),
        (Busy, 503, "upstream_busy", 10),
    ),
    "an empty body": (200, {}, b"", None),
    "no JSON": (200, JSON_TYPE, b"{", None),
    "no text": (200, JSON_TYPE, b'{"a": "\xff"}', None),
    "deep nesting": (200, JSON_TYPE, b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", None),
    "good JSON": (200, JSON_TYPE, b'{"success": true, "data": {"id": "x"}}', None),
}


@pytest.mark.parametrize(("status", "headers", "body", "expected"), REPLIES.values(), ids=REPLIES.keys())
def test_replies(status: int, headers: dict[str, str], body: bytes, expected: Expected | None) -> None:
    assert summary(faults.of_reply(status, headers, body)) == expected


OLD = "Invalid request header"


@pytest.mark.parametrize("code", ["Unauthorized", "Bad_Request", ""])
def test_the_sign_in_host_holding_us_for_too_old_is_no_expired_login(code: str) -> None:
    fault = faults.of_auth_reply(200, JSON_TYPE, json.dumps(failure(code, OLD)).encode())
    assert summary(fault) == MEANT["file_info"]
    assert fault is not None
    assert "QWEN_GATEWAY_SITE_VERSION" in fault.text


@pytest.mark.parametrize(("status", "headers", "body", "expected"), REPLIES.values(), ids=REPLIES.keys())
def test_other_replies_of_the_sign_in_host_mean_the_same(
    status: int, headers: dict[str, str], body: bytes, expected: Expected | None
) -> None:
    assert summary(faults.of_auth_reply(status, headers, body)) == expected


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["success", "data", "code", "details", "error", "ret", "url", "num", "message", "stage"]),
            inner,
        )
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=200)
@given(ANYTHING | st.sampled_from(sorted(MEANT)).map(RECORDED.get))
def test_any_body_is_a_fault_with_a_printable_text_or_none(body: object) -> None:
    fault = faults.of_body(body)
    assert fault is None or (fault.text.isprintable() and len(fault.text) < 700)


@pytest.mark.parametrize(
    "secret",
    [
        "token=abc",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
        "CAISzQN1q6Ft5B2y/fSjIr7bDdPd/lpi0amkSGvUnVQ/TehYvqD/Zml2r61jQyIQFH5/C38=",
        "https://bucket.example/a?x-oss-signature=0123abcd",
        "Zml2r61jQyIQFH5/",
    ],
)
def test_words_of_the_site_are_repeated_without_secrets(secret: str) -> None:
    link = "https://www.alibabacloud.com/help/en/model-studio/error-code"
    told = faults.quoted(f"No leave for {secret}, see {link} here")
    assert told == f"“No leave for …, see {link} here”"
