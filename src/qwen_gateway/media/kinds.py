"""What a file is: its bytes decide, and what was said of it must not contradict them."""

from msgspec import Struct

from qwen_gateway.media import formats, names, pixels, signatures
from qwen_gateway.media.formats import Format
from qwen_gateway.media.signatures import Found
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.files import Kind

HEAD = 64 * 1024
"""How many of a file's first bytes are looked at."""

_SAYS_NOTHING = {
    "application/octet-stream",
    "binary/octet-stream",
    "application/binary",
    "application/unknown",
    "application/download",
    "application/x-download",
    "application/force-download",
}
_TAKEN: dict[Kind, tuple[Format, ...]] = {
    "image": formats.IMAGES,
    "video": formats.VIDEOS,
    "audio": formats.AUDIOS,
    "document": formats.DOCUMENTS,
}
_WORDS: dict[Kind, str] = {"image": "a picture", "video": "video", "audio": "audio", "document": "a document"}
_TAKEN_AS: dict[Kind, str] = {
    "image": "Pictures may be",
    "video": "Videos may be",
    "audio": "Sounds may be",
    "document": "Documents may be",
}


class Looked(Struct, frozen=True):
    """name: ends as the media type wants."""

    kind: Kind
    media_type: str
    name: str


def look(head: bytes, size: int, *, claimed_kind: Kind | None, claimed_type: str, name: str) -> Looked:
    """head: the first `HEAD` bytes of the file, or all of it. size: of all of it. claimed_kind: what the place where it
    stood wants; `None` for any. claimed_type: as whoever sent it says; may be empty.

    Raises InvalidRequest (`unsupported_file`) without a parameter, which only the caller knows."""
    if not size:
        raise _refused("The file is empty")
    claim = said(claimed_type)
    extension = names.extension(names.plain(name))
    found = signatures.find(head, whole=size <= len(head), extension=extension, claimed_type=claim)
    if not found.formats:
        raise _unknown(found.media_type, claimed_kind, claim)
    format_ = _chosen(found, claimed_kind, claim, extension)
    if format_.kind == "image" and (most := pixels.too_many(head)):
        raise _refused(f"The picture has {most[0]:,} × {most[1]:,} pixels; at most {pixels.MOST:,} are taken")
    return Looked(format_.kind, format_.media_type, names.fitting(name, format_))


def said(media_type: str) -> str:
    """In lower case and without parameters; empty if it says no more than that it is a file."""
    plain = media_type.partition(";")[0].strip().lower()
    return "" if plain in _SAYS_NOTHING else plain


def _chosen(found: Found, claimed_kind: Kind | None, claim: str, extension: str) -> Format:
    """Which of the formats it is. Raises InvalidRequest when it is none that was said.

    A wrong type of the right kind does no harm: the bytes are believed."""
    wanted = claimed_kind or _claimed(found, claim, extension)
    fitting = [one for one in found.formats if wanted in (None, one.kind)]
    if not fitting or (found.is_text and _is_damaged(fitting[0], claim)):
        what = "text" if found.is_text else found.formats[0].media_type
        as_what = _WORDS[claimed_kind] if claimed_kind and formats.kind_of(claim) != claimed_kind else claim
        raise _refused(f"The file was sent as {as_what}, but its content is {what}")
    for one in fitting:
        if extension in one.extensions:
            return one
    for one in fitting:
        if one.is_called(claim):
            return one
    if len(fitting) > 1 and fitting[0].kind == "document":
        among = ", ".join(one.extensions[0] for one in fitting)
        raise _refused(f"The file's first bytes do not show which of {among} it is: its name has to end in one of them")
    return fitting[0]


def _claimed(found: Found, claim: str, extension: str) -> Kind | None:
    kind = formats.kind_of(claim)
    if found.is_text and (
        # A picture, yet it is sent as the text that it is too.
        found.formats[0] is formats.SVG
        # Types that programs conclude from names: `video/mp2t` of TypeScript, `audio/x-mod` of go.mod.
        or (kind in ("audio", "video") and extension in formats.TEXT_TYPES)
    ):
        return None
    return kind


def _is_damaged(format_: Format, claim: str) -> bool:
    """A text that was sent as a document of another format. Tables are often called Excel's, whatever they are."""
    return format_.kind == "document" and any(
        one.is_called(claim) for one in formats.DOCUMENTS if one is not formats.XLS
    )


def _unknown(media_type: str, claimed_kind: Kind | None, claim: str) -> InvalidRequest:
    sent = f" (it was sent as {claim})" if claim and claim != media_type else ""
    what = f"is {media_type}{sent}, which the site does not take" if media_type else f"is of no known format{sent}"
    kind = claimed_kind or formats.kind_of(media_type) or formats.kind_of(claim)
    if kind is None:
        return _refused(f"The file {what}")
    taken = ", ".join(one.extensions[0] for one in _TAKEN[kind])
    return _refused(f"The file {what}. {_TAKEN_AS[kind]} {taken}{', and text' if kind == 'document' else ''}")


def _refused(text: str) -> InvalidRequest:
    return InvalidRequest(f"{text}.", code="unsupported_file")
