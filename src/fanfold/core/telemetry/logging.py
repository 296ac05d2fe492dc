"""JSON lines on standard error, of our own loggers and of the standard library's alike."""

import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from fanfold.core.config import Settings
from fanfold.core.telemetry.context import fields_of, request_fields
from fanfold.core.telemetry.log_fields import MAX_TEXT, allowed, clean, describe, mask
from fanfold.core.telemetry.log_writer import Entry, LogWriter, line_of

MAX_SERVER_MESSAGE = 4000
SERVER_ERROR = 500
# The servers' own loggers: uvicorn gives them handlers, which would write from the loop.
_SERVERS = ("uvicorn", "uvicorn.error", "uvicorn.asgi", "gunicorn", "gunicorn.error")
_levels = logging.getLevelNamesMapping()
_STANDARD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
_ACCESS = ("uvicorn.access", "gunicorn.access")


class _Active:
    """What configure_logging set up last; logging is one for the whole process."""

    put: Callable[[Entry | bytes], None] | None = None
    level: int = logging.INFO


class Logger:
    """Writes lines of an event and its fields; before `configure_logging` it hands them on to `logging`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def info(self, event: str, **fields: Any) -> None:
        """Write what happened, as it should."""
        self._write("info", event, fields)

    def warning(self, event: str, *, exc_info: BaseException | None = None, **fields: Any) -> None:
        """Write what somebody should look at, with its exception where there is one."""
        self._write("warning", event, fields, exc_info)

    def error(self, event: str, *, exc_info: BaseException | None = None, **fields: Any) -> None:
        """Write what failed, with its exception where there is one."""
        self._write("error", event, fields, exc_info)

    def _write(
        self, level: str, event: str, fields: dict[str, Any], error: BaseException | None = None
    ) -> None:
        if _levels[level.upper()] < _Active.level:
            return
        entry = {"time": datetime.now(UTC), "level": level, "logger": self._name, "event": event[:MAX_TEXT]}
        entry |= request_fields() | allowed(fields)
        if error is not None:
            entry["exception"] = describe(error)
        _put(self._name, entry)


def get_logger(name: str) -> Logger:
    """Return the logger of a module."""
    return Logger(name)


def _put(name: str, entry: Entry) -> None:
    if _Active.put is not None:
        _Active.put(entry)
    else:
        line = line_of(entry).decode().strip()
        logging.getLogger(name).log(_levels[entry["level"].upper()], "%s", line)


def log_request(
    state: Mapping[str, Any], *, method: str, route: str, status: int, duration_ms: float, code: int | None
) -> None:
    """Write the access line of the request of this state, unless logging is off.

    Nothing in it is of the client but an id of its own, so that alone is looked at for secrets.
    """
    if _Active.put is None or _Active.level > logging.INFO:
        return
    identity = fields_of(state)
    entry = {
        "time": datetime.now(UTC),
        "level": "error" if status == SERVER_ERROR else "info",
        "logger": "fanfold.access",
        "event": "request",
        **identity,
        "method": method,
        "route": route,
        "status": status,
        "duration_ms": duration_ms,
    }
    if code is not None:
        entry["code"] = code
    line = line_of(entry)
    _Active.put(mask(line) if "server_id" in identity else line)


class Logs:
    """The logging of this process, until it is closed."""

    def __init__(self, writer: LogWriter, *, level: int) -> None:
        self._writer = writer
        self._handler = _QueueHandler(writer)
        self._before = (_Active.put, _Active.level, _queue_handlers())
        _Active.put, _Active.level = writer.put, level
        _adopt_standard_loggers(self._handler, level)

    @property
    def dropped(self) -> int:
        """Lines that found the queue full, or that could not be written."""
        return self._writer.dropped

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, for at most `timeout_s`, and give back to the logging that was configured before."""
        root = logging.getLogger()
        if self._handler in root.handlers:
            root.removeHandler(self._handler)
            _Active.put, _Active.level, handlers = self._before
            root.handlers += handlers
        self._writer.close(timeout_s)


def configure_logging(settings: Settings, *, descriptor: int = 2) -> Logs:
    """Send every log line of this process through one queue to `descriptor`, standard error unless told otherwise.

    Call it in the process that serves (a thread does not survive a fork), and close what it returns.
    """
    writer = LogWriter(descriptor, size=settings.telemetry.log_queue)
    return Logs(writer, level=_levels[settings.telemetry.log_level])


def _queue_handlers() -> list[logging.Handler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, _QueueHandler)]


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
    first_line = str(record.msg).partition("\n")[0][:MAX_TEXT]
    try:
        if record.name.startswith(("uvicorn", "gunicorn")):
            return record.getMessage().strip()[:MAX_SERVER_MESSAGE]
        if not isinstance(record.args, tuple) or not record.args:
            return first_line
        shown = clean if record.name.startswith("fanfold") else _number
        return first_line % tuple(map(shown, record.args))
    except (TypeError, ValueError):  # the template and its arguments do not fit: no reason to fail the caller
        return first_line


def _number(value: object) -> object:
    return value if isinstance(value, int | float) else "…"


def _adopt_standard_loggers(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    for old in _queue_handlers():
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
