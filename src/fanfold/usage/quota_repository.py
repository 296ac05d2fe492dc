"""A tenant's quota and the budgets of its keys, read; only the ledger writes them."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.usage.quotas import BudgetState, PrepaidState, QuotaState

# One statement, so that all is of one moment; limits as they are now, as the next flush will read them.
_QUOTA = text(
    """
    select greatest(coalesce((t.limit_overrides ->> 'monthly_units')::bigint, p.monthly_units) + g.of_period, 0)
             as granted,
           coalesce((t.limit_overrides ->> 'overage_allowed')::boolean, p.overage_allowed) as overage_allowed,
           coalesce(q.reserved, 0) as reserved, coalesce(q.used, 0) as used, coalesce(q.prepaid, 0) as drawn,
           greatest(g.prepaid, 0) as prepaid_granted, g.prepaid is not null as has_prepaid,
           coalesce(b.drawn, 0) as prepaid_drawn
      from fanfold.tenants t
      join fanfold.plans p on p.code = t.plan
     cross join lateral (
           select coalesce(sum(s.units) filter (where s.period_start = :period_start), 0)::bigint as of_period,
                  (sum(s.units) filter (where s.period_start is null))::bigint as prepaid
             from fanfold.grants s
            where s.tenant_id = t.id and (s.period_start = :period_start or s.period_start is null)) g
      left join fanfold.quota_periods q on q.tenant_id = t.id and q.period_start = :period_start
      left join fanfold.prepaid_balances b on b.tenant_id = t.id
     where t.id = :tenant_id
    """
)
_BUDGETS = """
    select k.id as api_key_id, k.budget_units as granted, coalesce(u.reserved, 0) as reserved,
           coalesce(u.used, 0) as used
      from fanfold.api_keys k
      left join fanfold.key_periods u
             on u.tenant_id = k.tenant_id and u.api_key_id = k.id and u.period_start = :period_start
     where k.tenant_id = :tenant_id and k.budget_units is not null
"""
_BUDGET = text(f"{_BUDGETS} and k.id = :api_key_id")
_LIVE_BUDGETS = text(
    f"{_BUDGETS} and k.revoked_at is null and (k.expires_at is null or k.expires_at > now()) order by k.id"
)


class QuotaRepository:
    """Quotas of one tenant; the filter is part of every statement, and row-level security stands under it."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self._session, self._tenant_id = session, tenant_id

    async def quota(self, period_start: date) -> QuotaState:
        """Return the units of the period that begins on `period_start`."""
        which = {"tenant_id": self._tenant_id, "period_start": period_start}
        return _state((await self._session.execute(_QUOTA, which)).mappings().one(), period_start)

    async def budget(self, api_key_id: UUID, period_start: date) -> BudgetState | None:
        """Return the key's budget in that period; None where it has none."""
        which = {"tenant_id": self._tenant_id, "period_start": period_start, "api_key_id": api_key_id}
        row = (await self._session.execute(_BUDGET, which)).mappings().one_or_none()
        return BudgetState(**row) if row else None

    async def budgets(self, period_start: date) -> Sequence[BudgetState]:
        """Return the budget of every key that holds and has one; their number is bounded by the plan."""
        which = {"tenant_id": self._tenant_id, "period_start": period_start}
        return [BudgetState(**row) for row in (await self._session.execute(_LIVE_BUDGETS, which)).mappings()]

    async def free(self, api_key_id: UUID | None, period_start: date) -> int | None:
        """Return what a request with this key may take now: of the quota, and of the key's budget. None: any number."""
        quota = await self.quota(period_start)
        budget = await self.budget(api_key_id, period_start) if api_key_id else None
        bounds = [quota.remaining, budget.remaining if budget else None]
        return min((bound for bound in bounds if bound is not None), default=None)


def _state(row: RowMapping, period_start: date) -> QuotaState:
    # As the ledger: what is drawn returns as soon as the limit has room for it, and a lowered limit draws nothing.
    beyond = max(row["reserved"] + row["used"] - row["granted"], 0)
    drawn = 0 if row["overage_allowed"] else min(row["drawn"], beyond)
    all_drawn = row["prepaid_drawn"] + drawn - row["drawn"]
    return QuotaState(
        period_start=period_start,
        granted=row["granted"],
        reserved=row["reserved"],
        used=row["used"],
        overage_allowed=row["overage_allowed"],
        drawn=drawn,
        prepaid=PrepaidState(granted=row["prepaid_granted"], drawn=all_drawn) if row["has_prepaid"] else None,
    )
