"""JSON as RFC 8259 means it and nothing more: what decoders quietly let through is refused here."""

import json
import math
from typing import Any

from fanfold.core.errors import MalformedRequest

MAX_DEPTH = 64


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedRequest("A JSON object gives the same member twice.")
    return members


def _constant(_name: str) -> Any:
    raise MalformedRequest("NaN and Infinity are not JSON numbers.")


def _number(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise MalformedRequest("A number is too large.")
    return value


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_number)


def _is_encodable(value: str) -> bool:
    try:
        return value.isascii() or bool(value.encode())
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
    more than 64 levels, any encoding but UTF-8.
    """
    try:
        value = _decoder.decode(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise MalformedRequest("The body is not valid JSON in UTF-8.") from None
    _check(value, 1)
    return value
