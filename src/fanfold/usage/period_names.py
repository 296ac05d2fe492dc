"""Periods as clients write them: a month `2026-11`, an ISO week `2026-W47`, a day `2026-11-22`; all UTC."""

import datetime as dt
import re

from fanfold.core.errors import ValidationFailed
from fanfold.core.values import value
from fanfold.tenants.periods import Period, period_end

FIRST_DAY, LAST_DAY = dt.date(2000, 1, 1), dt.date(2999, 12, 31)

_SHAPES = {
    Period.MONTH: re.compile(r"(\d{4})-(\d{2})", re.ASCII),
    Period.WEEK: re.compile(r"(\d{4})-W(\d{2})", re.ASCII),
    Period.DAY: re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII),
}
_LENGTHS = {Period.DAY: 1, Period.WEEK: 2, Period.MONTH: 3}
_ADVICE = {
    Period.DAY: "Send a day, a week or a month, as 2026-11-22, 2026-W47 or 2026-11.",
    Period.WEEK: "Send a week or a month, as 2026-W47 or 2026-11: this plan counts by the week.",
    Period.MONTH: "Send a month, as 2026-11: this plan counts by the month.",
}


@value
class NamedPeriod:
    """A span that a client named: the periods of a tenant that begin from `start` until before `end` are in it."""

    name: str
    start: dt.date
    end: dt.date


def named(start: dt.date, period: Period) -> NamedPeriod:
    """Return the period that begins on `start`, with its name."""
    year, week, _ = start.isocalendar()
    name = {
        Period.DAY: start.isoformat(),
        Period.WEEK: f"{year:04}-W{week:02}",
        Period.MONTH: f"{start:%Y-%m}",
    }[period]
    return NamedPeriod(name, start, period_end(start, period).date())


def parse_period(text: str, plans: Period) -> NamedPeriod:
    """Return the period that `text` names, at least as long as the plan's own; a 422 with advice for all else."""
    for period, shape in _SHAPES.items():
        if (match := shape.fullmatch(text)) and _LENGTHS[period] >= _LENGTHS[plans]:
            start = _start(period, [int(part) for part in match.groups()])
            if start is not None and FIRST_DAY <= start <= LAST_DAY:
                return named(start, period)
    errors = [{"loc": ["query", "period"], "msg": _ADVICE[plans], "type": "period"}]
    raise ValidationFailed(_ADVICE[plans], errors=errors)


def _start(period: Period, numbers: list[int]) -> dt.date | None:
    try:
        match period, numbers:
            case Period.WEEK, [year, week]:
                return dt.date.fromisocalendar(year, week, 1)
            case Period.MONTH, [year, month]:
                return dt.date(year, month, 1)
            case _:
                return dt.date(*numbers)
    except ValueError:
        return None
