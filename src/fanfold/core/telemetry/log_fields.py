"""What may stand in a log line: fields on a list, words and numbers, exceptions without what they say."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from traceback import walk_tb
from types import TracebackType
from typing import Any
from uuid import UUID

from pydantic import SecretBytes, SecretStr

from fanfold.core.errors import FanfoldError

MAX_TEXT = 300
_WORD = re.compile(r"[!-~]{0,200}")  # ids, slugs, codes, routes, addresses: never a text, in any script
MAX_ITEMS = 20
MAX_FRAMES = 30
MAX_DEPTH = 5
MASK = "**********"

# A field that is not here is not written; the line names it under `left_out`, so that its author notices.
_NAMES = """
api_key_id attempt attempts bound burst bytes calls check chunks code component connections count database
deadline_s delay_s dropped duration_ms elapsed_s error expires_at failed failure fallback from_revision holder host
interval_s items job_id kind late lease_s limit logger maximum message_id method mode operator_id outcome percent
period_start pid plan port queue queued reason remaining remedy request_id reservation_id reserved retry_after_s
revision role route running scope server_id settled signal size slug status step store strategy swept task tenant_id
threads timeout_s to_revision topic total transport unbilled units upstream upstream_id user_id version waiting
webhook_id workers
"""
ALLOWED = frozenset(_NAMES.split())

_PRINTED = (UUID, datetime, date, IPv4Address, IPv6Address)


def clean(value: Any) -> Any:
    """Return `value` as a log line may hold it: numbers, words, short lists of them; of all else only the type."""
    if isinstance(value, Enum):
        value = value.value
    match value:
        case str():
            return value if _WORD.fullmatch(value) else f"<text of {len(value)} characters>"
        case None | bool() | int() | float():
            return value
        case list() | tuple() | set() | frozenset():
            return [clean(item) for item in list(value)[:MAX_ITEMS]]
    return _name(value)


def _name(value: object) -> str:
    if isinstance(value, SecretStr | SecretBytes):
        return MASK
    return str(value) if isinstance(value, _PRINTED) else f"<{type(value).__name__}>"


def allowed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that may be written, cleaned."""
    kept = {name: clean(value) for name, value in fields.items() if name in ALLOWED}
    if len(kept) < len(fields):
        kept["left_out"] = sorted(clean(name) for name in fields if name not in ALLOWED)[:MAX_ITEMS]
    return kept


def describe(error: BaseException, depth: int = 0) -> dict[str, Any]:
    """Return type, place and cause of an exception: no local values, and no message that may repeat an input.

    Messages are kept of our own errors, which never repeat the input, and of the operating system.
    """
    found: dict[str, Any] = {"type": f"{type(error).__module__}.{type(error).__qualname__}"}
    if message := _message(error):
        found["message"] = message
    if isinstance(sqlstate := getattr(error, "sqlstate", None), str):
        found["sqlstate"] = sqlstate[:5]
    found["frames"] = _frames(error.__traceback__)
    if depth < MAX_DEPTH:
        if isinstance(error, BaseExceptionGroup):
            found["exceptions"] = [describe(each, depth + 1) for each in error.exceptions[:MAX_DEPTH]]
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is not None:
            found["cause"] = describe(cause, depth + 1)
    return found


def _message(error: BaseException) -> str | None:
    if isinstance(error, FanfoldError):
        return error.detail[:MAX_TEXT]
    return error.strerror if isinstance(error, OSError) and isinstance(error.strerror, str) else None


def _frames(trace: TracebackType | None) -> list[str]:
    places = [
        f"{frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}" for frame, line in walk_tb(trace)
    ]
    return places if len(places) <= MAX_FRAMES else [*places[:5], "…", *places[-(MAX_FRAMES - 5) :]]


# The last net under the list of names: shapes of secrets, and characters that terminals obey or that end a line
# for some readers, but that JSON does not escape (C1 controls, bidirectional overrides, line separators).
_SHAPES = re.compile(
    rb"""(?P<secret> \bff_[a-z]+_\w{6,} | \bsk-[\w-]{8,} | \beyJ[\w-]+\.[\w-]+\.[\w-]*
       | (?i:\b(?:bearer|basic)\s+)[\w.~+/=-]{4,} | (?<=://)[^\s"/@]*@ )
     | \xc2[\x80-\x9f] | \xe2\x80[\xa8-\xae] | \xe2\x81[\xa6-\xa9]""",
    re.VERBOSE,
)


def _replace(found: re.Match[bytes]) -> bytes:
    if found["secret"] is not None:
        return b"***@" if found["secret"].endswith(b"@") else b"***"
    return b"\\u%04x" % ord(found[0].decode())


# The pattern costs 20 µs a line; looking for what each of its branches must hold, a fraction of one.
_SIGNS = (b"ff_", b"sk-", b"eyj", b"bearer", b"basic", b"://", b"\xc2", b"\xe2\x80", b"\xe2\x81")


def mask(line: bytes) -> bytes:
    """Return one JSON line with everything that has the shape of a secret masked."""
    return _SHAPES.sub(_replace, line) if _is_suspect(line) else line


def _is_suspect(line: bytes) -> bool:
    lower = line.lower()
    return any(sign in lower for sign in _SIGNS)
