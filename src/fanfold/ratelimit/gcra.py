"""The arithmetic of GCRA, the generic cell rate algorithm (ITU-T I.371), in whole nanoseconds and without a clock.

A bucket is one number: the debt, which is the time until it is at rest (full) again. A request adds one interval
to the debt and is admitted when the debt then is no more than `burst` intervals. Integers, so that exactly `burst`
requests pass at rest; the interval is rounded up, so that the rate is never above the stated one.
"""

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS


def interval_ns(requests_per_minute: int) -> int:
    """Return the nanoseconds between two admissions at the sustained rate, rounded up."""
    return -(-MINUTE_NS // requests_per_minute)


def current_debt(rest_at: int, made_at_interval: int, *, now: int, interval: int, burst: int) -> int:
    """Return the debt in ns at `now` of a bucket that is at rest from `rest_at`, by limits that may have changed.

    What was taken counts in requests, so a debt made at another interval is rescaled. It is never above the whole
    burst: neither a lowered limit nor a clock set back can shut a bucket for longer than one interval.
    """
    debt = rest_at - now
    if debt <= 0:
        return 0
    if made_at_interval != interval:
        debt = -(-debt * interval // made_at_interval)
    return min(debt, interval * burst)


def remaining(debt: int, *, interval: int, burst: int) -> int:
    """Return how many requests would be admitted now, 0..burst."""
    return burst - -(-debt // interval)


def wait_s(debt: int, left: int, *, interval: int, burst: int) -> int:
    """Return the whole seconds, rounded up, until one request more than `left` would be admitted; 0 at rest."""
    if debt <= 0:
        return 0
    return -((interval * (burst - left - 1) - debt) // SECOND_NS)


def refill_s(requests_per_minute: int, burst: int) -> int:
    """Return the whole seconds, rounded up, in which an empty bucket is at rest again."""
    return -(-interval_ns(requests_per_minute) * burst // SECOND_NS)
