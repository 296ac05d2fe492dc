"""Answers as JSON text."""

from typing import Any

import orjson

MAX_DEPTH = 64
_ORJSON_DEPTH = 254


def as_text(value: Any) -> str:
    """Return a string as it is, anything else as compact JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def is_writable(value: Any) -> bool:
    """Tell whether a value can be sent on as JSON, nested no deeper than 64: orjson writes up to 254 levels."""
    for _ in range(_ORJSON_DEPTH - MAX_DEPTH):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True
