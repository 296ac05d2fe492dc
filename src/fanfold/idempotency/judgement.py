"""What becomes of a request whose key is known already."""

from fanfold.idempotency.errors import IdempotencyMismatch, in_progress
from fanfold.idempotency.types import Found, Kept, KeyedRequest


def judge(found: Found | None, keyed: KeyedRequest) -> Kept | None:
    """Return the answer to replay, or None where the request is to be carried out.

    Raises `IdempotencyMismatch` (422) where the key asked for something else, `IdempotencyInProgress` (409) where the
    first request still runs. A claim without an answer that nothing runs for any more counts as none.
    """
    if found is None or (found.kept is None and not found.is_running):
        return None
    if found.body_hash not in keyed.body_hashes:
        raise IdempotencyMismatch("This Idempotency-Key came with another request before. Use a new key.")
    if found.kept is None:
        raise in_progress()
    return found.kept
