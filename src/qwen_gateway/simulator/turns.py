"""A programmed answer (TURN) and its parts, as the control interface takes them.

Here: the keys, their defaults, and what is wrong with a turn in itself. Not here: what becomes of a turn on
the wire (`scenes`, `faults`). Every key is explained in docs/simulator.md.
"""

import base64
import re
from typing import Literal

import msgspec


class Usage(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Token counts of the last usage frame; `reasoning` is a part of `output`, as on the site."""

    input: int | None = None
    output: int | None = None
    reasoning: int | None = None


class ToolCall(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A call the model makes. A string as `arguments` is sent as it is, so that it may be broken JSON."""

    name: str
    arguments: object = msgspec.field(default_factory=dict)


class Document(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One search hit with the keys of the recorded `docs` entries (14 Sep 2026)."""

    url: str
    title: str = ""
    snippet: str = ""
    hostname: str = ""
    hostlogo: str = ""
    date: str = ""


class Search(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A search round before the text: what was said first, what was asked, what came back."""

    queries: list[str]
    docs: list[Document] = msgspec.field(default_factory=list)
    lead: str = "Let me search for that."


class RawBytes(msgspec.Struct, forbid_unknown_fields=True):
    """Bytes that JSON cannot hold."""

    base64: str


Style = Literal["taught", "bracket", "raw", "hermes", "coder_xml", "native"]


class Turn(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One answer. Everything may be left out: `{}` answers `ok`."""

    match: str | None = None
    sticky: bool = False
    text: str | None = None
    thinking: str | None = None
    thinking_style: Literal["summary", "think"] | None = None
    thinking_titles: list[str] = msgspec.field(default_factory=list)
    search: Search | None = None
    tool_calls: list[ToolCall] = msgspec.field(default_factory=list)
    style: Style = "taught"
    repeat_calls: int = 1
    calls_in: Literal["answer", "thinking", "both"] = "answer"
    nonce: str | None = None
    images: list[str] = msgspec.field(default_factory=list)
    chunks: int | list[str] | None = None
    tcp_bytes: int | None = None
    delay_ms: float = 0
    first_byte_ms: float = 0
    keep_alives: int = 0
    finish: str | None = None
    usage: Usage = msgspec.field(default_factory=Usage)
    error: str | None = None
    after_chunks: int | None = None
    seconds: float | None = None
    retry_after: str | None = None
    raw: str | RawBytes | None = None
    video: object = None

    def answer(self) -> str:
        """The text to say: a turn that makes calls or pictures need not say anything."""
        if isinstance(self.chunks, list):
            return "".join(self.chunks)
        if self.text is not None:
            return self.text
        return "" if self.tool_calls or self.images else "ok"

    def raw_bytes(self) -> bytes | None:
        if isinstance(self.raw, RawBytes):
            return base64.b64decode(self.raw.base64)
        return None if self.raw is None else self.raw.encode()

    def fits(self, prompt: str) -> bool:
        return self.match is None or self.match in prompt

    def complaint(self) -> str | None:
        """Why this turn cannot be played, if so: nothing programmed may be ignored silently."""
        listed = isinstance(self.chunks, list)
        complaints = (
            (self.video is not None, "`video` is not yet supported"),
            (self.raw is not None and self.error is not None, "`raw` cannot be combined with `error`"),
            (self.after_chunks is not None and self.error is None, "`after_chunks` wants an `error`"),
            (isinstance(self.chunks, int) and self.chunks < 1, "`chunks` must be at least 1"),
            (listed and self.text not in {None, self.answer()}, "`chunks` as a list must join to `text`"),
            (self.tcp_bytes is not None and self.tcp_bytes < 1, "`tcp_bytes` must be at least 1"),
            (self.repeat_calls < 1, "`repeat_calls` must be at least 1"),
            (self.repeat_calls > 1 and not self.tool_calls, "`repeat_calls` wants `tool_calls`"),
            (self.calls_in != "answer" and not self.tool_calls, "`calls_in` wants `tool_calls`"),
            (self.calls_in != "answer" and self.style == "native", "`native` calls stand in the answer only"),
            (self.nonce == "", "`nonce` must not be empty"),
            (self.images and (self.tool_calls or self.search), "`images` go with no `tool_calls` or `search`"),
        )
        return next((text for wrong, text in complaints if wrong), self._encoding_complaint())

    def _encoding_complaint(self) -> str | None:
        raw = [self.raw.base64] if isinstance(self.raw, RawBytes) else []
        for text in self.images + raw:
            try:
                base64.b64decode(text, validate=True)
            except ValueError:
                return "`images` and `raw.base64` must be base64"
        return None


def pieces(text: str, chunks: int | list[str] | None) -> list[str]:
    """The deltas of a text: exact ones, n characters each, or word by word with the blank in front."""
    if isinstance(chunks, list):
        return list(chunks)
    if isinstance(chunks, int):
        return [text[at : at + chunks] for at in range(0, len(text), chunks)]
    return re.findall(r"\s+\S*|\S+", text)
