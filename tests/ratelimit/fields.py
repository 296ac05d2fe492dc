from typing import Any

import http_sf


def read_list(value: bytes) -> list[tuple[str, dict[str, int]]]:
    """Read a structured List of Strings with integer parameters, with a parser that is not ours."""
    items: Any = http_sf.parse(value, tltype="list")
    assert all(type(name) is str for name, _ in items), "a String, not a Token"
    return list(items)
