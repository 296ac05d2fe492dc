"""Outcomes in Postgres: of one tenant, or of all under the operator's role. Only the ledger's functions write them."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.repository import page
from fanfold.core.values import value
from fanfold.usage.models import OpenOutcome
from fanfold.usage.outcome_schemas import OutcomeKind, OutcomeState


@value(kw_only=True)
class OutcomeFilter:
    """Which outcomes to list; None does not filter."""

    state: OutcomeState = OutcomeState.OPEN
    kind: OutcomeKind | None = None
    tenant_id: UUID | None = None


class OutcomeRepository:
    """Outcomes; row-level security stands under every statement."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, tenant_id: UUID, request_id: UUID) -> OpenOutcome | None:
        """Return the outcome, or None."""
        return await self._session.get(OpenOutcome, (tenant_id, request_id))

    async def list(
        self, chosen: OutcomeFilter, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[OpenOutcome], str | None]:
        """Return a page of outcomes, by request, newest first."""
        return await page(
            self._session, _chosen(chosen), by=OpenOutcome.request_id, limit=limit, cursor=cursor
        )


def _chosen(chosen: OutcomeFilter) -> Select[OpenOutcome]:
    statement = select(OpenOutcome)
    if chosen.tenant_id is not None:
        statement = statement.where(OpenOutcome.tenant_id == chosen.tenant_id)
    if chosen.kind is not None:
        statement = statement.where(OpenOutcome.kind == chosen.kind)
    match chosen.state:
        case OutcomeState.OPEN:
            return statement.where(OpenOutcome.resolved_at.is_(None))
        case OutcomeState.RESOLVED:
            return statement.where(OpenOutcome.resolved_at.is_not(None))
        case OutcomeState.ALL:
            return statement
