"""The header, and what a request with it is known by."""

import hashlib
import re
from collections.abc import Set
from typing import Annotated
from uuid import UUID

from fastapi import Header, Request

from fanfold.core.crypto import KeyRing
from fanfold.core.paths import path_below_root
from fanfold.idempotency.fingerprint import fingerprint
from fanfold.idempotency.types import KeyedRequest

NAME = "Idempotency-Key"
REPLAYED = {"Idempotent-Replayed": "true"}

# As users of Stripe know it: the value is the key, quotes and all, where the IETF's draft has a quoted string.
IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias=NAME,
        min_length=1,
        max_length=255,
        pattern=r"^[ -~]*$",
        description="Repeat a request with the same key and body within 24 hours, and it is not done again: its "
        "first answer is replayed, with `Idempotent-Replayed: true`, also one whose chunks failed. Refusals are not "
        "kept. Printable ASCII, for example a UUID.",
    ),
]

_PLAIN = re.compile(r"[A-Za-z0-9/_.-]{1,200}")


async def keyed_request(
    request: Request,
    *,
    tenant_id: UUID,
    key: str,
    asker: UUID | None = None,
    ignored: Set[str] = frozenset(),
) -> KeyedRequest:
    """Return what the request is known by. With an `asker`, a credential's id, nobody else is replayed its answer.

    Members of the body that are `ignored` do not count.
    """
    asked = await fingerprint(request, ignored)
    key_ring: KeyRing = request.app.state.key_ring
    return known_by(key_ring, tenant_id=tenant_id, route=_route(request), key=key, asked=asked, asker=asker)


def known_by(
    key_ring: KeyRing, *, tenant_id: UUID, route: str, key: str, asked: str, asker: UUID | None = None
) -> KeyedRequest:
    """Return what a request is known by whose fingerprint is `asked`, whichever way it came."""
    hashes = key_ring.digests(f"{asked} {asker or ''}")
    return KeyedRequest(tenant_id=tenant_id, route=route, key=key, body_hashes=hashes)


def _route(request: Request) -> str:
    """Return the path, ids and all: two objects are two routes. One that no object of ours has is made short."""
    path = path_below_root(request.scope)
    if _PLAIN.fullmatch(path):
        return path
    return f"sha256:{hashlib.sha256(path.encode(errors='surrogatepass')).hexdigest()}"
