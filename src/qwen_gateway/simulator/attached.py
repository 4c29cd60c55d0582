"""Files of a question: whether the site takes what the message says of them, and what it then sees.

Here: `messages[0].files`, in the form of the web app (code of four clients, Jun to Oct 2026) and in the short form
for pictures (4 Mar 2026): whether they are well-formed, and what becomes of them. Not here: whether what they say is
true (`claims`), how files get there (`oss`), what is said of them (`sights`).
"""

import time
from dataclasses import dataclass, replace
from typing import Literal, TypeGuard
from urllib.parse import unquote, urlsplit

from . import pixels
from .claims import inner, of_address, untrue
from .digests import Digest, etag
from .frames import Json
from .objects import Place, Stored, stored
from .site import Site
from .tickets import BUCKET

State = Literal["seen", "outside", "dead", "unparsed", "refused"]

# `showType`, and what `file_class` may be. Documents were sent as either (Sep 2026).
_CLASSES = {
    "image": ("image", {"vision"}),
    "video": ("video", {"video"}),
    "audio": ("audio", {"audio"}),
    "file": ("file", {"document", "file"}),
}
# The short form of pictures has nothing else; each of these but the id must be there.
_SHORT = ("type", "name", "file_type", "showType", "file_class", "status", "url", "id")


@dataclass(frozen=True)
class Attached:
    """One file of a question. status: `seen` by the model; `outside`: a picture at an address of others, seen without
    its bytes; `dead`: no such file, which nobody is told; `unparsed`: a document that was not read (yet), which nobody
    is told either; `refused`: the question is. why: of the last three. size: bytes that are there, or as the message
    says.
    """

    status: State
    why: str
    id: str | None
    name: str
    type: str
    file_type: str
    size: int | None
    user: str
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    url: str = ""
    head: bytes = b""

    def as_json(self) -> Json:
        return {name: value for name, value in self.__dict__.items() if name != "head"}


class Desk:
    """Looks at the files of one account's questions. host: the one that clients ask at, with its port."""

    def __init__(self, site: Site, user: str, host: str) -> None:
        self._site = site
        self._user = user
        self._host = host

    def look(self, entries: list[object]) -> list[Attached]:
        found = [self._one(entry) if _is_json(entry) else self._made("refused", "no object", {}) for entry in entries]
        crowd = _crowd([one.type for one in found])
        return [replace(one, status="refused", why=crowd) for one in found] if crowd else found

    def _one(self, entry: Json) -> Attached:
        wrong = _ill_formed(entry)
        if wrong:
            return self._made("refused", wrong, entry)
        one, key = self._named(entry), self._key(entry)
        if key is None:
            if entry["type"] == "image" and one is None:
                return self._elsewhere(entry)
            return self._made("refused", "an address that is not of the object storage", entry)
        if one is None:
            return self._made("dead", "no such file of this account", entry)
        return self._stored(entry, one, key)

    def _named(self, entry: Json) -> Stored | None:
        """The file with this id; where there is none, as in the short form of pictures, the one at this address."""
        bucket, file_id = self._site.bucket, _text(entry, "id")
        one = bucket.of_file(file_id) if file_id else bucket.objects.get(self._key(entry) or "")
        return one if one is not None and one.user == self._user else None

    def _stored(self, entry: Json, one: Stored, key: str) -> Attached:
        lasts = self._site.switches.file_seconds
        if lasts is not None and time.time() > one.at + lasts:
            return self._made("dead", "expired", entry)
        wrong = "the address of another file" if one.key != key else self._untrue(entry, one)
        if wrong:
            return self._made("refused", wrong, entry, one)
        if entry["type"] == "file" and not self._parsed(one.file_id):
            return self._made("unparsed", "not read, or not yet", entry, one)
        return self._made("seen", "", entry, one)

    def _untrue(self, entry: Json, one: Stored) -> str:
        tickets = self._site.tickets
        return of_address(_text(entry, "url"), one, tickets, time.time()) or untrue(
            entry, one, tickets.by_file[one.file_id]
        )

    def _parsed(self, file_id: str) -> bool:
        found = self._site.parses.get(file_id)
        return found is not None and found.status() == "success"

    def _elsewhere(self, entry: Json) -> Attached:
        """A picture by its address alone: one that the site has made itself, or anybody's."""
        address = urlsplit(_text(entry, "url"))
        data = self._site.outputs.get(address.path) if address.netloc == self._host else None
        if data is None:
            return self._made("outside", "", entry)
        digest = Digest()
        digest.take(data)
        place = Place(address.path, self._user, "", "", len(data))
        return self._made("seen", "", entry, stored(place, digest, etag(digest.md5)))

    def _key(self, entry: Json) -> str | None:
        address = urlsplit(_text(entry, "url"))
        inside = address.netloc == self._host and address.path.startswith(f"/{BUCKET}/")
        return unquote(address.path).removeprefix(f"/{BUCKET}/") if inside else None

    def _made(self, status: State, why: str, entry: Json, one: Stored | None = None) -> Attached:
        claimed = entry.get("size")
        measured = pixels.size(one.head) if one is not None and entry.get("type") == "image" else None
        return Attached(
            status=status,
            why=why,
            id=_text(entry, "id") or None,
            name=_text(entry, "name"),
            type=_text(entry, "type"),
            file_type=_text(entry, "file_type"),
            size=one.size if one is not None else claimed if isinstance(claimed, int) else None,
            user=self._user,
            sha256=None if one is None else one.sha256,
            width=None if measured is None else measured[0],
            height=None if measured is None else measured[1],
            url=_text(entry, "url"),
            head=b"" if one is None else one.head,
        )


def _ill_formed(entry: Json) -> str:
    kind = _text(entry, "type")
    if kind not in _CLASSES:
        return f"`type` is {entry.get('type')!r}"
    shown, classes = _CLASSES[kind]
    if entry.get("showType") != shown or entry.get("file_class") not in classes:
        return "`type`, `showType` and `file_class` do not go together"
    if entry.get("status") != "uploaded":
        return "`status` is not `uploaded`"
    missing = [name for name in ("name", "file_type", "url") if not _text(entry, name)]
    # A picture may be named by its address alone (4 Mar 2026).
    if kind != "image" or entry.keys() - set(_SHORT):
        missing += [name for name in ("id", "size") if not entry.get(name)]
        missing += _missing_inside(entry)
    return f"without {', '.join(f'`{name}`' for name in missing)}" if missing else ""


def _missing_inside(entry: Json) -> list[str]:
    """Of the full form: what `file` has to hold."""
    file = inner(entry, "file")
    meta = inner(file, "meta")
    missing = [f"file.{name}" for name in ("id", "user_id", "filename") if not file.get(name)]
    return missing + [f"file.meta.{name}" for name in ("name", "size", "content_type") if not meta.get(name)]


def _crowd(types: list[str]) -> str:
    """Which files do not go together (bundle of 25 Aug 2026)."""
    if "image" in types and ("audio" in types or "video" in types):
        return "pictures go with no audio or video"
    many = [kind for kind in ("audio", "video") if types.count(kind) > 1]
    return f"more than one {many[0]}" if many else ""


def _text(entry: Json, name: str) -> str:
    found = entry.get(name)
    return found if isinstance(found, str) else ""


def _is_json(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)
