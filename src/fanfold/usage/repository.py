"""A tenant's usage, read; nothing here writes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Date, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.usage.models import BilledEvent
from fanfold.usage.types import UsageLine


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


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSpan:
    """Which events: a period's, which add up to its `used`, or those billed from `since` until before `until`."""

    period_start: date | None = None
    since: datetime | None = None
    until: datetime | None = None


def _within(span: UsageSpan) -> Iterator[ColumnElement[bool]]:
    if span.period_start is not None:
        yield BilledEvent.period_start == span.period_start
    if span.since is not None:
        yield BilledEvent.occurred_at >= span.since
    if span.until is not None:
        yield BilledEvent.occurred_at < span.until


class UsageRepository:
    """The ledger of one tenant; the filter is part of every statement, and row-level security stands under it."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self._session, self._tenant_id = session, tenant_id

    async def lines(self, group_by: GroupBy, span: UsageSpan) -> Sequence[UsageLine]:
        """Return the sums of each group within `span`, in the group's order."""
        group = _GROUPS[group_by]
        unbilled = func.count().filter(BilledEvent.outcome == "unbilled")
        sums = select(group, func.sum(BilledEvent.units), func.count(), unbilled)
        mine = sums.where(BilledEvent.tenant_id == self._tenant_id, *_within(span))
        rows = await self._session.execute(mine.group_by(group).order_by(group))
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
