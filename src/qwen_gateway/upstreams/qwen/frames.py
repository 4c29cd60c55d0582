"""Bytes of the site's stream → decoded frames. Cuts lines on bytes, so a character may be split anywhere.

One `data: {json}` line is one frame. Frames are told apart by line and not by blank line: streams without blank
lines were met (ifan855/qwen-studio-reversed, 2026-09). Otherwise the rules of the WHATWG event stream hold: any
line end, comments, a byte order mark, a value over several `data:` lines.
"""

import json
from typing import Any

import msgspec
from msgspec import Raw, Struct

MAX_FRAME = 8 * 1024 * 1024
"""Bytes of one line. A picture as base64 stays below; above it, memory would be the site's to fill."""

_NOTHING = Raw()


class FunctionCall(Struct, gc=False):
    """A call of a tool as far as it has come. `arguments`: JSON in a string."""

    name: str | None = None
    arguments: Raw = _NOTHING

    @property
    def text(self) -> str:
        """The arguments. An object in the place of a string, met nowhere yet, is text as well."""
        try:
            return _text(self.arguments)
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = bytes(self.arguments).decode("utf-8", "replace")
        if text[:1] == '"':
            return str(json.loads(text))
        return "" if text == "null" else text


class Delta(Struct):
    """`function_id`: the site's number for a call of one of its own tools, and nothing with any other."""

    content: str | None = None
    phase: str | None = None
    status: str | None = None
    role: str | None = None
    name: str | None = None
    function_call: FunctionCall | None = None
    function_id: Raw = _NOTHING
    extra: Raw = _NOTHING


class Choice(Struct):
    delta: Delta | None = None


class Created(Struct):
    chat_id: str = ""
    response_id: str = ""


class Frame(Struct):
    """The fields we use; msgspec passes over the others without making them. `usage` and `extra` stay bytes."""

    choices: list[Choice] = []
    response_id: str | None = None
    usage: Raw = _NOTHING
    created: Created | None = msgspec.field(default=None, name="response.created")
    error: Raw = _NOTHING
    timestamp: Any = None
    success: bool | None = None
    data: Raw = _NOTHING
    ret: Raw = _NOTHING

    @property
    def refuses(self) -> bool:
        return bool(self.success is False or len(self.error) or len(self.ret))


class MendedFrame(Frame):
    """A frame whose text was not valid Unicode: it may begin or end with half a character."""


class Unreadable(Exception):
    """A line that is no frame. `line` is its bytes; `whole`: no further line could make it one."""

    def __init__(self, line: bytes, *, whole: bool = False) -> None:
        super().__init__("a line of the stream is not a frame")
        self.line = line
        self.whole = whole


_decode = msgspec.json.Decoder(Frame).decode
_text = msgspec.json.Decoder(str).decode


class FrameReader:
    """Cuts bytes into frames. `lines` for each network chunk, `rest` at the end of the stream.

    overflow: a line is longer than MAX_FRAME. It and what follows it are not given out.
    """

    def __init__(self) -> None:
        self.overflow = False
        self._rest = bytearray()
        self._first = True
        self._after_cr = False

    def lines(self, data: bytes) -> list[bytes]:
        """Whole lines, without their ends."""
        if not data:
            return []  # or a CR before it would be forgotten
        if self._after_cr or b"\r" in data:
            data = self._plain_ends(data)
        if b"\n" not in data:
            self._rest += data
            self.overflow = len(self._rest) > MAX_FRAME
            return []
        if self._rest:
            data = bytes(self._rest) + data
            self._rest.clear()
        lines = data.split(b"\n")
        if last := lines.pop():
            self._rest += last
        if self._first:
            self._first = False
            lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
        if len(data) > MAX_FRAME:
            too_long = next((i for i, line in enumerate(lines) if len(line) > MAX_FRAME), len(lines))
            self.overflow = too_long < len(lines) or len(self._rest) > MAX_FRAME
            return lines[:too_long]
        return lines

    def _plain_ends(self, data: bytes) -> bytes:
        """CR and CRLF → LF, also when the cut was between the two."""
        if self._after_cr:
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def rest(self) -> bytes:
        """What came after the last line end."""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest.removeprefix(b"\xef\xbb\xbf") if self._first else rest


def decode(payload: bytes) -> Frame:
    """One frame. Raises Unreadable.

    Text that is not valid Unicode (a cut surrogate pair, stray bytes) is rare and goes the slow way: it is kept
    with lone surrogates, which the caller joins or replaces.
    """
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        value = json.loads(payload.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as problem:
        raise Unreadable(payload) from problem
    try:
        if not isinstance(value, dict):
            raise Unreadable(payload, whole=True)
        surrogates = _take_content(value)
        frame = msgspec.convert(_raw_fields(value), MendedFrame)
    except (RecursionError, msgspec.ValidationError) as problem:
        raise Unreadable(payload, whole=True) from problem
    if surrogates is not None and frame.choices and frame.choices[0].delta is not None:
        frame.choices[0].delta.content = surrogates
    return frame


def _take_content(value: dict[str, Any]) -> str | None:
    """Removes the text of the first delta from `value`: msgspec would refuse its lone surrogates."""
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    delta = first.get("delta") if isinstance(first, dict) else None
    if isinstance(delta, dict) and isinstance(content := delta.get("content"), str):
        del delta["content"]
        return content
    return None  # nothing, or of another type: then it stays, to be refused


def _raw_fields(value: dict[str, Any]) -> dict[str, Any]:
    """`value` with the fields that Frame keeps as bytes turned back into bytes."""
    for key in ("usage", "error", "data", "ret"):
        if key in value:
            value[key] = _raw(value[key])
    choices = value.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and isinstance(delta := choice.get("delta"), dict):
            for key in ("extra", "function_id"):
                if key in delta:
                    delta[key] = _raw(delta[key])
            if isinstance(call := delta.get("function_call"), dict) and "arguments" in call:
                call["arguments"] = _raw_snapshot(call["arguments"])
    return value


def _raw_snapshot(arguments: object) -> Raw:
    """Without half a character at its end: the next snapshot has it whole, and must begin like this one."""
    if isinstance(arguments, str):
        whole = arguments[:-1] if "\ud800" <= arguments[-1:] <= "\udbff" else arguments
        arguments = whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _raw(arguments)


def _raw(value: object) -> Raw:
    """As JSON that msgspec reads: half a character at the end of a cut snippet becomes a question mark."""
    return Raw(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
