"""What operators do with tenants: each change with its line in the audit log, in the same transaction."""

import datetime as dt
from collections.abc import Awaitable
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit import writer as audit
from fanfold.audit.changes import difference, members_of
from fanfold.audit.types import Actor
from fanfold.tenants.limits import Limits
from fanfold.tenants.models import Tenant
from fanfold.tenants.repository import TenantRepository
from fanfold.tenants.schemas import LimitsUpdate, TenantCreate, TenantUpdate
from fanfold.tenants.service import TenantService

_RECORDED = ("slug", "name", "status", "plan", "limit_overrides", "erase_at")


class AuditedTenants:
    """Changes tenants as `actor`, on an operator's session; `service` reads. What changes nothing leaves no line."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session, self._actor = session, actor
        self._tenants = TenantRepository(session)
        self.service = TenantService(self._tenants)

    async def create(self, wanted: TenantCreate) -> tuple[Tenant, Limits]:
        """Make a tenant."""
        made = await self.service.create(wanted)
        await self._record("tenant.created", made[0].id, after=members_of(made[0], _RECORDED))
        return made

    async def update(
        self, tenant_id: UUID, wanted: TenantUpdate, *, reason: str | None = None
    ) -> tuple[Tenant, Limits]:
        """Change the name or the plan."""
        return await self._changed(
            "tenant.updated", tenant_id, self.service.update(tenant_id, wanted), reason
        )

    async def override_limits(
        self, tenant_id: UUID, wanted: LimitsUpdate, *, reason: str | None = None
    ) -> tuple[Tenant, Limits]:
        """Set overrides, or take some away."""
        changing = self.service.override_limits(tenant_id, wanted)
        return await self._changed("tenant.limits_changed", tenant_id, changing, reason)

    async def suspend(self, tenant_id: UUID, *, reason: str | None = None) -> tuple[Tenant, Limits]:
        """Refuse the tenant's requests; what runs is finished and settled."""
        return await self._changed("tenant.suspended", tenant_id, self.service.suspend(tenant_id), reason)

    async def resume(self, tenant_id: UUID, *, reason: str | None = None) -> tuple[Tenant, Limits]:
        """Let the tenant in again, a deleted one too that is not erased."""
        return await self._changed("tenant.resumed", tenant_id, self.service.resume(tenant_id), reason)

    async def delete(
        self, tenant_id: UUID, *, grace: dt.timedelta, reason: str | None = None
    ) -> tuple[Tenant, Limits]:
        """Refuse the tenant's requests, and have it erased after `grace`."""
        changing = self.service.delete(tenant_id, grace=grace)
        return await self._changed("tenant.deleted", tenant_id, changing, reason)

    async def _changed(
        self, action: str, tenant_id: UUID, changing: Awaitable[tuple[Tenant, Limits]], reason: str | None
    ) -> tuple[Tenant, Limits]:
        # Locked before it is looked at: what stands in the log as before is what the change was made from.
        held = await self._tenants.find(tenant_id, for_change=True)
        before = members_of(held, _RECORDED) if held else {}
        changed = await changing
        if change := difference(before, members_of(changed[0], _RECORDED)):
            await self._record(action, tenant_id, **change, reason=reason)
        return changed

    async def _record(self, action: str, tenant_id: UUID, **change: Any) -> None:
        await audit.record(
            self._session,
            self._actor,
            tenant_id=tenant_id,
            action=action,
            object_kind="tenant",
            object_id=tenant_id,
            **change,
        )
