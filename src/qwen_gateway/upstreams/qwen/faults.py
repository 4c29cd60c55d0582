"""What the site says when it refuses → a fault. One row per code, and a few texts where the code is not enough.

The site answers failures with HTTP 200 (seen throughout 2026): what happened stands in the body. A challenge is
recognised by the structure of the answer, never by words in it: an answer *about* captchas is not one.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

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

_CHALLENGE = (
    "Qwen asks for a human check. Open https://chat.qwen.ai in the browser where you are logged in, send a "
    "message, solve the slider, then run `qwen-gateway accounts resume`, or `qwen-gateway login` with the fresh "
    "cookies. The account rests meanwhile."
)
_CROWDED = (
    "Qwen's site answered that it is overcrowded (its bot protection's busy form). Wait a little. If it goes on, "
    "open https://chat.qwen.ai in your browser, send a message, and give the gateway the fresh cookies."
)
PENDING = (
    "The e-mail address of this account is not confirmed at Qwen yet. Open the link in the message that Qwen has sent "
    "to it, then try again."
)
_LOGIN = (
    "The session at chat.qwen.ai is no longer valid. Log in there in your browser and give the gateway the fresh "
    "cookies (`qwen-gateway login`)."
)


def _daily(details: str, data: Mapping[str, Any]) -> Fault:
    # `num` is hours until the reset, and may be missing (seen 2026-08-21): then no time is invented.
    hours = data.get("num")
    known = isinstance(hours, int | float) and not isinstance(hours, bool) and 0 < hours <= 24 * 31
    wait = float(hours) * 3600 if known and hours is not None else None
    if "401" in details:  # met by qwenproxy on upload tickets: a limit in name only
        return LoginExpired(_LOGIN)
    if "访问量" in details:  # "too many visitors at the moment", 2026-09: passes by itself
        return Busy("Qwen's site is busy at the moment. Try again in half a minute.", retry_after=30)
    when = f" It opens again in about {hours:g} hours." if known else ""
    return RateLimited(
        f"The account has reached today's limit at Qwen for this model or feature.{when} Other models may work.",
        retry_after=wait,
    )


# What the site says of a chat. The words are genuine (2026), the code beside some of them was completed by those who
# collected them (`errors.jsonl`): so they count beside every code that means nothing of its own.
_IN_PROGRESS = re.compile(r"\bchat is in progress", re.IGNORECASE)
_NO_SUCH = re.compile(r"\b(?:parent_id|chat(?:_id)?)\b.{0,200}\bis not exist", re.IGNORECASE | re.DOTALL)
_DELETED = re.compile(r"\bchat has been deleted", re.IGNORECASE)


def _of_chat(details: str) -> Fault | None:
    if _IN_PROGRESS.search(details):
        return ChatBusy("Qwen is still writing an earlier answer in this chat. Try again shortly.", retry_after=3)
    if _NO_SUCH.search(details):
        return ChatLost("The chat's earlier message is gone at the site.")
    return _lost(details, {}) if _DELETED.search(details) else None


def _bad_request(details: str, _data: Mapping[str, Any]) -> Fault:
    if (fault := _of_chat(details)) is not None:
        return fault
    low = details.lower()
    if "internal error" in low:  # mostly missing cookies (xiaoY233/Chat2API#97)
        return SiteError(
            "Qwen's site refused the request without a reason. It does so when cookies are missing: give the "
            "gateway the browser's whole Cookie header."
        )
    return Drift(f"Qwen's site did not accept the request: {quoted(details)}. The site may have changed.")


def _filtered(details: str, data: Mapping[str, Any]) -> Fault:
    stage = "answer" if data.get("stage") == "output" else "request"
    return ContentFiltered(f"Qwen's content filter refused the {stage}: {quoted(details)}.")


def _server(details: str, _data: Mapping[str, Any]) -> Fault:
    if (fault := _of_chat(details)) is not None:
        return fault
    if "#token-limit" in details:
        return Busy("Qwen's back end is out of capacity for this model. Try again in a moment.", retry_after=15)
    said = f": {quoted(details)}" if details else ""
    return SiteError(f"Qwen's site reported an error of its own{said}.")


def _lost(_details: str, _data: Mapping[str, Any]) -> Fault:
    return ChatLost("The chat is gone at the site (deleted there, or never made).")


def _login(details: str, _data: Mapping[str, Any]) -> Fault:
    if "not activated" in details.lower():  # an account whose e-mail address is not confirmed (2026-05)
        return Blocked(PENDING)
    return LoginExpired(_LOGIN)


def _crowd(_details: str, _data: Mapping[str, Any]) -> Fault:
    return Busy("Too many requests run on this account at once. Try again shortly.", retry_after=10)


def _schema(details: str, _data: Mapping[str, Any]) -> Fault:
    return _of_chat(details) or Drift(
        f"Qwen's site wants the request in another shape: {quoted(details)}. The site may have changed; look "
        "for a newer version of the gateway."
    )


def _refused_input(details: str, _data: Mapping[str, Any]) -> Fault:
    return InvalidRequest(
        f"Qwen's site refused the input or an attachment: {quoted(details)}.", code="unsupported_file"
    )


def _too_long(details: str, _data: Mapping[str, Any]) -> Fault:
    return ContextTooLong(f"The conversation is too long for the model: {quoted(details)}.", param="messages")


# Keys are compared without case, `_` and blanks: the site writes `internal_error` and `Internal_Server_Error`.
_CODES: dict[str, Callable[[str, Mapping[str, Any]], Fault]] = {
    "unauthorized": _login,
    "ratelimited": _daily,
    "quotalimit": _daily,
    "quotalimited": _daily,
    "quotaexhausted": _daily,
    "exceedlimit": _daily,
    "toomanyrequests": _crowd,
    "parallellimited": _crowd,
    "badrequest": _bad_request,
    "requestvalidationerror": _schema,
    "notfound": _lost,
    "chatnotfound": _lost,
    "parentnotfound": _lost,
    "datainspectionfailed": _filtered,
    "invalidinput": _refused_input,
    "contextlengthexceeded": _too_long,
    "internalerror": _server,
    "internalservererror": _server,
}


_BASE64 = r"[\w.~+/%=-]"
_SECRET = re.compile(
    # What has capitals, small letters and digits in it is no word and no path: tokens of storages have slashes as well.
    rf"(?={_BASE64}*[A-Z])(?={_BASE64}*[a-z])(?={_BASE64}*[0-9]){_BASE64}{{16,}}"
    r"|[^\s;,]+=[^\s;,]+|[\w.~+%-]{24,}"
)


def quoted(details: str) -> str:
    """The site's own words, short and on one line. They may hold anything, also control characters, and our own
    cookies or token, should the site repeat what it was sent: what looks like one is left out."""
    words = _SECRET.sub("…", details[:1000])[:300]
    line = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    return f"“{line}”" if line else "no details"


def of_envelope(data: Mapping[str, Any]) -> Fault:
    """The fault that an error object of the site stands for: `{"code": …, "details": …}`."""
    code = str(data.get("code") or data.get("error_code") or "")
    details = str(data.get("details") or data.get("message") or "")
    if "token has expired" in details.lower():
        return LoginExpired(_LOGIN)
    if "model not found" in details.lower():
        return ModelNotFound("Qwen's site no longer knows this model. GET /v1/models lists today's.", param="model")
    known = _CODES.get(re.sub(r"[_\s]", "", code).lower())
    return known(details, data) if known else _server(details or code, data)


def of_body(value: object) -> Fault | None:
    """The fault that a decoded JSON value stands for, as a whole body or as one line of a stream."""
    if not isinstance(value, dict):
        return None
    ret = value.get("ret")
    if isinstance(ret, list) and any(str(word).startswith("FAIL_") for word in ret):
        return of_ret(value)
    error = value.get("error")
    if isinstance(error, dict):
        return of_envelope(error)
    if error:
        return _server(str(error), {})
    data = value.get("data")
    data = data if isinstance(data, dict) else {}
    # The parse service reported its failures with `success: true` (seen 2026-09-09): the code counts as well.
    if value.get("success") is False or isinstance(data.get("code"), str):
        return of_envelope(data or value)
    return None


def of_ret(value: Mapping[str, Any]) -> Fault:
    """An answer of the bot protection. Without an address to solve it at, it is its "overcrowded" form."""
    data = value.get("data")
    if isinstance(data, dict) and data.get("url"):
        return Challenged(_CHALLENGE)
    return Crowded(_CROWDED, retry_after=30)


_SECONDS = re.compile(r"[0-9]{1,5}")


def challenge_page() -> Fault:
    return Challenged(_CHALLENGE)


_STATUS: dict[int, Callable[[float | None], Fault]] = {
    401: lambda _wait: LoginExpired(_LOGIN),
    403: lambda _wait: _blocked(403),
    404: lambda _wait: _nowhere(),
    413: lambda _wait: ContextTooLong("Qwen's site refused the request as too large.", param="messages"),
    429: lambda wait: Throttled("Qwen's site says that there were too many requests.", retry_after=wait),
    451: lambda _wait: _blocked(451),
}


def of_reply(status: int, headers: Mapping[str, str], body: bytes) -> Fault | None:
    """The fault in a reply that is not a stream, in the order of `upstream-protocol` §8.2. `None`: none seen."""
    start = body[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    if 300 <= status < 400:
        # To a log-in or check page: followed nowhere.
        return Challenged(_CHALLENGE)
    if status < 400 or start.startswith((b"{", b"<")):
        html = "text/html" in headers.get("content-type", "") or start.startswith(b"<")
        if html and status != 429:  # of a limit, also a page in front of the site speaks
            return _page(status, body)
        if not html and (fault := of_body(_value(body))) is not None:
            return fault
    if status == 403 and start.startswith(b"{"):
        # The application's own: in the framework that the site began with it means "Not authenticated", and clients
        # of 2026-05 still expect it. Any other 403 comes from what stands in front, which knows no sessions.
        status = 401
    if status in _STATUS:
        return _STATUS[status](_seconds(headers.get("retry-after")))
    if status >= 400:
        return SiteError(f"Qwen's site answered with HTTP {status}.", retry_after=_seconds(headers.get("retry-after")))
    return None


def _value(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def of_auth_reply(status: int, headers: Mapping[str, str], body: bytes) -> Fault | None:
    """As `of_reply`, for the sign-in host. It refuses a web client that it holds for too old with the code of a dead
    session (2026-10), which it is not: the words decide."""
    value = _value(body)
    data = value.get("data") if isinstance(value, dict) else None
    details = str(data.get("details") or "") if isinstance(data, dict) else ""
    if "invalid request header" in details.lower():
        return Drift(
            f"Qwen's sign-in host refused the gateway's headers: {quoted(details)}. It wants a newer web client: "
            "raise QWEN_GATEWAY_SITE_VERSION, or look for a newer version of the gateway."
        )
    return of_reply(status, headers, body)


# Where the wall is asked about a page, its own scripts and addresses tell it from a refusal without a way out.
_WALL = re.compile(
    rb"_____tmd_____|/punish\?|x5secdata|x5referer|aliyun_waf_(?:aa|bb)|aliyunCaptcha|nc_1_n1z|punishTextFetch"
)
_DENIED = (403, 405, 451)
"""Statuses of pages that may say no for good. 405 is what Alibaba Cloud's firewall gives its block page."""


def _page(status: int, body: bytes) -> Fault:
    """What a page in place of an answer means. Under HTTP 200 it is a challenge, whatever it says (§8.1)."""
    if status >= 500:
        return SiteError(f"Qwen's site answered with an error page (HTTP {status}).")
    if status == 404 and not _WALL.search(body):
        return _nowhere()
    if status in _DENIED and not _WALL.search(body):
        return _blocked(status)
    return challenge_page()


def _nowhere() -> Fault:
    """An address, and not a chat: of that the site says in its envelope that it is gone, under HTTP 200 (2026-09). A
    route that has moved, or a server that is just being replaced, must not have live chats taken for lost ones."""
    return Drift("Qwen's site has nothing at an address that the gateway asks (HTTP 404). The site may have changed.")


def _blocked(status: int) -> Fault:
    return Blocked(
        f"Qwen's site refuses this account or this network address (HTTP {status}), and offers no human check. Logging "
        "in again does not help. See what https://chat.qwen.ai shows in a browser on the same network."
    )


def _seconds(value: str | None) -> float | None:
    """`Retry-After` in seconds, when it is a sane number. A date would need a clock: treated as absent."""
    if value is not None and _SECONDS.fullmatch(value.strip()) and int(value) <= 86_400:
        return float(value)
    return None
