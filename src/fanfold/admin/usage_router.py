"""`/v1/admin/usage`: what all tenants used."""

import datetime as dt
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from fanfold.auth.dependencies import OperatorDbSession
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, AnswerModel, Cursor, Limit, problem_responses
from fanfold.tenants.periods import period_end, period_of, utc_now
from fanfold.usage.operator_repository import OperatorUsageRepository
from fanfold.usage.parameters import FirstDay, LastDay, check_days
from fanfold.usage.sums import OperatorGroupBy, UsageSpan

router = Router(
    prefix="/v1/admin/usage",
    tags=["Operators"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


class OperatorUsageGroup(AnswerModel):
    """Sums of one group over all tenants; only the member grouped by is filled."""

    tenant: UUID | None = None
    day: dt.date | None = None
    upstream: str | None = None
    api_key: UUID | None = None
    units: int
    events: int
    unbilled: int


class OperatorUsageAnswer(AnswerModel):
    """What all tenants used from `first` to `last`: totals, and a page of groups in the order of their names."""

    first: dt.date
    last: dt.date
    units: int
    events: int
    unbilled: int
    data: list[OperatorUsageGroup]
    next_cursor: str | None


async def _usage(session: OperatorDbSession) -> OperatorUsageRepository:
    return OperatorUsageRepository(session)


async def _span(first: FirstDay = None, last: LastDay = None) -> UsageSpan:
    month = period_of(utc_now())
    first = first or month
    last = last or period_end(month).date() - dt.timedelta(days=1)
    check_days(first, last)
    return UsageSpan(first=first, last=last)


@router.get("")
async def get_usage_of_all_tenants(
    usage: Annotated[OperatorUsageRepository, Depends(_usage)],
    span: Annotated[UsageSpan, Depends(_span)],
    group_by: OperatorGroupBy = OperatorGroupBy.TENANT,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> OperatorUsageAnswer:
    """Show what all tenants used between two days, this month without them, by group."""
    totals = await usage.totals(span)
    lines, next_cursor = await usage.lines(group_by, span, limit=limit, cursor=cursor)
    groups = [
        {group_by: line.group, "units": line.units, "events": line.events, "unbilled": line.unbilled}
        for line in lines
    ]
    return OperatorUsageAnswer.model_validate(
        {
            "first": span.first,
            "last": span.last,
            "units": totals.units,
            "events": totals.events,
            "unbilled": totals.unbilled,
            "data": groups,
            "next_cursor": next_cursor,
        }
    )
