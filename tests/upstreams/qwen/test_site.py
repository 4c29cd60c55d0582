"""Every call to the site as a flow: what is sent, and what each reply comes to. No socket is there to be faked."""

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec import Struct

from qwen_gateway.turn.contracts import Identity, Moment, Tokens, Upstream, User
from qwen_gateway.turn.events import Finished, Text
from qwen_gateway.turn.faults import (
    Blocked,
    Challenged,
    ChatLost,
    ContextTooLong,
    Drift,
    LoginExpired,
    RateLimited,
    SiteError,
    SiteFault,
)
from qwen_gateway.turn.files import Facts
from qwen_gateway.turn.flow import HttpCall, HttpReply
from qwen_gateway.turn.places import Place, StoredMessage
from qwen_gateway.turn.prompt import Prompt
from qwen_gateway.turn.request import Thinking
from qwen_gateway.upstreams.qwen import QwenSite, SiteConfig

CORPUS = Path(__file__).parents[2] / "corpus"
Result = TypeVar("Result")
Flowing = Callable[[QwenSite], Generator[HttpCall, HttpReply, Any]]


class Who(Struct, frozen=True):
    cookie_header: str = "token=t"
    bearer: str | None = "b"
    user_agent: str | None = None


WHO: Identity = Who()
AT = Moment(1_789_354_566.06, "e7bde9c1-00b9-4669-aee7-04c596cab45a")
PROMPT = Prompt("hello", "qwen3.7-plus", Thinking("off"), False)
SITE = QwenSite(SiteConfig())
UPSTREAM: Upstream = SITE


def reply(body: object, status: int = 200, **headers: str) -> HttpReply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status, {"content-type": "application/json", **headers}, raw)


def drive(flow: Generator[HttpCall, HttpReply, Result], *replies: HttpReply) -> tuple[list[HttpCall], Result]:
    """Runs a flow with these replies, which it must use up."""
    calls, waiting = [next(flow)], list(replies)
    while True:
        try:
            calls.append(flow.send(waiting.pop(0)))
        except StopIteration as done:
            assert not waiting
            return calls, done.value


FLOWS: dict[str, Flowing] = {
    "open_chat": lambda site: site.open_chat(WHO, AT, PROMPT, "title"),
    "stop": lambda site: site.stop(WHO, AT, "c", "a"),
    "discard": lambda site: site.discard(WHO, AT, "c"),
    "read_chat": lambda site: site.read_chat(WHO, AT, "c"),
    "find_titled": lambda site: site.find_titled(WHO, AT, "title"),
    "models": lambda site: site.models(WHO, AT),
    "refresh": lambda site: site.refresh(WHO, AT),
    "whoami": lambda site: site.whoami(WHO, AT),
    "settings": lambda site: site.settings(WHO, AT),
    "change_settings": lambda site: site.change_settings(WHO, AT, {"mcp_remind": True}),
    "ticket": lambda site: site.ticket(WHO, AT, Facts("a.png", "image", "image/png", 7)),
    "parse": lambda site: site.parse(WHO, AT, "f"),
    "is_parsed": lambda site: site.is_parsed(WHO, AT, "f"),
}
OF_ALL = pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())


@OF_ALL
def test_every_call_carries_the_session_and_no_fingerprint(flow: Flowing) -> None:
    call = next(flow(SITE))
    assert call.headers["Cookie"] == "token=t"
    assert call.headers["X-Request-Id"] == AT.request_id
    assert not any(name.lower().startswith("bx-") for name in call.headers)


@OF_ALL
@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (reply({"ret": ["FAIL_SYS_USER_VALIDATE"], "data": {"url": "/punish"}}), Challenged),
        (reply(b"<html></html>"), Challenged),
        (reply(b"", 302), Challenged),
        (reply({"success": False, "data": {"code": "Unauthorized"}}), LoginExpired),
        (reply(b"", 401), LoginExpired),
        (reply(b"<html>Access denied</html>", 403), Blocked),
        (reply(b"", 403), Blocked),
        (reply(b"", 451), Blocked),
        (reply(b"", 429), RateLimited),
        (reply(b"", 502), SiteError),
        (reply(b"{"), Drift),
        (reply(b"\xff"), Drift),
        (reply(b""), Drift),
        (reply(b'{"data": ' + b"[" * 5000 + b"]" * 5000 + b"}"), Drift),
        (reply([]), Drift),
        (reply({}), Drift),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else repr(value.body[:30]),
)
def test_faults_of_every_flow(flow: Flowing, answer: HttpReply, fault: type[Exception]) -> None:
    with pytest.raises(fault):
        drive(flow(SITE), answer)


# --- opening a chat ---


def test_a_chat_is_opened_as_recorded_but_for_the_title() -> None:
    recorded = json.loads((CORPUS / "chats_new_2026-09-14.json").read_text())
    (call,), chat = drive(SITE.open_chat(WHO, AT, PROMPT, "qg-1"), reply(recorded["response"]))
    assert chat == recorded["response"]["data"]["id"]
    assert (call.method, call.url) == ("POST", "https://chat.qwen.ai" + recorded["request"]["path"])
    sent = json.loads(call.body)
    assert sent.pop("title") == "qg-1"
    assert sent == {**recorded["request"]["body"], "timestamp": 1_789_354_566_060}
    assert call.headers["Referer"] == "https://chat.qwen.ai/c/new-chat"


@pytest.mark.parametrize("data", [None, [], "x", {}, {"id": ""}, {"id": 7}, {"id": None}])
def test_a_chat_without_an_id_is_drift(data: object) -> None:
    with pytest.raises(Drift):
        drive(SITE.open_chat(WHO, AT, PROMPT, ""), reply({"success": True, "data": data}))


# --- asking ---


def test_the_question_goes_to_the_chat() -> None:
    call = SITE.ask(WHO, AT, Place("c 1/&", "a"), SITE.question(PROMPT))
    assert (call.method, call.url) == ("POST", "https://chat.qwen.ai/api/v2/chat/completions?chat_id=c%201%2F%26")
    assert call.headers["Referer"] == "https://chat.qwen.ai/c/c%201%2F%26"
    assert call.headers["X-Accel-Buffering"] == "no"
    assert json.loads(call.body)["chat_id"] == "c 1/&"
    assert json.loads(call.body)["parent_id"] == "a"
    assert json.loads(call.body)["messages"][0]["content"] == "hello"


def test_a_question_above_the_sites_limit_is_not_sent() -> None:
    with pytest.raises(ContextTooLong):
        QwenSite(SiteConfig(max_body=2000)).question(Prompt("x" * 1000, "m", Thinking(), False))


def test_answers_are_decoded_for_the_chat_that_was_asked() -> None:
    decoder = SITE.decoder("c")
    raw = b'data: {"choices": [{"delta": {"content": "a", "phase": "answer", "status": "finished"}}]}\n\n'
    assert decoder.feed(raw) + decoder.close() == [Text("a"), Finished()]


@pytest.mark.parametrize(
    ("status", "kind", "stream"),
    [
        (200, "text/event-stream; charset=utf-8", True),
        (200, "", True),
        (200, "text/plain", True),
        (200, "application/json", False),
        (200, "text/html", False),
        (204, "text/event-stream", False),
        (302, "", False),
        (429, "text/event-stream", False),
        (500, "", False),
    ],
)
def test_which_replies_are_streams(status: int, kind: str, stream: bool) -> None:
    assert SITE.is_stream(status, {"content-type": kind} if kind else {}) is stream


def test_a_refusal_is_the_fault_of_its_body() -> None:
    assert isinstance(SITE.refusal(200, {}, b'{"ret": ["FAIL_SYS_USER_VALIDATE"]}'), Challenged)
    assert SITE.refusal(200, {}, b'{"ret": ["SUCCESS::ok"]}') is None
    assert SITE.refusal(200, {}, b'{"success": true}') is None


# --- stopping and deleting ---


@pytest.mark.parametrize(("answer", "told"), [("a", {"chat_id": "c", "response_id": "a"}), (None, {"chat_id": "c"})])
def test_an_answer_is_stopped(answer: str | None, told: dict[str, str]) -> None:
    (call,), _ = drive(SITE.stop(WHO, AT, "c", answer), reply({"success": True, "data": {}}))
    assert (call.method, call.url) == ("POST", "https://chat.qwen.ai/api/v2/chat/completions/stop?chat_id=c")
    assert json.loads(call.body) == told


@pytest.mark.parametrize(
    "answer",
    [
        {"success": True, "data": {"status": True}},
        {"success": True},
        {"success": False, "data": {"code": "Not_Found"}},
        {"success": False, "data": {"code": "CHAT_NOT_FOUND"}},
        {"success": False, "data": {"code": "Bad_Request", "details": "This chat has been deleted."}},
    ],
)
def test_a_chat_is_deleted_also_when_it_is_gone_already(answer: object) -> None:
    (call,), _ = drive(SITE.discard(WHO, AT, "a/b"), reply(answer))
    assert (call.method, call.url, call.body) == ("DELETE", "https://chat.qwen.ai/api/v2/chats/a%2Fb", b"")


# --- reading a chat ---


def test_a_chat_is_read_by_its_id() -> None:
    history = {"messages": {"q": {"id": "q", "role": "user", "content": "hello", "done": True}}}
    answer = reply({"success": True, "data": {"id": "a/b", "chat": {"history": history}}})
    (call,), messages = drive(SITE.read_chat(WHO, AT, "a/b"), answer)
    assert (call.method, call.url, call.body) == ("GET", "https://chat.qwen.ai/api/v2/chats/a%2Fb", b"")
    assert messages == {"q": StoredMessage("q", None, "user", "hello", True)}


@pytest.mark.parametrize(
    "gone",
    [
        reply({"success": False, "data": {"code": "Not_Found", "details": "Chat not found"}}),
        reply({"success": False, "data": {"code": "CHAT_NOT_FOUND"}}),
        reply({"success": False, "data": {"code": "Not_Found"}}, 404),
    ],
)
def test_a_chat_that_is_gone_is_lost(gone: HttpReply) -> None:
    with pytest.raises(ChatLost):
        drive(SITE.read_chat(WHO, AT, "c"), gone)


@pytest.mark.parametrize(
    "body", [b"", b"Not Found", {"detail": "Not Found"}, b"<html><h1>404 Not Found</h1></html>"], ids=str
)
def test_an_address_that_is_not_there_says_nothing_of_a_chat(body: object) -> None:
    nowhere = reply(body, 404)
    for flow in (SITE.discard(WHO, AT, "c"), SITE.read_chat(WHO, AT, "c"), SITE.stop(WHO, AT, "c", "a")):
        with pytest.raises(Drift, match="404"):
            drive(flow, nowhere)
    assert isinstance(SITE.refusal(nowhere.status, nowhere.headers, nowhere.body), Drift)


# --- finding ---


@pytest.mark.parametrize(
    ("title", "found"),
    [
        ("Xin chào", "004c84c5-6e71-4510-ad21-f41a08bf8373"),
        ("Chào An", "0029955b-e5bf-455e-9b40-2a6f7ed3af49"),
        ("Chào", None),
        ("", None),
    ],
)
def test_a_chat_is_found_by_its_exact_title(title: str, found: str | None) -> None:
    recorded = (CORPUS / "chats_list_2026-09-25.json").read_bytes()
    (call,), chat = drive(SITE.find_titled(WHO, AT, title), reply(recorded))
    assert (call.method, call.url) == ("GET", "https://chat.qwen.ai/api/v2/chats/?page=1&exclude_project=true")
    assert chat == found


@pytest.mark.parametrize("data", [None, {}, "x", [], [1], [{"title": "t"}], [{"title": "t", "id": 5}], [{"id": "x"}]])
def test_no_chat_is_found_in_an_odd_list(data: object) -> None:
    assert drive(SITE.find_titled(WHO, AT, "t"), reply({"success": True, "data": data}))[1] is None


# --- models ---

MODELS = reply((CORPUS / "models_v2_2026-09-13.json").read_bytes())
OLDER = reply(json.loads(MODELS.body)["data"])


def test_models_are_read_from_the_newer_address() -> None:
    calls, catalog = drive(SITE.models(WHO, AT), MODELS)
    assert [(call.method, call.url) for call in calls] == [("GET", "https://chat.qwen.ai/api/v2/models/")]
    assert catalog.models[0].id == "qwen3.7-plus"


@pytest.mark.parametrize(
    "gone",
    [
        reply(b"", 404),
        reply(b"<html>", 404),
        reply({"detail": "x"}, 404),
        reply({"success": False, "data": {"code": "Not_Found"}}),
    ],
)
def test_models_fall_back_to_the_older_address(gone: HttpReply) -> None:
    calls, catalog = drive(SITE.models(WHO, AT), gone, OLDER)
    assert [call.url.removeprefix("https://chat.qwen.ai") for call in calls] == ["/api/v2/models/", "/api/models"]
    assert len(catalog.models) == 6


@pytest.mark.parametrize("name", sorted(FLOWS.keys() - {"stop", "discard", "change_settings", "parse"}))
def test_where_something_is_wanted_a_bare_success_is_none(name: str) -> None:
    with pytest.raises((Drift, LoginExpired)):
        drive(FLOWS[name](SITE), reply({"success": True}))


def test_models_that_are_nowhere_are_a_fault() -> None:
    with pytest.raises(Drift):
        drive(SITE.models(WHO, AT), reply(b"", 404), reply(b"", 404))


# --- refreshing ---


@pytest.mark.parametrize(
    ("data", "tokens"),
    [
        ({"access_token": "a"}, Tokens("a")),
        ({"access_token": "a", "refresh_token": "r", "expires_at": 5}, Tokens("a", "r", 5.0)),
        ({"access_token": "a", "refresh_token": "", "expires_at": "soon"}, Tokens("a")),
        ({"access_token": "a", "refresh_token": 7, "expires_at": None}, Tokens("a")),
    ],
)
def test_a_session_is_refreshed(data: object, tokens: Tokens) -> None:
    (call,), found = drive(SITE.refresh(WHO, AT), reply({"success": True, "data": data}))
    assert found == tokens
    assert (call.method, call.url) == ("GET", "https://auth.qwen.ai/api/v2/auths/refresh")
    assert call.headers["x-request-origin"] == "https://chat.qwen.ai"
    assert call.headers["Sec-Fetch-Site"] == "same-site"
    assert "Authorization" not in call.headers


def test_a_fresh_session_does_not_show_in_logs() -> None:
    assert repr(Tokens("secret-1", "secret-2", 5.0)) == "Tokens(…)"


@pytest.mark.parametrize("data", [None, [], "x", {}, {"access_token": ""}, {"access_token": 5}])
def test_a_refresh_without_a_token_is_an_expired_login(data: object) -> None:
    with pytest.raises(LoginExpired):
        drive(SITE.refresh(WHO, AT), reply({"success": True, "data": data}))


def test_an_old_version_header_is_not_taken_for_an_expired_login() -> None:
    for code in ("Bad_Request", "Unauthorized"):
        refused = reply({"success": False, "data": {"code": code, "details": "Invalid request header"}})
        for name in ("refresh", "whoami"):
            with pytest.raises(Drift, match="Invalid request header"):
                drive(FLOWS[name](SITE), refused)


# --- whose session it is ---

ID = "5b51329c-3691-4101-8f2c-4e5c2edeb21f"
OF_2026_06 = reply((CORPUS / "auths_v1_get_2026-06-28.json").read_bytes())
GONE = [reply(b"", 404), reply(b"<html>", 404), reply({"success": False, "data": {"code": "Not_Found"}})]


def test_whoami_asks_the_sign_in_host() -> None:
    answer = {"id": ID, "name": "A", "email": "a@example.invalid", "role": "user"}
    (call,), user = drive(SITE.whoami(WHO, AT), reply({"success": True, "data": answer}))
    assert user == User(ID, "A", "a@example.invalid")
    assert (call.method, call.url) == ("GET", "https://auth.qwen.ai/api/v2/auths/")
    assert call.headers["x-request-origin"] == "https://chat.qwen.ai"
    assert call.headers["Authorization"] == "Bearer b"


@pytest.mark.parametrize("gone", GONE)
def test_whoami_falls_back_to_the_older_address(gone: HttpReply) -> None:
    calls, user = drive(SITE.whoami(WHO, AT), gone, OF_2026_06)
    assert [call.url for call in calls][1:] == ["https://chat.qwen.ai/api/v1/auths/"]
    assert user == User("9cf1479e-[BLANKED]", "[BLANKED]", "[BLANKED]")


@pytest.mark.parametrize("gone", GONE)
def test_whoami_that_is_nowhere_is_a_change_of_the_site(gone: HttpReply) -> None:
    with pytest.raises(Drift, match="no longer"):
        drive(SITE.whoami(WHO, AT), gone, gone)


@pytest.mark.parametrize(
    "refused", [reply(b"", 401), reply(b"", 502), reply(b"<html>"), reply({"success": False, "data": {"code": "x"}})]
)
def test_a_refusal_is_believed_and_the_older_address_not_asked(refused: HttpReply) -> None:
    flow = SITE.whoami(WHO, AT)
    next(flow)
    with pytest.raises(SiteFault):
        flow.send(refused)


# --- the account's settings ---

SETTINGS = {"memory": {"enable_memory": True}, "mcp_remind": False}


def test_settings_are_read() -> None:
    (call,), found = drive(SITE.settings(WHO, AT), reply({"success": True, "data": SETTINGS}))
    assert (call.method, call.url) == ("GET", "https://chat.qwen.ai/api/v2/users/user/settings")
    assert found == SETTINGS


@pytest.mark.parametrize("answer", [{"success": True}, {"success": True, "data": None}, {"success": True, "data": {}}])
def test_settings_are_changed_and_read_again(answer: object) -> None:
    after = SETTINGS | {"mcp_remind": True}
    calls, found = drive(
        SITE.change_settings(WHO, AT, {"mcp_remind": True}), reply(answer), reply({"success": True, "data": after})
    )
    assert [(call.method, call.url.removeprefix("https://chat.qwen.ai")) for call in calls] == [
        ("POST", "/api/v2/users/user/settings/update"),
        ("GET", "/api/v2/users/user/settings"),
    ]
    assert json.loads(calls[0].body) == {"mcp_remind": True}, "the site merges: nothing else is sent"
    assert found == after


@pytest.mark.parametrize("data", [None, [], "x", 5, True])
def test_settings_of_another_form_are_a_change_of_the_site(data: object) -> None:
    odd = reply({"success": True, "data": data})
    with pytest.raises(Drift):
        drive(SITE.settings(WHO, AT), odd)
    with pytest.raises(Drift):
        drive(SITE.change_settings(WHO, AT, {}), reply({"success": True}), odd)


def test_another_address_of_the_site_is_used_throughout() -> None:
    site = QwenSite(SiteConfig(url="http://a.example", auth_url="http://b.example"))
    for name, flow in FLOWS.items():
        assert next(flow(site)).url.startswith(
            "http://b.example" if name in {"refresh", "whoami"} else "http://a.example"
        )
