"""The audit log in Postgres: of one tenant, or of all under the operator's role."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit.models import AuditEvent
from fanfold.core.repository import page
from fanfold.core.values import value


@value(kw_only=True)
class AuditFilter:
    """Which lines to list; None does not filter. `since` belongs to the span, `until` does not."""

    tenant_id: UUID | None = None
    actor_id: UUID | None = None
    action: str | None = None
    object_kind: str | None = None
    object_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_MOMENTS = {"since", "until"}


class AuditRepository:
    """Reads the audit log; row-level security stands under every statement."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def list(
        self, chosen: AuditFilter, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[AuditEvent], str | None]:
        """Return a page of lines, newest first."""
        statement = select(AuditEvent)
        for field in fields(chosen):
            value = getattr(chosen, field.name)
            if value is not None and field.name not in _MOMENTS:
                statement = statement.where(getattr(AuditEvent, field.name) == value)
        if chosen.since is not None:
            statement = statement.where(AuditEvent.at >= chosen.since)
        if chosen.until is not None:
            statement = statement.where(AuditEvent.at < chosen.until)
        return await page(self._session, statement, by=AuditEvent.id, limit=limit, cursor=cursor)
