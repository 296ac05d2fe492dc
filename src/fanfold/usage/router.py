"""`/v1/usage`."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from fanfold.auth.dependencies import CurrentQuota, CurrentTenant, DbSession
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import problem_responses
from fanfold.usage.parameters import FirstDay, LastDay, UsageReader, span_of
from fanfold.usage.quota_repository import QuotaRepository
from fanfold.usage.quotas import BudgetState
from fanfold.usage.repository import UsageRepository
from fanfold.usage.schemas import Budget, Prepaid, UsageAnswer, UsageGroup
from fanfold.usage.sums import GroupBy, midnight
from fanfold.usage.types import UsageLine

router = Router(
    prefix="/v1/usage",
    tags=["Usage"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


@router.get("")
async def get_usage(
    session: DbSession,
    tenant: CurrentTenant,
    quota: CurrentQuota,
    _principal: UsageReader,
    first: FirstDay = None,
    last: LastDay = None,
    group_by: GroupBy = GroupBy.DAY,
) -> UsageAnswer:
    """Show the present period's quota, and what was used in it, or between two days, by group."""
    span = span_of(first, last, quota)
    quotas = QuotaRepository(session, tenant.id)
    state = await quotas.quota(quota.period_start)
    lines = await UsageRepository(session, tenant.id).lines(group_by, span)
    budgets = await quotas.budgets(quota.period_start) if group_by is GroupBy.API_KEY else []
    return UsageAnswer(
        period_start=midnight(quota.period_start),
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
