"""The danger of a month's edge: a unit counted in the wrong one."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from fanfold.tenants.periods import period_end, period_of


@pytest.mark.parametrize(
    ("moment", "start"),
    [
        (datetime(2026, 11, 1, tzinfo=UTC), date(2026, 11, 1)),
        (datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC), date(2026, 11, 1)),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), date(2028, 2, 1)),
        (datetime(2027, 1, 1, 7, 59, tzinfo=timezone(timedelta(hours=8))), date(2026, 12, 1)),
        (datetime(2026, 12, 31, 20, tzinfo=timezone(timedelta(hours=-5))), date(2027, 1, 1)),
    ],
)
def test_a_moment_belongs_to_its_month_in_utc(moment: datetime, start: date):
    assert period_of(moment) == start


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (date(2026, 11, 1), datetime(2026, 12, 1, tzinfo=UTC)),
        (date(2026, 12, 1), datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_period_ends_as_the_next_month_begins(start: date, end: datetime):
    assert period_end(start) == end
