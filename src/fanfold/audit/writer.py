"""Writing into the audit log: in the transaction of the change itself, so that there is neither without the other."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit.models import AuditEvent
from fanfold.audit.types import Actor
from fanfold.core.identifiers import uuid7

NO_TENANT = UUID(int=0)


async def record(  # noqa: PLR0913 (who, where, what, of what, before and after)
    session: AsyncSession,
    actor: Actor,
    *,
    tenant_id: UUID = NO_TENANT,
    action: str,
    object_kind: str,
    object_id: UUID | str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str | None = None,
) -> None:
    """Write one change: `action` as `tenant.suspended`; `before` and `after` are plain JSON and hold no secret."""
    row = {
        "tenant_id": tenant_id,
        "id": uuid7(),
        "actor_kind": actor.kind,
        "actor_id": actor.id,
        "action": action,
        "object_kind": object_kind,
        "object_id": str(object_id),
        "before": before,
        "after": after,
        "request_id": actor.request_id,
        "reason": reason,
    }
    # Every default is the server's and none is returned: not every role that writes here may read.
    await session.execute(insert(AuditEvent).values(row))
