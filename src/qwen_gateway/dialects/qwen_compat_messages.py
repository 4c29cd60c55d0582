"""`POST /v1/chat/multimodal` → a turn: a chat completion, in which parts may carry `file_info` beside their address.

`file_info` is what an upload has answered: `{"id", "url", "name", "size", "type", "file", …}`. Of a file that is kept
here its id is enough; one from elsewhere is fetched from its address. What else stands in it (size, status, type of the
content) is not taken on trust: the bytes tell it anew.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct, structs

from qwen_gateway.dialects import openai_chat_request
from qwen_gateway.dialects.openai_chat_values import UNREADABLE, refused
from qwen_gateway.dialects.qwen_compat_form import MODEL
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.files import FilePart, Kind, Remote, Stored
from qwen_gateway.turn.request import Message, Part, Thinking, ToolResultPart, TurnRequest

_ADDRESSED = ("image_url", "video_url", "file")
_KINDS: dict[object, Kind] = {
    "image": "image",
    "video": "video",
    "audio": "audio",
    "file": "document",
    "document": "document",
}
_OWN = re.compile(r"file-[0-9A-Za-z]{24,40}")
_WEB = re.compile(r"(?i)https?://.")
_PLACE = re.compile(r"messages\[\d+\]\.content\[\d+\]")
_DOCUMENT = re.compile(r"(?i)[^?#]*\.(?:pdf|docx?|xlsx?|pptx?|csv|txt|md|epub|ofd)(?:[?#]|$)")
"""Addresses that the earlier bridge took for a document's, also as `image_url`: it went by the name."""

_body = msgspec.json.Decoder(dict[str, Raw])


class _Info(Struct, frozen=True):
    """What a part's `file_info` says. own: the id of a file that is kept here."""

    own: bool
    name: str
    kind: Kind | None


_Told = dict[str, _Info]
"""By the place of the part, such as `messages[0].content[1]`."""


def read(body: bytes) -> TurnRequest:
    """Raises InvalidRequest."""
    body, told = _plain(body)
    request = openai_chat_request.read(body)
    thinking = request.thinking
    if thinking == Thinking():
        thinking = Thinking("on", param="enable_thinking")  # its default, unlike that of the other routes
    messages = tuple(_message(message, told) for message in request.messages)
    return structs.replace(request, messages=messages, thinking=thinking)


# --- before it is read as a chat completion ---


def _plain(body: bytes) -> tuple[bytes, _Told]:
    """The same as a plain chat completion, and what its parts have said beyond that."""
    told: _Told = {}
    try:
        fields: dict[str, Any] = dict(_body.decode(body))
        if b'"file' in body and "messages" in fields:
            fields["messages"] = messages = msgspec.json.decode(fields["messages"])
            for where, piece in _pieces(messages):
                _take_info(piece, where, told)
        elif "model" in fields:
            return body, told
    except UNREADABLE:
        return body, told  # it is refused as a chat completion is, with all that is to be said of that
    return msgspec.json.encode({"model": MODEL, **fields}), told


def _pieces(messages: object) -> Iterator[tuple[str, dict[str, Any]]]:
    for i, message in enumerate(_listed(messages)):
        for j, piece in enumerate(_listed(message.get("content") if isinstance(message, dict) else None)):
            if isinstance(piece, dict) and piece.get("type") in _ADDRESSED:
                yield f"messages[{i}].content[{j}]", piece


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _take_info(piece: dict[str, Any], where: str, told: _Told) -> None:
    """Makes the piece one that a chat completion may have."""
    info, given = piece.pop("file_info", None), piece.get(piece["type"])
    address = given.get("url") if isinstance(given, dict) else given
    if info is None:
        if piece["type"] == "file" and _is_web(address):
            _refer(piece, image_url={"url": address})
        return
    if not isinstance(info, dict):
        raise refused(f"{where}.file_info", "the object that an upload has answered")
    file_id = info.get("id") or (info["file"].get("id") if isinstance(info.get("file"), dict) else None)
    own = isinstance(file_id, str) and _OWN.fullmatch(file_id) is not None
    name, said = info.get("name"), info.get("type")
    told[where] = _Info(own, name if isinstance(name, str) else "", _KINDS.get(said) if isinstance(said, str) else None)
    if own:
        _refer(piece, file={"file_id": file_id})
    elif piece["type"] == "file" and _is_web(address):
        _refer(piece, image_url={"url": address})
    elif not given or given == {"url": ""}:
        if not _is_web(info.get("url")):
            raise _nowhere(where, file_id)
        _refer(piece, image_url={"url": info["url"]})


def _refer(piece: dict[str, Any], **source: object) -> None:
    piece.clear()
    piece.update(type=next(iter(source)), **source)


def _is_web(address: object) -> bool:
    return isinstance(address, str) and _WEB.match(address) is not None


def _nowhere(where: str, file_id: object) -> InvalidRequest:
    if not file_id:
        return refused(f"{where}.file_info", "it has neither the id of a file nor an address")
    return InvalidRequest(
        f"`{where}.file_info.id`: there is no file {str(file_id)[:60]!r} at this gateway, and no address to fetch it "
        "from. Upload it to /v1/files/upload, and send what that answers.",
        param=f"{where}.file_info.id",
        code="file_not_found",
    )


# --- after it ---


def _message(message: Message, told: _Told) -> Message:
    return structs.replace(message, parts=tuple(_part(part, told) for part in message.parts))


def _part(part: Part, told: _Told) -> Part:
    if isinstance(part, ToolResultPart) and part.files:
        return structs.replace(part, files=tuple(_file(file, told) for file in part.files))
    return _file(part, told) if isinstance(part, FilePart) else part


def _file(part: FilePart, told: _Told) -> FilePart:
    place = _PLACE.match(part.param)
    info = told.get(place[0]) if place is not None else None
    if info is not None:
        part = structs.replace(part, name=part.name or info.name)
        if place is not None and info.own:
            part = structs.replace(part, param=f"{place[0]}.file_info.id")
    if isinstance(part.source, Stored):
        return structs.replace(part, kind=None, media_type="")  # it was looked at when it was given
    if isinstance(part.source, Remote):
        kind = info.kind if info is not None else None
        if kind is None and _DOCUMENT.match(part.source.url):
            kind = "document"
        return structs.replace(part, kind=kind or part.kind)
    return part
