"""The parts of a form while it comes: what `python_multipart` finds becomes fields in memory and files in the spool."""

import logging

from msgspec import Struct
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError

from qwen_gateway.relay.file_ports import Spool, SpoolWriter
from qwen_gateway.server.form_heads import field_name, file_name, media_type, options
from qwen_gateway.turn.contracts import Form, FormFile
from qwen_gateway.turn.faults import BodyTooLarge, InvalidRequest

# It warns of each broken form, with bytes of it, which do not belong into a log.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)

_MOST_HEADERS = 16
_PLAIN = frozenset((b"", b"7bit", b"8bit", b"binary"))


class FormLimits(Struct, frozen=True):
    """total: bytes of the body. file: the field of the file that the route is for; `None` where any may be. fields,
    files: how many. field_bytes: of all fields together. header_bytes: for each part."""

    total: int
    file: str | None = None
    fields: int = 64
    field_bytes: int = 1024 * 1024
    files: int = 20
    header_bytes: int = 8 * 1024


def unreadable(text: str, param: str | None = None) -> InvalidRequest:
    return InvalidRequest(text, code="invalid_form", param=param)


class _Field:
    def __init__(self, field: str) -> None:
        self.field, self.data = field, bytearray()

    def read(self) -> tuple[str, str]:
        try:
            return self.field, self.data.decode()
        except UnicodeDecodeError as problem:
            raise unreadable(f"The field `{self.field}` is no UTF-8 text.", self.field) from problem


class _File:
    """The parser's calls cannot wait, so what they bring waits here until `settle`."""

    def __init__(self, field: str, name: str, media: str, writer: SpoolWriter) -> None:
        self.field, self._name, self._media, self._writer = field, name, media, writer
        self._waiting: list[bytes] = []
        self.ended = False

    def add(self, data: bytes) -> None:
        self._waiting.append(data)

    async def settle(self) -> FormFile | None:
        """The file, once it has ended."""
        try:
            for data in self._waiting:
                await self._writer.write(data)
        except BodyTooLarge as fault:
            fault.param = fault.param or self.field
            raise
        self._waiting.clear()
        if not self.ended:
            return None
        return FormFile(self.field, self._name, self._media, await self._writer.finish())

    def discard(self) -> None:
        self._writer.discard()


class FormParts:
    """One form. Whatever it raises, `discard` must follow unless `form` was given on."""

    def __init__(self, boundary: bytes, spool: Spool, limits: FormLimits) -> None:
        self._spool, self._limits = spool, limits
        self._fields: list[_Field] = []
        self._files: list[_File] = []
        self._whole: list[FormFile] = []  # of those, as far as they are in the spool
        self._field_bytes = self._head_bytes = 0
        self._head: dict[bytes, bytes] = {}
        self._header, self._value = bytearray(), bytearray()
        self._part: _Field | _File | None = None
        self._begun = self._ended = False
        self._delimiter, self._delimiters = b"\r\n--" + boundary, limits.fields + limits.files + 1
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
            max_header_count=_MOST_HEADERS,
            max_header_size=limits.header_bytes,
        )

    @property
    def under_way(self) -> str | None:
        """The field of the part that is being read, as far as `feed` got."""
        return None if self._part is None else self._part.field

    async def feed(self, data: bytes) -> None:
        """Raises InvalidRequest, BodyTooLarge, Overloaded."""
        if not self._begun:
            # Line ends before the first boundary are harmless. The parser would look past other things behind them as
            # well, though not when they come in pieces.
            data = data.lstrip(b"\r\n")
            self._begun = bool(data)
        # The parser goes byte by byte where a delimiter seems to begin: 8 ms for 64 KB of them (measured 2026-11-21).
        self._delimiters -= data.count(self._delimiter)
        if self._delimiters < 0:
            raise unreadable("The form has more parts than this gateway takes, or its boundary is in a file.")
        try:
            self._parser.write(data)
        except FormParserError as problem:
            text = "The body cannot be read as a form (`multipart/form-data`) with the boundary that its header names."
            raise unreadable(text) from problem
        for file in self._files[len(self._whole) :]:
            if (whole := await file.settle()) is not None:
                self._whole.append(whole)

    def form(self) -> Form:
        if not self._ended:
            raise unreadable("The form is not whole: its last boundary is missing.")
        return Form(tuple(field.read() for field in self._fields), tuple(self._whole))

    def discard(self) -> None:
        for whole in self._whole:
            whole.content.close()
        for file in self._files[len(self._whole) :]:
            file.discard()

    def _on_part_begin(self) -> None:
        self._head, self._head_bytes, self._part = {}, 0, None

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_head(end - start)
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_head(end - start)
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        name = bytes(self._header).lower()
        if name in self._head:
            raise unreadable("A part of the form has the same header twice.")
        self._head[name] = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _on_headers_finished(self) -> None:
        kind, given = options(self._head.get(b"content-disposition", b""))
        field, name = field_name(given), file_name(given)
        if kind != b"form-data" or field is None:
            raise unreadable("A part of the form has no name that can be read.")
        media = media_type(self._head.get(b"content-type", b""))
        if media.startswith("multipart/"):
            raise unreadable(f"The part `{field}` is a form itself. Send each file as a part of its own.", field)
        if self._head.get(b"content-transfer-encoding", b"").strip().lower() not in _PLAIN:
            raise unreadable(f"The part `{field}` is encoded. Send its bytes as they are.", field)
        self._part = self._new_field(field) if name is None else self._new_file(field, name, media)

    def _new_field(self, name: str) -> _Field:
        if len(self._fields) == self._limits.fields:
            raise unreadable(f"The form has more than {self._limits.fields} fields.")
        self._fields.append(_Field(name))
        return self._fields[-1]

    def _new_file(self, field: str, name: str, media: str) -> _File:
        if len(self._files) == self._limits.files:
            text = f"The form has more than {self._limits.files} files."
            raise InvalidRequest(text, code="too_many_files", param=field)
        self._files.append(_File(field, name, media, self._spool.begin()))
        return self._files[-1]

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if isinstance(self._part, _File):
            self._part.add(data[start:end])
        elif self._part is not None:
            self._field_bytes += end - start
            if self._field_bytes > self._limits.field_bytes:
                text = f"The fields of the form are larger than {self._limits.field_bytes:,} bytes together."
                raise BodyTooLarge(text, param=self._part.field)
            self._part.data += data[start:end]

    def _on_part_end(self) -> None:
        if isinstance(self._part, _File):
            self._part.ended = True

    def _on_end(self) -> None:
        self._ended = True

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.header_bytes:
            raise unreadable("A part of the form has too long headers.")
