"""What the engine and the ledger refuse, as the problems that clients read."""

from fanfold.core.errors import FanfoldError, TooLarge, ValidationFailed
from fanfold.core.translation import translated
from fanfold.fanout.errors import InvalidPlan, TooManyChunks
from fanfold.idempotency.errors import in_progress
from fanfold.processing.shortage import quota_exhausted
from fanfold.usage.errors import Insufficient, KeyClaimed


def check_length(characters: int, most: int) -> None:
    """Raise a 413 for a text of more code points than the plan lets it have."""
    if characters > most:
        raise TooLarge(f"The text is over the plan's {most} characters.")


def _unplanned(error: BaseException) -> FanfoldError | None:
    match error:
        case TooManyChunks():
            return TooLarge(str(error))
        case InvalidPlan():
            errors = [{"loc": ["body"], "msg": str(error), "type": "plan"}]
            return ValidationFailed(str(error), errors=errors)
    return None


def _unreserved(error: BaseException) -> FanfoldError | None:
    match error:
        case KeyClaimed():
            return in_progress()
        case Insufficient():
            return quota_exhausted(error)
    return None


planning = translated(_unplanned)
"""Makes a 413 of too many chunks, and a 422 of what cannot be planned."""

reserving = translated(_unreserved)
"""Makes a 402 of units that do not fit, and a 409 of a key whose first request was faster."""
