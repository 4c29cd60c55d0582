"""Logs: one structured line per request, never content and never a secret."""

import logging
import logging.handlers
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from qwen_gateway.relay.watch import TurnRecord

FILE_BYTES, FILES_KEPT = 10 * 1024 * 1024, 5
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(level: str, form: Literal["auto", "json", "text"], file: Path | None) -> None:
    """Sends all log lines to standard error, and to `file` when there is one (10 MB each, five old ones kept).

    `auto`: text when standard error is a terminal and no file is written, JSON otherwise.
    """
    readable = form == "text" or (form == "auto" and file is None and sys.stderr.isatty())
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if readable
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(
            logging.handlers.RotatingFileHandler(
                file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8", delay=True
            )
        )
    for handler in handlers:
        handler.setFormatter(_Formatter())
    number = _LEVELS[level]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _Lines(handlers),
        cache_logger_on_first_use=False,
    )
    # Libraries use the standard logging; what they warn of goes to the same places.
    logging.basicConfig(level=max(number, logging.WARNING), handlers=handlers, force=True)


class _Lines:
    """Hands finished lines to handlers. structlog looks its methods up by the name of the level."""

    def __init__(self, handlers: list[logging.Handler]) -> None:
        self._handlers = handlers

    def info(self, line: str) -> None:
        record = logging.makeLogRecord({"msg": line})
        for handler in self._handlers:
            handler.handle(record)

    debug = warning = error = critical = exception = info


class _Formatter(logging.Formatter):
    """Our own lines are finished; those of libraries get the same form."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name is None:
            return str(record.msg)
        line = {"event": record.getMessage(), "logger": record.name, "level": record.levelname.lower()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _json({**line, "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat()})


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
        first_event_ms=None if record.first_event is None else round(record.first_event * 1000, 1),
        duration_ms=round(record.duration * 1000, 1),
        input_tokens=None if usage is None else usage.input,
        output_tokens=None if usage is None else usage.output,
    )
