"""Periods as clients write them, and what is refused."""

from datetime import date

import pytest

from fanfold.core.errors import ValidationFailed
from fanfold.tenants.periods import Period
from fanfold.usage.period_names import NamedPeriod, named, parse_period


@pytest.mark.parametrize(
    ("text", "plans", "start", "end"),
    [
        ("2026-11", Period.MONTH, date(2026, 11, 1), date(2026, 12, 1)),
        ("2026-12", Period.DAY, date(2026, 12, 1), date(2027, 1, 1)),
        ("2026-W47", Period.WEEK, date(2026, 11, 16), date(2026, 11, 23)),
        ("2026-W53", Period.DAY, date(2026, 12, 28), date(2027, 1, 4)),
        ("2027-W01", Period.WEEK, date(2027, 1, 4), date(2027, 1, 11)),
        ("2024-02-29", Period.DAY, date(2024, 2, 29), date(2024, 3, 1)),
    ],
)
def test_are_read_and_named_the_same(text: str, plans: Period, start: date, end: date):
    assert parse_period(text, plans) == NamedPeriod(text, start, end)


@pytest.mark.parametrize("period", Period)
def test_a_period_is_read_back_from_its_name(period: Period):
    start = {Period.DAY: date(2027, 1, 1), Period.WEEK: date(2026, 12, 28), Period.MONTH: date(2026, 2, 1)}[
        period
    ]
    assert parse_period(named(start, period).name, period) == named(start, period)


@pytest.mark.parametrize(
    "text",
    ["", "2026", "2026-13", "2026-00", "2026-1", "2026-W54", "2025-W53", "2026-W00", "2026-02-30", "1999-12", "3000-01",
     "0000-01", "２０２６-11", "2026-11\n", " 2026-11", "2026-11-22T00:00:00Z", "now"],
)  # fmt: skip
def test_what_names_none_is_refused_with_advice(text: str):
    with pytest.raises(ValidationFailed, match="as 2026-11-22, 2026-W47 or 2026-11"):
        parse_period(text, Period.DAY)


@pytest.mark.parametrize(
    ("text", "plans", "advice"),
    [
        ("2026-11-22", Period.WEEK, "this plan counts by the week"),
        ("2026-11-22", Period.MONTH, "this plan counts by the month"),
        ("2026-W47", Period.MONTH, "this plan counts by the month"),
    ],
)
def test_what_is_shorter_than_the_plans_own_is_refused(text: str, plans: Period, advice: str):
    with pytest.raises(ValidationFailed, match=advice):
        parse_period(text, plans)
