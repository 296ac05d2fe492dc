"""JSON as RFC 8259 means it and nothing more: what decoders quietly let through is refused here."""

import json
import math
from typing import Any

from fanfold.core.errors import MalformedRequest
from fanfold.core.long_json import PIECE, decode_utf8, in_pieces, pieces_of

MAX_DEPTH = 64
# A body of 32 MB can hold ten million empty arrays, which would stop the event loop for half a minute and take a
# gigabyte; what a request may hold by its schemas is far below these, but for texts, which are one value each.
MAX_VALUES = 20_000
MAX_MEMBERS = 1_000
MAX_DIGITS = 64

_BRACKETS = (b"[", b"{")
_SEPARATORS = (b",", *_BRACKETS)
_SPACE = " \t\n\r"


def _count(wanted: tuple[bytes, ...], data: bytes) -> int:
    # In pieces: to count through 30 MB at once would keep the GIL for 40 ms.
    found = 0
    for start in range(0, len(data), PIECE):
        for each in wanted:
            found += data.count(each, start, start + PIECE)
    return found


def _check_number_of_values(data: bytes) -> None:
    if _count(_SEPARATORS, data) <= MAX_VALUES:
        return
    # Most of them may stand in texts: what is between quotes does not count, once escaped quotes are out of the way.
    for escaped in (b"\\\\", b'\\"'):
        if escaped in data:
            data = data.replace(escaped, b"")
    if data.count(b'"') > 4 * MAX_VALUES or _count(_SEPARATORS, b"".join(data.split(b'"')[::2])) > MAX_VALUES:
        raise MalformedRequest(f"The JSON holds more than {MAX_VALUES} values.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    given = len(pairs)
    if given > MAX_MEMBERS:
        raise MalformedRequest(f"A JSON object has more than {MAX_MEMBERS} members.")
    members = dict(pairs)
    if len(members) != given:
        raise MalformedRequest("A JSON object gives the same member twice.")
    return members


def _constant(_name: str) -> Any:
    raise MalformedRequest("NaN and Infinity are not JSON numbers.")


def _integer(literal: str) -> int:
    if len(literal) > MAX_DIGITS:  # Reading digits takes time that grows with their square.
        raise MalformedRequest(f"A number has more than {MAX_DIGITS} digits.")
    return int(literal)


def _number(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise MalformedRequest("A number is too large.")
    return value


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_number
    )


_short, _long = _decoder(), in_pieces(_decoder())


def _is_encodable(value: str) -> bool:
    try:
        return value.isascii() or all(piece.encode() for piece in pieces_of(value))
    except UnicodeEncodeError:
        return False


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise MalformedRequest(f"The JSON is nested deeper than {MAX_DEPTH} levels.")
    match value:
        case str():
            if "\x00" in value or not _is_encodable(value):
                raise MalformedRequest("A text holds NUL or half of a surrogate pair.")
        case dict():
            for name, member in value.items():
                _check(name, depth)
                _check(member, depth + 1)
        case list():
            for item in value:
                _check(item, depth + 1)


def loads(data: bytes) -> Any:
    """Decode one JSON value; raises `MalformedRequest`.

    Refused besides bad syntax: NaN, Infinity, numbers beyond a double, lone surrogates, NUL, a member given twice,
    more than 64 levels, 20,000 values, 1,000 members of an object or 64 digits, any encoding but UTF-8.
    Long data should be read in a thread: it is read in pieces, between which others get the GIL.
    """
    size = len(data)
    if size > MAX_VALUES:  # each takes a byte at least
        _check_number_of_values(data)
    try:
        value = _read(data.decode()) if size <= PIECE else _long.decode(decode_utf8(data))
    except (ValueError, RecursionError):
        raise MalformedRequest("The body is not valid JSON in UTF-8.") from None
    # NUL and half of a pair can only be written as an escape, and each level takes a bracket.
    if b"\\u" in data or _count(_BRACKETS, data) >= MAX_DEPTH:
        _check(value, 1)
    return value


def _read(text: str) -> Any:
    """Return the one value that a short text is; raises `ValueError`."""
    text = text.strip(_SPACE)
    try:
        value, end = _short.scan_once(text, 0)  # type: ignore[attr-defined] # what decode() calls
    except StopIteration:
        raise ValueError(text[:1]) from None
    if end != len(text):
        raise ValueError(text[end : end + 1])
    return value
