"""What a client is told where the units do not fit."""

from fanfold.core.errors import QuotaExhausted
from fanfold.usage.errors import Insufficient, OverBudget


def quota_exhausted(short: Insufficient, what: str = "request") -> QuotaExhausted:
    """Return the 402: what the ledger refused to hold for a request, or a job."""
    whose = "of the API key's budget for" if isinstance(short, OverBudget) else "in"
    return QuotaExhausted(
        f"The {what} may need {short.needed} units, and {short.remaining} are left {whose} this period.",
        needed=short.needed,
        remaining=short.remaining,
        period_ends_at=short.period_end,
    )
