"""Answers as text."""

from typing import Any

import orjson


def as_text(value: Any) -> str:
    """Return a string as it is, anything else as compact JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
