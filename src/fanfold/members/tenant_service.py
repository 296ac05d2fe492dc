"""What its own members change of a tenant; on an operator's session, and never of another tenant than the asker's."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit import writer as audit
from fanfold.audit.types import Actor
from fanfold.auth.principal import Principal, PrincipalTenant, Role, Scope
from fanfold.core.errors import InsufficientScope, NotFound, TenantSuspended, ValidationFailed
from fanfold.members.schemas import OwnTenantUpdate
from fanfold.tenants.models import Tenant
from fanfold.tenants.repository import TenantRepository
from fanfold.tenants.service import TenantService


def owned_by(person: Principal) -> PrincipalTenant:
    """Return the tenant that a person has signed in to as its owner, or raise a 403."""
    if person.tenant is None or person.role is not Role.OWNER or Scope.TENANT_WRITE not in person.scopes:
        raise InsufficientScope(
            "Only an owner does this: sign in to the tenant as one, with the scope tenant:write.",
            headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'},
        )
    if person.tenant.status == "suspended":
        raise TenantSuspended("The tenant is suspended.")
    return person.tenant


class OwnTenantService:
    """Renames and deletes a tenant on behalf of its members."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session, self._actor = session, actor

    async def update(self, tenant_id: UUID, wanted: OwnTenantUpdate) -> Tenant:
        """Change the members that were sent."""
        tenants = TenantRepository(self._session)
        tenant = await tenants.find(tenant_id, for_change=True)
        if tenant is None:
            raise NotFound("There is no such tenant.")
        before = tenant.name
        if "name" in wanted.model_fields_set and wanted.name != before:
            tenant.name = wanted.name
            await self._record(
                tenant_id, "tenant.updated", before={"name": before}, after={"name": wanted.name}
            )
        await tenants.refresh(tenant)
        return tenant

    async def delete(self, tenant: PrincipalTenant, *, confirm: str, grace: timedelta) -> None:
        """Delete the tenant whose slug `confirm` repeats; a 422 for another."""
        if confirm != tenant.slug:
            message = "must be the slug of the tenant that you are signed in to"
            raise ValidationFailed(
                "Nothing was deleted: `confirm` is not the tenant's slug.",
                errors=[{"loc": ["query", "confirm"], "msg": message, "type": "confirm"}],
            )
        if tenant.status == "deleted":
            return
        deleted, _ = await TenantService(TenantRepository(self._session)).delete(tenant.id, grace=grace)
        after = {"status": "deleted", "erase_at": deleted.erase_at.isoformat() if deleted.erase_at else None}
        await self._record(tenant.id, "tenant.deleted", before={"status": tenant.status}, after=after)

    async def _record(
        self, tenant_id: UUID, action: str, *, before: dict[str, str], after: dict[str, str | None]
    ) -> None:
        await audit.record(
            self._session,
            self._actor,
            tenant_id=tenant_id,
            action=action,
            object_kind="tenant",
            object_id=tenant_id,
            before=before,
            after=after,
        )
