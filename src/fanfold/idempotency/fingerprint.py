"""What a body asks for, as one digest: spacing, escapes and the order of members do not count."""

import hashlib
from collections.abc import Callable, Set
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


async def fingerprint(request: Request, ignored: Set[str] = frozenset()) -> str:
    """Return the digest of a request's JSON body, made off the loop where it is long; without a body of nothing.

    Members of the body that are `ignored` do not count. Raises 503 where a long one finds no thread.
    """
    if not isinstance(request, JsonRequest):
        return digest(None)
    offload: Offload = request.app.state.offload
    body = await request.body()
    return await fingerprint_of(await request.json(), ignored, offload if is_long(body) else None)


async def fingerprint_of(value: Any, ignored: Set[str], offload: Offload | None) -> str:
    """Return the digest of decoded JSON, made by `offload` where one is given; as a body it is the same."""
    if isinstance(value, dict):
        value = {name: value[name] for name in value.keys() - ignored}
    return digest(value) if offload is None else await offload.run(partial(digest, value))
