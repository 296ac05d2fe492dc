"""Long JSON read in pieces: on megabytes the C scanner keeps the GIL, and so everybody's event loop, until its end."""

import codecs
import json
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined] # documented nowhere, there since 2.6
from json.scanner import py_make_scanner  # type: ignore[attr-defined] # the one that asks parse_string
from typing import Any

# Some 5 ms where every character is escaped; a few µs where none is.
PIECE = 64 * 1024

# What of a string's inside ends between two characters: escapes and surrogate pairs stay whole. An atomic group, since
# the possessive quantifiers of Python before 3.11.5 forget to go back over half an alternative (cpython issue 106052).
_WHOLE = re.compile(
    r'(?>(?:[^"\\]+|\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[0-9a-fA-F]{4}|\\u(?![dD][89abAB])[0-9a-fA-F]{4})*)'
)


def is_long(data: bytes) -> bool:
    """Tell whether reading these bytes at once would be felt by others."""
    return len(data) > PIECE


def decode_utf8(data: bytes) -> str:
    """Return the text; raises `UnicodeDecodeError`."""
    if not is_long(data):
        return data.decode("utf-8")
    decoder = codecs.getincrementaldecoder("utf-8")()
    pieces = [decoder.decode(data[start : start + PIECE]) for start in range(0, len(data), PIECE)]
    return "".join([*pieces, decoder.decode(b"", final=True)])


def pieces_of(text: str) -> Iterator[str]:
    """Yield the text in pieces."""
    for start in range(0, len(text), PIECE):
        yield text[start : start + PIECE]


def in_pieces(decoder: json.JSONDecoder) -> json.JSONDecoder:
    """Let a decoder read its strings in pieces. Only few values may come: its other parts are Python then."""
    decoder.parse_string = _scan_string  # type: ignore[attr-defined] # read by the scanner made below
    decoder.scan_once = py_make_scanner(decoder)  # type: ignore[attr-defined] # what decode() calls
    return decoder


def _scan_string(text: str, begin: int, strict: bool = True) -> tuple[str, int]:  # noqa: FBT001, FBT002 (as json's)
    """Return the string that starts at `begin`, behind its quote, and where it ends. Raises `ValueError`."""
    parts: list[Any] = []
    at = begin
    while (end := _end_of_piece(text, at)) > at:
        parts.append(scanstring(text[at:end] + '"', 0, strict)[0])
        at = end
    if text[at : at + 1] != '"':
        raise ValueError("A string does not end, or holds half of a surrogate pair.")
    return "".join(parts), at + 1


def _end_of_piece(text: str, start: int) -> int:
    found = _WHOLE.match(text, start, start + PIECE)
    return found.end() if found else start
