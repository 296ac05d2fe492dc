"""The circuits of a tenant's upstreams, as all processes have told."""

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import case, delete, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.values import value
from fanfold.upstreams.models import SHARED, UpstreamCircuitRecord


class CircuitState(StrEnum):
    """Whether calls are made: all, none, or one to try."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@value(kw_only=True)
class CircuitStatus:
    """The circuit of one upstream over all processes: open where it is open in any of the `processes`."""

    state: CircuitState = CircuitState.CLOSED
    opened_at: datetime | None = None
    retry_at: datetime | None = None
    processes: int = 0


CLOSED = CircuitStatus()


class CircuitRepository:
    """Circuits of one tenant; for the operator (`SHARED`) those of all tenants together."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self._session = session
        row = UpstreamCircuitRecord
        self._mine = true() if tenant_id == SHARED else row.tenant_id == tenant_id

    async def of(self, upstream_ids: Collection[UUID]) -> Mapping[UUID, CircuitStatus]:
        """Return the circuits that are not closed. One whose pause is over, in every process, is half-open."""
        row, now = UpstreamCircuitRecord, func.statement_timestamp()
        waits = case((row.retry_at > now, row.retry_at))
        statement = (
            select(
                row.upstream_id,
                func.min(row.opened_at).label("opened_at"),
                func.min(waits).label("waits_until"),
                func.max(row.retry_at).label("due_since"),
                func.count(row.process_id.distinct()).label("processes"),
            )
            .where(self._mine, row.upstream_id.in_(upstream_ids), row.expires_at > now)
            .group_by(row.upstream_id)
        )
        return {
            found.upstream_id: CircuitStatus(
                state=CircuitState.OPEN if found.waits_until else CircuitState.HALF_OPEN,
                opened_at=found.opened_at,
                retry_at=found.waits_until or found.due_since,
                processes=found.processes,
            )
            for found in await self._session.execute(statement)
        }

    async def find(self, upstream_id: UUID) -> CircuitStatus:
        """Return the circuit of one upstream."""
        return (await self.of([upstream_id])).get(upstream_id, CLOSED)

    async def forget(self, upstream_id: UUID) -> None:
        """Let the upstream begin anew: it is another address that is asked from now on."""
        row = UpstreamCircuitRecord
        await self._session.execute(delete(row).where(self._mine, row.upstream_id == upstream_id))
