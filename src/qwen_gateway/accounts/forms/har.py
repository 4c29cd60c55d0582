"""A HAR file: what the network tools recorded, as JSON. The newest request of the site that carries a session counts;
cookies of several requests are never mixed, since they may be of several accounts."""

from datetime import UTC, datetime

from msgspec import Struct, field

from qwen_gateway.accounts.credential import Credential
from qwen_gateway.accounts.forms import found

MAX_ENTRIES = 50_000
_FORM = "A HAR file"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class _Pair(Struct, gc=False):
    name: str
    value: str


class _Request(Struct):
    url: str
    headers: tuple[_Pair, ...] = ()
    cookies: tuple[_Pair, ...] = ()


class _Entry(Struct):
    request: _Request
    started: str = field(default="", name="startedDateTime")


class Log(Struct):
    """What is read of a HAR file's `log`."""

    entries: tuple[_Entry, ...]


class _Rank(Struct, frozen=True, order=True):
    """Cookies of a session come before a mere token, then the newest, then the last."""

    has_session: bool
    has_token: bool
    has_cookies: bool
    started: datetime
    place: int


def read(log: Log, site: str = found.SITE) -> Credential:
    """site: the host whose requests count beside the web chat's. Raises InvalidRequest."""
    if len(log.entries) > MAX_ENTRIES:
        raise found.refusal(
            f"{_FORM} was recognised, but it holds more than {MAX_ENTRIES} requests. Clear the network tools' list, "
            "send a message at chat.qwen.ai, and export again."
        )
    ours = [entry for entry in log.entries if found.is_ours(found.host_of(entry.request.url) or "", site)]
    if not ours:
        raise found.refusal(f"{_FORM} was recognised, but none of its requests went to chat.qwen.ai. {found.HOW}")
    sessions = [(entry, _found(entry.request)) for entry in ours]
    ranked = [(_rank(entry, session, place), session) for place, (entry, session) in enumerate(sessions)]
    best = max(ranked, key=lambda one: one[0])[1]
    if not best.cookies and not best.token:
        raise found.refusal(
            f"{_FORM} was recognised, but it holds no cookies. Chrome and Edge leave them out unless asked: choose "
            "`Export HAR (with sensitive data)`, which the settings of the network tools allow, or use `Copy as cURL`."
        )
    return found.credential(best, _FORM)


def _found(request: _Request) -> found.Found:
    headers = [(pair.name, pair.value) for pair in request.headers]
    read = found.from_headers(headers)
    if read.cookies:
        return read
    return found.Found(found.kept((pair.name, pair.value) for pair in request.cookies), read.token, read.user_agent)


def _rank(entry: _Entry, session: found.Found, place: int) -> _Rank:
    return _Rank(session.has_session, bool(session.token), bool(session.cookies), _time(entry.started), place)


def _time(text: str) -> datetime:
    """Chrome writes UTC, Firefox the local time with its offset."""
    try:
        at = datetime.fromisoformat(text)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    except ValueError:
        return _LONG_AGO
