"""A tenant's upstreams in Postgres."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.repository import page
from fanfold.upstreams.models import UpstreamRecord


class UpstreamRepository:
    """Upstreams of one tenant; the filter is part of every statement, and row-level security stands under it."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self._session, self._tenant_id = session, tenant_id
        self._mine = select(UpstreamRecord).where(UpstreamRecord.tenant_id == tenant_id)

    async def find(self, upstream_id: UUID) -> UpstreamRecord | None:
        """Return the upstream, or None."""
        return await self._session.scalar(self._mine.where(UpstreamRecord.id == upstream_id))

    async def all(self) -> Sequence[UpstreamRecord]:
        """Return every upstream, the oldest first; the plan bounds how many there are."""
        return list(await self._session.scalars(self._mine.order_by(UpstreamRecord.id)))

    async def list(self, *, limit: int, cursor: str | None) -> tuple[Sequence[UpstreamRecord], str | None]:
        """Return a page of upstreams, newest first."""
        return await page(self._session, self._mine, by=UpstreamRecord.id, limit=limit, cursor=cursor)

    async def lock(self) -> None:
        """Keep others from adding an upstream or moving the default until this transaction ends."""
        lock = text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")
        await self._session.execute(lock, {"name": f"upstreams:{self._tenant_id}"})

    async def count(self) -> int:
        """Count the tenant's upstreams."""
        mine = select(func.count()).where(UpstreamRecord.tenant_id == self._tenant_id)
        return await self._session.scalar(mine) or 0

    async def clear_default(self) -> None:
        """Take the default away from whichever upstream has it."""
        await self._session.execute(
            update(UpstreamRecord)
            .where(UpstreamRecord.tenant_id == self._tenant_id, UpstreamRecord.is_default)
            .values(is_default=False)
        )

    async def save(self, upstream: UpstreamRecord) -> UpstreamRecord:
        """Insert or update, and read back what the database fills in."""
        self._session.add(upstream)
        await self._session.flush()
        await self._session.refresh(upstream)
        return upstream

    async def delete(self, upstream: UpstreamRecord) -> None:
        """Delete the upstream; usage events keep its id and slug."""
        await self._session.delete(upstream)
