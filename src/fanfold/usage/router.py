"""`/v1/usage`."""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from fanfold.auth.dependencies import CurrentQuota, CurrentTenant, DbSession, Quota
from fanfold.auth.principal import Principal, Scope
from fanfold.auth.requirements import Require
from fanfold.core.errors import ValidationFailed
from fanfold.core.requests import StrictRoute
from fanfold.core.schemas import problem_responses
from fanfold.usage.quota_repository import QuotaRepository
from fanfold.usage.quotas import BudgetState
from fanfold.usage.repository import GroupBy, UsageRepository, UsageSpan
from fanfold.usage.schemas import Budget, Prepaid, UsageAnswer, UsageGroup
from fanfold.usage.types import UsageLine

UsageReader = Annotated[Principal, Require(Scope.USAGE_READ)]
MAX_DAYS = 366
FIRST_DAY, LAST_DAY = dt.date(2000, 1, 1), dt.date(2999, 12, 31)

Day = Annotated[dt.date, Field(ge=FIRST_DAY, le=LAST_DAY)]

router = APIRouter(
    prefix="/v1/usage",
    tags=["Usage"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def _span(first: dt.date | None, last: dt.date | None, quota: Quota) -> UsageSpan:
    """Return the days from `first` to `last`; the present period, by what its counter counts, without either."""
    if first is None and last is None:
        return UsageSpan(period_start=quota.period_start)
    since = _midnight(first or quota.period_start)
    until = _midnight(last) + dt.timedelta(days=1) if last else quota.period_end
    if not dt.timedelta() < until - since <= dt.timedelta(days=MAX_DAYS):
        message = f"`from` must not be after `to`, and at most {MAX_DAYS} days before it."
        raise ValidationFailed(message, errors=[{"loc": ["query", "from"], "msg": message, "type": "span"}])
    return UsageSpan(since=since, until=until)


@router.get("")
async def get_usage(
    session: DbSession,
    tenant: CurrentTenant,
    quota: CurrentQuota,
    _principal: UsageReader,
    first: Annotated[Day | None, Query(alias="from", description="First day, UTC.")] = None,
    last: Annotated[Day | None, Query(alias="to", description="Last day, UTC.")] = None,
    group_by: GroupBy = GroupBy.DAY,
) -> UsageAnswer:
    """Show the present period's quota, and what was used in it, or between two days, by group."""
    span = _span(first, last, quota)
    quotas = QuotaRepository(session, tenant.id)
    state = await quotas.quota(quota.period_start)
    lines = await UsageRepository(session, tenant.id).lines(group_by, span)
    budgets = await quotas.budgets(quota.period_start) if group_by is GroupBy.API_KEY else []
    return UsageAnswer(
        period_start=_midnight(quota.period_start),
        period_end=quota.period_end,
        granted=state.granted,
        reserved=state.reserved,
        used=state.used,
        remaining=state.remaining,
        warning=state.warning,
        prepaid=Prepaid.model_validate(state.prepaid) if state.prepaid else None,
        data=list(_groups(group_by, lines, budgets)),
    )


def _groups(
    group_by: GroupBy, lines: Sequence[UsageLine], budgets: Sequence[BudgetState]
) -> Iterator[UsageGroup]:
    waiting = {budget.api_key_id: Budget.model_validate(budget) for budget in budgets}
    for line in lines:
        budget = waiting.pop(line.group, None) if isinstance(line.group, UUID) else None
        sums = {"units": line.units, "events": line.events, "unbilled": line.unbilled}
        yield UsageGroup.model_validate({group_by: line.group, "budget": budget, **sums})
    for api_key_id, unused in waiting.items():
        yield UsageGroup(api_key=api_key_id, budget=unused, units=0, events=0, unbilled=0)
