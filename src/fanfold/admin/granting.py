"""Granting units, with a line in the audit log."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit import writer as audit
from fanfold.audit.types import Actor
from fanfold.tenants.repository import TenantRepository
from fanfold.usage.grant_repository import GrantRepository
from fanfold.usage.grant_schemas import GrantCreate
from fanfold.usage.grant_service import BY_COMMAND_LINE, GrantService
from fanfold.usage.models import Grant


async def grant(session: AsyncSession, actor: Actor, tenant_id: UUID, wanted: GrantCreate) -> Grant:
    """Grant units, on an operator's session; refusals are `GrantService.grant`'s."""
    grants = GrantService(TenantRepository(session), GrantRepository(session, tenant_id), tenant_id)
    made = await grants.grant(wanted, granted_by=actor.id or BY_COMMAND_LINE)
    period = made.period_start.isoformat() if made.period_start else None
    await audit.record(
        session,
        actor,
        tenant_id=tenant_id,
        action="grant.created",
        object_kind="grant",
        object_id=made.id,
        after={"kind": str(made.kind), "units": made.units, "period_start": period},
        reason=made.reason,
    )
    return made
