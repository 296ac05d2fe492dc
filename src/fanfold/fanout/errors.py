"""Everything the engine raises.

FanOutError
├── UnknownKind            a splitter, strategy, fold, adapter or transport that is not registered
├── InvalidPlan            a request that cannot be planned (no upstream, a price without a bound)
│   └── TooManyChunks      the text cut as asked gives more chunks than allowed
├── InvalidAddress         an upstream's address that cannot be registered (also a ValueError)
│   └── ForbiddenAddress   a literal address within a network that upstreams may not have
├── CallFailed             one attempt at one call failed; becomes a `CallError` in the result
└── FoldFailed             the answers could not be folded; becomes the answer's `fold_error`
"""

from enum import IntEnum

from fanfold.fanout.types import CallError, Cause, ErrorCode


class Phase(IntEnum):
    """How far an attempt came. Only what certainly was not sent may be repeated without asking."""

    NOTHING_SENT = 0
    MAYBE_SENT = 1
    ANSWERED = 2


class FanOutError(Exception):
    """Base of the engine's errors."""


class UnknownKind(FanOutError):
    """A registry has no such kind; the message lists the kinds it has."""

    def __init__(self, what: str, kind: str, known: tuple[str, ...]) -> None:
        super().__init__(f"There is no {what} {kind!r}. Known: {', '.join(known)}.")


class InvalidPlan(FanOutError):
    """The request cannot be planned; the message says what to change."""


class TooManyChunks(InvalidPlan):
    """The text cut as asked gives more chunks, or chunks of more text, than allowed."""


class InvalidAddress(FanOutError, ValueError):
    """An upstream's address cannot be registered; the message says what to change."""


class ForbiddenAddress(InvalidAddress):
    """The address lies in a network that upstreams may not have."""


class CallFailed(FanOutError):
    """One attempt failed. `retry_after_s` is what the upstream asked for, in seconds."""

    def __init__(
        self,
        code: ErrorCode,
        detail: str,
        *,
        phase: Phase,
        status: int | None = None,
        retry_after_s: float | None = None,
        cause: Cause | None = None,
    ) -> None:
        super().__init__(detail)
        self.error = CallError(code=code, status=status, detail=detail, cause=cause)
        self.phase = phase
        self.retry_after_s = retry_after_s


class FoldFailed(FanOutError):
    """The answers could not be folded; the results stay as they are."""

    def __init__(self, error: CallError) -> None:
        super().__init__(error.detail)
        self.error = error
