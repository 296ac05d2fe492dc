"""Upstreams in Postgres."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit.types import Actor
from fanfold.core.identifiers import uuid7
from fanfold.core.repository import decode_moment_cursor, encode_moment_cursor, page
from fanfold.fanout.types import Price
from fanfold.upstreams.circuits import CircuitRepository
from fanfold.upstreams.models import SHARED, UpstreamPriceRecord, UpstreamRecord
from fanfold.upstreams.recording import UpstreamRecorder


class UpstreamRepository:
    """Upstreams of one tenant, or those that all share; what is shared can be read by every tenant.

    The filter is part of every statement, and row-level security stands under it.
    """

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self._session, self._tenant_id = session, tenant_id
        self.prices = PriceRepository(session, tenant_id)
        self.circuits = CircuitRepository(session, tenant_id)
        self._mine = select(UpstreamRecord).where(UpstreamRecord.tenant_id == tenant_id)
        self._seen = select(UpstreamRecord).where(UpstreamRecord.tenant_id.in_({tenant_id, SHARED}))

    def recorder(self, actor: Actor, reason: str | None = None) -> UpstreamRecorder:
        """Return what writes changes into the audit log, in the transaction of this repository's session."""
        return UpstreamRecorder(self._session, actor, reason)

    def is_mine(self, upstream: UpstreamRecord) -> bool:
        """Tell whether the upstream is the owner's own, to be changed."""
        return upstream.tenant_id == self._tenant_id

    def prices_of(self, upstream: UpstreamRecord) -> "PriceRepository":
        """Return the prices of upstreams of the same owner."""
        return PriceRepository(self._session, upstream.tenant_id)

    async def find(self, upstream_id: UUID) -> UpstreamRecord | None:
        """Return the upstream, the owner's own or a shared one, or None."""
        return await self._session.scalar(self._seen.where(UpstreamRecord.id == upstream_id))

    async def find_slug(self, slug: str) -> UpstreamRecord | None:
        """Return the owner's own upstream of that slug, or None."""
        return await self._session.scalar(self._mine.where(UpstreamRecord.slug == slug))

    async def all(self) -> Sequence[UpstreamRecord]:
        """Return every upstream of the owner's own, the oldest first; the plan bounds how many there are."""
        return list(await self._session.scalars(self._mine.order_by(UpstreamRecord.id)))

    async def list(self, *, limit: int, cursor: str | None) -> tuple[Sequence[UpstreamRecord], str | None]:
        """Return a page of upstreams, the owner's own and the shared ones, newest first."""
        return await page(self._session, self._seen, by=UpstreamRecord.id, limit=limit, cursor=cursor)

    async def lock(self) -> None:
        """Keep others from adding an upstream or moving the default until this transaction ends."""
        lock = text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")
        await self._session.execute(lock, {"name": f"upstreams:{self._tenant_id}"})

    async def count(self) -> int:
        """Count the owner's own upstreams."""
        mine = select(func.count()).where(UpstreamRecord.tenant_id == self._tenant_id)
        return await self._session.scalar(mine) or 0

    async def clear_default(self) -> None:
        """Take the default away from whichever upstream has it."""
        await self._session.execute(
            update(UpstreamRecord)
            .where(UpstreamRecord.tenant_id == self._tenant_id, UpstreamRecord.is_default)
            .values(is_default=False)
        )

    async def save(self, upstream: UpstreamRecord, price: Price | None) -> UpstreamRecord:
        """Insert or update, with a `price` from now on, and read back what the database fills in."""
        self._session.add(upstream)
        await self._session.flush()
        if price is not None:
            await self.prices.add(upstream.id, price, effective_from=await self.prices.now())
        await self._session.refresh(upstream)
        return upstream

    async def delete(self, upstream: UpstreamRecord) -> None:
        """Delete the upstream and its prices; usage events keep its id and slug."""
        await self._session.delete(upstream)


class PriceRepository:
    """Prices of one owner's upstreams. The database's clock tells which of them have begun."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self._session, self._tenant_id = session, tenant_id
        self._mine = select(UpstreamPriceRecord).where(UpstreamPriceRecord.tenant_id == tenant_id)
        self._newest_first = UpstreamPriceRecord.effective_from.desc()

    async def now(self) -> datetime:
        """Return the database's time: of this statement, since the transaction may have waited for a lock."""
        found = await self._session.execute(select(func.statement_timestamp()))
        now: datetime = found.scalar_one()
        return now

    async def add(self, upstream_id: UUID, price: Price, *, effective_from: datetime) -> UpstreamPriceRecord:
        """Insert a price, at a moment at which no other one begins."""
        row = UpstreamPriceRecord(
            tenant_id=self._tenant_id,
            upstream_id=upstream_id,
            effective_from=effective_from,
            id=uuid7(),
            **asdict(price),
        )
        self._session.add(row)
        await self._session.flush()
        await self._session.refresh(row)
        return row

    async def find(self, upstream_id: UUID, price_id: UUID) -> UpstreamPriceRecord | None:
        """Return the price, or None."""
        return await self._session.scalar(self._of(upstream_id).where(UpstreamPriceRecord.id == price_id))

    async def in_force(self, upstream_id: UUID, moment: datetime) -> UpstreamPriceRecord | None:
        """Return the price in force at `moment`, as far as is known by now."""
        begun = self._of(upstream_id).where(UpstreamPriceRecord.effective_from <= moment)
        return await self._session.scalar(begun.order_by(self._newest_first).limit(1))

    async def next(self, upstream_id: UUID, moment: datetime) -> UpstreamPriceRecord | None:
        """Return the first price that begins after `moment`."""
        later = self._of(upstream_id).where(UpstreamPriceRecord.effective_from > moment)
        return await self._session.scalar(later.order_by(UpstreamPriceRecord.effective_from).limit(1))

    async def upcoming(self, upstream_id: UUID) -> Sequence[UpstreamPriceRecord]:
        """Return the prices of an upstream that have not begun; the service bounds how many there are."""
        later = UpstreamPriceRecord.effective_from > func.statement_timestamp()
        return list(await self._session.scalars(self._of(upstream_id).where(later)))

    async def beginning(self, *, after: datetime, until: datetime) -> Sequence[UpstreamPriceRecord]:
        """Return the prices of all the owner's upstreams that begin between two moments."""
        begins = UpstreamPriceRecord.effective_from
        return list(await self._session.scalars(self._mine.where(begins > after, begins <= until)))

    async def list(
        self, upstream_id: UUID, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[UpstreamPriceRecord], str | None]:
        """Return a page of an upstream's prices, from the one that begins last."""
        statement = self._of(upstream_id).order_by(self._newest_first).limit(limit + 1)
        if cursor:
            statement = statement.where(UpstreamPriceRecord.effective_from < decode_moment_cursor(cursor))
        rows = list(await self._session.scalars(statement))
        page_rows = rows[:limit]
        more = len(rows) > limit
        return page_rows, encode_moment_cursor(page_rows[-1].effective_from) if more else None

    async def delete(self, price: UpstreamPriceRecord) -> None:
        """Delete a price that has not begun."""
        await self._session.delete(price)

    def _of(self, upstream_id: UUID) -> Select[UpstreamPriceRecord]:
        return self._mine.where(UpstreamPriceRecord.upstream_id == upstream_id)
