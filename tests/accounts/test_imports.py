"""What a person pastes, in any form that a browser writes, is read back; anything else is refused in words."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.accounts.browsers import (
    ACCESS,
    AGENT,
    COOKIES,
    JAR,
    JARS,
    KEPT,
    LONG,
    REQUESTS,
    chrome_bash,
    cookie_header,
    jwt,
)

from qwen_gateway.accounts.credential import Credential
from qwen_gateway.accounts.forms.found import PARAM
from qwen_gateway.accounts.imports import MAX_JSON, MAX_TEXT, read_any
from qwen_gateway.turn.faults import InvalidRequest

NOW = 1_790_000_000.0


def refused(text: str) -> str:
    with pytest.raises(InvalidRequest) as caught:
        read_any(text, NOW)
    assert caught.value.param == PARAM
    assert caught.value.__cause__ is None
    return caught.value.text


# --- forms ---


@pytest.mark.parametrize("form", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_gives_its_cookies_token_and_user_agent(form: object) -> None:
    assert callable(form)
    assert read_any(form(JAR, ACCESS), NOW) == Credential(KEPT, ACCESS, AGENT)
    assert read_any(form(JAR, ""), NOW) == Credential(KEPT, LONG, AGENT)
    assert read_any(form({}, ACCESS), NOW) == Credential({}, ACCESS, AGENT)
    assert read_any(form({}, LONG), NOW) == Credential({"token": LONG}, LONG, AGENT)


@pytest.mark.parametrize("form", COOKIES.values(), ids=COOKIES.keys())
def test_cookies_alone_are_a_session(form: object) -> None:
    assert callable(form)
    assert read_any(form(KEPT), NOW) == Credential(KEPT, LONG)


@pytest.mark.parametrize("form", [*REQUESTS.values(), *COOKIES.values()], ids=[*REQUESTS, *COOKIES])
def test_cookies_of_a_guest_are_no_session(form: object) -> None:
    assert callable(form)
    for guest in ({"cna": "geheim"}, {"cna": "geheim", "token": "", "refresh_token": ""}):
        text = refused(form(guest, "") if form in REQUESTS.values() else form(guest))
        assert "logged in" in text
        assert "geheim" not in text


@pytest.mark.parametrize("form", REQUESTS.values(), ids=REQUESTS.keys())
@settings(deadline=None, max_examples=40)
@given(jar=JARS)
def test_requests_are_read_back_as_they_were_written(form: object, jar: dict[str, str]) -> None:
    assert callable(form)
    assert read_any(form(jar, ""), NOW) == Credential(jar, LONG, AGENT)


@pytest.mark.parametrize("form", COOKIES.values(), ids=COOKIES.keys())
@settings(deadline=None, max_examples=40)
@given(jar=JARS)
def test_cookies_are_read_back_as_they_were_written(form: object, jar: dict[str, str]) -> None:
    assert callable(form)
    assert read_any(form(jar), NOW) == Credential(jar, LONG)


@pytest.mark.parametrize("form", [*REQUESTS.values()], ids=[*REQUESTS])
def test_line_ends_of_windows_change_nothing(form: object) -> None:
    assert callable(form)
    text = form(JAR, ACCESS)
    assert read_any("\ufeff" + text.replace("\n", "\r\n") + "\r\n", NOW) == read_any(text, NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LONG, Credential({"token": LONG}, LONG)),
        (f" '{LONG}' \n", Credential({"token": LONG}, LONG)),
        (f"Bearer {ACCESS}", Credential({}, ACCESS)),
        (f"Authorization: Bearer {ACCESS}", Credential({}, ACCESS)),
        (f'"{cookie_header(KEPT)}"', Credential(KEPT, LONG)),
        (f"cookie: a=1;\n token={LONG}\n", Credential({"a": "1", "token": LONG}, LONG)),
        ("refresh_token=r", Credential({"refresh_token": "r"})),
        ("token=opaque", Credential({"token": "opaque"}, "opaque")),
        (f"$ curl https://chat.qwen.ai -b token={LONG}", Credential({"token": LONG}, LONG)),
    ],
)
def test_short_forms(text: str, expected: Credential) -> None:
    assert read_any(text, NOW) == expected


# --- refusals ---

POWERSHELL = """$session = New-Object Microsoft.PowerShell.Commands.WebRequestSession
$session.UserAgent = "geheim"
Invoke-WebRequest -UseBasicParsing -Uri "https://chat.qwen.ai" `
-WebSession $session"""
REFUSED = {
    "nothing": (" \n", "nothing in it"),
    "words": ("my password is geheim", "not recognised"),
    "a host, which has three parts as a token has": ("chat.qwen.geheim", "not recognised"),
    "three parts that are no base64": ("a.geheim.c", "not recognised"),
    "three parts whose first is no JSON": ("geheimxx.e30.c", "not recognised"),
    "half a cookie header": ("a=1; geheim; token=geheim", "not recognised"),
    "an address": (f"https://chat.qwen.ai/?token={LONG}", "an address"),
    "PowerShell": (
        POWERSHELL,
        "Copy as cURL (bash)",
    ),
    "fetch": ('fetch("https://chat.qwen.ai", {"headers": {"cookie": "token=geheim"}});', "Copy as cURL (bash)"),
    "a response": ("HTTP/2 200\nset-cookie: token=geheim; Path=/", "headers of a response"),
    "JSON of something": ('{"token": "geheim"}', "neither `log` nor `cookies`"),
    "broken JSON": ('{"log": {"entries": [geheim', "neither a whole HAR file"),
    "a list of something": ('["geheim"]', "neither a whole HAR file"),
    "an empty list": ("[]", "none of its cookies"),
    "a deep list": ("[" * 100_000, "neither a whole HAR file"),
    "a deep object": ('{"x":' * 100_000, "neither a whole HAR file"),
    "too long": ("a=geheim; " * (MAX_TEXT // 10 + 1), "longer than 256 KB"),
    "a jar that no header can hold": (
        "curl chat.qwen.ai -b 'token=1; geheim=1; x=" + "y" * 65_600 + "'",
        "longer than 64 KB",
    ),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_session_is_refused_in_words_and_not_repeated(text: str, said: str) -> None:
    told = refused(text)
    assert said in told
    assert "geheim" not in told


def test_a_file_of_more_than_64_megabytes_is_refused() -> None:
    assert "64 MB" in refused("[" + " " * MAX_JSON + "]")


@settings(deadline=None, max_examples=150)
@given(st.one_of(st.text(max_size=80), st.text("curl'\"^\\$\n -bH:=;{}[],\ttoken.", max_size=80)))
def test_any_text_is_a_session_or_refused(text: str) -> None:
    for whole in (text, f"curl {text}", f"{{{text}", f"[{text}", f"cookie: {text}", f"a\t{text}"):
        try:
            found = read_any(whole)
        except InvalidRequest as fault:
            assert fault.param == PARAM  # noqa: PT017 - either outcome is right
        else:
            assert found.token or found.cookies


MARK = "zqjxzqjx"


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(["", "curl ", "{", "[", "cookie: ", "curl 'x' ^\n"]))
def test_no_refusal_repeats_what_was_pasted(before: str, after: str, start: str) -> None:
    try:
        read_any(start + before + MARK + after)
    except InvalidRequest as fault:
        assert MARK not in repr(fault.args) + fault.text  # noqa: PT017 - not all is refused


CRAFTED = {
    "backslashes": "curl " + "\\" * 250_000,
    "quotes": "curl " + "''" * 125_000,
    "open escapes": "curl $'" + "\\x" * 120_000,
    "carets": 'curl ^"' + "^" * 250_000,
    "carets at line ends": 'curl ^"' + "^\n" * 125_000,
    "options": "curl " + "-H " * 80_000,
    "semicolons": ";" * 250_000,
    "equal signs": "a=" * 125_000,
    "tabs": "\t" + "a\t" * 125_000 + "b",
    "lines": "a\t\t\t\t\t\n" * 40_000,
    "names": "cookie\n" * 36_000,
    "dots": "a." * 125_000 + "a",
    "braces": '{"a":' + "{}," * 1_000_000,
    "cookies": '[{"name":"token","value":"1","domain":"qwen.ai"}'
    + ',{"name":"","value":"","domain":""}' * 30_000
    + "]",
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("text", CRAFTED.values(), ids=CRAFTED.keys())
def test_crafted_input_takes_no_more_time_than_its_length(text: str) -> None:
    """The time limit is generous: anything quadratic would take minutes at these lengths."""
    with contextlib.suppress(InvalidRequest):
        assert read_any(text).token


# --- whose cookies count ---


def whole_browser(*domains: str) -> dict[str, str]:
    """The jar of a browser in each form that can hold one: a cookie `at-<domain>` of each domain, and a session's."""
    many = [(".qwen.ai", "token", LONG), *((domain, f"at-{domain}", "geheim") for domain in domains)]
    listed = [{"name": name, "value": value, "domain": domain} for domain, name, value in many]
    return {
        "txt": "\n".join(f"{domain}\tTRUE\t/\tFALSE\t0\t{name}\t{value}" for domain, name, value in many),
        "list": json.dumps(listed),
        "playwright": json.dumps({"cookies": listed}),
    }


@pytest.mark.parametrize("form", ["txt", "list", "playwright"])
def test_cookies_of_programs_on_this_machine_do_not_count(form: str) -> None:
    text = whole_browser("localhost", "127.0.0.1", ".localhost", "::1", "192.168.1.2", "127.0.0.1.evil.example")[form]
    assert read_any(text, NOW).cookies == {"token": LONG}
    assert set(read_any(text, NOW, site="127.0.0.1").cookies) == {"token", "at-127.0.0.1"}
    assert set(read_any(text, NOW, site="localhost").cookies) >= {"token", "at-localhost"}


@pytest.mark.parametrize("form", ["txt", "list", "playwright"])
def test_of_the_sites_domains_only_those_that_have_to_do_with_the_chat_count(form: str) -> None:
    good, bad = ("qwen.ai", ".qwen.ai", "chat.qwen.ai", ".chat.qwen.ai", "auth.qwen.ai"), ("docs.qwen.ai", ".aqwen.ai")
    text = whole_browser(*good, *bad)[form]
    assert set(read_any(text, NOW).cookies) == {"token", *(f"at-{domain}" for domain in good)}


REQUESTS_TO = {
    "curl": "curl '{url}' -H 'Cookie: token={token}'",
    "har": '{{"log":{{"entries":[{{"request":{{"url":"{url}",'
    '"headers":[{{"name":"Cookie","value":"token={token}"}}]}}}}]}}}}',
    "headers": "Origin: {url}\nCookie: token={token}",
}


@pytest.mark.parametrize("form", REQUESTS_TO.values(), ids=REQUESTS_TO.keys())
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_requests_to_programs_on_this_machine_do_not_count(form: str, host: str) -> None:
    text = form.format(url=f"http://{host}:8888", token=LONG)
    for site in ("chat.qwen.ai", "", "10.0.0.1"):
        with pytest.raises(InvalidRequest):
            read_any(text, NOW, site=site)
    assert read_any(text, NOW, site=host.strip("[]")).token == LONG


@pytest.mark.parametrize("form", REQUESTS_TO.values(), ids=REQUESTS_TO.keys())
@pytest.mark.parametrize(
    ("host", "ours"), [("chat.qwen.ai", True), ("auth.qwen.ai", True), ("qwen.ai", True), ("docs.qwen.ai", False)]
)
def test_requests_that_have_to_do_with_the_chat_count(form: str, host: str, ours: bool) -> None:
    text = form.format(url=f"https://{host}", token=LONG)
    if ours:
        assert read_any(text, NOW).token == LONG
    else:
        refused(text)


# --- limits of a form ---


def test_a_user_agent_that_no_header_can_carry_is_dropped() -> None:
    command = chrome_bash(KEPT).replace(AGENT, "x" * 513)
    assert read_any(command) == Credential(KEPT, LONG)
    assert json.dumps(KEPT) not in repr(read_any(command))


def test_the_longest_living_token_of_a_request_is_the_one_it_carries() -> None:
    other = jwt(id="u", exp=5)
    assert read_any(chrome_bash({"token": LONG}, other)).token == other
