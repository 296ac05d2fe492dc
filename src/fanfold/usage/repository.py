"""A tenant's quota and usage, read; nothing here writes."""

from collections.abc import Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Date, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.usage.models import BilledEvent, QuotaPeriod
from fanfold.usage.types import Quota, UsageLine


class GroupBy(StrEnum):
    """What usage is summed by."""

    DAY = "day"
    UPSTREAM = "upstream"
    API_KEY = "api_key"


_GROUPS: dict[GroupBy, ColumnElement[Any]] = {
    GroupBy.DAY: cast(func.timezone("UTC", BilledEvent.occurred_at), Date),
    GroupBy.UPSTREAM: BilledEvent.upstream.expression,
    GroupBy.API_KEY: BilledEvent.api_key_id.expression,
}


class UsageRepository:
    """The ledger of one tenant; the filter is part of every statement, and row-level security stands under it."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self._session, self._tenant_id = session, tenant_id

    async def quota(self, period_start: date, *, monthly_units: int) -> Quota:
        """Return the period's units. `monthly_units` is the tenant's limit now, which the next flush will write."""
        row = await self._session.scalar(
            select(QuotaPeriod).where(
                QuotaPeriod.tenant_id == self._tenant_id, QuotaPeriod.period_start == period_start
            )
        )
        reserved, used = (row.reserved, row.used) if row else (0, 0)
        return Quota(period_start=period_start, granted=monthly_units, reserved=reserved, used=used)

    async def lines(
        self,
        group_by: GroupBy,
        *,
        period_start: date | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Sequence[UsageLine]:
        """Return the sums of each group, in its order.

        With `period_start` they add up to the period's `used`; `since` and `until` (exclusive) are of the billing.
        """
        group = _GROUPS[group_by]
        unbilled = func.count().filter(BilledEvent.outcome == "unbilled")
        sums = select(group, func.sum(BilledEvent.units), func.count(), unbilled)
        filters = [BilledEvent.tenant_id == self._tenant_id]
        if period_start is not None:
            filters.append(BilledEvent.period_start == period_start)
        if since is not None:
            filters.append(BilledEvent.occurred_at >= since)
        if until is not None:
            filters.append(BilledEvent.occurred_at < until)
        rows = await self._session.execute(sums.where(*filters).group_by(group).order_by(group))
        return [UsageLine(group=row[0], units=int(row[1]), events=row[2], unbilled=row[3]) for row in rows]

    async def unbilled(self, period_start: date) -> Sequence[BilledEvent]:
        """Return the events that were served but not billed: their reservation expired and nothing was free."""
        found = await self._session.scalars(
            select(BilledEvent)
            .where(
                BilledEvent.tenant_id == self._tenant_id,
                BilledEvent.period_start == period_start,
                BilledEvent.outcome == "unbilled",
            )
            .order_by(BilledEvent.request_id, BilledEvent.call_index, BilledEvent.meter)
        )
        return found.all()
