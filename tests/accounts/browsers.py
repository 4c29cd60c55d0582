"""A request of the site's own page, written as browsers write it; all values are invented.

How they quote was read in the sources of Chrome's and Firefox's developer tools (as of 2025) and is told here again.
"""

import base64
import json
import re
import string
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from qwen_gateway.accounts.credential import COOKIE_NAME

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36"
URL = "https://chat.qwen.ai/api/v2/chat/completions?chat_id=11111111-2222-4333-8444-555555555555&x=[1]"
BODY = json.dumps({"stream": True, "messages": [{"content": 'Don\'t say "cookie: a=b" & 100% of it!\nbye'}]})


def jwt(**payload: object) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, payload))
    return ".".join([*parts, "c2lnbmF0dXJl"])


LONG = jwt(id="u", exp=2_000_000_000)
ACCESS = jwt(id="u", type="access_token", exp=1_790_000_900)
JAR = {
    "cna": "Zz9zexample+/",
    "token": LONG,
    "refresh_token": "r-1",
    "acw_tc": "0a1b2c|17900",
    "qwen-theme": '%7B"mode"%3A"it\'s^dark!"%7D',
    "path": "C:\\x\\",
    "empty": "",
    "two words": "no name of a cookie",
}
KEPT = {name: value for name, value in JAR.items() if name != "two words"}


def cookie_header(jar: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in jar.items())


def headers(jar: dict[str, str], token: str = "", agent: str = AGENT) -> list[tuple[str, str]]:
    return [
        ("accept", "application/json"),
        *([("authorization", f"Bearer {token}")] if token else []),
        ("bx-ua", "234!blanked'^%PATH%\"!"),
        ("bx-umidtoken", "T2gA"),
        ("content-type", "application/json"),
        *([("cookie", cookie_header(jar))] if jar else []),
        ("origin", "https://chat.qwen.ai"),
        ("sec-ch-ua", '"Chromium";v="146", "Not-A.Brand";v="24"'),
        ("user-agent", agent),
    ]


# --- quoting ---


def chrome_posix(text: str) -> str:
    if not re.search(r"[\x00-\x1f\x7f-\x9f!']", text):
        return f"'{text}'"
    text = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return "$'" + re.sub(r"[\x00-\x1f\x7f-\x9f!]", lambda sign: f"\\u{ord(sign[0]):04x}", text) + "'"


def firefox_posix(text: str) -> str:
    if not re.search(r"[^\x20-\x7e]|[!']", text):
        return f"'{text}'"
    text = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    text = text.replace("!", "\\041")
    return "$'" + re.sub(r"[^\x20-\x7e]", lambda sign: f"\\x{ord(sign[0]):02x}", text) + "'"


def windows(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    text = re.sub(r"[^a-zA-Z0-9\s_\-:=+~'/.,?;()*`]", r"^\g<0>", text)
    text = re.sub(r"%(?=[a-zA-Z0-9_])", "%^", text)
    return '^"' + re.sub(r"\r?\n", "^\n\n", text) + '^"'


# --- forms ---

Writer = Callable[[dict[str, str], str], str]


def _command(quote: Callable[[str], str], name: str, join: str, jar: dict[str, str], token: str, *, b: bool) -> str:
    url = re.sub(r"[\[\]{}]", r"\\\g<0>", quote(URL)) if b else quote(URL)  # Chrome guards them, Firefox --globoff
    parts = [f"{name} {url}"]
    for header, value in headers(jar, token):
        if b and header == "cookie":
            parts.append(f"-b {quote(value)}")
        else:
            parts.append(f"-H {quote(f'{header}: {value}')}")
    return join.join([*parts, f"--data-raw {quote(BODY)}"])


def chrome_bash(jar: dict[str, str], token: str = "") -> str:
    return _command(chrome_posix, "curl", " \\\n  ", jar, token, b=True)


def chrome_cmd(jar: dict[str, str], token: str = "") -> str:
    return _command(windows, "curl", " ^\n  ", jar, token, b=True)


def firefox_bash(jar: dict[str, str], token: str = "") -> str:
    return _command(firefox_posix, "curl", " \\\n  ", jar, token, b=False)


def firefox_cmd(jar: dict[str, str], token: str = "") -> str:
    return _command(windows, "curl.exe", " ^\n  ", jar, token, b=False)


def header_lines(jar: dict[str, str], token: str = "") -> str:
    lines = ["POST /api/v2/chat/completions HTTP/2", "Host: chat.qwen.ai"]
    return "\n".join([*lines, *(f"{name.title()}: {value}" for name, value in headers(jar, token))])


def two_lines(jar: dict[str, str], token: str = "") -> str:
    """As Chrome's panel is copied."""
    pairs = [(":authority", "chat.qwen.ai"), (":method", "POST"), *headers(jar, token)]
    return "\n".join(f"{name}\n{value}" for name, value in pairs)


def har_entry(jar: dict[str, str], token: str = "", *, url: str = URL, at: str = "") -> dict[str, Any]:
    return {
        "_priority": "High",
        "_initiator": {"type": "script", "stack": {"callFrames": [{"url": "https://assets.example/a.js"}]}},
        "cache": {},
        "request": {
            "method": "POST",
            "url": url,
            "httpVersion": "http/2.0",
            "headers": [{"name": name, "value": value} for name, value in headers(jar, token)],
            "queryString": [],
            "cookies": [
                {"name": name, "value": value, "path": "/", "domain": ".qwen.ai", "httpOnly": True}
                for name, value in jar.items()
            ],
            "postData": {"mimeType": "application/json", "text": BODY},
        },
        "response": {"status": 200, "headers": [{"name": "set-cookie", "value": "token=other"}], "cookies": []},
        **({"startedDateTime": at} if at else {}),
        "time": 1.5,
    }


def har_of(*entries: dict[str, Any]) -> str:
    log = {"version": "1.2", "creator": {"name": "WebInspector"}, "pages": [], "entries": entries}
    return json.dumps({"log": log}, indent=2)


def har(jar: dict[str, str], token: str = "") -> str:
    return har_of(har_entry(jar, token, at="2026-11-20T10:00:00.000Z"))


def cookies_txt(jar: dict[str, str], end: int = 2_000_000_000, domain: str = ".qwen.ai") -> str:
    lines = ["# Netscape HTTP Cookie File", "# This is a generated file! Do not edit.", ""]
    for name, value in jar.items():
        http_only = "#HttpOnly_" if name == "refresh_token" else ""
        lines.append("\t".join([f"{http_only}{domain}", "TRUE", "/", "TRUE", str(end), name, value]))
    return "\n".join(lines) + "\n"


def cookie_list(jar: dict[str, str], end: float | None = 2_000_000_000.5, domain: str = ".qwen.ai") -> str:
    return json.dumps(
        [
            {"domain": domain, "expirationDate": end, "hostOnly": False, "name": name, "path": "/", "value": value}
            for name, value in jar.items()
        ]
    )


REQUESTS: dict[str, Writer] = {
    "Chrome, bash": chrome_bash,
    "Chrome, cmd": chrome_cmd,
    "Firefox, bash": firefox_bash,
    "Firefox, cmd": firefox_cmd,
    "HAR": har,
    "header lines": header_lines,
    "headers on two lines": two_lines,
}
COOKIES: dict[str, Callable[[dict[str, str]], str]] = {
    "Cookie header": cookie_header,
    "named Cookie header": lambda jar: f"Cookie: {cookie_header(jar)}",
    "cookies.txt": cookies_txt,
    "cookie editor": cookie_list,
    "Playwright": lambda jar: json.dumps({"cookies": json.loads(cookie_list(jar)), "origins": []}),
}

_NAMES = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=8)
_PRINTABLE = "".join(chr(code) for code in range(32, 127) if chr(code) != ";")
_VALUES = st.text(_PRINTABLE, max_size=20).map(str.strip)
JARS = st.dictionaries(_NAMES, _VALUES, max_size=5).map(lambda jar: {**jar, "token": LONG, "refresh_token": "r"})

assert all(COOKIE_NAME.fullmatch(name) for name in KEPT)
