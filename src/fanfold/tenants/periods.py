"""Calendar months in UTC, the periods that quotas are counted by."""

from collections.abc import Callable
from datetime import UTC, date, datetime

Clock = Callable[[], datetime]

DECEMBER = 12


def utc_now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)


def period_of(moment: datetime) -> date:
    """Return the first day of the month that holds `moment`, in UTC whatever its own zone."""
    return moment.astimezone(UTC).date().replace(day=1)


def period_end(start: date) -> datetime:
    """Return the moment at which the period that begins on `start` is over: the next month's first midnight, UTC."""
    year, month = (start.year + 1, 1) if start.month == DECEMBER else (start.year, start.month + 1)
    return datetime(year, month, 1, tzinfo=UTC)
