"""What an operator does with tenants."""

import datetime as dt
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from fanfold.core.errors import Conflict, NotFound, ValidationFailed
from fanfold.core.identifiers import uuid7
from fanfold.core.values import value
from fanfold.tenants.limits import Limits
from fanfold.tenants.models import Plan, Tenant
from fanfold.tenants.repository import TenantRepository
from fanfold.tenants.schemas import LimitsUpdate, TenantCreate, TenantUpdate


@value
class TenantFilter:
    """Which tenants to list; None does not filter."""

    search: str | None = None
    status: str | None = None
    plan: str | None = None


class TenantService:
    """Creates, changes, suspends, resumes and deletes tenants. Changes hold in every process within 2 s."""

    def __init__(self, tenants: TenantRepository) -> None:
        self._tenants = tenants

    async def create(self, wanted: TenantCreate) -> tuple[Tenant, Limits]:
        """Make a tenant; a 409 when the slug is taken."""
        plan = await self._plan(wanted.plan)
        tenant = Tenant(
            id=uuid7(), slug=wanted.slug, name=wanted.name or wanted.slug, plan=plan.code, limit_overrides={}
        )
        try:
            await self._tenants.add(tenant)
        except IntegrityError:
            raise Conflict("A tenant with this slug exists already.") from None
        return tenant, Limits.of(plan, {})

    async def get(self, tenant_id: UUID) -> tuple[Tenant, Limits]:
        """Return the tenant with the limits that hold for it, or a 404."""
        return await self._with_limits(await self._find(tenant_id, for_change=False))

    async def list(
        self, chosen: TenantFilter, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[tuple[Tenant, Limits]], str | None]:
        """Return a page of tenants with their limits."""
        rows, next_cursor = await self._tenants.list(
            search=chosen.search, status=chosen.status, plan=chosen.plan, limit=limit, cursor=cursor
        )
        plans = await self._tenants.plans()
        return [(row, Limits.of(plans[row.plan], row.limit_overrides)) for row in rows], next_cursor

    async def update(self, tenant_id: UUID, wanted: TenantUpdate) -> tuple[Tenant, Limits]:
        """Change the name or the plan; a plan counts from the next reservation on."""
        tenant = await self._find(tenant_id)
        if "plan" in wanted.model_fields_set:
            tenant.plan = (await self._plan(wanted.plan)).code
        if "name" in wanted.model_fields_set:
            tenant.name = wanted.name
        return await self._touched(tenant)

    async def override_limits(self, tenant_id: UUID, wanted: LimitsUpdate) -> tuple[Tenant, Limits]:
        """Set overrides, or take away those sent as null."""
        tenant = await self._find(tenant_id)
        overrides = {**tenant.limit_overrides, **wanted.model_dump(exclude_unset=True)}
        tenant.limit_overrides = {name: value for name, value in overrides.items() if value is not None}
        return await self._touched(tenant)

    async def suspend(self, tenant_id: UUID) -> tuple[Tenant, Limits]:
        """Refuse the tenant's requests with 403; what runs already is finished and settled."""
        tenant = await self._find(tenant_id)
        if tenant.status == "deleted":
            raise Conflict("The tenant is deleted. Resume it first.")
        tenant.status = "suspended"
        return await self._touched(tenant)

    async def resume(self, tenant_id: UUID) -> tuple[Tenant, Limits]:
        """Let the tenant in again; of a deleted one nothing is lost until it is erased, then it is a 409."""
        tenant = await self._find(tenant_id)
        if tenant.erased_at is not None:
            raise Conflict("The tenant is erased: there is nothing to bring back.")
        tenant.status, tenant.erase_at = "active", None
        return await self._touched(tenant)

    async def delete(self, tenant_id: UUID, *, grace: dt.timedelta) -> tuple[Tenant, Limits]:
        """Refuse all that the tenant asks, and have it erased after `grace`. Deleting twice is the same as once."""
        tenant = await self._find(tenant_id)
        if tenant.status == "deleted":
            return await self._with_limits(tenant)
        tenant.status, tenant.erase_at = "deleted", dt.datetime.now(dt.UTC) + grace
        return await self._touched(tenant)

    async def _touched(self, tenant: Tenant) -> tuple[Tenant, Limits]:
        tenant.updated_at = dt.datetime.now(dt.UTC)
        await self._tenants.refresh(tenant)
        return await self._with_limits(tenant)

    async def _find(self, tenant_id: UUID, *, for_change: bool = True) -> Tenant:
        tenant = await self._tenants.find(tenant_id, for_change=for_change)
        if tenant is None:
            raise NotFound("There is no such tenant.")
        return tenant

    async def _with_limits(self, tenant: Tenant) -> tuple[Tenant, Limits]:
        return tenant, Limits.of(await self._plan(tenant.plan), tenant.limit_overrides)

    async def _plan(self, code: str) -> Plan:
        plan = await self._tenants.find_plan(code)
        if plan is None:
            known = ", ".join(sorted(await self._tenants.plans()))
            message = f"There is no such plan. Known: {known}."
            raise ValidationFailed(
                message, errors=[{"loc": ["body", "plan"], "msg": message, "type": "plan"}]
            )
        return plan
