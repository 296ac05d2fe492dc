"""Tenants and plans in Postgres, as the operator's role sees them."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.repository import escape_like, page
from fanfold.tenants.models import Plan, Tenant


class TenantRepository:
    """All tenants; give it an operator's session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, tenant_id: UUID, *, for_change: bool = False) -> Tenant | None:
        """Return the tenant or None; `for_change` locks it until the transaction ends."""
        return await self._session.get(Tenant, tenant_id, with_for_update=for_change)

    async def find_by_slug(self, slug: str) -> Tenant | None:
        """Return the tenant of that slug, or None."""
        return await self._session.scalar(select(Tenant).where(Tenant.slug == slug))

    async def find_plan(self, code: str) -> Plan | None:
        """Return the plan, or None."""
        return await self._session.get(Plan, code)

    async def lock_plan(self, code: str) -> Plan | None:
        """Return the plan, which nobody else changes until the transaction ends, or None."""
        return await self._session.get(Plan, code, with_for_update=True)

    async def add_plan(self, plan: Plan) -> None:
        """Insert a plan; raises IntegrityError where its code is taken."""
        self._session.add(plan)
        await self._session.flush()

    async def delete_plan(self, plan: Plan) -> None:
        """Delete a plan; raises IntegrityError where a tenant is on it."""
        await self._session.delete(plan)
        await self._session.flush()

    async def plans(self) -> dict[str, Plan]:
        """Return every plan by its code."""
        return {plan.code: plan for plan in await self._session.scalars(select(Plan))}

    async def list(
        self, *, search: str | None, status: str | None, plan: str | None, limit: int, cursor: str | None
    ) -> tuple[Sequence[Tenant], str | None]:
        """Return a page of tenants, newest first; `search` is part of a slug or a name."""
        statement = select(Tenant)
        if search:
            pattern = f"%{escape_like(search)}%"
            statement = statement.where(or_(Tenant.slug.ilike(pattern), Tenant.name.ilike(pattern)))
        if status:
            statement = statement.where(Tenant.status == status)
        if plan:
            statement = statement.where(Tenant.plan == plan)
        return await page(self._session, statement, by=Tenant.id, limit=limit, cursor=cursor)

    async def add(self, tenant: Tenant) -> Tenant:
        """Insert `tenant` and read back what the database fills in."""
        self._session.add(tenant)
        await self.refresh(tenant)
        return tenant

    async def refresh(self, tenant: Tenant) -> None:
        """Write what changed and read the row as it now is."""
        await self._session.flush()
        await self._session.refresh(tenant)
