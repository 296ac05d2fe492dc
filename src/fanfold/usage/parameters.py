"""What clients may ask of usage: days, periods, and which events."""

import datetime as dt
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query
from pydantic import Field

from fanfold.auth.dependencies import CurrentQuota, CurrentTenant, Quota
from fanfold.auth.principal import Principal, Scope
from fanfold.auth.requirements import Require
from fanfold.core.errors import ValidationFailed
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Slug
from fanfold.core.values import value
from fanfold.usage.events import EventFilter, EventKey
from fanfold.usage.period_names import FIRST_DAY, LAST_DAY, NamedPeriod, named, parse_period
from fanfold.usage.sums import UsageSpan

MAX_DAYS = 366

UsageReader = Annotated[Principal, Require(Scope.USAGE_READ)]
Day = Annotated[dt.date, Field(ge=FIRST_DAY, le=LAST_DAY)]
FirstDay = Annotated[Day | None, Query(alias="from", description="First day, UTC.")]
LastDay = Annotated[Day | None, Query(alias="to", description="Last day, UTC.")]
PeriodName = Annotated[
    str | None,
    Query(max_length=20, description="A month `2026-11`, an ISO week `2026-W47` or a day `2026-11-22`."),
]


def span_of(first: dt.date | None, last: dt.date | None, quota: Quota) -> UsageSpan:
    """Return the days from `first` to `last`; the present period, by what its counter counts, without either."""
    if first is None and last is None:
        return UsageSpan(period_start=quota.period_start)
    first = first or quota.period_start
    last = last or quota.period_end.date() - dt.timedelta(days=1)
    check_days(first, last)
    return UsageSpan(first=first, last=last)


def check_days(first: dt.date, last: dt.date) -> None:
    """Refuse days in the wrong order, or too many."""
    if not dt.timedelta() <= last - first < dt.timedelta(days=MAX_DAYS):
        refuse("from", f"`from` must not be after `to`, and at most {MAX_DAYS} days before it.")


def refuse(parameter: str, message: str) -> None:
    """Raise a 422 about a query parameter."""
    raise ValidationFailed(message, errors=[{"loc": ["query", parameter], "msg": message, "type": "span"}])


async def _period(tenant: CurrentTenant, quota: CurrentQuota, period: PeriodName = None) -> NamedPeriod:
    if period is None:
        return named(quota.period_start, tenant.period)
    return parse_period(period, tenant.period)


# The present period where none is named.
StatementPeriod = Annotated[NamedPeriod, Depends(_period)]


async def _days(
    tenant: CurrentTenant, first: FirstDay = None, last: LastDay = None, period: PeriodName = None
) -> EventFilter:
    if period is not None and (first or last):
        refuse("period", "Send either `period` or `from` and `to`.")
    if period is not None:
        return EventFilter(period=parse_period(period, tenant.period))
    if first and last and first > last:
        refuse("from", "`from` must not be after `to`.")
    return EventFilter(first=first, last=last)


DaysOrPeriod = Annotated[EventFilter, Depends(_days)]


async def _which(
    days: DaysOrPeriod,
    upstream: Annotated[Slug | None, Query(description="An upstream's slug.")] = None,
    api_key: Annotated[UUID | None, Query(description="An API key's id.")] = None,
    request_id: Annotated[UUID | None, Query(description="The `id` of a process answer.")] = None,
) -> EventFilter:
    return EventFilter(
        first=days.first,
        last=days.last,
        period=days.period,
        upstream=upstream,
        api_key_id=api_key,
        request_id=request_id,
    )


@value
class EventPage:
    """Which page: at most `limit` events, the newest or those before a key."""

    limit: int
    before: EventKey | None


async def _page(limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> EventPage:
    return EventPage(limit, EventKey.decode(cursor) if cursor else None)


WantedPage = Annotated[EventPage, Depends(_page)]
ChosenEvents = Annotated[EventFilter, Depends(_which)]
