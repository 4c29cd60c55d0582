"""Whether what a question says of a file is true: of the object that is there, of its ticket, of the bytes themselves.

Checks are stricter than the site's are known to be, so that no mistake of a client's goes unseen. Not here: whether it
is well-formed, and what becomes of it (`attached`).
"""

from urllib.parse import unquote, urlsplit

from . import pixels
from .frames import Json
from .objects import Stored
from .oss_refusals import OssError
from .oss_signatures import Asked, checked
from .tickets import Ticket, Tickets

_MARKS = {
    b"\x89PNG\r\n\x1a\n": ("image/png", "image/apng"),
    b"\xff\xd8\xff": ("image/jpeg",),
    b"GIF8": ("image/gif",),
    b"BM": ("image/bmp",),
    b"II*\0": ("image/tiff",),
    b"MM\0*": ("image/tiff",),
    b"\0\0\1\0": ("image/x-icon", "image/vnd.microsoft.icon"),
    b"%PDF-": ("application/pdf",),
}
_KNOWN = {"image/webp"}.union(*_MARKS.values())


def untrue(entry: Json, one: Stored, ticket: Ticket) -> str:
    """What the message, or the ticket, says of the file that is not so; empty if all is."""
    media_type = one.content_type.partition(";")[0].strip().lower()
    file = inner(entry, "file")
    meta = inner(file, "meta")
    claims: list[tuple[str, object, object]] = [
        ("name", entry.get("name"), ticket.name),
        ("size", entry.get("size"), one.size),
        ("file_type", entry.get("file_type"), media_type),
        ("file.id", file.get("id"), one.file_id),
        ("file.user_id", file.get("user_id"), one.user),
        ("file.filename", file.get("filename"), ticket.name),
        ("file.size", file.get("size"), one.size),
        ("file.meta.name", meta.get("name"), ticket.name),
        ("file.meta.size", meta.get("size"), one.size),
        ("file.meta.content_type", meta.get("content_type"), media_type),
    ]
    wrong = [f"`{name}` is {said!r}, not {true!r}" for name, said, true in claims if said not in (None, true)]
    kind = str(entry.get("type"))
    if kind != "file" and not media_type.startswith(f"{kind}/"):
        wrong.append(f"the type {media_type} is no {kind}")
    if (meant := _kind(ticket.type)) != kind:
        wrong.append(f"the ticket was for `filetype` {meant}, not {kind}")
    if ticket.size != one.size:
        wrong.append(f"the ticket was for `filesize` {ticket.size}, not {one.size}")
    return "; ".join([*wrong, *_unlike(media_type, one.head)])


def of_address(url: str, one: Stored, tickets: Tickets, now: float) -> str:
    """What is wrong with the address of an object, if it is a signed one. The plain one is good for ever."""
    address = urlsplit(url)
    if not address.query:
        return ""
    pairs = [pair.partition("=") for pair in address.query.split("&") if pair]
    query = [(unquote(name), unquote(text)) for name, _, text in pairs]
    try:
        checked(Asked("GET", one.key, query, {}), tickets, now)
    except OssError as refused:
        return f"its address is not good: {refused.code}"
    return ""


def inner(entry: Json, name: str) -> Json:
    found = entry.get(name)
    return found if isinstance(found, dict) else {}


def _kind(said: str) -> str:
    """What a ticket was taken for: one of the site's words, a MIME type, or `document` (the older route)."""
    top = said.partition("/")[0].lower()
    return top if top in {"image", "video", "audio"} else "file"


def _unlike(media_type: str, head: bytes) -> list[str]:
    """Pictures and PDF by their first bytes; others pass, unless they are one of these."""
    found = _sniffed(head)
    if media_type in found or (not found and media_type not in _KNOWN):
        return []
    return [f"`file_type` is {media_type}, and the bytes are {' or '.join(found) or 'something else'}"]


def _sniffed(head: bytes) -> tuple[str, ...]:
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return ("image/webp",)
    found = next((types for mark, types in _MARKS.items() if head.startswith(mark)), ())
    # Two letters are too few to tell: a text may begin with them.
    return found if found != ("image/bmp",) or pixels.size(head) is not None else ()
