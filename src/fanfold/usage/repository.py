"""A tenant's usage, read; nothing here writes."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.usage.sums import GroupBy, UsageSpan, sums, usage_line
from fanfold.usage.types import UsageLine


class UsageRepository:
    """The usage of one tenant; the filter is part of every statement, and row-level security stands under it."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self._session, self._tenant_id = session, tenant_id

    async def lines(self, group_by: GroupBy, span: UsageSpan) -> Sequence[UsageLine]:
        """Return the sums of each group within `span`, in the group's order."""
        statement = sums(group_by, span, tenant_id=self._tenant_id)
        rows = await self._session.execute(statement.order_by("group"))
        return [usage_line(row) for row in rows]
