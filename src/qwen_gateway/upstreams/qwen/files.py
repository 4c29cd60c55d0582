"""Files at the site: leave to put one into its storage, whether it has read one, and how a question names one."""

import re
from collections.abc import Mapping
from hashlib import sha256
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from qwen_gateway.turn.contracts import Moment
from qwen_gateway.turn.faults import Drift, Fault, InvalidRequest, RateLimited, SiteError, Throttled
from qwen_gateway.turn.files import Facts, Kind, SiteFile, Ticket
from qwen_gateway.upstreams.qwen.faults import quoted

_encode = msgspec.json.encode

TICKET_WAIT = 75.0
"""Seconds after which there is leave again: some 20 uploads per account and window (measured 2026-09)."""
PARSER_WAIT = 60.0
"""Seconds after which a client may ask again once the site's reader of documents was down."""


class _Words(Struct, frozen=True):
    """What the site calls a kind of file: its type, how it is shown, and for which part of the model it is."""

    type: str
    shown: str
    file_class: str


_WORDS: dict[Kind, _Words] = {
    "image": _Words("image", "image", "vision"),
    "video": _Words("video", "video", "video"),
    "audio": _Words("audio", "audio", "audio"),
    "document": _Words("file", "file", "document"),
}
PARSED: frozenset[Kind] = frozenset({"document"})


# -- leave to upload


def ticket_body(file: Facts) -> bytes:
    """`filesize` is text here, as the web client sends it (`sts_document_2026-09-14.json`)."""
    return _encode({"filename": file.name, "filesize": str(file.size), "filetype": _WORDS[file.kind].type})


def ticket_fault(fault: Fault) -> Fault:
    """What a refusal of leave means: a limit is one of uploads here, and passes by itself."""
    if not isinstance(fault, RateLimited):
        return fault
    return Throttled(
        "This account has uploaded as many files as Qwen's site allows for the moment. Try again in a minute or two.",
        code="upload_rate_limited",
        retry_after=fault.retry_after or TICKET_WAIT,
    )


def ticket(fields: object, site_url: str) -> Ticket:
    """Raises Drift when something is missing, or when it leads where no file of a user's may go."""
    read = _Fields(fields if isinstance(fields, dict) else {})
    file_id, key = read("file_id"), _key(read("file_path"))
    if file_id not in key:  # it is `<user>/<file id>_<name>` (2026-09-14)
        raise Drift(
            "Qwen's site gave leave to upload one file under the id of another one, which the model would not see. The "
            "site may have changed."
        )
    return Ticket(
        file_id=file_id,
        url=read("file_url"),
        bucket=_bucket(read("bucketname")),
        key=key,
        region=read("region"),
        endpoint=_endpoint(read("endpoint"), site_url),
        access_key_id=read("access_key_id"),
        access_key_secret=read("access_key_secret"),
        security_token=read("security_token"),
    )


class _Fields:
    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def __call__(self, name: str) -> str:
        value = self._fields.get(name)
        if not isinstance(value, str) or not value:
            raise Drift(f"Qwen's site gave leave to upload a file without `{name}`. The site may have changed.")
        return value


# The name of the bucket becomes part of the host's name, so it may hold nothing that would lead elsewhere.
_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9]")
_ENDPOINT = re.compile(r"(?:(https?)://)?([a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(:[0-9]{1,5})?/?")


def _bucket(name: str) -> str:
    if _BUCKET.fullmatch(name) is None:
        raise _elsewhere()
    return name


def _key(path: str) -> str:
    if len(path.encode()) > 1023 or not path.isprintable() or {"", ".", ".."} & set(path.split("/")):
        raise _elsewhere()
    return path


def _endpoint(endpoint: str, site_url: str) -> str:
    """With its scheme. Only the storage of the site's own house, over TLS; for a site on this computer (a simulator),
    also this computer."""
    found = _ENDPOINT.fullmatch(endpoint.lower())
    if found is None:
        raise _elsewhere()
    scheme, host, port = found[1] or "https", found[2], found[3] or ""
    ours = host.endswith(".aliyuncs.com") and scheme == "https" and port in ("", ":443")
    if not ours and not (_is_loopback(host) and _is_loopback(urlsplit(site_url).hostname or "")):
        raise _elsewhere()
    return f"{scheme}://{host}{port}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _elsewhere() -> Fault:
    return Drift(
        "Qwen's site wants files put into a storage that the gateway does not know; none was sent. The site may have "
        "changed."
    )


# -- reading


def parser_fault(fault: Fault) -> Fault:
    """What a refusal to read a document means. An error of the site's own is one of its reader (whole days of it were
    seen, 2026-09-09), and no reason to go on asking."""
    if type(fault) is not SiteError:
        return fault
    return SiteError(
        "Qwen's site cannot read documents at the moment. Try again later, or put the text into the message.",
        code="upload_failed",
        retry_after=fault.retry_after or PARSER_WAIT,
    )


def is_parsed(data: object, file_id: str) -> bool:
    """The state of one file in what the site says of some: a list (2026-09), a list within an object (the tests of
    Rfym21/Qwen2API), or one object (older). Raises InvalidRequest when it could not be read."""
    state = _state(data, file_id)
    if state is None:
        return False  # the site has not heard of it yet
    status = state.get("status")
    if not isinstance(status, str):
        raise Drift("Qwen's site says in a new form how far it is with a document. The site may have changed.")
    if status == "failed":
        said = state.get("error_msg") or state.get("error_code")
        why = f": {quoted(str(said))}" if said else ""
        hint = " The site says that sending it again may help." if state.get("retry") is True else ""
        raise InvalidRequest(
            f"Qwen's site could not read this document{why}. Is it damaged, encrypted or empty?{hint}",
            code="file_unreadable",
        )
    return status == "success"


def _state(data: object, file_id: str) -> dict[str, Any] | None:
    if isinstance(data, dict) and isinstance(data.get("list"), list):
        data = data["list"]
    states = data if isinstance(data, list) else [data]
    known = [state for state in states if isinstance(state, dict)]
    for state in known:
        if state.get("file_id", file_id) == file_id:
            return state
    if states and not known:
        raise Drift("Qwen's site says in a new form how far it is with a document. The site may have changed.")
    return None


# -- in a question


def entry(ticket: Ticket, file: Facts, at: Moment) -> SiteFile:
    """In the full form of the web client (several clients of 2026 agree on it). Its address is signed, for 300 s. The
    plain one, which one of those clients always sends, does not run out."""
    words, milliseconds = _WORDS[file.kind], int(at.now * 1000)
    meta: dict[str, object] = {"name": file.name, "size": file.size, "content_type": file.media_type}
    if file.kind in PARSED:
        meta["parse_meta"] = {"parse_status": "success"}
    told = {
        "type": words.type,
        "file": {
            "created_at": milliseconds,
            "data": {},
            "filename": file.name,
            "hash": None,
            "id": ticket.file_id,
            "user_id": ticket.key.partition("/")[0],
            "meta": meta,
            "update_at": milliseconds,
        },
        "id": ticket.file_id,
        "url": ticket.url,
        "name": file.name,
        "collection_name": "",
        "progress": 100,
        "status": "uploaded",
        "greenNet": "success",
        "size": file.size,
        "error": "",
        "itemId": _id(at, "item"),
        "file_type": file.media_type,
        "showType": words.shown,
        "file_class": words.file_class,
        "uploadTaskId": _id(at, "task"),
    }
    return SiteFile(ticket.file_id, _encode(told), _encode({**told, "url": ticket.url.partition("?")[0]}))


def _id(at: Moment, what: str) -> str:
    """A UUID of its own for each thing of one moment."""
    digits = sha256(f"{at.request_id} {what}".encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"
