"""What a request with an `Idempotency-Key` may be refused with."""

from fanfold.core.errors import FanfoldError


class IdempotencyInProgress(FanfoldError):
    """A request with the same `Idempotency-Key` has not ended yet."""

    status, code, title = 409, "idempotency-in-progress", "Idempotency key in progress"
    advice = "Try again after `Retry-After` seconds, unchanged: once the answer is there it is replayed."


class IdempotencyMismatch(FanfoldError):
    """The `Idempotency-Key` was used at this route with another body, or by another credential."""

    status, code, title = 422, "idempotency-mismatch", "Idempotency key of another request"
    advice = "Use a new key for a new request, and the same key only to repeat a request unchanged."


class AnswerLost(FanfoldError):
    """The request was done, but its answer can no longer be opened."""

    status, code, title = 409, "conflict", "Conflict"
    advice = "Read what was made, or send the request with a new key."


def in_progress() -> IdempotencyInProgress:
    """Return the refusal of a request whose twin still runs."""
    return IdempotencyInProgress(
        "A request with this Idempotency-Key is still running. Repeat it later, unchanged.",
        headers={"Retry-After": "1"},
    )
