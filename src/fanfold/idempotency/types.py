"""A request that came with a key, and the answer that is kept for it."""

from collections.abc import Sequence
from uuid import UUID

from fanfold.core.values import value

LIFETIME_H = 24


@value(kw_only=True)
class KeyedRequest:
    """A request with an `Idempotency-Key`. `tenant_id` is the id of an operator's key where an operator asks.

    `body_hashes` are the digest of what is asked under each secret key of the server, the newest first.
    """

    tenant_id: UUID
    route: str
    key: str
    body_hashes: Sequence[bytes]

    def place(self, request_id: UUID, part: int) -> str:
        """Return what a part of the answer is sealed to, so that it opens nowhere else."""
        return f"idempotency:{self.tenant_id}:{request_id}:{part}:{self.route}:{self.key}"


@value(kw_only=True)
class Kept:
    """An answer that was given: `parts` sealed parts, together `length` bytes when opened.

    `units` and `remaining` are the ledger's where the request was billed; `remaining` is None with overage.
    """

    request_id: UUID
    status: int
    headers: dict[str, str]
    units: int | None
    remaining: int | None
    parts: int
    length: int


@value(kw_only=True)
class Found:
    """What is known of a key: who claimed it with what, whether that still runs, and the answer where there is one."""

    body_hash: bytes
    is_running: bool
    kept: Kept | None
