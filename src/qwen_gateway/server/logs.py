"""Logs: one structured line per request, never content and never a secret."""

import logging
import logging.handlers
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TextIO

import msgspec
import structlog

from qwen_gateway.relay.watch import TurnRecord

FILE_BYTES, FILES_KEPT = 10 * 1024 * 1024, 5
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(level: str, form: Literal["auto", "json", "text"], file: Path | None) -> None:
    """Sends all log lines to standard error, or to `file` when there is one (10 MB each, five old ones kept).

    `auto`: text on a terminal, JSON otherwise.
    """
    readable = form == "text" or (form == "auto" and file is None and sys.stderr.isatty())
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if readable
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    lines = _Lines(sys.stderr, None if file is None else _rotating(file))
    number = _LEVELS[level]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    # Libraries use the standard logging; what they warn of goes to the same places.
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[_Library(lines)], force=True)


def _rotating(file: Path) -> logging.Handler:
    file.parent.mkdir(parents=True, exist_ok=True)
    return logging.handlers.RotatingFileHandler(
        file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8", delay=True
    )


class _Lines:
    """Writes finished lines. structlog looks its methods up by the name of the level."""

    def __init__(self, stream: TextIO, file: logging.Handler | None) -> None:
        self._stream, self._file = stream, file

    def info(self, line: str) -> None:
        # A disk that is full, or a reader that has gone, costs the line and not what goes on around it.
        with suppress(OSError, ValueError):
            if self._file is not None:
                self._file.handle(logging.makeLogRecord({"msg": line}))
                return
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = warning = error = critical = exception = info


class _Library(logging.Handler):
    """Gives lines of libraries the form of ours."""

    def __init__(self, lines: _Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        line = {"event": record.getMessage(), "logger": record.name, "level": record.levelname.lower()}
        if record.exc_info:
            line["exception"] = logging.Formatter().formatException(record.exc_info)
        self._lines.info(_json({**line, "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat()}))


def _json(event: object, **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def log_turn(record: TurnRecord) -> None:
    usage = record.usage
    structlog.get_logger().info(
        "request",
        request_id=record.request_id,
        endpoint=record.endpoint,
        stream=record.stream,
        model=record.model or record.asked_model,
        account=record.account,
        status=record.status,
        end=record.end,
        code=record.code,
        fault=record.origin,
        tries=record.tries,
        way=record.way,
        why=record.why,
        sent_bytes=record.sent,
        files=record.files,
        calls=None if record.calls is None else record.calls.told(),
        first_event_ms=None if record.first_event is None else round(record.first_event * 1000, 1),
        duration_ms=round(record.duration * 1000, 1),
        input_tokens=None if usage is None else usage.input,
        output_tokens=None if usage is None else usage.output,
    )
