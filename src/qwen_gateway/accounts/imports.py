"""Whatever a person pasted or put in a file → a credential. Which form it is shows in the text itself.

Kept are cookies, the token and the User-Agent, of requests to the site only. Bounds: 256 KB, for JSON 64 MB.
"""

import base64
import binascii

import msgspec
from msgspec import Struct

from qwen_gateway.accounts.credential import TOKEN, Credential, joined, parse_cookies
from qwen_gateway.accounts.forms import cookie_list, cookies_txt, curl, found, har, header_lines
from qwen_gateway.turn.faults import InvalidRequest

MAX_TEXT = 256 * 1024
MAX_JSON = 64 * 1024 * 1024
"""Characters."""

_FORMS = (
    "a Cookie header (`name=value; name=value`), a token, `Copy as cURL`, a HAR file, a cookies.txt, the JSON export "
    "of a cookie editor, or a list of request headers"
)
_OTHER_JSON = (
    "JSON was recognised, but neither a whole HAR file nor a cookie editor's list of cookies with `name`, `value` and "
    f"`domain`. {found.HOW}"
)
_CHOOSE_CURL = "In the same menu of the browser's network tools choose `Copy as cURL (bash)` or `Copy as cURL (cmd)`."


class _File(Struct):
    log: har.Log | None = None
    cookies: tuple[msgspec.Raw, ...] | None = None


def read_any(text: str, now: float = 0.0, *, site: str = found.SITE) -> Credential:
    """Raises InvalidRequest, whose text says what was recognised and what is missing, and repeats nothing of it.

    now: seconds since 1970; cookies that have ended by then do not count. site: the host of the settings' `site_url`,
    without a port; what is of neither that host nor the web chat does not count.
    """
    text = text.removeprefix("\ufeff").strip()
    if not text:
        raise found.refusal(f"There is nothing in it. {found.HOW}")
    if text[0] in "{[":
        return _from_json(text, now, site)
    if len(text) > MAX_TEXT:
        raise found.refusal(f"It is longer than {MAX_TEXT // 1024} KB. {found.HOW}")
    return _from_text(text, now, site)


def _from_text(text: str, now: float, site: str) -> Credential:
    text = text.removeprefix("$ ")
    if curl.is_it(text):
        return curl.read(text, site)
    _refuse_known(text)
    if cookies_txt.is_it(text):
        return cookies_txt.read(text, now, site)
    token = _token(text)
    if token:
        return joined({}, token, None)
    return _from_header(text, site)


def _from_header(text: str, site: str) -> Credential:
    try:
        cookies = parse_cookies(text[1:-1] if text[0] in "'\"" and text[-1] == text[0] else text)
    except InvalidRequest:
        cookies = {}
    if cookies:
        return found.credential(found.Found(found.kept(cookies.items())), "A Cookie header")
    if header_lines.is_it(text):
        return header_lines.read(text, site)
    raise _unknown(text)


def _unknown(text: str) -> InvalidRequest:
    if any(line.lower().startswith("set-cookie") for line in text.splitlines()):
        return found.refusal(f"These are the headers of a response. Those of the request are needed. {found.HOW}")
    return found.refusal(f"It was not recognised. What can be read: {_FORMS}. {found.HOW}")


def _refuse_known(text: str) -> None:
    """What people copy by mistake, and what they should copy instead."""
    start = text[:200].lower()
    if start.startswith(("http://", "https://")):
        raise found.refusal(f"It is an address, which holds no session. {found.HOW}")
    if start.startswith(("$session = ", "invoke-webrequest ")):
        raise found.refusal(f"A command for PowerShell was recognised, which is not read. {_CHOOSE_CURL}")
    if start.startswith(("fetch(", "await fetch(")):
        raise found.refusal(f"A fetch call was recognised, which is not read. {_CHOOSE_CURL}")


def _token(text: str) -> str:
    """A token that stands alone, or empty. `chat.qwen.ai` has three parts as well, but its first is not JSON."""
    bare = text.strip("'\" \n")
    if bare[:14].lower() == "authorization:":
        bare = bare[14:].strip()
    if bare[:7].lower() == "bearer ":
        bare = bare[7:].strip()
    if not TOKEN.fullmatch(bare):
        return ""
    head = bare.partition(".")[0]
    try:
        return bare if base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)).startswith(b"{") else ""
    except binascii.Error:
        return ""


def _from_json(text: str, now: float, site: str) -> Credential:
    if len(text) > MAX_JSON:
        raise found.refusal("The file is larger than 64 MB. Export only the request to chat.qwen.ai.")
    try:
        file = msgspec.json.decode(text.encode(errors="replace"), type=_File | tuple[msgspec.Raw, ...])
    except (msgspec.DecodeError, RecursionError):
        raise found.refusal(_OTHER_JSON) from None
    if not isinstance(file, tuple) and file.log is not None:
        return har.read(file.log, site)
    entries = file if isinstance(file, tuple) else file.cookies
    if entries is None:
        raise found.refusal(f"JSON was recognised, but it holds neither `log` nor `cookies`. {found.HOW}")
    cookies = cookie_list.read(entries)
    if cookies is None:
        raise found.refusal(_OTHER_JSON)
    return cookie_list.credential(cookies, now, "A list of cookies", site)
