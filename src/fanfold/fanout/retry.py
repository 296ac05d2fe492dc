"""Which failed attempts are repeated, and after how long. Pure: nothing here waits."""

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from fanfold.core.values import value
from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.status_hints import OVERLOADED
from fanfold.fanout.types import ErrorCode

REPEATED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, OVERLOADED})
_REPEATED_IF_SAFE = frozenset({ErrorCode.TIMEOUT, ErrorCode.CONNECT})
_LONGEST_DIGITS = 9


@value(kw_only=True)
class RetryPolicy:
    """Exponential pauses with full jitter: between 0 and `first_s` doubled each time, at most `most_s` seconds.

    Full jitter is what spreads a crowd of callers best ("Exponential Backoff And Jitter", AWS Architecture Blog).
    """

    first_s: float = 0.25
    most_s: float = 8.0
    random: Callable[[], float] = random.random

    def pause_s(self, failure: CallFailed, *, attempt: int, idempotent: bool) -> float | None:
        """Return the seconds to wait after the `attempt`-th attempt (from 1), or None: do not repeat."""
        if not is_repeated(failure, idempotent=idempotent):
            return None
        # ldexp overflows only beyond attempt 1024; attempts end at 10.
        jittered = self.random() * min(self.most_s, math.ldexp(self.first_s, attempt - 1))
        return max(jittered, failure.retry_after_s or 0.0)


def is_repeated(failure: CallFailed, *, idempotent: bool) -> bool:
    """Tell whether the failure may be repeated without doing the upstream's work twice unasked."""
    if failure.error.code is ErrorCode.STATUS:
        return failure.error.status in REPEATED_STATUSES
    if failure.error.code in _REPEATED_IF_SAFE:
        return idempotent or failure.phase is Phase.NOTHING_SENT
    return False


def retry_after_s(value: str | None, *, now: datetime) -> float | None:
    """Read a Retry-After header (RFC 9110, 10.2.3: seconds or an HTTP date); None for what cannot be read."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= _LONGEST_DIGITS else math.inf
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())
