"""The danger of a period's edge: a unit counted in the wrong one."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from fanfold.tenants.periods import Period, period_end, period_of


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


@pytest.mark.parametrize(
    ("moment", "period", "start", "end"),
    [
        (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), Period.DAY, date(2026, 12, 31), datetime(2027, 1, 1, tzinfo=UTC)),
        (
            datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=8))),
            Period.DAY, date(2026, 2, 28), datetime(2026, 3, 1, tzinfo=UTC),
        ),
        # 1 January 2027 is a Friday: its ISO week began in the year before.
        (datetime(2027, 1, 1, tzinfo=UTC), Period.WEEK, date(2026, 12, 28), datetime(2027, 1, 4, tzinfo=UTC)),
        (datetime(2026, 11, 23, tzinfo=UTC), Period.WEEK, date(2026, 11, 23), datetime(2026, 11, 30, tzinfo=UTC)),
        (datetime(2026, 11, 22, 23, tzinfo=UTC), Period.WEEK, date(2026, 11, 16), datetime(2026, 11, 23, tzinfo=UTC)),
        (datetime(2028, 2, 29, tzinfo=UTC), Period.MONTH, date(2028, 2, 1), datetime(2028, 3, 1, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_a_plan_s_period_may_be_a_day_or_a_week_too(
    moment: datetime, period: Period, start: date, end: datetime
):
    assert period_of(moment, period) == start
    assert period_end(start, period) == end
    assert period_of(end, period) == end.date()
    assert period_of(end - timedelta(microseconds=1), period) == start
