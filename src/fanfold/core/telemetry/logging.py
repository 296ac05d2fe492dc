"""JSON lines on standard error, for structlog and for the standard library's loggers alike."""

import logging
import sys
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog

from fanfold.core.config import Settings
from fanfold.core.telemetry.context import request_fields
from fanfold.core.telemetry.log_fields import MAX_TEXT, allowed, clean, describe
from fanfold.core.telemetry.log_writer import Entry, LogWriter

MAX_SERVER_MESSAGE = 4000
# The servers' own loggers: uvicorn gives them handlers, which would write from the loop.
_SERVERS = ("uvicorn", "uvicorn.error", "uvicorn.asgi", "gunicorn", "gunicorn.error")
_STANDARD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
_ACCESS = ("uvicorn.access", "gunicorn.access")


class _Access:
    """Where access lines go. They skip structlog's chain, which costs more than all else the middleware does."""

    put: Callable[[Entry], None] | None = None


def log_request(fields: dict[str, Any], *, level: str = "info") -> None:
    """Write one access line, unless logging is off; the fields are the middleware's own, so they are not cleaned."""
    if _Access.put is not None:
        line = {"time": datetime.now(UTC), "level": level, "logger": "fanfold.access", "event": "request"}
        _Access.put(line | fields)


class Logs:
    """The logging of this process, until it is closed."""

    def __init__(self, writer: LogWriter, handler: logging.Handler) -> None:
        self._writer = writer
        self._handler = handler

    @property
    def dropped(self) -> int:
        """Lines that found the queue full, or that could not be written."""
        return self._writer.dropped

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, for at most `timeout_s`. Lines that come later are dropped."""
        logging.getLogger().removeHandler(self._handler)
        self._writer.close(timeout_s)


def configure_logging(settings: Settings, *, descriptor: int = 2) -> Logs:
    """Send every log line of this process through one queue to `descriptor`, standard error unless told otherwise.

    Call it in the process that serves (a thread does not survive a fork), and close what it returns.
    """
    level = logging.getLevelNamesMapping()[settings.telemetry.log_level]
    writer = LogWriter(descriptor, size=settings.telemetry.log_queue)
    structlog.configure(
        processors=[_entry],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _QueueLogger(writer, *names),
        cache_logger_on_first_use=False,
    )
    _Access.put = writer.put if level <= logging.INFO else None
    handler = _QueueHandler(writer)
    _adopt_standard_loggers(handler, level)
    return Logs(writer, handler)


class _QueueLogger:
    """The end of structlog's chain: takes the finished entry."""

    def __init__(self, writer: LogWriter, name: str = "fanfold") -> None:
        self.name = name
        self._put = writer.put

    def msg(self, entry: Entry) -> None:
        self._put(entry)

    debug = info = warning = error = critical = exception = msg


def _entry(logger: Any, method: str, fields: MutableMapping[str, Any]) -> tuple[tuple[Entry], dict[str, Any]]:
    event = str(fields.pop("event", ""))[:MAX_TEXT]
    error = _error(fields.pop("exc_info", None))
    entry = {"time": datetime.now(UTC), "level": method, "logger": logger.name, "event": event}
    entry |= request_fields()
    entry |= allowed(fields)
    if error is not None:
        entry["exception"] = describe(error)
    return (entry,), {}


def _error(given: Any) -> BaseException | None:
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        return given[1] if isinstance(given[1], BaseException) else None
    return sys.exception() if given else None


class _QueueHandler(logging.Handler):
    """The end of the standard library's chain."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._put = writer.put

    def emit(self, record: logging.LogRecord) -> None:
        if '"WebSocket %s"' in str(
            record.msg
        ):  # uvicorn's access line for WebSockets: holds the query string
            return
        entry = {"time": datetime.now(UTC), "level": record.levelname.lower(), "logger": record.name}
        self._put(
            entry | {"event": _message(record)} | request_fields() | _extra(record) | _exception(record)
        )


def _exception(record: logging.LogRecord) -> dict[str, Any]:
    error = _error(record.exc_info)
    return {} if error is None else {"exception": describe(error)}


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields that a module of ours gave as `extra`; what a library gives is not known, so left out."""
    if not record.name.startswith("fanfold"):
        return {}
    return allowed({name: value for name, value in vars(record).items() if name not in _STANDARD})


def _message(record: logging.LogRecord) -> str:
    """Return what the record says, without what may be input: of libraries only the template with its numbers."""
    if record.name.startswith(("uvicorn", "gunicorn")):
        return record.getMessage().strip()[:MAX_SERVER_MESSAGE]
    first_line = str(record.msg).partition("\n")[0][:MAX_TEXT]
    if not isinstance(record.args, tuple) or not record.args:
        return first_line
    shown = clean if record.name.startswith("fanfold") else _number
    try:
        return first_line % tuple(map(shown, record.args))
    except (TypeError, ValueError):
        return first_line


def _number(value: object) -> object:
    return value if isinstance(value, int | float) else "…"


def _adopt_standard_loggers(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _QueueHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(level, logging.WARNING))  # at INFO, libraries log statements and their parameters
    for name in _SERVERS:
        server = logging.getLogger(name)
        server.handlers.clear()
        server.propagate = True
    for name in ("fanfold", "uvicorn", "gunicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(level)
    for name in _ACCESS:
        access = logging.getLogger(name)
        access.handlers.clear()
        access.propagate = False  # without handlers uvicorn does not even make the line
