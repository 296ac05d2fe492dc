"""What a body asks for, as one digest: spacing, escapes and the order of members do not count."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.requests import Request

from fanfold.core.long_json import is_long, pieces_of
from fanfold.core.offload import Offload
from fanfold.core.requests import JsonRequest


def digest(value: Any) -> str:
    """Return SHA-256 of a decoded JSON value, as hexadecimal digits."""
    running = hashlib.sha256()
    _feed(running.update, value)
    return running.hexdigest()


def _feed(update: Callable[[bytes], None], value: Any) -> None:
    # Each value says its kind and its length first, so that no two values are written the same.
    match value:
        case str():
            update(b"text %d:" % len(value))
            for piece in pieces_of(value):
                update(piece.encode())
        case dict():
            update(b"object %d:" % len(value))
            for name in sorted(value):
                _feed(update, name)
                _feed(update, value[name])
        case list():
            update(b"array %d:" % len(value))
            for item in value:
                _feed(update, item)
        case _:
            update(f"{value!r};".encode())


async def fingerprint(request: Request) -> str:
    """Return the digest of a request's JSON body, made off the loop where it is long; without a body of nothing.

    Raises 503 where a long one finds no thread.
    """
    if not isinstance(request, JsonRequest):
        return digest(None)
    value = await request.json()
    if not is_long(await request.body()):
        return digest(value)
    offload: Offload = request.app.state.offload
    return await offload.run(partial(digest, value))
