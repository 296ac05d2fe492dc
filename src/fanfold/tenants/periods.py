"""Days, ISO weeks and calendar months in UTC, the periods that quotas are counted by."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache

Clock = Callable[[], datetime]

DECEMBER = 12


class Period(StrEnum):
    """What a plan's units are for: a day, a week from Monday on (ISO 8601), or a calendar month."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def utc_now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)


def period_of(moment: datetime, period: Period = Period.MONTH) -> date:
    """Return the first day of the period that holds `moment`, in UTC whatever its own zone."""
    return first_day((moment if moment.tzinfo is UTC else moment.astimezone(UTC)).date(), period)


@lru_cache(maxsize=64)  # each request asks, all day the same
def first_day(day: date, period: Period) -> date:
    """Return the first day of the period that holds `day`."""
    match period:
        case Period.DAY:
            return day
        case Period.WEEK:
            return day - timedelta(days=day.weekday())
        case Period.MONTH:
            return day.replace(day=1)


def period_end(start: date, period: Period = Period.MONTH) -> datetime:
    """Return the moment at which the period that begins on `start` is over: the next one's first midnight, UTC."""
    return datetime.combine(_next(start, period), time(), UTC)


def _next(start: date, period: Period) -> date:
    match period:
        case Period.DAY:
            return start + timedelta(days=1)
        case Period.WEEK:
            return start + timedelta(days=7)
        case Period.MONTH:
            year, month = (start.year + 1, 1) if start.month == DECEMBER else (start.year, start.month + 1)
            return date(year, month, 1)
