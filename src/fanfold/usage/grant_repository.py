"""Grants in Postgres, as the operator's role sees them."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.repository import page
from fanfold.usage.models import Grant, PrepaidBalance

_LOCK = text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")


class GrantRepository:
    """Grants of one tenant; give it an operator's session. The ledger reads their sums itself, in its next flush."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self._session, self._tenant_id = session, tenant_id
        self._mine = select(Grant).where(Grant.tenant_id == tenant_id)

    async def sum(self, period_start: date | None) -> int:
        """Return the sum of a period's grants, or of the prepaid ones, and keep others from adding one meanwhile."""
        await self._session.execute(_LOCK, {"name": f"grants:{self._tenant_id}"})
        total = select(func.coalesce(func.sum(Grant.units), 0)).where(
            Grant.tenant_id == self._tenant_id, Grant.period_start.is_not_distinct_from(period_start)
        )
        return int(await self._session.scalar(total) or 0)

    async def drawn(self) -> int:
        """Return how many of the prepaid units are held or used."""
        drawn = select(PrepaidBalance.drawn).where(PrepaidBalance.tenant_id == self._tenant_id)
        return await self._session.scalar(drawn) or 0

    async def add(self, grant: Grant) -> Grant:
        """Insert `grant` and read back what the database fills in."""
        self._session.add(grant)
        await self._session.flush()
        await self._session.refresh(grant)
        return grant

    async def find(self, grant_id: UUID) -> Grant | None:
        """Return the grant, or None."""
        return await self._session.scalar(self._mine.where(Grant.id == grant_id))

    async def list(self, *, limit: int, cursor: str | None) -> tuple[Sequence[Grant], str | None]:
        """Return a page of grants, newest first."""
        return await page(self._session, self._mine, by=Grant.id, limit=limit, cursor=cursor)
