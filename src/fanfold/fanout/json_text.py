"""Answers as JSON text."""

from typing import Any

import orjson

MAX_DEPTH = 64
_ORJSON_DEPTH = 254
_BYTES_OF_A_CONTAINER = 64
# Making that many lists and objects takes up to 20 ms in which nothing else runs; what holds more is not a chunk's
# answer.
MAX_CONTAINERS = 50_000


def as_text(value: Any) -> str:
    """Return a string as it is, anything else as compact JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def containers(text: str | bytes) -> int:
    """Return the lists and objects that JSON text holds at most."""
    if isinstance(text, str):
        return text.count("[") + text.count("{")
    return text.count(b"[") + text.count(b"{")


def memory(text: bytes) -> int:
    """Return about the bytes that JSON takes once it is read: an empty list is 2 bytes, and 64 in memory."""
    return len(text) + _BYTES_OF_A_CONTAINER * (text.count(b"[") + text.count(b"{"))


def is_writable(value: Any) -> bool:
    """Tell whether a value can be sent on as JSON, nested no deeper than 64: orjson writes up to 254 levels."""
    for _ in range(_ORJSON_DEPTH - MAX_DEPTH):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True
